//! From a commit to a plan, before any write transaction begins.

use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_git::GitService;
use cofferdam_pipeline::PlannedJob;
use cofferdam_store::{PipelineRow, ProjectRow};
use cofferdam_types::{Error, ProjectId, Result};

use crate::Forge;

/// Where a project says what its pipeline is.
pub const PIPELINE_FILE: &str = ".gitlab-ci.yml";
/// The commit before the first one.
pub const ZERO: &str = "0000000000000000000000000000000000000000";

/// What the forge needs of the place that keeps git repositories.
#[async_trait]
pub trait Sources: Send + Sync + 'static {
    /// Makes an empty repository; one that is there already stays as it is.
    ///
    /// # Errors
    /// `Internal` when git fails, as for every method.
    async fn init(&self, project: ProjectId, default_branch: &str) -> Result<()>;

    /// The commit that a whole reference names, or `None`.
    async fn resolve(&self, project: ProjectId, reference: &str) -> Result<Option<String>>;

    /// Moves or makes a reference of ours.
    async fn update_ref(&self, project: ProjectId, reference: &str, sha: &str) -> Result<()>;
}

#[async_trait]
impl Sources for Arc<dyn GitService> {
    async fn init(&self, project: ProjectId, default_branch: &str) -> Result<()> {
        self.as_ref().init(project, default_branch).await
    }

    async fn resolve(&self, project: ProjectId, reference: &str) -> Result<Option<String>> {
        Ok(self.as_ref().resolve(project, reference).await?.map(|oid| oid.to_string()))
    }

    async fn update_ref(&self, project: ProjectId, reference: &str, sha: &str) -> Result<()> {
        self.as_ref().update_ref(project, reference, &sha.parse()?).await
    }
}

/// What turns a commit into jobs.
#[async_trait]
pub trait Planner: Send + Sync + 'static {
    /// The jobs of a commit. `None` when it has no pipeline file or its rules leave nothing; a file
    /// that is wrong gives a plan with [`Planned::error`].
    ///
    /// # Errors
    /// `Internal` when the repository cannot be read.
    async fn plan(&self, wanted: &Wanted<'_>) -> Result<Option<Planned>>;
}

/// A commit that is to be planned.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The project.
    pub project: &'a ProjectRow,
    /// The whole reference.
    pub git_ref: &'a str,
    /// The commit.
    pub sha: &'a str,
    /// What the reference named before; [`ZERO`] when nothing.
    pub before: &'a str,
    /// Why: `push`, `api`, `web`.
    pub source: &'a str,
    /// Who.
    pub actor: &'a str,
}

/// What a pipeline file came to.
#[derive(Clone, Debug, Default)]
pub struct Planned {
    /// The jobs in the file's order.
    pub jobs: Vec<PlannedJob>,
    /// What is wrong with the file, for people, with file, line and column; empty when nothing is.
    pub error: String,
}

impl Forge {
    pub(crate) async fn plan(&self, wanted: &Wanted<'_>) -> Result<Option<Planned>> {
        self.planner().plan(wanted).await
    }

    /// The whole name and the commit of a branch or tag.
    pub(crate) async fn find_ref(&self, project: &ProjectRow, name: &str) -> Result<(String, String)> {
        let candidates = if name.starts_with("refs/") {
            vec![name.to_owned()]
        } else {
            vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
        };
        for reference in candidates {
            if let Some(sha) = self.sources().resolve(project.id, &reference).await? {
                return Ok((reference, sha));
            }
        }
        Err(Error::not_found(format!("{} has no branch or tag `{name}`", project.path())))
    }

    /// Makes the reference that keeps a pipeline's commit, so that a deleted branch or a forced push
    /// does not pull it from under a job that still waits.
    pub(crate) async fn keep_commit(&self, row: &PipelineRow) -> Result<()> {
        self.sources().update_ref(row.project, &kept_ref(row), &row.sha).await
    }
}

pub(crate) fn kept_ref(row: &PipelineRow) -> String {
    format!("refs/pipelines/{}", row.id)
}
