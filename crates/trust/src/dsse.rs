//! DSSE v1 envelopes (secure-systems-lab/dsse, `envelope.md` and `protocol.md`).
//!
//! The payload must never be handed out as a truth before enough signatures have been checked; the one
//! door to what nobody verified says so in its name, [`Envelope::unverified_payload`].

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_types::{Error, ErrorKind, Result, Sha256};
use serde::{Deserialize, Serialize};

use crate::{KeyId, SigningKey, VerifyingKey};

/// The JSON of an envelope may be at most this long, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 16 << 20;
/// An envelope may hold at most this many signatures.
pub const MAX_SIGNATURES: usize = 32;

/// A signed payload that nobody has verified yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// Media type of the payload.
    pub payload_type: String,
    /// The payload in standard, padded base64.
    pub payload: String,
    /// Signatures over [`pae`] of type and payload.
    pub signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The signer's [`KeyId`] as text: a hint for finding the key, not itself signed.
    pub keyid: String,
    /// The 64 bytes of Ed25519 in standard, padded base64.
    pub sig: String,
}

/// A payload that enough distinct keys have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPayload {
    /// Media type of the payload.
    pub payload_type: String,
    /// The payload itself.
    pub payload: Vec<u8>,
    /// The distinct known keys whose signatures hold, in ascending order.
    pub signers: Vec<KeyId>,
}

/// Pre-authentication encoding: `DSSEv1 <len> <type> <len> <payload>`, lengths in decimal bytes.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// Signs `payload` with every key, in the order given.
#[must_use]
pub fn sign(payload_type: &str, payload: &[u8], keys: &[&SigningKey]) -> Envelope {
    let message = pae(payload_type, payload);
    let one = |key: &&SigningKey| Signature {
        keyid: key.id().to_string(),
        sig: STANDARD.encode(key.sign(&message)),
    };
    Envelope {
        payload_type: payload_type.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: keys.iter().map(one).collect(),
    }
}

impl Envelope {
    /// Reads an envelope from JSON. Unknown and repeated fields are refused.
    ///
    /// # Errors
    /// `TooLarge` (`envelope-too-large`) over [`MAX_ENVELOPE_BYTES`] or [`MAX_SIGNATURES`];
    /// `Invalid` (`bad-envelope`) when it is anything but an envelope.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.len() > MAX_ENVELOPE_BYTES {
            return Err(too_large(&format!("{} bytes; the limit is {MAX_ENVELOPE_BYTES}", json.len())));
        }
        let envelope: Self = serde_json::from_slice(json)
            .map_err(|e| Error::invalid("bad-envelope", format!("this is not a DSSE envelope: {e}")))?;
        envelope.check_counts()?;
        Ok(envelope)
    }

    /// The one JSON text of this envelope: no spaces, fields in the order of the specification.
    ///
    /// # Errors
    /// `Internal` only if the JSON writer fails.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::internal("writing an envelope", e))
    }

    /// Adds the signature of one more key, without verifying what is there.
    ///
    /// # Errors
    /// `Conflict` (`already-signed`) when the key has signed; `Invalid` (`bad-envelope`); `TooLarge`.
    pub fn add_signature(&mut self, key: &SigningKey) -> Result<()> {
        let payload = decode_payload(self)?;
        let keyid = key.id().to_string();
        if self.signatures.iter().any(|signature| signature.keyid == keyid) {
            return Err(Error::conflict("already-signed", format!("{keyid} has signed this already")));
        }
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(too_large(&format!("{MAX_SIGNATURES} signatures already")));
        }
        self.signatures.extend(sign(&self.payload_type, &payload, &[key]).signatures);
        Ok(())
    }

    /// The payload as it is written: nobody has verified it, and every byte may be a stranger's.
    ///
    /// For display ("this says it is transfer 7") and for choosing whose key must have signed.
    /// Nothing may be believed because of it: what is acted upon comes from [`verify`].
    ///
    /// # Errors
    /// `TooLarge` (`envelope-too-large`) over [`MAX_ENVELOPE_BYTES`] or [`MAX_SIGNATURES`]; `Invalid`
    /// (`bad-envelope`) when the payload is not base64.
    pub fn unverified_payload(&self) -> Result<Vec<u8>> {
        decode_payload(self)
    }

    fn check_counts(&self) -> Result<()> {
        if self.signatures.len() > MAX_SIGNATURES {
            let count = self.signatures.len();
            return Err(too_large(&format!("{count} signatures; the limit is {MAX_SIGNATURES}")));
        }
        Ok(())
    }
}

fn too_large(what: &str) -> Error {
    Error::new(ErrorKind::TooLarge, "envelope-too-large", format!("the signed envelope has {what}"))
}

/// Standard, padded base64 of an envelope; `what` it is, for the error.
pub(crate) fn decode(text: &str, what: &str) -> Result<Vec<u8>> {
    let wrong = || Error::invalid("bad-envelope", format!("the {what} of the envelope is not base64"));
    STANDARD.decode(text).map_err(|_| wrong())
}

/// The payload of an envelope within its limits: decoded, not believed.
pub(crate) fn decode_payload(envelope: &Envelope) -> Result<Vec<u8>> {
    envelope.check_counts()?;
    if envelope.payload.len() > MAX_ENVELOPE_BYTES {
        return Err(too_large(&format!("{} payload characters", envelope.payload.len())));
    }
    decode(&envelope.payload, "payload")
}

/// Checks that at least `threshold` *distinct* keys of `keys` signed the envelope.
///
/// Signatures by unknown keys are passed over; several by one key count once. A signature that names
/// a known key and does not hold is evidence of damage or tampering: the whole envelope is refused,
/// however many others hold.
///
/// # Errors
/// `VerificationFailed`: `no-threshold` when `threshold` is 0 or above the number of distinct keys
/// (nothing could be proved), `signature-invalid`, `too-few-signatures`; `Invalid` (`bad-envelope`)
/// for damaged base64; `TooLarge`.
pub fn verify(envelope: &Envelope, keys: &[VerifyingKey], threshold: usize) -> Result<VerifiedPayload> {
    let payload = decode_payload(envelope)?;
    let known: BTreeMap<KeyId, VerifyingKey> = keys.iter().map(|key| (key.id(), *key)).collect();
    if threshold == 0 || threshold > known.len() {
        let text = format!("{threshold} signatures are demanded and {} keys are trusted", known.len());
        return Err(Error::verification("no-threshold", text)
            .hint("trust at least one key, and demand at least one signature and at most one per key"));
    }
    let message = pae(&envelope.payload_type, &payload);
    let mut signers = Vec::new();
    for signature in &envelope.signatures {
        let bytes = decode(&signature.sig, "signature")?;
        let Some(id) = signature.keyid.parse::<Sha256>().ok().map(KeyId) else { continue };
        let Some(key) = known.get(&id) else { continue };
        if !key.verifies(&message, &bytes) {
            return Err(Error::verification(
                "signature-invalid",
                format!("the signature by {id} does not hold"),
            ));
        }
        signers.push(id);
    }
    signers.sort_unstable();
    signers.dedup();
    if signers.len() < threshold {
        let text =
            format!("{} of {threshold} needed signatures by distinct trusted keys are there", signers.len());
        return Err(Error::verification("too-few-signatures", text)
            .hint("compare the signers named in the envelope with the keys this site trusts"));
    }
    Ok(VerifiedPayload { payload_type: envelope.payload_type.clone(), payload, signers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> [SigningKey; 3] {
        [1, 2, 3].map(|n| SigningKey::from_seed(&[n; 32]).unwrap())
    }

    fn code(envelope: &Envelope, keys: &[VerifyingKey], threshold: usize) -> &'static str {
        verify(envelope, keys, threshold).unwrap_err().code()
    }

    #[test]
    fn the_encoding_is_the_one_of_the_protocol() {
        // The example of DSSE's protocol.md.
        let expected: &[u8] = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), expected);
    }

    #[test]
    fn two_signers_are_two_and_one_signer_twice_is_one() {
        let [a, b, c] = keys();
        let trusted = [a.verifying_key(), b.verifying_key()];
        let both = sign("t", b"payload", &[&a, &b]);
        let read = Envelope::from_json(&both.to_json().unwrap()).unwrap();
        let verified = verify(&read, &trusted, 2).unwrap();
        assert_eq!((verified.payload.as_slice(), verified.signers.len()), (b"payload".as_slice(), 2));

        assert_eq!(code(&sign("t", b"payload", &[&a, &a]), &trusted, 2), "too-few-signatures");
        assert_eq!(code(&sign("t", b"payload", &[&a, &c]), &trusted, 2), "too-few-signatures");
        assert_eq!(code(&both, &[a.verifying_key(), a.verifying_key()], 2), "no-threshold");
        assert_eq!(code(&both, &trusted, 0), "no-threshold");
        assert_eq!(code(&both, &[], 1), "no-threshold");
    }

    #[test]
    fn a_false_signature_under_a_known_name_spoils_the_envelope() {
        let [a, b, _] = keys();
        let trusted = [a.verifying_key(), b.verifying_key()];
        let mut envelope = sign("t", b"payload", &[&a, &b]);
        envelope.signatures[1].sig = envelope.signatures[0].sig.clone();
        assert_eq!(code(&envelope, &trusted, 1), "signature-invalid");
        let mut other = sign("t", b"payload", &[&a]);
        other.payload_type = "u".to_owned();
        assert_eq!(code(&other, &trusted, 1), "signature-invalid");
    }

    #[test]
    fn loose_json_and_loose_base64_are_refused() {
        let [a, ..] = keys();
        for wrong in [
            "{}",
            "[]",
            r#"{"payloadType":"t","payload":"","signatures":[],"extra":1}"#,
            r#"{"payloadType":"t","payloadType":"t","payload":"","signatures":[]}"#,
            r#"{"payloadType":"t","payload":"","signatures":[]} x"#,
        ] {
            assert_eq!(Envelope::from_json(wrong.as_bytes()).unwrap_err().code(), "bad-envelope", "{wrong}");
        }
        for payload in ["YQ", "YR==", "YQ==\n", "Y-=="] {
            let mut envelope = sign("t", b"a", &[&a]);
            envelope.payload = payload.to_owned();
            assert_eq!(code(&envelope, &[a.verifying_key()], 1), "bad-envelope", "{payload}");
        }
    }

    #[test]
    fn a_payload_can_be_shown_before_anybody_verified_it_and_only_within_the_limits() {
        let [a, ..] = keys();
        let mut envelope = sign("t", b"payload", &[&a]);
        envelope.signatures.clear();
        assert_eq!(envelope.unverified_payload().unwrap(), b"payload");
        envelope.payload = "YQ".to_owned();
        assert_eq!(envelope.unverified_payload().unwrap_err().code(), "bad-envelope");
        let many = sign("t", b"", &vec![&a; MAX_SIGNATURES + 1]);
        assert_eq!(many.unverified_payload().unwrap_err().code(), "envelope-too-large");
    }

    #[test]
    fn a_field_that_nobody_signed_cannot_steer_a_terminal() {
        let json = r#"{"\u001b[2J\u001b[1;1HSOUND":1}"#;
        let error = Envelope::from_json(json.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "bad-envelope");
        assert!(
            error.message().contains("SOUND") && !error.message().contains(char::is_control),
            "{error:?}"
        );
    }

    #[test]
    fn too_much_is_refused() {
        let [a, ..] = keys();
        let many = sign("t", b"", &vec![&a; MAX_SIGNATURES + 1]);
        assert_eq!(code(&many, &[a.verifying_key()], 1), "envelope-too-large");
        let long = vec![b' '; MAX_ENVELOPE_BYTES + 1];
        assert_eq!(Envelope::from_json(&long).unwrap_err().code(), "envelope-too-large");
    }
}
