//! One zstd frame that refers to a prefix both sides have: what `zstd --patch-from` makes.
//!
//! Frames are decoded in one piece into a buffer of the declared size, so that no window that a
//! hostile frame asks for is ever allocated.

use cofferdam_types::{Error, Result};
use zstd::zstd_safe::{CCtx, CParameter, DCtx};

use crate::recipe::bad;

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For plain text: what is carried is worth seconds here.
    Strong,
    /// For what is most likely compressed already.
    Quick,
}

/// Up to this many bytes of prefix and content, the strongest level is worth its time.
const STRONG: usize = 16 << 20;
/// Up to this many it costs nothing.
const SMALL: usize = 2 << 20;
const STRONG_LEVEL: i32 = 19;
/// Half the time of the strongest, for about a sixth more bytes.
const MIDDLE_LEVEL: i32 = 13;
const QUICK_LEVEL: i32 = 6;
/// From this many bytes on, matches far away are looked for as such.
const FAR: usize = 8 << 20;

/// How a frame of the current format begins.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What a decoder holds besides its buffers, rounded up.
pub(crate) const DECODER_MEMORY: u64 = 256 << 10;

/// Compresses `content` against `prefix`.
pub(crate) fn encode(prefix: &[u8], content: &[u8], effort: Effort) -> Result<Vec<u8>> {
    let total = prefix.len() + content.len();
    let failed = |code| Error::internal("zstd cannot compress", zstd::zstd_safe::get_error_name(code));
    let mut context = CCtx::create();
    let level = match effort {
        _ if total <= SMALL => STRONG_LEVEL,
        Effort::Strong if total <= STRONG => STRONG_LEVEL,
        Effort::Strong => MIDDLE_LEVEL,
        Effort::Quick => QUICK_LEVEL,
    };
    let window = (usize::BITS - total.leading_zeros()).clamp(10, 27);
    let far = total >= FAR;
    for parameter in [
        CParameter::CompressionLevel(level),
        CParameter::WindowLog(window),
        CParameter::EnableLongDistanceMatching(far),
        CParameter::ContentSizeFlag(true),
        CParameter::ChecksumFlag(false),
    ] {
        context.set_parameter(parameter).map_err(failed)?;
    }
    context.ref_prefix(prefix).map_err(failed)?;
    let mut frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(content.len()));
    context.compress2(&mut frame, content).map_err(failed)?;
    Ok(frame)
}

/// Decodes a frame that must give exactly `size` bytes.
pub(crate) fn decode(prefix: &[u8], frame: &[u8], size: usize) -> Result<Vec<u8>> {
    // One frame of today's format: the library would also read its own formats of years ago.
    let whole = zstd::zstd_safe::find_frame_compressed_size(frame);
    if !frame.starts_with(&MAGIC) || whole != Ok(frame.len()) {
        return Err(bad("a compressed part is not one zstd frame"));
    }
    let mut context = DCtx::create();
    let wrong = |_| bad("a compressed part is damaged or larger than it says");
    context.ref_prefix(prefix).map_err(wrong)?;
    let mut content = Vec::with_capacity(size);
    let written = context.decompress(&mut content, frame).map_err(wrong)?;
    if written != size || content.len() != size {
        return Err(bad("a compressed part is smaller than it says"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_needs_its_prefix_and_gives_exactly_its_size() {
        let prefix: Vec<u8> = (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        let mut content = prefix.clone();
        content[77_777] ^= 1;
        let frame = encode(&prefix, &content, Effort::Strong).unwrap();
        assert!(frame.len() < 200, "{}", frame.len());
        assert!(decode(&prefix, &frame, content.len()).unwrap() == content);
        for (prefix, size) in [(&prefix[..10], content.len()), (&prefix, 10), (&prefix, content.len() + 1)] {
            assert_eq!(decode(prefix, &frame, size).unwrap_err().code(), "recipe-bad");
        }
    }
}
