//! Package URLs (purl specification, core): the name that a package has in every document of ours.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// `pkg:<type>/<namespace>/<name>@<version>`. Qualifiers and subpaths are not used by us.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PackageUrl(String);

const ESCAPE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'+')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b']');

impl PackageUrl {
    /// Builds a package URL; `name` may hold `/` as the namespace separator (`@scope/name`).
    #[must_use]
    pub fn new(kind: &str, name: &str, version: &str) -> Self {
        let path: Vec<String> =
            name.split('/').map(|part| utf8_percent_encode(part, ESCAPE).to_string()).collect();
        Self(format!("pkg:{kind}/{}@{}", path.join("/"), utf8_percent_encode(version, ESCAPE)))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PackageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_local_versions_are_escaped() {
        assert_eq!(PackageUrl::new("npm", "@a/b", "1.0.0").as_str(), "pkg:npm/%40a/b@1.0.0");
        assert_eq!(PackageUrl::new("pypi", "x", "1+cu1").as_str(), "pkg:pypi/x@1%2Bcu1");
    }
}
