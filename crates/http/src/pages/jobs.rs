//! A job: its log so far, what it left and what the registries gave it.

use std::collections::HashMap;

use axum::{Router, extract::Path, routing::get};
use cofferdam_access::Action;
use cofferdam_store::{JobRow, ServedRow};
use cofferdam_types::{ErrorKind, JobId, Result};
use cofferdam_web::{
    forge::Job,
    log,
    packages::File,
    recordings::{Missed, Used},
    values::{Fact, Size, When},
};

use super::{
    Answer, MANY, Page,
    dress::show,
    forge::job_line,
    number,
    recordings::{formats_of, missed},
};
use crate::Site;

/// Bytes of the log's end that a page shows.
const SHOWN: u64 = 512 * 1024;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/jobs/{id}", get(job))
}

async fn job(page: Page, Path(id): Path<String>) -> Answer {
    page.may(Action::ProjectRead)?;
    let row = page.site.forge.job(JobId(number(&id)?)).await?;
    let artifacts = page.site.forge.artifacts(row.id).await?;
    let served = page.site.registry.db().read().await?.served().list("job", row.id.0).await?;
    let (used, missing) = given(served, &formats_of(&page).await?);
    let (log, offset) = end_of_log(&page.site, &row).await?;
    show(&Job {
        frame: page.frame(),
        line: job_line(&row),
        pipeline: row.pipeline.0,
        facts: facts(&row),
        cut: row.log_size > SHOWN,
        log: log::html(&log),
        offset,
        archive: artifacts.iter().any(|a| a.kind == "archive"),
        provenance: has_provenance(&page.site, row.id).await?,
        artifacts: artifacts
            .into_iter()
            .map(|a| File { path: a.name, sha256: a.sha256.to_hex(), size: Size(a.size) })
            .collect(),
        used,
        missing,
    })
}

async fn has_provenance(site: &Site, id: JobId) -> Result<bool> {
    match site.forge.provenance(id).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn facts(row: &JobRow) -> Vec<Fact> {
    let mut facts = vec![("Stage", row.stage.clone())];
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add("Try", (row.attempt > 1).then(|| row.attempt.to_string()));
    add("Tags", (!row.tags.is_empty()).then(|| row.tags.join(", ")));
    add("Runner", row.runner.map(|id| id.to_string()));
    add("Began", row.started.map(|at| format!("{} UTC", When(at))));
    add("Ended", row.finished.map(|at| format!("{} UTC", When(at))));
    add("Failed because of", row.failure_reason.clone());
    add("Exit code", row.exit_code.map(|code| code.to_string()));
    facts
}

/// The end of the log, and the offset at which a reader goes on.
async fn end_of_log(site: &Site, row: &JobRow) -> Result<(String, u64)> {
    let from = row.log_size.saturating_sub(SHOWN);
    let bytes = site.forge.read_log(row.id, from).await?;
    let next = from + bytes.len() as u64;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // A log that is cut begins with a whole line.
    let first = if from > 0 { text.find('\n').map_or(0, |at| at + 1) } else { 0 };
    Ok((text[first..].to_owned(), next))
}

/// What was served, by release, and what was asked for in vain.
fn given(rows: Vec<ServedRow>, formats: &HashMap<String, String>) -> (Vec<Used>, Vec<Missed>) {
    let (mut used, mut missing): (Vec<Used>, _) = (Vec::new(), Vec::new());
    for row in rows {
        let Some(sha256) = row.sha256.filter(|_| row.outcome == "served") else {
            missing.push(missed(formats, row.repository, row.path, &row.package, row.times));
            continue;
        };
        let purl = if row.purl.is_empty() { row.path.clone() } else { row.purl };
        let file = (row.path, sha256.to_hex());
        match used.iter_mut().find(|u| u.purl == purl && u.repository == row.repository) {
            Some(one) => {
                one.size.0 += row.size;
                one.files.push(file);
            }
            None => {
                let (repository, package) = (row.repository, row.package);
                used.push(Used {
                    purl,
                    repository,
                    package,
                    files: vec![file],
                    size: Size(row.size),
                    asked_by: row.askers,
                    source: String::new(),
                    licences: Vec::new(),
                    proofs: Vec::new(),
                    named_in: None,
                    pinned: String::new(),
                });
            }
        }
    }
    used.truncate(MANY);
    missing.truncate(MANY);
    (used, missing)
}
