//! The words for states of jobs, as in the database and in the runner protocol.

pub(crate) const PENDING: &str = "pending";
pub(crate) const RUNNING: &str = "running";
pub(crate) const SUCCESS: &str = "success";
pub(crate) const FAILED: &str = "failed";
pub(crate) const CANCELED: &str = "canceled";

/// Whether a job in this state will not run any more without somebody asking for it.
pub(crate) fn ended(state: &str) -> bool {
    matches!(state, SUCCESS | FAILED | CANCELED | "skipped")
}

/// Whether a runner may still write to a job in this state.
pub(crate) fn accepts_log(state: &str) -> bool {
    matches!(state, RUNNING | "canceling")
}
