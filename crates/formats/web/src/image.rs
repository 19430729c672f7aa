//! Container registries among addresses (OCI distribution specification): which answer suits whom, what a digest
//! in an address proves, and anonymous tokens, which are never kept.
//!
//! A registry chooses a manifest by `Accept` and seldom says so in `Vary`. Pure text work.

use bytes::Bytes;
use serde_json::{Value, json};

use cofferdam_types::Sha256;

/// What stands in place of a token. Whoever has it may have what is kept: nothing of it goes to upstream.
const NO_TOKEN: &str = "not-kept";

/// Whether an address is one of a manifest: `/v2/<name>/manifests/<reference>`.
pub fn is_manifest(path: &str) -> bool {
    of_registry(path).is_some_and(|(kind, _)| kind == "manifests")
}

/// The digest of what is behind an address that names it.
pub fn digest_of(path: &str) -> Option<Sha256> {
    of_registry(path)?.1.strip_prefix("sha256:")?.parse().ok()
}

fn of_registry(path: &str) -> Option<(&str, &str)> {
    let (rest, last) = path.strip_prefix("/v2/")?.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    (!name.is_empty() && ["manifests", "blobs"].contains(&kind)).then_some((kind, last))
}

/// The media types of an `Accept`, without weights.
fn types(accept: &str) -> impl Iterator<Item = &str> {
    accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim()).filter(|t| !t.is_empty())
}

/// Whether a client takes a type. One that says nothing takes any.
pub fn takes(accept: Option<&str>, media_type: &str) -> bool {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let family = media_type.split('/').next().unwrap_or_default();
    let fits =
        |t: &str| t == "*/*" || t.eq_ignore_ascii_case(media_type) || t.strip_suffix("/*") == Some(family);
    accept.is_none_or(|accept| types(accept).any(fits))
}

/// Whether who asks with `asked` would have been answered as who asked with `was`: with all that it takes.
pub fn asks_no_more(asked: Option<&str>, was: Option<&str>) -> bool {
    match (asked, was) {
        (Some(asked), Some(was)) => types(asked).all(|t| types(was).any(|w| w.eq_ignore_ascii_case(t))),
        (asked, was) => asked == was,
    }
}

/// Whether an address may be one where a registry's tokens are had.
pub fn asks_for_token(query: &str) -> bool {
    let names = query.split('&').filter_map(|part| part.split_once('=')).map(|(name, _)| name);
    let names: Vec<&str> = names.collect();
    names.contains(&"service") || names.contains(&"scope")
}

/// The answer of a realm without its token; none where it has none. Times of day are left out, so that clients do not
/// take it for expired.
pub fn without_token(body: &[u8]) -> Option<Bytes> {
    let said: Value = serde_json::from_slice(body).ok()?;
    let tokens = ["token", "access_token"].map(|name| (name, said[name].is_string()));
    if !tokens.iter().any(|(_, there)| *there) {
        return None;
    }
    let mut kept = json!({});
    for (name, _) in tokens.into_iter().filter(|(_, there)| *there) {
        kept[name] = json!(NO_TOKEN);
    }
    if let Some(life) = said["expires_in"].as_u64() {
        kept["expires_in"] = json!(life);
    }
    Some(kept.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_registry_are_known() {
        let digest = Sha256::of(b"x");
        assert!(is_manifest("/v2/library/alpine/manifests/3.20"));
        assert!(!is_manifest("/v2/manifests/3.20") && !is_manifest("/x/v2/a/manifests/1"));
        assert_eq!(digest_of(&format!("/v2/a/b/blobs/sha256:{digest}")), Some(digest));
        assert_eq!(digest_of(&format!("/v2/a/manifests/sha256:{digest}")), Some(digest));
        assert_eq!(digest_of("/v2/a/manifests/1"), None);
        assert_eq!(digest_of(&format!("/v2/a/referrers/sha256:{digest}")), None, "it names another thing");
    }

    #[test]
    fn who_takes_a_type_is_told_from_who_does_not() {
        assert!(takes(None, "a/b") && takes(Some("*/*"), "a/b") && takes(Some("x/y;q=0.5, a/*"), "a/b"));
        assert!(takes(Some("A/B"), "a/b; charset=utf-8") && !takes(Some("a/c"), "a/b"));
        assert!(
            asks_no_more(Some("a/b"), Some("c/d, a/b;q=1")) && !asks_no_more(Some("a/b, c/d"), Some("a/b"))
        );
        assert!(
            asks_no_more(None, None) && !asks_no_more(None, Some("a/b")) && !asks_no_more(Some("a/b"), None)
        );
    }

    #[test]
    fn a_token_is_not_kept_and_nothing_else_is_taken_for_one() {
        let said =
            br#"{"token":"hush","access_token":"hush","expires_in":300,"issued_at":"2024-01-01T00:00:00Z"}"#;
        let kept = without_token(said).unwrap();
        assert_eq!(kept, r#"{"token":"not-kept","access_token":"not-kept","expires_in":300}"#);
        assert_eq!(without_token(&kept).unwrap(), kept);
        assert!(without_token(b"{\"tokens\":1}").is_none() && without_token(b"token").is_none());
        assert!(asks_for_token("service=r&scope=x") && !asks_for_token("q=service"));
    }
}
