//! Bringing crates from an upstream sparse registry (connected side), and admitting them from a
//! transfer. Upstream's checksums are checked here; nothing is filtered and no byte is changed.

use bytes::Bytes;
use cofferdam_format_kit::{Answer, Change, Door, Draft, DraftFile, Fetched, Recorded, Upstream, View};
use cofferdam_types::{Digests, Error, ErrorKind, Result, Sha256, Timestamp};
use http::{HeaderValue, header};
use serde_json::Value;

use crate::{
    coords, index,
    inspect::{self, Manifest},
};

/// The form of a crate's index that is asked for.
const INDEX: &str = "text/plain";

/// Bytes of an index file at the most; the largest known ones have about 3 MiB.
const MAX_INDEX: usize = 64 << 20;

/// Bytes of `config.json` at the most.
const MAX_CONFIG: usize = 64 << 10;

/// The live index of a package, as upstream gives it.
pub async fn live_index(key: &str, view: &dyn View, upstream: &dyn Upstream) -> Result<Recorded> {
    let known = view.package(key).await?.map(|package| package.display);
    let mut spellings = coords::spellings(key);
    if let Some(known) = known {
        spellings.retain(|s| !s.eq_ignore_ascii_case(&known));
        spellings.insert(0, known);
    }
    for name in spellings {
        let Some(text) = fetch_index(upstream, &name).await? else { continue };
        check_live(&text, key)?;
        let etag = format!("\"{}\"", Sha256::of(&text));
        let mut answer = Answer::bytes(http::StatusCode::OK, index::MEDIA_TYPE, text);
        if let Ok(value) = HeaderValue::from_str(&etag) {
            answer.headers.insert(header::ETAG, value);
        }
        answer.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        return Ok(Recorded { answer: Some(answer), ..Recorded::default() });
    }
    Err(Error::not_found(format!("upstream has no crate `{key}`")))
}

/// Refuses an answer that is no index of this package, such as a portal's sign-in page.
fn check_live(text: &[u8], key: &str) -> Result<()> {
    let first = text.split(|b| *b == b'\n').find(|line| !line.is_empty()).unwrap_or_default();
    let line: Value = serde_json::from_slice(first).unwrap_or_default();
    let name = index::text(&line, "name").and_then(|name| coords::key(name).ok());
    if first.is_empty() || name.as_deref() == Some(key) {
        return Ok(());
    }
    let text = format!("upstream's answer for the index of `{key}` is no index of that crate");
    Err(Error::verification("upstream-index", text)
        .hint("check the address of the upstream and whether something in between answers for it"))
}

/// Fetches the release to which a committed path belongs.
pub async fn release(path: &str, upstream: &dyn Upstream, door: &dyn Door) -> Result<Recorded> {
    let (name, version) = coords::split_file_path(path)
        .ok_or_else(|| Error::not_found(format!("`{path}` is no address of a crate")))?;
    let (text, template) =
        futures::try_join!(recent_index(upstream, name), fetch_download_template(upstream))?;
    let text = match text {
        Some(text) if index::find(&text, name, version)?.is_some() => Some(text),
        _ => fetch_index(upstream, name).await?,
    };
    let text = text.ok_or_else(|| Error::not_found(format!("upstream has no crate `{name}`")))?;
    let line = index::find(&text, name, version)?
        .ok_or_else(|| Error::not_found(format!("upstream's index has no {name} {version}")))?;
    let line = Value::Object(line);
    let cksum: Sha256 = index::text(&line, "cksum")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Error::verification("upstream-index", format!("{name} {version} has no checksum")))?;

    let url = expand(&template, name, version, &cksum);
    let fetched = upstream.get(&url, None).await?;
    let fetched = present(fetched)?
        .ok_or_else(|| Error::not_found(format!("upstream lists {name} {version} but has no file of it")))?;
    let digests = door.put(fetched.body, inspect::MAX_CRATE).await?;
    if digests.sha256 != cksum {
        let text = format!(
            "upstream's file of {name} {version} has SHA-256 {}, its index says {cksum}",
            digests.sha256
        );
        return Err(Error::verification("upstream-checksum", text)
            .hint("nothing was kept; if it happens again, upstream or something in between is broken"));
    }
    let manifest = inspect::stored(door, &digests.sha256, name, version).await?;
    let draft = draft(manifest, line, digests)?;
    Ok(Recorded { changes: vec![Change::Release(draft)], ..Recorded::default() })
}

/// Makes the release again from a transfer's claim and the bytes.
pub async fn admit(claim: &Draft, door: &dyn Door) -> Result<Draft> {
    let refuse = |what: &str| {
        let text = format!("the transfer's entry for {} {} {what}", claim.display, claim.version);
        Err(Error::verification("claim-mismatch", text))
    };
    if coords::key(&claim.display)? != claim.package {
        return refuse("has a key that does not belong to its name");
    }
    coords::version(&claim.version)?;
    let [file] = claim.files.as_slice() else { return refuse("does not have exactly one file") };
    if file.path != coords::file_path(&claim.display, &claim.version) || file.role != "crate" {
        return refuse("has a file in the wrong place");
    }
    let digests = door.digests(&file.digests.sha256).await?;
    if digests != file.digests {
        return refuse("has other digests than its bytes");
    }
    let mut line = claim.meta.clone();
    if !line.is_object() {
        return refuse("has no index line");
    }
    line["yanked"] = claim.yanked.is_some().into();
    let manifest = inspect::stored(door, &digests.sha256, &claim.display, &claim.version).await?;
    let mut draft = draft(manifest, line, digests)?;
    draft.yanked.clone_from(&claim.yanked);
    draft.published = claim.published;
    Ok(draft)
}

/// A release from its own manifest and its index line, which must agree.
pub fn draft(manifest: Manifest, line: Value, digests: Digests) -> Result<Draft> {
    index::check(&line, &manifest, &digests.sha256.to_hex())?;
    let Manifest { name, version, about, .. } = manifest;
    let path = coords::file_path(&name, &version);
    Ok(Draft {
        package: coords::key(&name)?,
        display: name,
        version,
        published: index::text(&line, "pubtime").and_then(Timestamp::parse),
        yanked: (line.get("yanked") == Some(&Value::Bool(true))).then(String::new),
        meta: line,
        files: vec![DraftFile { path, role: "crate".into(), digests, meta: about }],
        pointers: Vec::new(),
    })
}

async fn fetch_index(upstream: &dyn Upstream, name: &str) -> Result<Option<Bytes>> {
    document(upstream.get(&coords::index_path(name), Some(INDEX)).await?).await
}

/// The same as the client read it a moment ago.
async fn recent_index(upstream: &dyn Upstream, name: &str) -> Result<Option<Bytes>> {
    document(upstream.recent(&coords::index_path(name), INDEX).await?).await
}

async fn document(fetched: Fetched) -> Result<Option<Bytes>> {
    match present(fetched)? {
        Some(fetched) => Ok(Some(fetched.bytes(MAX_INDEX).await?)),
        None => Ok(None),
    }
}

/// The `dl` of upstream's `config.json`.
async fn fetch_download_template(upstream: &dyn Upstream) -> Result<String> {
    let url = "config.json";
    let wrong = |why: &str| {
        Error::verification("upstream-config", format!("upstream's {url} {why}"))
            .hint("the upstream must be the root of a sparse index")
    };
    let fetched = present(upstream.recent(url, "application/json").await?)?;
    let text = fetched.ok_or_else(|| wrong("is not there"))?.bytes(MAX_CONFIG).await?;
    let config: Value = serde_json::from_slice(&text).map_err(|_| wrong("is not JSON"))?;
    index::text(&config, "dl").map(str::to_owned).ok_or_else(|| wrong("names no `dl`"))
}

/// Fills the markers of a `dl` template; without any, the default path is appended (The Cargo
/// Book, "Index Format", config.json).
fn expand(template: &str, name: &str, version: &str, cksum: &Sha256) -> String {
    let markers = ["{crate}", "{version}", "{prefix}", "{lowerprefix}", "{sha256-checksum}"];
    if !markers.iter().any(|marker| template.contains(marker)) {
        return format!("{template}/{name}/{version}/download");
    }
    template
        .replace("{crate}", name)
        .replace("{version}", version)
        .replace("{prefix}", &coords::prefix(name))
        .replace("{lowerprefix}", &coords::prefix(&name.to_ascii_lowercase()))
        .replace("{sha256-checksum}", &cksum.to_hex())
}

/// `None` when upstream says that there is no such thing, in any of the ways that cargo knows.
fn present(fetched: Fetched) -> Result<Option<Fetched>> {
    match fetched.status.as_u16() {
        200 => Ok(Some(fetched)),
        404 | 410 | 451 => Ok(None),
        status => {
            let text = format!("upstream answered {status} for {}", fetched.url);
            Err(Error::new(ErrorKind::Unavailable, "upstream-status", text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn download_addresses_follow_the_upstreams_template() {
        let cksum = Sha256::of(b"");
        let at = |template: &str| expand(template, "Inflector", "0.1.0", &cksum);
        assert_eq!(
            at("https://dl.upstream.example/api"),
            "https://dl.upstream.example/api/Inflector/0.1.0/download"
        );
        assert_eq!(
            at("https://upstream.example/{prefix}/{lowerprefix}/{crate}-{version}.crate"),
            "https://upstream.example/In/fl/in/fl/Inflector-0.1.0.crate"
        );
        assert!(at("https://upstream.example/{sha256-checksum}").ends_with(&cksum.to_hex()));
    }
}
