//! Jobs to runners. A request is held until a job is there, and answered with the job itself.

use std::time::Duration;

use cofferdam_audit::Entry;
use cofferdam_runner_api::JobResponse;
use cofferdam_store::{JobRow, PipelineRow, RunnerRow, TokenOwner, Tx};
use cofferdam_trust::token::{self, PREFIX};
use cofferdam_types::{Error, JobId, PipelineId, Result, RunnerId, Secret};
use serde_json::json;

use crate::{Forge, logs::job_row, words};

/// Pending jobs that are looked at in one query.
const PAGE: usize = 200;

impl Forge {
    /// The next job for a runner. When there is none, waits at most `hold` for one: a push inside
    /// that time is answered at once, with no polling in between.
    ///
    /// # Errors
    /// `NotFound` when there is no such runner; `Internal` when the database fails.
    pub async fn request_job(
        &self,
        runner: RunnerId,
        info: Option<&str>,
        hold: Duration,
    ) -> Result<Option<JobResponse>> {
        let row = self.runner_contact(runner, info).await?;
        let mut bell = self.bells().queue();
        let until = tokio::time::Instant::now() + hold;
        loop {
            // First the bell, then the look: a job that comes in between rings again.
            bell.borrow_and_update();
            if row.state == "active"
                && let Some(job) = self.take_next(&row).await?
            {
                return Ok(Some(job));
            }
            match tokio::time::timeout_at(until, bell.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Ok(None),
            }
        }
    }

    async fn take_next(&self, runner: &RunnerRow) -> Result<Option<JobResponse>> {
        let mut after = JobId(0);
        loop {
            let page = self.db().read().await?.forge().pending(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(None) };
            after = last.0;
            for (job, pipeline, tags) in page.iter().filter(|(_, _, tags)| fits(runner, tags)) {
                tracing::trace!(%job, ?tags, "a job fits");
                if let Some(answer) = self.take(runner, *job, *pipeline).await? {
                    return Ok(Some(answer));
                }
            }
        }
    }

    /// Takes one job, with its token and everything that its runner needs, in one transaction.
    async fn take(
        &self,
        runner: &RunnerRow,
        job: JobId,
        pipeline: PipelineId,
    ) -> Result<Option<JobResponse>> {
        let now = self.now();
        let mut tx = self.db().write().await?;
        tx.forge().lock_pipeline(pipeline).await?;
        if !tx.forge().take(job, runner.id, now).await? {
            return Ok(None);
        }
        let row = job_row(&mut tx, job).await?;
        let pipeline = self.begun(&mut tx, pipeline).await?;
        let token = job_token(&mut tx, &row, now).await?;
        let answer = self.payload(&mut tx, &row, &pipeline, &token).await?;
        let entry = Entry {
            at: now,
            actor: format!("runner:{}", runner.id),
            action: "job.start".into(),
            target: format!("job:{job}"),
            detail: json!({ "pipeline": pipeline.id, "sha": pipeline.sha }),
        };
        cofferdam_audit::append(&mut tx, &entry).await?;
        tx.commit().await?;
        self.bells().ring_job(job);
        Ok(Some(answer))
    }

    /// A pipeline one of whose jobs has just begun.
    async fn begun(&self, tx: &mut Tx, id: PipelineId) -> Result<PipelineRow> {
        let gone = || Error::not_found(format!("there is no pipeline {id}"));
        let mut row = tx.forge().pipeline(id).await?.ok_or_else(gone)?;
        row.started = row.started.or(Some(self.now()));
        row.state = words::RUNNING.into();
        tx.forge().set_pipeline(&row).await?;
        Ok(row)
    }
}

fn fits(runner: &RunnerRow, tags: &[String]) -> bool {
    if tags.is_empty() { runner.run_untagged } else { tags.iter().all(|tag| runner.tags.contains(tag)) }
}

/// A token that is good while the job runs. It is revoked at the job's end; the time bounds what a
/// lost revocation could cost.
async fn job_token(tx: &mut Tx, job: &JobRow, now: cofferdam_types::Timestamp) -> Result<Secret<String>> {
    let secret = token::generate(PREFIX)?;
    let grace = Duration::from_secs(3600);
    let expires = now.plus(Duration::from_secs(job.timeout)).plus(grace);
    let hash = token::hash(secret.expose());
    tx.access().insert_token(&hash, "job", TokenOwner::Job(job.id), "", now, Some(expires)).await?;
    Ok(secret)
}
