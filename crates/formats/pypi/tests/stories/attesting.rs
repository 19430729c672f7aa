//! Attestations: kept with the file, checked when recorded and again inside, and never made more of.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::{
    Change, DoorExt as _, Draft, Format as _, Want,
    conformance::{MemoryRepository, MemoryUpstream},
    joined::{Together, UpstreamKeys, Verdict},
    proofs::pae,
};
use cofferdam_format_pypi::PyPi;
use cofferdam_types::{ErrorKind, Result, Sha256};
use http::StatusCode;
use serde_json::{Value, json};

use crate::bytes::{JSON, mirror, page, wheel, wheel_with};

const ROOT: &str = "https://upstream.example/simple/";
const FILE: &str = "https://files.upstream.example/foo.whl";
const PROVENANCE: &str = "https://upstream.example/integrity/foo/provenance";
const WHEEL: &str = "foo-1.0-py2.py3-none-any.whl";
const SENTENCE: &str = "PyPI attestation by GitHub acme/foo release.yml, digest and signature checked, \
                        certificate chain not";

/// Who attests: a key with a certificate of its own.
struct Signer {
    pair: EcdsaKeyPair,
    certificate: Vec<u8>,
}

impl Signer {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap().der().to_vec();
        Self { pair, certificate }
    }

    fn attest(&self, statement: &Value) -> Value {
        let text = statement.to_string();
        let message = pae("application/vnd.in-toto+json", text.as_bytes());
        let signature = self.pair.sign(&SystemRandom::new(), &message).unwrap();
        json!({
            "version": 1,
            "verification_material": {
                "certificate": STANDARD.encode(&self.certificate),
                "transparency_entries": [{ "logIndex": "1" }],
            },
            "envelope": { "statement": STANDARD.encode(text), "signature": STANDARD.encode(signature) },
        })
    }
}

fn statement(filename: &str, sha256: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": filename, "digest": { "sha256": sha256 } }],
        "predicateType": "https://docs.example/attestations/publish/v1",
        "predicate": null,
    })
}

fn provenance(attestations: &[Value]) -> Value {
    let publisher =
        json!({ "kind": "GitHub", "repository": "acme/foo", "workflow": "release.yml", "environment": null });
    json!({ "version": 1, "attestation_bundles": [{ "publisher": publisher, "attestations": attestations }] })
}

fn honest(bytes: &[u8]) -> Value {
    provenance(&[Signer::new().attest(&statement(WHEEL, &Sha256::of(bytes).to_hex()))])
}

/// An upstream with one wheel whose attestations are said to be there.
fn bare(bytes: &[u8], address: &Value) -> MemoryUpstream {
    let file = json!({
        "filename": WHEEL,
        "url": FILE,
        "hashes": { "sha256": Sha256::of(bytes).to_hex() },
        "size": bytes.len(),
        "provenance": address,
    });
    let index =
        json!({ "meta": { "api-version": "1.3" }, "name": "foo", "versions": ["1.0"], "files": [file] });
    MemoryUpstream::new(ROOT).with("foo/", JSON, index.to_string()).with(
        FILE,
        "application/octet-stream",
        bytes.to_vec(),
    )
}

fn upstream(bytes: &[u8], document: &Value) -> MemoryUpstream {
    bare(bytes, &json!(PROVENANCE)).with(PROVENANCE, "application/json", document.to_string())
}

async fn record(upstream: &MemoryUpstream, repository: &MemoryRepository) -> Result<Draft> {
    let want = Want::File { package: "foo".into(), path: format!("files/foo/{WHEEL}") };
    let recorded = PyPi.record(&want, repository, upstream, repository).await?;
    let Some(Change::Release(draft)) = recorded.changes.into_iter().next() else { panic!("a release") };
    Ok(draft)
}

fn sentences(draft: &Draft) -> Vec<String> {
    let files: Vec<_> = draft.files.iter().map(|f| (f.role.as_str(), &f.meta)).collect();
    PyPi.traits(&draft.meta, &files).proofs
}

#[tokio::test]
async fn an_attestation_that_holds_is_kept_whole_and_holds_again_inside() {
    let (bytes, repository) = (wheel("foo", "1.0"), mirror());
    let document = honest(&bytes);
    let draft = record(&upstream(&bytes, &document), &repository).await.unwrap();
    let proof = &draft.files[0].meta["proofs"][0];
    assert_eq!(proof["document"], document);
    assert_eq!(proof["chain"], "not checked");
    assert_eq!(sentences(&draft), [SENTENCE]);
    let inside = PyPi.admit(&draft, &repository).await.unwrap();
    assert_eq!(inside.files, draft.files);
    repository.commit(&PyPi, &[Change::Release(inside)]).await.unwrap();
    let page = page(&repository, "foo").await;
    assert_eq!(page["files"][0]["filename"], WHEEL);
    assert!(!page.to_string().contains("upstream.example") && !page.to_string().contains("proofs"), "{page}");
}

#[tokio::test]
async fn a_wheel_that_is_here_without_its_attestation_gains_it_when_its_page_is_asked_for_again() {
    let (bytes, repository) = (wheel("foo", "1.0"), mirror());
    let before = record(&bare(&bytes, &Value::Null), &repository).await.unwrap();
    assert!(before.files[0].meta.get("proofs").is_none());
    repository.commit(&PyPi, &[Change::Release(before.clone())]).await.unwrap();
    let asked = async |upstream: &MemoryUpstream| {
        let want = Want::Index { package: Some("foo".into()) };
        let recorded = PyPi.record(&want, &repository, upstream, &repository).await.unwrap();
        assert!(recorded.answer.is_some(), "the page is answered as ever");
        recorded.changes
    };
    assert_eq!(asked(&bare(&bytes, &Value::Null)).await, [], "there is still none");
    let lie = provenance(&[Signer::new().attest(&statement(WHEEL, &Sha256::of(b"x").to_hex()))]);
    assert_eq!(asked(&upstream(&bytes, &lie)).await, [], "one that does not hold is none, and stops nobody");
    assert_eq!(asked(&bare(&bytes, &json!(PROVENANCE))).await, [], "nor is one that cannot be had");

    let there = upstream(&bytes, &honest(&bytes));
    let changes = asked(&there).await;
    let [Change::Release(draft)] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((draft.files.len(), &draft.files[0].digests), (1, &before.files[0].digests));
    assert_eq!(sentences(draft), [SENTENCE]);
    assert!(!there.asked().iter().any(|url| url == FILE), "the wheel itself is not fetched again");
    PyPi.admit(draft, &repository).await.unwrap();
    repository.commit(&PyPi, &changes).await.unwrap();
    assert_eq!(asked(&there).await, [], "it has one now");
}

#[tokio::test]
async fn a_statement_may_spell_the_files_name_in_another_way() {
    let (bytes, repository) = (wheel("foo", "1.0"), mirror());
    let sha256 = Sha256::of(&bytes).to_hex();
    let document = provenance(&[Signer::new().attest(&statement("Foo-1.0.0-py3.py2-none-any.whl", &sha256))]);
    let draft = record(&upstream(&bytes, &document), &repository).await.unwrap();
    assert_eq!(sentences(&draft), [SENTENCE]);
}

#[tokio::test]
async fn an_attestation_that_does_not_hold_is_refused() {
    let (bytes, signer) = (wheel("foo", "1.0"), Signer::new());
    let sha256 = Sha256::of(&bytes).to_hex();
    let good = || signer.attest(&statement(WHEEL, &sha256));
    let with = |pointer: &str, value: Value| {
        let mut attestation = good();
        *attestation.pointer_mut(pointer).unwrap() = value;
        attestation
    };
    let foreign = STANDARD.encode(&Signer::new().certificate);
    let mut long = signer.certificate.clone();
    long.push(0);
    let mut two = statement(WHEEL, &sha256);
    two["subject"].as_array_mut().unwrap().push(json!({ "name": "x", "digest": { "sha256": "00" } }));
    let swapped =
        signer.attest(&statement(WHEEL, &Sha256::of(b"x").to_hex()))["envelope"]["signature"].clone();
    for (what, bad) in [
        ("other bytes", signer.attest(&statement(WHEEL, &Sha256::of(b"x").to_hex()))),
        ("another file", signer.attest(&statement("foo-1.0-py3-none-any.whl", &sha256))),
        ("another package", signer.attest(&statement("bar-1.0-py2.py3-none-any.whl", &sha256))),
        ("two subjects", signer.attest(&two)),
        ("no statement", signer.attest(&json!({ "_type": "x" }))),
        ("the signature of another statement", with("/envelope/signature", swapped)),
        ("no base64", with("/envelope/signature", json!("?"))),
        ("another certificate", with("/verification_material/certificate", json!(foreign))),
        ("a longer certificate", with("/verification_material/certificate", json!(STANDARD.encode(&long)))),
        ("no certificate", with("/verification_material/certificate", json!(""))),
    ] {
        let repository = mirror();
        // A good one beside it changes nothing.
        let document = provenance(&[good(), bad]);
        let error = record(&upstream(&bytes, &document), &repository).await.expect_err(what);
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::VerificationFailed, "pypi-attestation"),
            "{what}"
        );
        assert_eq!(PyPi.error(&error).status, 502, "it is upstream's fault and not the client's");
    }
}

#[tokio::test]
async fn what_cannot_be_fetched_or_read_is_no_proof_and_stops_nothing() {
    let bytes = wheel("foo", "1.0");
    let there = || bare(&bytes, &json!(PROVENANCE));
    let mut newer = honest(&bytes);
    newer["version"] = json!(2);
    let huge = " ".repeat((1 << 20) + 1);
    for (what, upstream) in [
        ("missing", there()),
        ("refused", there().with_answer(PROVENANCE, StatusCode::SERVICE_UNAVAILABLE, &[], "")),
        ("a page", there().with(PROVENANCE, "text/html", "<html>")),
        ("too large", there().with(PROVENANCE, "application/json", huge)),
        ("of a version to come", upstream(&bytes, &newer)),
        ("empty", upstream(&bytes, &provenance(&[]))),
        ("none", bare(&bytes, &Value::Null)),
        ("no address", bare(&bytes, &json!({ "sha256": "00" }))),
        ("a file of this machine", bare(&bytes, &json!("file:///etc/passwd"))),
    ] {
        let repository = mirror();
        let draft = record(&upstream, &repository).await.expect(what);
        assert_eq!((draft.files[0].meta.get("proofs"), sentences(&draft).len()), (None, 0), "{what}");
        assert!(!upstream.asked().iter().any(|url| url.starts_with("file:")));
    }
}

#[tokio::test]
async fn an_address_beside_an_html_link_is_read_too() {
    let (bytes, repository) = (wheel("foo", "1.0"), mirror());
    let html = format!("<a href=\"{FILE}\" data-provenance=\"/integrity/foo/provenance\">{WHEEL}</a>")
        .replace("foo.whl", WHEEL);
    let upstream = MemoryUpstream::new(ROOT)
        .with("foo/", "text/html", html)
        .with(&FILE.replace("foo.whl", WHEEL), "application/octet-stream", bytes.clone())
        .with(PROVENANCE, "application/json", honest(&bytes).to_string());
    assert_eq!(sentences(&record(&upstream, &repository).await.unwrap()), [SENTENCE]);
}

#[tokio::test]
async fn a_changed_byte_inside_is_found_by_the_attestation() {
    let (bytes, repository) = (wheel("foo", "1.0"), mirror());
    let mut draft = record(&upstream(&bytes, &honest(&bytes)), &repository).await.unwrap();
    let other = wheel_with("foo", "1.0", &crate::bytes::metadata("foo", "1.0"), "print('evil')");
    draft.files[0].digests = repository.put_bytes(other.into()).await.unwrap();
    let error = PyPi.admit(&draft, &repository).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::VerificationFailed, "pypi-attestation"));
}

#[tokio::test]
async fn a_claim_that_makes_more_of_an_attestation_is_refused() {
    type Lie = fn(&mut Value);
    let lies: [(&str, Lie); 8] = [
        ("chain", |p| p["proofs"][0]["chain"] = json!("checked")),
        ("publisher", |p| p["proofs"][0]["publisher"] = json!("GitHub trusted/foo release.yml")),
        ("words", |p| p["proofs"][0]["verified"] = json!("everything checked")),
        ("kind", |p| p["proofs"][0]["kind"] = json!("notarised")),
        ("document", |p| p["proofs"][0]["document"] = json!({ "version": 1, "attestation_bundles": [] })),
        ("signature", |p| {
            let at = "/proofs/0/document/attestation_bundles/0/attestations/0/envelope/signature";
            *p.pointer_mut(at).unwrap() = json!("AAAA");
        }),
        ("twice", |p| {
            let again = p["proofs"][0].clone();
            p["proofs"].as_array_mut().unwrap().push(again);
        }),
        ("no list", |p| p["proofs"] = json!("x")),
    ];
    let (bytes, repository) = (wheel("foo", "1.0"), mirror());
    let honest = record(&upstream(&bytes, &honest(&bytes)), &repository).await.unwrap();
    for (what, lie) in lies {
        let mut draft = honest.clone();
        lie(&mut draft.files[0].meta);
        let error = PyPi.admit(&draft, &repository).await.expect_err(what);
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::VerificationFailed, "pypi-attestation"),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_key_of_another_curve_is_kept_and_said_to_be_unchecked() {
    let (bytes, repository) = (wheel("foo", "1.0"), mirror());
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut document = honest(&bytes);
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    *document
        .pointer_mut("/attestation_bundles/0/attestations/0/verification_material/certificate")
        .unwrap() = json!(STANDARD.encode(certificate.der()));
    let draft = record(&upstream(&bytes, &document), &repository).await.unwrap();
    assert_eq!(
        sentences(&draft),
        [
            "PyPI attestation by GitHub acme/foo release.yml, digest checked, signature not: its key is not P-256, \
          certificate chain not"
        ]
    );
    assert_eq!(PyPi.admit(&draft, &repository).await.unwrap().files, draft.files);
}

/// An authority of the tests, and how it certifies.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "harbour authority");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// Who signs with a certificate of the year 2024.
    fn certifies(&self, identity: &str) -> Signer {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI(identity.try_into().unwrap())];
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
        params.not_after = rcgen::date_time_ymd(2025, 1, 1);
        let service = "https://tokens.example";
        let text = [&[0x0c, u8::try_from(service.len()).unwrap()], service.as_bytes()].concat();
        let oid = [1, 3, 6, 1, 4, 1, 57264, 1, 8];
        params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&oid, text)];
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        Signer { pair, certificate }
    }
}

/// What the authorities of a site make of a recorded wheel that was attested at a time.
async fn chain(signer: &Signer, integrated: &Value, authorities: &str) -> Vec<(Verdict, String)> {
    let bytes = wheel("foo", "1.0");
    let mut attestation = signer.attest(&statement(WHEEL, &Sha256::of(&bytes).to_hex()));
    attestation["verification_material"]["transparency_entries"] = json!([{ "integratedTime": integrated }]);
    let repository = mirror();
    let draft = record(&upstream(&bytes, &provenance(&[attestation])), &repository).await.unwrap();
    let files: Vec<Together> = draft
        .files
        .iter()
        .map(|f| Together {
            path: f.path.clone(),
            sha256: f.digests.sha256,
            size: f.digests.size,
            meta: f.meta.clone(),
        })
        .collect();
    let keys = UpstreamKeys { authorities: authorities.into(), ..UpstreamKeys::default() };
    let joined = PyPi.join(&files, &keys, &repository).await.unwrap();
    joined.findings.into_iter().map(|f| (f.verdict, f.text)).collect()
}

const JUNE_2024: &str = "1717200000";
const PUBLISHER: &str = "https://forge.example/acme/foo/release.yml";

#[tokio::test]
async fn who_attested_is_certified_by_an_authority_that_the_site_believes() {
    let authority = Authority::new();
    let signer = authority.certifies(PUBLISHER);
    let found = chain(&signer, &json!(JUNE_2024), &authority.pem).await;
    let [(Verdict::Holds, text)] = found.as_slice() else { panic!("{found:?}") };
    for part in ["harbour authority", PUBLISHER, "as https://tokens.example says", "2024-06-01"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(
        chain(&signer, &json!(JUNE_2024), "").await,
        [],
        "a site without authorities says nothing of it"
    );
}

#[tokio::test]
async fn a_certificate_that_the_named_authority_did_not_sign_or_that_had_ended_is_wrong() {
    let (authority, other) = (Authority::new(), Authority::new());
    let found = chain(&other.certifies(PUBLISHER), &json!(JUNE_2024), &authority.pem).await;
    assert!(found[0].0 == Verdict::Wrong && found[0].1.contains("has not signed it"), "{found:?}");
    // Both of one name: the one that signed is found.
    let both = format!("{}{}", authority.pem, other.pem);
    assert_eq!(chain(&other.certifies(PUBLISHER), &json!(JUNE_2024), &both).await[0].0, Verdict::Holds);
    let late = chain(&authority.certifies(PUBLISHER), &json!(1_767_225_600), &authority.pem).await;
    assert!(late[0].0 == Verdict::Wrong && late[0].1.contains("was not valid at 2026-01-01"), "{late:?}");
}

#[tokio::test]
async fn a_chain_that_cannot_be_checked_says_why() {
    let authority = Authority::new();
    for time in [json!(null), json!("soon"), json!(i64::MAX)] {
        let found = chain(&authority.certifies(PUBLISHER), &time, &authority.pem).await;
        assert!(found[0].0 == Verdict::Unchecked && found[0].1.contains("no log entry says"), "{found:?}");
    }
    let found = chain(&Signer::new(), &json!(JUNE_2024), &authority.pem).await;
    assert!(
        found[0].0 == Verdict::Unchecked && found[0].1.contains("none that this site knows"),
        "{found:?}"
    );
}
