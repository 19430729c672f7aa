//! An answer's body as the stream that formats read.
//!
//! The HTTP layer below already fails on a body that ends before its `Content-Length` or its last
//! chunk; here that failure gets its address and its advice. It must never collect the body.

use cofferdam_format_kit::ByteStream;
use cofferdam_types::{Error, ErrorKind};
use futures::StreamExt as _;

use super::hosts::Permit;

/// Streams the body; the host's permit is given back when the stream ends or is dropped.
pub fn stream(url: String, answer: reqwest::Response, permit: Permit) -> ByteStream {
    Box::pin(answer.bytes_stream().map(move |chunk| {
        // Captured so that the turn at the host lasts as long as its body is being read.
        let _held = &permit;
        chunk.map_err(|error| broken(&url, error))
    }))
}

pub fn broken(url: &str, error: reqwest::Error) -> Error {
    let (code, what) = if error.is_timeout() {
        ("upstream-timeout", "stopped sending in the middle")
    } else if error.is_decode() && error_is_encoding(&error) {
        ("upstream-encoding", "sent a body that does not decompress")
    } else {
        ("upstream-truncated", "broke off in the middle")
    };
    Error::new(ErrorKind::Unavailable, code, format!("{url} {what}"))
        .hint("nothing of it was kept; try again, and look at the proxy if it stays")
        .with_source(error.without_url())
}

/// Whether the failure is one of decompression, as opposed to one of the connection.
fn error_is_encoding(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::InvalidData
                || io.kind() == std::io::ErrorKind::InvalidInput;
        }
        cause = inner.source();
    }
    false
}
