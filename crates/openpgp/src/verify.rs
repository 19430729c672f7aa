//! Who signed a document: each signature of it, judged by the keys of a keyring.

use cofferdam_types::Result;

use crate::{
    Cert, Keyring, MOST_SIGNATURE, MOST_TEXT,
    armor::{self, is_armored},
    bad, cleartext,
    crypto::Seen,
    packet::{packets, tag},
    signature::{Signature, kind},
};

/// Signatures of one document at the most.
const MOST_SIGNATURES: usize = 16;
/// Keys that one signature is compared with, where several have its number.
const MOST_KEYS: usize = 4;

/// Who made a signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The primary key's fingerprint in capital hexadecimal digits.
    pub primary: String,
    /// The fingerprint of the key that signed: the same, or a subkey's.
    pub key: String,
    /// Whose it is, as the key itself says.
    pub name: String,
    /// When it signed, as it says, in seconds since 1970.
    pub made: u64,
    /// When the signature expires, if ever. Nobody looked at a clock.
    pub expires: Option<u64>,
    /// The certificate, as packets, with nothing in it that is not needed.
    pub cert: Vec<u8>,
}

/// What became of one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A key of the keyring made it over this document, and could.
    Good(Box<Signer>),
    /// It names a key of the keyring that did not make it over this document.
    Bad {
        /// That key's fingerprint.
        key: String,
    },
    /// It names a key that is not in the keyring.
    NoKey {
        /// The key's fingerprint or number; none when it names nobody.
        asked: Option<String>,
    },
    /// It does not count, whatever it says.
    NotCounted {
        /// The key that it names.
        asked: Option<String>,
        /// Why.
        why: String,
    },
}

/// Judges a detached signature, armored or not, over a document. One outcome for each signature in it.
///
/// # Errors
/// `Invalid` (`bad-openpgp`) when there is no signature that can be read.
pub fn verify_detached(document: &[u8], signatures: &[u8], keys: &Keyring) -> Result<Vec<Outcome>> {
    if document.len() > MOST_TEXT || signatures.len() > MOST_SIGNATURE {
        return Err(bad("the document or its signature is too long"));
    }
    if !is_armored(signatures) {
        return judge(signatures, keys, &|kind| over(kind, document));
    }
    let text =
        std::str::from_utf8(signatures).map_err(|_| bad("the signature is neither packets nor text"))?;
    judge(&armor::blocks(text, armor::SIGNATURE)?, keys, &|kind| over(kind, document))
}

/// Judges a cleartext signed message: the text that is signed, and one outcome for each signature.
///
/// # Errors
/// `Invalid` (`bad-openpgp`) when it is no such message, or when something stands around it.
pub fn verify_cleartext(message: &[u8], keys: &Keyring) -> Result<(String, Vec<Outcome>)> {
    if message.len() > MOST_TEXT {
        return Err(bad("the signed message is too long"));
    }
    let text = std::str::from_utf8(message).map_err(|_| bad("the signed message is not UTF-8"))?;
    let signed = cleartext::read(text)?;
    if signed.signatures.len() > MOST_SIGNATURE {
        return Err(bad("the signature is too long"));
    }
    let canonical = cleartext::canonical(&signed.text);
    let over = |it: u8| (it == kind::TEXT).then(|| canonical.clone());
    let outcomes = judge(&signed.signatures, keys, &over)?;
    Ok((signed.text, outcomes))
}

/// What a signature over a document is made over.
fn over(kind: u8, document: &[u8]) -> Option<Vec<u8>> {
    match kind {
        kind::BINARY => Some(document.to_vec()),
        kind::TEXT => {
            let mut out = Vec::with_capacity(document.len());
            let mut before = 0;
            for byte in document {
                if *byte == b'\n' && before != b'\r' {
                    out.push(b'\r');
                }
                out.push(*byte);
                before = *byte;
            }
            Some(out)
        }
        _ => None,
    }
}

fn judge(bytes: &[u8], keys: &Keyring, over: &dyn Fn(u8) -> Option<Vec<u8>>) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for packet in packets(bytes)? {
        match packet.tag {
            tag::MARKER | tag::PADDING => continue,
            tag::SIGNATURE => {}
            other => return Err(bad(format!("a packet with tag {other} among signatures"))),
        }
        if outcomes.len() == MOST_SIGNATURES {
            return Err(bad(format!("more than {MOST_SIGNATURES} signatures of one document")));
        }
        let signature = Signature::read(packet.body).ok_or_else(|| bad("a signature is not whole"))?;
        outcomes.push(outcome(&signature, keys, over));
    }
    if outcomes.is_empty() {
        return Err(bad("there is no signature"));
    }
    Ok(outcomes)
}

fn outcome(signature: &Signature, keys: &Keyring, over: &dyn Fn(u8) -> Option<Vec<u8>>) -> Outcome {
    let asked = signature.asks_for();
    if let Some(why) = signature.useless_because() {
        return Outcome::NotCounted { asked, why: why.to_owned() };
    }
    let Some(message) = over(signature.kind) else {
        let why = format!("a signature of kind {:#04x} is none of a document", signature.kind);
        return Outcome::NotCounted { asked, why };
    };
    let mut worst = Outcome::NoKey { asked: asked.clone() };
    for (cert, key) in keys.named(signature).take(MOST_KEYS) {
        match signature.check(&key.public, &[&message]) {
            Seen::Holds => match cert.could_sign(key, signature.made()) {
                Ok(()) => return Outcome::Good(Box::new(signer(signature, cert, &key.fingerprint))),
                Err(why) => {
                    worst = Outcome::NotCounted {
                        asked: asked.clone(),
                        why: format!("its key does not count: {why}"),
                    }
                }
            },
            Seen::Unknown(why) => worst = Outcome::NotCounted { asked: asked.clone(), why },
            Seen::Wrong if matches!(worst, Outcome::NoKey { .. }) => {
                worst = Outcome::Bad { key: hex::encode_upper(key.fingerprint) };
            }
            Seen::Wrong => {}
        }
    }
    worst
}

fn signer(signature: &Signature, cert: &Cert, key: &[u8]) -> Signer {
    let made = signature.made();
    Signer {
        primary: cert.fingerprint(),
        key: hex::encode_upper(key),
        name: cert.name(),
        made,
        expires: signature.said.expires_after.map(|after| made.saturating_add(after)),
        cert: cert.to_bytes(),
    }
}
