//! What a pipeline will run: the words of the plan, as the database keeps them. Data only.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a variable's value comes from; later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Set by the server (`CI_...`).
    Predefined,
    /// `variables:` at the top of the file.
    RootYaml,
    /// `workflow:rules:variables`.
    WorkflowRule,
    /// `variables:` of the job.
    JobYaml,
    /// `rules:variables` of the job.
    JobRule,
    /// One combination of `parallel:matrix`, or `CI_NODE_*`.
    Matrix,
    /// A dotenv report of an earlier job.
    Dotenv,
    /// Settings of the whole site.
    Instance,
    /// Settings of the group.
    Group,
    /// Settings of the project.
    Project,
    /// Given when the pipeline was started.
    Pipeline,
}

/// Everything about the moment a pipeline is wanted for.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Branch or tag name, without `refs/`.
    pub ref_name: String,
    /// Is it a tag?
    pub is_tag: bool,
    /// The commit.
    pub sha: String,
    /// `push`, `web`, `api`, `schedule`, ...
    pub source: String,
    /// The project's default branch.
    pub default_branch: String,
    /// Files that changed; `None` when there is nothing to compare with, and then `changes` holds.
    pub changed_paths: Option<Vec<String>>,
    /// All files of the commit, for `exists`; `None` when unknown, and then `exists` does not hold.
    pub files: Option<Vec<String>>,
    /// Variables from outside the file.
    pub variables: Vec<(String, String, Origin)>,
}

/// A variable with its value and where that came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedVariable {
    /// Name.
    pub key: String,
    /// Value, references to known variables replaced.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
    /// Must `$` in the value stay as it is?
    pub raw: bool,
}

/// When a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// After everything it waits for succeeded.
    #[default]
    OnSuccess,
    /// After something it waits for failed.
    OnFailure,
    /// Whatever happened.
    Always,
    /// When somebody starts it.
    Manual,
    /// Never: the job is left out.
    Never,
}

/// A job another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Its name.
    pub job: String,
    /// Are its artifacts downloaded?
    pub artifacts: bool,
    /// May it be missing from the pipeline?
    pub optional: bool,
}

/// Whether a failure stops the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowFailure {
    /// For every failure.
    Always(bool),
    /// For these exit codes only.
    ExitCodes(Vec<i64>),
}

impl Default for AllowFailure {
    fn default() -> AllowFailure {
        AllowFailure::Always(false)
    }
}

/// Automatic second attempts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retry {
    /// Most extra attempts (0 to 2).
    pub max: u32,
    /// Failure reasons; empty or `always` for all.
    pub when: Vec<String>,
    /// Exit codes; empty for all.
    pub exit_codes: Vec<i64>,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Image {
    /// Reference.
    pub name: String,
    /// The other keys as written (entrypoint, docker, pull_policy, ...).
    pub options: Option<Value>,
}

/// What is kept of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Artifacts {
    /// Patterns to take.
    pub paths: Vec<String>,
    /// Patterns to leave out.
    pub exclude: Vec<String>,
    /// Archive name.
    pub name: Option<String>,
    /// Also what git does not track?
    pub untracked: bool,
    /// `on_success`, `on_failure`, `always`.
    pub when: Option<String>,
    /// How long, as written.
    pub expire_in: Option<String>,
    /// Report type and its paths.
    pub reports: Vec<(String, Vec<String>)>,
}

/// One job that will run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlannedJob {
    /// Name; of a parallel job with its number or combination.
    pub name: String,
    /// Name in the file, the same for all copies of a parallel job.
    pub group: String,
    /// Stage.
    pub stage: String,
    /// Its position among the plan's stages.
    pub stage_index: usize,
    /// Jobs waited for; `None` for all of the earlier stages.
    pub needs: Option<Vec<Need>>,
    /// Whose artifacts are downloaded; `None` for all that are waited for.
    pub dependencies: Option<Vec<String>>,
    /// Variables, one for each key.
    pub variables: Vec<PlannedVariable>,
    /// `before_script` and `script`.
    pub script: Vec<String>,
    /// `after_script`.
    pub after_script: Vec<String>,
    /// What is kept.
    pub artifacts: Option<Artifacts>,
    /// Image.
    pub image: Option<Image>,
    /// Services.
    pub services: Vec<Image>,
    /// Caches as written.
    pub cache: Option<Value>,
    /// When it runs.
    pub when: When,
    /// Does its failure stop the pipeline?
    pub allow_failure: AllowFailure,
    /// Seconds it may run.
    pub timeout: Option<u64>,
    /// Second attempts.
    pub retry: Retry,
    /// Runner tags, all must match.
    pub tags: Vec<String>,
    /// May a newer pipeline cancel it?
    pub interruptible: bool,
    /// Mutual exclusion key.
    pub resource_group: Option<String>,
    /// Environment as written.
    pub environment: Option<Value>,
    /// Coverage expression as written.
    pub coverage: Option<String>,
}

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Stages that have jobs, in order.
    pub stages: Vec<String>,
    /// Jobs in stage order.
    pub jobs: Vec<PlannedJob>,
}

/// What evaluation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Planned {
    /// A pipeline to create.
    Plan(Plan),
    /// None, and why.
    NotCreated(String),
}
