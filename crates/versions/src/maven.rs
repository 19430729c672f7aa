//! Maven's order, by the "Version Order Specification" of its POM reference.
//!
//! The specification pads the shorter version and compares, which is no order where a zero stands before a word
//! (`1.0.alpha`). Here such zeros are dropped before every word, as recent Mavens do; then the end has one place among
//! the parts, and comparing them one by one is an order.

use crate::number::{Number, runs};

/// A version as its parts, without what counts as nothing.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(Vec<Part>);

/// A part, in the order of the specification: words below the release, the end, words above it, `-1`, `.1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Before(Stage),
    End,
    /// A word that stands for the release and has something behind it.
    Release,
    Patch,
    Word(Box<str>),
    AfterHyphen(Number),
    AfterDot(Number),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Alpha,
    Beta,
    Milestone,
    Candidate,
    Snapshot,
}

impl Version {
    /// Any text without spaces: Maven compares whatever it is given.
    pub(crate) fn of(text: &str) -> Option<Self> {
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return None;
        }
        let mut parts = Vec::new();
        let lower = text.to_lowercase();
        let mut hyphen = false;
        for (at, piece) in lower.split_inclusive(['.', '-', '_']).enumerate() {
            let plain = piece.trim_end_matches(['.', '-', '_']);
            let mut begins = at == 0 || !hyphen;
            if plain.is_empty() {
                push(&mut parts, number("", begins));
            }
            let mut all = runs(plain).peekable();
            while let Some(run) = all.next() {
                let next_is_number = all.peek().is_some();
                push(
                    &mut parts,
                    Number::of(run).map_or_else(|| word(run, next_is_number), |_| number(run, begins)),
                );
                // Where digits begin or end, a hyphen is meant.
                begins = false;
            }
            hyphen = piece.ends_with('-');
        }
        trim(&mut parts);
        parts.push(Part::End);
        Some(Self(parts))
    }

    /// Whether no part puts it before a release.
    pub(crate) fn is_final(&self) -> bool {
        !self.0.iter().any(|part| matches!(part, Part::Before(_)))
    }
}

/// What begins after a hyphen, and every word, ends what is before it: there nothing is left that counts as nothing.
fn push(parts: &mut Vec<Part>, part: Part) {
    if !matches!(part, Part::AfterDot(_)) {
        trim(parts);
    }
    parts.push(part);
}

fn trim(parts: &mut Vec<Part>) {
    let nothing = |part: &Part| match part {
        Part::AfterDot(number) | Part::AfterHyphen(number) => number.is_zero(),
        Part::Release => true,
        _ => false,
    };
    while parts.last().is_some_and(nothing) {
        parts.pop();
    }
}

fn number(digits: &str, after_dot: bool) -> Part {
    let number = Number::of(digits).unwrap_or_default();
    if after_dot { Part::AfterDot(number) } else { Part::AfterHyphen(number) }
}

fn word(word: &str, before_number: bool) -> Part {
    match word {
        "a" if before_number => Part::Before(Stage::Alpha),
        "b" if before_number => Part::Before(Stage::Beta),
        "m" if before_number => Part::Before(Stage::Milestone),
        "alpha" => Part::Before(Stage::Alpha),
        "beta" => Part::Before(Stage::Beta),
        "milestone" => Part::Before(Stage::Milestone),
        "rc" | "cr" => Part::Before(Stage::Candidate),
        "snapshot" => Part::Before(Stage::Snapshot),
        "ga" | "final" | "release" => Part::Release,
        "sp" => Part::Patch,
        word => Part::Word(word.into()),
    }
}
