//! Upstream, as a format sees it on the connected side.

use async_trait::async_trait;
use cofferdam_types::Result;
use http::{HeaderMap, StatusCode};

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
