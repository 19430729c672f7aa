//! Rounds of a command at a distance in time, until a signal ends them.
//!
//! A round that fails is told and the next one comes at its time. Time is the house's clock; how to wait is handed in.

use std::{future::Future, time::Duration};

use cofferdam_types::{Clock, Result, Timestamp};
use cofferdam_upstream::dice;

/// The shortest distance between rounds.
const LEAST: Duration = Duration::from_secs(60);
/// One wait; a machine that slept notices after it what time it is.
const SLICE: Duration = Duration::from_secs(60);

/// A duration with its unit: `90m`, `24h`, `1d12h`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn distance(text: &str) -> std::result::Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration: write it like 90m, 24h or 7d");
    let (mut seconds, mut digits) = (0_u64, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        digits.clear();
        seconds = number.checked_mul(unit).and_then(|s| s.checked_add(seconds)).ok_or_else(wrong)?;
    }
    if !digits.is_empty() || seconds == 0 || seconds > 366 * 86_400 {
        return Err(wrong());
    }
    let every = Duration::from_secs(seconds);
    if every < LEAST { Err("the shortest distance is 1m".into()) } else { Ok(every) }
}

/// When rounds come.
pub struct Schedule<'a> {
    /// The distance between the beginnings of two rounds.
    pub every: Duration,
    /// The time.
    pub clock: &'a dyn Clock,
}

impl Schedule<'_> {
    /// Runs rounds until `stop`; the exit code of the last one that ended.
    ///
    /// A round that is under way when `stop` comes is dropped: what it ran ends with it.
    pub async fn run<R, W>(
        &self,
        stop: impl Future<Output = ()>,
        mut round: impl FnMut() -> R,
        mut pause: impl FnMut(Duration) -> W,
        mut told: impl FnMut(String),
    ) -> u8
    where
        R: Future<Output = Result<u8>>,
        W: Future<Output = ()>,
    {
        let mut code = 0;
        tokio::pin!(stop);
        loop {
            let next = self.next(self.clock.now(), dice());
            tokio::select! {
                biased;
                () = &mut stop => return code,
                ended = round() => code = ended.unwrap_or_else(|error| {
                    let hint = error.advice().map_or(String::new(), |hint| format!(" ({hint})"));
                    told(format!("this round failed: {}{hint}", error.message()));
                    error.kind().exit_code()
                }),
            }
            told(format!("the next round is at {next}"));
            while self.clock.now() < next {
                let wait = next.since(self.clock.now()).min(SLICE);
                tokio::select! {
                    biased;
                    () = &mut stop => return code,
                    () = pause(wait) => {}
                }
            }
        }
    }

    /// When the round after this one begins: up to a tenth later than the distance, so that many sites do not ask one
    /// upstream in the same second.
    fn next(&self, began: Timestamp, late: f64) -> Timestamp {
        began.plus(self.every).plus((self.every / 10).mul_f64(late.clamp(0.0, 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use cofferdam_testkit::TestClock;
    use cofferdam_types::Error;

    use super::*;

    #[test]
    fn durations_have_units_and_a_least() {
        assert_eq!(distance("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(distance("1d12h"), Ok(Duration::from_secs(129_600)));
        assert_eq!(distance("60s"), Ok(LEAST));
        for wrong in ["", "24", "h", "59s", "1y", "-1h", "99999999999999999999d", "0m", "400d", "1.5h"] {
            assert!(distance(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_next_round_is_at_most_a_tenth_late() {
        let clock = TestClock::default();
        let schedule = Schedule { every: Duration::from_secs(3600), clock: &clock };
        for late in [0.0, 0.5, 1.0, 7.0, dice()] {
            let after = schedule.next(clock.now(), late).since(clock.now());
            assert!((3600..=3960).contains(&after.as_secs()), "{after:?}");
        }
    }

    #[tokio::test]
    async fn rounds_go_on_after_a_failure_and_end_with_the_last_ones_code() {
        let (clock, rounds, told) = (TestClock::default(), Cell::new(0), RefCell::new(Vec::new()));
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let end = RefCell::new(Some(end));
        let begin = clock.now();
        let schedule = Schedule { every: Duration::from_secs(7200), clock: &clock };
        let round = || {
            rounds.set(rounds.get() + 1);
            let number = rounds.get();
            async move {
                match number {
                    1 => Err(Error::not_found("the site is gone")),
                    _ => Ok(number),
                }
            }
        };
        let pause = |wait: Duration| {
            clock.advance(wait);
            if rounds.get() == 3 {
                end.borrow_mut().take();
            }
            std::future::ready(())
        };
        let stop = async { drop(ended.await) };
        let code = schedule.run(stop, round, pause, |line| told.borrow_mut().push(line)).await;
        assert_eq!((code, rounds.get()), (3, 3));
        assert!(clock.now().since(begin) >= Duration::from_secs(14_400));
        let told = told.into_inner();
        assert!(
            told[0].contains("the site is gone") && told[1].contains("next round is at 2026-01-01T0"),
            "{told:?}"
        );
        assert_eq!(told.len(), 4, "one line a round, and one for the failure: {told:?}");
    }

    #[tokio::test]
    async fn a_round_that_is_under_way_is_dropped_by_the_signal() {
        let clock = TestClock::default();
        let schedule = Schedule { every: LEAST, clock: &clock };
        let (begun, wait) = tokio::sync::oneshot::channel::<()>();
        let begun = RefCell::new(Some(begun));
        let round = || {
            begun.borrow_mut().take();
            std::future::pending()
        };
        let stop = async { drop(wait.await) };
        assert_eq!(schedule.run(stop, round, |_| std::future::ready(()), |_| {}).await, 0);
    }
}
