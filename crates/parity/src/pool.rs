//! Several threads that share one job until it is done or one of them fails.

use std::io::Result;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Hands out the numbers below `end`, a span at a time, to whoever asks next.
pub(crate) struct Spans {
    next: AtomicU64,
    end: u64,
    span: u64,
}

impl Spans {
    /// Spans of at most `span` numbers each.
    pub(crate) fn new(end: u64, span: u64) -> Self {
        Self { next: AtomicU64::new(0), end, span: span.max(1) }
    }

    /// The next span: its first number and how many.
    pub(crate) fn claim(&self) -> Option<(u64, u64)> {
        let first = self.next.fetch_add(self.span, Ordering::Relaxed);
        (first < self.end).then(|| (first, self.span.min(self.end - first)))
    }
}

/// Tells workers that another has failed, so that nobody works for nothing.
pub(crate) struct Stop(AtomicBool);

impl Stop {
    /// Whether to end now.
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` on `workers` threads and waits for all. The first error, in the order of the threads, is returned.
pub(crate) fn run(workers: usize, work: impl Fn(&Stop) -> Result<()> + Sync) -> Result<()> {
    let stop = Stop(AtomicBool::new(false));
    let one = || {
        let result = work(&stop);
        if result.is_err() {
            stop.0.store(true, Ordering::Relaxed);
        }
        result
    };
    if workers <= 1 {
        return one();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(one)).collect();
        let results: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        results.into_iter().try_for_each(|joined| joined.unwrap_or_else(|p| std::panic::resume_unwind(p)))
    })
}
