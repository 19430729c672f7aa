//! `cofferdam record`, `rehearse`: what a build really uses.
//!
//! Both runs happen in a sandbox whose only reachable address is the site. What the machine saw of them (network, what
//! went in, what came out) is told to the site, which signs it.

use std::{path::Path, process::ExitCode};

use cofferdam_crossing::{Collection, Mention, Observed, Tree};
use cofferdam_runner::{NOT_HEARD, Seen, Watched, greeting};
use cofferdam_sandbox::{Exit, Stdio};
use cofferdam_types::{Error, Result, Secret};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::{
    Context, hints,
    known::{self, Known},
    mentions::{Mentions, mentions_of},
    progress::Spinner,
    workplace::Workplace,
};
use crate::{
    cli::RecordArgs,
    client::Client,
    output,
    personal::Own,
    toolchain::{Build, door},
    upstream_keys,
};

/// Things asked for in vain that are named, of a build that does without them.
const MOST_NAMED: usize = 3;

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

    /// Ends it: what the machine saw, and what the folder's lock files name.
    ///
    /// # Errors
    /// What the site answered.
    pub async fn end(&self, client: &Client, built: &Built, mentions: &[Mention]) -> Result<Collection> {
        let body = upstream_keys::offered_with(json!({
            "exit_code": built.code, "observed": built.observed(), "mentions": mentions,
        }));
        collection(client.post(&format!("/api/v1/recordings/{}/end", self.id), &body).await?)
    }
}

/// A collection as a site answers it.
///
/// # Errors
/// `Internal` when it is none.
pub fn collection(value: Value) -> Result<Collection> {
    serde_json::from_value(value).map_err(|e| Error::internal("reading the site's answer", e))
}

/// Tells the site how a rehearsal ended; its answer.
///
/// # Errors
/// What the site answered.
pub async fn end_rehearsal(client: &Client, id: i64, built: &Built) -> Result<Value> {
    let body = json!({ "exit_code": built.code, "observed": built.observed() });
    client.post(&format!("/api/v1/recordings/{id}/rehearsed"), &body).await
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
    /// The folder before the command.
    pub inputs: Tree,
    /// What the command made or changed in it.
    pub result: Tree,
    /// Whether its network was watched.
    watched: bool,
    /// What it printed, when it was quiet; the end of it.
    output: Vec<u8>,
}

impl Built {
    /// What this machine says of it.
    fn observed(&self) -> Observed {
        Observed {
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            inputs: Some(self.inputs.clone()),
            result: Some(self.result.clone()),
            network: self.watched.then(|| self.network.json()),
        }
    }

    /// Shows the end of what a quiet build printed, if it failed: nobody has seen it. And what may help.
    fn explain(&self, folder: &Path, command: &[String]) {
        if self.code == 0 {
            return;
        }
        if !self.output.is_empty() {
            eprintln!("{}", self.tail());
        }
        if let Some(hint) = hints::containers(folder, command) {
            eprintln!("{hint}");
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
    place: &mut Workplace,
    command: &[String],
    answers: Answers,
    quiet: bool,
) -> Result<Built> {
    let (built, crowded) = attempt(client, token, place, command, answers, quiet).await?;
    if !crowded || !place.leave_memory()? {
        return Ok(built);
    }
    eprintln!("the build's files take more memory than they may: once more from the beginning, on disk");
    Ok(attempt(client, token, place, command, answers, quiet).await?.0)
}

/// Runs it once; and whether it was ended because its files took too much memory.
async fn attempt(
    client: &Client,
    token: &str,
    place: &Workplace,
    command: &[String],
    answers: Answers,
    quiet: bool,
) -> Result<(Built, bool)> {
    let site = client.address()?;
    let inside = format!("http://{}", door(site).listen);
    let setups: Vec<_> = client.setups(Some(token), &inside).await?.into_iter().map(|s| s.read).collect();
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
        secret: place.secret(),
    };
    let mut spec = build.spec()?;
    let (door, heard) = greeting(door(site), token).await;
    if !heard {
        eprintln!("{NOT_HEARD}");
    }
    let watched = Watched::new(door, token)?.live(answers == Answers::Live);
    if quiet {
        // Both streams of a build in one order, as a person would see them.
        (spec.stdout, spec.stderr) = (Stdio::Piped, Stdio::Piped);
    }
    let before = place.state()?;
    let (mut running, unwatched) = watched.start(spec, &place.trust()).await?;
    if let Some(why) = &unwatched {
        eprintln!("{why}");
    }
    // Somebody who sees nothing of a build sees that it goes on.
    let going_on = quiet.then(|| Spinner::new(&going_on(command, answers)));
    let (stdout, stderr) = (running.stdout.take(), running.stderr.take());
    let reading = async { tokio::join!(drain(stdout), drain(stderr)) };
    let ending = async {
        tokio::select! {
            outcome = running.wait() => return (outcome, false),
            () = place.crowded() => {}
        }
        running.kill();
        (running.wait().await, true)
    };
    let ((outcome, crowded), (mut output, errors)) = tokio::join!(ending, reading);
    drop(going_on);
    let outcome = outcome?;
    output.extend(errors);
    let built = Built {
        code: code_of(&outcome.status),
        duration: outcome.duration,
        connections: outcome.connections,
        network: watched.seen(&mut running).await?,
        inputs: before.tree(),
        result: place.state()?.since(&before),
        watched: unwatched.is_none(),
        output,
    };
    Ok((built, crowded))
}

/// What goes on, in a line: the command's last line without its control characters.
fn going_on(command: &[String], answers: Answers) -> String {
    let last = command.last().map_or("", |word| word.trim().lines().last().unwrap_or_default());
    let plain: String = last.chars().filter(|c| !c.is_control()).take(60).collect();
    format!("{} {plain}", if answers == Answers::Live { "recording" } else { "rehearsing" })
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

/// A build that was recorded: the site's collection, what the machine saw, what lock files name.
pub struct Recorded {
    /// The recording's number.
    pub id: i64,
    /// What it was given.
    pub collection: Collection,
    /// How the build ended.
    pub built: Built,
    /// What the folder's files name.
    pub mentions: Mentions,
}

/// Records a build, and remembers what its rehearsal needs.
///
/// # Errors
/// What the site answered; `Unavailable` without a sandbox.
pub async fn record_build(
    context: &Context,
    client: &Client,
    name: &str,
    (folder, command): (&Path, &[String]),
    keep: Option<&Path>,
) -> Result<Recorded> {
    let mut place = Workplace::of(folder)?.hiding(context.home()?.path());
    if let Some(warning) = hints::filled(folder, place.copied()) {
        eprintln!("{warning}");
    }
    let session = Session::start(client, name, command).await?;
    known::remember(context, name, folder, command, &session)?;
    let token = session.record.expose();
    let built = run_build(client, token, &mut place, command, Answers::Live, context.json).await?;
    built.explain(folder, command);
    // Before the site is told: when it refuses what was recorded, people want to look at what was built all the more.
    let kept = keep.map_or(Ok(()), |keep| place.keep(keep));
    let mentions = mentions_of(folder)?;
    let collection = session.end(client, &built, &mentions.list).await?;
    kept?;
    Ok(Recorded { id: session.id, collection, built, mentions })
}

/// Rehearses a recorded build; the site's answer, with what the machine saw.
///
/// # Errors
/// `NotFound` when this person has not recorded it here; what the site answered.
pub async fn rehearse_build(
    context: &Context,
    client: &Client,
    name: &str,
    keep: Option<&Path>,
) -> Result<(Value, Built)> {
    let known = Known::recall(context, name)?;
    let mut place = Workplace::of(&known.folder)?.hiding(context.home()?.path());
    let (token, command) = (&known.replay_token, &known.command);
    let built = run_build(client, token, &mut place, command, Answers::Kept, context.json).await?;
    built.explain(&known.folder, command);
    let kept = keep.map_or(Ok(()), |keep| place.keep(keep));
    let mut value = end_rehearsal(client, known.id, &built).await?;
    kept?;
    value["seconds"] = json!(built.duration.as_secs_f64());
    value["network"] = built.network.json();
    (value["inputs"], value["result"]) = (json!(built.inputs), json!(built.result));
    Ok((value, built))
}

/// `cofferdam record`.
pub async fn record(context: &Context, arguments: &RecordArgs) -> Result<ExitCode> {
    let client = context.client()?;
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => std::env::current_dir().map_err(|e| Error::io("finding this folder", e))?,
    };
    let what = (folder.as_path(), arguments.command.as_slice());
    let done = record_build(context, &client, &arguments.name, what, arguments.keep.as_deref()).await?;
    let Recorded { id, collection, built, mentions } = done;
    let (files, bytes) = collection.totals();
    let (code, releases, running) = (built.code, collection.items.len(), collection.found_by_running());
    let value = json!({
        "id": id, "name": arguments.name, "exit_code": code, "seconds": built.duration.as_secs_f64(),
        "releases": releases, "files": files, "bytes": bytes, "found_by_running": running,
        "unused": collection.unused.len(), "missing": collection.missing, "connections": built.connections,
        "network": built.network.json(), "inputs": built.inputs, "result": built.result,
        "lock_files": mentions.paths(), "notes": mentions.notes,
    });
    output::show(&value, context.json, |_| {
        let (size, name) = (output::bytes(bytes), &arguments.name);
        let mut text = format!(
            "recorded `{name}` as number {id}: {releases} releases, {files} files, {size} (exit code {code})\n"
        );
        if running > 0 {
            let read =
                if mentions.files.is_empty() { "no lock file is here" } else { "no lock file names them" };
            text.push_str(&format!(
                "  {running} of them were found only by running: {read} (`cofferdam collect {name} --only-running`)\n"
            ));
        }
        text.push_str(&built.network.text());
        text.push_str(&match code {
            0 => format!("next: cofferdam rehearse {name}\n"),
            _ => {
                "the command failed, so this is not all that it needs: mend it and record again\n".to_owned()
            }
        });
        text
    });
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// `cofferdam rehearse`.
pub async fn rehearse(context: &Context, name: &str, keep: Option<&Path>) -> Result<ExitCode> {
    let client = context.client()?;
    let (value, built) = rehearse_build(context, &client, name, keep).await?;
    let complete = value["complete"] == true;
    output::show(&value, context.json, |v| {
        let mut text = if complete {
            format!("`{name}` is complete: it builds with upstream shut, from what was collected\n")
        } else if built.code != 0 {
            format!("`{name}` is NOT complete: the command ended with {}\n", built.code)
        } else {
            format!("`{name}` is NOT complete: the command used what is not in its collection\n")
        };
        text.push_str(&missing_text(&v["missing"], complete));
        text.push_str(&built.network.text());
        text
    });
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What was asked for in vain. A client that asks for packages of other platforms does without: then some names are enough.
fn missing_text(missing: &Value, complete: bool) -> String {
    let of = |one: &Value| {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        format!("{} in {}", text("path"), text("repository"))
    };
    let all: Vec<String> = missing.as_array().into_iter().flatten().map(of).collect();
    if !complete {
        return all.iter().map(|one| format!("  not here: {one}\n")).collect();
    }
    match all.len() {
        0 => String::new(),
        many => {
            let some: Vec<&str> = all.iter().take(MOST_NAMED).map(String::as_str).collect();
            let more = if many > MOST_NAMED { ", ..." } else { "" };
            format!("  {many} were asked for in vain, and it did without: {}{more}\n", some.join(", "))
        }
    }
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
