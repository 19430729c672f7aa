//! Content-addressed bytes on local disk.
//!
//! [`Blobs`] is the small trait that every place of storage implements; [`LocalBlobs`] is the local
//! disk. A blob's name is the SHA-256 of its bytes, so a blob never changes and the same bytes are
//! kept once. Durable means: when `put` has returned, the bytes survive kill −9 and a power cut.
//!
//! This crate must never know what a blob is for, decide who may read it, or hold one in memory.
//!
//! The life of one blob on local disk, and the step that protects it:
//!
//! 1. bytes stream into a nameless or temporary file in `tmp/`, hashed on the way;
//! 2. `fdatasync` of the file: from here on the bytes are safe, but nobody can name them;
//! 3. rename to `sha256/<ab>/<rest>`: atomic, a reader sees all of it or nothing;
//! 4. `fsync` of the folder: the name is safe too. Only now does `put` return.
//!
//! A crash before 3 leaves a file in `tmp/`, removed at the next start; a crash between 3 and 4 may
//! lose a name that nobody was told about. A row that names a blob is written after 4.
//!
//! `stage` stops after 1: such a blob can be read by its digest, and is gone with the process unless `keep` takes
//! it through the rest.

mod batch;
pub mod conformance;
mod hash;
mod local;
mod staged;
mod verify;

use std::{fs::File, io::Read, ops::Range, pin::Pin};

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_types::{Digests, Result, Sha256};
use futures::Stream;

pub use hash::MultiHasher;
pub use local::LocalBlobs;
pub use staged::Staged;

/// Bytes that arrive over time.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A place that keeps blobs.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// Stores a stream of at most `limit` bytes and returns all its digests. Durable when it returns.
    /// The same bytes again are kept once.
    ///
    /// # Errors
    /// `TooLarge` past the limit, `NoSpace` when the disk is full, the stream's own error. Nothing
    /// is kept in any of these cases.
    async fn put(&self, body: ByteStream, limit: u64) -> Result<Digests>;

    /// Takes a stream as [`Blobs::put`] does, and does not wait for the disk: the blob can be read at once, and is
    /// durable only after [`Blobs::keep`]. Dropped before, it was never there.
    ///
    /// # Errors
    /// As [`Blobs::put`].
    async fn stage(&self, body: ByteStream, limit: u64) -> Result<Staged>;

    /// Makes staged blobs durable, with few waits for all of them together.
    ///
    /// # Errors
    /// `NoSpace`, `Internal`. Some of them may be kept then; those that are, are whole.
    async fn keep(&self, staged: Vec<Staged>) -> Result<()>;

    /// The size of a blob in bytes, or `None` when it is not here.
    ///
    /// # Errors
    /// `Internal` when the storage fails; so for every method.
    async fn size(&self, sha256: &Sha256) -> Result<Option<u64>>;

    /// Streams a blob, or a range of it. A whole read is verified: the last bytes are handed out
    /// only when the digest of everything is right.
    ///
    /// # Errors
    /// `NotFound` when it is not here; the stream ends with `VerificationFailed` when the disk has
    /// changed the bytes.
    async fn read(&self, sha256: &Sha256, range: Option<Range<u64>>) -> Result<ByteStream>;

    /// A blob as an open, seekable, read-only file.
    ///
    /// # Errors
    /// `NotFound` when it is not here.
    async fn file(&self, sha256: &Sha256) -> Result<File>;

    /// Reads a blob from end to end and says whether its bytes are still right.
    ///
    /// # Errors
    /// `NotFound` when it is not here.
    async fn verify(&self, sha256: &Sha256) -> Result<bool>;

    /// Removes a blob; `false` when it was not here.
    async fn delete(&self, sha256: &Sha256) -> Result<bool>;

    /// At most `limit` digests greater than `after`, in order.
    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<Sha256>>;

    /// Starts to store many blobs that become durable together. For threads that may block.
    ///
    /// # Errors
    /// `Internal` when the storage fails.
    fn batch(&self) -> Result<Box<dyn Batch>>;
}

/// Blobs on their way in. What was not committed when it is dropped was never there.
pub trait Batch: Send {
    /// Takes a blob of which digest and size are known. It is neither durable nor visible yet.
    ///
    /// # Errors
    /// `VerificationFailed` (`blob-mismatch`) when the bytes are others, `NoSpace`, the reader's own error.
    fn put(&mut self, sha256: &Sha256, size: u64, bytes: &mut dyn Read) -> Result<Digests>;

    /// Makes everything taken so far durable, then visible.
    ///
    /// # Errors
    /// `NoSpace`, `Internal`. Blobs of the batch may be visible then; those that are, are whole.
    fn commit(&mut self) -> Result<()>;
}
