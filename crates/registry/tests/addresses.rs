//! Recorded addresses over a real registry and both databases: an address that changes upstream, and who
//! sees which of its answers.

use std::{
    collections::BTreeMap,
    fs::File,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use cofferdam_blobs::{Batch, Blobs, ByteStream, LocalBlobs, Staged};
use cofferdam_format_kit::{Answer, Body, Fetched, Query, RepositoryKind, Request, Upstream};
use cofferdam_format_web::Web;
use cofferdam_registry::{Mode, Registry, RegistryParts, Session};
use cofferdam_store::{Db, RepositoryRow};
use cofferdam_testkit::TestClock;
use cofferdam_types::{Digests, Error, ErrorKind, JobId, RecordingId, Result, Sha256};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::Semaphore;

/// A server that answers what it is set to, and remembers what it was asked.
#[derive(Default)]
struct Server {
    says: Mutex<(u16, &'static str, Option<&'static str>)>,
    asked: Mutex<Vec<String>>,
}

impl Server {
    fn says(&self, status: u16, text: &'static str) {
        *self.says.lock().unwrap() = (status, text, None);
    }

    fn leads_to(&self, target: &'static str) {
        *self.says.lock().unwrap() = (302, "", Some(target));
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl Upstream for Server {
    fn root(&self) -> &str {
        ""
    }

    async fn get(&self, url: &str, _accept: Option<&str>) -> Result<Fetched> {
        self.asked.lock().unwrap().push(url.to_owned());
        let (status, text, target) = *self.says.lock().unwrap();
        let mut headers = HeaderMap::new();
        headers.extend(target.map(|t| (header::LOCATION, HeaderValue::from_static(t))));
        let body =
            futures::stream::once(async move { Ok(bytes::Bytes::from_static(text.as_bytes())) }).boxed();
        Ok(Fetched {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            url: url.to_owned(),
            body,
            connection: None,
        })
    }
}

/// A disk that keeps nothing before it is let, and then perhaps is full.
struct SlowDisk {
    inner: LocalBlobs,
    turns: Arc<Semaphore>,
    full: Arc<AtomicBool>,
}

#[async_trait]
impl Blobs for SlowDisk {
    async fn keep(&self, staged: Vec<Staged>) -> Result<()> {
        self.turns.acquire().await.unwrap().forget();
        if self.full.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::NoSpace, "no-space", "the disk is full"));
        }
        self.inner.keep(staged).await
    }

    async fn put(&self, body: ByteStream, limit: u64) -> Result<Digests> {
        self.inner.put(body, limit).await
    }

    async fn stage(&self, body: ByteStream, limit: u64) -> Result<Staged> {
        self.inner.stage(body, limit).await
    }

    async fn size(&self, sha256: &Sha256) -> Result<Option<u64>> {
        self.inner.size(sha256).await
    }

    async fn read(&self, sha256: &Sha256, range: Option<Range<u64>>) -> Result<ByteStream> {
        self.inner.read(sha256, range).await
    }

    async fn file(&self, sha256: &Sha256) -> Result<File> {
        self.inner.file(sha256).await
    }

    async fn verify(&self, sha256: &Sha256) -> Result<bool> {
        self.inner.verify(sha256).await
    }

    async fn delete(&self, sha256: &Sha256) -> Result<bool> {
        self.inner.delete(sha256).await
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<Sha256>> {
        self.inner.list(after, limit).await
    }

    fn batch(&self) -> Result<Box<dyn Batch>> {
        self.inner.batch()
    }
}

struct World {
    _home: tempfile::TempDir,
    registry: Registry,
    mirror: RepositoryRow,
    server: Arc<Server>,
    clock: TestClock,
    /// How often the disk may still keep something.
    turns: Arc<Semaphore>,
    full: Arc<AtomicBool>,
}

async fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    let home = tempfile::tempdir().unwrap();
    let sqlite = Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
    worlds.push(World::new(home, sqlite).await);
    if let Some(url) = cofferdam_testkit::postgres() {
        worlds.push(World::new(tempfile::tempdir().unwrap(), Db::open_postgres(&url).await.unwrap()).await);
    }
    worlds
}

impl World {
    async fn new(home: tempfile::TempDir, db: Db) -> Self {
        let (server, clock) = (Arc::new(Server::default()), TestClock::default());
        let upstream: Arc<dyn Upstream> = Arc::clone(&server) as _;
        let (turns, full) = (Arc::new(Semaphore::new(1000)), Arc::new(AtomicBool::new(false)));
        let inner = LocalBlobs::open(&home.path().join("blobs")).unwrap();
        let disk = SlowDisk { inner, turns: Arc::clone(&turns), full: Arc::clone(&full) };
        let registry = Registry::new(RegistryParts {
            db,
            blobs: Arc::new(disk),
            formats: vec![Arc::new(Web)],
            upstreams: BTreeMap::from([("web", upstream)]),
            clock: Arc::new(clock.clone()),
            public_url: "http://site.example".into(),
        });
        let mut tx = registry.db().write().await.unwrap();
        let (name, kind) = ("web".parse().unwrap(), RepositoryKind::Mirror);
        let mirror = registry.create(&mut tx, "system", &name, "web", kind, &[]).await.unwrap();
        tx.commit().await.unwrap();
        Self { _home: home, registry, mirror, server, clock, turns, full }
    }

    async fn ask(&self, path: &str, session: Session) -> Result<Answer> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            method: Method::GET,
            path: path.into(),
            query: Query::parse(query),
            raw_query: query.into(),
            headers: HeaderMap::new(),
            base: String::new(),
            body: bytes::Bytes::new(),
        };
        if !matches!(session, Session::Recording(_, Mode::Record)) {
            // Rehearsals begin when their recording has ended.
            self.registry.settle_all().await;
        }
        let route = self.registry.format("web").unwrap().route(&request).unwrap();
        let answer = self.registry.answer(&self.mirror, &request, &route, session).await;
        self.clock.advance(std::time::Duration::from_secs(60));
        answer
    }

    /// The digest of what was answered.
    async fn digest(&self, path: &str, session: Session) -> Sha256 {
        match self.ask(path, session).await.unwrap().body {
            Body::Blob { sha256, .. } => sha256,
            other => panic!("a kept body, not {other:?}"),
        }
    }

    async fn noted(&self, kind: &str, session: i64) -> Vec<(String, String)> {
        self.registry.settle_all().await;
        self.noted_so_far(kind, session).await
    }

    async fn noted_so_far(&self, kind: &str, session: i64) -> Vec<(String, String)> {
        let rows = self.registry.db().read().await.unwrap().served().list(kind, session).await.unwrap();
        rows.into_iter().map(|r| (r.outcome, r.path)).collect()
    }
}

const TOOL: &str = "/https/files.example/tool";

fn record(id: i64) -> Session {
    Session::Recording(RecordingId(id), Mode::Record)
}

fn replay(id: i64) -> Session {
    Session::Recording(RecordingId(id), Mode::Replay)
}

#[tokio::test]
async fn many_downloads_at_once_do_not_wait_for_each_others_connections() {
    for world in worlds().await {
        world.server.says(200, "tool");
        let paths: Vec<String> = (0..40).map(|n| format!("{TOOL}-{n}")).collect();
        let all = futures::future::join_all(paths.iter().map(|path| world.digest(path, record(1)))).await;
        assert!(all.len() == 40 && all.iter().all(|digest| *digest == Sha256::of(b"tool")));
        assert_eq!(world.noted("recording", 1).await.len(), 40);
    }
}

#[tokio::test]
async fn a_replay_gets_what_its_recording_saw_and_a_job_what_was_recorded_last() {
    for world in worlds().await {
        let (old, new) = (Sha256::of(b"old"), Sha256::of(b"new"));
        world.server.says(200, "old");
        assert_eq!(world.digest(TOOL, record(1)).await, old);
        world.server.says(200, "new");
        assert_eq!(world.digest(TOOL, record(1)).await, old, "one answer within one recording");
        assert_eq!(world.digest(TOOL, record(2)).await, new);
        assert_eq!(world.server.asked(), 2);
        assert_eq!(world.digest(TOOL, replay(1)).await, old);
        assert_eq!(world.digest(TOOL, replay(2)).await, new);
        assert_eq!(world.digest(TOOL, Session::Job(JobId(1))).await, new);
        assert_eq!(world.server.asked(), 2, "nothing of it asked upstream");
        for n in [1, 2] {
            assert_eq!(world.noted("recording", n).await, world.noted("rehearsal", n).await);
        }
        assert_ne!(world.noted("recording", 1).await, world.noted("recording", 2).await);
    }
}

#[tokio::test]
async fn what_goes_back_to_an_earlier_answer_is_that_answer_again() {
    for world in worlds().await {
        for (id, text) in [(1, "old"), (2, "new"), (3, "old")] {
            world.server.says(200, text);
            assert_eq!(world.digest(TOOL, record(id)).await, Sha256::of(text.as_bytes()));
        }
        assert_eq!(world.noted("recording", 1).await, world.noted("recording", 3).await);
        assert_eq!(world.digest(TOOL, replay(3)).await, Sha256::of(b"old"));
    }
}

#[tokio::test]
async fn a_probe_is_replayed_and_what_was_never_asked_is_missing_without_its_credential() {
    for world in worlds().await {
        world.server.says(404, "nothing");
        assert_eq!(world.ask(TOOL, record(1)).await.unwrap().status, StatusCode::NOT_FOUND);
        assert_eq!(world.ask(TOOL, replay(1)).await.unwrap().status, StatusCode::NOT_FOUND);
        let error = world.ask("/https/files.example/other?token=hunter2", replay(1)).await.unwrap_err();
        assert_eq!(error.code(), "not-recorded");
        let noted = world.noted("rehearsal", 1).await;
        assert!(
            noted.contains(&("missing".into(), "https://files.example/other?token=***".into())),
            "{noted:?}"
        );
        world.server.says(503, "later");
        assert_eq!(
            world.ask("/https/files.example/busy", record(1)).await.unwrap_err().code(),
            "upstream-status"
        );
    }
}

#[tokio::test]
async fn a_signed_redirect_leads_the_recording_on_and_the_replay_to_what_was_kept() {
    for world in worlds().await {
        let target = "https://store.example/x?sig=hunter2&n=1";
        world.server.leads_to(target);
        let live = world.ask("/https/files.example/get", record(1)).await.unwrap();
        assert_eq!(live.headers[header::LOCATION], target);
        world.server.says(200, "bytes");
        world.digest("/https/store.example/x?sig=hunter2&n=1", record(1)).await;
        let kept = world.ask("/https/files.example/get", replay(1)).await.unwrap();
        assert_eq!(kept.headers[header::LOCATION], "https://store.example/x?sig=***&n=1");
        assert_eq!(world.digest("/https/store.example/x?sig=***&n=1", replay(1)).await, Sha256::of(b"bytes"));
        assert_eq!(world.noted("recording", 1).await, world.noted("rehearsal", 1).await);
    }
}

#[tokio::test]
async fn a_build_does_not_wait_for_the_disk_and_its_recording_does() {
    for world in worlds().await {
        world.turns.forget_permits(1000);
        world.server.says(200, "tool");
        let given = world.digest(TOOL, record(1)).await;
        let body: Vec<_> = world.registry.blob(&given, None).await.unwrap().try_collect().await.unwrap();
        assert_eq!(body.concat(), b"tool", "the build has its answer");
        assert_eq!(world.noted_so_far("recording", 1).await.len(), 0, "and nothing is committed");
        let mut settled = Box::pin(world.registry.settle(RecordingId(1)));
        assert!(settled.as_mut().now_or_never().is_none(), "the recording cannot end yet");
        world.registry.settle(RecordingId(2)).await.unwrap();
        let mut again = Box::pin(world.ask(TOOL, record(2)));
        assert!(again.as_mut().now_or_never().is_none(), "who asks for the same waits for its turn");
        assert_eq!(world.server.asked(), 1);
        world.turns.add_permits(1000);
        settled.await.unwrap();
        again.await.unwrap();
        assert_eq!(world.noted("recording", 1).await, world.noted("recording", 2).await);
        assert_eq!(world.digest(TOOL, replay(1)).await, given);
        assert_eq!(world.registry.blobs().list(None, 10).await.unwrap(), [given], "the bytes are kept once");
    }
}

#[tokio::test]
async fn a_recording_that_lost_an_answer_to_a_full_disk_does_not_end_well() {
    for world in worlds().await {
        world.server.says(200, "tool");
        world.full.store(true, Ordering::Relaxed);
        for n in 0..3 {
            world.digest(&format!("{TOOL}-{n}"), record(1)).await;
        }
        let error = world.registry.settle(RecordingId(1)).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::NoSpace, "not-kept"));
        assert!(error.to_string().contains("3 answers"), "{error}");
        assert_eq!(world.noted("recording", 1).await.len(), 0);
        world.full.store(false, Ordering::Relaxed);
        world.digest(TOOL, record(2)).await;
        world.registry.settle(RecordingId(2)).await.unwrap();
        assert_eq!(world.noted("recording", 2).await.len(), 1, "the next one is not burdened with it");
    }
}

#[tokio::test]
async fn what_never_changes_is_asked_for_once_over_all_recordings() {
    let jar = "/https/files.example/maven/org/example/lib/1.0/lib-1.0.jar";
    let newest = "/https/files.example/maven/org/example/lib/maven-metadata.xml";
    for world in worlds().await {
        world.server.says(404, "not yet");
        world.digest(jar, record(1)).await;
        world.server.says(200, "released");
        world.digest(jar, record(2)).await;
        world.digest(newest, record(2)).await;
        assert_eq!(world.server.asked(), 3, "one that was not there is asked for again");
        world.server.says(200, "changed");
        assert_eq!(world.digest(jar, record(3)).await, Sha256::of(b"released"));
        assert_eq!(world.digest(newest, record(3)).await, Sha256::of(b"changed"));
        assert_eq!(world.server.asked(), 4, "upstream was asked for the newest only");
        assert_eq!(world.noted("recording", 3).await.len(), 2, "what was reused is in the recording");
    }
}
