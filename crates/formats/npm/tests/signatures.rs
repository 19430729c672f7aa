//! Registry signatures: kept with the tarball, checked when recorded and again inside.

mod support;

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::{
    Change, DoorExt as _, Draft, Format as _, RepositoryKind, Want,
    conformance::{MemoryRepository, MemoryUpstream},
};
use cofferdam_format_npm::Npm;
use cofferdam_types::{ErrorKind, Result};
use http::StatusCode;
use serde_json::{Value, json};
use support::{INSTALL, get, sri, tarball};

const ROOT: &str = "http://upstream.example/npm/";
const KEYS: &str = "http://upstream.example/npm/-/npm/v1/keys";
const FILE: &str = "http://upstream.example/npm/tool/-/tool-1.0.0.tgz";
const KEYID: &str = "SHA256:aKeyOfTheRegistryForTheseStories";

fn mirror() -> MemoryRepository {
    MemoryRepository::new("npm", RepositoryKind::Mirror, "http://site.example/r/npm")
}

/// A registry that signs.
struct Registry {
    pair: EcdsaKeyPair,
}

impl Registry {
    fn new() -> Self {
        Self { pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap() }
    }

    fn sign(&self, text: &str) -> String {
        STANDARD.encode(self.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap())
    }

    fn key(&self) -> String {
        STANDARD.encode(self.pair.public_key().as_der().unwrap().as_ref())
    }

    fn keys(&self) -> Value {
        let kind = "ecdsa-sha2-nistp256";
        json!({ "keys": [{ "keyid": KEYID, "keytype": kind, "scheme": kind, "key": self.key(), "expires": null }] })
    }

    fn signature(&self, bytes: &[u8]) -> Value {
        json!([{ "keyid": KEYID, "sig": self.sign(&format!("tool@1.0.0:{}", sri(bytes))) }])
    }
}

/// Upstream with one release, these signatures, and perhaps a document of keys.
fn upstream(bytes: &[u8], signatures: &Value, keys: Option<&Value>) -> MemoryUpstream {
    let packument = json!({
        "name": "tool",
        "dist-tags": {},
        "versions": { "1.0.0": {
            "name": "tool",
            "version": "1.0.0",
            "proofs": "a field of the author's own",
            "dist": { "tarball": FILE, "integrity": sri(bytes), "signatures": signatures },
        } },
        "time": { "1.0.0": "2025-06-07T08:09:10.000Z" },
    });
    let upstream = MemoryUpstream::new(ROOT).with("tool", "application/json", packument.to_string()).with(
        FILE,
        "application/octet-stream",
        bytes.to_vec(),
    );
    match keys {
        Some(keys) => upstream.with(KEYS, "application/json", keys.to_string()),
        None => upstream,
    }
}

async fn record(upstream: &MemoryUpstream, mirror: &MemoryRepository) -> Result<Draft> {
    let want = Want::File { package: "tool".into(), path: "tool/-/tool-1.0.0.tgz".into() };
    let recorded = Npm.record(&want, mirror, upstream, mirror).await?;
    let Some(Change::Release(draft)) = recorded.changes.into_iter().next() else { panic!("a release") };
    Ok(draft)
}

fn sentences(draft: &Draft) -> Vec<String> {
    Npm.traits(&draft.meta, &[("tarball", &draft.files[0].meta)]).proofs
}

#[tokio::test]
async fn a_signature_that_holds_is_kept_with_its_key_and_holds_again_inside() {
    let (registry, bytes, mirror) = (Registry::new(), tarball("tool", "1.0.0"), mirror());
    let upstream = upstream(&bytes, &registry.signature(&bytes), Some(&registry.keys()));
    let draft = record(&upstream, &mirror).await.unwrap();
    let proof = &draft.files[0].meta["proofs"][0];
    assert_eq!((&proof["kind"], &proof["key"]), (&json!("npm-signature"), &json!(registry.key())));
    assert_eq!(proof["verified"], "registry key, as the registry published it when recorded");
    assert_eq!(sentences(&draft), ["npm signature SHA256:aKeyOfTh…, checked"]);
    assert_eq!(upstream.asked().iter().filter(|url| *url == KEYS).count(), 1, "{:?}", upstream.asked());
    assert_eq!(Npm.admit(&draft, &mirror).await.unwrap(), draft);
}

#[tokio::test]
async fn clients_are_served_signatures_as_upstream_wrote_them_and_nothing_of_ours() {
    let (registry, bytes, mirror) = (Registry::new(), tarball("tool", "1.0.0"), mirror());
    let signatures = registry.signature(&bytes);
    let draft = record(&upstream(&bytes, &signatures, Some(&registry.keys())), &mirror).await.unwrap();
    let draft = Npm.admit(&draft, &mirror).await.unwrap();
    mirror.commit(&Npm, &[Change::Release(draft)]).await.unwrap();
    for accept in ["*/*", INSTALL] {
        let document = get(&mirror, "/tool", accept).await;
        let dist = &document["versions"]["1.0.0"]["dist"];
        assert_eq!((&dist["signatures"], &dist["integrity"]), (&signatures, &json!(sri(&bytes))));
        assert!(!document.to_string().contains("npm-signature"), "{document}");
    }
    let manifest = get(&mirror, "/tool/1.0.0", "*/*").await;
    assert_eq!(manifest["proofs"], "a field of the author's own");
}

#[tokio::test]
async fn a_signature_that_does_not_hold_is_refused_and_nothing_is_kept() {
    let (registry, other, bytes) = (Registry::new(), Registry::new(), tarball("tool", "1.0.0"));
    let of = |text: &str| json!([{ "keyid": KEYID, "sig": registry.sign(text) }]);
    let mut ended = registry.keys();
    ended["keys"][0]["expires"] = json!("2025-01-29T00:00:00.000Z");
    for (what, signatures, keys) in [
        ("another key", other.signature(&bytes), registry.keys()),
        ("another package", of(&format!("tools@1.0.0:{}", sri(&bytes))), registry.keys()),
        ("another version", of(&format!("tool@1.0.1:{}", sri(&bytes))), registry.keys()),
        ("other bytes", of(&format!("tool@1.0.0:{}", sri(b"x"))), registry.keys()),
        ("noise", json!([{ "keyid": KEYID, "sig": "not base64!" }]), registry.keys()),
        ("no signature", json!([{ "keyid": KEYID }]), registry.keys()),
        ("a key that had ended", registry.signature(&bytes), ended),
    ] {
        let mirror = mirror();
        let error = record(&upstream(&bytes, &signatures, Some(&keys)), &mirror).await.expect_err(what);
        assert_eq!((error.kind(), error.code()), (ErrorKind::VerificationFailed, "npm-signature"), "{what}");
        assert_eq!(mirror.package_count(), 0);
    }
}

#[tokio::test]
async fn a_registry_without_keys_is_recorded_and_said_to_be_unchecked() {
    let (registry, bytes) = (Registry::new(), tarball("tool", "1.0.0"));
    let signatures = registry.signature(&bytes);
    let mut renamed = registry.keys();
    renamed["keys"][0]["keyid"] = json!("SHA256:another");
    let plain = || upstream(&bytes, &signatures, None);
    let away = plain().with_answer(KEYS, StatusCode::BAD_GATEWAY, &[], "");
    for (upstream, why) in [
        (plain(), "the registry publishes no keys"),
        (upstream(&bytes, &signatures, Some(&renamed)), "the registry publishes no P-256 key of this id"),
        (away, "the registry's keys could not be read"),
        (plain().with(KEYS, "text/html", "<html>"), "the registry's keys could not be read"),
    ] {
        let mirror = mirror();
        let draft = record(&upstream, &mirror).await.unwrap();
        assert_eq!(draft.files[0].meta["proofs"][0].get("key"), None);
        assert_eq!(sentences(&draft), [format!("npm signature SHA256:aKeyOfTh…, not checked: {why}")]);
        assert_eq!(Npm.admit(&draft, &mirror).await.unwrap(), draft, "{why}");
    }
}

#[tokio::test]
async fn a_release_without_signatures_asks_for_no_keys() {
    let (bytes, mirror) = (tarball("tool", "1.0.0"), mirror());
    for none in [json!(null), json!([]), json!("x"), json!([1, "x"])] {
        let upstream = upstream(&bytes, &none, None);
        let draft = record(&upstream, &mirror).await.unwrap();
        assert_eq!((&draft.files[0].meta, sentences(&draft)), (&Value::Null, Vec::new()));
        assert!(!upstream.asked().iter().any(|url| url == KEYS));
    }
}

#[tokio::test]
async fn a_changed_byte_inside_is_found_by_the_signature_even_when_every_digest_was_changed_with_it() {
    let (registry, bytes, mirror) = (Registry::new(), tarball("tool", "1.0.0"), mirror());
    let upstream = upstream(&bytes, &registry.signature(&bytes), Some(&registry.keys()));
    let mut draft = record(&upstream, &mirror).await.unwrap();
    // The byte of the gzip header that names the operating system: everything inside stays the same.
    let mut changed = bytes;
    changed[9] ^= 1;
    draft.files[0].digests = mirror.put_bytes(changed.clone().into()).await.unwrap();
    draft.meta["dist"]["integrity"] = json!(sri(&changed));
    let error = Npm.admit(&draft, &mirror).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::VerificationFailed, "npm-signature"));
    draft.files[0].meta = Value::Null;
    assert!(Npm.admit(&draft, &mirror).await.is_ok(), "without the proof nothing but the claim is compared");
}

#[tokio::test]
async fn a_claim_that_lies_about_its_proofs_is_refused() {
    type Lie = fn(&mut Value);
    let lies: [(&str, Lie); 8] = [
        ("another signature", |p| p["proofs"][0]["sig"] = json!("AAAA")),
        ("another key", |p| p["proofs"][0]["key"] = json!(Registry::new().key())),
        ("no key but checked", |p| drop(p["proofs"][0].as_object_mut().unwrap().remove("key"))),
        ("its own words", |p| p["proofs"][0]["verified"] = json!("by the president")),
        ("another kind", |p| p["proofs"][0]["kind"] = json!("notarised")),
        ("more than it has", |p| {
            let again = p["proofs"][0].clone();
            p["proofs"].as_array_mut().unwrap().push(again);
        }),
        ("a field of its own", |p| p["proofs"][0]["extra"] = json!(1)),
        ("no list", |p| p["proofs"] = json!({})),
    ];
    let (registry, bytes, mirror) = (Registry::new(), tarball("tool", "1.0.0"), mirror());
    let upstream = upstream(&bytes, &registry.signature(&bytes), Some(&registry.keys()));
    let honest = record(&upstream, &mirror).await.unwrap();
    for (what, lie) in lies {
        let mut draft = honest.clone();
        lie(&mut draft.files[0].meta);
        let error = Npm.admit(&draft, &mirror).await.expect_err(what);
        assert_eq!((error.kind(), error.code()), (ErrorKind::VerificationFailed, "npm-signature"), "{what}");
    }
}
