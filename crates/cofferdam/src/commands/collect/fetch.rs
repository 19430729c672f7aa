//! Fetches through the site in the name of a recording: many at once, each checked against the digest that is known.
//!
//! The site asks upstream, resumes and keeps; here nothing is stored, so what is fetched again costs the site a look.

use std::sync::atomic::{AtomicU64, Ordering};

use cofferdam_types::{Error, ErrorKind, Result, Sha256, Sha256Hasher};
use futures::{StreamExt as _, stream};
use url::Url;

use crate::{client::Client, commands::progress::Bar};

/// Downloads at once: the site limits those of one host.
const AT_ONCE: usize = 8;

/// Redirects of a recorded address at the most.
const MOST_REDIRECTS: usize = 10;

/// One file to be fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fetch {
    /// For people: what it is.
    pub what: String,
    /// Its path at the site, `/r/…`.
    pub path: String,
    /// Its bytes, when they are known beforehand.
    pub expect: Option<Sha256>,
    /// How many they are, when that is known.
    pub size: Option<u64>,
    /// In whose name it is asked for: an image.
    pub asked_by: Option<String>,
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
    let by = fetch.asked_by.as_deref();
    let mut body = match address_of(&fetch.path) {
        Some(_) => {
            let (_, answer) = follow(client, &fetch.path, None, by).await?;
            let status = answer.status();
            if !status.is_success() {
                let text = format!("upstream answers {}", status.as_u16());
                return Err(Error::new(ErrorKind::Unavailable, "upstream-status", text));
            }
            answer
        }
        None => client.stream(&fetch.path).await?,
    };
    let (mut hasher, mut size) = (Sha256Hasher::default(), 0);
    while let Some(chunk) = client.chunk(&mut body).await? {
        hasher.update(&chunk);
        size += chunk.len() as u64;
        if fetch.size.is_some_and(|expected| size > expected) {
            return Err(Error::verification("other-bytes", "upstream gives more bytes than it said"));
        }
    }
    let is = hasher.finish();
    if fetch.expect.is_some_and(|expected| expected != is) {
        let text = format!("upstream gives other bytes now: {is}");
        return Err(Error::verification("other-bytes", text));
    }
    Ok(size)
}

/// Asks for a recorded address and where it leads, each step through the site. The last path, and its answer.
///
/// # Errors
/// What the site says; `Unavailable` for redirects without end, or from https to http.
pub async fn follow(
    client: &Client,
    path: &str,
    accept: Option<&str>,
    by: Option<&str>,
) -> Result<(String, reqwest::Response)> {
    let mut path = path.to_owned();
    for _ in 0..=MOST_REDIRECTS {
        let answer = client.recorded(&path, accept, by).await?;
        if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok((path, answer));
        }
        let target = answer.headers().get("location").and_then(|v| v.to_str().ok()).unwrap_or_default();
        path = redirected(&path, target)?;
    }
    Err(Error::new(ErrorKind::Unavailable, "upstream-redirects", "upstream redirects without end"))
}

/// The path of where a recorded address leads.
fn redirected(path: &str, target: &str) -> Result<String> {
    let bad = |why: &str| {
        Error::new(ErrorKind::Unavailable, "upstream-redirect", format!("upstream redirects {why}"))
    };
    let (repository, address) = address_of(path).ok_or_else(|| bad("what is no address"))?;
    let at = Url::parse(&address).map_err(|_| bad("from an unusable address"))?;
    let to = at.join(target).map_err(|_| bad("to an unusable address"))?;
    if at.scheme() == "https" && to.scheme() != "https" {
        return Err(bad("from https to a line that is not protected"));
    }
    super::resolve::web_path(repository, to.as_str()).ok_or_else(|| bad("to another protocol"))
}

/// The repository and the address of a path such as `/r/web/https/host/…`; none for a path of another repository.
fn address_of(path: &str) -> Option<(&str, String)> {
    let (repository, rest) = path.strip_prefix("/r/")?.split_once('/')?;
    let (scheme, rest) = rest.split_once('/')?;
    ["http", "https"].contains(&scheme).then(|| (repository, format!("{scheme}://{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_through_the_site_and_never_to_a_weaker_line() {
        let to = |target| redirected("/r/web/https/a.example/x/y", target);
        assert_eq!(to("/z?sig=1").unwrap(), "/r/web/https/a.example/z?sig=1");
        assert_eq!(to("https://b.example:444/z").unwrap(), "/r/web/https/b.example:444/z");
        assert!(to("http://b.example/z").is_err() && to("ftp://b.example/z").is_err());
        assert!(redirected("/r/web/http/a.example/x", "https://b.example/z").is_ok());
        assert!(address_of("/r/pypi/files/a.whl").is_none());
    }
}
