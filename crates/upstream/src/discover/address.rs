//! Addresses as clients write them, taken apart into a root and credentials.
//!
//! It must never put the address itself into an error: a password may stand in it.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_types::{Error, Result, Secret};
use url::Url;

/// The root (trailing slash, no user, no `sparse+`) and the credentials that stood in the address.
pub fn parse(text: &str, source: &str) -> Result<(Url, Option<Secret<String>>)> {
    let bad = |why: &str| {
        Error::invalid("upstream-address", format!("the registry address from {source} {why}"))
            .hint("write it as https://host/path/")
    };
    let plain = text.trim();
    let plain = plain.strip_prefix("sparse+").unwrap_or(plain);
    let mut url = Url::parse(plain).map_err(|e| bad(&format!("is no address: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad(&format!("has the scheme {:?}, and only https and http are fetched", url.scheme())));
    }
    let credentials = (!url.username().is_empty() || url.password().is_some())
        .then(|| basic(&decoded(url.username()), &decoded(url.password().unwrap_or_default())));
    // Both cannot fail for an address with a host, which was checked above.
    url.set_username("").map_err(|()| bad("has no host"))?;
    url.set_password(None).map_err(|()| bad("has no host"))?;
    url.set_fragment(None);
    url.set_query(None);
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok((url, credentials))
}

/// The value of an `Authorization` header for a user and password (RFC 7617 §2).
pub fn basic(user: &str, password: &str) -> Secret<String> {
    Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// Undoes percent-encoding in the user part of an address.
fn decoded(text: &str) -> String {
    // The `url` crate decodes form text only; a plus sign is protected so that it stays one.
    let form = format!("v={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(form.as_bytes()).next().map(|(_, v)| v.into_owned()).unwrap_or_default()
}

/// The user and password that `~/.netrc` has for a host, as an `Authorization` value: the entry of
/// that machine, else the `default` one.
pub fn netrc(home: &Path, host: &str) -> Option<Secret<String>> {
    let text = super::ask::small_text(&home.join(".netrc")).ok()??;
    let mut words = text.split_whitespace();
    let (mut machine, mut default) = ([None; 2], [None; 2]);
    let mut entry: Option<&mut [Option<&str>; 2]> = None;
    while let Some(word) = words.next() {
        match word {
            "machine" => entry = (words.next() == Some(host)).then_some(&mut machine),
            "default" => entry = Some(&mut default),
            "login" | "password" => {
                let value = words.next();
                if let Some(entry) = &mut entry {
                    entry[usize::from(word == "password")] = value;
                }
            }
            _ => {}
        }
    }
    let [login, password] = if machine[1].is_some() { machine } else { default };
    Some(basic(login.unwrap_or_default(), password?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_an_address_becomes_a_credential_and_leaves_the_root() {
        let (root, secret) =
            parse("https://me%40work:p%2Bw+1@upstream.example/simple", "pip config").unwrap();
        assert_eq!(root.as_str(), "https://upstream.example/simple/");
        assert_eq!(secret.unwrap().expose(), &format!("Basic {}", STANDARD.encode("me@work:p+w+1")));
    }

    #[test]
    fn an_address_of_another_kind_is_refused_without_being_repeated() {
        let error = parse("ftp://u:hunter2@upstream.example/", "pip config").unwrap_err();
        assert!(error.message().contains("pip config") && !error.internal_chain().contains("hunter2"));
    }
}
