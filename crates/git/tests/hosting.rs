//! The real git client against the service, over a small loopback HTTP server.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use cofferdam_git::{GitBinary, GitService, Push, PushPolicy, RefUpdate, Service};
use cofferdam_types::{Error, ProjectId};
use futures::{StreamExt as _, TryStreamExt as _};

const PROJECT: ProjectId = ProjectId(7);

/// Refuses pushes to `refs/heads/locked`, remembers the others.
#[derive(Default)]
struct Policy(Mutex<Vec<RefUpdate>>);

#[async_trait]
impl PushPolicy for Policy {
    async fn before(&self, updates: &[RefUpdate]) -> Result<(), String> {
        match updates.iter().find(|u| u.name == "refs/heads/locked") {
            Some(_) => Err("the branch `locked` is closed\nask its owner".into()),
            None => Ok(()),
        }
    }

    async fn after(&self, updates: &[RefUpdate]) {
        self.0.lock().unwrap().extend_from_slice(updates);
    }
}

#[derive(Clone)]
struct World {
    git: GitBinary,
    policy: Arc<Policy>,
    home: Arc<tempfile::TempDir>,
    url: Arc<String>,
}

fn answer(service: &str, kind: &str, stream: Result<cofferdam_git::ByteStream, Error>) -> Response {
    match stream {
        Ok(stream) => Response::builder()
            .header(header::CONTENT_TYPE, format!("application/x-{service}-{kind}"))
            .body(Body::from_stream(stream))
            .unwrap(),
        Err(error) => {
            Response::builder().status(StatusCode::BAD_REQUEST).body(Body::from(error.to_string())).unwrap()
        }
    }
}

async fn info(
    State(w): State<World>,
    Query(q): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let service = if q[0].1 == "git-upload-pack" { Service::UploadPack } else { Service::ReceivePack };
    let protocol = headers.get("git-protocol").and_then(|v| v.to_str().ok());
    answer(service.as_str(), "advertisement", w.git.info_refs(PROJECT, service, protocol).await)
}

fn stream(body: Body) -> cofferdam_git::ByteStream {
    body.into_data_stream().map_err(|e| Error::invalid("cut", e.to_string())).boxed()
}

async fn upload(State(w): State<World>, headers: HeaderMap, body: Body) -> Response {
    let protocol = headers.get("git-protocol").and_then(|v| v.to_str().ok());
    let gzip = headers.contains_key(header::CONTENT_ENCODING);
    answer("git-upload-pack", "result", w.git.upload_pack(PROJECT, protocol, gzip, stream(body)).await)
}

async fn receive(State(w): State<World>, headers: HeaderMap, body: Body) -> Response {
    let protocol = headers.get("git-protocol").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let gzip = headers.contains_key(header::CONTENT_ENCODING);
    let policy: Arc<dyn PushPolicy> = w.policy.clone();
    let push = Push { protocol, gzip, body: stream(body), policy, limit: 1 << 20 };
    answer("git-receive-pack", "result", w.git.receive_pack(PROJECT, push).await)
}

async fn world() -> World {
    let home = tempfile::tempdir().unwrap();
    let git = GitBinary::open(&home.path().join("repos")).await.unwrap();
    git.init(PROJECT, "main").await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/p.git", listener.local_addr().unwrap());
    let world = World { git, policy: Arc::default(), home: Arc::new(home), url: Arc::new(url) };
    let routes = Router::new()
        .route("/p.git/info/refs", get(info))
        .route("/p.git/git-upload-pack", post(upload))
        .route("/p.git/git-receive-pack", post(receive))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(world.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    world
}

impl World {
    /// Runs the client; `Ok` is its output, `Err` what it complained about.
    async fn client(&self, folder: &Path, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("git");
        command.args([
            "-c",
            "user.name=Alice",
            "-c",
            "user.email=alice@example.org",
            "-c",
            "init.defaultBranch=main",
        ]);
        command
            .args(arguments)
            .current_dir(folder)
            .env("HOME", self.home.path())
            .env("GIT_CONFIG_NOSYSTEM", "1");
        let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() {
            Ok(text(&done.stdout) + &text(&done.stderr))
        } else {
            Err(text(&done.stderr))
        }
    }

    async fn commit(&self, folder: &Path, file: &str, text: &str) {
        std::fs::write(folder.join(file), text).unwrap();
        self.client(folder, &["add", "."]).await.unwrap();
        self.client(folder, &["commit", "--quiet", "-m", &format!("write {file}")]).await.unwrap();
    }

    async fn pushed(&self) -> std::path::PathBuf {
        let work = self.home.path().join("work");
        std::fs::create_dir(&work).unwrap();
        self.client(&work, &["init", "--quiet"]).await.unwrap();
        self.commit(&work, "a.txt", "one").await;
        self.commit(&work, "b.txt", "two").await;
        self.client(&work, &["push", &self.url, "main"]).await.unwrap();
        work
    }
}

#[tokio::test]
async fn what_is_pushed_can_be_cloned_whole_and_shallow() {
    let world = world().await;
    world.pushed().await;
    let moved = world.policy.0.lock().unwrap().clone();
    assert_eq!((moved.len(), moved[0].name.as_str()), (1, "refs/heads/main"));
    assert!(moved[0].old.is_zero());
    world.client(world.home.path(), &["clone", "--quiet", &world.url, "whole"]).await.unwrap();
    assert_eq!(std::fs::read_to_string(world.home.path().join("whole/b.txt")).unwrap(), "two");
    world.client(world.home.path(), &["clone", "--quiet", "--depth=1", &world.url, "shallow"]).await.unwrap();
    let count =
        world.client(&world.home.path().join("shallow"), &["rev-list", "--count", "HEAD"]).await.unwrap();
    assert_eq!(count.trim(), "1");

    let head = world.git.resolve(PROJECT, "main").await.unwrap().unwrap();
    assert_eq!(head, moved[0].new);
    assert_eq!(world.git.read_file(PROJECT, &head, "a.txt", 10).await.unwrap(), Some(b"one".to_vec()));
    assert_eq!(world.git.read_file(PROJECT, &head, "none", 10).await.unwrap(), None);
    assert!(world.git.read_file(PROJECT, &head, "a.txt", 2).await.is_err());
    let log = world.git.log(PROJECT, &head, 10).await.unwrap();
    assert_eq!((log.len(), log[0].subject.as_str(), log[0].author.as_str()), (2, "write b.txt", "Alice"));
    let changed = world.git.changed_paths(PROJECT, &log[1].oid, &head).await.unwrap();
    assert_eq!(changed, ["b.txt"]);
    let tree = world.git.list_tree(PROJECT, &head).await.unwrap();
    assert_eq!(
        tree.iter().map(|e| (e.path.as_str(), e.size)).collect::<Vec<_>>(),
        [("a.txt", 3), ("b.txt", 3)]
    );
    world.git.update_ref(PROJECT, "refs/pipelines/1", &head).await.unwrap();
    let whole = world.home.path().join("whole");
    world
        .client(&whole, &["fetch", "--quiet", "origin", "+refs/pipelines/1:refs/pipelines/1"])
        .await
        .unwrap();
    assert_eq!(world.git.resolve(PROJECT, "--help").await.unwrap(), None);
}

#[tokio::test]
async fn a_refused_push_says_why_and_leaves_nothing() {
    let world = world().await;
    let work = world.pushed().await;
    let before = world.git.list_refs(PROJECT).await.unwrap();
    world.commit(&work, "c.txt", "three").await;
    let said = world.client(&work, &["push", &world.url, "main:locked"]).await.unwrap_err();
    assert!(said.contains("remote: the branch `locked` is closed"), "{said}");
    assert!(said.contains("remote: ask its owner"), "{said}");
    let said = world.client(&work, &["push", &world.url, "main:refs/pipelines/9"]).await.unwrap_err();
    assert!(said.contains("only branches"), "{said}");
    assert_eq!(world.git.list_refs(PROJECT).await.unwrap(), before);
    let head = world.client(&work, &["rev-parse", "HEAD"]).await.unwrap();
    assert_eq!(world.git.resolve(PROJECT, head.trim()).await.unwrap(), None, "its objects are not kept");
    let large = "x".repeat(3 << 20) + &(0..200_000).map(|i| i.to_string()).collect::<String>();
    world.commit(&work, "large.txt", &large).await;
    std::fs::write(
        work.join("noise"),
        (0..400_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect::<Vec<_>>(),
    )
    .unwrap();
    world.commit(&work, "d.txt", "four").await;
    assert!(world.client(&work, &["push", &world.url, "main:big"]).await.is_err(), "the limit holds");
    assert_eq!(world.git.list_refs(PROJECT).await.unwrap(), before);
    assert_eq!(std::fs::read_dir(world.home.path().join("repos/work")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_bundle_carries_a_project_and_lies_about_nothing() {
    let world = world().await;
    world.pushed().await;
    let bundle = world.home.path().join("bundle");
    let refs = world.git.bundle(PROJECT, &["refs/heads/main".into()], &[], &bundle).await.unwrap();
    let other = ProjectId(8);
    world.git.init(other, "main").await.unwrap();
    world.git.unbundle(other, &bundle, &refs).await.unwrap();
    assert_eq!(world.git.list_refs(other).await.unwrap(), refs);
    world.git.unbundle(other, &bundle, &refs).await.unwrap();

    let third = ProjectId(9);
    world.git.init(third, "main").await.unwrap();
    let lie = vec![("refs/heads/main".to_owned(), "1".repeat(40).parse().unwrap())];
    assert_eq!(world.git.unbundle(third, &bundle, &lie).await.unwrap_err().code(), "git-refs");
    assert_eq!(world.git.list_refs(third).await.unwrap(), []);
    let mut bytes = std::fs::read(&bundle).unwrap();
    let middle = bytes.len() - 30;
    bytes[middle] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let fourth = ProjectId(10);
    world.git.init(fourth, "main").await.unwrap();
    assert_eq!(world.git.unbundle(fourth, &bundle, &refs).await.unwrap_err().code(), "git-bundle");
    assert_eq!(world.git.list_refs(fourth).await.unwrap(), []);
}

#[tokio::test]
async fn a_transfer_does_not_take_away_what_was_done_here() {
    let world = world().await;
    let work = world.pushed().await;
    let other = ProjectId(8);
    world.git.init(other, "main").await.unwrap();
    let first = world.home.path().join("first");
    let refs = world.git.bundle(PROJECT, &["refs/heads/main".into()], &[], &first).await.unwrap();
    assert_eq!(world.git.unbundle(other, &first, &refs).await.unwrap(), Vec::<String>::new());

    // Here somebody commits; there, too.
    world.commit(&work, "there.txt", "there").await;
    world.client(&work, &["push", &world.url, "main"]).await.unwrap();
    let tree = world.home.path().join("repos").join(format!("{other}.git"));
    let here =
        world.client(&tree, &["commit-tree", "-p", "main", "-m", "done here", "main^{tree}"]).await.unwrap();
    let here: cofferdam_git::Oid = here.trim().parse().unwrap();
    world.git.update_ref(other, "refs/heads/main", &here).await.unwrap();

    let second = world.home.path().join("second");
    let arrived = world.git.bundle(PROJECT, &["refs/heads/main".into()], &[], &second).await.unwrap();
    let aside = world.git.unbundle(other, &second, &arrived).await.unwrap();
    assert_eq!(aside, ["refs/heads/transferred/main"]);
    let now = world.git.list_refs(other).await.unwrap();
    let expected = [("refs/heads/main".to_owned(), here), (aside[0].clone(), arrived[0].1.clone())];
    assert_eq!(now, expected);
}
