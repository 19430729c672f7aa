//! A push: quarantine, decision, refs.
//!
//! Git keeps the objects of a push in a quarantine until its `pre-receive` hook agrees
//! (git-receive-pack(1), "Quarantine environment"). Our hook is twenty lines of shell that pass the
//! proposed updates to this process and wait for its verdict, through two named pipes in a folder
//! made for this push:
//!
//! ```text
//! git receive-pack ── pre-receive ──asked──▶ updates, `end`        ▶ our rules, then `PushPolicy`
//!                                 ◀verdict── `accept` or `refuse`, lines, `end`
//!                  ── post-receive ─▶ file `made`: the updates that git really made
//! ```
//!
//! Both pipes are held open here from before git starts, so the hook never waits for a process
//! that is gone: it reads the end of the pipe and refuses. A push must never move a ref that the
//! decision did not see; that is why [`prove_hooks_run`] is part of the start.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cofferdam_types::{Error, ErrorKind, ProjectId, Result};
use futures::StreamExt as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::unix::pipe,
    process::Command,
    task::JoinHandle,
};

use crate::{
    ByteStream, Oid, Push, PushPolicy, RefUpdate, body, check_ref_name,
    oid::shown,
    process::{Ending, converse, failed, run},
    server::Server,
    upload::protocol as usual,
};

/// Refs in one push; a first push of a very large project has some thousands.
const MAX_UPDATES: usize = 20_000;
/// Bytes of one line of the hook's input: two ids and a ref name.
const MAX_LINE: u64 = 4 << 10;
/// Bytes of the refusal that a pusher is shown.
const MAX_MESSAGE: usize = 4 << 10;
/// Bytes of git's report that are held back: some hundred for each ref.
const MAX_REPORT: usize = 8 << 20;
/// How long one push may last.
const LIMIT: Duration = Duration::from_secs(3600);
/// Bytes around the pack in a push: the list of updates, push options, a certificate.
const AROUND_PACK: u64 = 16 << 20;

/// The hooks by file name. Only shell built-ins: a push starts no program but the shell.
pub(crate) const HOOKS: &[(&str, &str)] = &[
    ("pre-receive", include_str!("hooks/pre-receive.sh")),
    ("post-receive", include_str!("hooks/post-receive.sh")),
];

/// Git passes over a hook that cannot be executed, and the push would go unasked.
pub(crate) async fn prove_hooks_run(hooks: &Path) -> Result<()> {
    for (name, _) in HOOKS {
        let mut command = Command::new(hooks.join(name));
        command
            .arg("--check")
            .env_clear()
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let answer = run(command, None, 64, Duration::from_secs(30)).await;
        if !answer.as_ref().is_ok_and(|out| out.status.success() && out.stdout == b"ok\n") {
            let cause = answer.map_or_else(|e| e.internal_chain(), |out| out.stderr);
            return Err(Error::new(
                ErrorKind::Unavailable,
                "git-hooks-cannot-run",
                format!("git's hooks in {} cannot be executed", hooks.display()),
            )
            .hint("put the state folder on a file system that is not mounted noexec; /bin/sh is needed, too")
            .with_source(cause));
        }
    }
    Ok(())
}

/// One push on its way: the folder with its pipes. Counted, see [`Server::pushes`].
struct Visit {
    git: Arc<Server>,
    project: ProjectId,
    scratch: tempfile::TempDir,
}

impl Visit {
    fn begin(git: &Arc<Server>, project: ProjectId) -> Result<Self> {
        let scratch = git.scratch()?;
        for name in ["asked", "verdict"] {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(
                rustix::fs::CWD,
                scratch.path().join(name),
                rustix::fs::FileType::Fifo,
                mode,
                0,
            )
            .map_err(|e| Error::io("making the pipes of a push", e.into()))?;
        }
        let mut pushes = git.pushes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let others = pushes.entry(project).or_default();
        if *others == 0 {
            git.sweep_quarantine(project);
        }
        *others += 1;
        Ok(Self { git: git.clone(), project, scratch })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut pushes = self.git.pushes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let left = pushes.get(&self.project).map_or(0, |n| n - 1);
        if left == 0 {
            pushes.remove(&self.project);
            self.git.sweep_quarantine(self.project);
        } else {
            pushes.insert(self.project, left);
        }
    }
}

impl Server {
    /// Removes the quarantines of pushes that were killed. Only called while the lock on
    /// `pushes` shows that none is in progress.
    fn sweep_quarantine(&self, project: ProjectId) {
        let Ok(folder) = self.existing(project) else { return };
        let Ok(entries) = std::fs::read_dir(folder.join("objects")) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with("tmp_objdir-")) {
                // What cannot be removed now is tried again after the next push.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    pub(crate) async fn push(self: &Arc<Self>, project: ProjectId, push: Push) -> Result<ByteStream> {
        let Push { protocol, gzip, body, policy, limit } = push;
        let folder = self.existing(project)?;
        let default = format!("refs/heads/{}", self.head_branch(project)?);
        let visit = Visit::begin(self, project)?;
        let failed = |e| Error::io("opening the pipes of a push", e);
        let mut both_ways = pipe::OpenOptions::new();
        both_ways.read_write(true);
        let asked = both_ways.open_receiver(visit.scratch.path().join("asked")).map_err(failed)?;
        let verdict = both_ways.open_sender(visit.scratch.path().join("verdict")).map_err(failed)?;

        let mut command = self.command();
        command
            .args(["-c", &format!("receive.maxInputSize={limit}"), "receive-pack", "--stateless-rpc"])
            .arg(&folder)
            .env("COFFERDAM_PUSH", visit.scratch.path())
            .env("COFFERDAM_PID", std::process::id().to_string());
        if let Some(protocol) = usual(protocol.as_deref()) {
            command.env("GIT_PROTOCOL", protocol);
        }
        let committed = Arc::new(AtomicBool::new(false));
        let body = body::plain(body, gzip, limit.saturating_add(AROUND_PACK));
        let talk = converse(command, Some(body), LIMIT, committed.clone())?;
        let judge = tokio::spawn(judge(asked, verdict, default, policy.clone(), committed.clone()));
        let (tell, told) = tokio::sync::oneshot::channel();
        // A task of its own: a committed push is finished whoever still listens.
        tokio::spawn(async move {
            let _ = tell.send(visit.finish(talk.ended, judge, policy.as_ref()).await);
        });
        let answer = Answer { output: talk.output, committed, done: Some(told), held: VecDeque::new() };
        answer.begin().await
    }
}

/// What the client is told. From the moment of acceptance on it is held back until the policy has
/// heard what was done, so that who is told of success can rely on everything that follows from it.
struct Answer {
    output: ByteStream,
    committed: Arc<AtomicBool>,
    done: Option<tokio::sync::oneshot::Receiver<Result<()>>>,
    held: VecDeque<Bytes>,
}

impl Answer {
    /// Waits for the first words. A push that failed without one is an error, not an empty answer.
    async fn begin(mut self) -> Result<ByteStream> {
        let Some(first) = self.next().await? else { return Ok(Box::pin(futures::stream::empty())) };
        let rest = futures::stream::try_unfold(self, |mut answer| async move {
            Ok(answer.next().await?.map(|chunk| (chunk, answer)))
        });
        Ok(Box::pin(futures::stream::once(std::future::ready(Ok(first))).chain(rest)))
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.done.is_some() {
            let read = match self.output.next().await {
                Some(Ok(chunk)) if !self.committed.load(Ordering::SeqCst) => return Ok(Some(chunk)),
                Some(Ok(chunk)) => self.hold(chunk).await,
                Some(Err(error)) => Err(error),
                None => Ok(()),
            };
            if let Some(done) = self.done.take() {
                done.await.map_err(|e| Error::internal("waiting for a push", e))??;
            }
            read?;
        }
        Ok(self.held.pop_front())
    }

    /// Takes the rest of git's words, the report, as they come: git must not wait for the client.
    async fn hold(&mut self, first: Bytes) -> Result<()> {
        let mut room = MAX_REPORT.saturating_sub(first.len());
        self.held.push_back(first);
        while let Some(chunk) = self.output.next().await {
            let chunk = chunk?;
            room = room.saturating_sub(chunk.len());
            if room > 0 {
                self.held.push_back(chunk);
            }
        }
        Ok(())
    }
}

/// What was proposed and what the answer was.
struct Judged {
    proposed: Vec<RefUpdate>,
    refused: Option<String>,
}

/// Waits for the hook's question, and answers it. Dropping this refuses the push.
async fn judge(
    asked: pipe::Receiver,
    mut verdict: pipe::Sender,
    default: String,
    policy: Arc<dyn PushPolicy>,
    committed: Arc<AtomicBool>,
) -> Option<Judged> {
    let proposed = read_updates(asked).await;
    let judged = match proposed {
        Err(reason) => Judged { proposed: Vec::new(), refused: Some(reason) },
        Ok(proposed) => {
            let refused = match check(&proposed, &default) {
                Ok(()) => policy.before(&proposed).await.err(),
                refused => refused.err(),
            };
            Judged { proposed, refused }
        }
    };
    let answer = match &judged.refused {
        None => "accept\n".to_owned(),
        Some(reason) => format!("refuse\n{}end\n", message_lines(reason)),
    };
    committed.store(judged.refused.is_none(), Ordering::SeqCst);
    verdict.write_all(answer.as_bytes()).await.ok()?;
    Some(judged)
}

/// The reason as lines that cannot be mistaken for the end, without control characters that
/// would reach the pusher's terminal.
fn message_lines(reason: &str) -> String {
    let mut kept = String::new();
    for line in reason.lines() {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        if kept.len() + line.len() > MAX_MESSAGE {
            break;
        }
        kept.push_str(&format!("|{line}\n"));
    }
    kept
}

/// The site's own rules, before anybody is asked.
fn check(proposed: &[RefUpdate], default: &str) -> std::result::Result<(), String> {
    for update in proposed {
        let name = &update.name;
        check_ref_name(name).map_err(|e| e.to_string())?;
        if !name.starts_with("refs/heads/") && !name.starts_with("refs/tags/") {
            return Err(format!(
                "`{name}` cannot be pushed: only branches (refs/heads/) and tags (refs/tags/) can"
            ));
        }
        if update.new.is_zero() && name == default {
            return Err(format!(
                "`{name}` cannot be deleted: it is the default branch; make another one the default first"
            ));
        }
    }
    Ok(())
}

/// Reads the hook's question. Everything up to `end` is read even when it is refused, because the
/// hook first speaks and then listens.
async fn read_updates(asked: pipe::Receiver) -> std::result::Result<Vec<RefUpdate>, String> {
    let mut asked = BufReader::new(asked);
    let mut updates = Vec::new();
    let mut wrong = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut asked).take(MAX_LINE).read_until(b'\n', &mut line).await;
        if !read.is_ok_and(|n| n > 0) {
            return Err("the site could not read what was pushed".into());
        }
        if line == b"end\n" {
            return wrong.map_or(Ok(updates), Err);
        }
        match parse_update(&line) {
            _ if updates.len() >= MAX_UPDATES => {
                wrong = Some(format!("more than {MAX_UPDATES} refs in one push; push them in parts"));
            }
            Some(update) => updates.push(update),
            None => {
                wrong = Some(format!("`{}` is no update of a ref", shown(&String::from_utf8_lossy(&line))))
            }
        }
    }
}

/// `<old> SP <new> SP <name> LF`, as githooks(5) gives it to `pre-receive` and `post-receive`.
fn parse_update(line: &[u8]) -> Option<RefUpdate> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let mut parts = line.splitn(3, ' ');
    let (old, new) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(RefUpdate { old, new, name: parts.next()?.to_owned() })
}

impl Visit {
    /// Waits for git's end, finds out what was really done, and tells the policy.
    async fn finish(
        self,
        ended: JoinHandle<Ending>,
        judge: JoinHandle<Option<Judged>>,
        policy: &dyn PushPolicy,
    ) -> Result<()> {
        let ending = ended.await.map_err(|e| Error::internal("waiting for git", e))?;
        // If git never asked, nobody else will.
        judge.abort();
        match judge.await.ok().flatten() {
            Some(Judged { refused: None, proposed }) => {
                let made = self.made(proposed).await?;
                if !made.is_empty() {
                    policy.after(&made).await;
                }
                Ok(())
            }
            Some(_) => Ok(()),
            None => match ending {
                Ending::Exited(status, _) if status.success() => Ok(()),
                ending => Err(failed(ending, "taking a push")),
            },
        }
    }

    /// The updates that git made: what `post-receive` noted, or, when git was ended before it came
    /// to that, the proposals that are now true.
    async fn made(&self, proposed: Vec<RefUpdate>) -> Result<Vec<RefUpdate>> {
        let noted = std::fs::read(self.scratch.path().join("made")).unwrap_or_default();
        if let Some(lines) = noted.strip_suffix(b"end\n") {
            return Ok(lines.split_inclusive(|b| *b == b'\n').filter_map(parse_update).collect());
        }
        let names: Vec<&str> = proposed.iter().map(|update| update.name.as_str()).collect();
        let now = self.git.objects(self.project, &names).await?;
        let is_now = |(update, now): &(RefUpdate, Option<Oid>)| match now {
            Some(oid) => update.new == *oid,
            None => update.new.is_zero(),
        };
        Ok(proposed.into_iter().zip(now).filter(is_now).map(|(u, _)| u).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(name: &str, new: Option<&str>) -> RefUpdate {
        let zero = "0".repeat(40);
        let id = |text: &str| text.parse().expect("an id");
        RefUpdate { name: name.into(), old: id(&zero), new: id(new.unwrap_or(&zero)) }
    }

    #[test]
    fn only_branches_and_tags_can_be_pushed_and_the_default_branch_stays() {
        let id = "a".repeat(40);
        assert_eq!(
            check(&[update("refs/heads/x", Some(&id)), update("refs/tags/x", None)], "refs/heads/main"),
            Ok(())
        );
        for (name, new) in [
            ("refs/pipelines/1", Some(&id)),
            ("refs/notes/x", Some(&id)),
            ("refs/heads/main", None),
            ("HEAD", Some(&id)),
        ] {
            let new = new.map(String::as_str);
            assert!(check(&[update(name, new)], "refs/heads/main").is_err(), "{name}");
        }
    }

    #[test]
    fn a_message_cannot_end_itself_or_reach_the_terminal() {
        assert_eq!(message_lines("no\nend\n\u{1b}[2Jx"), "|no\n|end\n|[2Jx\n");
        assert!(message_lines(&"long\n".repeat(10_000)).len() < 3 * MAX_MESSAGE);
    }
}
