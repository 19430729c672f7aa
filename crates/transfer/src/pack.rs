//! One pack: zstd frames whose bytes, unpacked, are its blobs one after the other; then one age file.
//!
//! What is compressed already is stored as zstd *raw blocks* (RFC 8878 section 3.1.1.2), at the speed of
//! copying: stock `zstd -d` reads the whole pack and there is no frame format of our own.

use std::{cell::RefCell, io::Read as _};

use cofferdam_trust::age::{self, Entropy, Recipient, SealWriter, Sealer, SealingKey};
use zstd::zstd_safe::{self, CParameter, Strategy};

use crate::limits::{MAX_FRAME_BYTES, MAX_PACK_RAW};

const LEVEL: i32 = 3;
/// What packs have other than level 3: one table that the processor's caches hold. It takes a fifth less time for two
/// hundredths more bytes, of which deltas save far more.
const PARAMETERS: [CParameter; 4] = [
    CParameter::Strategy(Strategy::ZSTD_fast),
    CParameter::HashLog(17),
    CParameter::MinMatch(5),
    CParameter::TargetLength(0),
];
const SAMPLE: usize = 32 << 10;
/// zstd's largest block (RFC 8878 section 3.1.1.2.4).
const BLOCK: usize = 128 << 10;
/// Windows that a reader allows, as a power of two: what a frame of 4 MiB needs.
const WINDOW_LOG: u32 = 23;

thread_local! {
    /// A pack between zstd and age. One for each thread: fresh memory costs more than the cipher.
    static PACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Compresses `raw`, whose blobs end at `ends`. The same input gives the same bytes.
fn compress_into(raw: &[u8], ends: &[usize], out: &mut Vec<u8>) -> std::io::Result<()> {
    out.reserve(raw.len() + 1024);
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    for parameter in PARAMETERS {
        compressor.set_parameter(parameter)?;
    }
    let (mut from, mut at) = (0, 0);
    if raw.is_empty() {
        // Stock `zstd -d` takes no input for an error.
        store(raw, out);
    }
    // Neighbours that compress share a frame: small files gain from each other.
    let mut flush = |from: usize, to: usize, out: &mut Vec<u8>| -> std::io::Result<()> {
        for part in raw[from..to].chunks(MAX_FRAME_BYTES) {
            let start = out.len();
            out.resize(start + zstd_safe::compress_bound(part.len()), 0);
            let packed = compressor.compress_to_buffer(part, &mut out[start..])?;
            let pays = packed < part.len() - part.len() / 16;
            out.truncate(if pays { start + packed } else { start });
            if !pays {
                store(part, out);
            }
        }
        Ok(())
    };
    for &end in ends {
        while at < end {
            let to = end.min(at + MAX_FRAME_BYTES);
            if is_dense(&raw[at..to])? {
                flush(from, at, out)?;
                store(&raw[at..to], out);
                from = to;
            }
            at = to;
        }
    }
    flush(from, at, out)
}

/// A sample tells: most packages are compressed already, and a whole pass over them gains nothing.
fn is_dense(raw: &[u8]) -> std::io::Result<bool> {
    if raw.len() < 512 {
        return Ok(false);
    }
    let middle = (raw.len() / 2).saturating_sub(SAMPLE / 2);
    let sample = &raw[middle..raw.len().min(middle + SAMPLE)];
    Ok(zstd::bulk::compress(sample, 1)?.len() >= sample.len() - sample.len() / 16)
}

/// One zstd frame of raw blocks (RFC 8878 section 3.1.1): magic, single-segment header with a content
/// size of 8 bytes, then blocks of at most 128 KiB, each behind 3 bytes.
fn store(raw: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x28, 0xb5, 0x2f, 0xfd, 0xe0]);
    out.extend_from_slice(&(raw.len() as u64).to_le_bytes());
    if raw.is_empty() {
        out.extend_from_slice(&[1, 0, 0]);
    }
    let last = raw.len().div_ceil(BLOCK).saturating_sub(1);
    for (n, block) in raw.chunks(BLOCK).enumerate() {
        let head = (block.len() << 3) | usize::from(n == last);
        out.extend_from_slice(&head.to_le_bytes()[..3]);
        out.extend_from_slice(block);
    }
}

/// Unpacks to exactly `raw` bytes, or says what is wrong. Memory: the result and one window.
pub fn decompress(packed: &[u8], raw: usize) -> Result<Vec<u8>, &'static str> {
    if raw > MAX_PACK_RAW {
        return Err("the pack is larger than packs may be");
    }
    if packed.is_empty() {
        return Err("the pack does not decompress");
    }
    let mut out = Vec::with_capacity(raw);
    let mut decoder = zstd::Decoder::with_buffer(packed).map_err(|_| "the pack does not decompress")?;
    decoder.window_log_max(WINDOW_LOG).map_err(|_| "the pack does not decompress")?;
    let mut limited = decoder.take(raw as u64 + 1);
    limited.read_to_end(&mut out).map_err(|_| "the pack does not decompress")?;
    if out.len() != raw {
        return Err("the pack does not unpack to the length that was signed");
    }
    Ok(out)
}

/// Compresses and seals.
pub fn seal(
    raw: &[u8],
    ends: &[usize],
    sealer: &Sealer,
    entropy: &mut dyn Entropy,
) -> std::io::Result<Vec<u8>> {
    PACKED.with_borrow_mut(|packed| {
        packed.clear();
        compress_into(raw, ends, packed)?;
        let mut out = Vec::new();
        sealer.seal_into_with(packed, &mut out, entropy).map_err(std::io::Error::other)?;
        Ok(out)
    })
}

/// Opens and unpacks.
pub fn open(sealed: &[u8], raw: usize, key: &SealingKey) -> Result<Vec<u8>, String> {
    PACKED.with_borrow_mut(|packed| {
        packed.clear();
        age::open_into(sealed, key, packed).map_err(|e| e.message().to_owned())?;
        decompress(packed, raw).map_err(str::to_owned)
    })
}

/// A writer of the manifest's lines: zstd, then age.
pub struct SealedLines<W: std::io::Write>(zstd::Encoder<'static, SealWriter<W>>);

impl<W: std::io::Write> SealedLines<W> {
    pub fn new(inner: W, recipients: &[Recipient], entropy: &mut dyn Entropy) -> std::io::Result<Self> {
        let sealed = Sealer::new(recipients).and_then(|s| s.writer_with(inner, entropy));
        let sealed = sealed.map_err(std::io::Error::other)?;
        zstd::Encoder::new(sealed, LEVEL).map(Self)
    }

    pub fn finish(self) -> std::io::Result<W> {
        self.0.finish()?.finish().map_err(std::io::Error::other)
    }
}

impl<W: std::io::Write> std::io::Write for SealedLines<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn compress(raw: &[u8], ends: &[usize]) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        compress_into(raw, ends, &mut out).map(|()| out)
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut x = 0x2545_F491_4F6C_DD1Du64;
        std::iter::repeat_with(|| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.to_le_bytes()[3]
        })
        .take(len)
        .collect()
    }

    #[test]
    fn a_pack_unpacks_to_its_blobs_and_dense_bytes_cost_almost_nothing() {
        let parts = [b"text ".repeat(40_000), noise(700_001), Vec::new(), noise(3), b"more text ".repeat(9)];
        let raw = parts.concat();
        let ends: Vec<usize> = parts
            .iter()
            .scan(0, |at, p| {
                *at += p.len();
                Some(*at)
            })
            .collect();
        let packed = compress(&raw, &ends).unwrap();
        assert!(packed.len() < 702_000, "{}", packed.len());
        assert!(decompress(&packed, raw.len()).unwrap() == raw);
        assert!(decompress(&packed, raw.len() - 1).is_err());
        assert!(decompress(&packed, raw.len() + 1).is_err());
        assert!(decompress(&compress(&[], &[0]).unwrap(), 0).unwrap().is_empty());
    }

    #[test]
    fn a_pack_without_bytes_is_still_something_that_stock_zstd_unpacks() {
        let packed = compress(&[], &[0]).unwrap();
        assert_eq!(packed, [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert!(decompress(&packed, 0).unwrap().is_empty());
        assert!(decompress(&[], 0).is_err());
    }

    #[test]
    fn a_bomb_or_a_window_that_is_too_large_is_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        assert!(decompress(&bomb, 1 << 20).is_err());
        assert!(decompress(&bomb, 64 << 20).is_err());
        let mut wide = zstd::Encoder::new(Vec::new(), 3).unwrap();
        wide.window_log(27).unwrap();
        wide.write_all(&noise(9 << 20)).unwrap();
        assert!(decompress(&wide.finish().unwrap(), 8 << 20).is_err());
    }
}
