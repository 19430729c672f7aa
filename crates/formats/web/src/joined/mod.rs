//! Upstream's proofs that join several answers: so far those of Go's checksum database. And what answers are, by name.
//!
//! Everything read here is hostile: counts and sizes are bounded, and what cannot be read is not checked. This
//! module must never refuse what it could not check.

mod dirhash;
mod names;
mod sumdb;
mod tiles;

use std::collections::BTreeMap;

use cofferdam_format_kit::{
    Door,
    joined::{Joined, Together, UpstreamKeys},
};
use cofferdam_types::{Result, Sha256};
use percent_encoding::percent_decode_str;

use crate::inspect::Kept;

/// A whole answer, as far as proofs are concerned.
struct Answer<'a> {
    path: &'a str,
    sha256: Sha256,
    size: u64,
    /// Scheme, host and decoded path, without the query.
    url: String,
    media_type: String,
}

/// What the proofs among these answers say.
///
/// # Errors
/// Only faults of the door.
pub async fn join(files: &[Together], keys: &UpstreamKeys, door: &dyn Door) -> Result<Joined> {
    let answers: Vec<Answer<'_>> = files.iter().filter_map(answer).collect();
    let redirects: BTreeMap<String, String> = files.iter().filter_map(redirect).collect();
    let names = names::of(&answers, &redirects, door).await?;
    Ok(Joined { names, ..sumdb::join(&answers, keys, door).await? })
}

/// From where to where an answer leads; both without their queries, which hold signatures.
fn redirect(file: &Together) -> Option<(String, String)> {
    let kept: Kept = serde_json::from_value(file.meta.clone()).ok()?;
    let to = url::Url::parse(&kept.url).ok()?.join(kept.headers.get("location")?).ok()?;
    let plain = |url: &str| url.split(['?', '#']).next().unwrap_or_default().to_owned();
    Some((plain(&kept.url), plain(to.as_str())))
}

/// An answer that is a whole file as it is.
fn answer(file: &Together) -> Option<Answer<'_>> {
    let kept: Kept = serde_json::from_value(file.meta.clone()).ok()?;
    if kept.status != 200 || kept.question.is_some() || kept.headers.contains_key("content-encoding") {
        return None;
    }
    let place = kept.url.split('?').next().unwrap_or_default();
    let url = percent_decode_str(place).decode_utf8().ok()?.into_owned();
    let media_type = kept.headers.get("content-type").cloned().unwrap_or_default();
    Some(Answer { path: &file.path, sha256: file.sha256, size: file.size, url, media_type })
}
