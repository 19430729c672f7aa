//! Job logs: appended by offset, so that a runner may send a piece twice and nothing is there twice.
//!
//! The checksum at the end is compared with what was stored: a log is complete, or it is sent again.

use bytes::Bytes;
use cofferdam_store::{JobRow, Tx};
use cofferdam_types::{Error, JobId, Result};
use futures::{Stream, stream};
use tokio::sync::watch;

use crate::{Forge, words};

/// One PATCH may hold at most this many bytes. Runners send at most 1 MiB.
pub const MAX_LOG_PIECE: usize = 4 << 20;
/// A log may be at most this long, in bytes.
pub const MAX_LOG: u64 = 128 << 20;
/// Rows read at once for somebody who reads a log.
const ROWS: usize = 16;

/// How a log stands after a piece of it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Whether the piece fitted; when not, the runner goes on from `size`.
    pub accepted: bool,
    /// Bytes that are stored.
    pub size: u64,
    /// The job's state, which may tell the runner to stop.
    pub job_state: String,
    /// Whether somebody is reading along.
    pub watched: bool,
}

impl Forge {
    /// Appends a piece that begins at offset `first`. An empty piece says that the runner is alive.
    ///
    /// # Errors
    /// `Forbidden` when the job is not running (its runner stops then) or the log is too long;
    /// `TooLarge` for a piece over [`MAX_LOG_PIECE`].
    pub async fn append_log(&self, job: JobId, first: u64, body: Bytes) -> Result<LogState> {
        if body.len() > MAX_LOG_PIECE {
            return Err(Error::new(
                cofferdam_types::ErrorKind::TooLarge,
                "log-piece-too-large",
                format!("a piece of a log has {} bytes; the limit is {MAX_LOG_PIECE}", body.len()),
            ));
        }
        let now = self.now();
        let mut tx = self.db().write().await?;
        let row = job_row(&mut tx, job).await?;
        if !words::accepts_log(&row.state) {
            return Err(Error::forbidden(
                "job-not-running",
                format!("job {job} is {}, not running", row.state),
            ));
        }
        let (size, crc) = tx.forge().lock_log(job, now).await?;
        let after = size + body.len() as u64;
        if after > MAX_LOG {
            return Err(Error::forbidden(
                "log-too-long",
                format!("the log of job {job} is over {MAX_LOG} bytes"),
            )
            .hint("write less to standard output; keep large texts as artifacts"));
        }
        let accepted = first == size;
        if accepted && !body.is_empty() {
            let mut hasher = crc32fast::Hasher::new_with_initial_len(crc, size);
            hasher.update(&body);
            tx.forge().append_log(job, size, &body, hasher.finalize()).await?;
        }
        tx.commit().await?;
        if accepted && !body.is_empty() {
            self.bells().ring_job(job);
        }
        let size = if accepted { after } else { size };
        Ok(LogState { accepted, size, job_state: row.state, watched: self.bells().watched(job) })
    }

    /// What there is of a log from `offset` on, at most about 1 MiB.
    ///
    /// # Errors
    /// `NotFound` when there is no such job.
    pub async fn read_log(&self, job: JobId, offset: u64) -> Result<Bytes> {
        let mut tx = self.db().read().await?;
        job_row(&mut tx, job).await?;
        pieces(&mut tx, job, offset).await
    }

    /// A log from `offset` on as it grows; ends when the job has ended and everything was given.
    pub fn tail(&self, job: JobId, offset: u64) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let tail = Tail { bell: self.bells().job(job), forge: self.clone(), job, offset };
        stream::try_unfold(tail, |mut tail| async move { Ok(tail.next().await?.map(|bytes| (bytes, tail))) })
    }
}

struct Tail {
    forge: Forge,
    job: JobId,
    offset: u64,
    bell: watch::Receiver<()>,
}

impl Tail {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            self.bell.borrow_and_update();
            let mut tx = self.forge.db().read().await?;
            let row = job_row(&mut tx, self.job).await?;
            let bytes = pieces(&mut tx, self.job, self.offset).await?;
            drop(tx);
            if !bytes.is_empty() {
                self.offset += bytes.len() as u64;
                return Ok(Some(bytes));
            }
            if words::ended(&row.state) || self.bell.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}

async fn pieces(tx: &mut Tx, job: JobId, offset: u64) -> Result<Bytes> {
    let mut out = Vec::new();
    for (first, body) in tx.forge().log(job, offset, ROWS).await? {
        let skip = usize::try_from(offset.saturating_sub(first)).unwrap_or(usize::MAX);
        out.extend_from_slice(body.get(skip..).unwrap_or_default());
    }
    Ok(out.into())
}

pub(crate) async fn job_row(tx: &mut Tx, id: JobId) -> Result<JobRow> {
    let row = tx.forge().job(id).await?;
    row.ok_or_else(|| Error::not_found(format!("there is no job {id}")))
}
