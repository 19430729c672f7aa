//! Names, versions and paths of crates: what is a name, and where its index and its bytes live.
//!
//! Pure text work. Nothing here may read a view or the network.

use std::cmp::Ordering;

use cofferdam_types::{Error, Result};

/// Characters of a crate name at the most (the public registry's bound).
const MAX_NAME: usize = 64;

/// File names that Windows keeps for devices: a checkout of such a crate is impossible there.
const DEVICES: [&str; 22] = [
    "aux", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "con", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9", "nul", "prn",
];

/// The normal form of a crate name: lower case, `_` written as `-`. Two crates of one registry may
/// not have the same one (The Cargo Book, "Registry Index", name restrictions).
///
/// # Errors
/// `Invalid` (`crate-name`): ASCII letters, digits, `-` and `_` only, 1 to 64 of them, not
/// starting with `-`.
pub fn key(name: &str) -> Result<String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(inner) || name.starts_with('-') {
        let shown: String = name.chars().take(80).filter(|c| !c.is_control()).collect();
        return Err(Error::invalid("crate-name", format!("`{shown}` is not a crate name"))
            .hint("a crate name has 1 to 64 ASCII letters, digits, `-` or `_`"));
    }
    Ok(name.to_ascii_lowercase().replace('_', "-"))
}

/// [`key`] for a crate that is new here: it must also start with a letter and be usable as a file
/// name everywhere.
///
/// # Errors
/// `Invalid` (`crate-name`).
pub fn key_for_publish(name: &str) -> Result<String> {
    let key = key(name)?;
    if !name.as_bytes()[0].is_ascii_alphabetic() {
        return Err(Error::invalid(
            "crate-name",
            format!("the crate name `{name}` must start with a letter"),
        ));
    }
    if DEVICES.contains(&key.as_str()) {
        let text = format!("the crate name `{name}` is a device name on Windows");
        return Err(Error::invalid("crate-name", text).hint("choose another name"));
    }
    Ok(key)
}

/// Reads a version.
///
/// # Errors
/// `Invalid` (`crate-version`) when it is no semantic version 2.0.
pub fn version(text: &str) -> Result<semver::Version> {
    semver::Version::parse(text).map_err(|error| {
        let shown: String = text.chars().take(80).filter(|c| !c.is_control()).collect();
        Error::invalid("crate-version", format!("`{shown}` is not a semantic version: {error}"))
    })
}

/// Semantic versions by precedence (build metadata decides last); texts that are none come first.
pub fn compare(a: &str, b: &str) -> Ordering {
    cofferdam_versions::compare(cofferdam_versions::Scheme::Semver, a, b)
}

/// The folder of a name in an index: `1`, `2`, `3/a` or `ab/cd`, in the name's own case (the
/// `{prefix}` marker of `config.json`). The name must be a valid one.
pub fn prefix(name: &str) -> String {
    match name.len() {
        1 => "1".into(),
        2 => "2".into(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

/// The path of a crate's index file, lower case, without a leading slash.
pub fn index_path(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    format!("{}/{name}", prefix(&name))
}

/// The committed path of a `.crate` file.
pub fn file_path(name: &str, version: &str) -> String {
    format!("crates/{name}/{version}/download")
}

/// Name and version from a path made by [`file_path`].
pub fn split_file_path(path: &str) -> Option<(&str, &str)> {
    let (name, version) = path.strip_prefix("crates/")?.strip_suffix("/download")?.split_once('/')?;
    (key(name).is_ok() && self::version(version).is_ok()).then_some((name, version))
}

/// The spellings under which upstream may know a key, likeliest first. The index of a name with
/// `_` lies under another address than the one with `-`, and a key tells only one of them.
pub fn spellings(key: &str) -> Vec<String> {
    /// Names with more separators than this are tried in the two uniform spellings only.
    const MIXED: usize = 4;
    let places: Vec<usize> = key.match_indices('-').map(|(at, _)| at).collect();
    let all = (1u32 << places.len().min(MIXED)) - 1;
    let spell = |mask: u32| {
        let mut bytes = key.as_bytes().to_vec();
        for (bit, at) in places.iter().enumerate() {
            if mask & (1 << bit.min(31)) != 0 {
                bytes[*at] = b'_';
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    match places.len() {
        0 => vec![key.into()],
        n if n > MIXED => vec![key.into(), key.replace('-', "_")],
        _ => [0, all].into_iter().chain(1..all).map(spell).collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_spellings_of_one_name_have_one_key() {
        assert_eq!(key("Serde_JSON").unwrap(), "serde-json");
        for wrong in ["", "-a", "a.b", "a/b", "é", "a b", &"a".repeat(65)] {
            assert_eq!(key(wrong).unwrap_err().code(), "crate-name", "{wrong}");
        }
        for wrong in ["1a", "_a", "nul", "CON"] {
            assert!(key_for_publish(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn index_files_lie_where_cargo_looks() {
        for (name, path) in
            [("a", "1/a"), ("ab", "2/ab"), ("Abc", "3/a/abc"), ("Inflector", "in/fl/inflector")]
        {
            assert_eq!(index_path(name), path);
        }
        assert_eq!(prefix("Inflector"), "In/fl");
    }

    #[test]
    fn versions_follow_semver_precedence() {
        let mut versions = vec!["1.10.0", "1.9.0", "1.10.0-rc.1", "1.10.0+b2", "1.10.0+b1", "junk"];
        versions.sort_by(|a, b| compare(a, b));
        assert_eq!(versions, ["junk", "1.9.0", "1.10.0-rc.1", "1.10.0", "1.10.0+b1", "1.10.0+b2"]);
    }

    #[test]
    fn upstream_is_asked_for_the_uniform_spellings_first() {
        assert_eq!(spellings("libc"), ["libc"]);
        assert_eq!(spellings("a-b"), ["a-b", "a_b"]);
        assert_eq!(spellings("a-b-c"), ["a-b-c", "a_b_c", "a_b-c", "a-b_c"]);
        assert_eq!(spellings("a-b-c-d-e-f").len(), 2);
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key_and_paths_read_back(name in "[a-zA-Z][a-zA-Z0-9_-]{0,20}", minor in 0u64..99) {
            let first = key(&name).unwrap();
            prop_assert_eq!(key(&first).unwrap(), first.clone());
            let version = format!("1.{minor}.0+x.1");
            let path = file_path(&name, &version);
            prop_assert_eq!(split_file_path(&path), Some((name.as_str(), version.as_str())));
        }
    }
}
