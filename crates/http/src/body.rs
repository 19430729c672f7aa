//! Bodies out: blobs with ranges, documents with their compressed variant, conditional requests.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use cofferdam_format_kit::{Answer, Body as AnswerBody, DocumentRef};
use cofferdam_registry::Registry;
use cofferdam_store::RepositoryRow;
use cofferdam_types::{Error, Result, Sha256};

/// What of the request decides the form of the answer.
pub(crate) struct Asked<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

impl Asked<'_> {
    fn head(&self) -> bool {
        self.method == Method::HEAD
    }

    fn text(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    fn has(&self, etag: &str) -> bool {
        let tags = self.text(header::IF_NONE_MATCH).unwrap_or("");
        let etag = etag.trim_start_matches("W/");
        tags.split(',').any(|t| matches!(t.trim(), "*") || t.trim().trim_start_matches("W/") == etag)
    }

    /// Whether the client has what was last modified at that time: clients repeat the date as they got
    /// it. A tag outweighs a date (RFC 9110, section 13.1.3).
    fn has_since(&self, modified: Option<&HeaderValue>) -> bool {
        let since = self.headers.get(header::IF_MODIFIED_SINCE);
        modified.is_some() && modified == since && !self.headers.contains_key(header::IF_NONE_MATCH)
    }

    fn takes_gzip(&self) -> bool {
        let accepted = self.text(header::ACCEPT_ENCODING).unwrap_or("");
        accepted.split(',').any(|part| {
            let mut pieces = part.split(';').map(str::trim);
            matches!(pieces.next(), Some("gzip" | "*")) && !pieces.any(|p| p.replace(' ', "") == "q=0")
        })
    }
}

/// Makes the HTTP answer of a format's answer.
pub(crate) async fn respond(
    registry: &Registry,
    repository: &RepositoryRow,
    asked: &Asked<'_>,
    answer: Answer,
) -> Result<Response> {
    let Answer { status, headers, body } = answer;
    let mut response = match body {
        AnswerBody::Empty => Response::new(Body::empty()),
        AnswerBody::Bytes(bytes) => {
            let length = HeaderValue::from(bytes.len());
            let mut response = Response::new(if asked.head() { Body::empty() } else { Body::from(bytes) });
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
            response
        }
        AnswerBody::Blob { sha256, size } => {
            // Ranges and conditions are about a success (RFC 9110, sections 13.2.1 and 14.2), and about the
            // tag that the client was shown.
            let plain = HeaderMap::new();
            let fetched = status == StatusCode::OK && asked.method != Method::POST;
            let conditions = if fetched { asked.headers } else { &plain };
            let asked = Asked { method: asked.method, headers: conditions };
            let etag = match headers.get(header::ETAG).and_then(|v| v.to_str().ok()) {
                Some(own) => own.to_owned(),
                None => format!("\"{sha256}\""),
            };
            if asked.has_since(headers.get(header::LAST_MODIFIED)) {
                not_modified(&etag)
            } else {
                tagged_blob(registry, &asked, &sha256, size, &etag).await?
            }
        }
        AnswerBody::Document(found) => document(registry, repository, asked, &found).await?,
    };
    if response.status() == StatusCode::OK {
        *response.status_mut() = status;
    }
    for (name, value) in &headers {
        if name == header::VARY {
            response.headers_mut().append(name, value.clone());
        } else {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}

/// A blob as the answer to what was asked: the whole, a range, or "you have it".
pub(crate) async fn blob(
    registry: &Registry,
    asked: &Asked<'_>,
    sha256: &Sha256,
    size: u64,
) -> Result<Response> {
    tagged_blob(registry, asked, sha256, size, &format!("\"{sha256}\"")).await
}

async fn tagged_blob(
    registry: &Registry,
    asked: &Asked<'_>,
    sha256: &Sha256,
    size: u64,
    etag: &str,
) -> Result<Response> {
    if asked.has(etag) {
        return Ok(not_modified(etag));
    }
    let range = asked.text(header::RANGE).filter(|_| fresh_range(asked, etag)).map(|text| range(text, size));
    let (status, from, to) = match range {
        None | Some(Range::Ignored) => (StatusCode::OK, 0, size),
        Some(Range::Part(from, to)) => (StatusCode::PARTIAL_CONTENT, from, to),
        Some(Range::Outside) => return Ok(outside(size)),
    };
    let body = if asked.head() {
        Body::empty()
    } else {
        Body::from_stream(
            registry.blob(sha256, (status == StatusCode::PARTIAL_CONTENT).then_some(from..to)).await?,
        )
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(headers, header::ETAG, etag);
    if status == StatusCode::PARTIAL_CONTENT {
        insert(headers, header::CONTENT_RANGE, &format!("bytes {from}-{}/{size}", to - 1));
    }
    Ok(response)
}

/// A range of a file that has changed meanwhile (`If-Range`) must not be mixed with the old part.
fn fresh_range(asked: &Asked<'_>, etag: &str) -> bool {
    asked.text(header::IF_RANGE).is_none_or(|tag| tag == etag)
}

enum Range {
    Part(u64, u64),
    Outside,
    Ignored,
}

/// One range of RFC 9110, section 14.2. Several ranges are answered with the whole, as it allows.
fn range(text: &str, size: u64) -> Range {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else {
        return Range::Ignored;
    };
    let (from, to) = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(from), Ok(last)) if from <= last => (from, last.saturating_add(1).min(size)),
        (Ok(from), Err(_)) if last.trim().is_empty() => (from, size),
        (Err(_), Ok(suffix)) if first.trim().is_empty() && suffix > 0 => (size.saturating_sub(suffix), size),
        _ => return Range::Ignored,
    };
    if from < to { Range::Part(from, to) } else { Range::Outside }
}

fn outside(size: u64) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"));
    response
}

async fn document(
    registry: &Registry,
    repository: &RepositoryRow,
    asked: &Asked<'_>,
    document: &DocumentRef,
) -> Result<Response> {
    let gzip = asked.takes_gzip();
    let etag =
        if gzip { format!("\"{}-gzip\"", document.sha256) } else { format!("\"{}\"", document.sha256) };
    if asked.has(&etag) {
        let mut response = not_modified(&etag);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        return Ok(response);
    }
    let compressed = registry.document_gzip(repository, document).await?;
    let (bytes, length) = if gzip {
        let length = compressed.len() as u64;
        (compressed, length)
    } else {
        (inflate(&compressed, document.size)?.into(), document.size)
    };
    let mut response = Response::new(if asked.head() { Body::empty() } else { Body::from(bytes) });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    insert(headers, header::ETAG, &etag);
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn inflate(gzip: &[u8], size: u64) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let mut decoder = flate2::read::GzDecoder::new(gzip).take(size);
    decoder.read_to_end(&mut text).map_err(|e| Error::internal("expanding a document", e))?;
    Ok(text)
}

fn not_modified(etag: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    insert(response.headers_mut(), header::ETAG, etag);
    response
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |text| match range(text, 100) {
            Range::Part(from, to) => Some((from, to)),
            _ => None,
        };
        assert_eq!(part("bytes=0-9"), Some((0, 10)));
        assert_eq!(part("bytes=90-"), Some((90, 100)));
        assert_eq!(part("bytes=-5"), Some((95, 100)));
        assert_eq!(part("bytes=50-500"), Some((50, 100)));
        assert!(matches!(range("bytes=100-", 100), Range::Outside));
        for ignored in ["bytes=9-0", "bytes=-0", "bytes=a-b", "lines=1-2", "bytes=0-1,4-5"] {
            assert!(matches!(range(ignored, 100), Range::Ignored), "{ignored}");
        }
    }
}
