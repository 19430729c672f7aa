//! RubyGems' order, as `Gem::Version` documents and compares it.

use crate::number::{Number, runs};

/// A version as its segments, without zeros at the end of the numbers and of the whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Version(Vec<Segment>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Word(Box<str>),
    Number(Number),
}

/// What is compared with the segments that the other version does not have.
const ZERO: fn() -> Segment = || Segment::Number(Number::default());

impl Version {
    /// By `Gem::Version`'s own pattern.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let (release, pre) = text.split_once('-').map_or((text, None), |(r, p)| (r, Some(p)));
        let mut parts = release.split('.');
        let of_letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        let of_pre =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let first = parts.next().is_some_and(|part| Number::of(part).is_some());
        if !first || !parts.all(of_letters) || pre.is_some_and(|pre| !pre.split('.').all(of_pre)) {
            return None;
        }
        let whole = text.replace('-', ".pre.");
        let segment = |run: &str| Number::of(run).map_or_else(|| Segment::Word(run.into()), Segment::Number);
        let mut numbers: Vec<Segment> = whole.split('.').flat_map(runs).map(segment).collect();
        let first_word = numbers.iter().position(|s| matches!(s, Segment::Word(_))).unwrap_or(numbers.len());
        let mut words = numbers.split_off(first_word);
        for part in [&mut numbers, &mut words] {
            while part.last().is_some_and(|s| *s == ZERO()) {
                part.pop();
            }
        }
        numbers.append(&mut words);
        Some(Self(numbers))
    }

    /// Whether it has no letter: those make a pre-release.
    pub(crate) fn is_final(&self) -> bool {
        !self.0.iter().any(|s| matches!(s, Segment::Word(_)))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let longest = self.0.len().max(other.0.len());
        let zero = ZERO();
        (0..longest)
            .map(|at| self.0.get(at).unwrap_or(&zero).cmp(other.0.get(at).unwrap_or(&zero)))
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
