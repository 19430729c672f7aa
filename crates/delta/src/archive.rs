//! Where the DEFLATE streams of a file are: the members of a zip, or the one stream of a gzip file.
//!
//! Read by the sender only, to find what is worth comparing. A file that is not what it seems gives
//! fewer streams, never a wrong result: whatever is found here is verified by encoding it again.
//! Never follows a zip's rarer paths (zip64, encryption, several disks); such members stay as they are.

use std::ops::Range;

/// A stream: its range in the file, and how many bytes it may give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) name: Vec<u8>,
    pub(crate) range: Range<usize>,
    pub(crate) most: usize,
}

fn u16_at(file: &[u8], at: usize) -> Option<usize> {
    let bytes = file.get(at..)?.first_chunk::<2>()?;
    Some(usize::from(u16::from_le_bytes(*bytes)))
}

fn u32_at(file: &[u8], at: usize) -> Option<usize> {
    let bytes = file.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

/// The streams of a file in the order of the file, none overlapping another. `most` bounds what a
/// stream may give where the file does not say.
pub(crate) fn streams(file: &[u8], most: usize) -> Vec<Stream> {
    let mut found = gzip(file, most).map(|stream| vec![stream]).or_else(|| zip(file)).unwrap_or_default();
    found.sort_by_key(|stream| stream.range.start);
    let mut end = 0;
    found.retain(|stream| {
        let keep = stream.range.start >= end && !stream.range.is_empty() && stream.most <= most;
        if keep {
            end = stream.range.end;
        }
        keep
    });
    found
}

/// The stream of a gzip file. Its end is found by inflating; until then it is the file's.
fn gzip(file: &[u8], most: usize) -> Option<Stream> {
    let &[0x1f, 0x8b, 8, flags] = file.first_chunk::<4>()? else { return None };
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + u16_at(file, at)?;
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += 1 + file.get(at..)?.iter().position(|&byte| byte == 0)?;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    let (_, used) = crate::inflate::inflate(file.get(at..)?, most)?;
    Some(Stream { name: Vec::new(), range: at..at + used, most })
}

/// The deflated members of a zip, by its central directory.
fn zip(file: &[u8]) -> Option<Vec<Stream>> {
    let first = file.len().saturating_sub(22 + 65_535);
    let tail = file.get(first..)?;
    let end = first + tail.windows(4).rposition(|window| window == b"PK\x05\x06")?;
    let (count, mut at) = (u16_at(file, end + 10)?, u32_at(file, end + 16)?);
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        if file.get(at..at + 4)? != b"PK\x01\x02" {
            break;
        }
        let name_len = u16_at(file, at + 28)?;
        let name = file.get(at + 46..at + 46 + name_len)?;
        let (flags, method) = (u16_at(file, at + 8)?, u16_at(file, at + 10)?);
        let (len, size, header) = (u32_at(file, at + 20)?, u32_at(file, at + 24)?, u32_at(file, at + 42)?);
        at += 46 + name_len + u16_at(file, at + 30)? + u16_at(file, at + 32)?;
        let local = u16_at(file, header + 26).zip(u16_at(file, header + 28));
        if let (8, 0, Some((name_len, extra_len))) = (method, flags & 1, local) {
            let start = header + 30 + name_len + extra_len;
            if start + len <= file.len() {
                found.push(Stream { name: name.to_vec(), range: start..start + len, most: size });
            }
        }
    }
    Some(found)
}

/// A name without what a release changes in it: digits become one sign, so `a-1.2/x` and `a-1.3/x`
/// are the same.
pub(crate) fn timeless(name: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(name.len());
    for &byte in name {
        let byte = if byte.is_ascii_digit() { b'#' } else { byte };
        if byte != b'#' || out.last() != Some(&b'#') {
            out.push(byte);
        }
    }
    out
}
