//! What a format answers: status, headers and a body that streams.

use std::{fmt, pin::Pin};

use bytes::Bytes;
use cofferdam_types::{Error, Sha256};
use futures::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

/// Bytes that arrive over time.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// A body. There is deliberately no way to hold a large one in memory.
pub enum Body {
    /// Nothing.
    Empty,
    /// A small text made for this request.
    Bytes(Bytes),
    /// A stored blob; the edge streams it, answers ranges and conditional requests.
    Blob {
        /// Which.
        sha256: Sha256,
        /// Its size in bytes.
        size: u64,
    },
    /// A rendered document: the edge picks the compressed variant the client accepts.
    Document(crate::DocumentRef),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Blob { sha256, size } => write!(f, "Blob({sha256}, {size})"),
            Self::Document(document) => write!(f, "Document({})", document.path),
        }
    }
}

/// An answer to a client.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers. `Content-Length`, `ETag`, `Accept-Ranges` of blobs and documents are the edge's.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Answer {
    /// An empty answer.
    #[must_use]
    pub fn status(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::Empty }
    }

    /// A small JSON document.
    ///
    /// # Panics
    /// Never for the plain data types that formats use: serialising them cannot fail.
    #[must_use]
    pub fn json(status: StatusCode, value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).unwrap_or_default();
        Self::bytes(status, "application/json", bytes)
    }

    /// A small body with its media type.
    #[must_use]
    pub fn bytes(status: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        let mut answer = Self::status(status);
        answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        answer.body = Body::Bytes(bytes.into());
        answer
    }

    /// A stored file, never changing: clients may keep it for ever.
    #[must_use]
    pub fn file(file: &crate::FileRef, media_type: &'static str) -> Self {
        let mut answer = Self::status(StatusCode::OK);
        answer.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        answer
            .headers
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        answer.body = Body::Blob { sha256: file.sha256, size: file.size };
        answer
    }

    /// A rendered document; its media type travels with it.
    #[must_use]
    pub fn document(document: crate::DocumentRef) -> Self {
        let mut answer = Self::status(StatusCode::OK);
        if let Ok(value) = HeaderValue::from_str(&document.media_type) {
            answer.headers.insert(header::CONTENT_TYPE, value);
        }
        answer.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer.body = Body::Document(document);
        answer
    }

    /// A permanent redirect to a path relative to the repository or an absolute URL.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        let mut answer = Self::status(StatusCode::PERMANENT_REDIRECT);
        if let Ok(value) = HeaderValue::from_str(location) {
            answer.headers.insert(header::LOCATION, value);
        }
        answer
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}
