//! Whether a form was sent from our own pages: the second wall against forged requests, besides the
//! cookie's `SameSite=Strict`.
//!
//! Browsers say where a request comes from in `Sec-Fetch-Site` (only on trustworthy addresses) and,
//! for every POST, in `Origin`. A request with neither is no browser's form; programs have the API.

use axum::http::{HeaderMap, Uri, header};
use cofferdam_types::{Error, Result};

/// Refuses a form that did not come from this site.
///
/// # Errors
/// `Forbidden` (`cross-site`).
pub(super) fn check(headers: &HeaderMap, uri: &Uri, public_url: &str) -> Result<()> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let ours = match (text("sec-fetch-site"), text("origin")) {
        (Some(from), _) => from == "same-origin",
        (None, Some(origin)) => {
            let host = text(header::HOST.as_str()).or_else(|| uri.authority().map(|a| a.as_str()));
            origin == root(public_url) || host.is_some_and(|host| authority(origin) == Some(host))
        }
        (None, None) => false,
    };
    if ours {
        return Ok(());
    }
    Err(Error::forbidden(
        "cross-site",
        "this form was not sent from this site's own page, so nothing was done",
    )
    .hint("open the page here and send the form again; programs use the API"))
}

/// Scheme and authority of an address.
fn root(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    url[after..].find('/').map_or(url, |at| &url[..after + at])
}

fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pairs: &[(&'static str, &str)]) -> bool {
        let headers = pairs
            .iter()
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        check(&headers, &Uri::from_static("/login"), "https://site.example/under").is_ok()
    }

    #[test]
    fn only_our_own_forms_act() {
        assert!(allowed(&[("sec-fetch-site", "same-origin"), ("origin", "https://proxy.example")]));
        assert!(allowed(&[("origin", "https://site.example")]));
        assert!(allowed(&[("origin", "http://10.0.0.7:8080"), ("host", "10.0.0.7:8080")]));
        for from in ["cross-site", "same-site", "none"] {
            assert!(!allowed(&[("sec-fetch-site", from), ("origin", "https://site.example")]), "{from}");
        }
        assert!(!allowed(&[("origin", "https://evil.example"), ("host", "site.example")]));
        assert!(!allowed(&[("origin", "null"), ("host", "null")]));
        assert!(!allowed(&[("origin", "https://site.example.evil.example")]));
        assert!(!allowed(&[("host", "site.example")]));
    }
}
