//! Numbers without a greatest: versions of others have dates and hashes as parts, and none of them may overflow.

use std::cmp::Ordering;

/// A whole number, as its decimal digits without leading zeros; zero is empty.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Number(Box<str>);

impl Number {
    /// Of a text of ASCII digits; none for any other text.
    pub(crate) fn of(digits: &str) -> Option<Self> {
        let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        all.then(|| Self(digits.trim_start_matches('0').into()))
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Cuts a text where digits begin or end: each piece is all digits or none.
pub(crate) fn runs(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let digits = rest.chars().next()?.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        rest = after;
        Some(run)
    })
}
