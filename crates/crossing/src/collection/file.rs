//! The collection as a file: `NAME.collection.toml`, for people to read, compare and keep beside the project.
//!
//! Sorted, one fact a line, and without times and numbers: the same builds write the same bytes, and what changed is
//! what a diff shows. Reading one fetches and changes nothing.

use std::fmt::Write as _;

use cofferdam_types::{Error, Result, Sha256};
use serde::Deserialize;

use super::{CollectedFile, Collection, CollectionItem, Excluded, RecordingOf};

/// How a collection's file is named.
pub const FILE_END: &str = ".collection.toml";

/// Bytes of a file, at most.
const MAX_FILE: usize = 64 << 20;

const HEAD: &str = "# What these builds use. Written by `cofferdam collect`; made to be read and compared.
# An item without `named_in` was found only by running: no lock file names it.
";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    name: String,
    digest: Option<Sha256>,
    #[serde(default)]
    recording: Vec<RecordingOf>,
    #[serde(default)]
    exclude: Vec<Excluded>,
    #[serde(default)]
    item: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    purl: String,
    repository: String,
    package: String,
    version: String,
    #[serde(default)]
    source: String,
    address: Option<String>,
    known_as: Option<String>,
    #[serde(default)]
    licences: Vec<String>,
    #[serde(default)]
    proofs: Vec<String>,
    #[serde(default)]
    asked_by: Vec<String>,
    #[serde(default)]
    named_in: Vec<String>,
    pin: Option<String>,
    #[serde(default)]
    used_by: Vec<String>,
    files: Vec<CollectedFile>,
}

impl Collection {
    /// The text of its file.
    ///
    /// # Errors
    /// Never for values that came from the database.
    pub fn to_toml(&self) -> Result<String> {
        let mut out = String::from(HEAD);
        out.push_str("format = 1\n");
        line(&mut out, "name", &self.name);
        line(&mut out, "digest", &self.digest()?.to_hex());
        for RecordingOf { name, command, platform, state } in &self.recordings {
            out.push_str("\n[[recording]]\n");
            line(&mut out, "name", name);
            line(&mut out, "command", command);
            line(&mut out, "platform", platform);
            line(&mut out, "state", state);
        }
        for Excluded { purl, reason, by } in &self.excluded {
            out.push_str("\n[[exclude]]\n");
            line(&mut out, "purl", purl);
            line(&mut out, "reason", reason);
            line(&mut out, "by", by);
        }
        for item in &self.items {
            item.write(&mut out);
        }
        Ok(out)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// `Invalid` (`bad-collection`) with the line, and when its digest is not that of its items.
    pub fn from_toml(text: &str, file: &str) -> Result<Self> {
        let bad = |why: String| Error::invalid("bad-collection", format!("{file}: {why}"));
        if text.len() > MAX_FILE {
            return Err(bad(format!("it has more than {MAX_FILE} bytes")));
        }
        let read: File = toml::from_str(text).map_err(|e| bad(e.to_string()))?;
        if read.format != 1 {
            return Err(bad(format!("it is of format {}, and this program reads format 1", read.format))
                .hint("take a newer version of cofferdam"));
        }
        let mut items: Vec<CollectionItem> = read.item.into_iter().map(CollectionItem::from).collect();
        items.sort_by(|a, b| {
            (&a.repository, &a.package, &a.version).cmp(&(&b.repository, &b.package, &b.version))
        });
        let (name, recordings, excluded) = (read.name, read.recording, read.exclude);
        let collection = Self { name, recordings, items, excluded, ..Self::default() };
        let is = collection.digest()?;
        if read.digest.is_some_and(|said| said != is) {
            return Err(bad(format!("its items were changed by hand: their digest is {is}"))
                .hint("take the line `digest` out if that was meant"));
        }
        Ok(collection)
    }
}

impl From<Item> for CollectionItem {
    fn from(item: Item) -> Self {
        Self {
            repository: item.repository,
            package: item.package,
            version: item.version,
            purl: item.purl,
            files: item.files,
            source: item.source,
            address: item.address,
            known_as: item.known_as,
            licences: item.licences,
            proofs: item.proofs,
            asked_by: item.asked_by,
            mentioned: item.named_in,
            pinned: item.pin,
            used_by: item.used_by,
        }
    }
}

impl CollectionItem {
    fn write(&self, out: &mut String) {
        out.push_str("\n[[item]]\n");
        line(out, "purl", &self.purl);
        line(out, "repository", &self.repository);
        line(out, "package", &self.package);
        line(out, "version", &self.version);
        for (name, value) in [
            ("source", Some(&self.source).filter(|source| !source.is_empty())),
            ("address", self.address.as_ref()),
            ("known_as", self.known_as.as_ref()),
            ("pin", self.pinned.as_ref()),
        ] {
            if let Some(value) = value {
                line(out, name, value);
            }
        }
        list(out, "licences", &self.licences);
        list(out, "proofs", &self.proofs);
        list(out, "asked_by", &self.asked_by);
        list(out, "named_in", &self.mentioned);
        list(out, "used_by", &self.used_by);
        out.push_str("files = [\n");
        for CollectedFile { path, sha256, size } in &self.files {
            let _ = writeln!(out, "  {{ path = {}, size = {size}, sha256 = \"{sha256}\" }},", quoted(path));
        }
        out.push_str("]\n");
    }
}

fn line(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "{name} = {}", quoted(value));
}

fn list(out: &mut String, name: &str, values: &[String]) {
    if values.is_empty() {
        return;
    }
    let all: Vec<String> = values.iter().map(|value| quoted(value)).collect();
    let _ = match all.as_slice() {
        [one] => writeln!(out, "{name} = [{one}]"),
        many => writeln!(out, "{name} = [\n  {},\n]", many.join(",\n  ")),
    };
}

/// A basic string of TOML 1.0.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(package: &str, version: &str) -> CollectionItem {
        CollectionItem {
            repository: "npm-mirror".into(),
            package: package.into(),
            version: version.into(),
            purl: format!("pkg:npm/{package}@{version}"),
            source: "https://registry.example/".into(),
            licences: vec!["MIT \"or\" so\\".into(), "ISC".into()],
            asked_by: vec!["npm/10.9".into()],
            files: vec![CollectedFile {
                path: format!("{package}/-/x.tgz"),
                sha256: Sha256::of(b"x"),
                size: 3,
            }],
            ..CollectionItem::default()
        }
    }

    fn collection(items: Vec<CollectionItem>) -> Collection {
        let recordings =
            vec![RecordingOf { name: "berth".into(), command: "make\tall".into(), ..RecordingOf::default() }];
        let excluded =
            vec![Excluded { purl: "pkg:npm/spy@1".into(), reason: "it calls home".into(), by: "ann".into() }];
        Collection { name: "berth".into(), recordings, items, excluded, ..Collection::default() }
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_one_new_version_is_a_few_lines_of_it() {
        let before = collection(vec![item("left", "1.0"), item("right", "1.0")]);
        let text = before.to_toml().unwrap();
        assert_eq!(Collection::from_toml(&text, "x").unwrap(), before);
        assert_eq!(before.to_toml().unwrap(), text);
        let after = collection(vec![item("left", "1.0"), item("right", "1.1")]).to_toml().unwrap();
        let changed = text.lines().zip(after.lines()).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 3, "its digest, its package URL and its version:\n{after}");
    }

    #[test]
    fn a_change_by_hand_is_told_unless_it_was_meant() {
        let text = collection(vec![item("left", "1.0")]).to_toml().unwrap().replace("size = 3", "size = 4");
        let error = Collection::from_toml(&text, "berth.collection.toml").unwrap_err();
        assert!(error.message().contains("berth.collection.toml: its items were changed by hand"), "{error}");
        let meant: String =
            text.lines().filter(|l| !l.starts_with("digest")).fold(String::new(), |all, l| all + l + "\n");
        assert_eq!(Collection::from_toml(&meant, "x").unwrap().items[0].files[0].size, 4);
        let error = Collection::from_toml("format = 1\nname = \"x\"\nitems = 1\n", "f").unwrap_err();
        assert!(error.message().contains("line 3"), "{error}");
        assert!(Collection::from_toml("format = 2\nname = \"x\"\n", "f").is_err());
    }
}
