//! What follows for the other jobs when one has changed. Pure: rows in, moves out.

use cofferdam_store::JobRow;
use cofferdam_types::{JobId, Result};

use crate::{
    plan::{JobPlan, When},
    words,
};

/// Seconds that a job may run when its file says nothing.
const TIMEOUT: u64 = 3600;
/// More tries than this are not made, whatever the file says (as GitLab bounds it).
const MAX_RETRIES: u32 = 2;

/// What follows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Jobs that move, with their new states.
    pub moves: Vec<(JobId, &'static str)>,
    /// The pipeline's state then.
    pub state: String,
}

struct Node {
    id: JobId,
    state: String,
    tolerated: bool,
    plan: JobPlan,
}

/// Seconds that a planned job may run.
pub(crate) fn timeout(plan: &JobPlan) -> u64 {
    plan.timeout.unwrap_or(TIMEOUT)
}

/// Whether a failed try is to be followed by another one.
pub(crate) fn retries(row: &JobRow, reason: &str, exit_code: Option<i64>) -> Result<bool> {
    let plan = JobPlan::of(row)?;
    let any = plan.retry_when.is_empty() && plan.retry_exit_codes.is_empty();
    let by_reason = plan.retry_when.iter().any(|when| when == reason || when == "always");
    let by_code = exit_code.is_some_and(|code| plan.retry_exit_codes.contains(&code));
    Ok(row.attempt <= plan.retries.min(MAX_RETRIES) && (any || by_reason || by_code))
}

/// Moves every job whose turn it is. `jobs` are the newest tries.
pub(crate) fn advance(jobs: &[JobRow]) -> Result<Outcome> {
    let mut nodes = jobs.iter().map(node).collect::<Result<Vec<_>>>()?;
    let mut outcome = Outcome::default();
    // Each round moves at least one job or ends, so there are at most as many rounds as jobs.
    loop {
        let moved: Vec<(usize, &'static str)> =
            (0..nodes.len()).filter_map(|at| Some((at, turn(&nodes, &nodes[at])?))).collect();
        if moved.is_empty() {
            break;
        }
        for (at, state) in moved {
            nodes[at].state = state.to_owned();
            outcome.moves.push((nodes[at].id, state));
        }
    }
    outcome.state = whole(&nodes).to_owned();
    Ok(outcome)
}

fn node(row: &JobRow) -> Result<Node> {
    let plan = JobPlan::of(row)?;
    let tolerated =
        plan.allow_failure || row.exit_code.is_some_and(|code| plan.allow_exit_codes.contains(&code));
    Ok(Node { id: row.id, state: row.state.clone(), tolerated, plan })
}

/// The next state of a job that has not begun, when everything before it is decided.
fn turn(nodes: &[Node], node: &Node) -> Option<&'static str> {
    if node.state != "created" {
        return None;
    }
    let before = nodes.iter().filter(|other| precedes(other, node));
    let (mut failed, mut skipped) = (false, false);
    for other in before {
        match other.state.as_str() {
            words::SUCCESS => {}
            words::FAILED | words::CANCELED => failed |= !other.tolerated || other.state == words::CANCELED,
            // Without `needs`, a job that had nothing to do holds nobody up.
            "skipped" => skipped |= node.plan.needs.is_some(),
            // A manual job that may fail is not waited for.
            "manual" if other.tolerated && node.plan.needs.is_none() => {}
            _ => return None,
        }
    }
    let fine = !failed && !skipped;
    Some(match node.plan.when {
        When::Always => words::PENDING,
        When::OnFailure if failed => words::PENDING,
        When::OnSuccess if fine => words::PENDING,
        When::Manual if fine => "manual",
        _ => "skipped",
    })
}

fn precedes(other: &Node, node: &Node) -> bool {
    match &node.plan.needs {
        Some(needs) => needs.iter().any(|need| need.job == other.plan.name),
        None => other.plan.stage_index < node.plan.stage_index,
    }
}

/// The state of the pipeline as a whole.
fn whole(nodes: &[Node]) -> &'static str {
    let any = |state: &str| nodes.iter().any(|node| node.state == state);
    if any(words::RUNNING) {
        return words::RUNNING;
    }
    if any(words::PENDING) {
        return if any(words::SUCCESS) || any(words::FAILED) { words::RUNNING } else { words::PENDING };
    }
    if nodes.iter().any(|node| node.state == "manual" && !node.tolerated) {
        return "manual";
    }
    if any("created") {
        return "created";
    }
    if any(words::CANCELED) {
        words::CANCELED
    } else if nodes.iter().any(|node| node.state == words::FAILED && !node.tolerated) {
        words::FAILED
    } else if !nodes.is_empty() && nodes.iter().all(|node| node.state == "skipped") {
        "skipped"
    } else {
        words::SUCCESS
    }
}
