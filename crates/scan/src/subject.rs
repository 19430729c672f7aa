//! What is judged: a release by package URL, in the words of the OSV schema.

use cofferdam_types::{PackageUrl, python_name};
use cofferdam_versions::Scheme;
use percent_encoding::percent_decode_str;

/// One release as advisories name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The ecosystem's name in OSV, without a release suffix.
    pub ecosystem: &'static str,
    /// The package's name in its normal form.
    pub name: String,
    /// The version.
    pub version: String,
}

impl Subject {
    /// From a package URL with a version; why not, in words, when no advisory can name it.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn from_purl(purl: &str) -> Result<Self, String> {
        let (ecosystem, name, version) = parts(purl)?;
        let version = version.filter(|v| !v.is_empty()).ok_or("it has no version")?;
        Ok(Self { ecosystem, name, version })
    }

    /// Its package URL, with the name in its normal form.
    #[must_use]
    pub fn purl(&self) -> String {
        let kind =
            KINDS.iter().find(|(_, ecosystem)| *ecosystem == self.ecosystem).map_or("generic", |(k, _)| k);
        let name =
            if self.ecosystem == "Maven" { self.name.replacen(':', "/", 1) } else { self.name.clone() };
        PackageUrl::new(kind, &name, &self.version).to_string()
    }
}

/// Types of package URLs, and the ecosystems of OSV.
const KINDS: [(&str, &str); 8] = [
    ("pypi", "PyPI"),
    ("npm", "npm"),
    ("cargo", "crates.io"),
    ("golang", "Go"),
    ("maven", "Maven"),
    ("gem", "RubyGems"),
    ("composer", "Packagist"),
    ("nuget", "NuGet"),
];

/// Ecosystem, normal name and version of a package URL.
pub(crate) fn parts(purl: &str) -> Result<(&'static str, String, Option<String>), String> {
    let rest = purl.strip_prefix("pkg:").ok_or("it has no package URL")?;
    let (kind, rest) = rest.split_once('/').ok_or("it has no package URL")?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    // A scope that is not escaped begins with the sign that also separates the version.
    let (name, version) = match rest.rsplit_once('@') {
        Some((name, version)) if !name.is_empty() && !version.contains('/') => (name, Some(decoded(version))),
        _ => (rest, None),
    };
    let ecosystem = match kind {
        "deb" | "apk" | "rpm" | "alpm" => {
            return Err("advisories of distributions name source packages, which is out of scope".into());
        }
        "generic" | "web" => {
            return Err("it was recorded by address, and that names no package's release".into());
        }
        kind => ecosystem_of(kind).ok_or_else(|| format!("packages of type `{kind:.40}` are not judged"))?,
    };
    let name = decoded(name);
    let name = if ecosystem == "Maven" { name.replacen('/', ":", 1) } else { name };
    Ok((ecosystem, normal(ecosystem, &name), version))
}

/// The name in OSV of an ecosystem, by the word of package URLs and lock files.
#[must_use]
pub fn ecosystem_of(word: &str) -> Option<&'static str> {
    KINDS.iter().find(|(kind, _)| *kind == word).map(|(_, ecosystem)| *ecosystem)
}

/// The order of an ecosystem's versions, where there is one here.
pub(crate) fn scheme(ecosystem: &str) -> Option<Scheme> {
    match ecosystem {
        "PyPI" => Some(Scheme::Pep440),
        "npm" | "crates.io" | "Go" => Some(Scheme::Semver),
        "Maven" => Some(Scheme::Maven),
        "RubyGems" => Some(Scheme::Gem),
        "Packagist" => Some(Scheme::Composer),
        "NuGet" => Some(Scheme::NuGet),
        _ => None,
    }
}

/// A package's name as its ecosystem compares names.
pub(crate) fn normal(ecosystem: &str, name: &str) -> String {
    match ecosystem {
        // What is no name is compared as it is.
        "PyPI" => python_name(name).unwrap_or_else(|| name.to_lowercase()),
        // Old npm packages differ by case alone; crates, modules and artifacts are what they are written.
        "NuGet" | "Packagist" => name.to_lowercase(),
        // Crates have one of the names that differ by `-` and `_` only.
        "crates.io" => name.replace('_', "-"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_as_their_ecosystem_does() {
        let name =
            |purl| Subject::from_purl(purl).map(|s| format!("{} {} {}", s.ecosystem, s.name, s.version));
        assert_eq!(name("pkg:pypi/Zope.Interface_x@1.0").unwrap(), "PyPI zope-interface-x 1.0");
        assert_eq!(name("pkg:npm/%40a/B@1.0.0").unwrap(), "npm @a/B 1.0.0");
        assert_eq!(name("pkg:maven/org.a/b@1?type=jar").unwrap(), "Maven org.a:b 1");
        assert_eq!(name("pkg:golang/host.example/a/b@v1.0.0").unwrap(), "Go host.example/a/b v1.0.0");
        assert_eq!(name("pkg:pypi/x@1%2Bcu1").unwrap(), "PyPI x 1+cu1");
        for (purl, why) in [
            ("pkg:deb/debian/a@1", "source packages"),
            ("pkg:generic/a@1", "by address"),
            ("pkg:martian/a@1", "martian"),
            ("pkg:npm/a", "no version"),
            ("nothing", "no package URL"),
        ] {
            assert!(name(purl).unwrap_err().contains(why), "{purl}");
        }
    }
}
