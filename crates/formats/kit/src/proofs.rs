//! Proofs that upstream publishes about its own files, as the formats keep and check them.
//!
//! A proof stands in the metadata of the file that it is about, under [`FIELD`]: there it crosses with the
//! file and is never mixed with metadata that clients are served. It is checked when it is recorded and again
//! when it is admitted. This module must never say that a key or certificate is to be trusted: it says whether
//! a signature was made by a key, and whose key that is stands with the proof.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use serde_json::Value;

/// Where the metadata of a file has its proofs: a list.
pub const FIELD: &str = "proofs";

/// What a signature is, seen from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// The key made it over these bytes.
    Holds,
    /// It did not.
    Wrong,
    /// The key is of another kind, so nothing is known.
    OtherKey,
}

/// Compares an ECDSA P-256 SHA-256 signature (DER, FIPS 186-5) over a message with a public key
/// (`SubjectPublicKeyInfo` in DER, RFC 5480).
#[must_use]
pub fn p256(key: &[u8], message: &[u8], signature: &[u8]) -> Signature {
    let Ok(key) = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key) else { return Signature::OtherKey };
    match key.verify_sig(message, signature) {
        Ok(()) => Signature::Holds,
        Err(_) => Signature::Wrong,
    }
}

/// Compares a signature over a message with a public key (`SubjectPublicKeyInfo` in DER) of whatever kind it is: ECDSA
/// over P-256 with SHA-256 and over P-384 with SHA-384 or SHA-256, Ed25519, RSA (PKCS #1 v1.5, from 2048 bits) with SHA-256.
#[must_use]
pub fn signature(key: &[u8], message: &[u8], signature: &[u8]) -> Signature {
    let kinds: [&'static dyn VerificationAlgorithm; 5] = [
        &ECDSA_P256_SHA256_ASN1,
        &ECDSA_P384_SHA384_ASN1,
        &ECDSA_P384_SHA256_ASN1,
        &ED25519,
        &RSA_PKCS1_2048_8192_SHA256,
    ];
    let mut found = Signature::OtherKey;
    for kind in kinds {
        let Ok(key) = ParsedPublicKey::new(kind, key) else { continue };
        found = Signature::Wrong;
        if key.verify_sig(message, signature).is_ok() {
            return Signature::Holds;
        }
    }
    found
}

/// The bytes that a DSSE signature is made over: the pre-authentication encoding, version 1.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// The proofs in a file's metadata; none when there is no such list.
pub fn of(meta: &Value) -> impl Iterator<Item = &Value> {
    meta.get(FIELD).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::AsDer as _,
        rand::SystemRandom,
        signature::{
            ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
        },
    };

    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_its_bytes_only() {
        let pair = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let der = |pair: &EcdsaKeyPair| pair.public_key().as_der().unwrap().as_ref().to_vec();
        let (own, other) = (pair(), pair());
        let message = pae("text/plain", b"hello");
        assert_eq!(message, b"DSSEv1 10 text/plain 5 hello");
        let signature = own.sign(&SystemRandom::new(), &message).unwrap();
        assert_eq!(p256(&der(&own), &message, signature.as_ref()), Signature::Holds);
        assert_eq!(p256(&der(&other), &message, signature.as_ref()), Signature::Wrong);
        assert_eq!(p256(&der(&own), b"hello", signature.as_ref()), Signature::Wrong);
        assert_eq!(p256(&der(&own), &message, b""), Signature::Wrong);
        let longer = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
        assert_eq!(p256(&der(&longer), &message, signature.as_ref()), Signature::OtherKey);
        assert_eq!(p256(b"no key", &message, signature.as_ref()), Signature::OtherKey);
    }

    #[test]
    fn a_key_of_any_common_kind_is_told_by_itself() {
        use aws_lc_rs::{
            rsa::KeySize,
            signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
        };
        let random = SystemRandom::new();
        let curve = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
        let edwards = Ed25519KeyPair::generate().unwrap();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut by_rsa = vec![0; 256];
        rsa.sign(&RSA_PKCS1_SHA256, &random, b"hello", &mut by_rsa).unwrap();
        let keys = [
            curve.public_key().as_der().unwrap().as_ref().to_vec(),
            edwards.public_key().as_der().unwrap().as_ref().to_vec(),
            rsa.public_key().as_der().unwrap().as_ref().to_vec(),
        ];
        let made = [
            curve.sign(&random, b"hello").unwrap().as_ref().to_vec(),
            edwards.sign(b"hello").as_ref().to_vec(),
            by_rsa,
        ];
        for (k, key) in keys.iter().enumerate() {
            for (m, made) in made.iter().enumerate() {
                let expected = if k == m { Signature::Holds } else { Signature::Wrong };
                assert_eq!(signature(key, b"hello", made), expected, "key {k}, signature {m}");
                assert_eq!(signature(key, b"other", made), Signature::Wrong);
            }
        }
        assert_eq!(signature(b"no key", b"hello", b""), Signature::OtherKey);
    }

    #[test]
    fn proofs_that_are_no_list_are_none() {
        for meta in [Value::Null, serde_json::json!({ "proofs": "x" }), serde_json::json!([])] {
            assert_eq!(of(&meta).count(), 0, "{meta}");
        }
    }
}
