//! Fetches through the site in the name of a recording: many at once, each checked against the digest that is known.
//!
//! The site asks upstream, resumes and keeps; here nothing is stored, so what is fetched again costs the site a look.

use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_types::{Error, Result, Sha256, Sha256Hasher};
use futures::{StreamExt as _, stream};

use crate::{client::Client, commands::progress::Bar};

/// Downloads at once: the site limits those of one host.
const AT_ONCE: usize = 8;

/// One file to be fetched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fetch {
    /// For people: what it is.
    pub what: String,
    /// Its path at the site, `/r/…`.
    pub path: String,
    /// Its bytes, when they are known beforehand.
    pub expect: Option<Sha256>,
}

/// What became of all of them.
#[derive(Debug, Default)]
pub struct Fetched {
    /// How many came.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What did not come, and why.
    pub failed: Vec<(String, String)>,
}

/// Fetches everything, whatever becomes of some of it.
pub async fn fetch_all(client: &Client, all: Vec<Fetch>) -> Fetched {
    let (bar, total, done) = (Bar::new(), all.len() as u64, AtomicU64::new(0));
    let bytes = AtomicU64::new(0);
    let failed: Vec<Option<(String, String)>> = stream::iter(all)
        .map(|fetch| async {
            let outcome = one(client, &fetch).await;
            let so_far = done.fetch_add(1, Ordering::Relaxed) + 1;
            bar.stand("collecting (items)", so_far, total, 0);
            match outcome {
                Ok(size) => {
                    bytes.fetch_add(size, Ordering::Relaxed);
                    None
                }
                Err(error) => Some((fetch.what, error.message().to_owned())),
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    bar.end();
    let mut failed: Vec<_> = failed.into_iter().flatten().collect();
    failed.sort();
    Fetched { files: total - failed.len() as u64, bytes: bytes.into_inner(), failed }
}

/// Fetches one; its size.
async fn one(client: &Client, fetch: &Fetch) -> Result<u64> {
    let mut body = client.stream(&fetch.path).await?;
    let (mut hasher, mut size) = (Sha256Hasher::default(), 0);
    while let Some(chunk) = client.chunk(&mut body).await? {
        hasher.update(&chunk);
        size += chunk.len() as u64;
    }
    let is = hasher.finish();
    if fetch.expect.is_some_and(|expected| expected != is) {
        let text = format!("upstream gives other bytes now: {is}");
        return Err(Error::verification("other-bytes", text));
    }
    Ok(size)
}
