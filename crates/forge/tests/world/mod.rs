//! A forge of one's own: a database, blobs, a repository that is a list, a planner that is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use cofferdam_blobs::LocalBlobs;
use cofferdam_forge::{Forge, ForgeParts, Moved, Planned, Planner, Sources, Wanted, ZERO};
use cofferdam_git::GitBinary;
use cofferdam_pipeline::PlannedJob;
use cofferdam_registry::{Registry, RegistryParts};
use cofferdam_store::{Db, ProjectRow};
use cofferdam_testkit::TestClock;
use cofferdam_trust::SigningKey;
use cofferdam_types::{ProjectId, Result};

pub const SHA: &str = "1111111111111111111111111111111111111111";

/// References by project and name.
#[derive(Default)]
pub struct Refs(pub Mutex<BTreeMap<(i64, String), String>>);

#[async_trait]
impl Sources for Refs {
    async fn init(&self, _: ProjectId, _: &str) -> Result<()> {
        Ok(())
    }

    async fn resolve(&self, project: ProjectId, reference: &str) -> Result<Option<String>> {
        Ok(self.0.lock().unwrap().get(&(project.0, reference.to_owned())).cloned())
    }

    async fn update_ref(&self, project: ProjectId, reference: &str, sha: &str) -> Result<()> {
        self.0.lock().unwrap().insert((project.0, reference.to_owned()), sha.to_owned());
        Ok(())
    }
}

/// Plans what it was told.
#[derive(Default)]
pub struct Told(pub Mutex<Planned>);

#[async_trait]
impl Planner for Told {
    async fn plan(&self, _: &Wanted<'_>) -> Result<Option<Planned>> {
        Ok(Some(self.0.lock().unwrap().clone()))
    }
}

pub struct World {
    pub forge: Forge,
    pub db: Db,
    pub clock: TestClock,
    pub key: Arc<SigningKey>,
    pub refs: Arc<Refs>,
    pub told: Arc<Told>,
    _home: tempfile::TempDir,
}

impl World {
    /// On SQLite, or on the database given.
    pub async fn new(db: Option<Db>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let db = match db {
            Some(db) => db,
            None => Db::open_sqlite(&home.path().join("site.db")).await.unwrap(),
        };
        let (clock, key) = (TestClock::default(), Arc::new(SigningKey::from_seed(&[7; 32]).unwrap()));
        let blobs = Arc::new(LocalBlobs::open(&home.path().join("blobs")).unwrap());
        let registry = Registry::new(RegistryParts {
            db: db.clone(),
            blobs: blobs.clone(),
            formats: vec![Arc::new(cofferdam_format_cargo::Cargo)],
            upstreams: BTreeMap::new(),
            clock: Arc::new(clock.clone()),
            public_url: "http://site.example:8080".into(),
        });
        let (refs, told) = (Arc::new(Refs::default()), Arc::new(Told::default()));
        let git = GitBinary::open(&home.path().join("git")).await.unwrap();
        let parts = ForgeParts {
            db: db.clone(),
            blobs,
            git: Arc::new(git),
            clock: Arc::new(clock.clone()),
            registry,
            key: Arc::clone(&key),
            site: "inside".parse().unwrap(),
            job_repositories: vec![("cargo".into(), "crates".into())],
        };
        let forge = Forge::over(parts, refs.clone(), told.clone());
        Self { forge, db, clock, key, refs, told, _home: home }
    }

    pub fn plan(&self, jobs: Vec<PlannedJob>) {
        *self.told.0.lock().unwrap() = Planned { jobs, error: String::new() };
    }

    /// Pushes `main` and returns the pipeline.
    pub async fn push(&self, project: &ProjectRow) -> cofferdam_store::PipelineRow {
        self.forge.pushed(project, "person:alice", &[moved()]).await.unwrap().remove(0)
    }
}

pub fn moved() -> Moved {
    Moved { reference: "refs/heads/main".into(), before: ZERO.into(), after: SHA.into() }
}

/// A job of a stage, with nothing else to say.
pub fn job(name: &str, stage: usize) -> PlannedJob {
    PlannedJob {
        name: name.into(),
        stage: format!("stage{stage}"),
        stage_index: stage,
        script: vec!["make".into()],
        ..PlannedJob::default()
    }
}
