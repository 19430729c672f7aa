//! Python's lock files, and what they have in common: names, version specifiers, digests of files.

pub(crate) mod pdm;
pub(crate) mod pipenv;
pub(crate) mod poetry;
pub(crate) mod pylock;
pub(crate) mod requirements;
pub(crate) mod uv;

pub(crate) use cofferdam_types::python_name as normalise;

use crate::{Ecosystem, Listed, Version, address, digest, list::List, tree::Node};

/// The name at the beginning of a requirement (PEP 508).
pub(crate) fn name_of(requirement: &str) -> Option<String> {
    let text = requirement.trim_start();
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(text.len());
    normalise(&text[..end])
}

/// What a version specifier means (PEP 440).
pub(crate) fn version_of(specifier: &str) -> Version {
    let text: String = specifier.chars().filter(|c| !c.is_whitespace()).collect();
    let text = text.trim_start_matches('(').trim_end_matches(')');
    let exact = text.strip_prefix("===").or_else(|| text.strip_prefix("=="));
    match exact {
        _ if text.is_empty() || text == "*" => Version::Any,
        Some(version) if !version.contains([',', '*']) => Version::Exact(version.to_owned()),
        _ => Version::Range(text.to_owned()),
    }
}

/// An entry of the Python registry; a name that is none leaves a note.
fn listed(list: &mut List, name: &str, version: Version, line: u32) -> Option<Listed> {
    let Some(name) = normalise(name) else {
        list.note(line, "an entry is left out: its name is no Python package's; correct it or remove it");
        return None;
    };
    Some(Listed::new(Ecosystem::Pypi, name, version, line))
}

/// Digests of files: `hash = "sha256:…"`, or `hashes = { sha256 = "…" }`.
fn digests<'a>(files: impl IntoIterator<Item = &'a Node>) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        found.extend(file.str("hash").and_then(digest::of_pair));
        let hashes = file.map("hashes").iter();
        found.extend(hashes.filter_map(|(name, _, hash)| digest::of_hex(name, hash.text()?)));
    }
    found
}

/// A package that is made of a git repository or of one address, or lies in the project. Whether it was one.
fn elsewhere(list: &mut List, name: &str, source: &Node, file: Vec<String>, line: u32) -> bool {
    let kind = source.str("type").unwrap_or_default();
    let reference = ["resolved_reference", "revision", "commit-id", "reference", "requested-revision"];
    let reference = reference.iter().find_map(|key| source.str(key));
    match (source.str("git"), source.str("url"), kind) {
        (Some(git), ..) => {
            let (place, fragment) = git.split_once('#').map_or((git, None), |(p, f)| (p, Some(f)));
            let place = place.split('?').next().unwrap_or(place);
            list.git(place.trim_start_matches("git+"), fragment.or(reference), name, line);
        }
        (_, Some(url), "git") => list.git(url, reference, name, line),
        (_, Some(url), "" | "url") if address::is_absolute(url) => list.url(url, file, name, line),
        _ => {
            let in_project =
                ["editable", "virtual", "directory", "path"].iter().any(|k| source.get(k).is_some());
            return in_project || matches!(kind, "directory" | "file");
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_and_specifiers_have_one_form() {
        assert_eq!(name_of(" Foo[x]>=1 ; y").as_deref(), Some("foo"));
        assert_eq!(version_of("== 1.0"), Version::Exact("1.0".into()));
        assert_eq!(version_of("==1.*"), Version::Range("==1.*".into()));
        assert_eq!(version_of("(>=1, <2)"), Version::Range(">=1,<2".into()));
        assert_eq!(version_of(" "), Version::Any);
    }
}
