//! `cofferdam project`, `pipeline` and `job`: git projects and what runs in them.

use std::process::ExitCode;

use cofferdam_types::Result;
use serde_json::{Value, json};

use super::Context;
use crate::{
    cli::{JobAction, PipelineAction, ProjectAction},
    output,
};

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().map_or_else(|| value[name].to_string(), str::to_owned)
}

fn rows(value: &Value, list: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let rows = value[list].as_array().into_iter().flatten();
    rows.map(|row| columns.iter().map(|c| text(row, c)).collect()).collect()
}

/// `cofferdam project`.
pub async fn project(context: &Context, action: ProjectAction) -> Result<()> {
    let client = context.client()?;
    match action {
        ProjectAction::List => {
            let value = client.get("/api/v1/projects").await?;
            let columns = ["path", "default_branch", "git_url"];
            output::show(&value, context.json, |v| output::table(&columns, &rows(v, "projects", &columns)));
        }
        ProjectAction::Create { path } => {
            let value = client.post("/api/v1/projects", &json!({ "path": path })).await?;
            output::show(&value, context.json, |v| {
                let url = text(v, "git_url");
                format!(
                    "created {path}\npush to it:  git push {url} HEAD:main\n(any name, your token as the password)\n"
                )
            });
        }
    }
    Ok(())
}

/// `cofferdam pipeline`.
pub async fn pipeline(context: &Context, action: PipelineAction) -> Result<ExitCode> {
    let client = context.client()?;
    match action {
        PipelineAction::List { project } => {
            let value = client.get(&format!("/api/v1/projects/{project}/pipelines")).await?;
            let columns = ["id", "state", "ref", "sha", "created"];
            output::show(&value, context.json, |v| output::table(&columns, &rows(v, "pipelines", &columns)));
        }
        PipelineAction::Show { id } => {
            let value = client.get(&format!("/api/v1/pipelines/{id}")).await?;
            output::show(&value, context.json, |v| {
                let columns = ["id", "stage", "name", "state", "exit_code"];
                let head =
                    format!("pipeline {id}: {} {}\n", text(v, "state"), v["error"].as_str().unwrap_or(""));
                head + &output::table(&columns, &rows(v, "jobs", &columns))
            });
            if value["state"] == "failed" {
                return Ok(ExitCode::from(1));
            }
        }
        PipelineAction::Run { project, reference } => {
            let body = json!({ "ref": reference });
            let value = client.post(&format!("/api/v1/projects/{project}/pipelines"), &body).await?;
            output::show(&value, context.json, |v| format!("pipeline {} is {}\n", v["id"], text(v, "state")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `cofferdam job`.
pub async fn job(context: &Context, action: JobAction) -> Result<()> {
    let client = context.client()?;
    match action {
        JobAction::Log { id } => {
            // The stream ends when the job has ended; what was written until now is the whole log.
            client.follow(&format!("/api/v1/jobs/{id}/log?follow=1")).await?;
            let log = client.text(&format!("/api/v1/jobs/{id}/log")).await?;
            output::show(&json!({ "id": id, "log": log }), context.json, |_| log.clone());
        }
        JobAction::Provenance { id } => {
            let statement = client.text(&format!("/api/v1/jobs/{id}/provenance")).await?;
            output::say_line(&statement);
        }
    }
    Ok(())
}
