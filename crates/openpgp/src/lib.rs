//! OpenPGP as package archives use it: signatures verified with keyrings (RFC 4880, RFC 9580). Nothing is made here.
//!
//! | looked at | how |
//! |---|---|
//! | keys | version 4: RSA from 2048 bits, Ed25519 (algorithms 22 and 27), ECDSA over P-256 and P-384 |
//! | digests | SHA-256, SHA-384, SHA-512; ECDSA with that of its curve's length. MD5, SHA-1 and RIPEMD are too weak |
//! | signatures | version 4, of documents and texts, detached or cleartext. Version 3 is too weak |
//! | subkeys | bound by the primary key, with the back-signature that a signing subkey gives |
//! | a key's life | made, expired and revoked, by its own self-signatures, compared with *when the signature was made* |
//! | critical subpackets | one that is not known here, or a critical notation, and the signature does not count |
//!
//! Not looked at: what a clock says (an expired signature is told, not refused, and who has an expired key can date a
//! signature back), certifications by others and their trust, revocations by designated revokers, revoked user ids (a
//! name is what the key's own newest certification says), versions 5 and 6, DSA, SHA-3 and Brainpool curves.
//!
//! Everything read is hostile: each length has a bound, nothing recurses, and nothing panics. This crate must never
//! open a file, ask a network, or say that a key is to be trusted: it says which key signed.

mod armor;
mod cert;
mod cleartext;
mod crypto;
mod key;
mod packet;
mod signature;
mod verify;

pub use cert::{Cert, Keyring};
pub use verify::{Outcome, Signer, verify_cleartext, verify_detached};

/// Bytes of a keyring at the most.
pub const MOST_KEYRING: usize = 8 << 20;
/// Bytes of a signed text at the most.
pub const MOST_TEXT: usize = 32 << 20;
/// Bytes of a detached signature, or of the armor at a text's end, at the most.
pub const MOST_SIGNATURE: usize = 256 << 10;

use cofferdam_types::Error;

/// What cannot be read.
fn bad(why: impl std::fmt::Display) -> Error {
    Error::invalid("bad-openpgp", format!("this is no OpenPGP that can be read here: {why}"))
}
