//! A client's request, as a format sees it.

use bytes::Bytes;
use cofferdam_types::{Error, Result};
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use crate::ByteStream;

/// Method, path below the repository, query and headers. What is published comes with [`Upload`].
#[derive(Clone, Debug)]
pub struct Request {
    /// The method. `HEAD` arrives as `GET`; the edge drops the body.
    pub method: Method,
    /// The raw (still percent-encoded) path below `/r/<repository>`, with its leading slash.
    pub path: String,
    /// The query, decoded.
    pub query: Query,
    /// The query as it was sent, without its question mark; empty when there was none.
    pub raw_query: String,
    /// The headers, without credentials: those are the edge's.
    pub headers: HeaderMap,
    /// The absolute address of the repository as this client sees it, without a trailing slash.
    pub base: String,
    /// The question of a request that only reads, where [`crate::Format::takes_question`] allows one; else
    /// empty.
    pub body: Bytes,
}

/// A request with a body.
pub struct Upload {
    /// Everything but the body.
    pub request: Request,
    /// What the format's route said.
    pub route: Route,
    /// The body.
    pub body: ByteStream,
}

/// Decoded query parameters in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a request is about. The cache class is declared here, not guessed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A rendered index document; `package` is the key it belongs to (`None`: the repository's).
    Document {
        /// The path the document was rendered under (before content negotiation).
        path: String,
        /// The key of the package, when it belongs to one.
        package: Option<String>,
    },
    /// An immutable file: the path it was committed under.
    File {
        /// The committed path.
        path: String,
        /// The key of the package, where the path tells.
        package: Option<String>,
    },
    /// Anything else that only reads (search, ping, whoami…), named by the format.
    Api(&'static str),
    /// A change by a client, named by the format.
    Publish(&'static str),
}

impl Request {
    /// Whether the `Accept` header asks for `media_type` (exact type; `*/*` does not count).
    #[must_use]
    pub fn accepts(&self, media_type: &str) -> bool {
        self.headers.get_all(http::header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).any(|value| {
            value.split(',').any(|part| part.split(';').next().is_some_and(|t| t.trim() == media_type))
        })
    }
}

/// Splits a raw path into percent-decoded segments and refuses every trick: `.` and `..`,
/// empty segments inside, NUL and control characters, backslashes, and text that is not UTF-8.
/// A slash that was percent-encoded stays inside its segment (npm's `@scope%2fname`).
/// A trailing slash is allowed and dropped.
///
/// # Errors
/// `Invalid` (`bad-path`) naming what is wrong.
pub fn path_segments(raw: &str) -> Result<Vec<String>> {
    let trimmed = raw.strip_prefix('/').unwrap_or(raw);
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    let bad = |why: &str| Error::invalid("bad-path", format!("the path `{}` {why}", printable(raw)));
    trimmed
        .split('/')
        .map(|part| {
            let text = percent_decode_str(part).decode_utf8().map_err(|_| bad("is not UTF-8"))?;
            if text.is_empty() {
                return Err(bad("has an empty segment"));
            }
            if text.split('/').any(|piece| matches!(piece, "." | ".." | "")) {
                return Err(bad("tries to leave its folder"));
            }
            if text.chars().any(|c| c.is_control() || c == '\\') {
                return Err(bad("holds a control character or a backslash"));
            }
            Ok(text.into_owned())
        })
        .collect()
}

fn printable(text: &str) -> String {
    text.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_paths_are_split_and_decoded_once() {
        assert_eq!(path_segments("/simple/foo/").unwrap(), ["simple", "foo"]);
        assert_eq!(path_segments("/@a%2fb").unwrap(), ["@a/b"]);
        assert_eq!(path_segments("/x%252e").unwrap(), ["x%2e"]);
        assert_eq!(path_segments("/").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn tricks_are_refused_by_name() {
        for trick in [
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/..%2fb",
            "//a",
            "/a//b",
            "/a%00",
            "/a%5cb",
            "/%ff",
            "/./a",
            "/a%2f%2fb",
        ] {
            let error = path_segments(trick).unwrap_err();
            assert_eq!(error.code(), "bad-path", "{trick}");
        }
    }
}
