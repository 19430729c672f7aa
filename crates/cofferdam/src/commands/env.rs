//! `cofferdam env`: how to set up every package client for a site.

use std::collections::BTreeMap;

use cofferdam_format_kit::ClientSetup;
use cofferdam_types::Result;
use serde_json::{Value, json};

use super::Context;
use crate::{client::Setup, output};

/// Prints it, to be copied.
pub async fn run(context: &Context) -> Result<()> {
    let client = context.client()?;
    let all = client.setups(client.token(), &client.url).await?;
    let value: Vec<_> = all.iter().map(|setup| value(&client.url, setup)).collect();
    output::show(&json!({ "clients": value }), context.json, |_| all.iter().map(text).collect());
    Ok(())
}

fn value(site: &str, Setup { format, repository, read, publish }: &Setup) -> Value {
    let fields = |setup: &ClientSetup| {
        json!({
            "commands": setup.commands,
            "env": setup.env.iter().cloned().collect::<BTreeMap<_, _>>(),
            "files": setup.files.iter().cloned().collect::<BTreeMap<_, _>>(),
        })
    };
    let mut value = fields(read);
    (value["format"], value["repository"]) = (json!(format), json!(repository));
    // Groups are read; what people publish goes to a hosted repository.
    value["publish"] = publish.as_ref().map_or(Value::Null, |(hosted, setup)| {
        let mut value = fields(setup);
        value["repository"] = json!(hosted);
        value
    });
    value["publish_to"] = json!(publish.as_ref().map(|(hosted, _)| format!("{site}/r/{hosted}/")));
    value
}

fn text(Setup { format, repository, read, publish }: &Setup) -> String {
    let mut text = format!("# {format} (repository `{repository}`)\n");
    lines(&mut text, read);
    if let Some((hosted, setup)) = publish {
        text.push_str(&format!("# to publish (repository `{hosted}`; needs the role developer)\n"));
        lines(&mut text, setup);
    }
    text.push('\n');
    text
}

fn lines(text: &mut String, setup: &ClientSetup) {
    for command in &setup.commands {
        text.push_str(&format!("{command}\n"));
    }
    for (path, content) in &setup.files {
        text.push_str(&format!("# or ~/{path}:\n"));
        content.lines().for_each(|line| text.push_str(&format!("#   {line}\n")));
    }
}
