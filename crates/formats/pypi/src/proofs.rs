//! Attestations (index hosted attestations, PEP 740): kept with the file, checked when it is recorded and again
//! when it is admitted.
//!
//! Checked are two things: the statement is about this file (name and SHA-256), and the certificate's key signed
//! it. Not checked is who issued the certificate: that needs the roots of the signing service, which no document
//! brings along. Every kept proof says so. This module must never call the publisher proven, and never fail a
//! recording because upstream's proof could not be read; one that was read and does not hold is a refusal.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::{
    Upstream,
    proofs::{self as kit, Signature},
};
use cofferdam_types::{Error, Result, Sha256};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::coords::{Filename, shown};

/// The kind of proof, and the code of a failure.
pub(crate) const KIND: &str = "pypi-attestation";
/// What a provenance document is asked for as.
const ACCEPT: &str = "application/vnd.pypi.integrity.v1+json, application/json;q=0.5";
/// Bytes of a provenance document at the most.
const DOCUMENT_LIMIT: usize = 1 << 20;
/// Attestations of one file at the most.
const ATTESTATIONS_LIMIT: usize = 64;
/// What a statement says that it is.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What an attestation's signature is made over.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

const CHECKED: &str = "digest and signature checked";
/// For a key that is not of the curve P-256, which no signing service of the day uses.
const DIGEST_ONLY: &str = "digest checked, signature not: its key is not P-256";
const NOT_CHECKED: &str = "not checked";

/// A provenance document as it is kept with its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    kind: String,
    /// Who published it, in words, as the index says.
    publisher: String,
    verified: String,
    /// What is known of the certificate's issuer.
    chain: String,
    /// The whole document.
    document: Value,
}

/// The document (PEP 740, "Provenance objects"), as far as it is read.
#[derive(Deserialize)]
struct Provenance {
    version: u64,
    attestation_bundles: Vec<Bundle>,
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    publisher: Value,
    attestations: Vec<Attestation>,
}

#[derive(Deserialize)]
struct Attestation {
    version: u64,
    verification_material: Material,
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Material {
    certificate: String,
}

#[derive(Deserialize)]
struct Envelope {
    statement: String,
    signature: String,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    digest: Digest,
}

#[derive(Deserialize)]
struct Digest {
    sha256: String,
}

/// The proofs of a file that upstream's index gives a provenance document for. A document that cannot be had or
/// read is no proof: the log says so and the file is recorded without.
///
/// # Errors
/// `VerificationFailed` (`pypi-attestation`) when it was read and is not about this file, or not signed.
pub(crate) async fn gather(
    url: &str,
    name: &Filename,
    sha256: &Sha256,
    upstream: &dyn Upstream,
) -> Result<Vec<Value>> {
    let document = match fetch(url, upstream).await {
        Ok(document) => document,
        Err(error) => {
            tracing::warn!(file = %name.text, %error, "recorded without upstream's attestation");
            return Ok(Vec::new());
        }
    };
    let proof = judge(document, name, sha256)?;
    Ok(vec![serde_json::to_value(proof).map_err(|e| Error::internal("writing a proof", e))?])
}

/// Fetches a document and refuses what has not its shape.
async fn fetch(url: &str, upstream: &dyn Upstream) -> Result<Value> {
    let unreadable =
        |why: String| Error::verification("upstream-provenance", format!("{}: {why}", shown(url)));
    let fetched = upstream.get(url, Some(ACCEPT)).await?;
    if fetched.status != StatusCode::OK {
        return Err(unreadable(format!("the answer is {}", fetched.status)));
    }
    let bytes = fetched.bytes(DOCUMENT_LIMIT).await?;
    let document: Value = serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
    parse(&document).map_err(unreadable)?;
    Ok(document)
}

/// Reads a document's shape; what is wrong with it, in words.
fn parse(document: &Value) -> Result<Provenance, String> {
    let provenance = Provenance::deserialize(document).map_err(|e| e.to_string())?;
    let all = || provenance.attestation_bundles.iter().flat_map(|b| &b.attestations);
    if provenance.version != 1 || all().any(|a| a.version != 1) {
        return Err("it has another version than 1".into());
    }
    match all().count() {
        0 => Err("it holds no attestation".into()),
        1..=ATTESTATIONS_LIMIT => Ok(provenance),
        n => Err(format!("it holds {n} attestations; {ATTESTATIONS_LIMIT} are read")),
    }
}

/// Checks every attestation of a document and makes the proof.
fn judge(document: Value, name: &Filename, sha256: &Sha256) -> Result<Proof> {
    let provenance = parse(&document).map_err(|why| wrong(name, &why))?;
    let mut verified = CHECKED;
    for attestation in provenance.attestation_bundles.iter().flat_map(|b| &b.attestations) {
        if !check(attestation, name, sha256).map_err(|why| wrong(name, &why))? {
            verified = DIGEST_ONLY;
        }
    }
    let mut publishers: Vec<String> =
        provenance.attestation_bundles.iter().map(|b| publisher(&b.publisher)).collect();
    publishers.dedup();
    Ok(Proof {
        kind: KIND.into(),
        publisher: publishers.join("; "),
        verified: verified.into(),
        chain: NOT_CHECKED.into(),
        document,
    })
}

/// Whether an attestation is about this file and whether its signature was checked; why it does not hold.
fn check(attestation: &Attestation, name: &Filename, sha256: &Sha256) -> Result<bool, String> {
    let decode =
        |what: &str, text: &str| STANDARD.decode(text).map_err(|_| format!("its {what} is not base64"));
    let payload = decode("statement", &attestation.envelope.statement)?;
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|e| format!("its statement cannot be read: {e}"))?;
    let [subject] = statement.subject.as_slice() else {
        return Err(format!("its statement is about {} files", statement.subject.len()));
    };
    if statement.kind != STATEMENT {
        return Err(format!("its statement is a `{}`", shown(&statement.kind)));
    }
    if !is_name_of(&subject.name, name) {
        return Err(format!("it is about `{}`", shown(&subject.name)));
    }
    if !subject.digest.sha256.eq_ignore_ascii_case(&sha256.to_hex()) {
        let said = shown(&subject.digest.sha256);
        return Err(format!("it is about a file with sha256 {said}; the bytes have {}", sha256.to_hex()));
    }
    let signature = decode("signature", &attestation.envelope.signature)?;
    let der = decode("certificate", &attestation.verification_material.certificate)?;
    let (rest, certificate) =
        X509Certificate::from_der(&der).map_err(|_| "its certificate cannot be read".to_owned())?;
    if !rest.is_empty() {
        return Err("something follows its certificate".into());
    }
    match kit::p256(certificate.public_key().raw, &kit::pae(PAYLOAD_TYPE, &payload), &signature) {
        Signature::Holds => Ok(true),
        Signature::OtherKey => Ok(false),
        Signature::Wrong => Err("its signature was not made by its certificate's key".into()),
    }
}

/// Whether a statement's subject is this file, perhaps in another spelling of name or version: publishers sign
/// the name that their build tool wrote, and indexes may normalise it.
fn is_name_of(subject: &str, name: &Filename) -> bool {
    subject == name.text
        || Filename::parse(subject, &name.key).is_ok_and(|other| {
            other.kind == name.kind
                && tags(&other) == tags(name)
                && crate::coords::same_version(&other.version, &name.version)
        })
}

/// A wheel's build and tags, each compressed set in one order.
fn tags(name: &Filename) -> Vec<Vec<String>> {
    let set = |part: &str| {
        let mut set: Vec<String> = part.split('.').map(str::to_owned).collect();
        set.sort_unstable();
        set
    };
    name.slot().split('-').map(set).collect()
}

fn wrong(name: &Filename, why: &str) -> Error {
    let text = format!("the attestation of `{}` does not hold: {}", name.text, why);
    Error::verification(KIND, text)
        .hint("the file or its attestation was changed; nothing was kept: compare with another network")
}

/// A publisher in words: where it was published from, as the index says.
fn publisher(publisher: &Value) -> String {
    let text = |name: &str| publisher[name].as_str().map(shown).filter(|text| !text.is_empty());
    let fields = ["kind", "repository", "workflow", "workflow_filepath", "email"];
    let words: Vec<String> = fields.iter().filter_map(|name| text(name)).collect();
    if words.is_empty() { "a publisher without a name".into() } else { words.join(" ") }
}

/// The proofs of a file out of a transfer, checked with the bytes that came.
///
/// # Errors
/// `VerificationFailed` (`pypi-attestation`) for one that does not hold, says more than is so, or is none.
pub(crate) fn check_again(meta: &Value, name: &Filename, sha256: &Sha256) -> Result<Vec<Value>> {
    let Some(list) = meta.get(kit::FIELD) else { return Ok(Vec::new()) };
    let mut claimed =
        Vec::<Proof>::deserialize(list).map_err(|e| wrong(name, &format!("the claim's is none: {e}")))?;
    let Some(proof) = claimed.pop() else { return Ok(Vec::new()) };
    if !claimed.is_empty() || proof.document.to_string().len() > 2 * DOCUMENT_LIMIT {
        return Err(wrong(name, "the claim has more than one, or one that is too large"));
    }
    let own = judge(proof.document.clone(), name, sha256)?;
    if own != proof {
        return Err(wrong(name, "the claim says something else of it than its check gives"));
    }
    Ok(vec![serde_json::to_value(own).map_err(|e| Error::internal("writing a proof", e))?])
}

/// What people read of a file's attestations.
pub(crate) fn sentences(meta: &Value) -> Vec<String> {
    let sentence = |proof: &Value| {
        let text = |name: &str| proof[name].as_str().map(shown);
        let (by, verified, chain) = (text("publisher")?, text("verified")?, text("chain")?);
        let chain = if chain == NOT_CHECKED { "not" } else { &chain };
        Some(format!("PyPI attestation by {by}, {verified}, certificate chain {chain}"))
    };
    kit::of(meta).filter(|proof| proof["kind"] == KIND).filter_map(sentence).collect()
}
