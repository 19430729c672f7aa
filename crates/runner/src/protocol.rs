//! The part of a job's payload that this runner acts on. Unknown fields are ignored, as the protocol asks.
//!
//! Field names and meaning: GitLab Runner, `common/spec/spec.go`.

use cofferdam_types::Secret;
use serde::{Deserialize, Deserializer};

/// One job to run.
#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    /// The job's number at the site.
    pub id: i64,
    /// What the job may act with while it runs.
    pub token: Secret<String>,
    /// Names.
    #[serde(default)]
    pub job_info: JobInfo,
    /// What to check out.
    #[serde(default)]
    pub git_info: GitInfo,
    /// Bounds.
    #[serde(default)]
    pub runner_info: RunnerInfo,
    /// In order; the last of one name counts.
    #[serde(default, deserialize_with = "list")]
    pub variables: Vec<Variable>,
    /// In order.
    #[serde(default, deserialize_with = "list")]
    pub steps: Vec<Step>,
    /// One entry per archive and per report.
    #[serde(default, deserialize_with = "list")]
    pub artifacts: Vec<ArtifactSpec>,
    /// Jobs whose archives are unpacked first.
    #[serde(default, deserialize_with = "list")]
    pub dependencies: Vec<Dependency>,
}

/// Names of the job and its surroundings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct JobInfo {
    /// The job's name.
    pub name: String,
    /// The job's stage.
    pub stage: String,
    /// The project's last name.
    pub project_name: String,
    /// The project's path with its groups.
    pub project_full_path: String,
}

/// What to check out.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct GitInfo {
    /// With `gitlab-ci-token:<job token>@`.
    pub repo_url: String,
    /// `sha1` or `sha256`.
    #[serde(deserialize_with = "or_default")]
    pub repo_object_format: String,
    /// Branch or tag.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The commit.
    pub sha: String,
    /// What to fetch.
    #[serde(deserialize_with = "list")]
    pub refspecs: Vec<String>,
    /// Commits to fetch; 0 means all.
    pub depth: u64,
}

impl std::fmt::Debug for GitInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL holds a token.
        f.debug_struct("GitInfo")
            .field("reference", &self.reference)
            .field("sha", &self.sha)
            .finish_non_exhaustive()
    }
}

/// Bounds from the site.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RunnerInfo {
    /// Seconds for the whole job; 0 means the runner's default of an hour.
    pub timeout: u64,
}

/// One variable.
#[derive(Clone, Debug, Deserialize)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its value.
    #[serde(default = "nothing", deserialize_with = "text")]
    pub value: Secret<String>,
    /// Whether the value goes into a file and the variable holds its path.
    #[serde(default)]
    pub file: bool,
    /// Whether the value must not be seen in the log.
    #[serde(default)]
    pub masked: bool,
    /// Whether `$NAME` in the value stays as it is.
    #[serde(default)]
    pub raw: bool,
}

/// One step of the job.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    /// `script`, `after_script` or `release`.
    pub name: String,
    /// Commands for one shell.
    #[serde(default, deserialize_with = "list")]
    pub script: Vec<String>,
    /// Seconds; 0 means no bound of its own.
    #[serde(default, deserialize_with = "or_default")]
    pub timeout: u64,
    /// When it runs.
    #[serde(default, deserialize_with = "or_default")]
    pub when: When,
    /// Whether its failure is no failure of the job.
    #[serde(default, deserialize_with = "or_default")]
    pub allow_failure: bool,
}

/// On which outcome something happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Everything before was good.
    #[default]
    OnSuccess,
    /// Something before failed.
    OnFailure,
    /// In any case.
    Always,
}

impl When {
    /// Whether it happens after this outcome.
    pub fn applies(self, success: bool) -> bool {
        match self {
            Self::OnSuccess => success,
            Self::OnFailure => !success,
            Self::Always => true,
        }
    }
}

/// One archive or report that the job leaves.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ArtifactSpec {
    /// The file's name without its ending.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Patterns.
    #[serde(deserialize_with = "list")]
    pub paths: Vec<String>,
    /// Patterns.
    #[serde(deserialize_with = "list")]
    pub exclude: Vec<String>,
    /// On which outcome it is kept.
    #[serde(deserialize_with = "or_default")]
    pub when: When,
    /// How long the site keeps it, in words.
    pub expire_in: Option<String>,
    /// `archive`, `dotenv`, `junit`, ...; empty means `archive`.
    #[serde(deserialize_with = "or_default")]
    pub artifact_type: String,
    /// `zip`, `gzip` or `raw`; empty means `zip`.
    #[serde(deserialize_with = "or_default")]
    pub artifact_format: String,
}

impl ArtifactSpec {
    /// The type, with the protocol's default.
    pub fn kind(&self) -> &str {
        if self.artifact_type.is_empty() { "archive" } else { &self.artifact_type }
    }

    /// The format, with the protocol's default.
    pub fn format(&self) -> &str {
        if self.artifact_format.is_empty() { "zip" } else { &self.artifact_format }
    }

    /// The name of the file that is uploaded.
    pub fn file_name(&self) -> String {
        let name = if self.name.is_empty() { "artifacts" } else { &self.name };
        match self.format() {
            "zip" => format!("{name}.zip"),
            "gzip" => format!("{name}.gz"),
            _ => name.to_owned(),
        }
    }
}

/// A job whose archive is unpacked first.
#[derive(Clone, Debug, Deserialize)]
pub struct Dependency {
    /// Its number.
    pub id: i64,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// With what the archive is read: the running job's token.
    #[serde(default = "nothing", deserialize_with = "text")]
    pub token: Secret<String>,
    /// Its archive; without one there is nothing to unpack.
    pub artifacts_file: Option<ArtifactsFile>,
}

/// An archive of another job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ArtifactsFile {
    /// Its name; empty when there is none.
    #[serde(deserialize_with = "or_default")]
    pub filename: String,
}

fn nothing() -> Secret<String> {
    Secret::new(String::new())
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret<String>, D::Error> {
    Ok(Secret::new(Option::deserialize(deserializer)?.unwrap_or_default()))
}

/// Servers written in other languages send `null` for an empty list.
fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    or_default(deserializer)
}

fn or_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
