//! Lines of the sparse index: how one is made, read, compared with a crate, and written.
//!
//! The metadata of a release *is* its index line, with every field that came, known or not, so
//! that a mirror hands out what upstream said. Only `yanked` is overwritten by what the view says.

use std::collections::BTreeSet;

use cofferdam_format_kit::{Document, ListedFile, PackageView, ReleaseState, ReleaseView};
use cofferdam_types::{Error, Result, Sha256, Timestamp};
use serde_json::{Map, Value};

use crate::{coords, inspect::Manifest};

/// The media type of an index file.
pub const MEDIA_TYPE: &str = "text/plain; charset=utf-8";

/// The index file of a package. A registry has one spelling of a name, which decides the path.
pub fn document(package: &PackageView) -> Document {
    let mut bytes = Vec::new();
    for release in &package.releases {
        bytes.extend_from_slice(line(release).to_string().as_bytes());
        bytes.push(b'\n');
    }
    Document { path: coords::index_path(&package.display), media_type: MEDIA_TYPE.into(), bytes }
}

/// One release as clients see it.
fn line(release: &ReleaseView) -> Value {
    let mut line = release.meta.clone();
    if let Value::Object(fields) = &mut line {
        fields.insert("yanked".into(), (release.state == ReleaseState::Yanked).into());
        // Written as `null` by a publish, whose time only the commit knows.
        if fields.get("pubtime").is_some_and(Value::is_null) {
            fields.insert("pubtime".into(), pubtime(release.published).into());
        }
    }
    line
}

/// Cargo reads `pubtime` in whole seconds and in this form only.
fn pubtime(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{}Z", text.split('.').next().unwrap_or(&text))
}

/// Finds the line of a version in an index file.
///
/// # Errors
/// `VerificationFailed` (`upstream-index`) when the line that names the version is for another crate.
pub fn find(text: &[u8], name: &str, version: &str) -> Result<Option<Map<String, Value>>> {
    for line in text.split(|b| *b == b'\n') {
        // Cargo skips lines that it cannot read, so that the format may grow; so do we.
        let Ok(Value::Object(fields)) = serde_json::from_slice(line) else { continue };
        if fields.get("vers").and_then(Value::as_str) != Some(version) {
            continue;
        }
        if fields.get("name").and_then(Value::as_str) != Some(name) {
            let text = format!("upstream's index for {name} has a line for another crate");
            return Err(Error::verification("upstream-index", text));
        }
        return Ok(Some(fields));
    }
    Ok(None)
}

/// The crates that an index file lists, oldest version first. A line that cannot be read is passed over, as
/// cargo does; `.crate` files run everywhere and their size is not in the index.
///
/// # Errors
/// `Invalid` (`index-document`) when it has lines and none is of this crate.
pub fn listed(name: &str, text: &[u8]) -> Result<Vec<ListedFile>> {
    let key = coords::key(name)?;
    let mut files = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
        let (Some(spelling), Some(version)) = (self::text(&line, "name"), self::text(&line, "vers")) else {
            continue;
        };
        if coords::key(spelling).ok().as_ref() != Some(&key) || coords::version(version).is_err() {
            continue;
        }
        let cksum = self::text(&line, "cksum").and_then(|text| text.parse::<Sha256>().ok());
        files.push(ListedFile {
            version: version.to_owned(),
            path: coords::file_path(spelling, version),
            digests: cksum.map(|sum| format!("sha256:{}", sum.to_hex())).into_iter().collect(),
            yanked: line.get("yanked") == Some(&Value::Bool(true)),
            ..ListedFile::default()
        });
    }
    if files.is_empty() && text.iter().any(|b| !b.is_ascii_whitespace()) {
        let text = format!("what was read as the index file of `{name}` has no line of it");
        return Err(Error::invalid("index-document", text).hint("ask for it again"));
    }
    files.sort_by(|a, b| coords::compare(&a.version, &b.version));
    Ok(files)
}

/// A text field of a line.
pub fn text<'a>(line: &'a Value, field: &str) -> Option<&'a str> {
    line.get(field).and_then(Value::as_str)
}

/// Checks a line against the crate that it speaks of: name, version, checksum, the packages it
/// depends on, and `links` where the line has it (old lines have not).
///
/// Requirements, features and targets are not compared: packaging rewrites them in ways that
/// differ between releases of cargo, and what the build uses is in any case the manifest inside.
///
/// # Errors
/// `VerificationFailed` (`index-mismatch`) naming what differs.
pub fn check(line: &Value, manifest: &Manifest, cksum: &str) -> Result<()> {
    let crate_id = format!("{} {}", manifest.name, manifest.version);
    let differ = |what: String| {
        Err(Error::verification("index-mismatch", format!("the index line of {crate_id} {what}")))
    };
    if text(line, "name") != Some(&manifest.name) || text(line, "vers") != Some(&manifest.version) {
        return differ("names another crate or version than the file does".into());
    }
    if text(line, "cksum") != Some(cksum) {
        return differ(format!("has another checksum than the file, whose SHA-256 is {cksum}"));
    }
    if line.get("yanked").is_some_and(|y| !y.is_boolean()) {
        return differ("has a `yanked` that is neither true nor false".into());
    }
    if let Some(links) = text(line, "links")
        && manifest.links.as_deref() != Some(links)
    {
        return differ(format!("says that it links `{links}`; its manifest does not"));
    }
    let claimed = dependencies(line)?;
    if let Some(name) = claimed.difference(&manifest.dependencies).next() {
        return differ(format!("depends on `{name}`; its manifest does not"));
    }
    if let Some(name) = manifest.dependencies.difference(&claimed).next() {
        return differ(format!("does not depend on `{name}`; its manifest does"));
    }
    Ok(())
}

/// Keys of the packages of a line's dependencies, development dependencies left out.
fn dependencies(line: &Value) -> Result<BTreeSet<String>> {
    let list = line.get("deps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let real = list.iter().filter(|dep| text(dep, "kind") != Some("dev"));
    real.map(|dep| {
        let name = text(dep, "package").or_else(|| text(dep, "name"));
        let name = name
            .ok_or_else(|| Error::verification("index-mismatch", "a dependency in the index has no name"))?;
        coords::key(name)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(dependencies: &[&str]) -> Manifest {
        Manifest {
            name: "a".into(),
            version: "1.0.0".into(),
            links: None,
            dependencies: dependencies.iter().map(|d| (*d).to_owned()).collect(),
            registries: BTreeSet::new(),
            about: json!({}),
        }
    }

    #[test]
    fn a_line_must_agree_with_its_crate_in_everything_that_can_be_compared() {
        let line = json!({"name": "a", "vers": "1.0.0", "cksum": "c", "yanked": false, "deps": [
            {"name": "x", "package": "Real_Name", "kind": "normal"},
            {"name": "only-for-tests", "kind": "dev"},
        ]});
        check(&line, &manifest(&["real-name"]), "c").unwrap();
        for (wrong, cksum) in [(&["real-name"][..], "d"), (&[], "c"), (&["real-name", "more"], "c")] {
            assert_eq!(check(&line, &manifest(wrong), cksum).unwrap_err().code(), "index-mismatch");
        }
    }

    #[test]
    fn a_version_is_found_among_lines_that_cannot_be_read() {
        let text =
            b"junk\n{\"name\":\"a\",\"vers\":\"1.0.0\",\"new\":7}\n{\"name\":\"b\",\"vers\":\"2.0.0\"}\n";
        assert_eq!(find(text, "a", "1.0.0").unwrap().unwrap()["new"], 7);
        assert!(find(text, "a", "3.0.0").unwrap().is_none());
        assert_eq!(find(text, "a", "2.0.0").unwrap_err().code(), "upstream-index");
    }
}
