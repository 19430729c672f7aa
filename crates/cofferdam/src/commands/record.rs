//! `cofferdam record`, `rehearse`, `collect`: what a build really uses.
//!
//! Both runs happen in a fresh copy of the folder (what git tracks or would track, where it is a git
//! work tree), with an empty home and a sandbox whose only reachable address is the site: what an
//! old build has left behind cannot hide what is missing.

use std::{
    path::{Path, PathBuf},
    process::{Command as Process, ExitCode},
};

use cofferdam_runner::{Seen, Watched};
use cofferdam_sandbox::{Exit, Stdio};
use cofferdam_types::{Error, Result, Secret};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::Context;
use crate::{
    cli::RecordArgs,
    client::Client,
    output,
    personal::Own,
    toolchain::{Build, door, open_folders},
};

/// A copy of a folder and an empty home, gone when dropped.
pub struct Workplace {
    root: tempfile::TempDir,
    /// Folders that the build must not see: a site's state, with its keys.
    secret: Vec<PathBuf>,
}

impl Workplace {
    /// Copies a folder.
    ///
    /// # Errors
    /// `Invalid` when it is none; `NoSpace`.
    pub fn of(folder: &Path) -> Result<Self> {
        let failed = |e| Error::io("copying the folder to build", e);
        let root = tempfile::Builder::new().prefix("cofferdam-build-").tempdir().map_err(failed)?;
        for name in ["home", "work"] {
            std::fs::create_dir(root.path().join(name)).map_err(failed)?;
        }
        let place = Self { root, secret: Vec::new() };
        for file in files_of(folder)? {
            copy(&folder.join(&file), &place.work().join(&file)).map_err(failed)?;
        }
        Ok(place)
    }

    /// The same, with one more folder that the build must not see.
    pub fn hiding(mut self, folder: &Path) -> Self {
        self.secret.push(folder.to_owned());
        self
    }

    fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    fn keep(&self, at: &Path) -> Result<()> {
        let failed = |e| Error::io(format!("keeping the build in {}", at.display()), e);
        for file in all_files(&self.work(), &self.work()) {
            copy(&self.work().join(&file), &at.join(&file)).map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        open_folders(self.root.path());
    }
}

/// The files of a folder: git's view of it, or all.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = Process::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(folder)
        .output();
    if let Ok(done) = listed
        && done.status.success()
    {
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let files = text.split('\0').filter(|f| !f.is_empty()).map(PathBuf::from);
        return Ok(files.filter(|f| folder.join(f).symlink_metadata().is_ok()).collect());
    }
    if !folder.is_dir() {
        return Err(Error::invalid("folder", format!("{} is not a folder", folder.display())));
    }
    Ok(all_files(folder, folder))
}

fn all_files(folder: &Path, root: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).into_iter().filter_map(std::result::Result::ok);
    let files = entries.filter(|e| !e.file_type().is_dir());
    files.filter_map(|e| e.path().strip_prefix(root).ok().map(Path::to_owned)).collect()
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let kind = from.symlink_metadata()?.file_type();
    if kind.is_symlink() {
        std::os::unix::fs::symlink(std::fs::read_link(from)?, to)
    } else if kind.is_file() {
        std::fs::copy(from, to).map(drop)
    } else {
        Ok(())
    }
}

/// A recording that was begun, and its tokens.
pub struct Session {
    /// Its number.
    pub id: i64,
    /// The token that makes the site ask upstream.
    pub record: Secret<String>,
    /// The token that does not.
    pub replay: Secret<String>,
}

impl Session {
    /// Begins a recording at a site.
    ///
    /// # Errors
    /// What the site answered.
    pub async fn start(client: &Client, name: &str, command: &[String]) -> Result<Self> {
        let body = json!({ "name": name, "command": shell_words(command) });
        let started = client.post("/api/v1/recordings", &body).await?;
        let secret = |name: &str| Secret::new(started[name].as_str().unwrap_or_default().to_owned());
        Ok(Self {
            id: started["id"].as_i64().unwrap_or(0),
            record: secret("record_token"),
            replay: secret("replay_token"),
        })
    }
}

/// How a build ended.
pub struct Built {
    /// The exit code as shells count it.
    pub code: i64,
    /// How long it took.
    pub duration: std::time::Duration,
    /// Connections that it made to the site.
    pub connections: u64,
    /// What it dialled beside its package clients.
    pub network: Seen,
    /// What it printed, when it was quiet; the end of it.
    output: Vec<u8>,
}

impl Built {
    /// Shows the end of what a quiet build printed, if it failed: nobody has seen it.
    fn explain(&self) {
        if self.code != 0 && !self.output.is_empty() {
            eprintln!("{}", self.tail());
        }
    }

    /// The last lines that it printed.
    pub fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        let mut lines: Vec<&str> = text.lines().rev().take(25).collect();
        lines.reverse();
        lines.join("\n")
    }
}

/// Who answers a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Upstream, now.
    Live,
    /// What was kept.
    Kept,
}

/// Runs a command in a workplace, with package clients set up for a token. `quiet` keeps what it
/// prints instead of showing it.
///
/// # Errors
/// `Unavailable` when this machine has no sandbox, saying what to change.
pub async fn run_build(
    client: &Client,
    token: &str,
    place: &Workplace,
    command: &[String],
    answers: Answers,
    quiet: bool,
) -> Result<Built> {
    let site = client.address()?;
    let inside = format!("http://{}", door(site).listen);
    let setups: Vec<_> = client.setups(Some(token), &inside).await?.into_iter().map(|(_, _, s)| s).collect();
    let (folder, home, own) = (place.work(), place.home(), Own::find());
    if !quiet {
        own.told().iter().chain(&own.left_out).for_each(|line| eprintln!("{line}"));
    }
    let build = Build {
        command,
        folder: &folder,
        home: &home,
        site,
        setups: &setups,
        own: &own,
        secret: &place.secret,
    };
    let mut spec = build.spec()?;
    let watched = Watched::new(door(site), token)?.live(answers == Answers::Live);
    watched.trust(&mut spec, &place.root.path().join("trust"))?;
    if quiet {
        // Both streams of a build in one order, as a person would see them.
        (spec.stdout, spec.stderr) = (Stdio::Piped, Stdio::Piped);
    }
    let (mut running, unwatched) = watched.spawn(spec).await?;
    if let Some(why) = unwatched {
        eprintln!("{why}");
    }
    let (stdout, stderr) = (running.stdout.take(), running.stderr.take());
    let reading = async { tokio::join!(drain(stdout), drain(stderr)) };
    let (outcome, (mut output, errors)) = tokio::join!(running.wait(), reading);
    let outcome = outcome?;
    output.extend(errors);
    Ok(Built {
        code: code_of(&outcome.status),
        duration: outcome.duration,
        connections: outcome.connections,
        network: watched.seen(&running),
        output,
    })
}

/// The end of what a stream says.
async fn drain(stream: Option<tokio::net::unix::pipe::Receiver>) -> Vec<u8> {
    const KEPT: usize = 64 * 1024;
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return kept };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n) = stream.read(&mut buffer).await {
        if n == 0 {
            break;
        }
        kept.extend_from_slice(&buffer[..n]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    kept
}

/// The exit code as shells count it.
pub fn code_of(exit: &Exit) -> i64 {
    match exit {
        Exit::Code(code) => i64::from(*code),
        Exit::Signal(signal) => 128 + i64::from(*signal),
        _ => 137,
    }
}

/// `cofferdam record`.
pub async fn record(context: &Context, arguments: &RecordArgs) -> Result<ExitCode> {
    let client = context.client()?;
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => std::env::current_dir().map_err(|e| Error::io("finding this folder", e))?,
    };
    let place = Workplace::of(&folder)?.hiding(context.home()?.path());
    let session = Session::start(&client, &arguments.name, &arguments.command).await?;
    let id = session.id;
    remember(context, &arguments.name, &folder, &arguments.command, &session)?;
    let built =
        run_build(&client, session.record.expose(), &place, &arguments.command, Answers::Live, context.json)
            .await?;
    built.explain();
    let code = built.code;
    let collection =
        client.post(&format!("/api/v1/recordings/{id}/end"), &json!({ "exit_code": code })).await?;
    let (files, bytes) = totals(&collection);
    let value = json!({
        "id": id, "name": arguments.name, "exit_code": code, "seconds": built.duration.as_secs_f64(),
        "releases": collection["items"].as_array().map_or(0, Vec::len), "files": files, "bytes": bytes,
        "missing": collection["missing"], "connections": built.connections, "network": built.network.json(),
    });
    output::show(&value, context.json, |v| {
        format!(
            "recorded `{}` as number {id}: {} releases, {files} files, {} (exit code {code})\n{}\
             next: cofferdam rehearse {}\n",
            arguments.name,
            v["releases"],
            output::bytes(bytes),
            built.network.text(),
            arguments.name
        )
    });
    if let Some(keep) = &arguments.keep {
        place.keep(keep)?;
    }
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// `cofferdam rehearse`.
pub async fn rehearse(context: &Context, name: &str, keep: Option<&Path>) -> Result<ExitCode> {
    let client = context.client()?;
    let known = recall(context, name)?;
    let folder = PathBuf::from(known["folder"].as_str().unwrap_or("."));
    let command: Vec<String> = known["command"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| c.as_str().map(str::to_owned))
        .collect();
    let place = Workplace::of(&folder)?.hiding(context.home()?.path());
    let token = known["replay_token"].as_str().unwrap_or_default();
    let built = run_build(&client, token, &place, &command, Answers::Kept, context.json).await?;
    built.explain();
    let code = built.code;
    let path = format!("/api/v1/recordings/{}/rehearsed", known["id"]);
    let mut value = client.post(&path, &json!({ "exit_code": code })).await?;
    value["seconds"] = json!(built.duration.as_secs_f64());
    value["network"] = built.network.json();
    output::show(&value, context.json, |v| {
        let mut text = if v["complete"] == true {
            format!("`{name}` is complete: it builds with upstream shut, from what was collected\n")
        } else {
            format!("`{name}` is NOT complete: the command ended with {code}\n")
        };
        for missing in v["missing"].as_array().into_iter().flatten() {
            text.push_str(&format!("  not here: {} in {}\n", missing["path"], missing["repository"]));
        }
        text.push_str(&built.network.text());
        text
    });
    if let Some(keep) = keep {
        place.keep(keep)?;
    }
    Ok(if code == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// `cofferdam collect`.
pub async fn collect(context: &Context, name: &str) -> Result<()> {
    let value = context.client()?.get(&format!("/api/v1/recordings/{name}/collection")).await?;
    output::show(&value, context.json, |v| {
        let items = v["items"].as_array().cloned().unwrap_or_default();
        let rows: Vec<Vec<String>> = items
            .iter()
            .map(|i| {
                let files = i["files"].as_array().cloned().unwrap_or_default();
                let size: u64 = files.iter().filter_map(|f| f["size"].as_u64()).sum();
                let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
                vec![text(&i["repository"]), text(&i["purl"]), files.len().to_string(), output::bytes(size)]
            })
            .collect();
        output::table(&["repository", "package", "files", "size"], &rows)
    });
    Ok(())
}

fn totals(collection: &Value) -> (usize, u64) {
    let files = collection["items"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|i| i["files"].as_array().into_iter().flatten());
    files.fold((0, 0), |(n, bytes), f| (n + 1, bytes + f["size"].as_u64().unwrap_or(0)))
}

fn shell_words(command: &[String]) -> String {
    let quote = |word: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    command.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// What a rehearsal needs to know of its recording stays with the person who made it, readable by
/// them alone: the replay token is a secret.
fn memory(context: &Context, name: &str) -> Result<PathBuf> {
    if name.is_empty()
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        || name.starts_with('.')
    {
        return Err(Error::invalid(
            "recording-name",
            format!("`{name}` is not a usable name: letters, digits, - _ ."),
        ));
    }
    Ok(context.home()?.path().join("recordings").join(format!("{name}.json")))
}

fn remember(
    context: &Context,
    name: &str,
    folder: &Path,
    command: &[String],
    session: &Session,
) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let path = memory(context, name)?;
    let failed = |e| Error::io("remembering the recording", e);
    let folder = std::path::absolute(folder).map_err(failed)?;
    let value = json!({
        "id": session.id, "replay_token": session.replay.expose(), "folder": folder, "command": command,
    });
    std::fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed)?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(value.to_string().as_bytes()).map_err(failed)
}

fn recall(context: &Context, name: &str) -> Result<Value> {
    let path = memory(context, name)?;
    let text = std::fs::read_to_string(&path).map_err(|_| {
        Error::not_found(format!("nothing is known here of a recording `{name}`"))
            .hint("rehearse as the person who recorded, with the same --home")
    })?;
    serde_json::from_str(&text).map_err(|e| Error::internal("reading what is known of the recording", e))
}
