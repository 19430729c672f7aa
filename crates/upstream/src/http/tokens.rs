//! Anonymous tokens of container registries, which give nothing without one, not even what is public.
//!
//! A registry answers 401 and names a realm (`WWW-Authenticate: Bearer realm=…,service=…,scope=…`); whoever asks
//! there without a name gets a token for what is public (distribution specification, token authentication). Tokens
//! live in this process only. Must never store or log one, send one to another origin than the one that
//! named the realm, ask a realm over an unprotected line for a registry that is not on one itself, or
//! follow a realm elsewhere.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as Shelf, PoisonError},
    time::Duration,
};

use cofferdam_types::{Error, ErrorKind, Result, Secret};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};
use url::Url;

use super::{is_transient, no_answer, shown};

/// Bytes of a realm's answer at the most.
const MAX_ANSWER: usize = 64 << 10;

/// The longest wait for a realm.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a token holds whose realm does not say (the specification's own rule).
const LIFE: Duration = Duration::from_secs(60);

/// A token is not used in its last moments.
const MARGIN: Duration = Duration::from_secs(5);

/// Tokens remembered before those that nobody uses are dropped.
const REMEMBERED: usize = 256;

/// What a registry wants to see a token for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Challenge {
    /// The origin that asked; no other is ever sent the token.
    origin: String,
    realm: String,
    service: String,
    scope: String,
}

struct Token {
    header: Secret<HeaderValue>,
    until: Instant,
}

type Place = Arc<Mutex<Option<Token>>>;

/// The tokens of this process.
#[derive(Default)]
pub struct Tokens {
    known: Shelf<HashMap<Challenge, Place>>,
}

impl Tokens {
    /// The `Authorization` with which an address may be asked again that answered 401; none where it did not ask for
    /// an anonymous token, or where the realm gives none.
    ///
    /// `refused` is what it was asked with already: the same is not tried twice.
    ///
    /// # Errors
    /// `Unavailable` when the realm does not answer: that says nothing about what is behind the address.
    pub async fn answer(
        &self,
        client: &reqwest::Client,
        url: &Url,
        headers: &HeaderMap,
        (local, refused): (bool, Option<&HeaderValue>),
    ) -> Result<Option<HeaderValue>> {
        let Some(challenge) = Challenge::read(url, headers) else { return Ok(None) };
        let Some(realm) = challenge.realm(url, local) else { return Ok(None) };
        let place = self.place(&challenge);
        let mut token = place.lock().await;
        let good = |t: &&Token| t.until > Instant::now() && Some(t.header.expose()) != refused;
        if let Some(token) = token.as_ref().filter(good) {
            return Ok(Some(token.header.expose().clone()));
        }
        let asked = tokio::time::timeout(PATIENCE, ask(client, &realm)).await;
        *token = asked.unwrap_or_else(|_| Err(silent(&realm)))?;
        Ok(token.as_ref().map(|t| t.header.expose().clone()))
    }

    fn place(&self, challenge: &Challenge) -> Place {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED && !known.contains_key(challenge) {
            known.retain(|_, place| Arc::strong_count(place) > 1);
        }
        Arc::clone(known.entry(challenge.clone()).or_default())
    }
}

impl Challenge {
    /// What an address of a registry's API asks for. Its root (`/v2/`) answers clients what it wants and is left to
    /// them.
    fn read(url: &Url, headers: &HeaderMap) -> Option<Self> {
        url.path().strip_prefix("/v2/").filter(|rest| !rest.is_empty())?;
        let said = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        let parameters = said.filter_map(bearer).find(|p| p.contains_key("realm"))?;
        let of = |name: &str| parameters.get(name).cloned().unwrap_or_default();
        let origin = url.origin().ascii_serialization();
        Some(Self { origin, realm: of("realm"), service: of("service"), scope: of("scope") })
    }

    /// Where the token is asked for; none for a realm that must not be asked.
    fn realm(&self, registry: &Url, local: bool) -> Option<Url> {
        let mut realm = Url::parse(&self.realm).ok()?;
        let protected =
            realm.scheme() == "https" || (realm.scheme() == "http" && registry.scheme() == "http");
        if !protected || realm.host_str().is_none() || (!local && super::local::names_local(&realm)) {
            return None;
        }
        let _ = (realm.set_username(""), realm.set_password(None));
        realm.set_fragment(None);
        let mut query = realm.query_pairs_mut();
        if !self.scope.is_empty() {
            query.append_pair("scope", &self.scope);
        }
        if !self.service.is_empty() {
            query.append_pair("service", &self.service);
        }
        drop(query);
        Some(realm)
    }
}

/// The parameters of a `Bearer` challenge (RFC 9110, section 11.6.1).
fn bearer(text: &str) -> Option<HashMap<String, String>> {
    let (scheme, mut rest) = text.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut out = HashMap::new();
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        let Some((name, after)) = rest.split_once('=') else { return Some(out) };
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        out.insert(name.trim().to_ascii_lowercase(), value.to_owned());
        rest = after;
    }
}

#[derive(Deserialize)]
struct Given {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Asks a realm once; none where it gives no token to those without a name.
async fn ask(client: &reqwest::Client, realm: &Url) -> Result<Option<Token>> {
    let answer = client.get(realm.clone()).header(header::ACCEPT, "application/json").send().await;
    let mut answer = answer.map_err(|e| no_answer(realm, e))?;
    if is_transient(answer.status()) {
        return Err(silent(realm));
    }
    if answer.status() != StatusCode::OK {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| no_answer(realm, e))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    let Ok(given) = serde_json::from_slice::<Given>(&body) else { return Ok(None) };
    let text = given.token.or(given.access_token).filter(|t| !t.is_empty());
    let header = text.and_then(|t| HeaderValue::from_str(&format!("Bearer {t}")).ok());
    Ok(header.map(|mut header| {
        header.set_sensitive(true);
        let life = given.expires_in.map_or(LIFE, Duration::from_secs).min(Duration::from_secs(86_400));
        Token { header: Secret::new(header), until: Instant::now() + life.saturating_sub(MARGIN) }
    }))
}

fn silent(realm: &Url) -> Error {
    let text = format!("{}, where the registry's anonymous tokens are had, gives none now", shown(realm));
    Error::new(ErrorKind::Unavailable, "upstream-token", text)
        .hint("try again later; nothing of the answer was kept")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(url: &str, said: &str) -> Option<Challenge> {
        let headers =
            HeaderMap::from_iter([(header::WWW_AUTHENTICATE, HeaderValue::from_str(said).unwrap())]);
        Challenge::read(&Url::parse(url).unwrap(), &headers)
    }

    fn realm(url: &str, said: &str) -> Option<String> {
        let local = false;
        challenge(url, said)?.realm(&Url::parse(url).unwrap(), local).map(|u| u.to_string())
    }

    const PULL: &str = "Bearer realm=\"https://auth.example/token\",service=\"r.example\",scope=\"repository:a/b:pull,push\"";

    #[test]
    fn a_realm_is_asked_for_what_the_registry_says() {
        let asked = realm("https://r.example/v2/a/b/manifests/1", PULL).unwrap();
        assert_eq!(
            asked,
            "https://auth.example/token?scope=repository%3Aa%2Fb%3Apull%2Cpush&service=r.example"
        );
        let plain = "bearer service=r, realm=https://auth.example/t?x=1";
        let asked = realm("https://r.example/v2/a/tags/list", plain).unwrap();
        assert_eq!(asked, "https://auth.example/t?x=1&service=r");
    }

    #[test]
    fn what_must_not_be_asked_is_not() {
        let registry = "https://r.example/v2/a/manifests/1";
        for said in [
            "Basic realm=\"https://auth.example/token\"",
            "Bearer service=\"x\"",
            "Bearer realm=\"http://auth.example/token\"",
            "Bearer realm=\"file:///etc/passwd\"",
            "Bearer realm=\"https://127.0.0.1/token\"",
            "Bearer realm=\"/token\"",
            "Bearer realm=\"https://auth.example/token",
        ] {
            assert_eq!(realm(registry, said), None, "{said}");
        }
        assert!(challenge("https://r.example/v2/", PULL).is_none(), "the root is left to clients");
        assert!(challenge("https://r.example/api/v2/x", PULL).is_none(), "this is no registry");
        let http = "Bearer realm=\"http://auth.example/token\"";
        assert!(realm("http://r.example/v2/a/manifests/1", http).is_some());
        let origin = |url: &str| challenge(url, PULL).unwrap().origin;
        assert_ne!(origin("https://r.example/v2/a"), origin("https://r.example:444/v2/a"));
    }
}
