//! Frames and packs: `CT1PACK\n`, then frames of 44 header bytes and their stored bytes.

use cofferdam_types::Sha256;

use crate::limits::MAX_FRAME_BYTES;

pub const PACK_MAGIC: &[u8; 8] = b"CT1PACK\n";
pub const FRAME_HEADER: usize = 44;
const LEVEL: i32 = 3;
const SAMPLE: usize = 64 << 10;

/// One frame of `raw`, ready to append to a pack. The same bytes always give the same frame.
pub fn encode(raw: &[u8]) -> std::io::Result<Vec<u8>> {
    let packed = compress(raw)?;
    let (codec, stored) = packed.as_deref().map_or((0u8, raw), |packed| (1, packed));
    let mut out = Vec::with_capacity(FRAME_HEADER + stored.len());
    out.extend_from_slice(&[codec, 0, 0, 0]);
    for len in [raw.len(), stored.len()] {
        let len = u32::try_from(len).map_err(std::io::Error::other)?;
        out.extend_from_slice(&len.to_le_bytes());
    }
    out.extend_from_slice(&Sha256::of(raw).0);
    out.extend_from_slice(stored);
    Ok(out)
}

/// A sample first: most packages are compressed already, and a whole pass over them gains nothing.
fn compress(raw: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let gains = |packed: usize, raw: usize| packed < raw - raw / 16;
    if raw.len() > SAMPLE && !gains(zstd::bulk::compress(&raw[..SAMPLE], LEVEL)?.len(), SAMPLE) {
        return Ok(None);
    }
    let packed = zstd::bulk::compress(raw, LEVEL)?;
    Ok(gains(packed.len(), raw.len()).then_some(packed))
}

/// The raw bytes of one whole frame, or what is wrong with it.
pub fn decode(frame: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (head, stored) = frame.split_at_checked(FRAME_HEADER).ok_or("the frame is too short")?;
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let raw_len = number(4);
    if head[1..4] != [0, 0, 0] || number(8) != stored.len() || raw_len > MAX_FRAME_BYTES {
        return Err("the frame's header is damaged");
    }
    let raw = match head[0] {
        0 => stored.to_vec(),
        1 => zstd::bulk::decompress(stored, raw_len).map_err(|_| "the frame does not decompress")?,
        _ => return Err("the frame's codec is unknown"),
    };
    if raw.len() != raw_len || Sha256::of(&raw).0 != head[12..44] {
        return Err("the frame's bytes do not have its SHA-256");
    }
    Ok(raw)
}
