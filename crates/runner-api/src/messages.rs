//! What runner and server say to each other around a job: who is asking, is there work, how did it end.
//! Must never decide anything: only the shape of the messages is here.

use crate::job::nullable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Body of `POST /api/v4/runners/verify`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyRequest {
    /// The runner's token (`glrt-...`).
    pub token: String,
    /// Which installation of that runner asks; empty for very old runners.
    #[serde(deserialize_with = "nullable")]
    pub system_id: String,
    /// What the installation is and can do.
    #[serde(deserialize_with = "nullable")]
    pub info: RunnerDetails,
}

/// Answer of `POST /api/v4/runners/verify`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyResponse {
    /// The runner's number.
    pub id: i64,
    /// Its token.
    pub token: String,
    /// RFC 3339, or `null` for never. Never an empty string: Go refuses to parse that.
    pub token_expires_at: Option<String>,
}

/// What a runner says about itself (`info`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunnerDetails {
    /// Program name.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Its version.
    #[serde(deserialize_with = "nullable")]
    pub version: String,
    /// The commit it was built from.
    #[serde(deserialize_with = "nullable")]
    pub revision: String,
    /// Operating system, as Go names it.
    #[serde(deserialize_with = "nullable")]
    pub platform: String,
    /// Processor, as Go names it.
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    /// How it runs jobs (`shell`, `docker`, ...).
    #[serde(deserialize_with = "nullable")]
    pub executor: String,
    /// Which shell it writes scripts for.
    #[serde(deserialize_with = "nullable")]
    pub shell: String,
    /// Features by name, mostly booleans.
    #[serde(deserialize_with = "nullable")]
    pub features: Map<String, Value>,
    /// Settings worth knowing, such as `gpus`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Map::is_empty")]
    pub config: Map<String, Value>,
    /// Labels an administrator gave the runner.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Map::is_empty")]
    pub labels: Map<String, Value>,
}

impl RunnerDetails {
    /// Does the runner declare the feature (as `true`)?
    pub fn has(&self, feature: &str) -> bool {
        self.features.get(feature) == Some(&Value::Bool(true))
    }
}

/// Body of `POST /api/v4/jobs/request`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRequest {
    /// The runner's token.
    pub token: String,
    /// Which installation asks.
    #[serde(deserialize_with = "nullable")]
    pub system_id: String,
    /// The queue version of the last answer (`X-GitLab-Last-Update`), to be told only of changes.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub last_update: String,
    /// What the installation is and can do.
    #[serde(deserialize_with = "nullable")]
    pub info: RunnerDetails,
}

/// States a runner may report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobUpdateState {
    /// Taken, not started yet: keeps the job alive.
    Pending,
    /// Running; also the keep-alive of a silent job.
    Running,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
}

/// Body of `PUT /api/v4/jobs/:id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateJob {
    /// The job token.
    pub token: String,
    /// Where the job is.
    pub state: JobUpdateState,
    /// Why it failed (`script_failure`, `runner_system_failure`, ...).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// The script's exit code, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The old place of the log's checksum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Length and checksum of the whole log, so that none of it is lost unseen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<TraceOutput>,
    /// What the installation is and can do.
    #[serde(default, deserialize_with = "nullable")]
    pub info: RunnerDetails,
}

/// The whole log as the runner counted it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceOutput {
    /// As [`crate::checksum`] writes it.
    #[serde(deserialize_with = "nullable")]
    pub checksum: String,
    /// Bytes.
    pub bytesize: u64,
}
