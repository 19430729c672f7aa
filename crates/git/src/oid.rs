//! Object ids and reference names: the only texts of a client that reach git's command line.

use std::{fmt, str::FromStr};

use cofferdam_types::{Error, Result};

/// A git object id: 40 or 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(String);

impl Oid {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is all zeros: "no object".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.bytes().all(|b| b == b'0')
    }
}

impl FromStr for Oid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid("bad-object-id", format!("`{}` is not a git object id", shown(text))))
        }
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses a reference name that git would refuse (git-check-ref-format), or that could be read as
/// an option or a path.
///
/// # Errors
/// `Invalid` (`bad-ref-name`).
pub fn check_ref_name(name: &str) -> Result<()> {
    let component = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.ends_with(".lock")
            && !part.starts_with('-')
    };
    let ok = name.starts_with("refs/")
        && name.len() <= 250
        && name.split('/').all(component)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c));
    if ok {
        return Ok(());
    }
    Err(Error::invalid("bad-ref-name", format!("`{}` is not a usable reference name", shown(name))))
}

/// A short piece of somebody's text, safe to repeat in a message or at a terminal.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tricks_never_reach_the_command_line() {
        for good in ["refs/heads/main", "refs/tags/v1.0", "refs/pipelines/7", "refs/heads/feature/x"] {
            assert!(check_ref_name(good).is_ok(), "{good}");
        }
        for bad in [
            "main",
            "--upload-pack=x",
            "refs/heads/-x",
            "refs/heads/../x",
            "refs/heads/a b",
            "refs/heads/x.lock",
            "refs//x",
            "refs/heads/a\nb",
            "refs/heads/@{1}",
        ] {
            assert!(check_ref_name(bad).is_err(), "{bad}");
        }
        assert!("--help".parse::<Oid>().is_err());
        assert!("A".repeat(40).parse::<Oid>().is_err());
        assert!("0".repeat(40).parse::<Oid>().is_ok_and(|oid| oid.is_zero()));
    }
}
