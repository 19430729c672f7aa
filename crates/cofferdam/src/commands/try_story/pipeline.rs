//! Step 8: a push inside, the pipeline it makes, its live log, artifacts and signed provenance.

use std::{path::Path, time::Instant};

use cofferdam_trust::{Envelope, VerifyingKey};
use cofferdam_types::{Error, Result};
use serde_json::Value;

use super::{
    report::Facts,
    sample::{Project, git},
    sites::RunningSite,
};
use crate::client::Client;

/// Pushes a change and waits for its pipeline.
///
/// # Errors
/// What did not hold, with the end of the failed job's log.
pub async fn push_and_watch(root: &Path, inside: &RunningSite, project: &Project) -> Result<Facts> {
    let broken = |what: String| Error::verification("step", what);
    let client = inside.client("dana")?;
    let login = inside.url.replace("://", &format!("://dana:{}@", inside.token("dana")?));
    let work = root.join("work-inside");
    // The history came over the gap; the clone is from the inside site.
    git(root, &["clone", "--quiet", &format!("{login}/harbour/berth.git"), "work-inside"])?;
    std::fs::write(work.join("INSIDE.md"), "Built on the inside.\n")
        .map_err(|e| Error::io("changing the project", e))?;
    git(&work, &["add", "--all"])?;
    git(&work, &["commit", "--quiet", "--message", "The first change made inside"])?;
    let started = Instant::now();
    git(&work, &["push", "--quiet", "origin", "HEAD:refs/heads/main"])?;
    let all = client.get("/api/v1/projects/harbour/berth/pipelines").await?;
    let id = all["pipelines"][0]["id"].as_i64().ok_or_else(|| broken("the push made no pipeline".into()))?;
    let pipeline = wait(&client, id).await?;
    let seconds = started.elapsed().as_secs_f64();
    let jobs = pipeline["jobs"].as_array().cloned().unwrap_or_default();
    if pipeline["state"] != "success" {
        return Err(broken(failure(&client, &pipeline, &jobs).await));
    }
    let mut artifacts = 0;
    let mut packages = 0;
    for job in &jobs {
        let (files, used) = provenance(&client, job).await?;
        artifacts += files;
        packages += used;
    }
    let parts = project.parts.len();
    if artifacts < parts {
        return Err(broken(format!("{artifacts} signed artifacts from {parts} building jobs")));
    }
    Ok(Facts::default()
        .fact("pipeline", id)
        .fact("jobs", jobs.len())
        .fact("pipeline_seconds", (seconds * 1000.0).round() / 1000.0)
        .fact("signed_artifacts", artifacts)
        .fact("package_digests", packages)
        .line(format!("pipeline {id}: {} jobs in sandboxes, all green in {seconds:.1} s", jobs.len()))
        .line(format!(
            "{artifacts} artifacts with a signed statement, {packages} package digests named in them"
        ))
        .look(format!("{}/pipelines/{id}", inside.url)))
}

/// Waits for a pipeline to end by following the logs of its jobs: the site ends a log when its job
/// has ended, so nothing here has to ask again and again.
async fn wait(client: &Client, id: i64) -> Result<Value> {
    loop {
        let pipeline = client.get(&format!("/api/v1/pipelines/{id}")).await?;
        let over = |j: &Value| !matches!(j["state"].as_str(), Some("created" | "pending" | "running"));
        let jobs = pipeline["jobs"].as_array().cloned().unwrap_or_default();
        let Some(waiting) = jobs
            .iter()
            .find(|j| !over(j) && j["state"] != "created")
            .or_else(|| jobs.iter().find(|j| !over(j)))
        else {
            return Ok(pipeline);
        };
        client.follow(&format!("/api/v1/jobs/{}/log?follow=1", waiting["id"])).await?;
    }
}

async fn failure(client: &Client, pipeline: &Value, jobs: &[Value]) -> String {
    let mut text = format!("the pipeline is {}", pipeline["state"]);
    for job in jobs.iter().filter(|j| j["state"] == "failed") {
        let log = client.text(&format!("/api/v1/jobs/{}/log", job["id"])).await.unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(25).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        text.push_str(&format!("\n{} failed: {}\n{}", job["name"], job["failure_reason"], end.join("\n")));
    }
    text
}

/// Checks a job's statement against the inside site's key; counts its artifacts and the packages
/// that it names.
async fn provenance(client: &Client, job: &Value) -> Result<(usize, usize)> {
    let found = client.text(&format!("/api/v1/jobs/{}/provenance", job["id"])).await;
    let Ok(text) = found else { return Ok((0, 0)) };
    let site = client.get("/api/v1/site").await?;
    let key: VerifyingKey = site["key"].as_str().unwrap_or_default().parse()?;
    let verified = cofferdam_trust::verify_statement(
        &Envelope::from_json(text.as_bytes())?,
        cofferdam_forge::PREDICATE_TYPE,
        &[key],
        1,
    )?;
    let statement = serde_json::to_value(&verified.statement).unwrap_or_default();
    let dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().cloned();
    let packages = dependencies
        .unwrap_or_default()
        .iter()
        .filter(|d| d["uri"].as_str().is_some_and(|u| u.starts_with("pkg:")))
        .count();
    let subjects = statement["subject"].as_array().map_or(0, Vec::len);
    Ok((subjects, packages))
}
