//! Upstream's proofs that join several answers.
//!
//! | whose | joins |
//! |---|---|
//! | `sumdb`: Go's checksum database | what it said of a module, the tiles of its tree, and the module |
//! | `debian`: a package archive | the signed `Release`, the indexes that it lists, and the packages that those list |
//! | `cosign`: an image's signature | the signature's manifest, what it signed, and the image |
//!
//! And `names`: which packages answers are, by what bytes say.
//!
//! Everything read here is hostile: counts and sizes are bounded, and what cannot be read is not checked. This
//! module must never refuse what it could not check.

mod cosign;
mod debian;
mod dirhash;
mod names;
#[cfg(test)]
mod shelf;
mod sumdb;
mod tiles;

use std::collections::HashMap;

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
    let leads = Leads::of(files);
    let mut joined = sumdb::join(&answers, keys, door).await?;
    joined.names = names::of(&answers, &leads, door).await?;
    for more in [debian::join(&answers, &leads, keys, door).await?, cosign::join(&answers, keys, door).await?]
    {
        joined.findings.extend(more.findings);
        joined.keys.add(more.keys);
    }
    Ok(joined)
}

/// Redirects that are followed at the most.
const MOST_STEPS: usize = 5;

/// Recorded redirects.
#[derive(Default)]
struct Leads {
    /// Where an address leads.
    steps: HashMap<String, String>,
    /// Which addresses lead to one in the end.
    to: HashMap<String, Vec<String>>,
}

impl Leads {
    fn of(files: &[Together]) -> Self {
        let steps: HashMap<String, String> = files.iter().filter_map(lead).collect();
        let mut to: HashMap<String, Vec<String>> = HashMap::new();
        for from in steps.keys() {
            let mut end = from;
            for _ in 0..MOST_STEPS {
                let Some(next) = steps.get(end) else { break };
                end = next;
            }
            to.entry(end.clone()).or_default().push(from.clone());
        }
        // What a map is gone through in has no order, and what is found must not depend on it.
        to.values_mut().for_each(|from| from.sort());
        Self { steps, to }
    }

    /// Where an address leads next.
    fn step(&self, from: &str) -> Option<&str> {
        self.steps.get(from).map(String::as_str)
    }

    /// The addresses under which an answer was had: its own, and those that lead to it.
    fn names<'a>(&'a self, answer: &'a Answer<'_>) -> impl Iterator<Item = &'a str> {
        let more = self.to.get(&answer.url).into_iter().flatten().map(String::as_str);
        std::iter::once(answer.url.as_str()).chain(more)
    }
}

/// Where a redirect leads, both without query.
fn lead(file: &Together) -> Option<(String, String)> {
    let kept: Kept = serde_json::from_value(file.meta.clone()).ok()?;
    if !kept.is_redirect() {
        return None;
    }
    let to = url::Url::parse(&kept.url).ok()?.join(kept.headers.get("location")?).ok()?;
    Some((place(&kept.url)?, place(to.as_str())?))
}

/// Scheme, host and decoded path of an address.
fn place(url: &str) -> Option<String> {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    Some(percent_decode_str(place).decode_utf8().ok()?.into_owned())
}

/// An address without its scheme, as places of keys are written.
fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

/// What upstream wrote, without what a terminal or a page would take for its own.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(200).collect()
}

/// An answer that is a whole file as it is.
fn answer(file: &Together) -> Option<Answer<'_>> {
    let kept: Kept = serde_json::from_value(file.meta.clone()).ok()?;
    if kept.status != 200 || kept.question.is_some() || kept.headers.contains_key("content-encoding") {
        return None;
    }
    let url = place(&kept.url)?;
    let media_type = kept.headers.get("content-type").cloned().unwrap_or_default();
    Some(Answer { path: &file.path, sha256: file.sha256, size: file.size, url, media_type })
}
