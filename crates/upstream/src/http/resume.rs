//! A download that goes on where it broke off: within this process, or with what an earlier one kept.
//!
//! Only bytes of the same answer may be joined, so it goes on with `If-Range` and a strong tag, or with a
//! date when there is no tag, and only where the server says 206 for exactly the missing part (RFC 9110,
//! sections 13.1.5 and 14.4). It must never hold the body in memory, and never try without a bound.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cofferdam_format_kit::{ByteStream, Connection, Fetched, Question};
use cofferdam_types::{Error, Result};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{RequestBuilder, Response};
use url::Url;

use super::{
    body,
    evidence::Evidence,
    hosts::Permit,
    is_transient, no_answer,
    partial::{Partial, Partials},
    retry_after, shown,
    tokens::Tokens,
};
use crate::{Retries, retry::Attempt};

/// One address that is fetched.
pub struct Download {
    pub client: reqwest::Client,
    pub evidence: Evidence,
    pub url: Url,
    pub headers: HeaderMap,
    /// What is asked there beyond the address, by `POST`; nothing changes by it.
    pub question: Option<Question>,
    pub retries: Retries,
    /// Anonymous tokens, and whether a realm may be on this machine.
    pub tokens: (Arc<Tokens>, bool),
    /// The turn at the host lasts as long as its body is being read.
    pub _permit: Permit,
}

/// What is known of an answer before its body.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    connection: Connection,
}

impl Head {
    fn of(answer: &Response, evidence: &Evidence) -> Self {
        let (status, headers) = (answer.status(), answer.headers().clone());
        Self { status, headers, connection: evidence.of(answer) }
    }
}

/// What a server says to the question for the rest.
enum Rest {
    /// All that is missing.
    Here(Response),
    /// Something else: the same answer is not to be had any more.
    Gone,
    /// Nothing now.
    Later(Option<Duration>),
}

impl Download {
    /// Fetches it. With `partials`, what arrives of a large body outlives this process.
    ///
    /// # Errors
    /// `Unavailable` when there is no answer.
    pub async fn run(mut self, partials: Option<&Partials>) -> Result<Fetched> {
        let mut answer = self.allowed().await?;
        let proof = self.proof(&answer);
        let mut partial = match (partials, &proof, answer.content_length()) {
            (Some(partials), Some(_), Some(len)) => partials.of(&self.url, answer.headers(), len).await,
            _ => None,
        };
        let head = Head::of(&answer, &self.evidence);
        let held = partial.as_ref().map_or(0, Partial::held);
        let len = answer.content_length();
        if let Some(proof) = proof.as_ref().filter(|_| held > 0) {
            drop(answer);
            let body =
                if Some(held) == len { Some(None) } else { self.more(proof, held, len).await.map(Some) };
            if let Some(body) = body {
                tracing::info!(url = shown(&self.url), held, "a download goes on with what was kept");
                let body =
                    body.map_or_else(|| futures::stream::empty().boxed(), |b| b.bytes_stream().boxed());
                return Ok(self.fetched(head, State::new(body, Some(proof), partial, held)));
            }
            if let Some(partial) = partial.take() {
                partial.remove().await;
            }
            answer = self.whole().await?;
        }
        let (head, proof) = (Head::of(&answer, &self.evidence), self.proof(&answer));
        let state = State::new(answer.bytes_stream().boxed(), proof.as_ref(), partial, 0);
        Ok(self.fetched(head, state))
    }

    fn fetched(self, head: Head, state: State) -> Fetched {
        let Head { status, headers, connection } = head;
        let url = self.url.to_string();
        Fetched { status, headers, url, body: stream(self, state), connection: Some(connection) }
    }

    fn request(&self) -> RequestBuilder {
        let request = match &self.question {
            None => self.client.get(self.url.clone()),
            Some(Question { media_type, body }) => {
                let request = self.client.post(self.url.clone()).body(body.clone());
                request.header(header::CONTENT_TYPE, *media_type)
            }
        };
        request.headers(self.headers.clone())
    }

    /// What proves that a later part belongs to the same answer. The answer of a question has none: a tag is
    /// one of what is behind the address.
    fn proof(&self, answer: &Response) -> Option<HeaderValue> {
        if self.question.is_some() { None } else { proof(answer) }
    }

    /// The answer from its beginning, asked for again with an anonymous token where a registry wants one. A token
    /// that was remembered may be good no more: then with a new one.
    async fn allowed(&mut self) -> Result<Response> {
        let mut answer = self.whole().await?;
        for _ in 0..2 {
            if answer.status() != StatusCode::UNAUTHORIZED || self.question.is_some() {
                break;
            }
            let (tokens, local) = &self.tokens;
            let refused = self.headers.get(header::AUTHORIZATION);
            let token = tokens.answer(&self.client, &self.url, answer.headers(), (*local, refused)).await?;
            let Some(token) = token else { break };
            self.headers.insert(header::AUTHORIZATION, token);
            answer = self.whole().await?;
        }
        Ok(answer)
    }

    /// The answer from its beginning, with retries.
    async fn whole(&self) -> Result<Response> {
        self.retries.run(|| self.attempt()).await
    }

    async fn attempt(&self) -> Attempt<Result<Response>> {
        match self.request().send().await {
            Ok(answer) if is_transient(answer.status()) => {
                let after = retry_after(answer.headers());
                Attempt::Again { last: Ok(answer), after }
            }
            Ok(answer) => Attempt::Done(Ok(answer)),
            Err(error) => {
                let error = error.without_url();
                tracing::debug!(url = shown(&self.url), error = %error, "an address did not answer");
                Attempt::Again { last: Err(no_answer(&self.url, error)), after: None }
            }
        }
    }

    /// What is missing from `at` on, with retries.
    async fn more(&self, proof: &HeaderValue, at: u64, len: Option<u64>) -> Option<Response> {
        let attempt = || async {
            match self.rest(proof, at, len).await {
                Rest::Here(answer) => Attempt::Done(Some(answer)),
                Rest::Gone => Attempt::Done(None),
                Rest::Later(after) => Attempt::Again { last: None, after },
            }
        };
        self.retries.run(attempt).await
    }

    /// Asks once for what is missing from `at` on, of `len` bytes in all where that is known.
    async fn rest(&self, proof: &HeaderValue, at: u64, len: Option<u64>) -> Rest {
        let request = self.request();
        let request =
            request.header(header::RANGE, format!("bytes={at}-")).header(header::IF_RANGE, proof.clone());
        match request.send().await {
            Err(_) => Rest::Later(None),
            Ok(answer) if is_transient(answer.status()) => Rest::Later(retry_after(answer.headers())),
            Ok(answer)
                if answer.status() == StatusCode::PARTIAL_CONTENT
                    && is_the_rest(answer.headers(), at, len) =>
            {
                Rest::Here(answer)
            }
            Ok(_) => Rest::Gone,
        }
    }
}

type ByteChunks = std::pin::Pin<Box<dyn futures::Stream<Item = reqwest::Result<Bytes>> + Send>>;

/// Where a body stands.
struct State {
    body: ByteChunks,
    /// What proves that a later part belongs to the same answer; none when that cannot be proved.
    proof: Option<HeaderValue>,
    /// Bytes of the body before the next one that comes from the server.
    read: u64,
    /// Failures since the last byte that came.
    failures: u32,
    /// What is kept of it.
    partial: Option<Partial>,
    /// Bytes that are still to be read of what was kept earlier.
    stored: u64,
}

impl State {
    fn new(body: ByteChunks, proof: Option<&HeaderValue>, partial: Option<Partial>, held: u64) -> Self {
        Self { body, proof: proof.cloned(), read: held, failures: 0, partial, stored: held }
    }

    async fn next(&mut self, download: &Download) -> Result<Option<Bytes>> {
        if let Some(partial) = self.partial.as_mut().filter(|_| self.stored > 0) {
            let failed = |e| Error::io("reading what was kept of a download", e);
            let chunk = partial.read(self.stored).await.map_err(failed)?;
            self.stored = self.stored.saturating_sub(chunk.len() as u64);
            return Ok(Some(chunk));
        }
        loop {
            match self.body.next().await {
                None => {
                    if let Some(partial) = self.partial.take() {
                        partial.remove().await;
                    }
                    return Ok(None);
                }
                Some(Ok(chunk)) => {
                    self.read += chunk.len() as u64;
                    self.failures = 0;
                    self.keep(&chunk).await;
                    return Ok(Some(chunk));
                }
                Some(Err(error)) => {
                    let url = shown(&download.url);
                    tracing::debug!(url, read = self.read, error = %error, "a body broke off");
                    if !self.go_on(download).await {
                        return Err(body::broken(&url, error));
                    }
                }
            }
        }
    }

    /// A disk that is full ends the keeping and not the download.
    async fn keep(&mut self, chunk: &[u8]) {
        let Some(partial) = &mut self.partial else { return };
        if let Err(error) = partial.keep(chunk).await {
            tracing::warn!(%error, "what arrives of a large file is not kept for later any more");
            if let Some(partial) = self.partial.take() {
                partial.remove().await;
            }
        }
    }

    /// Asks for what is missing; false when nobody gives it.
    async fn go_on(&mut self, download: &Download) -> bool {
        let Some(proof) = &self.proof else { return false };
        let mut after = None;
        while self.failures + 1 < download.retries.attempts {
            self.failures += 1;
            tokio::time::sleep(download.retries.pause(self.failures, after)).await;
            match download.rest(proof, self.read, None).await {
                Rest::Here(answer) => {
                    self.body = answer.bytes_stream().boxed();
                    return true;
                }
                Rest::Gone => return false,
                Rest::Later(asked) => after = asked,
            }
        }
        false
    }
}

/// Streams a body; a break is mended as often as the retries allow without progress.
fn stream(download: Download, state: State) -> ByteStream {
    futures::stream::try_unfold((download, state), |(download, mut state)| async move {
        Ok(state.next(&download).await?.map(|chunk| (chunk, (download, state))))
    })
    .boxed()
}

/// A strong tag, or a date, of a success whose server gives parts.
fn proof(answer: &Response) -> Option<HeaderValue> {
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
/// (RFC 9110 section 15.3.7). The whole has `len` bytes, where that is known.
fn is_the_rest(headers: &HeaderMap, at: u64, len: Option<u64>) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let Some((part, whole)) = range.strip_prefix("bytes ").and_then(|r| r.split_once('/')) else {
        return false;
    };
    let Ok(whole) = whole.parse::<u64>() else { return false };
    let last = whole.checked_sub(1);
    last.is_some_and(|last| part == format!("{at}-{last}")) && len.is_none_or(|len| len == whole)
}
