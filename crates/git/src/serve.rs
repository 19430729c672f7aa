//! Smart HTTP (gitprotocol-http, gitprotocol-v2): git does the protocol, we carry the bytes.
//!
//! A push is decided while its objects are in git's own quarantine: the `pre-receive` hook (ours, a
//! few lines of shell) hands the proposed updates to this process through one FIFO and waits for
//! the verdict on another. When this process dies meanwhile, the next start refuses in its name
//! ([`release_orphans`]): a hook never waits for ever, and never says yes by itself.

use std::{path::Path, process::Stdio};

use bytes::{Bytes, BytesMut};
use cofferdam_types::{Error, ErrorKind, ProjectId, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::unix::pipe,
    process::{Child, ChildStdin},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_util::io::StreamReader;

use crate::{ByteStream, GitBinary, Oid, Push, PushPolicy, RefUpdate, Service, command::Invocation, read};

const CHUNK: usize = 64 * 1024;
/// A request for a clone names what it has and wants; more than this is no honest one.
const UPLOAD_REQUEST_LIMIT: u64 = 64 << 20;
/// What git tells a pusher. It is held back until the house has heard of the push.
const REPORT_LIMIT: usize = 4 << 20;

const HOOK: &str = "#!/bin/sh
# Asks the site whether this push may happen. The last line of its answer is `yes` or `no`; the
# lines before it are for the person who pushes.
{ cat; echo END; } > \"$COFFERDAM_ASK\" || exit 1
while read -r line; do
  case \"$line\" in
    yes) exit 0 ;;
    no) exit 1 ;;
    *) printf '%s\\n' \"${line#|}\" >&2 ;;
  esac
done < \"$COFFERDAM_ANSWER\"
exit 1
";

pub(crate) fn write_hook(folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("pre-receive");
    let failed = |e| Error::io("writing the git hook", e);
    if std::fs::read_to_string(&path).is_ok_and(|text| text == HOOK) {
        return Ok(());
    }
    let temporary = folder.join("pre-receive.new");
    std::fs::write(&temporary, HOOK).map_err(failed)?;
    std::fs::set_permissions(&temporary, PermissionsExt::from_mode(0o755)).map_err(failed)?;
    std::fs::rename(&temporary, &path).map_err(failed)
}

fn with_protocol(mut invocation: Invocation, protocol: Option<&str>) -> Invocation {
    // Only what git itself defines; the header is a client's text.
    if let Some(version @ ("version=0" | "version=1" | "version=2")) = protocol {
        invocation.env("GIT_PROTOCOL", version);
    }
    invocation
}

pub(crate) async fn info_refs(
    git: &GitBinary,
    project: ProjectId,
    service: Service,
    protocol: Option<&str>,
) -> Result<ByteStream> {
    let verb = service.as_str().trim_start_matches("git-");
    let mut invocation = git.plain([verb, "--stateless-rpc", "--http-backend-info-refs"]);
    invocation.arg(git.folder(project));
    let invocation = with_protocol(invocation, protocol);
    let line = format!("# service={}\n", service.as_str());
    let mut out = BytesMut::from(format!("{:04x}{line}0000", line.len() + 4).as_str());
    out.extend_from_slice(&git.output(&invocation).await?);
    let out = out.freeze();
    Ok(futures::stream::once(async move { Ok(out) }).boxed())
}

/// A request's body, expanded when it is compressed, with a bound on what it may become.
async fn feed(body: ByteStream, gzip: bool, limit: u64, mut stdin: ChildStdin) -> Result<()> {
    let body = if gzip { inflate(body) } else { body };
    let mut body = body;
    let mut taken = 0u64;
    while let Some(chunk) = body.try_next().await? {
        taken += chunk.len() as u64;
        if taken > limit {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "git-too-large",
                format!("more than {limit} bytes were sent"),
            ));
        }
        // A process that has ended early says why on its own output.
        if stdin.write_all(&chunk).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn inflate(body: ByteStream) -> ByteStream {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes>>(4);
    let reader = tokio_util::io::SyncIoBridge::new(StreamReader::new(body.map_err(std::io::Error::other)));
    tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut decoder = flate2::read::GzDecoder::new(reader);
        let mut buffer = vec![0; CHUNK];
        loop {
            let chunk = match decoder.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => Ok(Bytes::copy_from_slice(&buffer[..n])),
                Err(e) => Err(Error::invalid("bad-gzip", "the request's gzip body is broken").with_source(e)),
            };
            let failed = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    });
    futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
        .boxed()
}

fn start(git: &GitBinary, invocation: &Invocation) -> Result<Child> {
    git.process(invocation).stdin(Stdio::piped()).spawn().map_err(|e| Error::internal("starting git", e))
}

fn feeder(child: &mut Child, body: ByteStream, gzip: bool, limit: u64) -> Result<JoinHandle<Result<()>>> {
    let stdin = child
        .stdin
        .take()
        .ok_or_else(|| Error::internal("starting git", std::io::Error::other("no stdin")))?;
    Ok(tokio::spawn(feed(body, gzip, limit, stdin)))
}

/// Somebody has to read what git complains about, or it stops when the pipe is full.
fn complaints(child: &mut Child) -> JoinHandle<String> {
    let stderr = child.stderr.take();
    tokio::spawn(async move {
        let mut text = Vec::new();
        if let Some(stderr) = stderr {
            let mut stderr = stderr.take(64 * 1024);
            let _ = stderr.read_to_end(&mut text).await;
            let _ = tokio::io::copy(&mut stderr.into_inner(), &mut tokio::io::sink()).await;
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}

pub(crate) async fn upload_pack(
    git: &GitBinary,
    project: ProjectId,
    protocol: Option<&str>,
    gzip: bool,
    body: ByteStream,
) -> Result<ByteStream> {
    let mut invocation = git.plain(["upload-pack", "--stateless-rpc"]);
    invocation.arg(git.folder(project));
    let mut child = start(git, &with_protocol(invocation, protocol))?;
    let feeding = feeder(&mut child, body, gzip, UPLOAD_REQUEST_LIMIT)?;
    let complaining = complaints(&mut child);
    let (sender, receiver) = mpsc::channel::<Result<Bytes>>(8);
    // The task owns the process: when the client goes away the channel closes, the task ends, and
    // dropping the process kills it.
    tokio::spawn(async move {
        let carried = carry(&mut child, &sender).await;
        let fed = feeding.await.unwrap_or(Ok(()));
        let failed = carried.and(fed).err().or(match child.wait().await {
            Ok(status) if status.success() => None,
            _ => Some(Error::internal(
                "git upload-pack",
                std::io::Error::other(complaining.await.unwrap_or_default()),
            )),
        });
        if let Some(error) = failed {
            let _ = sender.send(Err(error)).await;
        }
    });
    Ok(futures::stream::unfold(
        receiver,
        |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
    )
    .boxed())
}

async fn carry(child: &mut Child, sender: &mpsc::Sender<Result<Bytes>>) -> Result<()> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(()) };
    loop {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        let n = tokio::select! {
            n = stdout.read_buf(&mut buffer) => n.map_err(|e| Error::io("reading from git", e))?,
            () = sender.closed() => {
                let _ = child.start_kill();
                return Ok(());
            }
        };
        if n == 0 || sender.send(Ok(buffer.freeze())).await.is_err() {
            return Ok(());
        }
    }
}

pub(crate) async fn receive_pack(git: &GitBinary, project: ProjectId, push: Push) -> Result<ByteStream> {
    let Push { protocol, gzip, body, policy, limit } = push;
    let room = Room::new(git)?;
    let hooks = format!("core.hooksPath={}", git.root.join("hooks").display());
    let size = format!("receive.maxInputSize={limit}");
    let mut invocation =
        git.plain(["-c", hooks.as_str(), "-c", size.as_str(), "receive-pack", "--stateless-rpc"]);
    invocation.arg(git.folder(project));
    invocation.env("COFFERDAM_ASK", room.ask()).env("COFFERDAM_ANSWER", room.answer());
    let mut child = start(git, &with_protocol(invocation, protocol.as_deref()))?;
    let feeding = feeder(&mut child, body, gzip, limit)?;
    let complaining = complaints(&mut child);
    let mut stdout = child.stdout.take();
    let report = tokio::spawn(async move {
        let mut text = Vec::new();
        if let Some(out) = &mut stdout {
            let _ = out.take(REPORT_LIMIT as u64).read_to_end(&mut text).await;
        }
        text
    });
    let (proposed, _answer) = tokio::select! {
        asked = room.converse(policy.as_ref()) => asked.map(|(updates, answer)| (updates, Some(answer)))?,
        // No hook ran: nothing was pushed, or git refused before it asked.
        _ = child.wait() => (Vec::new(), None),
    };
    let status = child.wait().await.map_err(|e| Error::io("waiting for git", e))?;
    let report = report.await.map_err(|e| Error::internal("reading from git", e))?;
    if let Ok(Err(error)) = feeding.await {
        return Err(error);
    }
    if !status.success() && report.is_empty() {
        let text = complaining.await.unwrap_or_default();
        return Err(Error::invalid("git-push", "git could not read this push")
            .with_source(std::io::Error::other(text)));
    }
    let made = made(git, project, proposed).await?;
    if !made.is_empty() {
        policy.after(&made).await;
    }
    Ok(futures::stream::once(async move { Ok(Bytes::from(report)) }).boxed())
}

/// Of the proposed updates, those that git really made.
async fn made(git: &GitBinary, project: ProjectId, proposed: Vec<RefUpdate>) -> Result<Vec<RefUpdate>> {
    if proposed.is_empty() {
        return Ok(proposed);
    }
    let now = read::list_refs(git, project).await?;
    let is_now = |update: &RefUpdate| match now.iter().find(|(name, _)| *name == update.name) {
        Some((_, oid)) => *oid == update.new,
        None => update.new.is_zero(),
    };
    Ok(proposed.into_iter().filter(is_now).collect())
}

/// The two FIFOs of one push.
struct Room(tempfile::TempDir);

impl Room {
    fn new(git: &GitBinary) -> Result<Self> {
        let failed = |e| Error::io("making room for a push", e);
        let folder =
            tempfile::Builder::new().prefix("push-").tempdir_in(git.root.join("pushes")).map_err(failed)?;
        let room = Self(folder);
        for path in [room.ask(), room.answer()] {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0)
                .map_err(|e| failed(e.into()))?;
        }
        Ok(room)
    }

    fn ask(&self) -> std::path::PathBuf {
        self.0.path().join("ask")
    }

    fn answer(&self) -> std::path::PathBuf {
        self.0.path().join("answer")
    }

    /// Reads what is proposed, decides, answers. Both FIFOs are held open for reading and writing,
    /// so that neither side has to be first.
    async fn converse(&self, policy: &dyn PushPolicy) -> Result<(Vec<RefUpdate>, pipe::Sender)> {
        let failed = |e| Error::io("talking to the git hook", e);
        let asked = pipe::OpenOptions::new().read_write(true).open_receiver(self.ask()).map_err(failed)?;
        let mut lines = BufReader::new(asked).lines();
        let mut updates = Vec::new();
        while let Some(line) = lines.next_line().await.map_err(failed)? {
            if line == "END" {
                break;
            }
            updates.push(line);
        }
        let (text, updates) = match decide(&updates, policy).await {
            Ok(updates) => ("yes\n".to_owned(), updates),
            Err(why) => (why.lines().map(|l| format!("|{l}\n")).collect::<String>() + "no\n", Vec::new()),
        };
        let mut answer =
            pipe::OpenOptions::new().read_write(true).open_sender(self.answer()).map_err(failed)?;
        answer.write_all(text.as_bytes()).await.map_err(failed)?;
        // Closing it now could lose the answer if the hook has not opened its end yet: the caller
        // keeps it until git has ended.
        Ok((updates, answer))
    }
}

async fn decide(lines: &[String], policy: &dyn PushPolicy) -> std::result::Result<Vec<RefUpdate>, String> {
    let mut updates = Vec::new();
    for line in lines {
        updates.push(parse(line).ok_or_else(|| "the site could not read this push".to_owned())?);
    }
    for RefUpdate { name, .. } in &updates {
        if !(name.starts_with("refs/heads/") || name.starts_with("refs/tags/"))
            || crate::check_ref_name(name).is_err()
        {
            return Err(format!(
                "{name} is refused: only branches (refs/heads/) and tags (refs/tags/) can be pushed"
            ));
        }
    }
    policy.before(&updates).await?;
    Ok(updates)
}

fn parse(line: &str) -> Option<RefUpdate> {
    let mut words = line.splitn(3, ' ');
    let (old, new): (Oid, Oid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(RefUpdate { name: words.next()?.to_owned(), old, new })
}

/// Refuses in the name of a process that died while a hook was waiting for it, and removes its room.
pub(crate) fn release_orphans(folder: &Path) -> Result<()> {
    use std::io::Write as _;
    let failed = |e| Error::io("clearing interrupted pushes", e);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let room = entry.map_err(failed)?.path();
        let answer = std::fs::OpenOptions::new().read(true).write(true).open(room.join("answer"));
        if let Ok(mut answer) = answer {
            let _ = answer.write_all(b"|the site was restarted: push again\nno\n");
        }
        std::fs::remove_dir_all(room).map_err(failed)?;
    }
    Ok(())
}
