//! git's own client, recorded and replayed: a server for git stands behind the format in a recording, and
//! nothing does in a replay. Skipped by name on a machine without git's server.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use axum::{Router, body::Body, extract::State, response::Response};
use cofferdam_format_kit::{
    Answer, Body as KitBody, Change, Draft, Fetched, Format as _, Question, Recorded, RepositoryKind, Route,
    Upstream, View as _,
    conformance::{MemoryRepository, MemoryUpstream, check},
};
use cofferdam_format_web::Web;
use cofferdam_testkit::{GitAsked, GitBackend};
use cofferdam_types::{Error, Result};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// The server for git, as an upstream of arbitrary addresses.
struct Outside(GitBackend);

impl Outside {
    async fn answer(&self, url: &str, headers: &HeaderMap, question: Option<&Question>) -> Result<Fetched> {
        let rest = url.strip_prefix("https://files.example").expect("the one host there is").to_owned();
        let protocol = headers.get("git-protocol").map_or("", |v| v.to_str().unwrap()).to_owned();
        let (git, question) = (self.0.clone(), question.cloned());
        let (status, headers, body) = tokio::task::spawn_blocking(move || {
            let (path, query) = rest.split_once('?').unwrap_or((&rest, ""));
            git.answer(&GitAsked {
                method: if question.is_some() { "POST" } else { "GET" },
                path,
                query,
                media_type: question.as_ref().map_or("", |q| q.media_type),
                protocol: &protocol,
                body: question.as_ref().map_or(b"", |q| &q.body),
            })
        })
        .await
        .unwrap();
        let headers = headers
            .iter()
            .map(|(n, v)| (HeaderName::from_bytes(n.as_bytes()).unwrap(), HeaderValue::from_str(v).unwrap()));
        Ok(Fetched {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            url: url.to_owned(),
            body: futures::stream::once(async move { Ok(body.into()) }).boxed(),
            connection: None,
        })
    }
}

#[async_trait]
impl Upstream for Outside {
    fn root(&self) -> &str {
        ""
    }

    async fn get(&self, _url: &str, _accept: Option<&str>) -> Result<Fetched> {
        unreachable!("the format fetches")
    }

    async fn fetch(&self, url: &str, headers: &HeaderMap) -> Result<Fetched> {
        self.answer(url, headers, None).await
    }

    async fn ask(&self, url: &str, headers: &HeaderMap, question: &Question) -> Result<Fetched> {
        self.answer(url, headers, Some(question)).await
    }
}

/// A site with one repository of addresses.
struct World {
    repository: MemoryRepository,
    outside: Mutex<Option<Arc<Outside>>>,
    recorded: Mutex<Vec<Draft>>,
    folder: tempfile::TempDir,
    backend: GitBackend,
    base: String,
}

impl World {
    /// With a repository of two commits and one that has it as a submodule.
    async fn new() -> Option<Arc<Self>> {
        let folder = tempfile::tempdir().unwrap();
        let Some(backend) = GitBackend::find(folder.path()) else {
            println!("skipped: git: not on this machine");
            return None;
        };
        backend.script(
            "git init -q work; cd work; echo one > a; git add a; git commit -qm one; echo two > a; \
             git commit -qam two; cd ..; mkdir o; git clone -q --bare work o/r.git; \
             git init -q outer; cd outer; \
             git -c protocol.file.allow=always submodule --quiet add -b main ../o/r.git inner; \
             git config -f .gitmodules submodule.inner.url ../r.git; git add .gitmodules; \
             git commit -qm outer; cd ..; git clone -q --bare outer o/outer.git",
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let world = Arc::new(Self {
            repository: MemoryRepository::new("web", RepositoryKind::Mirror, &base),
            outside: Mutex::new(Some(Arc::new(Outside(backend.clone())))),
            recorded: Mutex::default(),
            folder,
            backend,
            base,
        });
        let routes = Router::new().fallback(serve).with_state(Arc::clone(&world));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Some(world)
    }

    fn shut(&self) {
        *self.outside.lock().unwrap() = None;
    }

    /// Runs git as somebody who calls itself `agent`, with the address of a repository's server.
    fn git(&self, agent: &str, args: &[&str]) -> std::result::Result<String, String> {
        let mut git = Command::new("git");
        git.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        git.env("HOME", self.folder.path()).env("GIT_USER_AGENT", agent).env("GIT_TERMINAL_PROMPT", "0");
        let done = git.current_dir(self.folder.path()).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    fn url(&self, repository: &str) -> String {
        format!("{}/https/files.example/o/{repository}", self.base)
    }

    fn claims(&self) -> Vec<Draft> {
        self.recorded.lock().unwrap().clone()
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap().trim().to_owned()
    }

    async fn answer(&self, method: Method, path: &str, headers: &HeaderMap, body: Body) -> Result<Answer> {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        let mut request = self.repository.request(method, path, &headers);
        if let Some(limit) = Web.takes_question(&request) {
            let limit = usize::try_from(limit).unwrap();
            request.body = axum::body::to_bytes(body, limit).await.expect("a short question");
        }
        let route = Web.route(&request).ok_or_else(|| Error::not_found("no such address"))?;
        let outside = self.outside.lock().unwrap().clone();
        let mut recorded = Recorded::default();
        if let (Some(outside), Some(want)) = (outside, Web.want(&request, &route)) {
            recorded = Web.record(&want, &self.repository, outside.as_ref(), &self.repository).await?;
            self.repository.commit(&Web, &recorded.changes).await?;
            self.recorded.lock().unwrap().extend(recorded.changes.iter().map(|change| match change {
                Change::Release(draft) => draft.clone(),
                other => panic!("a release, not {other:?}"),
            }));
            self.repository.give(recorded.file.as_deref().expect("a file"));
        }
        let route = match recorded.file {
            Some(path) => Route::File { path, package: None },
            None => Web.settle(&request, &route, &self.repository).await?,
        };
        Web.serve(&request, &route, &self.repository).await
    }
}

async fn serve(State(world): State<Arc<World>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let answer = world.answer(parts.method, path, &parts.headers, body).await;
    let answer = answer.unwrap_or_else(|error| Web.error(&error));
    let body = match answer.body {
        KitBody::Blob { sha256, .. } => world.repository.read(&sha256).await.unwrap(),
        KitBody::Bytes(bytes) => bytes,
        other => panic!("a body, not {other:?}"),
    };
    let mut response = Response::new(Body::from(body));
    (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_is_replayed_to_a_client_that_calls_itself_otherwise() {
    let Some(world) = World::new().await else { return };
    let url = world.url("r.git");
    world.git("git/2.39.5", &["clone", "-q", &url, "recorded"]).unwrap();
    let asked = world.claims().len();
    assert_eq!(asked, 3, "the references' beginning, their list, and the pack");
    world.shut();
    world.git("git/9.9.9-Other", &["clone", "-q", &url, "replayed"]).unwrap();
    let head = |folder| world.git("x", &["-C", folder, "rev-parse", "HEAD"]).unwrap();
    assert_eq!(head("recorded"), head("replayed"));
    assert_eq!(world.read("replayed/a"), "two");
    world.git("x", &["-C", "replayed", "fsck", "--strict"]).unwrap();
    check(&Web, &world.repository).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_version_of_the_protocol_has_its_own_answers() {
    let Some(world) = World::new().await else { return };
    let url = world.url("r.git");
    let clone = |version: &str, to: &str| {
        world.git("git/2", &["-c", &format!("protocol.version={version}"), "clone", "-q", &url, to])
    };
    clone("2", "two").unwrap();
    world.shut();
    let error = clone("0", "early").unwrap_err();
    assert!(error.contains("not found") || error.contains("404"), "{error}");
    *world.outside.lock().unwrap() = Some(Arc::new(Outside(world.backend.clone())));
    clone("0", "zero").unwrap();
    world.shut();
    for version in ["0", "2"] {
        clone(version, &format!("again-{version}")).unwrap();
        assert_eq!(world.read(&format!("again-{version}/a")), "two");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shallow_clones_submodules_and_later_fetches_are_replayed() {
    let Some(world) = World::new().await else { return };
    let (outer, url) = (world.url("outer.git"), world.url("r.git"));
    let build = |to: &str| {
        let shallow = format!("{to}-shallow");
        world.git("git/2", &["clone", "-q", "--depth", "1", &url, &shallow])?;
        world.git("git/2", &["clone", "-q", "--recurse-submodules", &outer, to])?;
        let old = world.git("git/2", &["-C", &format!("{to}/inner"), "rev-parse", "HEAD~1"])?;
        let part = format!("{to}-part");
        world.git("git/2", &["init", "-q", &part])?;
        world.git("git/2", &["-C", &part, "fetch", "-q", "--depth", "1", &url, &old])?;
        world.git("git/2", &["-C", &part, "fetch", "-q", &url, "main"])?;
        world.git("git/2", &["-C", &part, "show", "FETCH_HEAD:a"])
    };
    assert_eq!(build("recorded").unwrap(), "two");
    // What the server has meanwhile is nothing to the replay.
    world.backend.script("cd work; echo three > a; git commit -qam three; git push -q ../o/r.git HEAD");
    world.shut();
    assert_eq!(build("replayed").unwrap(), "two");
    assert_eq!(world.read("replayed/inner/a"), "two");
    assert_eq!(world.git("x", &["-C", "replayed-shallow", "rev-list", "--count", "HEAD"]).unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asked_in_the_recording_is_not_recorded() {
    let Some(world) = World::new().await else { return };
    let url = world.url("r.git");
    world.git("git/2", &["clone", "-q", "--depth", "1", &url, "recorded"]).unwrap();
    world.shut();
    let error = world.git("git/2", &["clone", "-q", &url, "replayed"]).unwrap_err();
    assert!(error.contains("404") || error.contains("not found"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_for_a_question_crosses_and_one_in_the_wrong_place_does_not() {
    let Some(world) = World::new().await else { return };
    world.git("git/2", &["clone", "-q", &world.url("r.git"), "recorded"]).unwrap();
    let claims = world.claims();
    for claim in &claims {
        assert_eq!(&Web.admit(claim, &world.repository).await.unwrap(), claim);
    }
    let posts = claims.iter().filter(|c| c.files[0].meta["question"].is_string());
    let posts: Vec<&Draft> = posts.collect();
    assert_eq!(posts.len(), 2, "{claims:?}");
    assert_eq!(posts[0].files[0].meta["vary"]["git-protocol"], "version=2");
    for edit in [("question", "0".repeat(64)), ("url", "https://files.example/o/r.git/info/refs".into())] {
        let mut wrong = posts[0].clone();
        wrong.files[0].meta[edit.0] = edit.1.into();
        let error = Web.admit(&wrong, &world.repository).await.unwrap_err();
        assert_eq!(error.code(), "claim-mismatch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cargo_fetches_a_dependency_by_its_own_git() {
    let Some(world) = World::new().await else { return };
    world.backend.script(
        "git init -q crate; cd crate; mkdir src; touch src/lib.rs; \
         printf '[package]\\nname = \"dep\"\\nversion = \"1.0.0\"\\nedition = \"2021\"\\n' > Cargo.toml; \
         git add .; git commit -qm one; cd ..; git clone -q --bare crate o/dep.git",
    );
    let fetch = |to: &str| {
        let folder = world.folder.path().join(to);
        std::fs::create_dir_all(folder.join("src")).unwrap();
        std::fs::write(folder.join("src/lib.rs"), "").unwrap();
        let manifest = format!(
            "[package]\nname = \"x\"\nversion = \"1.0.0\"\n\n[dependencies]\ndep = {{ git = \"{}\" }}\n\n[workspace]\n",
            world.url("dep.git")
        );
        std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.arg("fetch").current_dir(&folder).env("CARGO_HOME", folder.join("home"));
        cargo.env("CARGO_NET_GIT_FETCH_WITH_CLI", "false").env("CARGO_NET_RETRY", "0");
        let done = cargo.output().unwrap();
        assert!(done.status.success(), "{to}: {}", String::from_utf8_lossy(&done.stderr));
        std::fs::read_to_string(folder.join("Cargo.lock")).unwrap()
    };
    let recorded = fetch("recorded");
    assert!(recorded.contains("dep.git#"), "{recorded}");
    assert!(world.claims().iter().any(|c| c.files[0].meta["question"].is_string()));
    world.shut();
    assert_eq!(fetch("replayed"), recorded);
}

#[tokio::test]
async fn other_questions_are_refused_and_one_registry_is_asked_none() {
    const ASKS: &str = "application/x-git-upload-pack-request";
    let repository = MemoryRepository::new("web", RepositoryKind::Mirror, "http://site.example/r/web");
    let path = "/https/files.example/o/r.git/git-upload-pack";
    for (path, headers) in [
        (path, [("content-type", "application/x-git-receive-pack-request")].as_slice()),
        (path, &[("content-type", ASKS), ("content-encoding", "gzip")]),
        ("/https/files.example/o/r.git/git-upload-pack?x=1", &[("content-type", ASKS)]),
        ("/https/files.example/o/r.git/git-receive-pack", &[("content-type", ASKS)]),
    ] {
        let request = repository.request(Method::POST, path, headers);
        assert!(Web.takes_question(&request).is_none(), "{path} {headers:?}");
        assert_eq!(Web.route(&request), Some(Route::Api("refused")));
    }
    let asking = |body: &'static str| {
        let mut request = repository.request(Method::POST, path, &[("content-type", ASKS)]);
        request.body = body.into();
        let route = Web.route(&request).expect("a route");
        (request, route)
    };
    let (request, route) = asking("a=b");
    assert_eq!(Web.want(&request, &route), None);
    assert_eq!(Web.serve(&request, &route, &repository).await.unwrap_err().code(), "bad-question");
    let (request, route) = asking("0000");
    let want = Web.want(&request, &route).unwrap();
    let error = Web.record(&want, &repository, &MemoryUpstream::new(""), &repository).await.unwrap_err();
    assert_eq!(error.code(), "upstream-question");
}
