//! Pages of projects, pipelines and jobs.

use askama::Template;

use crate::{
    Frame,
    log::LogHtml,
    packages::File,
    recordings::{Missed, Used},
    values::{Fact, Lasting, State, When},
};

/// A project in a list.
#[derive(Clone, Debug)]
pub struct ProjectLine {
    /// `<group>/<name>`.
    pub path: String,
    /// The branch that `HEAD` names.
    pub branch: String,
    /// Its newest pipeline.
    pub newest: Option<PipelineLine>,
}

/// `/projects`.
#[derive(Template)]
#[template(path = "projects.html")]
pub struct Projects {
    /// Around it.
    pub frame: Frame,
    /// A page of them.
    pub projects: Vec<ProjectLine>,
    /// The number after which the next page begins.
    pub next: Option<i64>,
}

/// A pipeline in a list.
#[derive(Clone, Debug)]
pub struct PipelineLine {
    /// Its number.
    pub id: i64,
    /// Its project's path.
    pub project: String,
    /// The branch or tag.
    pub reference: String,
    /// The commit.
    pub sha: String,
    /// Why it ran.
    pub source: String,
    /// Its state.
    pub state: State,
    /// Who.
    pub actor: String,
    /// When it was made.
    pub created: When,
    /// How long it took.
    pub lasted: Option<Lasting>,
}

impl PipelineLine {
    /// The commit's first eight digits.
    #[must_use]
    pub fn short(&self) -> &str {
        self.sha.get(..8).unwrap_or(&self.sha)
    }
}

/// `/projects/{group}/{name}`.
#[derive(Template)]
#[template(path = "project.html")]
pub struct Project {
    /// Around it.
    pub frame: Frame,
    /// `<group>/<name>`.
    pub path: String,
    /// Where to clone from.
    pub clone_url: String,
    /// The branch that `HEAD` names.
    pub branch: String,
    /// A page of its pipelines, newest first.
    pub pipelines: Vec<PipelineLine>,
    /// The number before which the next page begins.
    pub next: Option<i64>,
}

/// A job of a pipeline.
#[derive(Clone, Debug)]
pub struct JobLine {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Which try it is.
    pub attempt: u32,
    /// Whether a later try has taken its place.
    pub superseded: bool,
    /// How long it took.
    pub lasted: Option<Lasting>,
    /// Why it failed; empty when it did not.
    pub reason: String,
}

/// `/pipelines/{id}`.
#[derive(Template)]
#[template(path = "pipeline.html")]
pub struct Pipeline {
    /// Around it.
    pub frame: Frame,
    /// The pipeline.
    pub line: PipelineLine,
    /// What is wrong with its file; empty when nothing is.
    pub error: String,
    /// Its stages in order, with their jobs.
    pub stages: Vec<(String, Vec<JobLine>)>,
}

/// `/jobs/{id}`.
#[derive(Template)]
#[template(path = "job.html")]
pub struct Job {
    /// Around it.
    pub frame: Frame,
    /// The job.
    pub line: JobLine,
    /// Its pipeline's number.
    pub pipeline: i64,
    /// More about it.
    pub facts: Vec<Fact>,
    /// The end of its log.
    pub log: LogHtml,
    /// Whether the log began before what is shown.
    pub cut: bool,
    /// Bytes of the log that the page has: where a reader goes on.
    pub offset: u64,
    /// Its artifacts.
    pub artifacts: Vec<File>,
    /// Whether there is an archive to download.
    pub archive: bool,
    /// Whether there is a provenance statement.
    pub provenance: bool,
    /// What the registries gave it.
    pub used: Vec<Used>,
    /// What it asked for in vain.
    pub missing: Vec<Missed>,
}
