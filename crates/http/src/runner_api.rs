//! `/api/v4/…`: runners, ours and stock ones, in the protocol of GitLab Runner.
//!
//! A token comes in the body or in a header of its own, so this module finds out who is asking by
//! itself. A status tells the runner what to do: 403 ends a job or a runner for good, so everything
//! that may pass is 204, 409, 416 or 503, and never 403 or 404.

use std::time::Duration;

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, patch, post, put},
};
use cofferdam_access::Principal;
use cofferdam_forge::{JobEnd, MAX_LOG_PIECE, NewArtifact, Updated, keep_for};
use cofferdam_runner_api::{
    ContentRange, JOB_TOKEN_HEADER, JobRequest, JobState, RUNNER_TOKEN_HEADER, RangeError, RunnerDescription,
    UpdateJob, VerifyAnswer, VerifyRequest,
};
use cofferdam_types::{Error, ErrorKind, JobId, Result, RunnerId};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::json;

use crate::{Site, body::Asked, problem, projects::attachment};

/// How long a request for a job is held when there is none.
const HOLD: Duration = Duration::from_secs(50);
/// JSON bodies of runners are small.
const MAX_JSON: usize = 1 << 20;

pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v4/runners/verify", post(verify))
        .route("/api/v4/runners/router/discovery", get(not_here))
        .route("/api/v4/jobs/request", post(request))
        .route("/api/v4/jobs/{id}", put(update))
        .route("/api/v4/jobs/{id}/trace", patch(trace))
        .route("/api/v4/jobs/{id}/artifacts", get(download).post(upload))
        .route("/api/v4/{*path}", any(unknown))
}

/// An error in GitLab's shape.
struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        problem::log(&self.0);
        // A runner takes 401 and 404 for a proxy's fault and tries again; 403 is what ends it.
        let status = match self.0.kind() {
            ErrorKind::Unauthenticated | ErrorKind::NotFound => StatusCode::FORBIDDEN,
            kind => problem::status(kind),
        };
        (status, Json(json!({ "message": format!("{} - {}", status, self.0.message()) }))).into_response()
    }
}

type Answer<T = Response> = Result<T, Refusal>;

async fn not_here() -> Response {
    (StatusCode::NOT_IMPLEMENTED, Json(json!({ "message": "501 Not Implemented" }))).into_response()
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "message": "404 Not Found" }))).into_response()
}

async fn verify(State(site): State<Site>, headers: HeaderMap, body: Body) -> Answer {
    let asking: VerifyRequest = read(body).await?;
    let id = runner(&site, &headers, &asking.token).await?;
    site.forge.runner_contact(id, Some(&said(&asking.info)?)).await?;
    let token = given(&headers, RUNNER_TOKEN_HEADER, &asking.token);
    Ok(Json(VerifyAnswer { id: id.0, token, token_expires_at: None }).into_response())
}

async fn request(State(site): State<Site>, headers: HeaderMap, body: Body) -> Answer {
    let asking: JobRequest = read(body).await?;
    let id = runner(&site, &headers, &asking.token).await?;
    let info = said(&asking.info)?;
    Ok(match site.forge.request_job(id, Some(&info), HOLD).await? {
        Some(job) => (StatusCode::CREATED, Json(job)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

async fn update(State(site): State<Site>, Path(id): Path<i64>, headers: HeaderMap, body: Body) -> Answer {
    let update: UpdateJob = read(body).await?;
    let id = job(&site, &headers, &update.token, id).await?;
    let end = JobEnd {
        state: match update.state {
            JobState::Pending => "pending",
            JobState::Running => "running",
            JobState::Success => "success",
            JobState::Failed => "failed",
        }
        .into(),
        failure_reason: update.failure_reason.filter(|reason| !reason.is_empty()),
        exit_code: update.exit_code.map(i64::from),
        log_crc: update.output.as_ref().and_then(|output| crc(&output.checksum)),
        log_size: update.output.as_ref().map(|output| output.bytesize),
    };
    let (status, state) = match site.forge.update_job(id, &end).await? {
        Updated::Done(state) => (StatusCode::OK, state),
        Updated::LogDiffers(state) => (StatusCode::PRECONDITION_FAILED, state),
    };
    let mut response = (status, Json(json!({ "message": status.to_string() }))).into_response();
    set(response.headers_mut(), "job-status", &state);
    set(response.headers_mut(), "x-gitlab-trace-update-interval", "1");
    Ok(response)
}

/// `crc32:%08x`, over the whole log.
fn crc(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("crc32:")?, 16).ok()
}

async fn trace(State(site): State<Site>, Path(id): Path<i64>, headers: HeaderMap, body: Body) -> Answer {
    let id = job(&site, &headers, "", id).await?;
    let body = bytes(body, MAX_LOG_PIECE).await?;
    let range = headers.get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let range: ContentRange =
        range.parse().map_err(|e: RangeError| Error::invalid("content-range", e.to_string()))?;
    // A range of another length than the body is a piece that was cut on the way.
    let whole = range.fits(body.len() as u64);
    let (first, body) = if whole { (range.first, body) } else { (u64::MAX, Bytes::new()) };
    let state = site.forge.append_log(id, first, body).await?;
    let status = if state.accepted { StatusCode::ACCEPTED } else { StatusCode::RANGE_NOT_SATISFIABLE };
    let mut response = (status, Json(json!({ "message": status.to_string() }))).into_response();
    let headers = response.headers_mut();
    set(headers, "range", &format!("0-{}", state.size));
    set(headers, "job-status", &state.job_state);
    set(headers, "x-gitlab-trace-update-interval", "1");
    Ok(response)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Uploading {
    expire_in: Option<String>,
    artifact_format: Option<String>,
    artifact_type: Option<String>,
}

async fn upload(
    State(site): State<Site>,
    Path(id): Path<i64>,
    Query(query): Query<Uploading>,
    request: Request,
) -> Answer {
    let (parts, body) = request.into_parts();
    let id = job(&site, &parts.headers, "", id).await?;
    let wrong = |why: String| Error::invalid("artifact-upload", why);
    let content = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let boundary =
        multer::parse_boundary(content).map_err(|e| wrong(format!("this is no upload of a form: {e}")))?;
    let mut form = multer::Multipart::new(body.into_data_stream(), boundary);
    while let Some(field) = form.next_field().await.map_err(|e| wrong(format!("the form is broken: {e}")))? {
        if field.name() != Some("file") {
            continue;
        }
        let format = query.artifact_format.clone().unwrap_or_else(|| "zip".into());
        let new = NewArtifact {
            kind: query.artifact_type.clone().unwrap_or_else(|| "archive".into()),
            name: field.file_name().map_or_else(|| format!("artifacts.{format}"), str::to_owned),
            format,
            expire_in: query.expire_in.as_deref().map(keep_for).transpose()?.flatten(),
        };
        let bytes = field
            .map_err(|e| {
                Error::invalid("body-broken", "the upload was cut off before its end").with_source(e)
            })
            .boxed();
        let row = site.forge.store_artifact(id, new, bytes).await?;
        let shown = json!({ "message": "201 Created", "sha256": row.sha256, "size": row.size });
        return Ok((StatusCode::CREATED, Json(shown)).into_response());
    }
    Err(wrong("the form has no part `file`".into()).into())
}

async fn download(
    State(site): State<Site>,
    Path(id): Path<i64>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let token = given(&headers, JOB_TOKEN_HEADER, "");
    let asking = match site.access.by_token(&token).await? {
        Principal::Job(asking) => asking,
        other => return Err(not_yours(&other).into()),
    };
    let row = site.forge.artifact_for_job(asking, JobId(id)).await?;
    Ok(attachment(&site, &Asked { method: &method, headers: &headers }, &row).await?)
}

/// What a runner says about itself, as it is kept.
fn said(info: &RunnerDescription) -> Result<String> {
    serde_json::to_string(info).map_err(|e| Error::internal("a runner's description", e))
}

async fn read<T: serde::de::DeserializeOwned>(body: Body) -> Result<T> {
    let wrong = |why: String| Error::invalid("runner-body", why);
    let bytes = bytes(body, MAX_JSON).await?;
    serde_json::from_slice(&bytes).map_err(|e| wrong(format!("the body is not what a runner sends: {e}")))
}

async fn bytes(body: Body, limit: usize) -> Result<Bytes> {
    let read = axum::body::to_bytes(body, limit).await;
    read.map_err(|_| {
        let text = format!("the body was cut off, or is over {limit} bytes");
        Error::new(ErrorKind::TooLarge, "runner-body", text)
    })
}

/// The token of a request: its header, or the body's field.
fn given(headers: &HeaderMap, header: &str, body: &str) -> String {
    let header = headers.get(header).and_then(|v| v.to_str().ok()).filter(|t| !t.is_empty());
    header.unwrap_or(body).to_owned()
}

async fn runner(site: &Site, headers: &HeaderMap, body: &str) -> Result<RunnerId> {
    match site.access.by_token(&given(headers, RUNNER_TOKEN_HEADER, body)).await? {
        Principal::Runner(id) => Ok(id),
        other => Err(not_yours(&other)),
    }
}

/// Only the job's own token, and only for that job.
async fn job(site: &Site, headers: &HeaderMap, body: &str, id: i64) -> Result<JobId> {
    match site.access.by_token(&given(headers, JOB_TOKEN_HEADER, body)).await? {
        Principal::Job(own) if own == JobId(id) => Ok(own),
        other => Err(not_yours(&other)),
    }
}

fn not_yours(who: &Principal) -> Error {
    Error::forbidden("wrong-token", format!("{} may not do this", who.actor()))
}

fn set(headers: &mut HeaderMap, name: &'static str, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_read_as_runners_write_them() {
        assert_eq!((crc("crc32:0000000a"), crc("0a")), (Some(10), None));
    }
}
