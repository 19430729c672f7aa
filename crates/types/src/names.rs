//! Names that people choose: sites, repositories, projects, people.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

/// A name was empty, too long, or held a character that a URL or a file name could misread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a usable name: 1 to 64 characters, lower-case letters, digits, `-`, `_` or `.`, starting with a letter or digit"
)]
pub struct NameError(String);

/// A short lower-case name, safe in URLs and as a file name on every medium.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Slug(String);

/// The name of a repository of packages, as in `/r/<name>/`.
pub type RepositoryName = Slug;
/// The name of a site, as written into every transfer.
pub type SiteName = Slug;

impl Slug {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        let first = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ok = text.len() <= 64
            && text.as_bytes().first().is_some_and(first)
            && text.bytes().all(inner)
            && !text.ends_with(".git")
            && !text.ends_with('.');
        if ok { Ok(Self(text.to_owned())) } else { Err(NameError(text.chars().take(80).collect())) }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Slug {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_names_are_names() {
        for good in ["a", "outside", "team-1", "py.pi_x"] {
            assert!(good.parse::<Slug>().is_ok(), "{good}");
        }
        for bad in ["", "A", ".x", "-x", "a/b", "a b", "x.git", "x.", "é", "..", &"a".repeat(65)] {
            assert!(bad.parse::<Slug>().is_err(), "{bad}");
        }
    }
}
