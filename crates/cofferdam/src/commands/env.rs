//! `cofferdam env`: how to set up every package client for a site.

use cofferdam_types::Result;
use serde_json::json;

use super::Context;
use crate::output;

/// Prints it, to be copied.
pub async fn run(context: &Context) -> Result<()> {
    let client = context.client()?;
    let all = client.setups(client.token(), &client.url).await?;
    // Groups are read; what people publish goes to a hosted repository.
    let repositories = client.get("/api/v1/repositories").await?;
    let publish_to = |format: &str| {
        let mut rows = repositories["repositories"].as_array().into_iter().flatten();
        rows.find(|r| r["format"] == format && r["kind"] == "hosted")
            .and_then(|r| r["url"].as_str())
            .map(str::to_owned)
    };
    let value: Vec<_> = all
        .iter()
        .map(|(format, repository, setup)| {
            json!({
                "format": format, "repository": repository, "commands": setup.commands,
                "publish_to": publish_to(format),
                "env": setup.env.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
                "files": setup.files.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            })
        })
        .collect();
    output::show(&json!({ "clients": value }), context.json, |_| {
        let mut text = String::new();
        for (format, repository, setup) in &all {
            text.push_str(&format!("# {format} (repository `{repository}`)\n"));
            for command in &setup.commands {
                text.push_str(&format!("{command}\n"));
            }
            for (path, content) in &setup.files {
                text.push_str(&format!("# or ~/{path}:\n"));
                content.lines().for_each(|line| text.push_str(&format!("#   {line}\n")));
            }
            if let Some(url) = publish_to(format) {
                text.push_str(&format!("# publish to: {url}\n"));
            }
            text.push('\n');
        }
        text
    });
    Ok(())
}
