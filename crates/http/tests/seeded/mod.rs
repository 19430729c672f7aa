//! A site with something of everything in it, some of it with hostile names, asked in-process.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, body::Body};
use bytes::Bytes;
use cofferdam_access::{Access, NewPerson, NewToken, Role, approval};
use cofferdam_blobs::LocalBlobs;
use cofferdam_crossing::{Crossing, CrossingParts, Projects, SUBJECT_KIND};
use cofferdam_forge::{Forge, ForgeParts, Moved, ZERO};
use cofferdam_format_kit::RepositoryKind;
use cofferdam_git::{GitBinary, GitService};
use cofferdam_http::{Site, SiteState, router};
use cofferdam_registry::{Registry, RegistryParts};
use cofferdam_store::{Db, MediumRow, NewWant, ServedRow, TokenOwner, TransferItemRow, TransferRow, Tx};
use cofferdam_testkit::TestClock;
use cofferdam_trust::SigningKey;
use cofferdam_types::{Clock, JobId, PersonId, ProjectId, Result, Secret, Sha256, TransferId};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use tower::ServiceExt as _;

pub const HOST: &str = "site.example";
pub const PASSWORD: &str = "a long password";
/// What somebody hostile calls things.
pub const HOSTILE: &str = "<script>alert('x')</script>";

/// A publication can be held where it makes a project, in the middle of its one transaction.
#[derive(Clone, Default)]
pub struct Hold(Arc<(AtomicBool, Notify, Notify)>);

impl Hold {
    pub fn close(&self) {
        self.0.0.store(true, Ordering::Relaxed);
    }

    /// When a publication stands there.
    pub async fn reached(&self) {
        self.0.1.notified().await;
    }

    pub fn open(&self) {
        self.0.2.notify_one();
    }

    async fn pass(&self) {
        if self.0.0.load(Ordering::Relaxed) {
            self.0.1.notify_one();
            self.0.2.notified().await;
        }
    }
}

struct NoProjects(Forge, Hold);

#[async_trait]
impl Projects for NoProjects {
    async fn find(&self, _: &mut Tx, _: &str) -> Result<Option<ProjectId>> {
        Ok(None)
    }

    async fn create(&self, tx: &mut Tx, path: &str, actor: &str) -> Result<ProjectId> {
        self.1.pass().await;
        Ok(self.0.create_project_in(tx, actor, path).await?.id)
    }
}

pub struct World {
    pub routes: Router,
    pub access: Access,
    pub forge: Forge,
    pub registry: Registry,
    pub clock: TestClock,
    pub hold: Hold,
    home: tempfile::TempDir,
}

/// An answer with its text.
pub struct Got {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl World {
    /// `None`, with the reason printed, where there is no git.
    pub async fn new(anonymous_read: bool, scheme: &str) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let git: Arc<dyn GitService> = match GitBinary::open(&home.path().join("git")).await {
            Ok(git) => Arc::new(git),
            Err(error) => {
                println!("skipped: git: {error}");
                return None;
            }
        };
        let db = Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
        let test_clock = TestClock::default();
        let clock: Arc<dyn Clock> = Arc::new(test_clock.clone());
        let blobs = Arc::new(LocalBlobs::open(&home.path().join("blobs")).unwrap());
        let key = Arc::new(SigningKey::from_seed(&[9; 32]).unwrap());
        let access = Access::new(db.clone(), clock.clone());
        let registry = Registry::new(RegistryParts {
            db: db.clone(),
            blobs: blobs.clone(),
            formats: vec![Arc::new(cofferdam_format_generic::Generic)],
            upstreams: BTreeMap::new(),
            clock: clock.clone(),
            public_url: format!("{scheme}://{HOST}"),
        });
        let forge = Forge::new(ForgeParts {
            db,
            blobs,
            git: git.clone(),
            clock: clock.clone(),
            registry: registry.clone(),
            key: key.clone(),
            site: "inside".parse().unwrap(),
            job_repositories: Vec::new(),
        });
        let hold = Hold::default();
        let crossing = Crossing::new(CrossingParts {
            site: "inside".parse().unwrap(),
            registry: registry.clone(),
            access: access.clone(),
            git,
            projects: Arc::new(NoProjects(forge.clone(), hold.clone())),
            key: key.clone(),
            sealing: cofferdam_trust::age::SealingKey::from_secret(&[7; 32]).unwrap(),
            staging: home.path().join("staging"),
            ledger: home.path().join("ledger"),
            receipt_level: 3,
            tool: "test".into(),
            upstream_keys: Default::default(),
        });
        let routes = router(Site::new(SiteState {
            name: "inside".parse().unwrap(),
            connected: false,
            registry: registry.clone(),
            crossing,
            key: key.verifying_key(),
            forge: forge.clone(),
            access: access.clone(),
            anonymous_read,
            clock,
        }));
        Some(Self { routes, access, forge, registry, clock: test_clock, hold, home })
    }

    pub async fn person(&self, name: &str, roles: &[Role]) -> PersonId {
        let password = Some(Secret::new(PASSWORD.to_owned()));
        let new =
            NewPerson { name: name.parse().unwrap(), display: name.into(), password, roles: roles.to_vec() };
        self.access.create_person(new, "test").await.unwrap()
    }

    pub async fn token(&self, owner: TokenOwner) -> String {
        let new = NewToken { name: "test", owner, scopes: "", lifetime: None };
        self.access.create_token(new, "test").await.unwrap().expose().clone()
    }

    /// A person with a session; the value of the `Cookie` header.
    pub async fn session(&self, name: &str, roles: &[Role]) -> String {
        let id = self.person(name, roles).await;
        format!("cofferdam_session={}", self.token(TokenOwner::Person(id)).await)
    }

    pub async fn send(&self, request: Request<Body>) -> Got {
        let answer = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Got { status: parts.status, headers: parts.headers, text }
    }

    pub async fn get(&self, path: &str, cookie: &str) -> Got {
        let request = Request::get(path).header(header::HOST, HOST).header(header::COOKIE, cookie);
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// A form of our own page.
    pub async fn post(&self, path: &str, cookie: &str, form: &str) -> Got {
        self.post_from("same-origin", path, cookie, form).await
    }

    pub async fn post_from(&self, site: &str, path: &str, cookie: &str, form: &str) -> Got {
        let request = Request::post(path)
            .header(header::HOST, HOST)
            .header(header::COOKIE, cookie)
            .header("sec-fetch-site", site)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    /// A transfer in quarantine for which `by` has asked approval; its number and digest.
    pub async fn transfer(
        &self,
        seq: u64,
        by: (PersonId, &str),
        items: &[TransferItemRow],
    ) -> (TransferId, Sha256) {
        let digest = Sha256::of(&seq.to_be_bytes());
        let now = self.clock.now();
        let row = TransferRow {
            id: TransferId(0),
            direction: "received".into(),
            stream: "outside-to-inside".into(),
            source: "outside".into(),
            epoch: 1,
            seq,
            header_sha256: Sha256::of(format!("header {seq}").as_bytes()),
            digest,
            state: "quarantined".into(),
            bytes: 4_200_000,
            blobs: 2,
            created: now,
            at: now,
            actor: by.1.into(),
            published: None,
            suite: "sealed-1".into(),
            folder: String::new(),
            outcome: String::new(),
        };
        let mut tx = self.registry.db().write().await.unwrap();
        let id = tx.crossing().insert_transfer(&row).await.unwrap();
        tx.crossing().insert_items(id, items).await.unwrap();
        approval::ask(&mut tx, SUBJECT_KIND, &format!("transfer:{id}"), &digest, by, now).await.unwrap();
        tx.commit().await.unwrap();
        (id, digest)
    }

    /// A repository with a hostile package, published by its client.
    pub async fn packages(&self) {
        let mut tx = self.registry.db().write().await.unwrap();
        let name = "files".parse().unwrap();
        self.registry.create(&mut tx, "test", &name, "generic", RepositoryKind::Hosted, &[]).await.unwrap();
        tx.commit().await.unwrap();
        let developer = self.person("dave", &[Role::Developer]).await;
        let token = self.token(TokenOwner::Person(developer)).await;
        for path in ["tools/1.0/tool.bin", "%3Cb%3Ebold/x.bin", "readme.txt"] {
            let put = Request::put(format!("/r/files/{path}"))
                .header(header::AUTHORIZATION, format!("Bearer {token}"));
            let got = self.send(put.body(Body::from("bytes")).unwrap()).await;
            assert_eq!(got.status, StatusCode::CREATED, "{path}: {}", got.text);
        }
    }

    /// A medium and a want, with hostile names.
    pub async fn paperwork(&self) {
        let now = self.clock.now();
        let mut tx = self.registry.db().write().await.unwrap();
        let medium = MediumRow {
            serial: "<script>".into(),
            transfer: TransferId(1),
            label: HOSTILE.into(),
            files: HOSTILE.into(),
            holder: HOSTILE.into(),
            state: "written".into(),
            at: now,
            actor: "person:olga".into(),
        };
        tx.carry().put_medium(&medium).await.unwrap();
        let (package, actor) = (HOSTILE, "clients");
        let want =
            NewWant { site: "inside", format: "generic", package, version: "", asked: 3, note: "", actor };
        tx.carry().want(want, now).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A recording that used a package and missed one.
    pub async fn recording(&self) {
        let now = self.clock.now();
        let mut tx = self.registry.db().write().await.unwrap();
        let id = tx.crossing().insert_recording("first", HOSTILE, "person:olga", now).await.unwrap();
        tx.served().note("recording", id.0, &served("tools", Some(Sha256::of(b"bytes")))).await.unwrap();
        tx.served().note("recording", id.0, &served("lost", None)).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A running job with a log.
    pub async fn job(&self, log: &'static str) -> JobId {
        let project = self.forge.create_project("person:dave", "team/tool").await.unwrap();
        let repository = self.home.path().join(format!("git/{}.git", project.id));
        let file = format!(
            "\"build {HOSTILE}\":
  script: make
"
        );
        let after = commit(&repository, &file);
        let moved = Moved { reference: "refs/heads/main".into(), before: ZERO.into(), after };
        self.forge.pushed(&project, "person:dave", &[moved]).await.unwrap();
        let runner = self.forge.register_runner("test", "a machine", &[], true).await.unwrap().0.id;
        let job =
            self.forge.request_job(runner, None, Duration::ZERO).await.unwrap().expect("there is a job");
        let id = JobId(job.id);
        self.forge.append_log(id, 0, Bytes::from_static(log.as_bytes())).await.unwrap();
        let mut tx = self.registry.db().write().await.unwrap();
        tx.served().note("job", id.0, &served("tools", Some(Sha256::of(b"bytes")))).await.unwrap();
        tx.served().note("job", id.0, &served("lost", None)).await.unwrap();
        tx.commit().await.unwrap();
        id
    }
}

/// Commits a pipeline file to `main` of a bare repository; the commit.
fn commit(repository: &Path, file: &str) -> String {
    let git = || {
        let mut git = std::process::Command::new("git");
        git.arg("--git-dir").arg(repository).env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", repository);
        git
    };
    let mut import = git().args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
    let stream = format!(
        "commit refs/heads/main\ncommitter D <dave@site.example> 0 +0000\ndata 5\nfirst\n\
         M 100644 inline .gitlab-ci.yml\ndata {}\n{file}\n",
        file.len()
    );
    import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    let out = git().args(["rev-parse", "main"]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn served(package: &str, sha256: Option<Sha256>) -> ServedRow {
    ServedRow {
        repository: "files".into(),
        path: format!("{package}/1.0/tool.bin"),
        package: package.into(),
        version: "1.0".into(),
        sha256,
        size: 5,
        purl: sha256.map(|_| format!("pkg:generic/{package}@1.0")).unwrap_or_default(),
        outcome: if sha256.is_some() { "served" } else { "missing" }.into(),
        at: cofferdam_types::Timestamp(0),
        times: 1,
        source: String::new(),
        askers: vec!["curl/8.5".into()],
    }
}

/// One thing of a transfer.
pub fn item(n: u64, kind: &str, package: &str, value: serde_json::Value, verdict: &str) -> TransferItemRow {
    TransferItemRow {
        n,
        kind: kind.into(),
        repository: if kind == "git" { "team/tool".into() } else { "files".into() },
        format: if kind == "git" { String::new() } else { "generic".into() },
        package: package.into(),
        version: "1.0".into(),
        purl: if kind == "git" { String::new() } else { format!("pkg:generic/{package}@1.0") },
        size: 1234,
        value: value.into(),
        verdict: verdict.into(),
    }
}
