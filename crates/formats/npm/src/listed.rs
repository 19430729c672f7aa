//! The tarballs that a packument of ours lists. Pure: text in, list out.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::ListedFile;
use cofferdam_types::{Error, Result, platform::pairs};
use serde::Deserialize;
use serde_json::Value;

use crate::coords;

/// What is read of a packument; either form has it.
#[derive(Deserialize)]
struct Packument {
    name: String,
    #[serde(default)]
    versions: BTreeMap<String, Manifest>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    dist: Value,
    #[serde(default)]
    deprecated: Value,
    #[serde(default)]
    os: Value,
    #[serde(default)]
    cpu: Value,
    #[serde(default)]
    libc: Value,
}

/// Reads a packument.
///
/// # Errors
/// `Invalid` (`index-document`).
pub fn files(name: &str, packument: &[u8]) -> Result<Vec<ListedFile>> {
    let name = coords::check_name(name)?;
    let wrong = |why: String| Error::invalid("index-document", format!("the document of {name} {why}"));
    let packument: Packument =
        serde_json::from_slice(packument).map_err(|error| wrong(format!("is no packument: {error}")))?;
    if packument.name != name {
        return Err(wrong(format!("is of {}", coords::shorten(&packument.name))));
    }
    let mut files: Vec<ListedFile> =
        packument.versions.iter().filter_map(|(version, m)| listed(name, version, m)).collect();
    files.sort_by(|a, b| coords::compare_versions(&a.version, &b.version));
    Ok(files)
}

fn listed(name: &str, version: &str, manifest: &Manifest) -> Option<ListedFile> {
    let url = manifest.dist["tarball"].as_str()?;
    // The repository's own address is not known here; ours end in exactly this path.
    let path = coords::tarball_path(name, version);
    if !coords::is_storable_version(version) || !url.strip_suffix(&path)?.ends_with('/') {
        return None;
    }
    Some(ListedFile {
        version: version.to_owned(),
        path,
        digests: digests(&manifest.dist),
        size: None,
        // npm passes over deprecated versions while it can (npm-pick-manifest); `false` and "" are none.
        yanked: manifest.deprecated.as_str().is_some_and(|text| !text.is_empty())
            || manifest.deprecated == true,
        platforms: pairs(&words(&manifest.os), &words(&manifest.cpu), &words(&manifest.libc)),
    })
}

/// The texts of a list, or of one.
fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).chain(value.as_str()).collect()
}

/// `integrity` and `shasum`, strongest first.
fn digests(dist: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let integrity = dist["integrity"].as_str().unwrap_or_default();
    for (algorithm, bytes) in [("sha512", 64), ("sha256", 32), ("sha1", 20)] {
        let of_algorithm = |part: &str| {
            let text = part.strip_prefix(algorithm)?.strip_prefix('-')?.split('?').next()?;
            STANDARD.decode(text).ok().filter(|raw| raw.len() == bytes)
        };
        let found = integrity.split_ascii_whitespace().filter_map(of_algorithm);
        all.extend(found.map(|raw| format!("{algorithm}:{}", hex::encode(raw))));
    }
    let shasum =
        dist["shasum"].as_str().filter(|s| s.len() == 40 && s.bytes().all(|b| b.is_ascii_hexdigit()));
    all.extend(shasum.map(|s| format!("sha1:{}", s.to_ascii_lowercase())));
    all.dedup();
    all
}
