//! A site small enough to read: one queue, one log per run, and faults on request.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Multipart, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use cofferdam_runner::{Runner, RunnerConfig, SiteDoor, Target};
use cofferdam_types::Secret;
use cofferdam_types::time::{Clock, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub const JOB_TOKEN: &str = "glcbt-the-token-of-the-job";
/// A story that has not ended by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the site saw and how it is to behave.
#[derive(Default)]
pub struct Seen {
    pub queue: VecDeque<Value>,
    pub log: Vec<u8>,
    pub pieces: usize,
    pub uploads: Vec<Upload>,
    pub end: Option<Value>,
    /// Archives of other jobs.
    pub archives: BTreeMap<i64, Vec<u8>>,
    /// `Job-Status` once the log holds the text.
    pub status_after: Option<(&'static str, &'static str)>,
    /// `Job-Status` for signs of life.
    pub status_of_life: Option<&'static str>,
    /// The piece (counted from 1) at which the site forgets what is beyond 10 bytes.
    pub forget_at: Option<usize>,
    /// How many ends are answered with 412 and a lost log.
    pub lose_log: u32,
    /// How many ends are answered with 202.
    pub ask_again: u32,
    /// How many calls of any sort are answered with 500.
    pub broken: u32,
    /// Bare repositories.
    pub repositories: Option<PathBuf>,
}

pub struct Upload {
    pub query: BTreeMap<String, String>,
    pub file_name: String,
    pub bytes: Vec<u8>,
}

#[derive(Clone)]
pub struct Site {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Sender<u64>,
    pub address: SocketAddr,
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_700_000_000)
    }
}

/// Whether this machine can tell the story.
pub fn possible(story: &str) -> bool {
    match cofferdam_sandbox::probe().into_iter().find(|check| check.required && !check.ok) {
        None => true,
        Some(check) => {
            println!("skipped: {story}: {}: {}", check.name, check.detail);
            false
        }
    }
}

/// A job with one script.
pub fn job(script: &[&str]) -> Value {
    json!({
        "id": 7, "token": JOB_TOKEN, "allow_git_fetch": true,
        "job_info": { "name": "build", "stage": "test", "project_name": "tool", "project_full_path": "group/tool" },
        "git_info": { "repo_url": "", "ref": "main", "sha": "", "refspecs": [], "depth": 0 },
        "runner_info": { "timeout": 50, "runner_session_url": null },
        "variables": [], "artifacts": null, "dependencies": [], "a_field_of_tomorrow": {},
        "steps": [{ "name": "script", "script": script, "timeout": 50, "when": "on_success", "allow_failure": false }],
    })
}

pub fn after_script(commands: &[&str]) -> Value {
    json!({ "name": "after_script", "script": commands, "timeout": 0, "when": "always", "allow_failure": true })
}

pub fn push(job: &mut Value, list: &str, entry: Value) {
    match &mut job[list] {
        Value::Array(all) => all.push(entry),
        other => *other = json!([entry]),
    }
}

impl Site {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let site = Self { seen: Arc::default(), changed: watch::Sender::new(0), address };
        let routes = Router::new()
            .route("/api/v4/jobs/request", post(request))
            .route("/api/v4/jobs/{id}", put(update))
            .route("/api/v4/jobs/{id}/trace", patch(trace))
            .route("/api/v4/jobs/{id}/artifacts", post(upload).get(download))
            .route("/git/{*path}", get(repository))
            .route("/r/web/{*address}", get(recorded))
            .layer(DefaultBodyLimit::max(64 << 20))
            .with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        site
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    pub fn log(&self) -> String {
        String::from_utf8(self.seen().log.clone()).unwrap()
    }

    /// Changes what was seen and wakes those who wait.
    fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let result = change(&mut self.seen());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Waits until the site has seen something.
    pub async fn until(&self, mut wanted: impl FnMut(&Seen) -> bool) {
        let mut changed = self.changed.subscribe();
        let all = async {
            while !wanted(&self.seen()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            panic!("the site waited in vain; its log so far:\n{}", String::from_utf8_lossy(&self.seen().log));
        }
    }

    pub fn config(&self, work_dir: PathBuf) -> RunnerConfig {
        let url = format!("http://{}", self.address);
        let mut config =
            RunnerConfig::new(url, Secret::new("glrt-runner-token".into()), work_dir, Arc::new(Noon));
        config.site_door = Some(SiteDoor { listen: self.address, to: Target::Tcp(self.address) });
        config.env = vec![("PATH".to_owned(), std::env::var("PATH").unwrap())];
        config
    }

    /// Runs one job to its end and returns the end.
    pub async fn run(&self, job: Value) -> Value {
        self.run_with(job, |_| {}).await
    }

    pub async fn run_with(&self, job: Value, configure: impl FnOnce(&mut RunnerConfig)) -> Value {
        let work = tempfile::tempdir().unwrap();
        let mut config = self.config(work.path().join("jobs"));
        configure(&mut config);
        self.seen().queue.push_back(job);
        let runner = Runner::new(config).unwrap();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let ended = async {
            self.until(|seen| seen.end.is_some()).await;
            stop.cancel();
        };
        tokio::join!(runner.run(shutdown), ended);
        let left = std::fs::read_dir(work.path().join("jobs")).unwrap().count();
        assert_eq!(left, 0, "the job's folder is removed");
        self.seen().end.clone().unwrap()
    }
}

fn refuse(site: &Site) -> bool {
    let mut seen = site.seen();
    let broken = seen.broken > 0;
    seen.broken = seen.broken.saturating_sub(1);
    broken
}

async fn request(State(site): State<Site>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["token"], "glrt-runner-token");
    assert_eq!(body["info"]["features"]["trace_checksum"], true);
    if refuse(&site) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    // Held like a real one; a runner that is shut down closes the connection.
    let held = site.until(|seen| !seen.queue.is_empty());
    if tokio::time::timeout(Duration::from_secs(10), held).await.is_err() {
        return StatusCode::NO_CONTENT.into_response();
    }
    match site.seen().queue.pop_front() {
        Some(job) => (StatusCode::CREATED, axum::Json(job)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// The one address that was recorded, for whoever has the job's token.
async fn recorded(axum::extract::Path(address): axum::extract::Path<String>, headers: HeaderMap) -> Response {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    match address.as_str() {
        "http/tools.example/rig" if token == format!("Bearer {JOB_TOKEN}") => {
            let digest = format!("sha256:{}", cofferdam_types::Sha256::of(b"rigged\n"));
            ([("x-cofferdam-digest", digest)], "rigged\n").into_response()
        }
        _ => (StatusCode::NOT_FOUND, "not recorded").into_response(),
    }
}

fn range(headers: &HeaderMap) -> (usize, usize) {
    let (first, last) = headers["Content-Range"].to_str().unwrap().split_once('-').unwrap();
    (first.parse().unwrap(), last.parse().unwrap())
}

async fn trace(State(site): State<Site>, headers: HeaderMap, piece: Bytes) -> Response {
    assert_eq!(headers["JOB-TOKEN"], JOB_TOKEN);
    assert!(piece.len() <= 1 << 20);
    if refuse(&site) {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    site.change(|seen| {
        seen.pieces += 1;
        if seen.forget_at == Some(seen.pieces) {
            seen.log.truncate(10);
        }
        let (first, last) = range(&headers);
        if first != seen.log.len() {
            let stored = format!("0-{}", seen.log.len());
            return (StatusCode::RANGE_NOT_SATISFIABLE, [("Range", stored)]).into_response();
        }
        assert_eq!(last + 1 - first, piece.len());
        seen.log.extend_from_slice(&piece);
        let text = String::from_utf8_lossy(&seen.log);
        let status =
            seen.status_after.filter(|(_, after)| text.contains(after)).map_or("running", |(s, _)| s);
        let stored = format!("0-{}", seen.log.len());
        (StatusCode::ACCEPTED, [("Range", stored), ("Job-Status", status.to_owned())]).into_response()
    })
}

async fn update(State(site): State<Site>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["JOB-TOKEN"], JOB_TOKEN);
    let body: Value = serde_json::from_slice(&body).unwrap();
    if refuse(&site) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    site.change(|seen| {
        if body["state"] == "running" {
            return (StatusCode::OK, [("Job-Status", seen.status_of_life.unwrap_or("running"))])
                .into_response();
        }
        if seen.ask_again > 0 {
            seen.ask_again -= 1;
            return (StatusCode::ACCEPTED, [("X-GitLab-Trace-Update-Interval", "0")]).into_response();
        }
        if seen.lose_log > 0 {
            seen.lose_log -= 1;
            seen.log.clear();
            return StatusCode::PRECONDITION_FAILED.into_response();
        }
        seen.end = Some(body);
        StatusCode::OK.into_response()
    })
}

async fn upload(
    State(site): State<Site>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    mut form: Multipart,
) -> Response {
    assert_eq!(headers["JOB-TOKEN"], JOB_TOKEN);
    let field = form.next_field().await.unwrap().unwrap();
    assert_eq!(field.name(), Some("file"));
    let file_name = field.file_name().unwrap().to_owned();
    let bytes = field.bytes().await.unwrap().to_vec();
    site.change(|seen| seen.uploads.push(Upload { query, file_name, bytes }));
    StatusCode::CREATED.into_response()
}

async fn download(State(site): State<Site>, Path(id): Path<i64>, headers: HeaderMap) -> Response {
    assert_eq!(headers["JOB-TOKEN"], JOB_TOKEN);
    match site.seen().archives.get(&id) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Git's "dumb" protocol: the files of a bare repository, for those who show the job's token.
async fn repository(State(site): State<Site>, Path(path): Path<String>, headers: HeaderMap) -> Response {
    // Basic gitlab-ci-token:glcbt-the-token-of-the-job
    let wanted = "Basic Z2l0bGFiLWNpLXRva2VuOmdsY2J0LXRoZS10b2tlbi1vZi10aGUtam9i";
    if headers.get("Authorization").is_none_or(|value| value != wanted) {
        return (StatusCode::UNAUTHORIZED, [("WWW-Authenticate", "Basic realm=\"git\"")]).into_response();
    }
    let root = site.seen().repositories.clone().unwrap();
    match std::fs::read(root.join(path)) {
        Ok(bytes) => Body::from(bytes).into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
