//! Reading and writing at an offset, the only way this crate touches bytes that are not its own.
//!
//! Must never decide what an offset means: files and volumes are the caller's.

use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

/// Bytes that several threads read at any offset.
pub trait ReadAt: Sync {
    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// `NotFound`, `UnexpectedEof`, `InvalidData` or the system's `EIO` say that bytes of the range are lost;
    /// the range is then read in smaller parts, and what cannot be read counts as damaged. Any other error
    /// ends the operation.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()>;
}

/// A place that several threads write at any offset; the ranges never overlap.
pub trait WriteAt: Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// Any error ends the operation.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()>;
}

/// The system's number for an unreadable sector.
const EIO: i32 = 5;

/// Whether a failed read means that the bytes are lost, and not that the machine is in trouble.
pub(crate) fn is_loss(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
        || error.raw_os_error() == Some(EIO)
}

impl ReadAt for std::fs::File {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.read_exact_at(buf, offset)
    }
}

impl WriteAt for std::fs::File {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write_all_at(bytes, offset)
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).ok();
        let part = start.and_then(|start| self.get(start..start.checked_add(buf.len())?));
        buf.copy_from_slice(part.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.as_slice().read_at(offset, buf)
    }
}

/// A place in memory that grows with what is written, for small streams.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Vec<u8>>);

impl Memory {
    /// A place that holds these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(bytes))
    }

    /// All bytes up to the last one written; what was skipped is zero.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriteAt for Memory {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let start = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        let end = start.checked_add(bytes.len()).ok_or(ErrorKind::FileTooLarge)?;
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if own.len() < end {
            own.resize(end, 0);
        }
        if let Some(place) = own.get_mut(start..end) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }
}
