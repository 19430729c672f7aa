//! `Content-Range` as the log protocol writes it: `first-last`, without a unit, with or without `/total`.
//!
//! This is not HTTP's own `Content-Range` and must never be parsed as if it were.

use std::fmt;
use std::str::FromStr;

/// Which bytes of the log a patch carries. Both ends are offsets of bytes from 0 and both are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Offset of the first byte.
    pub first: u64,
    /// Offset of the last byte. One less than `first` when the patch is empty (a sign of life).
    pub last: u64,
    /// Size of the whole log; only older runners write it.
    pub total: Option<u64>,
    /// Whether the range holds no byte at all (`0-0` is one byte, so emptiness needs its own mark).
    empty: bool,
}

/// A `Content-Range` that is not `first-last` or `first-last/total`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeError(String);

impl fmt::Display for RangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content-Range {:?} is not of the form first-last or first-last/total", self.0)
    }
}

impl std::error::Error for RangeError {}

impl ContentRange {
    /// The range of `length` bytes that begin at `first`. `None` when the end does not fit 64 bits.
    #[must_use]
    pub fn of(first: u64, length: u64) -> Option<Self> {
        let end = first.checked_add(length)?;
        Some(Self { first, last: end.saturating_sub(1), total: None, empty: length == 0 })
    }

    /// How many bytes the range names; 0 for a sign of life.
    #[must_use]
    pub fn length(&self) -> u64 {
        if self.empty { 0 } else { (self.last - self.first).saturating_add(1) }
    }

    /// The offset just after the last byte: how long the log is once this patch is stored.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.length())
    }

    /// Whether a patch with a body of `length` bytes fits this range. An empty body also fits `0-0`,
    /// which is how an empty log's sign of life looks on the wire.
    #[must_use]
    pub fn fits(&self, length: u64) -> bool {
        self.length() == length || (length == 0 && self.first == 0 && self.last == 0)
    }
}

impl FromStr for ContentRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let fail = || RangeError(text.chars().take(80).collect());
        let (range, total) = match text.trim().split_once('/') {
            Some((range, "*")) => (range, None),
            Some((range, total)) => (range, Some(number(total).ok_or_else(fail)?)),
            None => (text.trim(), None),
        };
        let (first, last) = range.split_once('-').ok_or_else(fail)?;
        let (first, last) = (number(first).ok_or_else(fail)?, number(last).ok_or_else(fail)?);
        let empty = last.checked_add(1) == Some(first);
        if last < first && !empty {
            return Err(fail());
        }
        Ok(Self { first, last, total, empty })
    }
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)?;
        match self.total {
            Some(total) => write!(f, "/{total}"),
            None => Ok(()),
        }
    }
}
