//! Trying again: how often, and how long to wait in between.
//!
//! Knows nothing of HTTP, so that it can be tested on a paused clock. It must never wait without a
//! bound: attempts and every single pause are limited.

use std::{
    future::Future,
    hash::{BuildHasher as _, Hasher as _},
    time::Duration,
};

/// How a transient failure is retried.
#[derive(Clone, Copy, Debug)]
pub struct Retries {
    /// Attempts in all, the first included. 0 counts as 1.
    pub attempts: u32,
    /// The longest pause after the first failure; it doubles after each further one. A pause is between half of
    /// it and the whole, at random: those who failed together must not come back together.
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
        let doubled = self.first_pause.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let spread = || doubled.min(self.longest_pause).mul_f64(0.5 + dice() / 2.0);
        asked.map_or_else(spread, |asked| asked.min(self.longest_pause))
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

/// A number from 0 to 1, good enough to spread pauses, and nothing secret may hang on it: the standard library's maps draw their keys at random.
#[must_use]
pub fn dice() -> f64 {
    let drawn = std::hash::RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(drawn).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_spread_between_half_and_the_whole() {
        let retries = Retries::default();
        let pauses: Vec<Duration> = (0..100).map(|_| retries.pause(2, None)).collect();
        let (half, whole) = (Duration::from_millis(250), Duration::from_millis(500));
        assert!(pauses.iter().all(|p| (half..=whole).contains(p)), "{pauses:?}");
        assert!(pauses.iter().any(|p| *p != pauses[0]), "they are not all the same");
    }
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

    /// Between half and the whole, and the millisecond that each timer rounds up to.
    fn assert_spread(elapsed: Duration, whole: u64) {
        let (half, whole) = (Duration::from_millis(whole / 2), Duration::from_millis(whole + 3));
        assert!((half..=whole).contains(&elapsed), "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_is_away_for_a_moment_is_asked_again_after_growing_pauses() {
        let start = Instant::now();
        assert_eq!(registry_away_for(2, None, Retries::default()).await, (3, 200));
        assert_spread(start.elapsed(), 250 + 500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_stays_away_is_given_up_after_the_last_attempt() {
        let start = Instant::now();
        assert_eq!(registry_away_for(u32::MAX, None, Retries::default()).await, (4, 503));
        assert_spread(start.elapsed(), 250 + 500 + 1000);
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
