//! `cofferdam config`: check it, and show where every value comes from.

use cofferdam_types::{Error, Result};
use serde_json::{Map, Value, json};

use super::Context;
use crate::{
    cli::ConfigAction,
    config::{Config, OVERRIDES},
    output,
};

/// Runs one action.
pub fn run(context: &Context, action: &ConfigAction) -> Result<()> {
    let home = context.home()?;
    let config = home.config()?;
    match action {
        ConfigAction::Check => {
            let file = home.config_file();
            output::show(&json!({ "ok": true, "file": file }), context.json, |_| {
                format!("{} is right\n", file.display())
            });
        }
        ConfigAction::Show => {
            let written = std::fs::read_to_string(home.config_file())
                .map_err(|e| Error::io("reading the configuration", e))?;
            let rows = rows(&config, &written)?;
            output::show(&Value::Object(rows), context.json, |v| {
                let rows: Vec<Vec<String>> = v
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(k, v)| {
                        vec![k.clone(), v["value"].to_string(), v["from"].as_str().unwrap_or("").to_owned()]
                    })
                    .collect();
                output::table(&["key", "value", "from"], &rows)
            });
        }
    }
    Ok(())
}

fn rows(config: &Config, written: &str) -> Result<Map<String, Value>> {
    let file: toml::Table = toml::from_str(written).map_err(|e| Error::invalid("config", e.to_string()))?;
    let all = serde_json::to_value(config).map_err(|e| Error::internal("showing the configuration", e))?;
    let mut flat = Vec::new();
    flatten("", &all, &mut flat);
    let mut out = Map::new();
    for (key, value) in flat {
        let variable = OVERRIDES.iter().find(|(name, k)| *k == key && std::env::var_os(name).is_some());
        let in_file =
            key.split('.').try_fold(&toml::Value::Table(file.clone()), |t, part| t.get(part)).is_some();
        let from = match variable {
            Some((name, _)) => format!("environment {name}"),
            None if in_file => "cofferdam.toml".to_owned(),
            None => "default".to_owned(),
        };
        out.insert(key, json!({ "value": value, "from": from }));
    }
    Ok(out)
}

fn flatten(prefix: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                flatten(&key, inner, out);
            }
        }
        // A database address holds a password.
        Value::String(text) if prefix == "database.url" && text.contains('@') => {
            out.push((prefix.to_owned(), json!("***")))
        }
        other => out.push((prefix.to_owned(), other.clone())),
    }
}
