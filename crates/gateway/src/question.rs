//! git's questions to upload-pack: the one body that goes on, whole and decoded.
//!
//! git compresses a question of more than 1024 bytes; what is kept is known by what was asked and not by how it
//! was squeezed, so it is decoded here. Must never read, or expand, more than its bound.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::request::{Refusal, text};

/// The media type of one (gitprotocol-http(5)).
pub const MEDIA_TYPE: &str = "application/x-git-upload-pack-request";

/// How the path of an address ends that takes one.
const SERVICE: &str = "/git-upload-pack";

/// Bytes of one at the most, as it comes and as it is decoded.
const MAX: usize = 4 << 20;

/// Whether a request asks git's upload-pack something. It changes nothing at the server.
pub fn is_one(parts: &Parts) -> bool {
    parts.method == Method::POST
        && parts.uri.path().ends_with(SERVICE)
        && parts.uri.query().is_none()
        && text(&parts.headers, header::CONTENT_TYPE).eq_ignore_ascii_case(MEDIA_TYPE)
}

/// Reads one.
pub async fn read(headers: &HeaderMap, body: Incoming) -> Result<Bytes, Refusal> {
    let encoding = text(headers, header::CONTENT_ENCODING).to_ascii_lowercase();
    if !matches!(encoding.as_str(), "" | "identity" | "gzip" | "x-gzip") {
        let why = format!("what is asked of git-upload-pack is encoded as `{encoding}`; gzip is understood");
        return Err(Refusal { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, why });
    }
    let body = Limited::new(body, MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { too_large() } else { broken(&error.to_string()) }
    })?;
    let body = body.to_bytes();
    if encoding.ends_with("gzip") { decoded(&body) } else { Ok(body) }
}

fn decoded(body: &[u8]) -> Result<Bytes, Refusal> {
    let mut out = Vec::new();
    let read = MultiGzDecoder::new(body).take(MAX as u64 + 1).read_to_end(&mut out);
    read.map_err(|error| broken(&error.to_string()))?;
    if out.len() > MAX { Err(too_large()) } else { Ok(out.into()) }
}

fn too_large() -> Refusal {
    let why = format!("what is asked of git-upload-pack has more than {MAX} bytes");
    Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, why }
}

fn broken(error: &str) -> Refusal {
    let why = format!("what is asked of git-upload-pack cannot be read: {error}");
    Refusal { status: StatusCode::BAD_REQUEST, why }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn squeezed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_question_is_decoded_and_a_bomb_is_not() {
        assert_eq!(decoded(&squeezed(b"0000")).unwrap(), "0000");
        assert_eq!(decoded(&squeezed(&vec![b'0'; MAX])).unwrap().len(), MAX);
        let bomb = squeezed(&vec![b'0'; 64 << 20]);
        assert!(bomb.len() < MAX);
        assert_eq!(decoded(&bomb).unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(decoded(b"no gzip").unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
