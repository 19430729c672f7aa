//! Waking those who wait: runners for a job, readers for the rest of a log.
//!
//! A bell only says "look again"; what there is to see is in the database. Whoever waits takes the
//! bell first and looks afterwards, so that nothing that happens in between is missed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cofferdam_types::JobId;
use tokio::sync::watch;

pub(crate) struct Bells {
    queue: watch::Sender<()>,
    jobs: Mutex<HashMap<JobId, watch::Sender<()>>>,
}

impl Default for Bells {
    fn default() -> Self {
        Self { queue: watch::Sender::new(()), jobs: Mutex::default() }
    }
}

impl Bells {
    /// Rings when a job has become pending.
    pub fn queue(&self) -> watch::Receiver<()> {
        self.queue.subscribe()
    }

    pub fn ring_queue(&self) {
        self.queue.send_replace(());
    }

    /// Rings when a job's log or state has changed.
    pub fn job(&self, id: JobId) -> watch::Receiver<()> {
        let mut jobs = self.jobs();
        jobs.retain(|_, bell| bell.receiver_count() > 0);
        jobs.entry(id).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    pub fn ring_job(&self, id: JobId) {
        if let Some(bell) = self.jobs().get(&id) {
            bell.send_replace(());
        }
    }

    /// Whether anybody looks at a job's log right now.
    pub fn watched(&self, id: JobId) -> bool {
        self.jobs().get(&id).is_some_and(|bell| bell.receiver_count() > 0)
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<()>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
