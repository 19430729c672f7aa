//! The two text forms of the log protocol: the byte range of a piece and the checksum of the whole.
//! Must never touch the log itself.

use cofferdam_types::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

/// `Content-Range` of one `PATCH /jobs/:id/trace`: `first-last`, with `/total` from older runners.
///
/// The last number is, as stock runners send it, that of the last byte (inclusive). An empty piece,
/// which serves as a sign of life, has a last number one before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Position of the first byte in the log.
    pub first: u64,
    /// Position of the last byte, inclusive.
    pub last: u64,
    /// The log's length so far, when the runner says it.
    pub total: Option<u64>,
}

impl ContentRange {
    /// The range of `len` bytes from `first` on.
    ///
    /// Saturates at zero for an empty piece at the very beginning, which the form cannot express.
    pub fn of(first: u64, len: u64) -> ContentRange {
        ContentRange { first, last: (first.saturating_add(len)).saturating_sub(1), total: None }
    }
}

impl FromStr for ContentRange {
    type Err = Error;

    /// Reads `first-last` or `first-last/total`.
    ///
    /// # Errors
    /// `Invalid` when the text is anything else, or the last number is more than one before the first.
    fn from_str(text: &str) -> Result<ContentRange> {
        let wrong = || {
            Error::new(
                ErrorKind::Invalid,
                "content-range",
                format!("Content-Range {text:?} is not `<first>-<last>`"),
            )
            .hint("send the positions of the first and the last byte, for example `0-1023`")
        };
        let (range, total) = match text.trim().split_once('/') {
            Some((range, total)) => (range, Some(number(total).ok_or_else(wrong)?)),
            None => (text.trim(), None),
        };
        let (first, last) = range.split_once('-').ok_or_else(wrong)?;
        let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
        if last.checked_add(1).is_none_or(|end| end < first) {
            return Err(wrong());
        }
        Ok(ContentRange { first, last, total })
    }
}

/// Digits only: `u64::from_str` would take a `+`.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.first, self.last)?;
        self.total.map_or(Ok(()), |total| write!(out, "/{total}"))
    }
}

/// The log checksum's text form, from a CRC-32 (IEEE) over the whole log.
pub fn checksum(crc32: u32) -> String {
    format!("crc32:{crc32:08x}")
}
