//! `cofferdam repo`: repositories of packages.

use cofferdam_types::Result;
use serde_json::{Value, json};

use super::Context;
use crate::{cli::RepoAction, output};

/// Runs one action.
pub async fn run(context: &Context, action: RepoAction) -> Result<()> {
    let client = context.client()?;
    match action {
        RepoAction::List => {
            let value = client.get("/api/v1/repositories").await?;
            output::show(&value, context.json, list);
        }
        RepoAction::Create { name, format, kind, members } => {
            let body = json!({ "name": name, "format": format, "kind": kind, "members": members });
            let value = client.post("/api/v1/repositories", &body).await?;
            output::show(&value, context.json, |_| format!("created the {kind} repository `{name}`\n"));
        }
        RepoAction::Packages { name, search } => {
            let query = search.map(|s| {
                let encoded: String = url::form_urlencoded::byte_serialize(s.as_bytes()).collect();
                format!("?q={encoded}")
            });
            let path = format!("/api/v1/repositories/{name}/packages{}", query.unwrap_or_default());
            let value = client.get(&path).await?;
            output::show(&value, context.json, packages);
        }
    }
    Ok(())
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().map_or_else(|| value[name].to_string(), str::to_owned)
}

fn list(value: &Value) -> String {
    let rows: Vec<Vec<String>> = value["repositories"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|r| {
            let size = output::bytes(r["bytes"].as_u64().unwrap_or(0));
            let columns = ["name", "format", "kind", "packages", "releases", "files"];
            columns.iter().map(|c| text(r, c)).chain([size, text(r, "url")]).collect()
        })
        .collect();
    output::table(&["name", "format", "kind", "packages", "releases", "files", "size", "address"], &rows)
}

fn packages(value: &Value) -> String {
    let mut rows = Vec::new();
    for package in value["packages"].as_array().into_iter().flatten() {
        for release in package["releases"].as_array().into_iter().flatten() {
            let files = release["files"].as_array().map_or(0, Vec::len).to_string();
            rows.push(vec![text(package, "name"), text(release, "version"), text(release, "state"), files]);
        }
    }
    output::table(&["package", "version", "state", "files"], &rows)
}
