//! The runner's side of the GitLab Runner HTTP API: requests out, answers in, one method per call.
//!
//! Decides nothing and retries nothing; the callers know what is worth a second try. Never follows a
//! redirect or uses a proxy: a token must not end up elsewhere.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use cofferdam_runner_api::{
    ContentRange, JOB_STATUS_HEADER, JOB_TOKEN_HEADER, JobOutput, JobRequest, JobState, RunnerDescription,
    TRACE_INTERVAL_HEADER, UpdateJob,
};
use cofferdam_types::{Error, ErrorKind, Result, Secret};
use futures::StreamExt;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, RANGE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;
use url::Url;

use crate::protocol::{self, Artifact, Job};

/// A job payload larger than this is refused.
const MAX_PAYLOAD: usize = 16 << 20;
/// Nothing came for this long: the connection is dead. The site holds a request for up to 50 seconds.
const READ_PATIENCE: Duration = Duration::from_secs(120);

/// What this runner can do, in the protocol's words: jobs that need more are not handed to it.
const FEATURES: [&str; 15] = [
    "variables",
    "artifacts",
    "upload_multiple_artifacts",
    "upload_raw_artifacts",
    "refspecs",
    "masking",
    "raw_variables",
    "artifacts_exclude",
    "multi_build_steps",
    "trace_reset",
    "trace_checksum",
    "trace_size",
    "cancelable",
    "return_exit_code",
    "cancel_gracefully",
];

/// A connection to one site.
#[derive(Clone, Debug)]
pub struct Coordinator {
    http: Client,
    base: Url,
    token: Secret<String>,
    name: String,
}

/// What the site thinks of a job, from the `Job-Status` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Continue,
    /// Stop the script, but run `after_script` and upload.
    Stop,
    /// Stop everything: the job is not ours any more.
    Abort,
}

/// The answer to a piece of log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patched {
    /// Stored.
    Accepted(Verdict),
    /// The site has this many bytes; go on there.
    Elsewhere(u64),
    /// The job is not ours any more.
    Refused,
}

/// The answer to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// Final.
    Done(Verdict),
    /// Ask again after this time.
    AskAgain(Duration),
    /// The log that the site has is not the log that was sent.
    LogDiffers,
    /// The job is not ours any more.
    Refused,
}

/// The end of a job, or its sign of life.
#[derive(Clone, Debug)]
pub struct State {
    /// Where the job is.
    pub state: JobState,
    /// Why it failed, in the protocol's words.
    pub failure_reason: Option<&'static str>,
    /// The script's exit code.
    pub exit_code: Option<i32>,
    /// The whole log's checksum and size.
    pub output: Option<JobOutput>,
}

impl State {
    /// A state without anything more.
    pub fn new(state: JobState) -> Self {
        Self { state, failure_reason: None, exit_code: None, output: None }
    }
}

impl Coordinator {
    /// A connection to the site at `url`.
    ///
    /// # Errors
    /// `Invalid` for a URL that is not https, or http on loopback.
    pub fn new(url: &Url, token: Secret<String>, name: String) -> Result<Self> {
        check(url)?;
        let mut base = url.clone();
        let path = format!("{}/api/v4/", url.path().trim_end_matches('/'));
        base.set_path(&path);
        let http = Client::builder()
            .user_agent(concat!("cofferdam-runner/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(Duration::from_secs(30))
            .read_timeout(READ_PATIENCE)
            .build()
            .map_err(|e| Error::internal("building the runner's HTTP client", e))?;
        Ok(Self { http, base, token, name })
    }

    /// Asks for a job; the site may hold the request. `None`: there is none, ask again.
    ///
    /// # Errors
    /// `Forbidden` for a token that the site does not know, `Unavailable` for everything passing.
    pub async fn request(&self) -> Result<Option<Job>> {
        let body =
            JobRequest { token: self.token.expose().clone(), info: self.info(), ..JobRequest::default() };
        let answer = json(self.http.post(self.url("jobs/request")?), &body)?.send().await.map_err(away)?;
        match answer.status() {
            StatusCode::CREATED => {
                let body = bounded(answer, MAX_PAYLOAD).await?;
                let job = serde_json::from_slice(&body).map_err(|e| {
                    Error::invalid("job-payload", "the site sent a job that cannot be read").with_source(e)
                })?;
                Ok(Some(job))
            }
            StatusCode::NO_CONTENT => Ok(None),
            status => Err(unexpected("asking for a job", status)),
        }
    }

    /// Appends `piece` to the job's log at byte `offset`.
    ///
    /// # Errors
    /// `Unavailable` when it is worth trying again.
    pub async fn append(&self, job: &Job, offset: u64, piece: Bytes) -> Result<Patched> {
        let range = ContentRange::of(offset, piece.len() as u64)
            .ok_or_else(|| Error::invalid("log-range", "the log is longer than its positions can say"))?;
        let request = self
            .http
            .patch(self.url(&format!("jobs/{}/trace?debug_trace=false", job.id))?)
            .header(JOB_TOKEN_HEADER, &job.token)
            .header(CONTENT_TYPE, "text/plain")
            .header(CONTENT_RANGE, range.to_string())
            .body(piece);
        let answer = request.send().await.map_err(away)?;
        match answer.status() {
            StatusCode::ACCEPTED => Ok(Patched::Accepted(verdict(answer.headers()))),
            StatusCode::RANGE_NOT_SATISFIABLE => stored(answer.headers())
                .map(Patched::Elsewhere)
                .ok_or_else(|| unexpected("sending the log", StatusCode::RANGE_NOT_SATISFIABLE)),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(Patched::Refused),
            status => Err(unexpected("sending the log", status)),
        }
    }

    /// Tells the job's state.
    ///
    /// # Errors
    /// `Unavailable` when it is worth trying again.
    pub async fn update(&self, job: &Job, state: &State) -> Result<Updated> {
        let body = UpdateJob {
            token: job.token.clone(),
            state: state.state,
            failure_reason: state.failure_reason.map(str::to_owned),
            exit_code: state.exit_code,
            output: state.output.clone(),
        };
        let request = self.http.put(self.url(&format!("jobs/{}", job.id))?);
        let request = request.header(JOB_TOKEN_HEADER, &job.token);
        let answer = json(request, &body)?.send().await.map_err(away)?;
        match answer.status() {
            StatusCode::OK => Ok(Updated::Done(verdict(answer.headers()))),
            StatusCode::ACCEPTED => Ok(Updated::AskAgain(interval(answer.headers()))),
            StatusCode::PRECONDITION_FAILED => Ok(Updated::LogDiffers),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::CONFLICT => Ok(Updated::Refused),
            status => Err(unexpected("telling the job's state", status)),
        }
    }

    /// Uploads `file` as the artifact that `spec` describes.
    ///
    /// # Errors
    /// `TooLarge` when the site says so, `Unavailable` when it is worth trying again.
    pub async fn upload(&self, job: &Job, spec: &Artifact, file: &Path, name: &str) -> Result<()> {
        let mut url = self.url(&format!("jobs/{}/artifacts", job.id))?;
        url.query_pairs_mut()
            .append_pair("artifact_format", protocol::format(spec))
            .append_pair("artifact_type", protocol::kind(spec));
        if !spec.expire_in.is_empty() {
            url.query_pairs_mut().append_pair("expire_in", &spec.expire_in);
        }
        let (body, length, boundary) = multipart(file, name).await?;
        let request = self
            .http
            .post(url)
            .header(JOB_TOKEN_HEADER, &job.token)
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
            .header(CONTENT_LENGTH, length)
            .body(body);
        match request.send().await.map_err(away)?.status() {
            StatusCode::CREATED | StatusCode::OK => Ok(()),
            StatusCode::PAYLOAD_TOO_LARGE => Err(Error::new(
                ErrorKind::TooLarge,
                "artifacts-too-large",
                "the site refuses artifacts this large",
            )
            .hint("narrow artifacts:paths, or raise the site's bound")),
            status => Err(unexpected("uploading artifacts", status)),
        }
    }

    /// Downloads the archive of another job to `file`; at most `bound` bytes.
    ///
    /// # Errors
    /// `NotFound` when the site has none, `TooLarge` beyond the bound.
    pub async fn download(&self, id: i64, token: &str, file: &mut File, bound: u64) -> Result<()> {
        let url = self.url(&format!("jobs/{id}/artifacts?direct_download=false"))?;
        let answer = self.http.get(url).header(JOB_TOKEN_HEADER, token).send().await.map_err(away)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Error::not_found(format!("the site does not give the artifacts of job {id}"))
                    .hint("they may have expired; run that job again"));
            }
            status => return Err(unexpected("downloading artifacts", status)),
        }
        let mut stream = answer.bytes_stream();
        let mut left = bound;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(away)?;
            left = left.checked_sub(chunk.len() as u64).ok_or_else(|| {
                let message = format!("the artifacts of job {id} have more than {bound} bytes");
                Error::new(ErrorKind::TooLarge, "artifacts-too-large", message)
                    .hint("raise the runner's bound, or let that job keep less")
            })?;
            file.write_all(&chunk).await.map_err(|e| Error::io("storing artifacts", e))?;
        }
        file.flush().await.map_err(|e| Error::io("storing artifacts", e))
    }

    fn url(&self, rest: &str) -> Result<Url> {
        self.base.join(rest).map_err(|e| Error::internal("making an address of the site", e))
    }

    fn info(&self) -> RunnerDescription {
        RunnerDescription {
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            executor: "cofferdam".to_owned(),
            shell: "bash".to_owned(),
            features: FEATURES.iter().map(|name| ((*name).to_owned(), true.into())).collect(),
            ..RunnerDescription::default()
        }
    }
}

fn json(request: RequestBuilder, body: &impl Serialize) -> Result<RequestBuilder> {
    let body = serde_json::to_vec(body).map_err(|e| Error::internal("writing a message to the site", e))?;
    Ok(request.header(CONTENT_TYPE, "application/json").body(body))
}

fn check(url: &Url) -> Result<()> {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        _ => Err(Error::invalid("runner-url", format!("a runner does not send its token to {url}"))
            .hint("use https, or http on a loopback address")),
    }
}

fn verdict(headers: &HeaderMap) -> Verdict {
    match headers.get(JOB_STATUS_HEADER).and_then(|value| value.to_str().ok()) {
        Some("canceled" | "failed") => Verdict::Abort,
        Some("canceling") => Verdict::Stop,
        _ => Verdict::Continue,
    }
}

/// `Range: 0-<stored bytes>`.
fn stored(headers: &HeaderMap) -> Option<u64> {
    headers.get(RANGE)?.to_str().ok()?.rsplit('-').next()?.trim().parse().ok()
}

fn interval(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(TRACE_INTERVAL_HEADER).and_then(|v| v.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1).min(60)).max(Duration::from_millis(50))
}

async fn bounded(answer: Response, most: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk.map_err(away)?);
        if body.len() > most {
            let message = format!("the site sent a job of more than {most} bytes");
            return Err(Error::new(ErrorKind::TooLarge, "job-payload", message)
                .hint("look for a very large variable or script"));
        }
    }
    Ok(body)
}

/// A form with the one part `file`, its length and its boundary.
async fn multipart(file: &Path, name: &str) -> Result<(reqwest::Body, u64, &'static str)> {
    // Long enough not to occur in an artifact by chance. Whoever puts it there on purpose spoils only
    // the own upload: everything in the form belongs to the same job.
    const BOUNDARY: &str = "cofferdam-9c5f0b1e7d2a4863b1f4d0a7e6c39582";
    let name: String =
        name.chars().map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '_' }).collect();
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let file = File::open(file).await.map_err(|e| Error::io("reading an archive", e))?;
    let size = file.metadata().await.map_err(|e| Error::io("reading an archive", e))?.len();
    let length = head.len() as u64 + size + tail.len() as u64;
    let stream = futures::stream::iter([Ok(Bytes::from(head))])
        .chain(ReaderStream::with_capacity(file, 64 << 10))
        .chain(futures::stream::iter([Ok(Bytes::from(tail))]));
    Ok((reqwest::Body::wrap_stream(stream), length, BOUNDARY))
}

fn away(error: reqwest::Error) -> Error {
    // The address may hold a token in its query one day; the cause alone says enough.
    Error::new(ErrorKind::Unavailable, "site-away", "the site could not be reached")
        .hint("is it running, and does the runner's url lead to it?")
        .with_source(error.without_url())
}

fn unexpected(what: &str, status: StatusCode) -> Error {
    let message = format!("the site answered {status} while {what}");
    match status {
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            Error::forbidden("runner-refused", message).hint("is the runner's token still valid?")
        }
        _ => Error::new(ErrorKind::Unavailable, "site-answer", message).hint("the site's log says why"),
    }
}
