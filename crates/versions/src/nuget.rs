//! NuGet's order: Semantic Versioning 2.0.0 with one to four numbers, leading zeros, and labels without regard to case
//! (NuGet documentation, "Package versioning"). What follows `+` has no part in it.

use crate::number::Number;

/// A version.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    numbers: [Number; 4],
    labels: Labels,
}

/// Labels of a pre-release are below the release.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Labels {
    Some(Vec<Label>),
    None,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Number(Number),
    Word(Box<str>),
}

impl Version {
    pub(crate) fn of(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_uppercase();
        let (text, build) = text.split_once('+').map_or((text.as_str(), None), |(t, b)| (t, Some(b)));
        let (release, labels) = text.split_once('-').map_or((text, None), |(r, l)| (r, Some(l)));
        let good = |l: &str| {
            l.split('.').all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        };
        if ![labels, build].into_iter().flatten().all(good) {
            return None;
        }
        let mut numbers: [Number; 4] = Default::default();
        let mut places = numbers.iter_mut();
        for piece in release.split('.') {
            *places.next()? = Number::of(piece)?;
        }
        let label = |l: &str| Number::of(l).map_or_else(|| Label::Word(l.into()), Label::Number);
        let labels = labels.map_or(Labels::None, |l| Labels::Some(l.split('.').map(label).collect()));
        Some(Self { numbers, labels })
    }

    /// Whether it has no labels.
    pub(crate) fn is_final(&self) -> bool {
        self.labels == Labels::None
    }
}
