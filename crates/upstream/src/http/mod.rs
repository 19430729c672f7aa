//! Upstream over HTTP, behind the [`Upstream`] trait: one registry here, every address in `web`.
//!
//! | module | what |
//! |---|---|
//! | `client` | the HTTP library, set up |
//! | `evidence` | what TLS said, for people |
//! | `hosts` | turns at one host |
//! | `body` | a body as a stream, and its failures |
//! | `web` | [`WebUpstream`]: arbitrary addresses |
//! | `local` | which of those are this machine itself |
//! | `resume` | a body that goes on where it broke off |
//! | `partial` | what has arrived of one, kept over a restart |
//! | `tokens` | anonymous tokens of container registries |
//!
//! What a file's bytes are is decided by its digest, so a file is asked for with
//! `Accept-Encoding: identity` and never decoded; an index (a request with an `Accept`) may travel
//! compressed and is decoded on the way. Redirects are followed here and not by the HTTP library,
//! because credentials must stay with the registry's own origin.
//!
//! It must never send a credential to another origin, follow a redirect from https to http, or hold a
//! body in memory.

mod body;
mod client;
mod evidence;
mod hosts;
mod local;
mod partial;
mod resume;
mod tokens;
mod web;

use std::time::Duration;

use async_trait::async_trait;
use cofferdam_format_kit::{Fetched, Upstream};
use cofferdam_types::{Error, ErrorKind, Result, Secret};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

pub use web::WebUpstream;

use crate::{Found, Retries, retry::Attempt};

/// Redirects followed before giving up.
const MOST_REDIRECTS: usize = 10;

/// Bounds and manners of one [`HttpUpstream`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest silence while an answer is awaited or read. There is no bound on the whole: a large
    /// file on a slow line is fine as long as it moves.
    pub read_timeout: Duration,
    /// How transient failures are retried.
    pub retries: Retries,
    /// Requests open to one host at a time, bodies included.
    pub per_host: usize,
    /// Whether `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` count when the client names no proxy.
    pub proxy_from_env: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
            retries: Retries::default(),
            per_host: 6,
            proxy_from_env: true,
        }
    }
}

/// One upstream registry, reached over HTTP.
pub struct HttpUpstream {
    root: Url,
    credentials: Option<Secret<HeaderValue>>,
    /// Decodes compressed documents.
    documents: reqwest::Client,
    /// Hands out bytes as they were sent.
    files: reqwest::Client,
    hosts: hosts::Hosts,
    retries: Retries,
}

impl HttpUpstream {
    /// Prepares to fetch from a registry; nothing is sent yet.
    ///
    /// # Errors
    /// `Invalid` when the address, the CA bundle, the proxy or the credentials cannot be used.
    pub fn new(found: Found, options: &Options) -> Result<Self> {
        if !matches!(found.root.scheme(), "http" | "https") || found.root.host_str().is_none() {
            return Err(Error::invalid(
                "upstream-address",
                format!("{} (from {}) is not an http or https address", found.root, found.source),
            )
            .hint("name an https address in the client's configuration or in cofferdam.toml"));
        }
        let credentials = found.credentials.as_ref().map(|c| header_value(c, &found)).transpose()?;
        let mut root = found.root.clone();
        if !root.path().ends_with('/') {
            root.set_path(&format!("{}/", root.path()));
        }
        Ok(Self {
            root,
            credentials,
            documents: client::build(&found, options, true)?,
            files: client::build(&found, options, false)?,
            hosts: hosts::Hosts::new(options.per_host),
            retries: options.retries,
        })
    }

    /// The absolute form of what a format asked for.
    fn resolve(&self, url: &str) -> Result<Url> {
        let mut absolute = self.root.join(url).map_err(|e| bad_address(url, &e.to_string()))?;
        // A user in a link would become a credential that nobody here chose to send.
        let _ = (absolute.set_username(""), absolute.set_password(None));
        if absolute.scheme() == "https" || (absolute.scheme() == "http" && self.root.scheme() == "http") {
            return Ok(absolute);
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "upstream-downgrade",
            format!("upstream {} refers to {}, which is not https", self.root, shown(&absolute)),
        )
        .hint("nothing is fetched over an unprotected line from a registry that is used over https"))
    }

    /// One request with its retries, no redirects.
    async fn send(&self, url: &Url, accept: Option<&HeaderValue>) -> Result<reqwest::Response> {
        self.retries.run(|| self.attempt(url, accept)).await
    }

    async fn attempt(&self, url: &Url, accept: Option<&HeaderValue>) -> Attempt<Result<reqwest::Response>> {
        let mut request = match accept {
            Some(accept) => self.documents.get(url.clone()).header(header::ACCEPT, accept),
            None => self.files.get(url.clone()).header(header::ACCEPT_ENCODING, "identity"),
        };
        if let Some(secret) = self.credentials.as_ref().filter(|_| url.origin() == self.root.origin()) {
            request = request.header(header::AUTHORIZATION, secret.expose());
        }
        match request.send().await {
            Ok(answer) if is_transient(answer.status()) => {
                tracing::debug!(
                    url = shown(url),
                    status = answer.status().as_u16(),
                    "upstream asks to come again"
                );
                let after = retry_after(answer.headers());
                Attempt::Again { last: Ok(answer), after }
            }
            Ok(answer) => Attempt::Done(Ok(answer)),
            Err(error) => {
                let error = error.without_url();
                tracing::debug!(url = shown(url), error = %error, "upstream did not answer");
                Attempt::Again { last: Err(no_answer(url, error)), after: None }
            }
        }
    }
}

#[async_trait]
impl Upstream for HttpUpstream {
    fn root(&self) -> &str {
        self.root.as_str()
    }

    async fn get(&self, url: &str, accept: Option<&str>) -> Result<Fetched> {
        let accept = accept
            .map(|text| HeaderValue::from_str(text).map_err(|e| Error::internal("an Accept header", e)))
            .transpose()?;
        let mut at = self.resolve(url)?;
        let first = shown(&at);
        for _ in 0..=MOST_REDIRECTS {
            let permit = self.hosts.enter(&at).await?;
            let answer = self.send(&at, accept.as_ref()).await?;
            let Some(next) = redirect(&answer) else {
                return Ok(fetched(at, answer, permit));
            };
            let target = at.join(&next).map_err(|e| bad_address(&next, &e.to_string()))?;
            at = self.resolve(target.as_str())?;
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "upstream-redirects",
            format!("{first} was redirected more than {MOST_REDIRECTS} times, last to {}", shown(&at)),
        )
        .hint("check the registry's address in the client's configuration"))
    }
}

/// Puts an answer into the format kit's shape.
fn fetched(at: Url, answer: reqwest::Response, permit: hosts::Permit) -> Fetched {
    let status = answer.status();
    let headers = answer.headers().clone();
    let url = at.to_string();
    Fetched { status, headers, body: body::stream(shown(&at), answer, permit), url, connection: None }
}

/// The target of a redirect, if this is one that a GET follows.
fn redirect(answer: &reqwest::Response) -> Option<String> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned)
}

/// Statuses that say "not now" rather than "no" (RFC 9110 §15.6, RFC 6585 §4).
fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3). A date counts from the answer's own `Date`, so
/// that a clock that is wrong on either side does no harm; without one the back-off decides.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let after = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (then, now) = (httpdate::parse_http_date(after).ok()?, text(header::DATE)?);
    Some(then.duration_since(httpdate::parse_http_date(now).ok()?).unwrap_or_default())
}

/// An address for people and logs: without the query, which in a link to a file store is a key to it,
/// and without a user.
fn shown(url: &Url) -> String {
    let mut plain = url.clone();
    plain.set_query(None);
    // Both fail only where there is no host, and then there is no user either.
    let _ = (plain.set_username(""), plain.set_password(None));
    plain.to_string()
}

fn header_value(secret: &Secret<String>, found: &Found) -> Result<Secret<HeaderValue>> {
    let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| {
        Error::invalid(
            "upstream-credentials",
            format!(
                "the credentials for {} (from {}) hold characters no header can",
                found.root, found.source
            ),
        )
        .hint("look for a line break or a control character in the token")
    })?;
    value.set_sensitive(true);
    Ok(Secret::new(value))
}

fn bad_address(url: &str, why: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "upstream-address",
        format!("upstream gave the address {url:?}: {why}"),
    )
    .hint("the registry's index is damaged, or the configured address is no registry")
}

/// Why there was no answer, with the address and advice.
fn no_answer(url: &Url, error: reqwest::Error) -> Error {
    let host = url.host_str().unwrap_or_default();
    let (code, what, hint) = if error.is_timeout() {
        (
            "upstream-timeout",
            "did not answer in time",
            "try again, or check the line and the proxy".to_owned(),
        )
    } else if error.is_connect() {
        (
            "upstream-unreachable",
            "cannot be reached",
            format!(
                "check that {host} resolves, that the proxy lets it through and that its certificate is trusted"
            ),
        )
    } else {
        ("upstream-broken", "broke off", "try again; if it stays, look at the proxy in between".to_owned())
    };
    Error::new(ErrorKind::Unavailable, code, format!("{} {what}", shown(url)))
        .hint(hint)
        .with_source(error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        let of = |pairs: &[(http::HeaderName, &'static str)]| {
            let pairs = pairs.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v)));
            retry_after(&pairs.collect()).map(|d| d.as_secs())
        };
        let (after, now) = (header::RETRY_AFTER, (header::DATE, "Tue, 15 Nov 1994 08:12:31 GMT"));
        assert_eq!(of(&[(after.clone(), " 7 ")]), Some(7));
        let later = (after.clone(), "Tue, 15 Nov 1994 08:12:41 GMT");
        assert_eq!(of(&[later.clone(), now.clone()]), Some(10));
        assert_eq!(of(&[(after.clone(), "Mon, 14 Nov 1994 08:12:31 GMT"), now]), Some(0), "it is past");
        assert_eq!(of(&[later]), None, "a date alone says nothing between two clocks");
        assert_eq!(of(&[(after, "soon")]), None);
    }
}
