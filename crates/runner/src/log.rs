//! A job's log: written to a file, masked on the way, and sent to the site as it grows.
//!
//! The file is the truth: what the site has is always a prefix of it, and the checksum at the end is
//! that of the file. A lost answer, a restarted site or a wrong checksum only moves the place where
//! sending goes on. No byte reaches the file before the masker has seen it.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use cofferdam_runner_api::{JobOutput, JobState};
use cofferdam_types::time::SharedClock;
use cofferdam_types::{Error, Result};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{Coordinator, Patched, State, Updated, Verdict};
use crate::mask::Masker;
use crate::protocol::Job;

/// Largest piece that is sent at once; the protocol's bound.
const PIECE: u64 = 1 << 20;
/// Lines that come within this time of the last piece are sent together,
const COALESCE: Duration = Duration::from_millis(40);
/// unless the log was quiet: then so many pieces go out at once, for somebody who waits to see it begin.
const AT_ONCE: u32 = 6;
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Tries in a row without any progress before sending is given up, once the job is over.
const TRIES: u32 = 10;

/// How much there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    length: u64,
    ended: bool,
}

/// The writing end.
pub struct Log {
    file: File,
    masker: Masker,
    checksum: crc32fast::Hasher,
    limit: u64,
    full: bool,
    progress: watch::Sender<Progress>,
    clock: SharedClock,
}

impl Log {
    /// A log in a new file at `path`.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn create(path: &Path, masker: Masker, limit: u64, clock: SharedClock) -> Result<Self> {
        let file = File::create_new(path).await.map_err(|e| Error::io("making a job's log", e))?;
        let progress = watch::Sender::new(Progress::default());
        Ok(Self { file, masker, checksum: crc32fast::Hasher::new(), limit, full: false, progress, clock })
    }

    /// Follows the log's growth.
    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Appends output of the job.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let shown = self.masker.push(bytes);
        self.store(&shown).await
    }

    /// Appends a line of the runner's own.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn line(&mut self, text: &str) -> Result<()> {
        self.settle().await?;
        let shown = self.masker.push(format!("{text}\n").as_bytes());
        self.store(&shown).await
    }

    /// Opens a section with a headline, in GitLab's marks.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn begin(&mut self, section: &str, headline: &str) -> Result<()> {
        let now = self.seconds();
        self.line(&format!("section_start:{now}:{section}\r\u{1b}[0K\u{1b}[36;1m{headline}\u{1b}[0;m")).await
    }

    /// Closes a section.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn end(&mut self, section: &str) -> Result<()> {
        self.settle().await?;
        let mark = format!("section_end:{}:{section}\r\u{1b}[0K", self.seconds());
        self.store(mark.as_bytes()).await
    }

    /// No more will come. Returns the whole log's checksum and size.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn close(mut self) -> Result<JobOutput> {
        self.settle().await?;
        let bytesize = self.progress.borrow().length;
        self.progress.send_modify(|progress| progress.ended = true);
        Ok(JobOutput { checksum: cofferdam_runner_api::checksum(self.checksum.finalize()), bytesize })
    }

    /// What the masker holds back belongs before whatever the runner says next.
    async fn settle(&mut self) -> Result<()> {
        let held = self.masker.finish();
        self.store(&held).await
    }

    fn seconds(&self) -> i64 {
        self.clock.now().seconds()
    }

    async fn store(&mut self, bytes: &[u8]) -> Result<()> {
        let length = self.progress.borrow().length;
        if bytes.is_empty() || self.full {
            return Ok(());
        }
        let room = usize::try_from(self.limit.saturating_sub(length)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return self.append(bytes).await;
        }
        self.full = true;
        self.append(&bytes[..room]).await?;
        let note = format!(
            "\n\u{1b}[33;1mThe log has reached {} bytes, the runner's bound; the job goes on without it.\u{1b}[0;m\n",
            self.limit
        );
        self.append(note.as_bytes()).await
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let failed = |e| Error::io("writing a job's log", e);
        self.file.write_all(bytes).await.map_err(failed)?;
        self.file.flush().await.map_err(failed)?;
        self.checksum.update(bytes);
        self.progress.send_modify(|progress| progress.length += bytes.len() as u64);
        Ok(())
    }
}

/// How the site interrupts a job.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Stop the script; `after_script` and uploads still happen.
    pub stop: CancellationToken,
    /// Stop everything.
    pub abort: CancellationToken,
}

impl Signals {
    fn heed(&self, verdict: Verdict) {
        match verdict {
            Verdict::Continue => {}
            Verdict::Stop => self.stop.cancel(),
            Verdict::Abort => self.abort.cancel(),
        }
    }
}

/// The sending end.
pub struct Sender {
    coordinator: Coordinator,
    job: Job,
    path: PathBuf,
    progress: watch::Receiver<Progress>,
    signals: Signals,
    heartbeat: Duration,
    sent: u64,
    refused: bool,
}

impl Sender {
    /// Sends the log at `path`.
    pub fn new(
        coordinator: Coordinator,
        job: Job,
        path: PathBuf,
        progress: watch::Receiver<Progress>,
        signals: Signals,
        heartbeat: Duration,
    ) -> Self {
        Self { coordinator, job, path, progress, signals, heartbeat, sent: 0, refused: false }
    }

    /// Sends the log while it grows; returns when it has ended and the site has all of it, or the site
    /// does not want it any more, or is away for too long after the end.
    ///
    /// # Errors
    /// `Unavailable` in the last case, and those of the file system.
    pub async fn follow(&mut self) -> Result<()> {
        let mut failures = 0;
        let mut pace = Pace::new(Instant::now());
        while !self.refused {
            let Progress { length, ended } = *self.progress.borrow_and_update();
            if self.sent >= length {
                if ended {
                    return Ok(());
                }
                self.wait().await;
                continue;
            }
            let before = self.sent;
            let tried = self.send_piece(length).await;
            if tried.is_ok() && self.sent > before {
                failures = 0;
                if !pace.at_once(Instant::now()) {
                    self.pause(COALESCE).await;
                }
                continue;
            }
            failures += 1;
            if let Err(error) = tried {
                if ended && failures >= TRIES {
                    return Err(error);
                }
                tracing::debug!(job = self.job.id, error = %error.internal_chain(), "sending a log");
            } else if failures >= TRIES {
                return Err(Error::conflict(
                    "log-refused",
                    "the site keeps asking for another part of the log",
                ));
            }
            // An answer that names another place is acted on at once, the first time.
            if failures > 1 || self.sent == before {
                tokio::time::sleep(backoff(failures)).await;
            }
        }
        Ok(())
    }

    /// Tells the job's end until the site has taken it, sending the log again if the site wants it.
    ///
    /// # Errors
    /// `Unavailable` when the site does not answer any more.
    pub async fn finish(&mut self, state: &State) -> Result<()> {
        let mut last = Error::conflict("log-refused", "the site did not take the job's end");
        for tried in 1..=TRIES {
            match self.coordinator.update(&self.job, state).await {
                Ok(Updated::Done(_) | Updated::Refused) => return Ok(()),
                Ok(Updated::AskAgain(pause)) => tokio::time::sleep(pause).await,
                Ok(Updated::LogDiffers) => {
                    self.sent = 0;
                    self.follow().await?;
                }
                Err(error) => {
                    last = error;
                    tokio::time::sleep(backoff(tried)).await;
                }
            }
        }
        Err(last)
    }

    async fn send_piece(&mut self, length: u64) -> Result<()> {
        let piece = self.read(length).await?;
        let size = piece.len() as u64;
        match self.coordinator.append(&self.job, self.sent, piece).await? {
            Patched::Accepted(verdict) => {
                self.sent += size;
                self.signals.heed(verdict);
            }
            Patched::Elsewhere(stored) => self.sent = stored.min(length),
            Patched::Refused => self.give_up(),
        }
        Ok(())
    }

    async fn read(&self, length: u64) -> Result<Bytes> {
        let failed = |e| Error::io("reading a job's log", e);
        let mut file = File::open(&self.path).await.map_err(failed)?;
        file.seek(SeekFrom::Start(self.sent)).await.map_err(failed)?;
        let mut piece = Vec::new();
        file.take((length - self.sent).min(PIECE)).read_to_end(&mut piece).await.map_err(failed)?;
        Ok(piece.into())
    }

    /// Waits for more log; tells the site now and then that the job lives, and hears its verdict.
    async fn wait(&mut self) {
        let more = tokio::time::timeout(self.heartbeat, self.progress.changed()).await;
        if let Ok(changed) = more {
            if changed.is_err() {
                // The writer is gone without an end: nothing more will come.
                self.give_up();
            }
            return;
        }
        let running = State::new(JobState::Running);
        match self.coordinator.update(&self.job, &running).await {
            Ok(Updated::Done(verdict)) => self.signals.heed(verdict),
            Ok(Updated::Refused) => self.give_up(),
            Ok(Updated::AskAgain(_) | Updated::LogDiffers) => {}
            Err(error) => tracing::debug!(job = self.job.id, error = %error.internal_chain(), "sign of life"),
        }
    }

    fn give_up(&mut self) {
        self.refused = true;
        self.signals.abort.cancel();
    }

    async fn pause(&mut self, pause: Duration) {
        let ended = self.progress.wait_for(|progress| progress.ended);
        let _ = tokio::time::timeout(pause, ended).await;
    }
}

/// How many pieces may still go out without a pause: one more for each pause that was not needed.
struct Pace {
    left: u32,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { left: AT_ONCE, since: now }
    }

    /// Whether the next piece need not wait, after one was sent `now`.
    fn at_once(&mut self, now: Instant) -> bool {
        let rests = now.saturating_duration_since(self.since).as_millis() / COALESCE.as_millis();
        if rests > 0 {
            self.left = self.left.saturating_add(u32::try_from(rests).unwrap_or(AT_ONCE)).min(AT_ONCE);
            self.since = now;
        }
        let free = self.left > 0;
        self.left = self.left.saturating_sub(1);
        free
    }
}

/// 100 ms, doubled each time, at most 5 s.
pub fn backoff(failures: u32) -> Duration {
    SHORTEST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_log_begins_at_once_and_a_busy_one_is_sent_in_larger_pieces() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let begun = (0..20).filter(|n| pace.at_once(at(*n))).count();
        assert_eq!(begun, AT_ONCE as usize);
        assert!(!pace.at_once(at(39)));
        assert!(pace.at_once(at(59)), "one pause has passed");
        assert!(!pace.at_once(at(60)));
        let later = (0..20).filter(|_| pace.at_once(at(10_000))).count();
        assert_eq!(later, AT_ONCE as usize, "silence is not saved up without bound");
    }
}
