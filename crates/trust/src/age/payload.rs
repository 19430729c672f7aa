//! The payload: chunks of 64 KiB under ChaCha20-Poly1305 in the STREAM construction, and streaming
//! access to it.
//!
//! No byte of a chunk must be handed out before that chunk has been authenticated.

use std::io::{self, BufRead, BufReader, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use cofferdam_types::{Error, Result};

use super::{
    CHUNK_LEN, NONCE_LEN, SEALED_CHUNK_LEN, SealingKey, TAG_LEN, damaged, derive, header, header::FileKey,
    into_io, read_failed, truncated,
};

/// A ChaCha20-Poly1305 key with the nonces of STREAM: an 11-byte counter and the flag of the last chunk.
pub(super) struct ChunkKey(LessSafeKey);

/// Makes a [`ChunkKey`].
pub(super) fn chacha(key: &[u8; 32]) -> Result<ChunkKey> {
    let key =
        UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|e| Error::internal("making a payload key", e))?;
    Ok(ChunkKey(LessSafeKey::new(key)))
}

/// The key of a payload from the file's key and the nonce before the payload.
pub(super) fn payload_key(file_key: &FileKey, nonce: &[u8; NONCE_LEN]) -> Result<ChunkKey> {
    chacha(&derive(file_key, nonce, b"payload")?)
}

/// How many chunks a payload of this many bytes has: one at least.
pub(super) const fn chunk_count(plain_len: u64) -> u64 {
    if plain_len == 0 { 1 } else { plain_len.div_ceil(CHUNK_LEN as u64) }
}

impl ChunkKey {
    fn nonce(counter: u64, last: bool) -> Nonce {
        let [a, b, c, d, e, f, g, h] = counter.to_be_bytes();
        Nonce::assume_unique_for_key([0, 0, 0, a, b, c, d, e, f, g, h, u8::from(last)])
    }

    /// Seals `plain` into `sealed`, which is [`TAG_LEN`] longer.
    pub(super) fn seal(&self, counter: u64, last: bool, plain: &[u8], sealed: &mut [u8]) -> Result<()> {
        let (body, tag) = sealed
            .split_at_mut_checked(plain.len())
            .ok_or_else(|| Error::internal("sealing a chunk", "the buffer is too short"))?;
        self.0
            .seal_out_of_place_scatter(Self::nonce(counter, last), Aad::empty(), plain, body, &[], tag)
            .map_err(|e| Error::internal("sealing a chunk", e))
    }

    /// Opens `sealed` into `plain`, which is [`TAG_LEN`] shorter. False: it does not authenticate, and
    /// `plain` holds nothing of worth.
    pub(super) fn open(&self, counter: u64, last: bool, sealed: &[u8], plain: &mut [u8]) -> bool {
        let Some((body, tag)) = sealed.split_last_chunk::<TAG_LEN>() else { return false };
        let nonce = Self::nonce(counter, last);
        body.len() == plain.len()
            && self.0.open_separate_gather(nonce, Aad::empty(), body, tag, plain).is_ok()
    }

    /// As [`ChunkKey::open`], and says what is wrong with a chunk of a payload.
    fn open_chunk(&self, counter: u64, last: bool, sealed: &[u8], plain: &mut [u8]) -> Result<()> {
        if sealed.len() < TAG_LEN {
            return Err(truncated("its last chunk is not whole"));
        }
        if self.open(counter, last, sealed, plain) {
            if plain.is_empty() && counter > 0 {
                return Err(damaged("its last chunk is empty"));
            }
            return Ok(());
        }
        if self.open(counter, !last, sealed, plain) {
            plain.fill(0);
            return Err(if last {
                truncated("chunks are missing at its end")
            } else {
                damaged("something was appended to it")
            });
        }
        plain.fill(0);
        Err(damaged(&format!("chunk {counter} does not authenticate; it was changed, or cut short there")))
    }

    /// Seals a whole payload and appends it to `out`.
    pub(super) fn seal_all(&self, mut plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let count = chunk_count(plain.len() as u64);
        for counter in 0..count {
            let (now, rest) = plain.split_at(plain.len().min(CHUNK_LEN));
            let at = out.len();
            // Chunk by chunk, so that what is zeroed is still in the cache when it is sealed over.
            out.resize(at + now.len() + TAG_LEN, 0);
            self.seal(counter, counter + 1 == count, now, out.get_mut(at..).unwrap_or_default())?;
            plain = rest;
        }
        Ok(())
    }

    /// Opens a whole payload and appends it to `out`.
    pub(super) fn open_all(&self, sealed: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let count = sealed.len().div_ceil(SEALED_CHUNK_LEN);
        if count == 0 {
            return Err(truncated("its last chunk is not whole"));
        }
        out.reserve(sealed.len().saturating_sub(count * TAG_LEN));
        for (number, chunk) in sealed.chunks(SEALED_CHUNK_LEN).enumerate() {
            let at = out.len();
            out.resize(at + chunk.len().saturating_sub(TAG_LEN), 0);
            self.open_chunk(
                number as u64,
                number + 1 == count,
                chunk,
                out.get_mut(at..).unwrap_or_default(),
            )?;
        }
        Ok(())
    }
}

/// Seals what is written to it. Only [`SealWriter::finish`] makes the file whole: one that was dropped
/// before is refused by every reader.
pub struct SealWriter<W: Write> {
    to: W,
    key: ChunkKey,
    counter: u64,
    plain: Vec<u8>,
    sealed: Vec<u8>,
    failed: bool,
}

impl<W: Write> SealWriter<W> {
    pub(super) fn start(to: W, key: ChunkKey) -> Self {
        let (plain, sealed) = (Vec::with_capacity(CHUNK_LEN), vec![0; SEALED_CHUNK_LEN]);
        Self { to, key, counter: 0, plain, sealed, failed: false }
    }

    /// Seals the last chunk and flushes. Gives back what was written to.
    ///
    /// # Errors
    /// Of the writer below, and when an earlier write failed.
    pub fn finish(mut self) -> Result<W> {
        let done = self.emit(true).and_then(|()| self.to.flush());
        done.map_err(|e| super::from_io("writing a sealed file", e))?;
        Ok(self.to)
    }

    fn emit(&mut self, last: bool) -> io::Result<()> {
        // Part of a chunk may be out already: to go on would leave a file with a hole.
        if std::mem::replace(&mut self.failed, true) {
            return Err(io::Error::other("an earlier write to this sealed file failed"));
        }
        let sealed = self.sealed.get_mut(..self.plain.len() + TAG_LEN).unwrap_or_default();
        self.key.seal(self.counter, last, &self.plain, sealed).map_err(into_io)?;
        self.to.write_all(sealed)?;
        self.plain.clear();
        self.counter += 1;
        self.failed = false;
        Ok(())
    }
}

impl<W: Write> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits for the next byte: it may still be the last one.
        if self.plain.len() == CHUNK_LEN && !bytes.is_empty() {
            self.emit(false)?;
        }
        let count = bytes.len().min(CHUNK_LEN - self.plain.len());
        self.plain.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// Flushes what is below; a chunk that is not full stays here until [`SealWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Opens a sealed file chunk by chunk.
///
/// What was read before an error is authentic but not all there is: only the end of the file (`read`
/// gives 0) proves that nothing was cut off. An error of ours travels inside of the `io::Error`:
/// `downcast` gives it back.
pub struct OpenReader<R: Read> {
    from: BufReader<R>,
    key: ChunkKey,
    counter: u64,
    sealed: Vec<u8>,
    plain: Vec<u8>,
    at: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Reading,
    Done,
    Failed,
}

impl<R: Read> OpenReader<R> {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// As [`super::open`], except for what is wrong with the payload.
    pub fn new(from: R, key: &SealingKey) -> Result<Self> {
        let mut from = BufReader::with_capacity(SEALED_CHUNK_LEN, from);
        let key = start(&mut from, key)?;
        let sealed = Vec::with_capacity(SEALED_CHUNK_LEN);
        Ok(Self { from, key, counter: 0, sealed, plain: Vec::new(), at: 0, state: State::Reading })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        if self.state == State::Failed {
            return Err(into_io(damaged("reading it has failed before")));
        }
        self.state = State::Failed; // Until this chunk is whole and authentic.
        self.sealed.clear();
        (&mut self.from).take(SEALED_CHUNK_LEN as u64).read_to_end(&mut self.sealed)?;
        let last = loop {
            match self.from.fill_buf() {
                Ok(more) => break more.is_empty(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        };
        self.at = 0;
        self.plain.resize(self.sealed.len().saturating_sub(TAG_LEN), 0);
        let done = self.key.open_chunk(self.counter, last, &self.sealed, &mut self.plain);
        if let Err(error) = done {
            self.plain.clear();
            return Err(into_io(error));
        }
        self.counter += 1;
        self.state = if last { State::Done } else { State::Reading };
        Ok(())
    }
}

impl<R: Read> Read for OpenReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for OpenReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.plain.len() && self.state != State::Done {
            self.next_chunk()?;
        }
        Ok(self.plain.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = self.plain.len().min(self.at.saturating_add(count));
    }
}

/// Reads header and nonce, and gives the key of the payload that follows.
pub(super) fn start(from: &mut impl BufRead, key: &SealingKey) -> Result<ChunkKey> {
    let file_key = header::open(from, key)?;
    let mut nonce = [0; NONCE_LEN];
    from.read_exact(&mut nonce).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => truncated("it ends before its payload"),
        _ => read_failed(e),
    })?;
    payload_key(&file_key, &nonce)
}
