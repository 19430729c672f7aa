//! Registry signatures (npm docs, "About ECDSA registry signatures"): kept with the tarball, checked when it is
//! recorded and again when it is admitted.
//!
//! A registry signs `<name>@<version>:<integrity>` with ECDSA P-256 and publishes its keys at
//! `-/npm/v1/keys`. What is kept stands in the tarball's own metadata: the manifest, which clients are served
//! with upstream's `dist.signatures`, stays as upstream wrote it. This module must never call a signature
//! checked without having checked it, and never take a claim's word for it.

use cofferdam_format_kit::{Upstream, proofs as kit};
use cofferdam_types::{Digests, Error, Result, Timestamp};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{coords::shorten, inspect};

/// The kind of proof, and the code of a failure.
const KIND: &str = "npm-signature";
/// Where a registry publishes its keys, relative to its root.
const KEYS: &str = "-/npm/v1/keys";
/// The one key type there is.
const KEY_TYPE: &str = "ecdsa-sha2-nistp256";
/// Bytes of a keys document at the most.
const KEYS_LIMIT: usize = 1 << 20;
/// Signatures of one release at the most.
const SIGNATURES_LIMIT: usize = 16;
/// Characters of a key, its name or a signature at the most.
const TEXT_LIMIT: usize = 1024;

/// What is said of a signature that was checked.
const CHECKED: &str = "registry key, as the registry published it when recorded";
const NO_KEYS: &str = "not checked: the registry publishes no keys";
const NO_SUCH_KEY: &str = "not checked: the registry publishes no P-256 key of this id";
const UNREADABLE: &str = "not checked: the registry's keys could not be read";
const NO_INTEGRITY: &str = "not checked: upstream gives no single integrity that could be signed";
/// All that may be said of a signature without its key.
const NOT_CHECKED: [&str; 4] = [NO_KEYS, NO_SUCH_KEY, UNREADABLE, NO_INTEGRITY];

/// What a signature is about.
pub struct Release<'a> {
    /// The package.
    pub package: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The manifest's `dist`.
    pub dist: &'a Value,
    /// The digests of the tarball's bytes.
    pub digests: &'a Digests,
}

/// A signature as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    kind: String,
    keyid: String,
    sig: String,
    /// The public key: base64 of its `SubjectPublicKeyInfo`. Without it nothing was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    verified: String,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    keyid: String,
    #[serde(default)]
    keytype: String,
    key: String,
    #[serde(default)]
    expires: Option<String>,
}

impl Release<'_> {
    /// The key ids and signatures that the manifest names. One without either is kept as an empty text, which
    /// no key has signed; one beyond the bounds is passed over.
    fn signatures(&self) -> Vec<(&str, &str)> {
        let all = self.dist["signatures"].as_array().into_iter().flatten().filter(|entry| entry.is_object());
        all.map(|e| (e["keyid"].as_str().unwrap_or_default(), e["sig"].as_str().unwrap_or_default()))
            .filter(|(keyid, sig)| keyid.len() <= TEXT_LIMIT && sig.len() <= TEXT_LIMIT)
            .take(SIGNATURES_LIMIT)
            .collect()
    }

    /// The text that the registry signed, from the bytes and not from what anybody said of them.
    fn signed(&self) -> Option<String> {
        let integrity = inspect::recomputed(self.dist, self.digests)?;
        Some(format!("{}@{}:{integrity}", self.package, self.version))
    }

    fn holds(&self, key: &str, sig: &str) -> bool {
        let (Some(key), Some(sig), Some(text)) = (decode(key), decode(sig), self.signed()) else {
            return false;
        };
        kit::p256(&key, text.as_bytes(), &sig) == kit::Signature::Holds
    }

    fn wrong(&self, keyid: &str, why: &str) -> Error {
        let (package, version, keyid) = (self.package, shorten(self.version), shorten(keyid));
        let text = format!("the registry signature of {package}@{version} by the key {keyid} {why}");
        Error::verification(KIND, text).hint(
            "the tarball or the registry's document was changed, or the registry changed its key; \
             nothing was kept: compare with another network, or ask the registry",
        )
    }

    /// Checks one signature with the registry's keys.
    fn judge(&self, keyid: &str, sig: &str, keys: &[Key], published: Option<Timestamp>) -> Result<Proof> {
        let own = |key: &&Key| key.keyid == keyid && key.keytype == KEY_TYPE && key.key.len() <= TEXT_LIMIT;
        let mut candidates = keys.iter().filter(own).peekable();
        if candidates.peek().is_none() {
            return Ok(unchecked(keyid, sig, NO_SUCH_KEY));
        }
        let key = candidates.find(|key| self.holds(&key.key, sig));
        let key = key.ok_or_else(|| self.wrong(keyid, "does not hold"))?;
        // As npm does: a key signs nothing that was published after its end.
        let end = key.expires.as_deref().and_then(Timestamp::parse);
        if published.zip(end).is_some_and(|(published, end)| published >= end) {
            return Err(self.wrong(keyid, "was made after that key's end"));
        }
        Ok(Proof { key: Some(key.key.clone()), ..unchecked(keyid, sig, CHECKED) })
    }
}

fn unchecked(keyid: &str, sig: &str, verified: &str) -> Proof {
    Proof { kind: KIND.into(), keyid: keyid.into(), sig: sig.into(), key: None, verified: verified.into() }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.decode(text).ok()
}

fn meta(proofs: &[Proof]) -> Value {
    if proofs.is_empty() { Value::Null } else { json!({ kit::FIELD: proofs }) }
}

/// The metadata of a recorded tarball: its registry signatures, checked with the keys that the registry
/// publishes now. Keys are asked for only when there is a signature, and once.
///
/// # Errors
/// `VerificationFailed` (`npm-signature`) when a signature does not hold for the key that it names.
pub async fn gather(
    release: &Release<'_>,
    published: Option<Timestamp>,
    upstream: &dyn Upstream,
) -> Result<Value> {
    let signatures = release.signatures();
    if signatures.is_empty() {
        return Ok(Value::Null);
    }
    let keys = match release.signed() {
        Some(_) => keys(upstream).await,
        None => Err(NO_INTEGRITY),
    };
    let judge = |(keyid, sig): &(&str, &str)| match &keys {
        Ok(keys) => release.judge(keyid, sig, keys, published),
        Err(why) => Ok(unchecked(keyid, sig, why)),
    };
    let proofs = signatures.iter().map(judge).collect::<Result<Vec<_>>>()?;
    Ok(meta(&proofs))
}

/// The registry's keys, or why there are none. A registry without keys is an ordinary one: most that are not
/// public, and most proxies before public ones, answer with some refusal.
async fn keys(upstream: &dyn Upstream) -> Result<Vec<Key>, &'static str> {
    let failed = |error: Error| {
        tracing::warn!(%error, "the registry's signature keys could not be read; signatures stay unchecked");
        UNREADABLE
    };
    let fetched = upstream.recent(KEYS, "application/json").await.map_err(failed)?;
    match fetched.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(NO_KEYS),
        status => {
            tracing::warn!(%status, "the registry refused its signature keys; signatures stay unchecked");
            return Err(UNREADABLE);
        }
    }
    let bytes = fetched.bytes(KEYS_LIMIT).await.map_err(failed)?;
    let document: Keys = serde_json::from_slice(&bytes)
        .map_err(|e| failed(Error::verification("upstream-document", format!("no document of keys: {e}"))))?;
    Ok(document.keys)
}

/// The metadata of a tarball out of a transfer: every carried signature must be one of the manifest's, and
/// hold for the carried key over the bytes that came.
///
/// # Errors
/// `VerificationFailed` (`npm-signature`) for one that does not, or for proofs that are none.
pub fn check_again(release: &Release<'_>, claimed: &Value) -> Result<Value> {
    let Some(list) = claimed.get(kit::FIELD) else { return Ok(Value::Null) };
    let proofs = Vec::<Proof>::deserialize(list)
        .map_err(|error| release.wrong("?", &format!("cannot be read in the claim: {error}")))?;
    let signatures = release.signatures();
    if proofs.len() > signatures.len() {
        return Err(release.wrong("?", "is not in upstream's manifest"));
    }
    for proof in &proofs {
        if proof.kind != KIND || !signatures.contains(&(proof.keyid.as_str(), proof.sig.as_str())) {
            return Err(release.wrong(&proof.keyid, "is not in upstream's manifest"));
        }
        let honest = match &proof.key {
            Some(key) if key.len() <= TEXT_LIMIT && release.holds(key, &proof.sig) => {
                proof.verified == CHECKED
            }
            Some(_) => return Err(release.wrong(&proof.keyid, "does not hold")),
            None => NOT_CHECKED.contains(&proof.verified.as_str()),
        };
        if !honest {
            return Err(
                release.wrong(&proof.keyid, "comes with a claim about its check that is none of ours")
            );
        }
    }
    Ok(meta(&proofs))
}

/// What people read of a tarball's signatures.
pub fn sentences(meta: &Value) -> Vec<String> {
    let sentence = |value: &Value| {
        let proof = Proof::deserialize(value).ok()?;
        let keyid = brief(&proof.keyid);
        let state = if proof.key.is_some() { "checked" } else { proof.verified.as_str() };
        Some(format!("npm signature {keyid}, {}", shorten(state)))
    };
    kit::of(meta).filter_map(sentence).collect()
}

/// Enough of a key's name to know it again.
fn brief(keyid: &str) -> String {
    let mut out: String = keyid.chars().filter(|c| !c.is_control()).take(15).collect();
    if out.len() < keyid.len() {
        out.push('…');
    }
    out
}
