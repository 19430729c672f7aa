//! What a runner sends to prove itself and to ask for work.
//!
//! Tokens are plain strings here because they are on the wire; `Debug` never prints them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a runner says about itself (`info`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunnerDescription {
    /// Name of the program, `gitlab-runner` for the original.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from.
    pub revision: String,
    /// Operating system, in Go's words: `linux`, `darwin`, `windows`.
    pub platform: String,
    /// Processor, in Go's words: `amd64`, `arm64`.
    pub architecture: String,
    /// How it runs jobs: `shell`, `docker`, `kubernetes`.
    pub executor: String,
    /// Which shell it writes scripts for: `bash`, `sh`, `pwsh`.
    pub shell: String,
    /// What it can do. A value is a truth for nearly every feature, but need not be one.
    pub features: BTreeMap<String, serde_json::Value>,
}

impl RunnerDescription {
    /// Whether the runner declares the feature and does not declare it as `false`.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.get(name).is_some_and(|value| value.as_bool().unwrap_or(!value.is_null()))
    }
}

/// `POST runners/verify`: is this token still good?
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyRequest {
    /// The runner's token.
    pub token: String,
    /// Which process uses the token: `s_...` or `r_...`.
    pub system_id: String,
    /// Who asks; runners before 19 leave it out.
    pub info: RunnerDescription,
}

/// The answer to [`VerifyRequest`], with status 200.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyAnswer {
    /// The runner's number.
    pub id: i64,
    /// The token that was verified.
    pub token: String,
    /// When the token ends, RFC 3339; `null` (never an empty string) when it does not.
    pub token_expires_at: Option<String>,
}

/// `POST jobs/request`: is there a job for me?
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRequest {
    /// The runner's token.
    pub token: String,
    /// Which process uses the token.
    pub system_id: String,
    /// The version of the queue the runner saw last; empty the first time.
    pub last_update: String,
    /// Who asks.
    pub info: RunnerDescription,
}

impl fmt::Debug for VerifyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyRequest")
            .field("system_id", &self.system_id)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for VerifyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyAnswer").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for JobRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobRequest")
            .field("system_id", &self.system_id)
            .field("last_update", &self.last_update)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
