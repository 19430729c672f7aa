//! The job as it is handed to a runner: the body of a 201 answer to `POST jobs/request`.
//!
//! `Debug` never prints a token, a password or a variable's value.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// Go writes an empty list as `null`; read it as empty.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// A job to run.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobResponse {
    /// The job's number.
    pub id: i64,
    /// The job's own token, good while the job runs.
    pub token: String,
    /// Whether the runner may keep a clone between jobs.
    pub allow_git_fetch: bool,
    /// Where the job belongs.
    pub job_info: JobInfo,
    /// What to check out.
    pub git_info: GitInfo,
    /// What the runner must know about itself.
    pub runner_info: RunnerInfo,
    /// The job's variables in order; of two with one key the last wins.
    #[serde(deserialize_with = "nullable")]
    pub variables: Vec<Variable>,
    /// The scripts in order.
    #[serde(deserialize_with = "nullable")]
    pub steps: Vec<Step>,
    /// Scripts around the checkout.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// The image to run in; its name is empty when the runner shall choose.
    #[serde(deserialize_with = "nullable")]
    pub image: Image,
    /// Helpers that run beside the job.
    #[serde(deserialize_with = "nullable")]
    pub services: Vec<Service>,
    /// What to upload: one entry per archive and per report.
    #[serde(deserialize_with = "nullable")]
    pub artifacts: Vec<Artifact>,
    /// What to keep between jobs.
    #[serde(deserialize_with = "nullable")]
    pub cache: Vec<Cache>,
    /// Who to be towards a registry of images.
    #[serde(deserialize_with = "nullable")]
    pub credentials: Vec<Credential>,
    /// Whose artifacts to download first.
    #[serde(deserialize_with = "nullable")]
    pub dependencies: Vec<Dependency>,
    /// What the server can do.
    #[serde(deserialize_with = "nullable")]
    pub features: JobFeatures,
}

/// Where a job belongs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobInfo {
    /// The job's name in the pipeline.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// The pipeline's number.
    pub pipeline_id: i64,
    /// The project's number.
    pub project_id: i64,
    /// The project's last part of path.
    pub project_name: String,
    /// The project's whole path.
    pub project_full_path: String,
    /// How long the job waited for a runner, in seconds.
    pub time_in_queue_seconds: f64,
    /// A count written as text: `0`, `3+`, `+Inf`.
    pub project_jobs_running_on_instance_runners_count: String,
}

/// What to check out.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitInfo {
    /// Where from, with user `gitlab-ci-token` and the job's token in it.
    pub repo_url: String,
    /// `sha1` or `sha256`.
    pub repo_object_format: String,
    /// Name of the branch or tag.
    #[serde(rename = "ref")]
    pub ref_name: String,
    /// The commit.
    pub sha: String,
    /// The commit before the push; all zeroes for a new branch.
    pub before_sha: String,
    /// `branch` or `tag`.
    pub ref_type: String,
    /// What to fetch.
    #[serde(deserialize_with = "nullable")]
    pub refspecs: Vec<String>,
    /// How many commits deep; 0 fetches all.
    pub depth: u32,
    /// Whether the ref is protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected: Option<bool>,
}

/// What the runner must know about itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunnerInfo {
    /// How long the job may run, in seconds.
    pub timeout: u64,
}

/// One variable of the job.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value.
    #[serde(deserialize_with = "nullable")]
    pub value: String,
    /// Whether the value may be shown.
    pub public: bool,
    /// Whether the value goes to a file and the variable holds the file's path.
    pub file: bool,
    /// Whether the value is hidden in the log.
    pub masked: bool,
    /// Whether references inside the value stay as they are.
    pub raw: bool,
}

/// One script of the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// `script` or `after_script`.
    pub name: String,
    /// Its lines.
    #[serde(deserialize_with = "nullable")]
    pub script: Vec<String>,
    /// How long it may run, in seconds.
    pub timeout: u64,
    /// `on_success`, `on_failure` or `always`.
    pub when: String,
    /// Whether its failure leaves the job's outcome alone.
    pub allow_failure: bool,
}

/// A script around the checkout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// `pre_get_sources_script` or `post_get_sources_script`.
    pub name: String,
    /// Its lines.
    #[serde(deserialize_with = "nullable")]
    pub script: Vec<String>,
}

/// An image to run in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Its reference.
    pub name: String,
    /// What to start instead of the image's own entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Ports the job exposes.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// `always`, `if-not-present`, `never`, in order of preference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<Vec<String>>,
}

/// A port of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// `http` or `https`.
    pub protocol: String,
    /// Its name.
    pub name: String,
}

/// A helper that runs beside the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// The image's reference.
    pub name: String,
    /// Names under which the job reaches it, separated by spaces or commas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What to start instead of the image's own entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Its variables.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
    /// As for [`Image::pull_policy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<Vec<String>>,
}

/// What to upload when the job ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Artifact {
    /// Name of the archive.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Whether every file git does not know goes in too.
    pub untracked: bool,
    /// Globs of what goes in.
    #[serde(deserialize_with = "nullable")]
    pub paths: Vec<String>,
    /// Globs of what stays out. Left out when empty: old runners refuse the field.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// `on_success`, `on_failure` or `always`.
    #[serde(deserialize_with = "nullable")]
    pub when: String,
    /// How long to keep it, in words (`1 week`).
    #[serde(deserialize_with = "nullable")]
    pub expire_in: String,
    /// `archive`, or the report's type.
    pub artifact_type: String,
    /// `zip`, `gzip` or `raw`; the type decides it.
    pub artifact_format: String,
}

/// What to keep between jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// Its key.
    pub key: String,
    /// Whether every file git does not know goes in.
    pub untracked: bool,
    /// `pull-push`, `pull` or `push`.
    pub policy: String,
    /// Globs of what goes in.
    #[serde(deserialize_with = "nullable")]
    pub paths: Vec<String>,
    /// `on_success`, `on_failure` or `always`.
    pub when: String,
    /// Keys to try when `key` has nothing.
    #[serde(deserialize_with = "nullable")]
    pub fallback_keys: Vec<String>,
}

/// Who to be towards a registry of images.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credential {
    /// Always `registry`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `host:port`.
    pub url: String,
    /// `gitlab-ci-token`.
    pub username: String,
    /// The job's token.
    pub password: String,
}

/// A job whose artifacts this one downloads first.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// That job's number.
    pub id: i64,
    /// The token of the job that *runs*, not of that one.
    pub token: String,
    /// That job's name.
    pub name: String,
    /// Its archive; a runner skips an entry without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts_file: Option<ArtifactsFile>,
}

/// An archive to download.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactsFile {
    /// Its name.
    pub filename: String,
    /// Its size in bytes.
    pub size: u64,
}

/// What the server can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobFeatures {
    /// Whether the log may hold marks of sections.
    pub trace_sections: bool,
    /// Beginnings of tokens to hide in the log.
    #[serde(deserialize_with = "nullable")]
    pub token_mask_prefixes: Vec<String>,
    /// Every reason of failure the server knows; the runner maps others to older ones.
    #[serde(deserialize_with = "nullable")]
    pub failure_reasons: Vec<String>,
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.public && !self.masked { self.value.as_str() } else { "[hidden]" };
        f.debug_struct("Variable").field("key", &self.key).field("value", &value).finish_non_exhaustive()
    }
}

impl fmt::Debug for GitInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitInfo")
            .field("ref_name", &self.ref_name)
            .field("sha", &self.sha)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("url", &self.url)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependency").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for JobResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobResponse")
            .field("id", &self.id)
            .field("job_info", &self.job_info)
            .field("git_info", &self.git_info)
            .field("variables", &self.variables)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}
