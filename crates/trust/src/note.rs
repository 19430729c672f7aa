//! Signed notes (C2SP `signed-note.md`), Ed25519 only (signature type 0x01).
//!
//! A note is text that ends in a newline, an empty line, and signature lines
//! `— <name> <base64(key hash || signature)>`. Text must never be handed out before a signature by a
//! known key has been checked.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_types::{Error, ErrorKind, Result, Sha256};

use crate::{SigningKey, VerifyingKey};

/// A whole note may be at most this long, in bytes.
pub const MAX_NOTE_BYTES: usize = 1 << 20;
/// A note may have at most this many signature lines.
pub const MAX_NOTE_SIGNATURES: usize = 64;
const ED25519_TYPE: u8 = 0x01;
const DASH: &str = "\u{2014} ";

/// A named key of a note: `<name>+<hash>+<base64(0x01 || key)>` as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    key: VerifyingKey,
}

impl NoteKey {
    /// Gives a key the name it signs notes with; by custom a URL without a scheme.
    ///
    /// # Errors
    /// `Invalid` (`bad-note-key`) when the name is empty, over 256 bytes, or holds a space, a control
    /// character or `+`.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if name.is_empty() || name.len() > 256 || name.contains(bad) {
            return Err(bad_key("its name is empty, too long, or holds a space or `+`"));
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> VerifyingKey {
        self.key
    }

    /// First four bytes of SHA-256 over name, newline, type and key: enough to find the key.
    #[must_use]
    pub fn hash(&self) -> [u8; 4] {
        let input = [self.name.as_bytes(), b"\n", &[ED25519_TYPE], self.key.as_bytes()].concat();
        let Sha256([a, b, c, d, ..]) = Sha256::of(&input);
        [a, b, c, d]
    }
}

fn bad_key(why: &str) -> Error {
    Error::invalid("bad-note-key", format!("this is not a verifier key for notes: {why}"))
}

fn bad_note(why: &str) -> Error {
    Error::invalid("bad-note", format!("this is not a signed note: {why}"))
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [&[ED25519_TYPE], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.hash()), STANDARD.encode(typed))
    }
}

impl FromStr for NoteKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(body)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad_key("three parts joined by `+` are expected"));
        };
        let typed = STANDARD.decode(body).map_err(|_| bad_key("its base64 is damaged"))?;
        let Some((&ED25519_TYPE, bytes)) = typed.split_first() else {
            return Err(bad_key("only Ed25519 (type 1) is known"));
        };
        let bytes = bytes.try_into().map_err(|_| bad_key("an Ed25519 key has 32 bytes"))?;
        let key = Self::new(name, VerifyingKey::from_bytes(bytes))?;
        if hash != hex::encode(key.hash()) {
            return Err(bad_key("its hash does not fit its name and key"));
        }
        Ok(key)
    }
}

/// A note that at least one known key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNote {
    /// The text, with its final newline.
    pub text: String,
    /// Positions, in the list of keys given, of those that signed; each once, ascending.
    pub signers: Vec<usize>,
}

/// One signature line, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The signer's name as written.
    pub name: String,
    /// The key hash as written.
    pub hash: [u8; 4],
    /// The signature bytes.
    pub signature: Vec<u8>,
}

fn check_text(text: &str) -> Result<()> {
    if !text.ends_with('\n') {
        return Err(bad_note("its text does not end in a newline"));
    }
    if text.chars().any(|c| c < ' ' && c != '\n') {
        return Err(bad_note("its text holds a control character"));
    }
    Ok(())
}

fn line(name: &str, key: &SigningKey, text: &str) -> Result<String> {
    let named = NoteKey::new(name, key.verifying_key())?;
    let body = [named.hash().as_slice(), &key.sign(text.as_bytes())].concat();
    Ok(format!("{DASH}{name} {}\n", STANDARD.encode(body)))
}

/// Signs `text` (which must end in a newline) under each name with its key.
///
/// # Errors
/// `Invalid` (`bad-note`, `bad-note-key`) when text or name cannot be part of a note.
pub fn sign(text: &str, signers: &[(&str, &SigningKey)]) -> Result<String> {
    check_text(text)?;
    let mut note = format!("{text}\n");
    for (name, key) in signers {
        note.push_str(&line(name, key, text)?);
    }
    Ok(note)
}

/// Adds a signature to a note, as a witness does. The other signatures are kept, not verified.
///
/// # Errors
/// As [`parse`] and [`sign`].
pub fn cosign(note: &str, name: &str, key: &SigningKey) -> Result<String> {
    let (text, _) = parse(note)?;
    Ok(format!("{note}{}", line(name, key, text)?))
}

/// Splits a note into its text and signatures. Nothing is verified by this.
///
/// # Errors
/// `TooLarge` (`note-too-large`), `Invalid` (`bad-note`).
pub fn parse(note: &str) -> Result<(&str, Vec<NoteSignature>)> {
    if note.len() > MAX_NOTE_BYTES {
        let text = format!("the note has {} bytes; the limit is {MAX_NOTE_BYTES}", note.len());
        return Err(Error::new(ErrorKind::TooLarge, "note-too-large", text));
    }
    let split = note.rfind("\n\n").ok_or_else(|| bad_note("it has no empty line before its signatures"))?;
    let (text, lines) = (&note[..=split], &note[split + 2..]);
    check_text(text)?;
    let lines = lines.strip_suffix('\n').ok_or_else(|| bad_note("it does not end in a newline"))?;
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() == MAX_NOTE_SIGNATURES {
            return Err(bad_note("it has more than 64 signatures"));
        }
        signatures.push(parse_line(line).ok_or_else(|| bad_note("a signature line is damaged"))?);
    }
    Ok((text, signatures))
}

fn parse_line(line: &str) -> Option<NoteSignature> {
    let (name, body) = line.strip_prefix(DASH)?.split_once(' ')?;
    let bytes = STANDARD.decode(body).ok()?;
    let (hash, signature) = bytes.split_first_chunk::<4>()?;
    let sound = !name.is_empty() && !name.contains('+') && !signature.is_empty();
    sound.then(|| NoteSignature { name: name.to_owned(), hash: *hash, signature: signature.to_vec() })
}

/// Verifies a note: at least one of `keys` signed it, and no signature of theirs is false.
///
/// # Errors
/// As [`parse`]; `VerificationFailed`: `signature-invalid`, `too-few-signatures`.
pub fn verify(note: &str, keys: &[NoteKey]) -> Result<VerifiedNote> {
    let (text, signatures) = parse(note)?;
    let mut signers = Vec::new();
    for signature in &signatures {
        let same = |key: &NoteKey| key.name == signature.name && key.hash() == signature.hash;
        let Some(at) = keys.iter().position(same) else { continue };
        if !keys[at].key.verifies(text.as_bytes(), &signature.signature) {
            let text = format!("the note's signature by {} does not hold", keys[at].name);
            return Err(Error::verification("signature-invalid", text));
        }
        signers.push(at);
    }
    signers.sort_unstable();
    signers.dedup();
    if signers.is_empty() {
        return Err(Error::verification("too-few-signatures", "no known key signed the note"));
    }
    Ok(VerifiedNote { text: text.to_owned(), signers })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example in the documentation of Go's sumdb note package.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                        then you don't know what your problem is.\n";
    const LINE: &str = "\u{2014} PeterNeumann \
        x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_note_that_another_program_signed_verifies() {
        let key: NoteKey = PETER.parse().unwrap();
        assert_eq!(key.to_string(), PETER);
        let note = format!("{TEXT}\n{LINE}");
        assert_eq!(verify(&note, std::slice::from_ref(&key)).unwrap().text, TEXT);
        let altered = note.replace("answer", "Answer");
        assert_eq!(verify(&altered, &[key]).unwrap_err().code(), "signature-invalid");
    }

    #[test]
    fn a_witness_adds_its_line_and_strangers_do_not_count() {
        let [log, witness, stranger] = [1, 2, 3].map(|n| SigningKey::from_seed(&[n; 32]).unwrap());
        let note = sign("audit.example\n3\nroot\n", &[("audit.example", &log)]).unwrap();
        let note = cosign(&note, "witness.example", &witness).unwrap();
        let name = |n: &str, key: &SigningKey| NoteKey::new(n, key.verifying_key()).unwrap();
        let keys = [name("audit.example", &log), name("witness.example", &witness)];
        assert_eq!(verify(&note, &keys).unwrap().signers, [0, 1]);
        let other = name("audit.example", &stranger);
        assert_eq!(verify(&note, &[other]).unwrap_err().code(), "too-few-signatures");
    }

    #[test]
    fn damaged_notes_and_keys_are_refused() {
        for wrong in ["", "text\n", "text\n\n", "text\n\n\u{2014} a b\n", "te\txt\n\n\u{2014} a AAAAAAAA\n"] {
            assert_eq!(parse(wrong).unwrap_err().code(), "bad-note", "{wrong:?}");
        }
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        for wrong in ["", "a b", "a+b"] {
            assert!(NoteKey::new(wrong, key.verifying_key()).is_err());
        }
        for wrong in ["", "a+b", &PETER.replace("c74f", "c74e"), &PETER.replace("Peter", "peter")] {
            assert_eq!(wrong.parse::<NoteKey>().unwrap_err().code(), "bad-note-key");
        }
        assert!(sign("no newline", &[("a", &key)]).is_err());
    }
}
