//! What jobs leave behind: a stream in, a blob kept by its digest, a row.

use std::{ops::Range, time::Duration};

use cofferdam_audit::Entry;
use cofferdam_blobs::ByteStream;
use cofferdam_store::{ArtifactRow, Tx};
use cofferdam_types::{Error, JobId, Result};
use serde_json::json;

use crate::{Forge, logs::job_row, needs, words};

/// An artifact may have at most this many bytes.
pub const MAX_ARTIFACT: u64 = 16 << 30;
/// A job may leave at most this many artifacts: its archive and its reports.
pub const MAX_ARTIFACTS: usize = 64;

/// An artifact that is coming.
#[derive(Clone, Debug)]
pub struct NewArtifact {
    /// `archive`, `junit`, … in GitLab's words.
    pub kind: String,
    /// `zip`, `gzip` or `raw`.
    pub format: String,
    /// Its file name: no folders.
    pub name: String,
    /// How long it is to be kept; `None` for ever.
    pub expire_in: Option<Duration>,
}

impl Forge {
    /// Stores an artifact of a running job. The bytes pass through untouched.
    ///
    /// # Errors
    /// `Forbidden` when the job is not running; `Invalid` for a name that is none; `TooLarge` over
    /// [`MAX_ARTIFACT`] or [`MAX_ARTIFACTS`]; what the storage says. No row is left in any of these.
    pub async fn store_artifact(
        &self,
        job: JobId,
        new: NewArtifact,
        body: ByteStream,
    ) -> Result<ArtifactRow> {
        check(&new)?;
        self.accepts_artifact(&mut self.db().read().await?, job, &new).await?;
        let digests = self.blobs().put(body, MAX_ARTIFACT).await?;
        let now = self.now();
        let mut tx = self.db().write().await?;
        self.accepts_artifact(&mut tx, job, &new).await?;
        tx.registry().put_blobs([&digests], now).await?;
        let row = ArtifactRow {
            job,
            kind: new.kind,
            format: new.format,
            name: new.name,
            sha256: digests.sha256,
            size: digests.size,
            created: now,
            expires: new.expire_in.map(|keep| now.plus(keep)),
        };
        tx.forge().put_artifact(&row).await?;
        tx.forge().heard(job, now).await?;
        let detail = json!({ "kind": row.kind, "name": row.name, "sha256": row.sha256, "size": row.size });
        let entry = Entry {
            at: now,
            actor: format!("job:{job}"),
            action: "artifact.store".into(),
            target: format!("job:{job}"),
            detail,
        };
        cofferdam_audit::append(&mut tx, &entry).await?;
        tx.commit().await?;
        Ok(row)
    }

    async fn accepts_artifact(&self, tx: &mut Tx, job: JobId, new: &NewArtifact) -> Result<()> {
        let row = job_row(tx, job).await?;
        if !words::accepts_log(&row.state) {
            return Err(Error::forbidden(
                "job-not-running",
                format!("job {job} is {}, not running", row.state),
            ));
        }
        let kept = tx.forge().artifacts(job).await?;
        let again = kept.iter().any(|a| a.kind == new.kind && a.name == new.name);
        if kept.len() >= MAX_ARTIFACTS && !again {
            let text = format!("job {job} has {MAX_ARTIFACTS} artifacts already, which is the limit");
            return Err(Error::new(cofferdam_types::ErrorKind::TooLarge, "too-many-artifacts", text));
        }
        Ok(())
    }

    /// A job's artifacts.
    ///
    /// # Errors
    /// `NotFound` when there is no such job.
    pub async fn artifacts(&self, job: JobId) -> Result<Vec<ArtifactRow>> {
        let mut tx = self.db().read().await?;
        job_row(&mut tx, job).await?;
        tx.forge().artifacts(job).await
    }

    /// The archive of job `of` for the running job `asking`, which must depend on it.
    ///
    /// # Errors
    /// `Forbidden` when it does not; `NotFound` when there is no archive.
    pub async fn artifact_for_job(&self, asking: JobId, of: JobId) -> Result<ArtifactRow> {
        let mut tx = self.db().read().await?;
        let row = job_row(&mut tx, asking).await?;
        let jobs = tx.forge().jobs(row.pipeline).await?;
        if asking != of && !needs::sources(&row, &jobs)?.iter().any(|job| job.id == of) {
            let text = format!("job {asking} does not depend on job {of} and may not have its artifacts");
            return Err(Error::forbidden("no-dependency", text).hint("name it in `needs` or `dependencies`"));
        }
        archive(&mut tx, of).await
    }

    /// The archive of a job, for people.
    ///
    /// # Errors
    /// `NotFound` when there is no such job or it left no archive.
    pub async fn archive(&self, job: JobId) -> Result<ArtifactRow> {
        let mut tx = self.db().read().await?;
        job_row(&mut tx, job).await?;
        archive(&mut tx, job).await
    }

    /// Streams an artifact, or a range of it.
    ///
    /// # Errors
    /// `NotFound` when its bytes are gone.
    pub async fn open_artifact(&self, row: &ArtifactRow, range: Option<Range<u64>>) -> Result<ByteStream> {
        self.blobs().read(&row.sha256, range).await
    }
}

async fn archive(tx: &mut Tx, job: JobId) -> Result<ArtifactRow> {
    let found = tx.forge().artifacts(job).await?.into_iter().find(|a| a.kind == "archive");
    found.ok_or_else(|| Error::not_found(format!("job {job} has left no archive")))
}

fn check(new: &NewArtifact) -> Result<()> {
    let wrong = |what: &str| Error::invalid("artifact", format!("an artifact {what}"));
    let name = &new.name;
    if name.is_empty() || name.len() > 255 || name.contains(['/', '\\', '\0']) || name == ".." || name == "."
    {
        return Err(wrong("needs a file name of at most 255 bytes, without folders"));
    }
    if !matches!(new.format.as_str(), "zip" | "gzip" | "raw" | "zipzstd" | "tarzstd") {
        return Err(wrong("is of format zip, gzip, raw, zipzstd or tarzstd"));
    }
    if new.kind.is_empty()
        || new.kind.len() > 64
        || !new.kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    {
        return Err(wrong("type is a word of GitLab's, such as `archive` or `junit`"));
    }
    Ok(())
}
