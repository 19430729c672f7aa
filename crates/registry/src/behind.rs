//! Commits of what a recording was given, where they can follow the answer.
//!
//! A client asks for its next thing when it has the last one: a build that waits for the disk at each answer waits
//! hundreds of times. So an answer that needs nothing of what is committed is given as soon as its bytes are whole and
//! hashed, and [`Behind`] makes it durable and commits it meanwhile, many together where many wait. A recording ends
//! with [`Registry::settle`], which waits for all of it and says what could not be kept.
//!
//! Must never let a recording end well that holds less than its build was given, nor let the same thing be asked for
//! again before it is committed (whoever asks waits for the first one's turn).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cofferdam_blobs::Staged;
use cofferdam_format_kit::{Change, Request};
use cofferdam_store::{RepositoryRow, Tx};
use cofferdam_types::{Digests, Error, RecordingId, Result, Sha256};
use tokio::sync::{Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::{Cause, Commit, Mode, Registry, Session};

/// Answers that may wait for their commit, over all recordings; the next one waits for a place.
const MOST_WAITING: usize = 64;

/// Answers that are committed together at the most.
const TOGETHER: usize = 32;

/// What a recording was given, to be committed.
pub(crate) struct Given {
    pub recording: RecordingId,
    /// The repository that keeps it.
    pub mirror: RepositoryRow,
    pub changes: Vec<Change>,
    /// The bytes that the changes name, and others that were put.
    pub staged: Vec<Staged>,
}

/// The same, where the answer went first.
pub(crate) struct GivenFirst {
    pub given: Given,
    pub note: NoteLater,
    /// Nobody else asks upstream for the same thing before this is dropped.
    pub _turn: OwnedMutexGuard<()>,
}

/// What is noted in the recording's name when it is committed.
pub(crate) struct NoteLater {
    /// The repository that was asked.
    pub repository: RepositoryRow,
    pub path: String,
    pub sha256: Sha256,
    pub request: Request,
}

/// What waits for its commit, and how that went, by recording.
pub(crate) struct Behind {
    state: Mutex<State>,
    changed: Notify,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(GivenFirst, OwnedSemaphorePermit)>,
    /// Whether a task takes from the queue.
    running: bool,
    recordings: HashMap<RecordingId, Progress>,
}

/// How far a recording's commits are. It is forgotten when the recording settles.
#[derive(Default)]
struct Progress {
    open: usize,
    lost: usize,
    first: Option<Error>,
}

impl Default for Behind {
    fn default() -> Self {
        let places = Arc::new(Semaphore::new(MOST_WAITING));
        Self { state: Mutex::default(), changed: Notify::new(), places }
    }
}

impl Behind {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Its holders only count and move; none can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Commits this after its answer. Waits where too many wait already.
    pub(crate) async fn commit_behind(&self, first: GivenFirst) -> Result<()> {
        let behind = &self.0.behind;
        let place = Arc::clone(&behind.places).acquire_owned().await;
        let place = place.map_err(|e| Error::internal("the queue of commits is closed", e))?;
        let mut state = behind.lock();
        state.recordings.entry(first.given.recording).or_default().open += 1;
        state.queue.push_back((first, place));
        if !std::mem::replace(&mut state.running, true) {
            let this = self.clone();
            tokio::spawn(async move { this.commit_queue().await });
        }
        Ok(())
    }

    /// Waits until everything that a recording was given is committed.
    ///
    /// # Errors
    /// `Internal` or `NoSpace` (`not-kept`) when some of it could not be: the recording does not hold what its build
    /// was given.
    pub async fn settle(&self, recording: RecordingId) -> Result<()> {
        let behind = &self.0.behind;
        loop {
            let changed = behind.changed.notified();
            tokio::pin!(changed);
            // Before the look: what happens between the look and the wait is not missed.
            changed.as_mut().enable();
            {
                let mut state = behind.lock();
                if state.recordings.get(&recording).is_none_or(|progress| progress.open == 0) {
                    let progress = state.recordings.remove(&recording).unwrap_or_default();
                    return progress.first.map_or(Ok(()), |error| Err(not_kept(progress.lost, error)));
                }
            }
            changed.await;
        }
    }

    /// Waits until nothing waits any more: for a site that stops.
    pub async fn settle_all(&self) {
        loop {
            let changed = self.0.behind.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.0.behind.lock().recordings.values().all(|progress| progress.open == 0) {
                return;
            }
            changed.await;
        }
    }

    async fn commit_queue(&self) {
        loop {
            let (firsts, places) = {
                let mut state = self.0.behind.lock();
                if state.queue.is_empty() {
                    state.running = false;
                    return;
                }
                let many = state.queue.len().min(TOGETHER);
                state.queue.drain(..many).unzip::<_, _, Vec<_>, Vec<_>>()
            };
            let done = self.commit_together(firsts).await;
            drop(places);
            let mut state = self.0.behind.lock();
            for (recording, error) in done {
                let progress = state.recordings.entry(recording).or_default();
                progress.open = progress.open.saturating_sub(1);
                if let Some(error) = error {
                    progress.lost += 1;
                    progress.first.get_or_insert(error);
                }
            }
            drop(state);
            self.0.behind.changed.notify_waiters();
        }
    }

    /// Commits all of it in one transaction, or where one is refused each in its own. Says how each went.
    async fn commit_together(&self, mut firsts: Vec<GivenFirst>) -> Vec<(RecordingId, Option<Error>)> {
        let staged = firsts.iter_mut().flat_map(|first| std::mem::take(&mut first.given.staged));
        let staged: Vec<Staged> = staged.collect();
        let digests: Vec<_> = staged.iter().map(|blob| blob.digests().clone()).collect();
        if let Err(error) = self.blobs().keep(staged).await {
            let again = |error: &Error| Error::new(error.kind(), error.code(), error.to_string());
            return firsts.iter().map(|first| (first.given.recording, Some(again(&error)))).collect();
        }
        if self.commit_in_one(&digests, &firsts).await.is_ok() {
            return firsts.iter().map(|first| (first.given.recording, None)).collect();
        }
        let mut done = Vec::new();
        for first in firsts {
            let error = self.commit_in_one(&digests, std::slice::from_ref(&first)).await.err();
            done.push((first.given.recording, error));
        }
        done
    }

    async fn commit_in_one(&self, digests: &[Digests], firsts: &[GivenFirst]) -> Result<()> {
        let mut tx = self.db().write_behind().await?;
        self.write(&mut tx, digests, firsts.iter().map(|first| &first.given)).await?;
        for GivenFirst { given, note, .. } in firsts {
            let session = Session::Recording(given.recording, Mode::Record);
            let NoteLater { repository, path, sha256, request } = note;
            self.note_in(&mut tx, repository, path, sha256, session, request).await?;
        }
        tx.commit().await
    }

    /// Keeps and commits what an answer waits for.
    pub(crate) async fn commit_given(&self, mut given: Given) -> Result<()> {
        let staged = std::mem::take(&mut given.staged);
        let digests: Vec<_> = staged.iter().map(|blob| blob.digests().clone()).collect();
        self.blobs().keep(staged).await?;
        if digests.is_empty() && given.changes.is_empty() {
            return Ok(());
        }
        let mut tx = self.db().write_behind().await?;
        self.write(&mut tx, &digests, [&given]).await?;
        tx.commit().await
    }

    /// Bytes that are kept, and the changes that name them: one commit for each recording and mirror.
    async fn write<'g>(
        &self,
        tx: &mut Tx,
        digests: &[Digests],
        all: impl IntoIterator<Item = &'g Given>,
    ) -> Result<()> {
        tx.registry().put_blobs(digests, self.clock().now()).await?;
        let mut places: BTreeMap<(RecordingId, &str), (&RepositoryRow, Vec<Change>)> = BTreeMap::new();
        for given in all.into_iter().filter(|given| !given.changes.is_empty()) {
            let place = (given.recording, given.mirror.name.as_str());
            let (_, changes) = places.entry(place).or_insert_with(|| (&given.mirror, Vec::new()));
            changes.extend(given.changes.iter().cloned());
        }
        for ((recording, _), (mirror, changes)) in places {
            let actor = format!("recording:{recording}");
            let commit = Commit { actor: &actor, cause: Cause::Record };
            self.commit_in(tx, mirror, &changes, commit).await?;
        }
        Ok(())
    }
}

fn not_kept(lost: usize, first: Error) -> Error {
    let text = format!("{lost} answers that the build was given could not be kept, the first one: {first}");
    Error::new(first.kind(), "not-kept", text)
        .hint("the recording has less than its build used; mend the cause and record again")
        .with_source(first)
}
