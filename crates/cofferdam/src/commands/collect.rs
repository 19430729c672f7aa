//! `cofferdam collect`: collections as tables and files, what people decide about their items, and collecting without
//! running the build: from lock files, `cofferdam.want` and collection files.
//!
//! Fetches only through the site, in the name of a recording: a site decides what may come from where.

mod advisories;
mod fetch;
mod images;
mod judge;
mod manifests;
mod resolve;
mod scripts;
mod tools;
mod update;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use cofferdam_crossing::{Collection, CollectionItem, FILE_END};
use cofferdam_types::{Error, Result};
use serde_json::json;

use self::advisories::Advisories;
use super::{Context, record};
use crate::{cli::CollectArgs, client::Client, output};

/// `cofferdam collect`.
///
/// # Errors
/// What the site answered, and what is wrong with a file.
pub async fn run(context: &Context, arguments: &CollectArgs) -> Result<ExitCode> {
    let client = context.client()?;
    if arguments.update {
        return update::run(context, &client, arguments).await;
    }
    if !arguments.from.is_empty() {
        return resolve::run(context, &client, arguments).await;
    }
    if let Some((purl, decision)) = decision(arguments) {
        let [name] = arguments.of.as_slice() else {
            return Err(Error::invalid("one-collection", "name the one recording that you decide about"));
        };
        let reason = arguments.reason.as_deref().unwrap_or_default();
        let body = json!({ "purl": purl, "decision": decision, "reason": reason });
        client.post(&format!("/api/v1/recordings/{name}/items"), &body).await?;
    }
    if arguments.of.is_empty() {
        return Err(Error::invalid("no-collection", "name a recording, or a collection file")
            .hint("`cofferdam collect NAME`, or `cofferdam collect --from . --as NAME` for lock files"));
    }
    let mut parts = Vec::new();
    for name in &arguments.of {
        parts.push(part(&client, name).await?);
    }
    let feeds = Advisories::of(&client, &arguments.advisories).await?;
    if feeds.any() {
        // A file is no recording: what is said of it is only shown.
        let named = arguments.of.iter().zip(&parts).filter(|(name, _)| !name.ends_with(FILE_END));
        for (name, part) in named {
            judge::keep(&client, name, &feeds.feeds, judge::judge(&feeds.index, part)).await?;
        }
    }
    let collection = match (parts.len(), &arguments.name) {
        (1, None) => parts.remove(0),
        (_, name) => {
            let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
            let name = name.clone().unwrap_or_else(|| names.join("+"));
            Collection::merged(&name, parts)?
        }
    };
    if let Some(file) = &arguments.write {
        write(&collection, file)?;
    }
    show(context, &collection, arguments.only_running, &feeds)?;
    Ok(ExitCode::SUCCESS)
}

/// What is decided about which item, when something is.
fn decision(arguments: &CollectArgs) -> Option<(&str, Option<&'static str>)> {
    let CollectArgs { exclude, pin, undo, .. } = arguments;
    let exclude = exclude.as_deref().map(|purl| (purl, Some("exclude")));
    exclude
        .or_else(|| pin.as_deref().map(|purl| (purl, Some("pin"))))
        .or_else(|| undo.as_deref().map(|purl| (purl, None)))
}

/// A collection by a recording's name or number, or from a file.
async fn part(client: &Client, name: &str) -> Result<Collection> {
    if name.ends_with(FILE_END) {
        return read(Path::new(name));
    }
    record::collection(client.get(&format!("/api/v1/recordings/{name}/collection")).await?)
}

fn read(file: &Path) -> Result<Collection> {
    let failed = |e| Error::io(format!("reading {}", file.display()), e);
    let text = std::fs::read_to_string(file).map_err(failed)?;
    Collection::from_toml(&text, &file.display().to_string())
}

/// Writes the file whole or not at all; the same collection leaves it as it is.
fn write(collection: &Collection, file: &Path) -> Result<()> {
    let text = collection.to_toml()?;
    if std::fs::read_to_string(file).is_ok_and(|old| old == text) {
        eprintln!("{} is up to date", file.display());
        return Ok(());
    }
    let failed = |e| Error::io(format!("writing {}", file.display()), e);
    let folder =
        file.parent().filter(|p| !p.as_os_str().is_empty()).map_or(PathBuf::from("."), PathBuf::from);
    let mut temporary = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    std::io::Write::write_all(&mut temporary, text.as_bytes()).map_err(failed)?;
    // A temporary file is its owner's alone; a collection is for everybody who may read the folder.
    let everybody = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    temporary.as_file().set_permissions(everybody).map_err(failed)?;
    temporary.persist(file).map_err(|e| failed(e.error))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}

/// Shows a collection.
fn show(context: &Context, collection: &Collection, only_running: bool, feeds: &Advisories) -> Result<()> {
    let mut value = serde_json::to_value(collection).map_err(|e| Error::internal("a collection", e))?;
    let (files, bytes) = collection.totals();
    let found = collection.found_by_running();
    value["digest"] = json!(collection.digest()?.to_hex());
    value["found_by_running"] = json!(found);
    if feeds.any() {
        let judged = judge::judge(&feeds.index, collection);
        (value["affected"], value["not_judged"]) = (json!(judged.affected), json!(judged.not_judged));
        value["feeds"] = json!(feeds.feeds);
    }
    output::show(&value, context.json, |value| {
        let mut times: HashMap<&str, usize> = HashMap::new();
        collection.items.iter().for_each(|item| *times.entry(item.called()).or_default() += 1);
        let rows: Vec<Vec<String>> = collection
            .items
            .iter()
            .filter(|item| !only_running || item.found_by_running())
            .map(|item| row(item, &times))
            .collect();
        let head = ["package", "repository", "named in", "asked for by", "licence", "files", "size"];
        let mut text = output::table(&head, &rows);
        text.push_str(&format!(
            "{} releases, {files} files, {}; {found} found only by running\n",
            collection.items.len(),
            output::bytes(bytes)
        ));
        for gone in &collection.excluded {
            text.push_str(&format!("taken out: {} by {}: {}\n", gone.purl, gone.by, gone.reason));
        }
        if !collection.unused.is_empty() {
            let many = collection.unused.len();
            text.push_str(&format!("{many} more are named by lock files and were not used here\n"));
        }
        text.push_str(&judge::affected_lines(value));
        text
    });
    Ok(())
}

/// What people call an item; with its file's name, where several files of one package are items of their own.
fn called(item: &CollectionItem, times: &HashMap<&str, usize>) -> String {
    let file = item.version.split('~').next().filter(|_| item.known_as.is_some());
    match file.filter(|_| times.get(item.called()).is_some_and(|times| *times > 1)) {
        Some(file) => format!("{} ({file})", item.called()),
        None => item.called().to_owned(),
    }
}

fn row(item: &CollectionItem, times: &HashMap<&str, usize>) -> Vec<String> {
    let size: u64 = item.files.iter().map(|f| f.size).sum();
    let first = |all: &[String], none: &str| match all {
        [] => none.to_owned(),
        [one] => one.clone(),
        [one, rest @ ..] => format!("{one} +{}", rest.len()),
    };
    let pin = if item.pinned.is_some() { " (pinned)" } else { "" };
    vec![
        format!("{}{pin}", called(item, times)),
        item.repository.clone(),
        first(&item.mentioned, "found only by running"),
        first(&item.asked_by, ""),
        first(&item.licences, ""),
        item.files.len().to_string(),
        output::bytes(size),
    ]
}
