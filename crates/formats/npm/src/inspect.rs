//! What a tarball says about itself, and whether bytes match npm's digests.
//!
//! Nothing is unpacked; the archive is read once to its end. This module must never trust a name,
//! version or digest that came from outside without comparing it.

use std::fs::File;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::{
    Door, DoorExt as _,
    archive::{Bounds, scan_tar_gz},
};
use cofferdam_types::{Digests, Error, Result, Sha256};
use serde_json::Value;

use crate::coords::{clean_version, shorten};

/// Bounds of a package tarball: 100,000 files, 4 GiB expanded, 2 MiB of `package.json`.
const BOUNDS: Bounds = Bounds { entries: 100_000, expanded: 4 << 30, member: 2 << 20 };

/// Checks a stored tarball completely: a whole gzip-compressed tar, no path tricks, no links, and a
/// `package.json` that has this name and this version.
///
/// # Errors
/// `Invalid` for a broken archive, `VerificationFailed` (`package-json-mismatch`) for another name
/// or version, `TooLarge` past the bounds.
pub async fn check_tarball(door: &dyn Door, sha256: &Sha256, name: &str, version: &str) -> Result<()> {
    let found = door.inspect(sha256, read_identities).await?;
    if found.is_empty() {
        return Err(Error::invalid("package-json-missing", "the tarball has no package/package.json")
            .hint("make the tarball with `npm pack`"));
    }
    for (inner_name, inner_version) in found {
        if inner_name != name || clean_version(&inner_version) != clean_version(version) {
            return Err(Error::verification(
                "package-json-mismatch",
                format!(
                    "the tarball's package.json says {}@{}, but it is offered as {name}@{version}",
                    shorten(&inner_name),
                    shorten(&inner_version)
                ),
            ));
        }
    }
    Ok(())
}

/// Name and version of every `<folder>/package.json`. npm strips the first folder whatever it is
/// called, so two of them would overwrite each other: all must agree.
fn read_identities(file: File) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let want = |path: &str| {
        let path = path.strip_prefix("./").unwrap_or(path);
        path.split_once('/').is_some_and(|(folder, rest)| !folder.is_empty() && rest == "package.json")
    };
    scan_tar_gz(file, BOUNDS, false, want, |path, bytes| {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let manifest: Value = serde_json::from_slice(text).map_err(|error| {
            Error::invalid("package-json-broken", format!("`{path}` in the tarball is not JSON: {error}"))
        })?;
        let field = |key: &str| {
            manifest.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
                Error::invalid("package-json-broken", format!("`{path}` in the tarball has no `{key}`"))
            })
        };
        found.push((field("name")?, field("version")?));
        Ok(())
    })?;
    Ok(found)
}

/// Compares bytes with `dist.integrity` (subresource integrity, any of sha512, sha256, sha1) and
/// `dist.shasum` (SHA-1, hexadecimal). Returns how many digests were compared.
///
/// # Errors
/// `VerificationFailed` (`integrity-mismatch`) when one differs; `Invalid` (`integrity-unknown`)
/// when `integrity` has no algorithm that can be checked.
pub fn check_dist(dist: &Value, digests: &Digests) -> Result<usize> {
    let mut compared = 0;
    if let Some(text) = dist.get("integrity").and_then(Value::as_str) {
        for item in text.split_ascii_whitespace() {
            let item = item.split_once('?').map_or(item, |(hash, _)| hash);
            let Some((algorithm, expected)) = item.split_once('-') else { continue };
            let Some(actual) = sri_digest(algorithm, digests) else { continue };
            compared += 1;
            if actual != expected {
                return Err(mismatch("integrity", item, &format!("{algorithm}-{actual}")));
            }
        }
        if compared == 0 {
            let text = format!("the integrity `{}` has no digest that can be checked", shorten(text));
            return Err(Error::invalid("integrity-unknown", text));
        }
    }
    if let Some(expected) = dist.get("shasum").and_then(Value::as_str) {
        compared += 1;
        if !expected.eq_ignore_ascii_case(&digests.sha1) {
            return Err(mismatch("shasum", expected, &digests.sha1));
        }
    }
    Ok(compared)
}

fn mismatch(field: &str, expected: &str, actual: &str) -> Error {
    Error::verification(
        "integrity-mismatch",
        format!("the tarball does not match its {field}: {} was said, {actual} came", shorten(expected)),
    )
}

fn sri_digest(algorithm: &str, digests: &Digests) -> Option<String> {
    let hexadecimal = match algorithm {
        "sha512" => digests.sha512.clone(),
        "sha256" => digests.sha256.to_hex(),
        "sha1" => digests.sha1.clone(),
        _ => return None,
    };
    hex::decode(hexadecimal).ok().map(|bytes| STANDARD.encode(bytes))
}

/// The text that `dist.integrity` must have for these bytes, in the one algorithm that it uses; none when it
/// uses several, or one that cannot be computed.
#[must_use]
pub fn recomputed(dist: &Value, digests: &Digests) -> Option<String> {
    let (algorithm, _) = dist.get("integrity")?.as_str()?.split_once('-')?;
    Some(format!("{algorithm}-{}", sri_digest(algorithm, digests)?))
}

/// The `integrity` text of stored bytes: `sha512-` and the digest in base64.
#[must_use]
pub fn integrity(digests: &Digests) -> String {
    format!("sha512-{}", sri_digest("sha512", digests).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use cofferdam_format_kit::conformance::digests_of;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_digest_that_is_given_is_compared() {
        let digests = digests_of(b"abc");
        let good = json!({ "integrity": integrity(&digests), "shasum": digests.sha1 });
        assert_eq!(check_dist(&good, &digests).unwrap(), 2);
        assert_eq!(check_dist(&json!({}), &digests).unwrap(), 0);
        for (bad, code) in [
            (json!({ "integrity": integrity(&digests), "shasum": "00" }), "integrity-mismatch"),
            (json!({ "integrity": integrity(&digests_of(b"x")) }), "integrity-mismatch"),
            (json!({ "integrity": "sha999-AAAA" }), "integrity-unknown"),
            (json!({ "integrity": "" }), "integrity-unknown"),
        ] {
            assert_eq!(check_dist(&bad, &digests).unwrap_err().code(), code, "{bad}");
        }
    }
}
