//! What runners and people do to jobs: end, cancel, retry, play.
//!
//! Every change takes the pipeline's lock first, moves one job, and then lets [`settle`] work out
//! what follows for the others, all in one transaction.
//!
//! [`settle`]: Forge::settle

use cofferdam_audit::Entry;
use cofferdam_store::{JobRow, JobStep, NewJob, Tx};
use cofferdam_types::{Error, JobId, Result, Timestamp};
use serde_json::{Value, json};

use crate::{Forge, logs::job_row, machine, words};

/// What a runner says about its job.
#[derive(Clone, Debug, Default)]
pub struct JobEnd {
    /// `running` or `pending` (it is alive), `success` or `failed`.
    pub state: String,
    /// Why it failed, in GitLab's words.
    pub failure_reason: Option<String>,
    /// What the script exited with.
    pub exit_code: Option<i64>,
    /// CRC-32 of the whole log, when the runner says it.
    pub log_crc: Option<u32>,
    /// Length of the whole log, when the runner says it.
    pub log_size: Option<u64>,
}

/// The answer to a runner's word about its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    /// Noted; the job's state now.
    Done(String),
    /// The log that is stored is not the one that the runner wrote. It was dropped: send it again
    /// from its beginning.
    LogDiffers(String),
}

impl Forge {
    /// A job.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn job(&self, id: JobId) -> Result<JobRow> {
        job_row(&mut self.db().read().await?, id).await
    }

    /// Takes a runner's word about its job. The end of a job, the state of its dependents and of the
    /// pipeline, its provenance and the end of its token are one transaction.
    ///
    /// # Errors
    /// `Invalid` for a state that runners do not report; `Forbidden` when the job is not running any
    /// more, which tells the runner to stop.
    pub async fn update_job(&self, id: JobId, end: &JobEnd) -> Result<Updated> {
        let failed = match end.state.as_str() {
            words::RUNNING | words::PENDING => return self.alive(id).await,
            words::SUCCESS => None,
            words::FAILED => Some(end.failure_reason.as_deref().unwrap_or("script_failure")),
            other => {
                return Err(Error::invalid(
                    "job-state",
                    format!("`{other}` is no state that a runner reports"),
                )
                .hint("states are running, success and failed"));
            }
        };
        let mut tx = self.db().write().await?;
        let row = self.locked(&mut tx, id).await?;
        if !words::accepts_log(&row.state) {
            return Err(not_running(&row));
        }
        let (size, crc) = tx.forge().lock_log(id, self.now()).await?;
        if end.log_size.is_some_and(|s| s != size) || end.log_crc.is_some_and(|c| c != crc) {
            tx.forge().clear_log(id).await?;
            tx.commit().await?;
            return Ok(Updated::LogDiffers(row.state));
        }
        let actor = row.runner.map_or_else(|| "system".to_owned(), |runner| format!("runner:{runner}"));
        let state = self.end(&mut tx, &row, failed, end.exit_code, &actor).await?;
        self.finish(tx, &[id]).await?;
        Ok(Updated::Done(state))
    }

    async fn alive(&self, id: JobId) -> Result<Updated> {
        let mut tx = self.db().write().await?;
        let row = job_row(&mut tx, id).await?;
        if !words::accepts_log(&row.state) {
            return Err(not_running(&row));
        }
        tx.forge().heard(id, self.now()).await?;
        tx.commit().await?;
        Ok(Updated::Done(row.state))
    }

    /// Ends a running job. `failed` is the reason, or `None` for success.
    pub(crate) async fn end(
        &self,
        tx: &mut Tx,
        row: &JobRow,
        failed: Option<&str>,
        exit_code: Option<i64>,
        actor: &str,
    ) -> Result<String> {
        let now = self.now();
        let state = match failed {
            // A job that somebody cancelled has not succeeded, whatever its script made of it.
            _ if row.state == "canceling" => words::CANCELED,
            Some(_) => words::FAILED,
            None => words::SUCCESS,
        };
        let step = JobStep { state, failure_reason: failed, exit_code, queued: None, finished: Some(now) };
        tx.forge().step(row.id, &step).await?;
        tx.access().revoke_job_tokens(row.id, now).await?;
        let provenance = if state == words::SUCCESS { self.attest(tx, row, now).await? } else { None };
        let detail =
            json!({ "state": state, "reason": failed, "exit_code": exit_code, "provenance": provenance });
        note(tx, now, actor, "job.end", row.id, detail).await?;
        if state == words::FAILED && machine::retries(row, failed.unwrap_or_default(), exit_code)? {
            self.try_again(tx, row, now).await?;
        }
        self.settle(tx, row.pipeline).await?;
        Ok(state.to_owned())
    }

    /// Puts a new try of a job in the place of an old one.
    async fn try_again(&self, tx: &mut Tx, row: &JobRow, now: Timestamp) -> Result<JobId> {
        tx.forge().supersede(row.id).await?;
        let new = NewJob {
            pipeline: row.pipeline,
            project: row.project,
            name: &row.name,
            stage: &row.stage,
            position: row.position,
            state: words::PENDING,
            plan: &row.plan,
            tags: &row.tags,
            timeout: row.timeout,
            attempt: row.attempt + 1,
        };
        tx.forge().insert_job(&new, now).await
    }

    /// Cancels a job that has not ended. One that runs is told at its next word, and its token ends now.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it has ended already.
    pub async fn cancel_job(&self, id: JobId, actor: &str) -> Result<JobRow> {
        let mut tx = self.db().write().await?;
        let row = self.locked(&mut tx, id).await?;
        if words::ended(&row.state) {
            return Err(Error::conflict("job-ended", format!("job {id} has ended already: {}", row.state)));
        }
        self.cancel_in(&mut tx, &row, actor).await?;
        self.settle(&mut tx, row.pipeline).await?;
        let row = job_row(&mut tx, id).await?;
        self.finish(tx, &[id]).await?;
        Ok(row)
    }

    pub(crate) async fn cancel_in(&self, tx: &mut Tx, row: &JobRow, actor: &str) -> Result<()> {
        let now = self.now();
        let step = JobStep { state: words::CANCELED, finished: Some(now), ..JobStep::default() };
        tx.forge().step(row.id, &step).await?;
        tx.access().revoke_job_tokens(row.id, now).await?;
        note(tx, now, actor, "job.cancel", row.id, json!({ "was": row.state })).await
    }

    /// Runs a job again that has ended: a new try with the same plan.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it has not ended, or has a newer try already.
    pub async fn retry_job(&self, id: JobId, actor: &str) -> Result<JobRow> {
        let mut tx = self.db().write().await?;
        let row = self.locked(&mut tx, id).await?;
        if !words::ended(&row.state) || row.superseded || row.state == "skipped" {
            return Err(Error::conflict(
                "job-not-ended",
                format!("job {id} cannot be run again: it is {}", row.state),
            )
            .hint("only the newest try of a job that has ended can be"));
        }
        let now = self.now();
        let new = self.try_again(&mut tx, &row, now).await?;
        note(&mut tx, now, actor, "job.retry", id, json!({ "new": new })).await?;
        self.unskip(&mut tx, row.pipeline).await?;
        self.settle(&mut tx, row.pipeline).await?;
        let row = job_row(&mut tx, new).await?;
        self.finish(tx, &[id, new]).await?;
        Ok(row)
    }

    /// Jobs that were skipped because another failed get their chance again when that one is retried.
    async fn unskip(&self, tx: &mut Tx, pipeline: cofferdam_types::PipelineId) -> Result<()> {
        for job in tx.forge().jobs(pipeline).await? {
            if job.state == "skipped" && !job.superseded {
                tx.forge().step(job.id, &JobStep { state: "created", ..JobStep::default() }).await?;
            }
        }
        Ok(())
    }

    /// Starts a manual job.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it does not wait for anybody.
    pub async fn play_job(&self, id: JobId, actor: &str) -> Result<JobRow> {
        let now = self.now();
        let mut tx = self.db().write().await?;
        let row = self.locked(&mut tx, id).await?;
        if row.state != "manual" {
            return Err(Error::conflict(
                "job-not-manual",
                format!("job {id} does not wait for anybody: it is {}", row.state),
            ));
        }
        tx.forge()
            .step(id, &JobStep { state: words::PENDING, queued: Some(now), ..JobStep::default() })
            .await?;
        note(&mut tx, now, actor, "job.play", id, json!({})).await?;
        self.settle(&mut tx, row.pipeline).await?;
        let row = job_row(&mut tx, id).await?;
        self.finish(tx, &[id]).await?;
        Ok(row)
    }

    /// Ends every job whose runner has been silent since `silent_since`, or that is past its time.
    /// The site calls this now and then; retries follow the job's own `retry`.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn sweep(&self, silent_since: Timestamp) -> Result<usize> {
        let lost = self.db().read().await?.forge().lost(silent_since, self.now(), 100).await?;
        for id in &lost {
            let mut tx = self.db().write().await?;
            let row = self.locked(&mut tx, *id).await?;
            let silent = row.heard.is_none_or(|at| at < silent_since);
            if row.state != words::RUNNING {
                continue;
            }
            let reason = if silent { "runner_system_failure" } else { "job_execution_timeout" };
            self.end(&mut tx, &row, Some(reason), None, "system").await?;
            self.finish(tx, &[*id]).await?;
        }
        Ok(lost.len())
    }

    /// A job's row under its pipeline's lock.
    async fn locked(&self, tx: &mut Tx, id: JobId) -> Result<JobRow> {
        let row = job_row(tx, id).await?;
        tx.forge().lock_pipeline(row.pipeline).await?;
        job_row(tx, id).await
    }

    /// Commits, and wakes whoever waits for what has changed.
    pub(crate) async fn finish(&self, tx: Tx, jobs: &[JobId]) -> Result<()> {
        tx.commit().await?;
        for job in jobs {
            self.bells().ring_job(*job);
        }
        self.bells().ring_queue();
        Ok(())
    }
}

fn not_running(row: &JobRow) -> Error {
    Error::forbidden("job-not-running", format!("job {} is {}, not running", row.id, row.state))
}

async fn note(
    tx: &mut Tx,
    at: Timestamp,
    actor: &str,
    action: &str,
    job: JobId,
    detail: Value,
) -> Result<()> {
    let entry =
        Entry { at, actor: actor.into(), action: action.into(), target: format!("job:{job}"), detail };
    cofferdam_audit::append(tx, &entry).await.map(drop)
}
