//! The header of an age file: stanzas that wrap the file key, and the MAC over them.
//!
//! Hostile bytes are read here before anything is authenticated: this module must never read beyond
//! [`MAX_HEADER_BYTES`] nor accept two spellings of one header.

use std::io::{BufRead, Read as _};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use cofferdam_types::{Error, Result};

use super::{
    Entropy, MAX_HEADER_BYTES, MAX_STANZAS, Recipient, SealingKey, TAG_LEN, bad_header, chacha, damaged,
    derive, read_failed, truncated,
};

const VERSION_LINE: &str = "age-encryption.org/v1\n";
const ARMOR: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const X25519_INFO: &[u8] = b"age-encryption.org/v1/X25519";
const COLUMNS: usize = 64;
const FILE_KEY_LEN: usize = 16;
/// `-> X25519 `, 43 characters, newline, 43 characters, newline.
const STANZA_LEN: u64 = 10 + 43 + 1 + 43 + 1;

/// What every key of a file is derived from.
pub(super) type FileKey = [u8; FILE_KEY_LEN];

/// The length of a header that [`write`] makes, in bytes.
pub(super) const fn written_len(recipients: usize) -> u64 {
    // Version line, stanzas, `--- ` with 43 characters and a newline.
    22 + STANZA_LEN * recipients as u64 + 4 + 43 + 1
}

/// Writes a header for the recipients: draws the file key, then one ephemeral secret for each.
///
/// # Errors
/// `Invalid` (`bad-recipient`) when one is a point of small order; `Internal`.
pub(super) fn write(recipients: &[Recipient], entropy: &mut dyn Entropy) -> Result<(Vec<u8>, FileKey)> {
    let mut file_key = [0; FILE_KEY_LEN];
    entropy.fill(&mut file_key)?;
    let mut out = VERSION_LINE.to_owned();
    for recipient in recipients {
        let mut secret = [0; 32];
        entropy.fill(&mut secret)?;
        let ephemeral = SealingKey::from_secret(&secret)?;
        let share = ephemeral.recipient();
        let wrapped =
            ephemeral.agree(recipient, |shared| wrap(shared, &share, recipient, &file_key)).ok_or_else(
                || Error::invalid("bad-recipient", format!("nothing can be sealed to {recipient}")),
            )??;
        out.push_str("-> X25519 ");
        STANDARD_NO_PAD.encode_string(share.as_bytes(), &mut out);
        out.push('\n');
        STANDARD_NO_PAD.encode_string(wrapped, &mut out);
        out.push('\n');
    }
    out.push_str("---");
    let mac = hmac::sign(&mac_key(&file_key)?, out.as_bytes());
    out.push(' ');
    STANDARD_NO_PAD.encode_string(mac.as_ref(), &mut out);
    out.push('\n');
    Ok((out.into_bytes(), file_key))
}

fn mac_key(file_key: &FileKey) -> Result<hmac::Key> {
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &derive(file_key, &[], b"header")?))
}

fn wrap_key(shared: &[u8], share: &Recipient, recipient: &Recipient) -> Result<[u8; 32]> {
    derive(shared, &[share.as_bytes().as_slice(), recipient.as_bytes()].concat(), X25519_INFO)
}

fn wrap(shared: &[u8], share: &Recipient, to: &Recipient, file_key: &FileKey) -> Result<Vec<u8>> {
    let mut body = vec![0; FILE_KEY_LEN + TAG_LEN];
    chacha(&wrap_key(shared, share, to)?)?.seal(0, false, file_key, &mut body)?;
    Ok(body)
}

/// A header that has been read and not yet been authenticated.
struct Header {
    /// Everything up to and including `---`: what the MAC covers.
    covered: Vec<u8>,
    mac: Vec<u8>,
    stanzas: Vec<Stanza>,
}

struct Stanza {
    arguments: Vec<String>,
    body: Vec<u8>,
}

/// Reads the header, unwraps the file key with `key` and checks the MAC.
///
/// # Errors
/// `Invalid`: `age-bad-header`, `age-truncated`; `VerificationFailed`: `age-no-recipient`, `age-damaged`.
pub(super) fn open(from: &mut impl BufRead, key: &SealingKey) -> Result<FileKey> {
    let header = Lines { from, taken: Vec::new() }.header()?;
    let file_key = unwrap(&header.stanzas, key)?;
    hmac::verify(&mac_key(&file_key)?, &header.covered, &header.mac)
        .map_err(|_| damaged("its header was changed after it was sealed"))?;
    Ok(file_key)
}

fn unwrap(stanzas: &[Stanza], key: &SealingKey) -> Result<FileKey> {
    let kind = |stanza: &Stanza, name: &str| stanza.arguments.first().is_some_and(|kind| kind == name);
    if stanzas.len() > 1 && stanzas.iter().any(|stanza| kind(stanza, "scrypt")) {
        return Err(bad_header("a passphrase stands beside other recipients"));
    }
    let (mut found, mut others) = (None, 0_usize);
    for stanza in stanzas {
        if !kind(stanza, "X25519") {
            continue; // Of another kind, or grease.
        }
        let (share, body) = x25519(stanza)?;
        let unwrapped = key.agree(&share, |shared| {
            let mut file_key = [0; FILE_KEY_LEN];
            let wrapping = chacha(&wrap_key(shared, &share, &key.recipient())?)?;
            Ok(wrapping.open(0, false, body, &mut file_key).then_some(file_key))
        });
        match unwrapped.ok_or_else(|| bad_header("a share is a point of small order"))?? {
            Some(file_key) => found = found.or(Some(file_key)),
            None => others += 1,
        }
    }
    found.ok_or_else(|| {
        let ours = key.recipient();
        let text = match others {
            0 => format!("this file was sealed to no X25519 key at all, so not to {ours}"),
            1 => format!("this file was sealed to another X25519 key, not to {ours}"),
            _ => format!("this file was sealed to {others} other X25519 keys, not to {ours}"),
        };
        Error::verification("age-no-recipient", text)
            .hint("use the key that the sender sealed to, or ask for a file that is sealed to this one")
    })
}

/// The share and the body of an X25519 stanza, in their only forms.
fn x25519(stanza: &Stanza) -> Result<(Recipient, &[u8])> {
    let [_, share] = stanza.arguments.as_slice() else {
        return Err(bad_header("an X25519 stanza has other than one argument"));
    };
    let share = STANDARD_NO_PAD.decode(share).ok().and_then(|bytes| bytes.try_into().ok());
    let share = share.ok_or_else(|| bad_header("an X25519 share is not 32 bytes in canonical base64"))?;
    if stanza.body.len() != FILE_KEY_LEN + TAG_LEN {
        return Err(bad_header("an X25519 stanza does not hold 32 bytes"));
    }
    Ok((Recipient::from_bytes(share), &stanza.body))
}

/// Reads lines and remembers them for the MAC.
struct Lines<'a, R> {
    from: &'a mut R,
    taken: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    /// The next line without its newline.
    fn line(&mut self) -> Result<String> {
        let (start, room) = (self.taken.len(), MAX_HEADER_BYTES.saturating_sub(self.taken.len()));
        let read = (&mut *self.from).take(room as u64).read_until(b'\n', &mut self.taken);
        let count = read.map_err(read_failed)?;
        let line = self.taken.get(start..).unwrap_or_default();
        match line.strip_suffix(b"\n") {
            Some(line) => String::from_utf8(line.to_vec()).map_err(|_| bad_header("it is not text")),
            None if start == 0 && !VERSION_LINE.as_bytes().starts_with(line) => Err(not_age(line)),
            None if count == room => Err(bad_header("it is longer than 16 KiB")),
            None => Err(truncated("it ends within its header")),
        }
    }

    fn header(mut self) -> Result<Header> {
        let version = self.line()?;
        if format!("{version}\n") != VERSION_LINE {
            return Err(not_age(version.as_bytes()));
        }
        let mut stanzas = Vec::new();
        loop {
            let start = self.taken.len();
            let line = self.line()?;
            if let Some(arguments) = line.strip_prefix("-> ") {
                if stanzas.len() == MAX_STANZAS {
                    return Err(bad_header("it has more than 20 stanzas"));
                }
                stanzas.push(self.stanza(arguments)?);
            } else if let Some(mac) = line.strip_prefix("--- ") {
                let mac = STANDARD_NO_PAD.decode(mac).ok().filter(|mac| mac.len() == 32);
                let mac = mac.ok_or_else(|| bad_header("its MAC is not 32 bytes in canonical base64"))?;
                if stanzas.is_empty() {
                    return Err(bad_header("it has no stanza"));
                }
                self.taken.truncate(start + 3);
                return Ok(Header { covered: self.taken, mac, stanzas });
            } else {
                return Err(bad_header("a line is neither a stanza nor the MAC"));
            }
        }
    }

    fn stanza(&mut self, arguments: &str) -> Result<Stanza> {
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        if arguments.iter().any(|word| word.is_empty() || !word.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(bad_header(
                "an argument of a stanza is empty or holds a character that may not be there",
            ));
        }
        let mut text = String::new();
        loop {
            let line = self.line()?;
            text.push_str(&line);
            match line.len() {
                ..COLUMNS => break,
                COLUMNS => {}
                _ => return Err(bad_header("a line of a stanza is longer than 64 characters")),
            }
        }
        let body = STANDARD_NO_PAD.decode(text);
        Ok(Stanza { arguments, body: body.map_err(|_| bad_header("a stanza is not canonical base64"))? })
    }
}

fn not_age(start: &[u8]) -> Error {
    if start.starts_with(ARMOR.as_bytes()) {
        return bad_header("it is armoured; the binary form is expected");
    }
    if start.starts_with(b"age-encryption.org/") {
        return bad_header("its version is not v1");
    }
    bad_header("its first line is not that of an age file")
}
