//! Running git: bounded output, bounded time, and an end for everything that was started.
//!
//! [`run`] is for commands whose whole answer fits in memory, [`converse`] for the two services
//! that stream. Nothing here may outlive its limit, and no output may be collected without a bound.

use std::{
    io,
    process::{ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use cofferdam_types::{Error, ErrorKind, Result};
use futures::StreamExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    time::timeout,
};

use crate::ByteStream;

/// Bytes of git's complaints that are kept for the log.
const COMPLAINT: usize = 8 << 10;
/// How long git may take to clean up after it was asked to end.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes read from git at a time.
const CHUNK: usize = 64 << 10;

/// What a finished command left.
pub(crate) struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// The output of a command that has no reason to fail.
    pub(crate) fn ok(self, what: &str) -> Result<Vec<u8>> {
        if self.status.success() { Ok(self.stdout) } else { Err(self.failure(what)) }
    }

    /// The failure as a fault of ours, with git's words for the log.
    pub(crate) fn failure(self, what: &str) -> Error {
        fault(what, self.status, &self.stderr)
    }
}

fn fault(what: &str, status: ExitStatus, stderr: &str) -> Error {
    if stderr.contains("No space left on device") || stderr.contains("Disk quota exceeded") {
        return Error::io(what, io::Error::from(io::ErrorKind::StorageFull));
    }
    Error::internal(format!("{what} ended with {status}"), stderr.trim().to_owned())
}

/// Runs a command to its end. `TooLarge` when it says more than `max` bytes, `Unavailable` when it
/// takes longer than `limit`; in both cases it is ended first.
pub(crate) async fn run(
    mut command: Command,
    input: Option<Vec<u8>>,
    max: usize,
    limit: Duration,
) -> Result<Output> {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().map_err(|e| Error::internal("starting git", e))?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A command that ends before it has read everything says why by its status.
            let _ = stdin.write_all(&input).await;
        }
    };
    let work = async {
        let ((), out, err) = tokio::join!(write, take_all(stdout, max), head_of(stderr));
        let Some(stdout) = out.map_err(|e| Error::internal("reading from git", e))? else {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "git-output-too-large",
                format!("git's answer has more than the {max} bytes that are taken"),
            ));
        };
        let status = child.wait().await.map_err(|e| Error::internal("waiting for git", e))?;
        Ok(Output { status, stdout, stderr: err })
    };
    let result = match timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(too_slow(limit)),
    };
    if result.is_err() {
        end(&mut child).await;
    }
    result
}

fn too_slow(limit: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, "git-timeout", format!("git took longer than {} s", limit.as_secs()))
        .hint("try again when the site has less to do")
}

/// Everything a pipe says, or `None` when that is more than `max` bytes.
async fn take_all(pipe: Option<ChildStdout>, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(max as u64 + 1).read_to_end(&mut out).await?;
    }
    Ok((out.len() <= max).then_some(out))
}

/// The first bytes that a pipe says; the rest is read and dropped, so that nobody blocks on it.
async fn head_of(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut out = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = (&mut pipe).take(COMPLAINT as u64).read_to_end(&mut out).await;
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Asks a process group to end and makes sure that it does.
///
/// TERM first: git then removes its locks and the quarantine of a push.
async fn end(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) else {
        return;
    };
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
    if timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
    // Helpers that ignored the first signal.
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
}

/// How a conversation with a service ended.
pub(crate) enum Ending {
    /// Git ended by itself.
    Exited(ExitStatus, String),
    /// The client went away, or its request broke off or was too long; git was ended.
    Broke(Error),
    /// The time limit passed, and git was ended.
    TooSlow,
    /// The pipes to git broke.
    Broken(io::Error),
}

/// A conversation: what git says, and how it ends.
pub(crate) struct Conversation {
    pub output: ByteStream,
    pub ended: tokio::task::JoinHandle<Ending>,
}

/// Starts a service: `body` goes in, the stream comes out. While `committed` is false, dropping the
/// stream or an error in the body ends git.
pub(crate) fn converse(
    mut command: Command,
    body: Option<ByteStream>,
    limit: Duration,
    committed: Arc<AtomicBool>,
) -> Result<Conversation> {
    if body.is_some() {
        command.stdin(Stdio::piped());
    }
    let child = command.spawn().map_err(|e| Error::internal("starting git", e))?;
    let (send, receive) = mpsc::channel(4);
    let ended = tokio::spawn(drive(child, body, send, limit, committed));
    let output =
        futures::stream::unfold(receive, |mut r| async move { r.recv().await.map(|item| (item, r)) });
    Ok(Conversation { output: Box::pin(output), ended })
}

async fn drive(
    mut child: Child,
    body: Option<ByteStream>,
    out: mpsc::Sender<Result<Bytes>>,
    limit: Duration,
    committed: Arc<AtomicBool>,
) -> Ending {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let gone = async {
        out.closed().await;
        if committed.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    };
    let work = async {
        let streams = async { tokio::try_join!(feed(stdin, body), pump(stdout, &out, &committed)) };
        let (streams, complaint) = tokio::join!(streams, head_of(stderr));
        match streams {
            Err(ending) => ending,
            Ok(_) => match child.wait().await {
                Ok(status) => Ending::Exited(status, complaint),
                Err(error) => Ending::Broken(error),
            },
        }
    };
    let ending = tokio::select! {
        ending = timeout(limit, work) => ending.unwrap_or(Ending::TooSlow),
        () = gone => Ending::Broke(gone_error()),
    };
    if !matches!(ending, Ending::Exited(..)) {
        end(&mut child).await;
    }
    // Whoever is in the middle of the answer must not take it for a whole one.
    let cut = match &ending {
        Ending::Exited(status, _) if status.success() => return ending,
        Ending::Exited(status, complaint) => fault("git", *status, complaint),
        Ending::TooSlow => too_slow(limit),
        Ending::Broke(_) | Ending::Broken(_) => gone_error(),
    };
    let _ = out.send(Err(cut)).await;
    ending
}

fn gone_error() -> Error {
    Error::invalid(
        "git-request-broken",
        "the conversation was broken off before its end; nothing of it was kept",
    )
}

async fn feed(stdin: Option<ChildStdin>, body: Option<ByteStream>) -> Result<(), Ending> {
    let (Some(mut stdin), Some(mut body)) = (stdin, body) else { return Ok(()) };
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(Ending::Broke)?;
        if stdin.write_all(&chunk).await.is_err() {
            // Git has heard enough; it says why on its output. The rest is read all the same,
            // because many clients only listen when they have said everything.
            while body.next().await.is_some_and(|chunk| chunk.is_ok()) {}
            break;
        }
    }
    Ok(())
}

async fn pump(
    stdout: Option<ChildStdout>,
    out: &mpsc::Sender<Result<Bytes>>,
    committed: &AtomicBool,
) -> Result<(), Ending> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        if stdout.read_buf(&mut chunk).await.map_err(Ending::Broken)? == 0 {
            return Ok(());
        }
        // When a committed push has lost its client, git still has to be able to speak.
        if out.send(Ok(chunk.freeze())).await.is_err() && !committed.load(Ordering::SeqCst) {
            return Err(Ending::Broke(gone_error()));
        }
    }
}

/// The stream of a conversation whose first words are there. A service that failed without a word
/// is an error now instead of an empty answer.
pub(crate) async fn speaking(mut talk: Conversation, what: &str) -> Result<ByteStream> {
    match talk.output.next().await {
        Some(Ok(first)) => {
            Ok(Box::pin(futures::stream::once(std::future::ready(Ok(first))).chain(talk.output)))
        }
        _ => match talk.ended.await {
            Ok(Ending::Exited(status, _)) if status.success() => Ok(Box::pin(futures::stream::empty())),
            Ok(ending) => Err(failed(ending, what)),
            Err(error) => Err(Error::internal(what, error)),
        },
    }
}

/// An ending that was no success.
pub(crate) fn failed(ending: Ending, what: &str) -> Error {
    match ending {
        Ending::Exited(status, complaint) => match refusal(&complaint) {
            Some(error) => error,
            None => fault(what, status, &complaint),
        },
        Ending::Broke(error) => error,
        Ending::TooSlow => {
            Error::new(ErrorKind::Unavailable, "git-timeout", "git took longer than it may; it was stopped")
        }
        Ending::Broken(error) => Error::internal(what, error),
    }
}

/// Git's word for a request that is no git request: the client's mistake, not ours.
fn refusal(complaint: &str) -> Option<Error> {
    let line = complaint.lines().find_map(|l| l.strip_prefix("fatal: "))?;
    ["protocol error", "bad line length", "the remote end hung up", "expected", "unknown object-format"]
        .iter()
        .any(|word| line.contains(word))
        .then(|| Error::invalid("git-request", format!("git does not understand this request: {line}")))
}
