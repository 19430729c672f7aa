//! The door to bytes: the only way a format stores or reads a blob.

use std::{fs::File, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_types::{Digests, Error, Result, Sha256};
use futures::StreamExt as _;

use crate::ByteStream;

/// Storage of bytes by digest, as a format sees it. What is put is visible to nobody before a commit that names it, and is
/// durable before that commit is.
#[async_trait]
pub trait Door: Send + Sync {
    /// Stores a stream and returns every digest of it. `limit` bytes at the most.
    ///
    /// # Errors
    /// `TooLarge` past the limit, the stream's own error, `NoSpace`; nothing is kept then.
    async fn put(&self, body: ByteStream, limit: u64) -> Result<Digests>;

    /// The digests of a stored blob.
    ///
    /// # Errors
    /// `NotFound` when there is no such blob.
    async fn digests(&self, sha256: &Sha256) -> Result<Digests>;

    /// A stored blob as an open, seekable, read-only file, for inspection in a blocking task.
    ///
    /// # Errors
    /// `NotFound` when there is no such blob.
    async fn file(&self, sha256: &Sha256) -> Result<File>;
}

/// Conveniences over any [`Door`].
#[async_trait]
pub trait DoorExt: Door {
    /// Stores bytes that are already in memory (metadata, small documents).
    async fn put_bytes(&self, bytes: Bytes) -> Result<Digests> {
        let size = bytes.len() as u64;
        self.put(futures::stream::once(async move { Ok(bytes) }).boxed(), size).await
    }

    /// Runs a blocking inspection over a stored blob, away from the async runtime.
    async fn inspect<T, F>(&self, sha256: &Sha256, inspect: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(File) -> Result<T> + Send + 'static,
    {
        let file = self.file(sha256).await?;
        tokio::task::spawn_blocking(move || inspect(file))
            .await
            .map_err(|error| Error::internal("an inspection panicked", error))?
    }

    /// Reads a small blob whole; `limit` bytes at the most.
    async fn read(&self, sha256: &Sha256, limit: u64) -> Result<Bytes> {
        self.inspect(sha256, move |file| {
            use std::io::Read as _;
            let mut bytes = Vec::new();
            file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| Error::io("reading a blob", e))?;
            if bytes.len() as u64 > limit {
                return Err(Error::new(
                    cofferdam_types::ErrorKind::TooLarge,
                    "blob-too-large",
                    format!("a document of more than {limit} bytes cannot be read whole"),
                ));
            }
            Ok(Bytes::from(bytes))
        })
        .await
    }
}

impl<T: Door + ?Sized> DoorExt for T {}

#[async_trait]
impl<T: Door + ?Sized> Door for Arc<T> {
    async fn put(&self, body: ByteStream, limit: u64) -> Result<Digests> {
        (**self).put(body, limit).await
    }

    async fn digests(&self, sha256: &Sha256) -> Result<Digests> {
        (**self).digests(sha256).await
    }

    async fn file(&self, sha256: &Sha256) -> Result<File> {
        (**self).file(sha256).await
    }
}
