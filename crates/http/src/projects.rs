//! `/api/v1/projects`, `/pipelines`, `/jobs`, `/runners`: the forge for programs, in JSON.

use std::convert::Infallible;

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use cofferdam_access::{Action, Principal};
use cofferdam_store::{JobRow, PipelineRow, ProjectRow, RunnerRow};
use cofferdam_types::{JobId, PipelineId, ProjectId};
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Site,
    api::Body,
    auth::may,
    body::{Asked, blob},
    problem::{self, Problem},
};

/// Rows of one page.
const PAGE: usize = 50;

pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/projects", get(projects).post(create))
        .route("/api/v1/projects/{group}/{name}", get(project))
        .route("/api/v1/projects/{group}/{name}/pipelines", get(pipelines).post(run))
        .route("/api/v1/pipelines/{id}", get(pipeline))
        .route("/api/v1/pipelines/{id}/cancel", post(cancel_pipeline))
        .route("/api/v1/jobs/{id}", get(job))
        .route("/api/v1/jobs/{id}/log", get(log))
        .route("/api/v1/jobs/{id}/artifacts", get(artifacts))
        .route("/api/v1/jobs/{id}/provenance", get(provenance))
        .route("/api/v1/jobs/{id}/cancel", post(cancel))
        .route("/api/v1/jobs/{id}/retry", post(retry))
        .route("/api/v1/jobs/{id}/play", post(play))
        .route("/api/v1/runners", get(runners).post(register))
}

type Answer<T = Json<Value>> = Result<T, Problem>;
type Who = Extension<Principal>;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    after: i64,
    before: Option<i64>,
}

async fn projects(State(site): State<Site>, Extension(who): Who, Query(page): Query<Page>) -> Answer {
    may(&site, &who, Action::ProjectRead)?;
    let rows = site.forge.projects(ProjectId(page.after), PAGE).await?;
    let next = (rows.len() == PAGE).then(|| rows.last().map(|row| row.id)).flatten();
    let projects: Vec<_> = rows.iter().map(|row| show_project(&site, row)).collect();
    Ok(Json(json!({ "projects": projects, "next_after": next })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewProject {
    path: String,
}

async fn create(
    State(site): State<Site>,
    Extension(who): Who,
    Body(new): Body<NewProject>,
) -> Answer<(StatusCode, Json<Value>)> {
    may(&site, &who, Action::ProjectCreate)?;
    let row = site.forge.create_project(&who.actor(), &new.path).await?;
    Ok((StatusCode::CREATED, Json(show_project(&site, &row))))
}

async fn project(
    State(site): State<Site>,
    Extension(who): Who,
    Path((group, name)): Path<(String, String)>,
) -> Answer {
    may(&site, &who, Action::ProjectRead)?;
    let row = site.forge.project(&format!("{group}/{name}")).await?;
    Ok(Json(show_project(&site, &row)))
}

async fn pipelines(
    State(site): State<Site>,
    Extension(who): Who,
    Path((group, name)): Path<(String, String)>,
    Query(page): Query<Page>,
) -> Answer {
    may(&site, &who, Action::ProjectRead)?;
    let project = site.forge.project(&format!("{group}/{name}")).await?;
    let rows = site.forge.pipelines(project.id, page.before.unwrap_or(i64::MAX), PAGE).await?;
    let next = (rows.len() == PAGE).then(|| rows.last().map(|row| row.id)).flatten();
    Ok(Json(json!({ "pipelines": rows.iter().map(show_pipeline).collect::<Vec<_>>(), "next_before": next })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    r#ref: String,
}

async fn run(
    State(site): State<Site>,
    Extension(who): Who,
    Path((group, name)): Path<(String, String)>,
    Body(run): Body<Run>,
) -> Answer<(StatusCode, Json<Value>)> {
    may(&site, &who, Action::PipelineRun)?;
    let project = site.forge.project(&format!("{group}/{name}")).await?;
    let row = site.forge.run_pipeline(&project, &run.r#ref, "api", &who.actor()).await?;
    Ok((StatusCode::CREATED, Json(show_pipeline(&row))))
}

async fn pipeline(State(site): State<Site>, Extension(who): Who, Path(id): Path<i64>) -> Answer {
    may(&site, &who, Action::ProjectRead)?;
    let (row, jobs) = site.forge.pipeline(PipelineId(id)).await?;
    let mut shown = show_pipeline(&row);
    shown["jobs"] = jobs.iter().map(show_job).collect();
    Ok(Json(shown))
}

async fn cancel_pipeline(State(site): State<Site>, Extension(who): Who, Path(id): Path<i64>) -> Answer {
    may(&site, &who, Action::PipelineRun)?;
    Ok(Json(show_pipeline(&site.forge.cancel_pipeline(PipelineId(id), &who.actor()).await?)))
}

async fn job(State(site): State<Site>, Extension(who): Who, Path(id): Path<i64>) -> Answer {
    may(&site, &who, Action::ProjectRead)?;
    let row = site.forge.job(JobId(id)).await?;
    let mut shown = show_job(&row);
    let artifacts = site.forge.artifacts(row.id).await?;
    let show = artifacts.iter().map(
        |a| json!({ "type": a.kind, "format": a.format, "name": a.name, "sha256": a.sha256, "size": a.size }),
    );
    shown["artifacts"] = show.collect();
    Ok(Json(shown))
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    follow: u8,
}

async fn log(
    State(site): State<Site>,
    Extension(who): Who,
    Path(id): Path<i64>,
    Query(log): Query<Log>,
) -> Answer<Response> {
    may(&site, &who, Action::ProjectRead)?;
    let row = site.forge.job(JobId(id)).await?;
    if log.follow != 0 {
        return Ok(follow(&site, row.id, log.offset));
    }
    let text = site.forge.read_log(row.id, log.offset).await?;
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert("x-log-size", HeaderValue::from(row.log_size));
    if let Ok(state) = HeaderValue::from_str(&row.state) {
        headers.insert("job-status", state);
    }
    Ok(response)
}

/// Server-sent events: `log` with the text as a JSON string (its line ends survive that way), and
/// `end` with the job's state.
fn follow(site: &Site, id: JobId, offset: u64) -> Response {
    let forge = site.forge.clone();
    let pieces = site.forge.tail(id, offset).map(|piece| match piece {
        Ok(bytes) => {
            let text = Value::String(String::from_utf8_lossy(&bytes).into_owned());
            Event::default().event("log").data(text.to_string())
        }
        Err(error) => {
            problem::log(&error);
            Event::default().event("error").data(error.message())
        }
    });
    let end = futures::stream::once(async move {
        let state = forge.job(id).await.map_or_else(|_| "unknown".to_owned(), |job| job.state);
        Event::default().event("end").data(state)
    });
    Sse::new(pieces.chain(end).map(Ok::<_, Infallible>)).keep_alive(KeepAlive::default()).into_response()
}

async fn artifacts(
    State(site): State<Site>,
    Extension(who): Who,
    Path(id): Path<i64>,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    may(&site, &who, Action::ProjectRead)?;
    let row = site.forge.archive(JobId(id)).await?;
    Ok(attachment(&site, &Asked { method: &method, headers: &headers }, &row).await?)
}

/// An artifact as a download: ranges, a strong ETag, never shown inside our pages.
pub(crate) async fn attachment(
    site: &Site,
    asked: &Asked<'_>,
    row: &cofferdam_store::ArtifactRow,
) -> cofferdam_types::Result<Response> {
    let mut response = blob(&site.registry, asked, &row.sha256, row.size).await?;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let plain: String = row
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

async fn provenance(State(site): State<Site>, Extension(who): Who, Path(id): Path<i64>) -> Answer<Response> {
    may(&site, &who, Action::ProjectRead)?;
    let row = site.forge.provenance(JobId(id)).await?;
    let json = HeaderValue::from_static("application/vnd.dsse.envelope.v1+json");
    Ok(([(header::CONTENT_TYPE, json)], row.envelope).into_response())
}

async fn cancel(State(site): State<Site>, Extension(who): Who, Path(id): Path<i64>) -> Answer {
    may(&site, &who, Action::PipelineRun)?;
    Ok(Json(show_job(&site.forge.cancel_job(JobId(id), &who.actor()).await?)))
}

async fn retry(State(site): State<Site>, Extension(who): Who, Path(id): Path<i64>) -> Answer {
    may(&site, &who, Action::PipelineRun)?;
    Ok(Json(show_job(&site.forge.retry_job(JobId(id), &who.actor()).await?)))
}

async fn play(State(site): State<Site>, Extension(who): Who, Path(id): Path<i64>) -> Answer {
    may(&site, &who, Action::PipelineRun)?;
    Ok(Json(show_job(&site.forge.play_job(JobId(id), &who.actor()).await?)))
}

async fn runners(State(site): State<Site>, Extension(who): Who) -> Answer {
    may(&site, &who, Action::RunnerManage)?;
    Ok(Json(json!({ "runners": site.forge.runners().await?.iter().map(show_runner).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRunner {
    description: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default = "yes")]
    run_untagged: bool,
}

fn yes() -> bool {
    true
}

async fn register(
    State(site): State<Site>,
    Extension(who): Who,
    Body(new): Body<NewRunner>,
) -> Answer<(StatusCode, Json<Value>)> {
    may(&site, &who, Action::RunnerManage)?;
    let (row, token) =
        site.forge.register_runner(&who.actor(), &new.description, &new.tags, new.run_untagged).await?;
    let mut shown = show_runner(&row);
    shown["token"] = token.expose().as_str().into();
    Ok((StatusCode::CREATED, Json(shown)))
}

fn show_project(site: &Site, row: &ProjectRow) -> Value {
    let url = site.registry.public_url();
    let path = row.path();
    json!({ "id": row.id, "path": path, "default_branch": row.default_branch, "created": row.created,
        "git_url": format!("{url}/{path}.git") })
}

fn show_pipeline(row: &PipelineRow) -> Value {
    json!({ "id": row.id, "iid": row.iid, "project_id": row.project, "ref": row.git_ref, "sha": row.sha,
        "source": row.source, "state": row.state, "error": row.error, "actor": row.actor,
        "created": row.created, "started": row.started, "finished": row.finished })
}

fn show_job(row: &JobRow) -> Value {
    json!({ "id": row.id, "pipeline_id": row.pipeline, "name": row.name, "stage": row.stage, "state": row.state,
        "attempt": row.attempt, "superseded": row.superseded, "runner_id": row.runner,
        "failure_reason": row.failure_reason, "exit_code": row.exit_code, "tags": row.tags,
        "created": row.created, "queued": row.queued, "started": row.started, "finished": row.finished,
        "log_size": row.log_size })
}

fn show_runner(row: &RunnerRow) -> Value {
    json!({ "id": row.id, "description": row.description, "tags": row.tags, "run_untagged": row.run_untagged,
        "state": row.state, "contacted": row.contacted, "created": row.created })
}
