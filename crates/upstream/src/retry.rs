//! Trying again: how often, and how long to wait in between.
//!
//! Knows nothing of HTTP, so that it can be tested on a paused clock. It must never wait without a
//! bound: attempts and every single pause are limited.

use std::{future::Future, time::Duration};

/// How a transient failure is retried.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// Attempts in all, the first included. 0 counts as 1.
    pub attempts: u32,
    /// The pause after the first failure; it doubles after each further one.
    pub first_pause: Duration,
    /// The longest pause, also for one that upstream asks for (`Retry-After`).
    pub longest_pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { attempts: 4, first_pause: Duration::from_millis(250), longest_pause: Duration::from_secs(10) }
    }
}

/// What one attempt came to.
pub(crate) enum Attempt<T> {
    /// The answer, good or bad, is final.
    Done(T),
    /// It may go better later; `T` is the answer when no attempt is left.
    Again {
        /// The answer if this was the last attempt.
        last: T,
        /// The pause that upstream asked for.
        after: Option<Duration>,
    },
}

impl Retries {
    /// The pause after `failures` failures (1 or more).
    pub(crate) fn pause(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << (failures - 1).min(16));
        asked.unwrap_or(doubled).min(self.longest_pause)
    }

    /// Runs `attempt` until it is done or the attempts are used up.
    pub(crate) async fn run<T, F, R>(&self, mut attempt: F) -> T
    where
        F: FnMut() -> R,
        R: Future<Output = Attempt<T>>,
    {
        let mut failures = 0;
        loop {
            match attempt().await {
                Attempt::Done(answer) => return answer,
                Attempt::Again { last, after } => {
                    failures += 1;
                    if failures >= self.attempts {
                        return last;
                    }
                    tokio::time::sleep(self.pause(failures, after)).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    /// Answers 503 `failures` times, then 200, and counts the attempts.
    async fn registry_away_for(failures: u32, after: Option<Duration>, retries: Retries) -> (u32, u16) {
        let asked = std::cell::Cell::new(0);
        let status = retries
            .run(|| {
                asked.set(asked.get() + 1);
                let away = asked.get() <= failures;
                async move { if away { Attempt::Again { last: 503, after } } else { Attempt::Done(200) } }
            })
            .await;
        (asked.get(), status)
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_is_away_for_a_moment_is_asked_again_after_growing_pauses() {
        let start = Instant::now();
        assert_eq!(registry_away_for(2, None, Retries::default()).await, (3, 200));
        assert_eq!(start.elapsed(), Duration::from_millis(250 + 500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_stays_away_is_given_up_after_the_last_attempt() {
        let start = Instant::now();
        assert_eq!(registry_away_for(u32::MAX, None, Retries::default()).await, (4, 503));
        assert_eq!(start.elapsed(), Duration::from_millis(250 + 500 + 1000), "no pause after the last");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_upstream_asks_for_is_kept_but_never_longer_than_the_bound() {
        let start = Instant::now();
        let day = Some(Duration::from_secs(86_400));
        assert_eq!(registry_away_for(1, day, Retries::default()).await, (2, 200));
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn many_attempts_never_overflow_the_pause() {
        let retries = Retries { attempts: 200, ..Retries::default() };
        assert_eq!(registry_away_for(u32::MAX, None, retries).await, (200, 503));
    }
}
