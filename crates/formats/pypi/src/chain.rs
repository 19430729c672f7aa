//! Who issued an attestation's certificate: compared with the authorities that the site is set up with.
//!
//! None is built in. The time is that of the transparency log's entry, whose own signature is not checked, and a
//! finding says so. This module must never take an authority from the document that it judges.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ParsedPublicKey,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::{
    joined::{Finding, Joined, Together, UpstreamKeys, Verdict},
    proofs as kit,
};
use serde_json::Value;
use x509_parser::prelude::{ASN1Time, FromDer as _, GeneralName, ParsedExtension, Pem, X509Certificate};

use crate::{coords::shown, proofs::KIND};

/// Certificates of authorities that are read at the most.
const MOST_AUTHORITIES: usize = 64;
/// Which service said who signed: the DER form, and the older one as plain text (Fulcio's OID information).
const ISSUER: (&str, &str) = ("1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.1");
const ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";

/// What the authorities say of these files' attestations; nothing where the site has none.
pub(crate) fn join(files: &[Together], keys: &UpstreamKeys) -> Joined {
    let pems = Pem::iter_from_buffer(keys.authorities.as_bytes()).filter_map(Result::ok);
    let ders: Vec<Vec<u8>> = pems.take(MOST_AUTHORITIES).map(|pem| pem.contents).collect();
    let read = |der| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate);
    let authorities: Vec<X509Certificate<'_>> = ders.iter().filter_map(|der| read(der)).collect();
    let mut joined = Joined::default();
    if authorities.is_empty() {
        return joined;
    }
    for file in files {
        for attestation in kit::of(&file.meta).filter(|proof| proof["kind"] == KIND).flat_map(attestations) {
            let (verdict, said) = judge(attestation, &authorities);
            let text = format!("PyPI attestation's certificate chain: {said}");
            joined.findings.push(Finding { path: file.path.clone(), kind: KIND.into(), verdict, text });
        }
    }
    joined
}

fn attestations(proof: &Value) -> impl Iterator<Item = &Value> {
    let bundles = proof["document"]["attestation_bundles"].as_array().into_iter().flatten();
    bundles.flat_map(|bundle| bundle["attestations"].as_array().into_iter().flatten())
}

fn judge(attestation: &Value, authorities: &[X509Certificate<'_>]) -> (Verdict, String) {
    let material = &attestation["verification_material"];
    let der =
        material["certificate"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let Ok((_, leaf)) = X509Certificate::from_der(&der) else {
        return (Verdict::Wrong, "the certificate cannot be read".into());
    };
    let named = |ca: &&X509Certificate<'_>| ca.subject().as_raw() == leaf.issuer().as_raw();
    let mut named = authorities.iter().filter(named).peekable();
    if named.peek().is_none() {
        let issuer = shown(&leaf.issuer().to_string());
        return (
            Verdict::Unchecked,
            format!("not checked: its issuer `{issuer}` is none that this site knows"),
        );
    }
    let Some(ca) = named.find(|ca| ca.is_ca() && signed(&leaf, ca)) else {
        let text = "the authority that the certificate names has not signed it";
        return (Verdict::Wrong, text.into());
    };
    let entry = &material["transparency_entries"][0]["integratedTime"];
    let seconds = entry.as_i64().or_else(|| entry.as_str()?.parse().ok());
    let Some(time) = seconds.and_then(|seconds| ASN1Time::from_timestamp(seconds).ok()) else {
        return (Verdict::Unchecked, "not checked: no log entry says when it was signed".into());
    };
    if !leaf.validity().is_valid_at(time) || !ca.validity().is_valid_at(time) {
        return (Verdict::Wrong, format!("the certificate was not valid at {}, when it signed", at(time)));
    }
    let by = shown(&ca.subject().to_string());
    let Some(identity) = identity(&leaf) else {
        return (Verdict::Unchecked, format!("signed by `{by}`, but it names nobody"));
    };
    let said = issuer(&leaf).map(|issuer| format!(", as {} says", shown(&issuer))).unwrap_or_default();
    let text = format!(
        "checked: `{by}` certified {}{said}; valid at {}, by the log entry, whose signature is not checked",
        shown(&identity),
        at(time)
    );
    (Verdict::Holds, text)
}

/// The day, which is enough for people.
fn at(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}

/// Whether an authority's key made a certificate's signature.
fn signed(leaf: &X509Certificate<'_>, ca: &X509Certificate<'_>) -> bool {
    let algorithm = leaf.signature_algorithm.algorithm.to_id_string();
    let kinds = match algorithm.as_str() {
        ECDSA_SHA256 => [&ECDSA_P256_SHA256_ASN1, &ECDSA_P384_SHA256_ASN1],
        ECDSA_SHA384 => [&ECDSA_P256_SHA384_ASN1, &ECDSA_P384_SHA384_ASN1],
        _ => return false,
    };
    let holds = |key: ParsedPublicKey| {
        key.verify_sig(leaf.tbs_certificate.as_ref(), &leaf.signature_value.data).is_ok()
    };
    kinds.into_iter().any(|kind| ParsedPublicKey::new(kind, ca.public_key().raw).is_ok_and(holds))
}

/// Whom a certificate names: an address or a mailbox of its subject's alternative names.
fn identity(leaf: &X509Certificate<'_>) -> Option<String> {
    let names = leaf.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(text) | GeneralName::RFC822Name(text) => Some((*text).to_owned()),
        _ => None,
    })
}

/// Which service said that it is they.
fn issuer(leaf: &X509Certificate<'_>) -> Option<String> {
    let find = |oid: &str| leaf.extensions().iter().find(|e| e.oid.to_id_string() == oid);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    if let Some(found) = find(ISSUER.0)
        && matches!(found.parsed_extension(), ParsedExtension::UnsupportedExtension { .. })
        // A short UTF8String: its tag, its length in one byte, its text.
        && let [0x0c, length, rest @ ..] = found.value
        && rest.len() == usize::from(*length)
    {
        return text(rest);
    }
    find(ISSUER.1).and_then(|found| text(found.value))
}
