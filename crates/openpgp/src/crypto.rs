//! The few kinds of signatures that archives use, over aws-lc-rs. Must never say that a weak one holds.

use aws_lc_rs::{
    digest,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
    },
};

use crate::packet::padded;

/// A digest that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// The digest by its number (RFC 9580, section 9.5), or why it does not count.
    pub fn of(number: u8) -> Result<Self, String> {
        Ok(match number {
            8 => Self::Sha256,
            9 => Self::Sha384,
            10 => Self::Sha512,
            1 => return Err("too weak: it is made over an MD5 digest".into()),
            2 => return Err("too weak: it is made over a SHA-1 digest".into()),
            3 => return Err("too weak: it is made over a RIPEMD-160 digest".into()),
            _ => return Err(format!("its digest (number {number}) is not known here")),
        })
    }

    fn digest(self, message: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message)
    }
}

/// SHA-1, of which fingerprints of version 4 are made (section 5.5.4.2). It vouches for nothing.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
    digest.as_ref().try_into().unwrap_or_default()
}

/// A public key that signs.
#[derive(Clone, Debug)]
pub enum Public {
    /// RSA: modulus and exponent.
    Rsa(Vec<u8>, Vec<u8>),
    /// Ed25519.
    Ed25519([u8; 32]),
    /// ECDSA over P-256: an uncompressed point.
    P256(Vec<u8>),
    /// ECDSA over P-384.
    P384(Vec<u8>),
    /// One that cannot be checked here, and why.
    Other(String),
}

/// A signature's own numbers.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// RSA's one.
    Rsa(Vec<u8>),
    /// The two of ECDSA and of the older form of Ed25519.
    Pair(Vec<u8>, Vec<u8>),
    /// Ed25519 in its newer form: bytes.
    Raw(Vec<u8>),
    /// Of an algorithm that is not known here.
    Other,
}

/// What a signature is, seen from a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The key made it over this message.
    Holds,
    /// It did not.
    Wrong,
    /// It cannot be told, and why.
    Unknown(String),
}

/// Compares a signature over a message with a key.
pub fn check(key: &Public, hash: Hash, message: &[u8], numbers: &Numbers) -> Seen {
    let holds = match (key, numbers) {
        (Public::Other(why), _) => return Seen::Unknown(why.clone()),
        (_, Numbers::Other) => return Seen::Unknown("its algorithm is not known here".into()),
        (Public::Rsa(n, e), Numbers::Rsa(s)) => {
            if n.len() < 256 {
                return Seen::Unknown(format!("too weak: an RSA key of {} bits", n.len() * 8));
            }
            rsa(n, e, hash, message, s)
        }
        (Public::Ed25519(key), Numbers::Pair(r, s)) => {
            pair(r, s, 32).is_some_and(|both| ed25519(key, hash, message, &both))
        }
        (Public::Ed25519(key), Numbers::Raw(both)) => ed25519(key, hash, message, both),
        (Public::P256(point), Numbers::Pair(r, s)) if hash == Hash::Sha256 => {
            pair(r, s, 32).is_some_and(|both| {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &both).is_ok()
            })
        }
        (Public::P384(point), Numbers::Pair(r, s)) if hash == Hash::Sha384 => {
            pair(r, s, 48).is_some_and(|both| {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, &both).is_ok()
            })
        }
        (Public::P256(_) | Public::P384(_), Numbers::Pair(..)) => {
            return Seen::Unknown("ECDSA with a digest of another length than its curve's".into());
        }
        _ => false,
    };
    if holds { Seen::Holds } else { Seen::Wrong }
}

fn rsa(n: &[u8], e: &[u8], hash: Hash, message: &[u8], s: &[u8]) -> bool {
    let parameters = match hash {
        Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
        Hash::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
        Hash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
    };
    // The number is written without zeros at its beginning; RSA wants as many bytes as the modulus has.
    padded(s, n.len())
        .is_some_and(|s| RsaPublicKeyComponents { n, e }.verify(parameters, message, &s).is_ok())
}

/// OpenPGP signs the digest, as a message, with Ed25519 (section 5.2.3.3).
fn ed25519(key: &[u8; 32], hash: Hash, message: &[u8], both: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(hash.digest(message).as_ref(), both).is_ok()
}

fn pair(r: &[u8], s: &[u8], length: usize) -> Option<Vec<u8>> {
    Some([padded(r, length)?, padded(s, length)?].concat())
}
