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

    /// What it counts for in a status of many jobs.
    fn counts_as(&self) -> Share {
        match self.status {
            Status::Failed | Status::Canceled if self.failure_allowed() => Share::Warned,
            Status::Manual if self.failure_allowed() => Share::Ignored,
            status => Share::Plain(status),
        }
    }
}

/// What one job counts for in a status of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// Its own status.
    Plain(Status),
    /// It failed or was stopped, and may.
    Warned,
    /// It waits for somebody to start it, and nobody has to.
    Ignored,
}

/// The one status of many jobs, in the order of GitLab's rules: the first that holds is it. `Created`
/// and the states of work in progress mean that those who wait for these jobs wait on.
fn of_stages(shares: &[Share]) -> Status {
    use Share::{Ignored, Plain, Warned};
    use Status::{Canceled, Created, Manual, Pending, Running, Skipped, Success};
    let only = |known: &[Share]| shares.iter().all(|share| known.contains(share));
    let any = |status| shares.contains(&Plain(status));
    if shares.is_empty() {
        Success
    } else if only(&[Plain(Skipped), Ignored]) {
        Skipped
    } else if only(&[Plain(Success), Plain(Skipped), Warned, Ignored]) {
        Success
    } else if only(&[Plain(Created), Warned, Ignored]) {
        Created
    } else if only(&[Plain(Canceled), Plain(Success), Plain(Skipped), Warned, Ignored]) {
        Canceled
    } else if only(&[Plain(Pending), Plain(Created), Plain(Skipped), Warned, Ignored]) {
        Pending
    } else if any(Running) || any(Pending) {
        Running
    } else if any(Manual) {
        Manual
    } else if any(Created) {
        Running
    } else {
        Status::Failed
    }
}

/// The one status of needed jobs: unlike a stage, a need that never ran decides, also beside one that
/// failed, because it cannot have made what is needed.
fn of_needs(shares: &[Share]) -> Status {
    let waits = |share: &Share| matches!(share, Share::Plain(status) if !status.is_ended());
    if shares.iter().any(waits) {
        Status::Pending
    } else if shares.iter().any(|share| matches!(share, Share::Ignored | Share::Plain(Status::Skipped))) {
        Status::Skipped
    } else {
        of_stages(shares)
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
    let before = match &this.needs {
        Some(needs) => {
            // A need that is nowhere in the pipeline never ran.
            let share = |need: &Need| match names.get(&need.job) {
                Some(index) => Some(jobs[*index].counts_as()),
                None => (!need.optional).then_some(Share::Plain(Status::Skipped)),
            };
            of_needs(&needs.iter().filter_map(share).collect::<Vec<_>>())
        }
        None => {
            let earlier = jobs.iter().filter(|other| other.stage_index < this.stage_index);
            of_stages(&earlier.map(JobState::counts_as).collect::<Vec<_>>())
        }
    };
    if !before.is_ended() {
        return None;
    }
    let its_turn = match this.when {
        When::OnSuccess | When::Manual => {
            before == Status::Success || (before == Status::Skipped && this.needs.is_none())
        }
        When::OnFailure => before == Status::Failed,
        // After a stop nothing goes on, whatever it says.
        When::Always => before != Status::Canceled,
        When::Never => false,
    };
    Some(match this.when {
        _ if !its_turn => Status::Skipped,
        When::Manual => Status::Manual,
        _ => Status::Pending,
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
    of_stages(&jobs.iter().map(JobState::counts_as).collect::<Vec<_>>())
}
