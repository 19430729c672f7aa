//! Blobs of a transfer into the store: each group durable before it is remembered as done, so that a reception
//! that was killed goes on where it was.

use std::{
    io::Read,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cofferdam_blobs::{Batch, Blobs};
use cofferdam_store::Db;
use cofferdam_transfer::{BlobEntry, Group, Refusal, Sink};
use cofferdam_types::{Digests, Error, Result, Sha256, Timestamp};
use tokio::runtime::Handle;

/// Hears about stored bytes: done, total.
pub type Heard<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// Takes the blobs of one transfer in.
pub struct Ingest<'a> {
    pub blobs: &'a dyn Blobs,
    pub db: &'a Db,
    pub runtime: Handle,
    pub header: Sha256,
    pub now: Timestamp,
    pub done: AtomicU64,
    pub total: u64,
    pub heard: Heard<'a>,
    /// What belongs to the group that a thread is at.
    pub open: Mutex<Vec<(std::thread::ThreadId, Open)>>,
}

/// A group on its way in.
pub struct Open {
    batch: Box<dyn Batch>,
    taken: Vec<Digests>,
}

/// Any trouble of a reception.
pub struct Trouble(pub Error);

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.into())
    }
}

impl Ingest<'_> {
    fn take_open(&self) -> Result<Open> {
        let me = std::thread::current().id();
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match all.iter().position(|(thread, _)| *thread == me) {
            Some(at) => Ok(all.swap_remove(at).1),
            None => Ok(Open { batch: self.blobs.batch()?, taken: Vec::new() }),
        }
    }

    fn put_open(&self, open: Open) {
        let me = std::thread::current().id();
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push((me, open));
    }

    /// The rows of what was stored, and the group's mark, in one transaction.
    async fn remember(&self, first: u32, taken: &[Digests]) -> Result<()> {
        let mut tx = self.db.write().await?;
        tx.registry().put_blobs(taken, self.now).await?;
        tx.carry().stage_group(&self.header, first).await?;
        tx.commit().await
    }
}

impl Sink for Ingest<'_> {
    type Error = Trouble;

    fn blob(&self, entry: &BlobEntry, bytes: &mut dyn Read) -> std::result::Result<(), Trouble> {
        let mut open = self.take_open()?;
        let digests = open.batch.put(&entry.sha256, entry.size, bytes)?;
        open.taken.push(digests);
        self.put_open(open);
        let done = self.done.fetch_add(entry.size, Ordering::Relaxed).saturating_add(entry.size);
        (self.heard)(done.min(self.total), self.total);
        Ok(())
    }

    fn done(&self, group: &Group) -> std::result::Result<(), Trouble> {
        let mut open = self.take_open()?;
        open.batch.commit()?;
        let taken = std::mem::take(&mut open.taken);
        self.runtime.block_on(self.remember(group.first, &taken))?;
        self.put_open(open);
        Ok(())
    }
}
