//! Pipelines: made from a commit, settled whenever one of their jobs changes.

use cofferdam_audit::Entry;
use cofferdam_store::{JobRow, JobStep, NewJob, NewPipeline, PipelineRow, ProjectRow, Tx};
use cofferdam_types::{Error, JobId, PipelineId, ProjectId, Result};
use serde_json::json;

use crate::{
    Forge, machine,
    planning::{Planned, Wanted},
    words,
};

impl Forge {
    /// Makes a pipeline for the tip of a branch or tag, when somebody asks for one.
    ///
    /// # Errors
    /// `NotFound` when there is no such reference; `Invalid` when its commit has no pipeline file, or
    /// the file's rules leave no job.
    pub async fn run_pipeline(
        &self,
        project: &ProjectRow,
        name: &str,
        source: &str,
        actor: &str,
    ) -> Result<PipelineRow> {
        let (git_ref, sha) = self.find_ref(project, name).await?;
        let wanted =
            Wanted { project, git_ref: &git_ref, sha: &sha, before: crate::planning::ZERO, source, actor };
        let nothing = || {
            Error::invalid("no-pipeline", format!("`{name}` of {} makes no pipeline", project.path())).hint(
                format!("it needs a {} whose rules leave at least one job", crate::planning::PIPELINE_FILE),
            )
        };
        let planned = self.plan(&wanted).await?.ok_or_else(nothing)?;
        let mut tx = self.db().write().await?;
        let row = self.insert(&mut tx, &wanted, &planned).await?;
        self.finish(tx, &[]).await?;
        self.keep_commit(&row).await?;
        Ok(row)
    }

    /// Writes a pipeline and its jobs in the caller's transaction.
    pub(crate) async fn insert(
        &self,
        tx: &mut Tx,
        wanted: &Wanted<'_>,
        planned: &Planned,
    ) -> Result<PipelineRow> {
        let now = self.now();
        let new = NewPipeline {
            project: wanted.project.id,
            git_ref: wanted.git_ref,
            sha: wanted.sha,
            before_sha: wanted.before,
            source: wanted.source,
            state: if planned.error.is_empty() { "created" } else { words::FAILED },
            error: &planned.error,
            actor: wanted.actor,
        };
        let mut row = tx.forge().insert_pipeline(&new, now).await?;
        for (position, job) in planned.jobs.iter().enumerate() {
            let plan = serde_json::to_string(job).map_err(|e| Error::internal("a job's plan", e))?;
            let new = NewJob {
                pipeline: row.id,
                project: row.project,
                name: &job.name,
                stage: &job.stage,
                position: u32::try_from(position).unwrap_or(u32::MAX),
                state: "created",
                plan: &plan,
                tags: &job.tags,
                timeout: machine::timeout(job),
                attempt: 1,
            };
            tx.forge().insert_job(&new, now).await?;
        }
        let entry = Entry {
            at: now,
            actor: wanted.actor.into(),
            action: "pipeline.create".into(),
            target: format!("pipeline:{}", row.id),
            detail: json!({ "project": wanted.project.path(), "ref": wanted.git_ref, "sha": wanted.sha,
                "source": wanted.source, "jobs": planned.jobs.len(), "error": planned.error }),
        };
        cofferdam_audit::append(tx, &entry).await?;
        if planned.error.is_empty() {
            row = self.settle(tx, row.id).await?;
        } else {
            row.finished = Some(now);
            tx.forge().set_pipeline(&row).await?;
        }
        Ok(row)
    }

    /// Works out what follows from the states of a pipeline's jobs, until nothing does. The caller
    /// holds the pipeline's lock (or has just inserted it).
    pub(crate) async fn settle(&self, tx: &mut Tx, id: PipelineId) -> Result<PipelineRow> {
        let now = self.now();
        let mut row = tx.forge().pipeline(id).await?.ok_or_else(|| missing(id))?;
        let mut jobs: Vec<JobRow> = tx.forge().jobs(id).await?;
        jobs.retain(|job| !job.superseded);
        let outcome = machine::advance(&jobs)?;
        for (job, state) in &outcome.moves {
            let step = JobStep {
                state,
                queued: (*state == words::PENDING).then_some(now),
                finished: words::ended(state).then_some(now),
                ..JobStep::default()
            };
            tx.forge().step(*job, &step).await?;
        }
        row.state = outcome.state;
        row.finished = words::ended(&row.state).then_some(now);
        tx.forge().set_pipeline(&row).await?;
        Ok(row)
    }

    /// A pipeline and every try of its jobs, in the plan's order.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn pipeline(&self, id: PipelineId) -> Result<(PipelineRow, Vec<JobRow>)> {
        let mut tx = self.db().read().await?;
        let row = tx.forge().pipeline(id).await?.ok_or_else(|| missing(id))?;
        Ok((row, tx.forge().jobs(id).await?))
    }

    /// A page of a project's pipelines, newest first, with ids below `before`.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn pipelines(&self, project: ProjectId, before: i64, limit: usize) -> Result<Vec<PipelineRow>> {
        self.db().read().await?.forge().pipelines(project, before, limit).await
    }

    /// Cancels every job of a pipeline that has not ended.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when all have ended.
    pub async fn cancel_pipeline(&self, id: PipelineId, actor: &str) -> Result<PipelineRow> {
        let mut tx = self.db().write().await?;
        tx.forge().pipeline(id).await?.ok_or_else(|| missing(id))?;
        tx.forge().lock_pipeline(id).await?;
        let mut jobs = tx.forge().jobs(id).await?;
        jobs.retain(|job| !job.superseded && !words::ended(&job.state));
        if jobs.is_empty() {
            return Err(Error::conflict("pipeline-ended", format!("pipeline {id} has ended already")));
        }
        for job in &jobs {
            self.cancel_in(&mut tx, job, actor).await?;
        }
        let row = self.settle(&mut tx, id).await?;
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        self.finish(tx, &ids).await?;
        Ok(row)
    }
}

pub(crate) fn missing(id: PipelineId) -> Error {
    Error::not_found(format!("there is no pipeline {id}"))
}
