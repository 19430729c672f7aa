//! Upstream, as a format sees it on the connected side.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_types::{Error, Result, Secret, Sha256};
use http::{HeaderMap, StatusCode, header};

use crate::ByteStream;

/// What is wanted of upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// The index of a package, or a document of the whole registry when `package` is `None`.
    Index {
        /// The package's key.
        package: Option<String>,
    },
    /// One file by the path that it will have below our repository.
    File {
        /// The package's key.
        package: String,
        /// The path.
        path: String,
    },
    /// What one address of any host answers: upstream is not one registry then.
    Address {
        /// The address as it may be shown and kept: without credentials.
        shown: String,
        /// The address as it is asked for. It may hold credentials and is never kept.
        whole: Secret<String>,
        /// The headers that upstream is asked with; none of them is a credential.
        headers: HeaderMap,
        /// What is asked beyond the address, if anything is.
        question: Option<Question>,
    },
}

/// A question that does not fit into an address, and is sent as the body of a `POST`. Nothing changes by it.
#[derive(Clone, PartialEq, Eq)]
pub struct Question {
    /// The media type of the body.
    pub media_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({}, {:?})", self.media_type, Sha256::of(&self.body))
    }
}

/// One upstream registry. The implementation knows its address, credentials, limits and retries.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// The registry's root as the person's own client knows it, with a trailing slash
    /// (for PyPI the `simple/` root, for npm the registry, for Cargo the sparse index).
    fn root(&self) -> &str;

    /// Fetches `url`: absolute, or relative to [`Upstream::root`]. Redirects are followed. Answers
    /// with any status; the format decides what 404 means. Credentials are added only for the
    /// root's own origin.
    ///
    /// # Errors
    /// `Unavailable` when there is no answer.
    async fn get(&self, url: &str, accept: Option<&str>) -> Result<Fetched>;

    /// As [`Upstream::get`] for a document that may be as old as some seconds: for what a document that was just asked for
    /// says of a file. Whoever misses something in it asks again by `get`.
    ///
    /// # Errors
    /// As there.
    async fn recent(&self, url: &str, accept: &str) -> Result<Fetched> {
        self.get(url, Some(accept)).await
    }

    /// Fetches an absolute address with these headers, for [`Want::Address`]. An upstream that is one
    /// registry takes `Accept` of them and follows redirects as ever; the one of arbitrary addresses
    /// sends them all and answers a redirect as it came.
    ///
    /// # Errors
    /// `Unavailable` when there is no answer.
    async fn fetch(&self, url: &str, headers: &HeaderMap) -> Result<Fetched> {
        self.get(url, headers.get(header::ACCEPT).and_then(|v| v.to_str().ok())).await
    }

    /// As [`Upstream::fetch`], with a question. An upstream that is one registry is asked none.
    ///
    /// # Errors
    /// `Unavailable` when there is no answer.
    async fn ask(&self, url: &str, headers: &HeaderMap, question: &Question) -> Result<Fetched> {
        let _ = (headers, question);
        Err(Error::forbidden("upstream-question", format!("{url} is asked for by GET only")))
    }
}

/// An upstream answer.
pub struct Fetched {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The address that answered in the end (after redirects): the base of relative links.
    pub url: String,
    /// The body.
    pub body: ByteStream,
    /// What the connection said, where that is told.
    pub connection: Option<crate::Connection>,
}

impl Fetched {
    /// Reads a document whole, up to `limit` bytes.
    ///
    /// # Errors
    /// `TooLarge` past the limit; the stream's own error.
    pub async fn bytes(self, limit: usize) -> Result<bytes::Bytes> {
        use futures::TryStreamExt as _;
        let url = self.url;
        let mut body = self.body;
        let mut out = bytes::BytesMut::new();
        while let Some(chunk) = body.try_next().await? {
            if out.len() + chunk.len() > limit {
                return Err(cofferdam_types::Error::new(
                    cofferdam_types::ErrorKind::TooLarge,
                    "upstream-document-too-large",
                    format!("{url} is larger than {limit} bytes"),
                ));
            }
            out.extend_from_slice(&chunk);
        }
        Ok(out.freeze())
    }
}
