//! Rows to the pure state machine of `pipeline`, and its answer back. No rule of its own.

use cofferdam_pipeline::{JobState, Outcome, PlannedJob, Status};
use cofferdam_store::JobRow;
use cofferdam_types::{Error, JobId, Result};

/// Seconds that a job may run when its file says nothing.
const TIMEOUT: u64 = 3600;

/// What follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Following {
    /// Jobs that move, with their new states.
    pub moves: Vec<(JobId, &'static str)>,
    /// The pipeline's state then.
    pub state: String,
}

/// Seconds that a planned job may run.
pub(crate) fn timeout(plan: &PlannedJob) -> u64 {
    plan.timeout.unwrap_or(TIMEOUT)
}

/// What was planned for a job's row.
pub(crate) fn plan_of(row: &JobRow) -> Result<PlannedJob> {
    serde_json::from_str(&row.plan).map_err(|e| Error::internal(format!("the plan of job {}", row.id), e))
}

/// Whether a failed try is to be followed by another one.
pub(crate) fn retries(row: &JobRow, reason: &str, exit_code: Option<i64>) -> Result<bool> {
    let mut state = state(row)?;
    let failed = Outcome::Failed { exit_code, reason: reason.to_owned() };
    Ok(cofferdam_pipeline::finish(&mut state, &failed) == Some(Status::Pending))
}

/// Moves every job whose turn it is. `jobs` are the newest tries.
pub(crate) fn advance(jobs: &[JobRow]) -> Result<Following> {
    let mut states = jobs.iter().map(state).collect::<Result<Vec<_>>>()?;
    let moves = cofferdam_pipeline::advance(&mut states);
    let moves = moves.iter().map(|moved| (jobs[moved.job].id, word(moved.to))).collect();
    Ok(Following { moves, state: word(cofferdam_pipeline::pipeline_status(&states)).to_owned() })
}

fn state(row: &JobRow) -> Result<JobState> {
    let plan = plan_of(row)?;
    let status = status(&row.state)?;
    Ok(JobState {
        name: plan.name,
        stage_index: plan.stage_index,
        needs: plan.needs,
        when: plan.when,
        allow_failure: plan.allow_failure,
        status,
        attempts: if status.is_ended() { row.attempt } else { row.attempt.saturating_sub(1) },
        retry: plan.retry,
        exit_code: row.exit_code,
    })
}

fn status(word: &str) -> Result<Status> {
    serde_json::from_value(word.into()).map_err(|e| Error::internal(format!("the job state `{word}`"), e))
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Pending => "pending",
        Status::Running => "running",
        Status::Success => "success",
        Status::Failed => "failed",
        Status::Canceled => "canceled",
        Status::Skipped => "skipped",
        Status::Manual => "manual",
    }
}
