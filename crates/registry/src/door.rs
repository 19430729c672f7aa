//! The door to bytes that formats get: blobs, and the digests that the database remembers of them.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use cofferdam_blobs::{Blobs, Staged};
use cofferdam_format_kit::{ByteStream, Door};
use cofferdam_store::Db;
use cofferdam_types::{Clock, Digests, Error, Result, Sha256};

/// [`Door`] over the site's blobs.
#[derive(Clone)]
pub struct BlobDoor {
    db: Db,
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
}

impl BlobDoor {
    pub(crate) fn new(db: Db, blobs: Arc<dyn Blobs>, clock: Arc<dyn Clock>) -> Self {
        Self { db, blobs, clock }
    }
}

#[async_trait]
impl Door for BlobDoor {
    async fn put(&self, body: ByteStream, limit: u64) -> Result<Digests> {
        let digests = self.blobs.put(body, limit).await?;
        // What is known needs no turn at the one write lock; admission puts every wheel's metadata again.
        if self.db.read().await?.registry().blob(&digests.sha256).await?.is_some() {
            return Ok(digests);
        }
        // Whatever names the blob is committed after this.
        let mut tx = self.db.write_behind().await?;
        tx.registry().put_blobs([&digests], self.clock.now()).await?;
        tx.commit().await?;
        Ok(digests)
    }

    async fn digests(&self, sha256: &Sha256) -> Result<Digests> {
        let found = self.db.read().await?.registry().blob(sha256).await?;
        found.ok_or_else(|| Error::not_found(format!("there is no blob {sha256}")))
    }

    async fn file(&self, sha256: &Sha256) -> Result<File> {
        self.blobs.file(sha256).await
    }
}

/// [`Door`] of one thing that is recorded: what is put is staged, and becomes durable and known with the commit that
/// names it.
pub(crate) struct StagingDoor {
    door: BlobDoor,
    staged: Mutex<Vec<Staged>>,
}

impl StagingDoor {
    pub(crate) fn new(door: BlobDoor) -> Self {
        Self { door, staged: Mutex::default() }
    }

    /// What was put, to be kept.
    pub(crate) fn into_staged(self) -> Vec<Staged> {
        self.staged.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn staged<T>(&self, with: impl FnOnce(&mut Vec<Staged>) -> T) -> T {
        with(&mut self.staged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Door for StagingDoor {
    async fn put(&self, body: ByteStream, limit: u64) -> Result<Digests> {
        let staged = self.door.blobs.stage(body, limit).await?;
        let digests = staged.digests().clone();
        self.staged(|all| all.push(staged));
        Ok(digests)
    }

    async fn digests(&self, sha256: &Sha256) -> Result<Digests> {
        let staged = |all: &mut Vec<Staged>| {
            all.iter().map(Staged::digests).find(|digests| digests.sha256 == *sha256).cloned()
        };
        match self.staged(staged) {
            Some(digests) => Ok(digests),
            None => self.door.digests(sha256).await,
        }
    }

    async fn file(&self, sha256: &Sha256) -> Result<File> {
        self.door.file(sha256).await
    }
}
