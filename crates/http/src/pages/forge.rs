//! Projects and pipelines.

use axum::{
    Router,
    extract::{Path, Query},
    routing::get,
};
use cofferdam_access::Action;
use cofferdam_store::{JobRow, PipelineRow, ProjectRow};
use cofferdam_types::{PipelineId, ProjectId, Result};
use cofferdam_web::{
    forge::{JobLine, Pipeline, PipelineLine, Project, ProjectLine, Projects},
    values::{Lasting, State, When},
};
use serde::Deserialize;

use super::{Answer, MANY, PAGE, Page, dress::show, next_of, number};
use crate::Site;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/projects", get(projects))
        .route("/projects/{group}/{name}", get(project))
        .route("/pipelines/{id}", get(pipeline))
}

fn line(row: PipelineRow, project: String) -> PipelineLine {
    let plain = row.git_ref.strip_prefix("refs/heads/").or_else(|| row.git_ref.strip_prefix("refs/tags/"));
    PipelineLine {
        id: row.id.0,
        project,
        reference: plain.unwrap_or(&row.git_ref).to_owned(),
        sha: row.sha,
        source: row.source,
        state: State(row.state),
        actor: row.actor,
        created: When(row.created),
        lasted: Lasting::between(row.started, row.finished),
    }
}

/// The newest pipelines of all projects.
pub(super) async fn newest(site: &Site, limit: usize) -> Result<Vec<PipelineLine>> {
    let mut out = Vec::new();
    for project in site.forge.projects(ProjectId(0), MANY).await? {
        let rows = site.forge.pipelines(project.id, i64::MAX, limit).await?;
        out.extend(rows.into_iter().map(|row| line(row, project.path())));
    }
    out.sort_by_key(|line| std::cmp::Reverse(line.id));
    out.truncate(limit);
    Ok(out)
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    after: i64,
    before: Option<i64>,
}

async fn projects(page: Page, Query(part): Query<Part>) -> Answer {
    page.may(Action::ProjectRead)?;
    let rows = page.site.forge.projects(ProjectId(part.after), PAGE).await?;
    let next = next_of(&rows, PAGE, |row| row.id.0);
    let mut projects = Vec::new();
    for row in rows {
        let newest = page.site.forge.pipelines(row.id, i64::MAX, 1).await?.pop();
        let newest = newest.map(|pipeline| line(pipeline, row.path()));
        projects.push(ProjectLine { path: row.path(), branch: row.default_branch, newest });
    }
    show(&Projects { frame: page.frame(), projects, next })
}

async fn project(
    page: Page,
    Path((group, name)): Path<(String, String)>,
    Query(part): Query<Part>,
) -> Answer {
    page.may(Action::ProjectRead)?;
    let row: ProjectRow = page.site.forge.project(&format!("{group}/{name}")).await?;
    let path = row.path();
    let rows = page.site.forge.pipelines(row.id, part.before.unwrap_or(i64::MAX), PAGE).await?;
    let next = next_of(&rows, PAGE, |row| row.id.0);
    show(&Project {
        frame: page.frame(),
        clone_url: format!("{}/{path}.git", page.site.registry.public_url()),
        branch: row.default_branch,
        pipelines: rows.into_iter().map(|row| line(row, path.clone())).collect(),
        path,
        next,
    })
}

async fn pipeline(page: Page, Path(id): Path<String>) -> Answer {
    page.may(Action::ProjectRead)?;
    let (row, mut jobs) = page.site.forge.pipeline(PipelineId(number(&id)?)).await?;
    let project = page.site.registry.db().read().await?.forge().project(row.project).await?;
    let path = project.map(|p| p.path()).unwrap_or_default();
    jobs.sort_by_key(|job| (job.position, job.attempt));
    let mut stages: Vec<(String, Vec<JobLine>)> = Vec::new();
    for job in &jobs {
        match stages.iter_mut().find(|(stage, _)| *stage == job.stage) {
            Some((_, of)) => of.push(job_line(job)),
            None => stages.push((job.stage.clone(), vec![job_line(job)])),
        }
    }
    let error = row.error.clone();
    show(&Pipeline { frame: page.frame(), line: line(row, path), error, stages })
}

pub(super) fn job_line(job: &JobRow) -> JobLine {
    JobLine {
        id: job.id.0,
        name: job.name.clone(),
        state: State(job.state.clone()),
        attempt: job.attempt,
        superseded: job.superseded,
        lasted: Lasting::between(job.started, job.finished),
        reason: job.failure_reason.clone().unwrap_or_default(),
    }
}
