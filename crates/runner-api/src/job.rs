//! The job a runner is handed (the 201 answer of `POST /api/v4/jobs/request`).
//!
//! Field names and shapes are the protocol's: a stock `gitlab-runner` reads this JSON, so a renamed
//! field is a broken runner. Must never hold behaviour beyond reading and writing.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Reads `null` like an absent list: Go writes an empty slice as `null`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// One job with everything needed to run it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobResponse {
    /// The job's number on this server.
    pub id: i64,
    /// The job token: valid while the job runs, and the password of its clones and downloads.
    pub token: String,
    /// May the runner keep its clone between jobs and fetch, instead of cloning anew?
    pub allow_git_fetch: bool,
    /// What the job is and where it belongs.
    pub job_info: JobInfo,
    /// What to check out.
    pub git_info: GitInfo,
    /// Facts about the runner as the server sees it.
    pub runner_info: RunnerInfo,
    /// The job's variables; of two with one key the last one counts.
    #[serde(deserialize_with = "nullable")]
    pub variables: Vec<JobVariable>,
    /// The scripts, in order.
    #[serde(deserialize_with = "nullable")]
    pub steps: Vec<Step>,
    /// Scripts around the checkout.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// The container image; an empty name when the job asked for none.
    #[serde(deserialize_with = "nullable")]
    pub image: Image,
    /// Containers started beside the job.
    #[serde(deserialize_with = "nullable")]
    pub services: Vec<Image>,
    /// What to upload afterwards: one entry for the archive and one for each report.
    #[serde(deserialize_with = "nullable")]
    pub artifacts: Vec<Artifact>,
    /// Directories kept between jobs.
    #[serde(deserialize_with = "nullable")]
    pub cache: Vec<Cache>,
    /// Logins the runner uses itself, for example to pull images.
    #[serde(deserialize_with = "nullable")]
    pub credentials: Vec<Credentials>,
    /// The earlier jobs whose artifacts are downloaded first.
    #[serde(deserialize_with = "nullable")]
    pub dependencies: Vec<Dependency>,
    /// What this server can do.
    #[serde(deserialize_with = "nullable")]
    pub features: ServerFeatures,
}

/// Identity of a job: names and numbers the runner prints and labels things with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobInfo {
    /// The job's name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// The pipeline it belongs to.
    pub pipeline_id: i64,
    /// The project's number.
    pub project_id: i64,
    /// The project's last path segment.
    pub project_name: String,
    /// The project's full path.
    pub project_full_path: String,
    /// The group the project is in.
    pub namespace_id: i64,
    /// The outermost group.
    pub root_namespace_id: i64,
    /// The organization, 1 where there is only one.
    pub organization_id: i64,
    /// This server's identifier.
    pub instance_id: String,
    /// This server's UUID.
    pub instance_uuid: String,
    /// Who started the job.
    pub user_id: i64,
    /// Seconds the job waited.
    pub time_in_queue_seconds: f64,
    /// A count as *text* (`"0"`, `"12+"`, `"+Inf"`).
    pub project_jobs_running_on_instance_runners_count: String,
    /// Jobs waiting in the queue it was picked from.
    pub queue_size: i64,
    /// Position it was picked at.
    pub queue_depth: i64,
}

/// What to check out and from where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GitInfo {
    /// Clone address, with `gitlab-ci-token:<job token>@` in it.
    pub repo_url: String,
    /// `sha1` or `sha256`.
    pub repo_object_format: String,
    /// Branch or tag name, without `refs/`.
    #[serde(rename = "ref")]
    pub ref_name: String,
    /// The commit.
    pub sha: String,
    /// The commit the branch had before the push; forty zeros when none.
    pub before_sha: String,
    /// `branch` or `tag`.
    pub ref_type: String,
    /// What to fetch.
    #[serde(deserialize_with = "nullable")]
    pub refspecs: Vec<String>,
    /// How many commits to fetch; 0 for all.
    pub depth: i64,
    /// Is the reference protected? `null` when the server does not say.
    pub protected: Option<bool>,
}

/// What the server settled for this runner and job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunnerInfo {
    /// Seconds the job may run.
    pub timeout: i64,
    /// The runner's identifier.
    pub uuid: String,
}

/// One variable of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobVariable {
    /// Its name.
    pub key: String,
    /// Its value; for a file variable the file's content.
    pub value: String,
    /// May it be shown?
    pub public: bool,
    /// Is the value written to a file, the variable holding the path?
    pub file: bool,
    /// Is the value hidden in the log?
    pub masked: bool,
    /// Must `$` in the value stay as it is?
    pub raw: bool,
}

/// One script.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// `script`, `after_script` or `release`.
    pub name: String,
    /// The lines.
    #[serde(deserialize_with = "nullable")]
    pub script: Vec<String>,
    /// Seconds it may take.
    pub timeout: i64,
    /// `on_success`, `on_failure` or `always`.
    pub when: String,
    /// Does its failure leave the job as it is?
    pub allow_failure: bool,
}

/// A script before or after the checkout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// `pre_get_sources_script` or `post_get_sources_script`.
    pub name: String,
    /// The lines.
    #[serde(deserialize_with = "nullable")]
    pub script: Vec<String>,
}

/// A container image, of the job or of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Image reference.
    pub name: String,
    /// Host names of a service, separated by spaces or commas.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub alias: String,
    /// Arguments of a service.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's entry point; `null` keeps it.
    pub entrypoint: Option<Vec<String>>,
    /// Ports the image listens on.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Variables of a service only.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<JobVariable>,
    /// When to pull; `null` leaves it to the runner.
    pub pull_policy: Option<Vec<String>>,
    /// Executor settings. A key the runner does not know fails the job, so this is sent as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executor_opts: Option<serde_json::Value>,
}

/// A port of an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    /// Port number.
    pub number: u16,
    /// `http` or `https`.
    pub protocol: String,
    /// A name for it.
    pub name: String,
}

/// One upload after the job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Artifact {
    /// File name of the archive, without extension; empty for the runner's default.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Also everything git does not track?
    pub untracked: bool,
    /// Patterns of files to take.
    #[serde(deserialize_with = "nullable")]
    pub paths: Vec<String>,
    /// Patterns to leave out. Not sent when empty: older runners lack the feature.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// `on_success`, `on_failure` or `always`.
    #[serde(deserialize_with = "nullable")]
    pub when: String,
    /// How long to keep it, as written (`1 week`).
    #[serde(deserialize_with = "nullable")]
    pub expire_in: String,
    /// `archive`, `junit`, `dotenv`, ...
    #[serde(deserialize_with = "nullable")]
    pub artifact_type: String,
    /// `zip`, `gzip` or `raw`.
    #[serde(deserialize_with = "nullable")]
    pub artifact_format: String,
}

/// One cache.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// Its key.
    pub key: String,
    /// Also everything git does not track?
    pub untracked: bool,
    /// `pull-push`, `pull` or `push`.
    pub policy: String,
    /// Patterns of files to keep.
    #[serde(deserialize_with = "nullable")]
    pub paths: Vec<String>,
    /// `on_success`, `on_failure` or `always`.
    #[serde(deserialize_with = "nullable")]
    pub when: String,
    /// Keys tried when `key` is not there.
    #[serde(deserialize_with = "nullable")]
    pub fallback_keys: Vec<String>,
}

/// A login for the runner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Credentials {
    /// `registry`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `host:port`.
    pub url: String,
    /// `gitlab-ci-token`.
    pub username: String,
    /// The job token.
    pub password: String,
}

/// An earlier job whose artifacts this one needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    /// The earlier job's number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The token of the job that *runs*, not of the earlier one.
    pub token: String,
    /// The archive; a runner skips an entry without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifacts_file: Option<ArtifactsFile>,
}

/// The archive of a dependency.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactsFile {
    /// File name.
    pub filename: String,
    /// Bytes.
    pub size: i64,
}

/// What the server tells the runner it can do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerFeatures {
    /// Are log sections folded?
    pub trace_sections: bool,
    /// Prefixes of tokens the runner hides in the log.
    #[serde(deserialize_with = "nullable")]
    pub token_mask_prefixes: Vec<String>,
    /// Failure reasons the server understands; the runner maps others to older names.
    #[serde(deserialize_with = "nullable")]
    pub failure_reasons: Vec<String>,
    /// Features of a newer server, kept as they are.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}
