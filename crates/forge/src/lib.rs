//! Projects, pushes, pipelines, jobs, logs, artifacts and their provenance.
//!
//! Start at [`Forge`]. The way of a commit: [`Forge::pushed`] records the push and makes pipelines
//! in one transaction; [`Forge::request_job`] gives a pending job to a runner that waits for one;
//! [`Forge::append_log`] and [`Forge::store_artifact`] take what comes back; [`Forge::update_job`]
//! ends the job, moves those that waited for it, and signs where its artifacts came from.
//!
//! | module | what |
//! |---|---|
//! | `projects` `push` `planning` `files` | from a push to a plan |
//! | `pipelines` `machine` `jobs` | states, and what follows from them |
//! | `queue` `payload` `parts` `variables` `setup` | jobs to runners |
//! | `logs` `artifacts` `provenance` | what jobs leave behind |
//! | `bells` | waking those who wait |
//!
//! This crate must never run a job, speak HTTP, decide who may do something, or hold the write
//! transaction while it reads a repository.

mod artifacts;
mod bells;
mod files;
mod jobs;
mod keep;
mod logs;
mod machine;
mod needs;
mod parts;
mod payload;
mod pipelines;
mod planning;
mod projects;
mod provenance;
mod push;
mod queue;
mod runners;
mod setup;
mod variables;
mod words;

use std::sync::Arc;

use cofferdam_blobs::Blobs;
use cofferdam_git::GitService;
use cofferdam_registry::Registry;
use cofferdam_store::Db;
use cofferdam_trust::SigningKey;
use cofferdam_types::{Clock, SiteName, Timestamp};

pub use artifacts::{MAX_ARTIFACT, MAX_ARTIFACTS, NewArtifact};
pub use files::MAX_FILE;
pub use jobs::{JobEnd, Updated};
pub use keep::keep_for;
pub use logs::{LogState, MAX_LOG, MAX_LOG_PIECE};
pub use planning::{PIPELINE_FILE, Planned, Planner, Sources, Wanted, ZERO};
pub use projects::DEFAULT_BRANCH;
pub use provenance::PREDICATE_TYPE;
pub use push::{MAX_PIPELINES, Moved};
pub use runners::MAX_TAGS;
pub use setup::HOME_FILES;

/// The forge of a site. Cheap to clone.
#[derive(Clone)]
pub struct Forge(Arc<Parts>);

struct Parts {
    given: ForgeParts,
    sources: Arc<dyn Sources>,
    planner: Arc<dyn Planner>,
    bells: bells::Bells,
}

/// What a forge is made of.
pub struct ForgeParts {
    /// The site's database.
    pub db: Db,
    /// The site's blobs.
    pub blobs: Arc<dyn Blobs>,
    /// Where git repositories are kept.
    pub git: Arc<dyn GitService>,
    /// The site's clock.
    pub clock: Arc<dyn Clock>,
    /// The site's packages, for the set-up of jobs.
    pub registry: Registry,
    /// The key that signs provenance.
    pub key: Arc<SigningKey>,
    /// The site's name.
    pub site: SiteName,
    /// The repository that jobs use for each format: `(format, repository)`.
    pub job_repositories: Vec<(String, String)>,
}

impl Forge {
    /// Puts the parts together. The site's public address is the registry's.
    #[must_use]
    pub fn new(parts: ForgeParts) -> Self {
        let git = Arc::clone(&parts.git);
        let site = parts.registry.public_url().to_owned();
        let planner = files::PipelineFiles { git: Arc::clone(&git), site };
        Self::over(parts, Arc::new(git), Arc::new(planner))
    }

    /// The same with other places for references and plans, such as a test's.
    #[must_use]
    pub fn over(parts: ForgeParts, sources: Arc<dyn Sources>, planner: Arc<dyn Planner>) -> Self {
        Self(Arc::new(Parts { given: parts, sources, planner, bells: bells::Bells::default() }))
    }

    /// Where git repositories are kept, for the edge that carries git's own protocol.
    #[must_use]
    pub fn git(&self) -> &Arc<dyn GitService> {
        &self.0.given.git
    }

    /// The site's address as clients see it, without a trailing slash.
    #[must_use]
    pub fn public_url(&self) -> &str {
        self.registry().public_url()
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.given.db
    }

    pub(crate) fn blobs(&self) -> &Arc<dyn Blobs> {
        &self.0.given.blobs
    }

    pub(crate) fn sources(&self) -> &Arc<dyn Sources> {
        &self.0.sources
    }

    pub(crate) fn planner(&self) -> &Arc<dyn Planner> {
        &self.0.planner
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.given.registry
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.0.given.key
    }

    pub(crate) fn site(&self) -> &SiteName {
        &self.0.given.site
    }

    pub(crate) fn job_repositories(&self) -> &[(String, String)] {
        &self.0.given.job_repositories
    }

    pub(crate) fn bells(&self) -> &bells::Bells {
        &self.0.bells
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.given.clock.now()
    }
}
