//! Which requests are forwarded, and as what.
//!
//! Headers that go on are a list: what an answer may depend on, ranges and conditions. So no credential of
//! the build's leaves its sandbox. Pure: no input or output.

use cofferdam_types::address::{DIGEST_HEADER, address_without_secrets};
use http::{HeaderMap, HeaderName, Method, StatusCode, header, request::Parts};

use crate::question;

/// Headers of requests that go on to the site.
static FORWARDED: [HeaderName; 9] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::RANGE,
    header::USER_AGENT,
    // The version of git's protocol: what git is answered depends on it.
    HeaderName::from_static("git-protocol"),
];

/// Headers of answers that are not the recorded server's: of the connection (RFC 9110, section 7.6.1), or the
/// site's own.
const WITHHELD: &[&str] = &[
    "alt-svc",
    "connection",
    "content-security-policy",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    DIGEST_HEADER,
    "x-content-type-options",
    "x-request-id",
];

/// To whom a client speaks on one connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Whether TLS was spoken.
    pub tls: bool,
    /// The name of the certificate that the client was given, or the name or address that it dialled.
    pub host: String,
    /// The port that it dialled.
    pub port: u16,
    /// Who asks; printable ASCII, at most [`MAX_BY`] bytes.
    pub by: Option<String>,
}

/// Bytes of what is said about who asks.
pub const MAX_BY: usize = 200;

/// What is said about who asks, so that a header can hold it.
pub fn printable(by: &str) -> String {
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    by.trim().chars().map(plain).take(MAX_BY).collect()
}

impl Peer {
    /// `https://host[:port]`.
    pub fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority(&self.host))
    }

    fn authority(&self, host: &str) -> String {
        let own = if self.tls { 443 } else { 80 };
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        if self.port == own { host } else { format!("{host}:{}", self.port) }
    }
}

/// A request that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Path and query below the site's repository: `https/host[:port]/path?query`.
    pub below: String,
    /// The address without credentials.
    pub shown: String,
}

/// Why a request does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status that the client is given.
    pub status: StatusCode,
    /// The reason, a sentence for people.
    pub why: String,
}

/// Decides what becomes of a request.
pub fn target(peer: &Peer, parts: &Parts) -> Result<Target, Refusal> {
    let refuse = |status, why: String| Err(Refusal { status, why });
    if parts.method == Method::CONNECT {
        let why = "this is no proxy: connect directly, and do not set a proxy in the build".to_owned();
        return refuse(StatusCode::METHOD_NOT_ALLOWED, why);
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) && !question::is_one(parts) {
        let why = format!(
            "{} is not recorded: only GET, HEAD and what git asks to fetch (git-upload-pack) can be replayed",
            parts.method
        );
        return refuse(StatusCode::METHOD_NOT_ALLOWED, why);
    }
    // An offer to change to HTTP/2 may be passed over (RFC 9110, section 7.8); a client that offers to speak
    // something else wants just that.
    let upgrade = text(&parts.headers, header::UPGRADE);
    if upgrade.split(',').any(|u| !matches!(u.trim().to_ascii_lowercase().as_str(), "" | "h2c" | "h2")) {
        return refuse(
            StatusCode::FORBIDDEN,
            format!("a change of protocol to `{upgrade}` cannot be recorded"),
        );
    }
    let host = match requested_host(parts) {
        Some(host) => host,
        None => return refuse(StatusCode::BAD_REQUEST, "the request names no host".to_owned()),
    };
    if peer.tls && !host.eq_ignore_ascii_case(peer.host.trim_matches(['[', ']'])) {
        let why = format!("the request is for `{host}`, and the connection was made to `{}`", peer.host);
        return refuse(StatusCode::MISDIRECTED_REQUEST, why);
    }
    let scheme = if peer.tls { "https" } else { "http" };
    let authority = peer.authority(&host.to_ascii_lowercase());
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let shown = address_without_secrets(&format!("{scheme}://{authority}{path}"));
    Ok(Target { below: format!("{scheme}/{authority}{path}"), shown })
}

/// The host that a request is for, without port and brackets: of its target, else of its `Host`.
fn requested_host(parts: &Parts) -> Option<String> {
    let authority = match parts.uri.authority() {
        Some(authority) => authority.clone(),
        None => text(&parts.headers, header::HOST).parse::<http::uri::Authority>().ok()?,
    };
    let host = authority.host().trim_matches(['[', ']']).trim_end_matches('.');
    (!host.is_empty()).then(|| host.to_owned())
}

/// The headers that go on.
pub fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in &FORWARDED {
        for value in headers.get_all(name) {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

/// Takes out of an answer's headers what is not the recorded server's.
pub fn withhold(headers: &mut HeaderMap) {
    let named: Vec<String> =
        text(headers, header::CONNECTION).split(',').map(|n| n.trim().to_ascii_lowercase()).collect();
    for name in WITHHELD.iter().copied().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

pub fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(tls: bool, host: &str, port: u16) -> Peer {
        Peer { tls, host: host.into(), port, by: None }
    }

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_goes_on_with_scheme_host_port_and_every_byte_of_its_path() {
        let below = |p: &Peer, uri, host| target(p, &parts("GET", uri, &[("host", host)])).unwrap().below;
        let tls = peer(true, "files.example", 443);
        assert_eq!(
            below(&tls, "/a//b%2F?x=1&sig=2", "Files.example:443"),
            "https/files.example/a//b%2F?x=1&sig=2"
        );
        assert_eq!(
            below(&peer(false, "files.example", 8080), "/", "files.example"),
            "http/files.example:8080/"
        );
        assert_eq!(below(&peer(true, "2001:db8::1", 443), "/x", "[2001:db8::1]"), "https/[2001:db8::1]/x");
        assert_eq!(
            below(&peer(false, "192.0.2.1", 80), "http://mirror.example/x", "y"),
            "http/mirror.example/x"
        );
        let shown = target(&tls, &parts("GET", "/a?sig=2", &[("host", "files.example")])).unwrap().shown;
        assert_eq!(shown, "https://files.example/a?sig=***");
    }

    #[test]
    fn what_cannot_be_replayed_is_refused_with_the_reason() {
        let tls = peer(true, "files.example", 443);
        let refused =
            |method, uri, headers: &[(&str, &str)]| target(&tls, &parts(method, uri, headers)).unwrap_err();
        let own = ("host", "files.example");
        assert_eq!(refused("POST", "/", &[own]).status, StatusCode::METHOD_NOT_ALLOWED);
        let asks = ("content-type", question::MEDIA_TYPE);
        let push = ("content-type", "application/x-git-receive-pack-request");
        for (uri, kind) in [
            ("/r.git/git-receive-pack", push),
            ("/r.git/git-upload-pack", push),
            ("/api", asks),
            ("/r/git-upload-pack?x=1", asks),
        ] {
            assert!(refused("POST", uri, &[own, kind]).why.contains("git-upload-pack"), "{uri}");
        }
        assert!(target(&tls, &parts("POST", "/r.git/git-upload-pack", &[own, asks])).is_ok());
        assert!(refused("CONNECT", "files.example:443", &[own]).why.contains("no proxy"));
        assert!(refused("GET", "/", &[own, ("upgrade", "websocket")]).why.contains("websocket"));
        assert_eq!(refused("GET", "/", &[("host", "other.example")]).status, StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(refused("GET", "/", &[]).status, StatusCode::BAD_REQUEST);
        assert!(
            target(&tls, &parts("GET", "/", &[own, ("upgrade", "h2c")])).is_ok(),
            "an offer may be passed over"
        );
    }

    #[test]
    fn who_asks_is_said_so_that_a_header_can_hold_it() {
        assert_eq!(printable(" node for esbuild@0.21.5"), "node for esbuild@0.21.5");
        assert_eq!(printable("a\r\nx-other: b\u{7f}é"), "a??x-other: b??");
        assert_eq!(printable(&"x".repeat(1000)).len(), MAX_BY);
    }

    #[test]
    fn credentials_stay_and_headers_of_the_connection_end_with_it() {
        let asked = parts(
            "GET",
            "/",
            &[
                ("authorization", "Bearer x"),
                ("cookie", "a"),
                ("x-api-key", "k"),
                ("x-cofferdam-asked-by", "me"),
                ("range", "bytes=0-1"),
            ],
        );
        let out = forwarded(&asked.headers);
        assert_eq!((out.len(), &out["range"]), (1, &"bytes=0-1".parse().unwrap()));
        let mut answer =
            parts("GET", "/", &[("connection", "x-hop"), ("x-hop", "1"), ("etag", "\"a\"")]).headers;
        withhold(&mut answer);
        assert_eq!(answer.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["etag"]);
    }
}
