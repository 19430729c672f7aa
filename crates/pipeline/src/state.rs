//! The state machine of a pipeline's jobs: what may start now and how the pipeline stands.
//! Must never look at a clock or a queue: the caller applies transitions and reports ends.

use crate::plan::{AllowFailure, Need, Retry, When};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for other jobs.
    Created,
    /// Waits for a runner.
    Pending,
    /// Runs.
    Running,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
    /// Was stopped.
    Canceled,
    /// Will not run.
    Skipped,
    /// Waits for somebody to start it.
    Manual,
}

/// How a pipeline stands; the words are those of its jobs.
pub type PipelineStatus = Status;

/// What the machine knows of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    /// Name, unique in the pipeline.
    pub name: String,
    /// Position of its stage.
    pub stage_index: usize,
    /// Jobs waited for; `None` for all of the earlier stages.
    pub needs: Option<Vec<Need>>,
    /// When it runs.
    pub when: When,
    /// Does its failure stop the pipeline?
    pub allow_failure: AllowFailure,
    /// Where it is.
    pub status: Status,
    /// Attempts that ended.
    pub attempts: u32,
    /// Second attempts.
    pub retry: Retry,
    /// Exit code of the last failure, if any.
    pub exit_code: Option<i64>,
}

/// A job that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Position in the slice.
    pub job: usize,
    /// What it was.
    pub from: Status,
    /// What it is now.
    pub to: Status,
}

/// How a running job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// Badly.
    Failed {
        /// Exit code of the script, where there is one.
        exit_code: Option<i64>,
        /// Failure reason by its protocol name.
        reason: String,
    },
    /// It was stopped.
    Canceled,
}

impl Status {
    /// Will it change no more by itself?
    pub fn is_ended(self) -> bool {
        matches!(self, Status::Success | Status::Failed | Status::Canceled | Status::Skipped)
    }
}

impl JobState {
    fn failure_allowed(&self) -> bool {
        match &self.allow_failure {
            AllowFailure::Always(allowed) => *allowed,
            AllowFailure::ExitCodes(codes) => self.exit_code.is_some_and(|code| codes.contains(&code)),
        }
    }

    /// A manual job that may fail does not hold up others.
    fn blocks(&self) -> bool {
        match self.status {
            Status::Manual => !self.failure_allowed(),
            status => !status.is_ended(),
        }
    }

    /// Has it gone wrong in a way that counts for those after it?
    fn bad(&self, of_a_need: bool) -> bool {
        match self.status {
            Status::Failed => !self.failure_allowed(),
            Status::Canceled => true,
            // A needed job that never ran cannot have made what is needed; a stage merely goes on.
            Status::Skipped => of_a_need,
            Status::Manual => of_a_need && self.failure_allowed(),
            _ => false,
        }
    }
}

/// Moves every created job whose time has come, and says which. Called again it says nothing.
pub fn advance(jobs: &mut [JobState]) -> Vec<Transition> {
    let names: HashMap<String, usize> =
        jobs.iter().enumerate().map(|(i, job)| (job.name.clone(), i)).collect();
    let mut moved = Vec::new();
    loop {
        let before = moved.len();
        for job in 0..jobs.len() {
            if jobs[job].status == Status::Created
                && let Some(to) = decide(jobs, job, &names)
            {
                moved.push(Transition { job, from: Status::Created, to });
                jobs[job].status = to;
            }
        }
        if moved.len() == before {
            return moved;
        }
    }
}

fn decide(jobs: &[JobState], job: usize, names: &HashMap<String, usize>) -> Option<Status> {
    let this = &jobs[job];
    let mut missing = false;
    let by_needs = this.needs.is_some();
    let before: Vec<&JobState> = match &this.needs {
        Some(needs) => needs
            .iter()
            .filter_map(|need| {
                let found = names.get(&need.job).map(|index| &jobs[*index]);
                missing |= found.is_none() && !need.optional;
                found
            })
            .collect(),
        None => jobs.iter().filter(|other| other.stage_index < this.stage_index).collect(),
    };
    if before.iter().any(|other| other.blocks()) {
        return None;
    }
    let bad = missing || before.iter().any(|other| other.bad(by_needs));
    Some(match (this.when, bad) {
        (When::OnSuccess, false) | (When::OnFailure, true) | (When::Always, _) => Status::Pending,
        (When::Manual, false) => Status::Manual,
        _ => Status::Skipped,
    })
}

/// Ends a pending or running job; a failed one becomes pending again while it has attempts left.
///
/// A job in any other state is left alone and `None` is the answer, so a late report cannot undo an end.
pub fn finish(job: &mut JobState, outcome: &Outcome) -> Option<Status> {
    if !matches!(job.status, Status::Pending | Status::Running) {
        return None;
    }
    job.attempts += 1;
    job.exit_code = None;
    job.status = match outcome {
        Outcome::Success => Status::Success,
        Outcome::Canceled => Status::Canceled,
        Outcome::Failed { exit_code, reason } => {
            job.exit_code = *exit_code;
            if again(&job.retry, job.attempts, *exit_code, reason) { Status::Pending } else { Status::Failed }
        }
    };
    Some(job.status)
}

fn again(retry: &Retry, attempts: u32, exit_code: Option<i64>, reason: &str) -> bool {
    let any = retry.when.is_empty() && retry.exit_codes.is_empty();
    let by_reason = retry.when.iter().any(|when| when == "always" || when == reason);
    let by_code = exit_code.is_some_and(|code| retry.exit_codes.contains(&code));
    attempts <= retry.max && (any || by_reason || by_code)
}

/// How the pipeline stands, from all its jobs.
pub fn pipeline_status(jobs: &[JobState]) -> PipelineStatus {
    let has = |status| jobs.iter().any(|job| job.status == status);
    let blocked = jobs.iter().any(|job| job.status == Status::Manual && job.blocks());
    if has(Status::Running) {
        Status::Running
    } else if has(Status::Pending) {
        if jobs.iter().any(|job| job.attempts > 0) { Status::Running } else { Status::Pending }
    } else if blocked {
        Status::Manual
    } else if has(Status::Created) {
        if jobs.iter().all(|job| job.status == Status::Created) { Status::Created } else { Status::Running }
    } else if jobs.iter().any(|job| job.status == Status::Failed && !job.failure_allowed()) {
        Status::Failed
    } else if has(Status::Canceled) {
        Status::Canceled
    } else if !jobs.is_empty()
        && jobs.iter().all(|job| matches!(job.status, Status::Skipped | Status::Manual))
    {
        Status::Skipped
    } else {
        Status::Success
    }
}
