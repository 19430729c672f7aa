//! How bad an advisory says that it is: the CVSS 3 base score where there is a vector of it, else the database's word.
//!
//! A vector of CVSS 4 or 2 is kept as text and not scored here.

use std::fmt;

use serde::Serialize;

use crate::record::{Database, Score};

/// The word for a severity (CVSS 3.1, section 5, "Qualitative Severity Rating Scale").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Rating {
    /// Nobody said.
    #[default]
    Unknown,
    /// A score of 0.
    None,
    /// Below 4.
    Low,
    /// Below 7.
    Medium,
    /// Below 9.
    High,
    /// 9 and more.
    Critical,
}

impl fmt::Display for Rating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

/// How bad it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Severity {
    /// The word.
    pub rating: Rating,
    /// Ten times the CVSS 3 base score, where there is one: 98 is 9.8.
    pub score_tenths: Option<u8>,
    /// The vector as the advisory writes it.
    pub vector: Option<Box<str>>,
}

impl Severity {
    pub(crate) fn of(scores: &[Score], database: Option<&Database>) -> Self {
        let three = scores.iter().find_map(|s| Some((s, base_score(&s.score)?)));
        let any = three.map(|(s, _)| s).or_else(|| scores.first());
        let vector = any.map(|s| s.score.chars().take(200).collect::<String>().into());
        let word = database.and_then(|d| d.severity.as_ref()).and_then(|v| v.as_str());
        let rating = match three {
            Some((_, tenths)) => rating(tenths),
            None => word.or(any.map(|s| s.score.as_str())).map_or(Rating::Unknown, word_of),
        };
        Self { rating, score_tenths: three.map(|(_, tenths)| tenths), vector }
    }

    /// What severities are sorted by.
    #[must_use]
    pub fn rank(&self) -> (Rating, u8) {
        (self.rating, self.score_tenths.unwrap_or(0))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.score_tenths {
            Some(tenths) => write!(f, "{} {}.{}", self.rating, tenths / 10, tenths % 10),
            None => write!(f, "{}", self.rating),
        }
    }
}

fn rating(tenths: u8) -> Rating {
    match tenths {
        0 => Rating::None,
        1..=39 => Rating::Low,
        40..=69 => Rating::Medium,
        70..=89 => Rating::High,
        _ => Rating::Critical,
    }
}

fn word_of(word: &str) -> Rating {
    match word.to_ascii_lowercase().as_str() {
        "low" | "negligible" => Rating::Low,
        "moderate" | "medium" => Rating::Medium,
        "high" | "important" => Rating::High,
        "critical" => Rating::Critical,
        _ => Rating::Unknown,
    }
}

/// Ten times the base score of a CVSS 3 vector (CVSS 3.1 specification, section 7.1 and appendix A).
fn base_score(vector: &str) -> Option<u8> {
    let metrics = vector.strip_prefix("CVSS:3.")?.split_once('/')?.1;
    let of = |name: &str| metrics.split('/').find_map(|m| m.strip_prefix(name)?.strip_prefix(':'));
    let changed = of("S")? == "C";
    let reach = match of("AV")? {
        "N" => 0.85,
        "A" => 0.62,
        "L" => 0.55,
        "P" => 0.2,
        _ => return None,
    };
    let complexity = match of("AC")? {
        "L" => 0.77,
        "H" => 0.44,
        _ => return None,
    };
    let privileges = match (of("PR")?, changed) {
        ("N", _) => 0.85,
        ("L", false) => 0.62,
        ("L", true) => 0.68,
        ("H", false) => 0.27,
        ("H", true) => 0.5,
        _ => return None,
    };
    let interaction = match of("UI")? {
        "N" => 0.85,
        "R" => 0.62,
        _ => return None,
    };
    let loss = |name| {
        Some(match of(name)? {
            "H" => 0.56,
            "L" => 0.22,
            "N" => 0.0,
            _ => return None,
        })
    };
    let iss: f64 = 1.0 - (1.0 - loss("C")?) * (1.0 - loss("I")?) * (1.0 - loss("A")?);
    let impact = if changed { 7.52 * (iss - 0.029) - 3.25 * (iss - 0.02).powi(15) } else { 6.42 * iss };
    if impact <= 0.0 {
        return Some(0);
    }
    let sum = impact + 8.22 * reach * complexity * privileges * interaction;
    let score = if changed { 1.08 * sum } else { sum }.min(10.0);
    // "Roundup" of appendix A: to the next tenth, in whole numbers because of binary fractions.
    let hundred_thousandths = (score * 100_000.0).round() as u32;
    u8::try_from(hundred_thousandths.div_ceil(10_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_scores_are_those_that_the_specification_works_out() {
        for (vector, tenths) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Some(98)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", Some(61)),
            ("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:H/I:H/A:H", Some(99)),
            ("CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H", Some(78)),
            ("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:N", Some(0)),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
            ("CVSS:3.1/AV:N", None),
            ("", None),
        ] {
            assert_eq!(base_score(vector), tenths, "{vector}");
        }
    }

    #[test]
    fn where_no_vector_can_be_scored_the_databases_word_stands() {
        let four = [Score { score: "CVSS:4.0/AV:N".into() }];
        let word = Database { severity: Some("MODERATE".into()) };
        let severity = Severity::of(&four, Some(&word));
        assert_eq!((severity.rating, severity.score_tenths), (Rating::Medium, None));
        assert_eq!(severity.vector.as_deref(), Some("CVSS:4.0/AV:N"));
        assert_eq!(Severity::of(&[], None).rating, Rating::Unknown);
    }
}
