//! Names, versions and file names of Python packages: text in, checked text out.
//!
//! Everything here is pure. It must never guess: a file name that does not say one name and one
//! version is refused.

use std::{cmp::Ordering, str::FromStr as _};

use cofferdam_types::{Error, Result, python_name};
use pep440_rs::Version;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Characters of a project name at the most; the longest in use has fewer than 100.
pub(crate) const NAME_LIMIT: usize = 200;
/// Characters of a version at the most.
pub(crate) const VERSION_LIMIT: usize = 128;
/// Bytes of a file name at the most, so that `.metadata` still fits a file system's 255.
pub(crate) const FILENAME_LIMIT: usize = 240;

/// What a distribution file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A built distribution (binary distribution format, PEP 427).
    Wheel,
    /// A source distribution as a gzip-compressed tar (PEP 625).
    TarGz,
    /// A source distribution as a zip (before PEP 625).
    Zip,
}

impl Kind {
    /// The role under which the file is committed.
    pub(crate) fn role(self) -> &'static str {
        match self {
            Self::Wheel => "wheel",
            Self::TarGz | Self::Zip => "sdist",
        }
    }

    /// The upload form's word for it.
    pub(crate) fn filetype(self) -> &'static str {
        match self {
            Self::Wheel => "bdist_wheel",
            Self::TarGz | Self::Zip => "sdist",
        }
    }
}

/// A checked file name of a known package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filename {
    /// As it stands in the address.
    pub text: String,
    /// The key of its package.
    pub key: String,
    /// The version as the file name writes it.
    pub version: String,
    /// What it is.
    pub kind: Kind,
}

impl Filename {
    /// The path below the repository.
    pub(crate) fn path(&self) -> String {
        file_path(&self.key, &self.text)
    }

    /// What tells this file from others of the same release: a wheel's build and tags, or the
    /// ending. Two files of one release with the same slot are one file in two spellings.
    pub(crate) fn slot(&self) -> String {
        match self.kind {
            Kind::Wheel => self.text.splitn(3, '-').nth(2).unwrap_or_default().to_ascii_lowercase(),
            Kind::TarGz => ".tar.gz".into(),
            Kind::Zip => ".zip".into(),
        }
    }

    /// Reads a file name that is claimed to belong to the package `key`.
    ///
    /// The key is needed because old source distributions keep `-` in the name:
    /// `foo-1-2.tar.gz` is `foo` 1-2 or `foo-1` 2.
    pub(crate) fn parse(text: &str, key: &str) -> Result<Self> {
        check_characters(text)?;
        let (stem, kind) = split_extension(text)?;
        let (name, version) = match kind {
            Kind::Wheel => wheel_parts(text, stem)?,
            Kind::TarGz | Kind::Zip => split_at_key(stem, key).ok_or_else(|| {
                bad_filename(text, &format!("does not read `<name>-<version>` with the name `{key}`"))
            })?,
        };
        if normalise(name).ok().as_deref() != Some(key) {
            return Err(bad_filename(text, &format!("names the package `{name}` and not `{key}`")));
        }
        check_version(version)?;
        Ok(Self { text: text.into(), key: key.into(), version: version.into(), kind })
    }
}

/// The normal form of a project name that is not too long.
pub(crate) fn normalise(name: &str) -> Result<String> {
    python_name(name).filter(|_| name.len() <= NAME_LIMIT).ok_or_else(|| {
        Error::invalid("name-invalid", format!("`{}` is no Python project name", shown(name))).hint(format!(
            "use letters, digits, `-`, `_` and `.`, at most {NAME_LIMIT} characters, starting and ending with a letter or digit"
        ))
    })
}

/// A version in the spelling under which it is stored: PEP 440's normal form, or, for versions
/// older than PEP 440, the text itself.
pub(crate) fn stored_version(text: &str) -> String {
    parse_version(text).map_or_else(|| text.to_owned(), |version| version.to_string())
}

/// Whether a version follows PEP 440.
pub(crate) fn is_pep440(text: &str) -> bool {
    parse_version(text).is_some()
}

/// Whether a version is a final release by PEP 440: neither a pre-release nor one in development.
pub(crate) fn is_final(text: &str) -> bool {
    cofferdam_versions::is_final(cofferdam_versions::Scheme::Pep440, text)
}

/// Whether two spellings mean the same version.
pub(crate) fn same_version(a: &str, b: &str) -> bool {
    match (parse_version(a), parse_version(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a.replace('_', "-").eq_ignore_ascii_case(&b.replace('_', "-")),
        _ => false,
    }
}

/// PEP 440's order. Versions that it does not know come before all others, in the order of their
/// text; two spellings of one version are ordered by their text, so that the order is total.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    cofferdam_versions::compare(cofferdam_versions::Scheme::Pep440, a, b)
}

fn parse_version(text: &str) -> Option<Version> {
    if text.len() > VERSION_LIMIT {
        return None;
    }
    // Wheel file names write `_` where the version had `-` (PEP 427, "Escaping and Unicode").
    Version::from_str(text).ok().or_else(|| Version::from_str(&text.replace('_', "-")).ok())
}

/// Refuses text that cannot be a version of any age.
pub(crate) fn check_version(version: &str) -> Result<()> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'!' | b'-');
    let first = version.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && version.len() <= VERSION_LIMIT && version.bytes().all(ok) {
        return Ok(());
    }
    Err(Error::invalid("version-invalid", format!("`{}` is no version of a Python package", shown(version))))
}

/// The path below the repository of a file of a package.
pub(crate) fn file_path(key: &str, filename: &str) -> String {
    format!("files/{key}/{filename}")
}

/// What must be escaped in a file name inside an address: `+` of local versions would be read as
/// a space by some proxies.
const ESCAPE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'+').add(b'?');

/// A file name as one segment of an address.
pub(crate) fn escape(filename: &str) -> String {
    utf8_percent_encode(filename, ESCAPE).to_string()
}

/// Splits `<name>-<version>` where the name is a spelling of `key`.
pub(crate) fn split_at_key<'a>(stem: &'a str, key: &str) -> Option<(&'a str, &'a str)> {
    let dashes = stem.char_indices().filter(|(_, c)| *c == '-');
    dashes
        .map(|(at, _)| (&stem[..at], &stem[at + 1..]))
        .find(|(name, version)| !version.is_empty() && normalise(name).is_ok_and(|n| n == key))
}

/// Name and version of a wheel's file name, whose parts hold no `-` of their own.
fn wheel_parts<'a>(text: &str, stem: &'a str) -> Result<(&'a str, &'a str)> {
    let parts: Vec<&str> = stem.split('-').collect();
    let tags_ok = |tags: &[&str]| tags.iter().all(|t| !t.is_empty());
    match parts.as_slice() {
        [name, version, tags @ ..] if tags.len() == 3 && tags_ok(tags) => Ok((name, version)),
        [name, version, build, tags @ ..] if tags.len() == 3 && tags_ok(tags) => {
            if build.starts_with(|c: char| c.is_ascii_digit()) {
                Ok((name, version))
            } else {
                Err(bad_filename(
                    text,
                    &format!("has the build tag `{build}`, which must start with a digit"),
                ))
            }
        }
        _ => Err(bad_filename(
            text,
            "does not read `<name>-<version>[-<build>]-<python>-<abi>-<platform>.whl`",
        )),
    }
}

fn split_extension(text: &str) -> Result<(&str, Kind)> {
    let endings = [(".whl", Kind::Wheel), (".tar.gz", Kind::TarGz), (".zip", Kind::Zip)];
    endings
        .into_iter()
        .find_map(|(ending, kind)| text.strip_suffix(ending).map(|stem| (stem, kind)))
        .ok_or_else(|| bad_filename(text, "ends neither in `.whl` nor in `.tar.gz` nor in `.zip`"))
}

fn check_characters(text: &str) -> Result<()> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'!' | b'-');
    if text.len() > FILENAME_LIMIT {
        return Err(bad_filename(text, &format!("is longer than {FILENAME_LIMIT} bytes")));
    }
    if text.is_empty() || text.starts_with(['.', '-']) || !text.bytes().all(ok) {
        return Err(bad_filename(text, "holds characters that no distribution file has"));
    }
    Ok(())
}

fn bad_filename(text: &str, why: &str) -> Error {
    Error::invalid("filename-invalid", format!("the file name `{}` {why}", shown(text)))
        .hint("build the package again with a current `python -m build`")
}

/// Text from outside, fit to be shown in a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_name_have_one_key() {
        for name in ["Friendly-Bard", "friendly.bard", "FRIENDLY_-._BARD", "friendly--bard"] {
            assert_eq!(normalise(name).unwrap(), "friendly-bard");
        }
        for bad in ["", "-a", "a-", "a/b", "a b", "é", "a\n", &"a".repeat(201)] {
            assert_eq!(normalise(bad).unwrap_err().code(), "name-invalid", "{bad}");
        }
    }

    #[test]
    fn versions_are_ordered_as_pip_orders_them() {
        let mut versions =
            vec!["1.0", "1.0.post1", "2004d", "1.0rc1", "1.0+local.2", "1!0.1", "1.0.dev3", "1.0a1"];
        versions.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(
            versions,
            ["2004d", "1.0.dev3", "1.0a1", "1.0rc1", "1.0", "1.0+local.2", "1.0.post1", "1!0.1"]
        );
        assert!(same_version("1.0", "1.0.0") && same_version("1.0-1", "1.0.post1"));
        assert!(!same_version("1.0", "1.0+x") && same_version("1.0+Ubuntu-1", "1.0+ubuntu.1"));
    }

    #[test]
    fn file_names_say_one_name_and_one_version() {
        for (text, key, version, kind) in [
            ("foo-1.0-py3-none-any.whl", "foo", "1.0", Kind::Wheel),
            ("Foo_Bar-1.0+cu1-1-cp311-abi3-manylinux_2_17_x86_64.whl", "foo-bar", "1.0+cu1", Kind::Wheel),
            ("foo.bar-1.0-py2.py3-none-any.whl", "foo-bar", "1.0", Kind::Wheel),
            ("foo-bar-1.0.tar.gz", "foo-bar", "1.0", Kind::TarGz),
            ("foo_bar-1.0.zip", "foo-bar", "1.0", Kind::Zip),
            ("foo-1-2.tar.gz", "foo-1", "2", Kind::TarGz),
            ("pytz-2004d.tar.gz", "pytz", "2004d", Kind::TarGz),
        ] {
            let name = Filename::parse(text, key).unwrap();
            assert_eq!((name.version.as_str(), name.kind), (version, kind), "{text}");
        }
        for (text, key) in [
            ("foo-1.0.whl", "foo"),
            ("foo-1.0-x1-py3-none-any.whl", "foo"),
            ("foo-1.0-py3--any.whl", "foo"),
            ("bar-1.0-py3-none-any.whl", "foo"),
            ("foo-1.0.tar.bz2", "foo"),
            ("foo-1.0.exe", "foo"),
            ("../foo-1.0.tar.gz", "foo"),
            ("foo-1.0\n.tar.gz", "foo"),
            ("foo.tar.gz", "foo"),
            ("", "foo"),
        ] {
            assert_eq!(Filename::parse(text, key).unwrap_err().code(), "filename-invalid", "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key(name in "[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?") {
            let key = normalise(&name).unwrap();
            prop_assert_eq!(normalise(&key).unwrap(), key);
        }

        #[test]
        fn the_order_is_total(a in "[0-9a-c.+!_-]{1,8}", b in "[0-9a-c.+!_-]{1,8}", c in "[0-9a-c.+!_-]{1,8}") {
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
            let mut once = vec![&a, &b, &c];
            let mut again = vec![&c, &a, &b];
            once.sort_by(|x, y| compare_versions(x, y));
            again.sort_by(|x, y| compare_versions(x, y));
            prop_assert_eq!(once, again);
        }
    }
}
