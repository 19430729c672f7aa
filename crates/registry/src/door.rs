//! The door to bytes that formats get: blobs, and the digests that the database remembers of them.

use std::{fs::File, sync::Arc};

use async_trait::async_trait;
use cofferdam_blobs::Blobs;
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
