//! age v1 files (C2SP `age.md`) with X25519 recipients: what seals a transfer for its receiver.
//!
//! Start at [`Sealer`] and [`open`] for a pack in memory, at [`SealWriter`] and [`OpenReader`] for a
//! stream. The bytes are those of the `age` program, so that a person with nothing but that program
//! and a key can open everything. Only the framing is ours; every primitive is aws-lc-rs's.
//! This module must never hand out a byte that has not been authenticated, and never seal two files
//! with one file key. A sealed file says nothing about who sealed it: that takes a signature.

mod bech32;
mod header;
mod key;
mod payload;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use aws_lc_rs::{hkdf, rand};
use cofferdam_types::{Error, Result};

pub use key::{Recipient, SealingKey};
use payload::chacha;
pub use payload::{OpenReader, SealWriter};

/// A header may be at most this long, in bytes; one for two recipients has 266.
pub const MAX_HEADER_BYTES: usize = 16 << 10;
/// A header may hold at most this many stanzas, and a file be sealed to at most this many recipients.
pub const MAX_STANZAS: usize = 20;
/// Bytes of the payload in one chunk.
const CHUNK_LEN: usize = 64 << 10;
const COPY_AGAIN: &str = "copy it again from where it was written, or repair it with the transfer's parity";
const TAG_LEN: usize = 16;
const NONCE_LEN: usize = 16;
const SEALED_CHUNK_LEN: usize = CHUNK_LEN + TAG_LEN;

/// Where the secrets of a sealed file come from.
///
/// [`SystemEntropy`] is the only one fit for use. Another one exists so that test vectors can be made
/// again: whoever knows what it gives can open the file, and giving the same bytes twice breaks both
/// files. It is asked for the file key (16 bytes), an ephemeral secret for each recipient in their
/// order (32 bytes each) and the nonce of the payload (16 bytes), in this order.
pub trait Entropy {
    /// Fills `out`.
    ///
    /// # Errors
    /// `Internal` when there is no randomness.
    fn fill(&mut self, out: &mut [u8]) -> Result<()>;
}

/// The randomness of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        rand::fill(out).map_err(|e| Error::internal("drawing randomness for a sealed file", e))
    }
}

impl<F: FnMut(&mut [u8]) -> Result<()>> Entropy for F {
    fn fill(&mut self, out: &mut [u8]) -> Result<()> {
        self(out)
    }
}

/// Seals files to the same recipients, each file under a key of its own.
#[derive(Clone, Debug)]
pub struct Sealer {
    recipients: Vec<Recipient>,
}

impl Sealer {
    /// Prepares to seal to all of `recipients`; each of them alone can open.
    ///
    /// # Errors
    /// `Invalid`: `no-recipient` for none, `too-many-recipients` over [`MAX_STANZAS`].
    pub fn new(recipients: &[Recipient]) -> Result<Self> {
        let count = recipients.len();
        if count == 0 {
            return Err(Error::invalid("no-recipient", "nobody is named to whom the file is sealed")
                .hint("name the receiving site's recipient, `age1...`"));
        }
        if count > MAX_STANZAS {
            let text = format!("{count} recipients are named; a sealed file has at most {MAX_STANZAS}");
            return Err(Error::invalid("too-many-recipients", text));
        }
        Ok(Self { recipients: recipients.to_vec() })
    }

    /// The exact length of the sealed form of `plain_len` bytes, in bytes.
    #[must_use]
    pub fn sealed_len(&self, plain_len: u64) -> u64 {
        sealed_len(plain_len, self.recipients.len())
    }

    /// Seals bytes in memory; the whole result is allocated once. Who seals many packs keeps one buffer
    /// for [`Sealer::seal_into`], which is twice as fast.
    ///
    /// # Errors
    /// `Invalid` (`bad-recipient`) when a recipient is no usable key; `Internal`.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.seal_into(plain, &mut out)?;
        Ok(out)
    }

    /// As [`Sealer::seal`], appended to `out`; on an error `out` is as it was.
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub fn seal_into(&self, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.seal_into_with(plain, out, &mut SystemEntropy)
    }

    /// As [`Sealer::seal_into`] with secrets of the caller's: for test vectors only, see [`Entropy`].
    ///
    /// # Errors
    /// As [`Sealer::seal`].
    pub fn seal_into_with(&self, plain: &[u8], out: &mut Vec<u8>, entropy: &mut dyn Entropy) -> Result<()> {
        let (header, key) = self.begin(entropy)?;
        let length = usize::try_from(self.sealed_len(plain.len() as u64))
            .map_err(|e| Error::internal("sealing into memory", e))?;
        let start = out.len();
        out.reserve(length);
        out.extend_from_slice(&header);
        let sealed = key.seal_all(plain, out);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    /// Writes the header to `to` and gives the writer that seals what follows.
    ///
    /// # Errors
    /// As [`Sealer::seal`], and of the writer.
    pub fn writer<W: Write>(&self, to: W) -> Result<SealWriter<W>> {
        self.writer_with(to, &mut SystemEntropy)
    }

    /// As [`Sealer::writer`] with secrets of the caller's: for test vectors only, see [`Entropy`].
    ///
    /// # Errors
    /// As [`Sealer::writer`].
    pub fn writer_with<W: Write>(&self, mut to: W, entropy: &mut dyn Entropy) -> Result<SealWriter<W>> {
        let (header, key) = self.begin(entropy)?;
        to.write_all(&header).map_err(|e| Error::io("writing a sealed file", e))?;
        Ok(SealWriter::start(to, key))
    }

    /// Header and nonce, and the key of the payload.
    fn begin(&self, entropy: &mut dyn Entropy) -> Result<(Vec<u8>, payload::ChunkKey)> {
        let (mut head, file_key) = header::write(&self.recipients, entropy)?;
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce)?;
        head.extend_from_slice(&nonce);
        Ok((head, payload::payload_key(&file_key, &nonce)?))
    }
}

/// The exact length of what [`Sealer`] makes of `plain_len` bytes for so many recipients, in bytes.
const fn sealed_len(plain_len: u64, recipients: usize) -> u64 {
    let tags = payload::chunk_count(plain_len) * TAG_LEN as u64;
    header::written_len(recipients) + NONCE_LEN as u64 + plain_len + tags
}

/// Seals bytes once; whoever seals more to the same recipients keeps a [`Sealer`].
///
/// # Errors
/// As [`Sealer::new`] and [`Sealer::seal`].
pub fn seal(plain: &[u8], recipients: &[Recipient]) -> Result<Vec<u8>> {
    Sealer::new(recipients)?.seal(plain)
}

/// Opens a sealed file in memory. It takes as much memory as the file is long.
///
/// # Errors
/// `Invalid`: `age-bad-header` (no age file of this version, or a header in another than the one form),
/// `age-truncated` (bytes are missing at the end). `VerificationFailed`: `age-no-recipient` (this key
/// cannot open it), `age-damaged` (it is not as it was sealed; a cut within a chunk looks the same).
pub fn open(sealed: &[u8], key: &SealingKey) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    open_into(sealed, key, &mut out)?;
    Ok(out)
}

/// As [`open`], appended to `out`, which can be used again for the next; on an error `out` is as it was.
///
/// # Errors
/// As [`open`].
pub fn open_into(sealed: &[u8], key: &SealingKey, out: &mut Vec<u8>) -> Result<()> {
    let (start, mut rest) = (out.len(), sealed);
    let opened = payload::start(&mut rest, key)?.open_all(rest, out);
    if opened.is_err() {
        out.truncate(start);
    }
    opened
}

/// Our error back from what a reader or writer of this module failed with; any other becomes
/// [`Error::io`] with `context`.
fn from_io(context: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::io(context, error),
    }
}

fn into_io(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn read_failed(error: io::Error) -> Error {
    Error::io("reading a sealed file", error)
}

/// HKDF-SHA-256 (RFC 5869) with 32 bytes of output.
fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> Result<[u8; 32]> {
    let mut out = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .map_err(|e| Error::internal("deriving a key of a sealed file", e))?;
    Ok(out)
}

fn bad_header(why: &str) -> Error {
    Error::invalid("age-bad-header", format!("this is not a sealed file that can be read: {why}"))
        .hint("a sealed file is an age v1 file in binary form; was the right file named?")
}

fn damaged(why: &str) -> Error {
    Error::verification("age-damaged", format!("the sealed file is damaged: {why}")).hint(COPY_AGAIN)
}

fn truncated(why: &str) -> Error {
    Error::invalid("age-truncated", format!("the sealed file was cut short: {why}")).hint(COPY_AGAIN)
}
