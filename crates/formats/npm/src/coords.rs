//! Names, versions, tags and tarball paths of npm: where each is valid and how it is spelt.
//!
//! Source: npm's package name rules (npm docs "package.json", section `name`) and semver 2.0.
//! This module must never look at bytes, a view or the network.

use std::cmp::Ordering;

use cofferdam_types::{Error, Result};

/// The longest package name, scope included (npm docs, `package.json`, `name`).
const NAME_LIMIT: usize = 214;

/// The longest version text (node-semver's `MAX_LENGTH`).
const VERSION_LIMIT: usize = 256;

/// Checks a package name as any registry may hold it: old packages have capital letters, so the
/// key is the name itself.
///
/// # Errors
/// `Invalid` (`package-name`).
pub fn check_name(name: &str) -> Result<&str> {
    let bad = |why: &str| {
        let shown: String = name.chars().take(NAME_LIMIT).filter(|c| !c.is_control()).collect();
        Error::invalid("package-name", format!("`{shown}` is not an npm package name: {why}"))
    };
    if name.len() > NAME_LIMIT {
        return Err(bad("it is longer than 214 characters"));
    }
    let (scope, rest) = split_scope(name).ok_or_else(|| bad("a scope is written `@scope/name`"))?;
    for part in scope.into_iter().chain([rest]) {
        if part.is_empty() {
            return Err(bad("a part of it is empty"));
        }
        if part.starts_with(['.', '_']) || part == "-" {
            return Err(bad("it may not begin with `.` or `_`, nor be `-`"));
        }
        if !part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)) {
            return Err(bad("letters, digits and `-._~` are allowed"));
        }
    }
    Ok(name)
}

/// Checks a name that is to be published for the first time: lower case, and not one of the names
/// that npm reserves.
///
/// # Errors
/// `Invalid` (`package-name`).
pub fn check_new_name(name: &str) -> Result<()> {
    check_name(name)?;
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Error::invalid(
            "package-name",
            format!("`{name}` has capital letters; a new npm package is written in lower case"),
        ));
    }
    if matches!(name, "node_modules" | "favicon.ico") {
        return Err(Error::invalid("package-name", format!("`{name}` is a name that npm reserves")));
    }
    Ok(())
}

fn split_scope(name: &str) -> Option<(Option<&str>, &str)> {
    match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').map(|(scope, rest)| (Some(scope), rest)),
        None => Some((None, name)),
    }
}

/// The name without its scope.
#[must_use]
pub fn unscoped(name: &str) -> &str {
    split_scope(name).map_or(name, |(_, rest)| rest)
}

/// Takes a package name off the front of path segments: `@scope/name` comes as one segment
/// (encoded slash) or as two. Returns the name and what is left.
#[must_use]
pub fn take_name(segments: &[String]) -> Option<(String, &[String])> {
    let (first, rest) = segments.split_first()?;
    let (name, rest) = if first.starts_with('@') && !first.contains('/') {
        let (second, rest) = rest.split_first()?;
        (format!("{first}/{second}"), rest)
    } else {
        (first.clone(), rest)
    };
    check_name(&name).ok()?;
    Some((name, rest))
}

/// Checks a version that is to be published: strict semver without build metadata, which npm
/// drops and which would make two versions of one.
///
/// # Errors
/// `Invalid` (`version`).
pub fn check_new_version(version: &str) -> Result<()> {
    let parsed = semver::Version::parse(version).ok().filter(|_| version.len() <= VERSION_LIMIT);
    match parsed {
        Some(parsed) if parsed.build.is_empty() => Ok(()),
        Some(_) => Err(Error::invalid(
            "version",
            format!("the version `{version}` has build metadata (`+…`), which npm does not keep"),
        )),
        None => Err(Error::invalid("version", format!("`{}` is not a semantic version", shorten(version)))
            .hint("write it as MAJOR.MINOR.PATCH, such as 1.4.0 or 2.0.0-rc.1")),
    }
}

/// Whether an upstream's version can be part of a path. Old registries hold versions that strict
/// semver refuses (leading zeros); those are mirrored as they are.
#[must_use]
pub fn is_storable_version(version: &str) -> bool {
    version.len() <= VERSION_LIMIT
        && version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-".contains(&b))
}

/// A version as npm's tools normalise it (`semver.clean`): without a leading `v` or `=` and without
/// build metadata. The text inside `package.json` is compared in this form.
#[must_use]
pub fn clean_version(version: &str) -> &str {
    let text = version.trim().trim_start_matches(['=', 'v', ' ']);
    text.split_once('+').map_or(text, |(core, _)| core)
}

/// Semver precedence; build metadata is last so that the order is total. What is no semver comes
/// before what is, in text order.
#[must_use]
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (semver::Version::parse(a), semver::Version::parse(b)) {
        (Ok(x), Ok(y)) => x.cmp_precedence(&y).then_with(|| a.cmp(b)),
        (Ok(_), Err(_)) => Ordering::Greater,
        (Err(_), Ok(_)) => Ordering::Less,
        (Err(_), Err(_)) => a.cmp(b),
    }
}

/// Whether it is a pre-release, which `latest` avoids.
#[must_use]
pub fn is_prerelease(version: &str) -> bool {
    semver::Version::parse(version).map_or(true, |v| !v.pre.is_empty())
}

/// Checks a dist-tag: a word that cannot be mistaken for a version or a range, because npm reads
/// `name@word` as a range first.
///
/// # Errors
/// `Invalid` (`dist-tag`).
pub fn check_tag(tag: &str) -> Result<()> {
    let version_like = {
        let rest = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
        rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_digit()) || matches!(tag, "x" | "X")
    };
    let words = tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if tag.len() > 128 || version_like || !words || !tag.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(Error::invalid("dist-tag", format!("`{}` cannot be a dist-tag", shorten(tag)))
            .hint("a dist-tag is a word such as `latest` or `next`, not a version or a range"));
    }
    Ok(())
}

/// The path of a tarball below the repository. Lock files and npm's host replacement rely on this
/// exact form, which is also the public registry's.
#[must_use]
pub fn tarball_path(name: &str, version: &str) -> String {
    format!("{name}/-/{}-{version}.tgz", unscoped(name))
}

/// The version in a tarball's file name, if the name belongs to the package.
#[must_use]
pub fn version_of_tarball<'a>(name: &str, path: &'a str) -> Option<&'a str> {
    let file = path.strip_prefix(name)?.strip_prefix("/-/")?;
    let version = file.strip_prefix(unscoped(name))?.strip_prefix('-')?.strip_suffix(".tgz")?;
    is_storable_version(version).then_some(version)
}

/// At most 80 printable characters of something a client sent, for a message.
#[must_use]
pub fn shorten(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scoped_name_is_read_from_one_segment_or_from_two() {
        let one = ["@acme/tool".to_owned(), "-".to_owned()];
        let two = ["@acme".to_owned(), "tool".to_owned(), "-".to_owned()];
        assert_eq!(take_name(&one).unwrap(), take_name(&two).unwrap());
        assert!(take_name(&["@acme".to_owned()]).is_none());
        assert!(take_name(&["_x".to_owned()]).is_none());
    }

    #[test]
    fn versions_are_ordered_by_precedence_and_not_by_text() {
        let mut versions = ["10.0.0", "9.0.0", "10.0.0-rc.10", "10.0.0-rc.9", "01.2"];
        versions.sort_by(|a, b| compare_versions(a, b));
        assert_eq!(versions, ["01.2", "9.0.0", "10.0.0-rc.9", "10.0.0-rc.10", "10.0.0"]);
    }

    #[test]
    fn a_tag_is_never_a_version_or_a_range() {
        for good in ["latest", "next", "v-next", "cjs", "beta-2"] {
            assert!(check_tag(good).is_ok(), "{good}");
        }
        for bad in ["", "1", "1.x", "v1", "x", "^1", "a/b", "*", "v"] {
            assert_eq!(check_tag(bad).unwrap_err().code(), "dist-tag", "{bad}");
        }
    }

    #[test]
    fn a_tarball_path_tells_its_version() {
        assert_eq!(tarball_path("@acme/tool", "1.0.0-rc.1"), "@acme/tool/-/tool-1.0.0-rc.1.tgz");
        assert_eq!(version_of_tarball("@acme/tool", "@acme/tool/-/tool-1.0.0-rc.1.tgz"), Some("1.0.0-rc.1"));
        assert_eq!(version_of_tarball("tool", "tool/-/other-1.0.0.tgz"), None);
        assert_eq!(version_of_tarball("tool", "tool/-/tool-1.0.0.zip"), None);
    }

    #[test]
    fn names_that_no_registry_holds_are_refused() {
        for bad in ["", "-", ".x", "_x", "@a", "@/b", "@a/", "a/b", "a b", "a\u{e9}", &"a".repeat(215)] {
            assert_eq!(check_name(bad).unwrap_err().code(), "package-name", "{bad}");
        }
        assert!(check_name("JSONStream").is_ok());
        assert!(check_new_name("JSONStream").is_err());
    }
}
