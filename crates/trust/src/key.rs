//! Ed25519 keys (RFC 8032) and their encodings (RFC 8410, RFC 5958).
//!
//! A private key must never appear in `Debug`, in an error or in a log.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    encoding::AsBigEndian as _,
    rand,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_types::{Error, ErrorKind, Result, Sha256};
use serde::{Deserialize, Serialize};

use crate::text::{shown, text_in_json};

/// DER before the 32 public bytes in an Ed25519 SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// DER before the 32 secret bytes in an Ed25519 PKCS#8 version 1 key (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const TEXT_PREFIX: &str = "cofferdam-ed25519:";

/// The name of a key: SHA-256 over its SubjectPublicKeyInfo in DER, 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Sha256);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The public half of an Ed25519 key.
///
/// Its text is `cofferdam-ed25519:` and 44 characters of base64; JSON holds the same text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Takes the 32 bytes of RFC 8032 section 5.1.5. Bytes that are no point verify nothing.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key's name in envelopes.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId(Sha256::of(&self.to_spki_der()))
    }

    /// SubjectPublicKeyInfo in DER (RFC 8410 section 4).
    #[must_use]
    pub fn to_spki_der(&self) -> Vec<u8> {
        [SPKI_PREFIX.as_slice(), &self.0].concat()
    }

    /// The PEM form that `openssl pkeyutl -verify -pubin` reads.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let body = STANDARD.encode(self.to_spki_der());
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    /// Does `signature` by this key over exactly `message` hold?
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TEXT_PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifyingKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.strip_prefix(TEXT_PREFIX)
            .and_then(|body| STANDARD.decode(body).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| {
                Error::invalid("bad-public-key", format!("`{}` is not a public key", shown(text)))
                    .hint("a public key is `cofferdam-ed25519:` and 44 characters of base64")
            })
    }
}

text_in_json!(VerifyingKey);

/// An Ed25519 key pair. `Debug` shows stars and the public name only.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Makes a new key from the operating system's randomness.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when there is no randomness.
    pub fn generate() -> Result<Self> {
        let mut seed = [0; 32];
        rand::fill(&mut seed).map_err(|e| Error::internal("drawing randomness for a key", e))?;
        Self::from_seed(&seed)
    }

    /// The key whose RFC 8032 secret (section 5.1.5) is `seed`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the cryptographic library refuses the seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|e| Error::internal("making a key from its seed", e))
    }

    /// Reads PKCS#8 in DER: version 1 (as `openssl genpkey -algorithm ed25519` writes) or version 2.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] when it is anything else.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self).map_err(|_| {
            Error::new(ErrorKind::Invalid, "bad-private-key", "this is not an Ed25519 private key in PKCS#8")
        })
    }

    /// PKCS#8 version 1 in DER. The caller holds secret bytes: keep them out of logs.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the cryptographic library does not give the seed out.
    pub fn to_pkcs8_der(&self) -> Result<Vec<u8>> {
        let seed = self.0.seed().map_err(|e| Error::internal("taking the seed of a key", e))?;
        let raw = seed.as_be_bytes().map_err(|e| Error::internal("encoding the seed of a key", e))?;
        Ok([PKCS8_PREFIX.as_slice(), raw.as_ref()].concat())
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        VerifyingKey(bytes)
    }

    /// The key's name in envelopes.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.verifying_key().id()
    }

    /// The 64-byte signature over exactly `message`; the same message gives the same signature.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(*** of {})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_vector_of_rfc_8032_holds() {
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_seed(&seed.try_into().unwrap()).unwrap();
        assert_eq!(
            hex::encode(key.verifying_key().as_bytes()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(
            hex::encode(key.sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
             d25bf5f0595bbe24655141438e7a100b"
        );
        assert!(key.verifying_key().verifies(b"", &key.sign(b"")));
        assert!(!key.verifying_key().verifies(b"x", &key.sign(b"")));
    }

    #[test]
    fn keys_read_back_as_written_and_secrets_are_not_shown() {
        let key = SigningKey::generate().unwrap();
        let der = key.to_pkcs8_der().unwrap();
        assert_eq!(SigningKey::from_pkcs8_der(&der).unwrap().id(), key.id());
        let public = key.verifying_key();
        assert_eq!(public.to_string().parse::<VerifyingKey>().unwrap(), public);
        let shown = format!("{key:?}");
        assert!(shown.contains("***") && !shown.contains(&hex::encode(&der[16..])));
    }

    #[test]
    fn only_a_public_key_is_a_public_key() {
        for wrong in ["", "cofferdam-ed25519:", "cofferdam-ed25519:AAAA", "ed25519:AAAA"] {
            assert_eq!(wrong.parse::<VerifyingKey>().unwrap_err().code(), "bad-public-key");
        }
        // Somebody gave the wrong half.
        let secret = crate::age::SealingKey::from_secret(&[9; 32]).unwrap().to_secret_text().unwrap();
        for wrong in [secret.expose().clone(), secret.expose().to_lowercase()] {
            let error = wrong.parse::<VerifyingKey>().unwrap_err();
            assert_eq!(error.message(), "`***` is not a public key");
        }
        assert_eq!(SigningKey::from_pkcs8_der(b"nonsense").unwrap_err().code(), "bad-private-key");
    }
}
