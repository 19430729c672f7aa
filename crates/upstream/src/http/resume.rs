//! A body that goes on where it broke off.
//!
//! Only bytes of the same answer may be joined, so it goes on with `If-Range` and a strong tag, or with a
//! date when there is no tag, and only where the server says 206 for exactly the missing part (RFC 9110,
//! sections 13.1.5 and 14.4). It must never hold the body in memory, and never try without a bound.

use bytes::Bytes;
use cofferdam_format_kit::ByteStream;
use cofferdam_types::Result;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use super::{body, hosts::Permit, shown};
use crate::Retries;

/// A download that may be picked up again.
pub struct Download {
    pub client: reqwest::Client,
    pub url: Url,
    pub headers: HeaderMap,
    pub retries: Retries,
    /// The turn at the host lasts as long as its body is being read.
    pub _permit: Permit,
}

struct State {
    download: Download,
    body: ByteChunks,
    /// What proves that a later part belongs to the same answer; none when that cannot be proved.
    proof: Option<HeaderValue>,
    read: u64,
    /// Failures since the last byte that came.
    failures: u32,
}

type ByteChunks = std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// Streams the body of `answer`; a break is mended as often as the retries allow without progress.
pub fn stream(download: Download, answer: reqwest::Response) -> ByteStream {
    let proof = proof(&answer);
    let state = State { download, body: answer.bytes_stream().boxed(), proof, read: 0, failures: 0 };
    futures::stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|chunk| (chunk, state)))
    })
    .boxed()
}

impl State {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.body.next().await {
                None => return Ok(None),
                Some(Ok(chunk)) => {
                    self.read += chunk.len() as u64;
                    self.failures = 0;
                    return Ok(Some(chunk));
                }
                Some(Err(error)) => {
                    let url = shown(&self.download.url);
                    tracing::debug!(url, read = self.read, error = %error, "a body broke off");
                    if !self.go_on().await {
                        return Err(body::broken(&url, error));
                    }
                }
            }
        }
    }

    /// Asks for what is missing; false when nobody gives it.
    async fn go_on(&mut self) -> bool {
        let Some(proof) = self.proof.clone() else { return false };
        let mut after = None;
        while self.failures + 1 < self.download.retries.attempts {
            self.failures += 1;
            tokio::time::sleep(self.download.retries.pause(self.failures, after.take())).await;
            let request = self.download.client.get(self.download.url.clone());
            let request = request
                .headers(self.download.headers.clone())
                .header(header::RANGE, format!("bytes={}-", self.read))
                .header(header::IF_RANGE, proof.clone());
            let Ok(answer) = request.send().await else { continue };
            if super::is_transient(answer.status()) {
                after = super::retry_after(answer.headers());
                continue;
            }
            if answer.status() != StatusCode::PARTIAL_CONTENT || !is_the_rest(answer.headers(), self.read) {
                return false;
            }
            self.body = answer.bytes_stream().boxed();
            return true;
        }
        false
    }
}

/// A strong tag, or a date, of a success whose server gives parts.
fn proof(answer: &reqwest::Response) -> Option<HeaderValue> {
    let headers = answer.headers();
    if answer.status() != StatusCode::OK || headers.get(header::ACCEPT_RANGES).is_some_and(|v| v == "none") {
        return None;
    }
    match headers.get(header::ETAG) {
        // With a tag that is weak nothing is proved, by the date neither (RFC 9110 section 13.1.5).
        Some(tag) => tag.as_bytes().starts_with(b"\"").then(|| tag.clone()),
        None => headers.get(header::LAST_MODIFIED).cloned(),
    }
}

/// Whether the part is all that is missing, from `at` to the end: a server may send less than it was asked for
/// (RFC 9110 section 15.3.7).
fn is_the_rest(headers: &HeaderMap, at: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Some((part, whole)) = range.strip_prefix("bytes ").and_then(|r| r.split_once('/')) else {
        return false;
    };
    let last = whole.parse::<u64>().ok().and_then(|len| len.checked_sub(1));
    last.is_some_and(|last| part == format!("{at}-{last}"))
}
