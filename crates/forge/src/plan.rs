//! What a pipeline file came to: the jobs as they are kept with their rows.

use cofferdam_runner_api::{Artifact, Cache, Hook, Image, Service, Step};
use cofferdam_store::JobRow;
use cofferdam_types::{Error, Result};
use serde::{Deserialize, Serialize};

/// A planned job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobPlan {
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: String,
    /// The stage's place among the stages, from 0.
    pub stage_index: u32,
    /// The jobs that it waits for; `None` for every job of the stages before.
    pub needs: Option<Vec<Need>>,
    /// Whose artifacts it gets; `None` for those of everything before it.
    pub dependencies: Option<Vec<String>>,
    /// When it runs, given how those before it ended.
    pub when: When,
    /// Whether its failure fails the pipeline.
    pub allow_failure: bool,
    /// Exit codes with which it may fail.
    pub allow_exit_codes: Vec<i64>,
    /// The tags that its runner needs.
    pub tags: Vec<String>,
    /// Seconds that it may run.
    pub timeout: Option<u64>,
    /// Tries after the first.
    pub retries: u32,
    /// The reasons for another try; empty for any.
    pub retry_when: Vec<String>,
    /// Exit codes for another try; empty for any.
    pub retry_exit_codes: Vec<i64>,
    /// Its own variables, in order.
    pub variables: Vec<PlanVariable>,
    /// The scripts.
    pub steps: Vec<Step>,
    /// Scripts around the checkout.
    pub hooks: Vec<Hook>,
    /// The image to run in; its name is empty when the runner shall choose.
    pub image: Image,
    /// Helpers that run beside the job.
    pub services: Vec<Service>,
    /// What to upload.
    pub artifacts: Vec<Artifact>,
    /// What to keep between jobs.
    pub cache: Vec<Cache>,
}

/// A job that another one waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Need {
    /// Its name.
    pub job: String,
    /// Whether its artifacts are fetched.
    pub artifacts: bool,
}

/// A variable of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanVariable {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether `$` in it stands for itself.
    pub raw: bool,
}

/// When a job runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// When nothing before it failed.
    #[default]
    OnSuccess,
    /// When something before it failed.
    OnFailure,
    /// In any case.
    Always,
    /// When somebody says so.
    Manual,
}

impl JobPlan {
    /// The plan of a job's row.
    pub(crate) fn of(row: &JobRow) -> Result<Self> {
        serde_json::from_str(&row.plan).map_err(|e| Error::internal(format!("the plan of job {}", row.id), e))
    }
}
