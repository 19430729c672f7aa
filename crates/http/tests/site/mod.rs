//! A real server on a port of its own, with people, a runner's hand and a git client.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use cofferdam_access::{Access, NewPerson, NewToken, Role};
use cofferdam_blobs::LocalBlobs;
use cofferdam_crossing::{Crossing, CrossingParts, Projects};
use cofferdam_forge::{Forge, ForgeParts};
use cofferdam_git::{GitBinary, GitService};
use cofferdam_http::{Site, SiteState, router};
use cofferdam_registry::{Registry, RegistryParts};
use cofferdam_runner_api::JobResponse;
use cofferdam_store::{Db, TokenOwner, Tx};
use cofferdam_testkit::TestClock;
use cofferdam_trust::{SigningKey, VerifyingKey};
use cofferdam_types::{Clock, ProjectId, Result, Secret};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

struct NoProjects(Forge);

#[async_trait]
impl Projects for NoProjects {
    async fn find(&self, _: &mut Tx, _: &str) -> Result<Option<ProjectId>> {
        Ok(None)
    }

    async fn create(&self, tx: &mut Tx, path: &str, actor: &str) -> Result<ProjectId> {
        Ok(self.0.create_project_in(tx, actor, path).await?.id)
    }
}

pub struct TestSite {
    pub url: String,
    pub client: Client,
    pub key: VerifyingKey,
    access: Access,
    forge: Forge,
    home: tempfile::TempDir,
}

impl TestSite {
    /// `None`, with the reason printed, where there is no git.
    pub async fn start() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let git: Arc<dyn GitService> = match GitBinary::open(&home.path().join("git")).await {
            Ok(git) => Arc::new(git),
            Err(error) => {
                println!("skipped: git: {error}");
                return None;
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let db = Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        let blobs = Arc::new(LocalBlobs::open(&home.path().join("blobs")).unwrap());
        let key = Arc::new(SigningKey::from_seed(&[9; 32]).unwrap());
        let access = Access::new(db.clone(), clock.clone());
        let registry = Registry::new(RegistryParts {
            db: db.clone(),
            blobs: blobs.clone(),
            formats: vec![Arc::new(cofferdam_format_cargo::Cargo)],
            upstreams: BTreeMap::new(),
            clock: clock.clone(),
            public_url: url.clone(),
        });
        let forge = Forge::new(ForgeParts {
            db,
            blobs,
            git: git.clone(),
            clock: clock.clone(),
            registry: registry.clone(),
            key: key.clone(),
            site: "inside".parse().unwrap(),
            job_repositories: vec![("cargo".into(), "crates".into())],
        });
        let crossing = Crossing::new(CrossingParts {
            site: "inside".parse().unwrap(),
            registry: registry.clone(),
            access: access.clone(),
            git,
            projects: Arc::new(NoProjects(forge.clone())),
            key: key.clone(),
            sealing: cofferdam_trust::age::SealingKey::from_secret(&[7; 32]).unwrap(),
            staging: home.path().join("staging"),
            ledger: home.path().join("ledger"),
            receipt_level: 3,
            tool: "test".into(),
            upstream_keys: Default::default(),
        });
        let state = SiteState {
            name: "inside".parse().unwrap(),
            connected: false,
            registry,
            crossing,
            key: key.verifying_key(),
            forge: forge.clone(),
            access: access.clone(),
            anonymous_read: true,
            clock,
        };
        let routes = router(Site::new(state));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Some(Self { url, client, key: key.verifying_key(), access, forge, home })
    }

    /// A person who pushes; their token.
    pub async fn developer(&self, name: &str) -> String {
        let new = NewPerson {
            name: name.parse().unwrap(),
            display: name.into(),
            password: None,
            roles: vec![Role::Developer],
        };
        let id = self.access.create_person(new, "test").await.unwrap();
        let token = NewToken { name: "test", owner: TokenOwner::Person(id), scopes: "", lifetime: None };
        let token: Secret<String> = self.access.create_token(token, "test").await.unwrap();
        token.expose().clone()
    }

    pub async fn runner(&self) -> String {
        self.forge.register_runner("person:admin", "a machine", &[], true).await.unwrap().1.expose().clone()
    }

    pub async fn api(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Value {
        let request = self.client.request(method.parse().unwrap(), format!("{}/api/v1/{path}", self.url));
        let request = request.bearer_auth(token);
        let request = if let Some(body) = body {
            request.header("content-type", "application/json").body(body.to_string())
        } else {
            request
        };
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub async fn text(&self, token: &str, path: &str) -> String {
        let answer =
            self.client.get(format!("{}/api/v1/{path}", self.url)).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    pub async fn request_job(&self, runner: &str) -> Option<JobResponse> {
        let body = json!({ "token": runner, "system_id": "s_1", "info": { "name": "test" } });
        let answer = self
            .client
            .post(format!("{}/api/v4/jobs/request", self.url))
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        match answer.status() {
            StatusCode::CREATED => Some(serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()),
            StatusCode::NO_CONTENT => None,
            other => panic!("{other}: {}", answer.text().await.unwrap()),
        }
    }

    async fn piece(&self, job: &JobResponse, range: &str, text: &'static str) -> (StatusCode, String) {
        let answer = self
            .client
            .patch(format!("{}/api/v4/jobs/{}/trace", self.url, job.id))
            .header("JOB-TOKEN", &job.token)
            .header("Content-Range", range)
            .body(text)
            .send()
            .await
            .unwrap();
        let at = answer.headers().get("range").map_or("", |v| v.to_str().unwrap()).to_owned();
        (answer.status(), at)
    }

    /// A log as a runner writes it that loses an answer on the way.
    pub async fn follow_the_protocol(&self, job: &JobResponse) {
        assert_eq!(self.piece(job, "0-5", "hello ").await, (StatusCode::ACCEPTED, "0-6".into()));
        assert_eq!(self.piece(job, "0-5", "hello ").await, (StatusCode::RANGE_NOT_SATISFIABLE, "0-6".into()));
        assert_eq!(self.piece(job, "6-99", "wor").await, (StatusCode::RANGE_NOT_SATISFIABLE, "0-6".into()));
        assert_eq!(self.piece(job, "6-10", "world").await, (StatusCode::ACCEPTED, "0-11".into()));
        assert_eq!(self.piece(job, "wrong", "").await.0, StatusCode::BAD_REQUEST);
    }

    pub async fn upload(&self, job: &JobResponse, bytes: Vec<u8>) -> StatusCode {
        let head =
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"artifacts.zip\"\r\n\r\n";
        let body = [head.as_bytes(), &bytes, b"\r\n--edge--\r\n"].concat();
        let url = format!("{}/api/v4/jobs/{}/artifacts", self.url, job.id);
        self.client
            .post(format!("{url}?artifact_format=zip&artifact_type=archive&expire_in=1%20week"))
            .header("JOB-TOKEN", &job.token)
            .header("Content-Type", "multipart/form-data; boundary=edge")
            .body(body)
            .send()
            .await
            .unwrap()
            .status()
    }

    pub async fn finish(&self, job: &JobResponse, state: &str, log: &[u8]) -> StatusCode {
        let output =
            json!({ "checksum": format!("crc32:{:08x}", crc32fast::hash(log)), "bytesize": log.len() });
        let body = json!({ "token": job.token, "state": state, "output": output });
        let url = format!("{}/api/v4/jobs/{}", self.url, job.id);
        self.client
            .put(url)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await
            .unwrap()
            .status()
    }

    pub fn clone_url(&self, name: &str, token: &str, path: &str) -> String {
        format!("{}/{path}.git", self.url.replace("://", &format!("://{name}:{token}@")))
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("client")
    }

    pub fn write(&self, path: &str, text: &str) {
        std::fs::write(self.folder().join(path), text).unwrap();
    }

    pub async fn git(&self, args: &[&str]) -> String {
        self.try_git(args).await.unwrap_or_else(|error| panic!("git {args:?}: {error}"))
    }

    /// git with a home of its own, which asks nobody anything.
    pub async fn try_git(&self, args: &[&str]) -> std::result::Result<String, String> {
        std::fs::create_dir_all(self.folder()).unwrap();
        let out = tokio::process::Command::new("git")
            .args(["-c", "user.name=Alice", "-c", "user.email=alice@site.example"])
            .args(args)
            .current_dir(self.folder())
            .env("HOME", self.folder())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("NO_PROXY", "*")
            .output()
            .await
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }
}
