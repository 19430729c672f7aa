//! Composer's order: a version is written out to four numbers and a stability, and those are compared as PHP's
//! `version_compare` does (both documented by Composer, "Versions and constraints", and the PHP manual).
//!
//! A branch without numbers (`dev-main`) is above and below nothing, so it is no version here.

use crate::number::{Number, runs};

/// A version as its parts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(Vec<Part>);

/// A part, in PHP's order; the end of a version is where a number would be, and below every one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Dev,
    Alpha,
    Beta,
    Candidate,
    End,
    Number(Number),
    Patch,
}

/// What a branch of a version (`1.x`) has for each number that is open.
const OPEN: &str = "9999999";

impl Version {
    pub(crate) fn of(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let text = text.split_once(" as ").map_or(text.as_str(), |(real, _)| real);
        let text = without_stability(text);
        if text.contains(char::is_whitespace) || text.starts_with("dev-") {
            return None;
        }
        let text = text.split('+').next().unwrap_or_default();
        let mut parts = classic(text).or_else(|| dated(text)).or_else(|| branch(text))?;
        parts.push(Part::End);
        Some(Self(parts))
    }

    /// Whether it is neither below a release nor a branch.
    pub(crate) fn is_final(&self) -> bool {
        !self.0.iter().any(|part| part < &Part::End)
    }
}

/// Without a flag such as `@dev` at its end.
fn without_stability(text: &str) -> &str {
    match text.rsplit_once('@') {
        Some((rest, "stable" | "rc" | "beta" | "alpha" | "dev")) => rest,
        _ => text,
    }
}

/// `v1.2.3.4-beta2`: one to four numbers, the first of at most five digits.
fn classic(text: &str) -> Option<Vec<Part>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (first, mut rest) = digits(text)?;
    if first.len() > 5 {
        return None;
    }
    let mut parts = vec![Part::Number(Number::of(first)?)];
    while let (true, Some((more, after))) = (parts.len() < 4, rest.strip_prefix('.').and_then(digits)) {
        parts.push(Part::Number(Number::of(more)?));
        rest = after;
    }
    parts.resize(4, Part::Number(Number::default()));
    stability(&mut parts, rest)?;
    Some(parts)
}

/// `2026.05.31`, `20260531-1`: a year of four digits, then pairs, and at the end up to two numbers of one to three digits.
fn dated(text: &str) -> Option<Vec<Part>> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && !['.', ':', '-'].contains(&c)).unwrap_or(text.len());
    let (run, _) = text.split_at(end);
    let date = run.strip_suffix(['.', '-']).unwrap_or(run);
    let (_, rest) = text.split_at(date.len());
    let year = date.get(..4).filter(|year| Number::of(year).is_some())?;
    if !is_date(date.get(year.len()..)?, 0, 0) {
        return None;
    }
    let number = |piece| Number::of(piece).map(Part::Number);
    let mut parts: Vec<Part> = date.split(['.', ':', '-']).map(number).collect::<Option<_>>()?;
    stability(&mut parts, rest)?;
    Some(parts)
}

/// Whether what follows a year is one to six pairs of digits and up to two numbers, each with a sign before it or without.
fn is_date(text: &str, pairs: u8, numbers: u8) -> bool {
    if text.is_empty() {
        return pairs > 0;
    }
    let text = text.strip_prefix(['.', ':', '-']).unwrap_or(text);
    let after =
        |many| text.get(..many).filter(|digits| Number::of(digits).is_some()).and_then(|_| text.get(many..));
    (numbers == 0 && pairs < 6 && after(2).is_some_and(|rest| is_date(rest, pairs + 1, 0)))
        || (pairs > 0 && numbers < 2)
            && [3, 2, 1]
                .into_iter()
                .any(|many| after(many).is_some_and(|rest| is_date(rest, pairs, numbers + 1)))
}

/// `1.x-dev`, `2.1-dev`: the branch of a version, above all of its releases.
fn branch(text: &str) -> Option<Vec<Part>> {
    let name = text.strip_suffix("dev")?;
    let name = name.strip_suffix(['.', '-']).unwrap_or(name);
    let name = name.strip_prefix('v').unwrap_or(name);
    let mut parts = Vec::new();
    for piece in name.split('.') {
        let open = ["x", "*"].contains(&piece);
        parts.push(Part::Number(Number::of(if open { OPEN } else { piece })?));
    }
    if parts.len() > 4 {
        return None;
    }
    parts.resize(4, Part::Number(Number::of(OPEN)?));
    parts.push(Part::Dev);
    Some(parts)
}

/// `-beta.2-dev`: a word with numbers, and `dev`.
fn stability(parts: &mut Vec<Part>, text: &str) -> Option<()> {
    let mut rest = text.strip_prefix(['.', '_', '-']).unwrap_or(text);
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let word = rest.get(..end)?;
    // `beta` and `dev` may stand together without a sign between them.
    let alone = word.strip_suffix("dev").filter(|w| !w.is_empty()).unwrap_or(word);
    let stage = match alone {
        "alpha" | "a" => Some(Part::Alpha),
        "beta" | "b" => Some(Part::Beta),
        "rc" => Some(Part::Candidate),
        "patch" | "pl" | "p" => Some(Part::Patch),
        "stable" | "dev" | "" => None,
        _ => return None,
    };
    if let Some(stage) = stage {
        parts.push(stage);
    }
    if !["dev", ""].contains(&alone) {
        rest = rest.get(alone.len()..)?;
        while let Some((more, after)) = digits(rest.strip_prefix(['.', '-']).unwrap_or(rest)) {
            // What is called stable is so whatever number it has.
            if alone != "stable" {
                parts.push(Part::Number(Number::of(more)?));
            }
            rest = after;
        }
    }
    if rest.is_empty() {
        return Some(());
    }
    let dev = rest.strip_prefix(['.', '-']).unwrap_or(rest) == "dev";
    if dev && alone != "stable" {
        parts.push(Part::Dev);
    }
    dev.then_some(())
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let first = runs(text).next().filter(|run| Number::of(run).is_some())?;
    text.split_at_checked(first.len())
}
