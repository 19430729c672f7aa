//! Recorded addresses: their words, and their form without the credentials that their queries carry.
//!
//! Signed links put a key into the query. What is kept, shown or written to a log has `***` in its place;
//! this is the one place that says which parameters are keys. It must never change anything else: the
//! rest of a query is kept byte for byte.

/// The header by which the site says that an answer is a kept one, with the digest of its body
/// (`sha256:…`). Its gateway takes it out again: no recorded server said it.
pub const DIGEST_HEADER: &str = "x-cofferdam-digest";

/// The header in which a sandbox's gateway says which program asks, and for which package.
pub const ASKED_BY_HEADER: &str = "x-cofferdam-asked-by";

/// What the door of a run's sandbox says first on every connection to the site, followed by the run's token and a line
/// feed: what is asked on it is asked in that run's name.
pub const DOOR_GREETING: &str = "COFFERDAM-DOOR ";

/// What stands in place of a value.
pub const HIDDEN: &str = "***";

/// Parameters whose value is a credential, in lower case with `-` for `_`.
const SECRET: &[&str] = &[
    "api-key",
    "apikey",
    "auth",
    "code",
    "credential",
    "hdnea",
    "hdnts",
    "hmac",
    "jwt",
    "key",
    "key-pair-id",
    "passwd",
    "password",
    "policy",
    "pwd",
    "sas",
    "secret",
    "session",
    "sessionid",
    "sig",
    "signature",
    "token",
];

/// Beginnings of such parameters: signed links of object stores.
const SECRET_PREFIX: &[&str] = &["x-amz-", "x-goog-", "x-oss-", "x-cos-"];

/// Ends of such parameters.
const SECRET_SUFFIX: &[&str] = &["token", "-secret", "-password", "-signature", "-key", "apikey"];

/// Whether the value of a query parameter is taken for a credential.
#[must_use]
pub fn is_secret_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    SECRET.contains(&name.as_str())
        || SECRET_PREFIX.iter().any(|p| name.starts_with(p))
        || SECRET_SUFFIX.iter().any(|s| name.ends_with(s))
}

/// A raw query (without its question mark) with every credential replaced by [`HIDDEN`].
#[must_use]
pub fn query_without_secrets(query: &str) -> String {
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret_parameter(name) => format!("{name}={HIDDEN}"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("&")
}

/// An absolute or relative address with its query freed of credentials and without a user.
#[must_use]
pub fn address_without_secrets(address: &str) -> String {
    let (before, fragment) = address.split_once('#').map_or((address, None), |(a, f)| (a, Some(f)));
    let (place, query) = before.split_once('?').map_or((before, None), |(p, q)| (p, Some(q)));
    let mut out = without_user(place);
    if let Some(query) = query {
        out.push('?');
        out.push_str(&query_without_secrets(query));
    }
    if let Some(fragment) = fragment {
        out.push('#');
        out.push_str(fragment);
    }
    out
}

/// `scheme://user:password@host/…` without what stands before the `@` of its authority.
fn without_user(place: &str) -> String {
    let Some((scheme, rest)) = place.split_once("//") else { return place.to_owned() };
    if !scheme.is_empty() && !scheme.ends_with(':') {
        return place.to_owned();
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}//{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_and_everything_else_stays_byte_for_byte() {
        for (with, without) in [
            ("a=1&b=%2f+x&flag", "a=1&b=%2f+x&flag"),
            ("X-Amz-Signature=abc&response=a%20b", "X-Amz-Signature=***&response=a%20b"),
            ("access_token=1&Sig=2&private_token=&n=3", "access_token=***&Sig=***&private_token=&n=3"),
            ("key=a=b&keyboard=de", "key=***&keyboard=de"),
            ("", ""),
        ] {
            assert_eq!(query_without_secrets(with), without);
            assert_eq!(query_without_secrets(without), without, "the hidden form is its own hidden form");
        }
    }

    #[test]
    fn addresses_lose_their_user_and_keep_their_path() {
        for (with, without) in [
            ("https://me:pw@h.example/a@b?token=1#t", "https://h.example/a@b?token=***#t"),
            ("/x//y?sig=1", "/x//y?sig=***"),
            ("//me@h.example", "//h.example"),
        ] {
            assert_eq!(address_without_secrets(with), without);
        }
    }
}
