//! What a runner says about a job it runs: `PUT jobs/:id`, and the checksum of its log.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state a runner reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Not begun: a sign of life before the runner accepts the job.
    Pending,
    /// Runs.
    #[default]
    Running,
    /// Ended well.
    Success,
    /// Ended badly; see the reason and the exit code.
    Failed,
}

/// `PUT jobs/:id`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateJob {
    /// The job's token.
    pub token: String,
    /// The state the job is in.
    pub state: JobState,
    /// Why it failed: `script_failure`, `runner_system_failure`, `job_execution_timeout` and others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// What the script ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The whole log's checksum and size, once the runner sent all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<JobOutput>,
}

/// What the log must be for the server to have all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobOutput {
    /// See [`checksum`].
    pub checksum: String,
    /// Size of the whole log in bytes.
    pub bytesize: u64,
}

impl JobOutput {
    /// Whether a stored log of `bytes` bytes with this CRC-32 is the one the runner speaks of.
    #[must_use]
    pub fn agrees(&self, crc32: u32, bytes: u64) -> bool {
        self.bytesize == bytes && self.checksum.eq_ignore_ascii_case(&checksum(crc32))
    }
}

/// The checksum's text: CRC-32 (IEEE) over the whole log, as `crc32:` and eight hexadecimal digits.
#[must_use]
pub fn checksum(crc32: u32) -> String {
    format!("crc32:{crc32:08x}")
}

impl fmt::Debug for UpdateJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateJob")
            .field("state", &self.state)
            .field("failure_reason", &self.failure_reason)
            .field("exit_code", &self.exit_code)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}
