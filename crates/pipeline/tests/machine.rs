//! Whatever the jobs, a pipeline ends, in order, and says nothing twice.

use cofferdam_pipeline::*;
use proptest::prelude::*;

fn job(name: usize, stage: usize, needs: Option<Vec<usize>>, when: When, soft: bool, max: u32) -> JobState {
    let need = |n: usize| Need { job: n.to_string(), artifacts: true, optional: false };
    JobState {
        name: name.to_string(),
        stage_index: stage,
        needs: needs.map(|needs| needs.into_iter().map(need).collect()),
        when,
        allow_failure: AllowFailure::Always(soft),
        status: Status::Created,
        attempts: 0,
        retry: Retry { max, ..Retry::default() },
        exit_code: None,
    }
}

fn jobs() -> impl Strategy<Value = Vec<JobState>> {
    let when = prop::sample::select(vec![When::OnSuccess, When::OnFailure, When::Always, When::Manual]);
    let one = (
        0usize..4,
        prop::option::of(prop::collection::vec(any::<prop::sample::Index>(), 0..3)),
        when,
        any::<bool>(),
        0u32..3,
    );
    prop::collection::vec(one, 1..12).prop_map(|mut all| {
        all.sort_by_key(|one| one.0);
        let make = |(i, (stage, needs, when, soft, max)): (usize, _)| {
            let needs: Option<Vec<prop::sample::Index>> = needs;
            let needs = needs.map(|n| if i == 0 { vec![] } else { n.iter().map(|n| n.index(i)).collect() });
            job(i, stage, needs, when, soft, max)
        };
        all.into_iter().enumerate().map(make).collect()
    })
}

proptest! {
    #[test]
    fn a_pipeline_ends_in_order(mut jobs in jobs(), ends in prop::collection::vec(0u8..4, 1..40)) {
        let mut ends = ends.into_iter().cycle();
        for _ in 0..200 {
            for moved in advance(&mut jobs) {
                if moved.to == Status::Pending {
                    for need in jobs[moved.job].needs.iter().flatten() {
                        let before = jobs.iter().find(|job| job.name == need.job).unwrap();
                        prop_assert!(before.status.is_ended() || before.status == Status::Manual);
                    }
                }
            }
            prop_assert!(advance(&mut jobs).is_empty());
            let Some(job) = jobs.iter_mut().find(|job| matches!(job.status, Status::Pending | Status::Manual)) else { break };
            job.status = Status::Running;
            let outcome = match ends.next().unwrap() {
                0 => Outcome::Failed { exit_code: Some(1), reason: "script_failure".into() },
                1 => Outcome::Canceled,
                _ => Outcome::Success,
            };
            prop_assert!(finish(job, &outcome).is_some());
        }
        prop_assert!(jobs.iter().all(|job| job.status.is_ended()), "{jobs:?}");
        prop_assert!(pipeline_status(&jobs).is_ended());
    }
}

#[test]
fn a_failure_stops_the_next_stage_and_is_retried_first() {
    let mut jobs = [job(0, 0, None, When::OnSuccess, false, 1), job(1, 1, None, When::OnSuccess, false, 0)];
    let failed = Outcome::Failed { exit_code: Some(2), reason: "script_failure".into() };
    assert_eq!(advance(&mut jobs).len(), 1);
    assert_eq!(finish(&mut jobs[0], &failed), Some(Status::Pending));
    assert_eq!(finish(&mut jobs[0], &failed), Some(Status::Failed));
    assert_eq!(finish(&mut jobs[0], &Outcome::Success), None, "a late report cannot undo an end");
    assert_eq!(advance(&mut jobs), [Transition { job: 1, from: Status::Created, to: Status::Skipped }]);
    assert_eq!(pipeline_status(&jobs), Status::Failed);
}

/// A job that ended so, or waits; `soft` ones may fail.
fn ended(name: usize, status: Status, soft: bool) -> JobState {
    JobState { status, ..job(name, 0, None, When::OnSuccess, soft, 0) }
}

/// Jobs by their status and whether they may fail.
type Jobs = &'static [(Status, bool)];

const HARD: bool = false;
const SOFT: bool = true;

/// What became of `when` on_success, on_failure, always and manual: `p`ending, `s`kipped, `m`anual, or
/// still waiting (`-`).
fn fates(before: &[(Status, bool)], by_needs: bool) -> String {
    let mut jobs: Vec<JobState> =
        before.iter().enumerate().map(|(i, (status, soft))| ended(i, *status, *soft)).collect();
    let count = jobs.len();
    for when in [When::OnSuccess, When::OnFailure, When::Always, When::Manual] {
        let needs = by_needs.then(|| (0..count).collect());
        jobs.push(job(jobs.len(), 1, needs, when, false, 0));
    }
    advance(&mut jobs);
    let letter = |job: &JobState| match job.status {
        Status::Pending => 'p',
        Status::Skipped => 's',
        Status::Manual => 'm',
        Status::Created => '-',
        other => panic!("{other:?}"),
    };
    jobs[count..].iter().map(letter).collect()
}

#[test]
fn what_follows_is_what_follows_in_gitlab() {
    use Status::{Canceled, Failed, Manual, Running, Skipped, Success};
    // (earlier jobs, fates after a stage, fates by needs)
    let table: &[(Jobs, &str, &str)] = &[
        (&[], "pspm", "pspm"),
        (&[(Success, HARD)], "pspm", "pspm"),
        (&[(Failed, HARD)], "spps", "spps"),
        (&[(Failed, SOFT)], "pspm", "pspm"),
        // A stop is no failure, and nothing goes on after it.
        (&[(Canceled, HARD)], "ssss", "ssss"),
        (&[(Canceled, HARD), (Success, HARD)], "ssss", "ssss"),
        (&[(Canceled, SOFT)], "pspm", "pspm"),
        (&[(Canceled, SOFT), (Success, HARD)], "pspm", "pspm"),
        (&[(Canceled, HARD), (Failed, HARD)], "spps", "spps"),
        (&[(Canceled, HARD), (Failed, SOFT)], "ssss", "ssss"),
        // A stage goes on past a job that was skipped; who needs it does not.
        (&[(Skipped, HARD)], "pspm", "ssps"),
        (&[(Skipped, HARD), (Success, HARD)], "pspm", "ssps"),
        (&[(Skipped, HARD), (Failed, HARD)], "spps", "ssps"),
        (&[(Skipped, HARD), (Canceled, HARD)], "ssss", "ssps"),
        // A manual job holds up the rest unless it may fail; then it is as if skipped.
        (&[(Manual, HARD)], "----", "----"),
        (&[(Manual, HARD), (Failed, HARD)], "----", "----"),
        (&[(Manual, SOFT)], "pspm", "ssps"),
        (&[(Manual, SOFT), (Failed, HARD)], "spps", "ssps"),
        (&[(Running, HARD), (Failed, HARD)], "----", "----"),
        (&[(Running, HARD), (Skipped, HARD)], "----", "----"),
    ];
    for (before, after_stage, by_needs) in table {
        assert_eq!(fates(before, false), *after_stage, "after a stage of {before:?}");
        assert_eq!(fates(before, true), *by_needs, "needing {before:?}");
    }
}

#[test]
fn a_pipeline_stands_as_in_gitlab() {
    use Status::{Canceled, Created, Failed, Manual, Pending, Running, Skipped, Success};
    let table: &[(Jobs, Status)] = &[
        (&[], Success),
        (&[(Success, HARD), (Skipped, HARD), (Failed, SOFT), (Manual, SOFT)], Success),
        (&[(Skipped, HARD), (Manual, SOFT)], Skipped),
        (&[(Canceled, SOFT), (Success, HARD)], Success),
        (&[(Canceled, HARD), (Success, HARD)], Canceled),
        (&[(Canceled, HARD), (Failed, SOFT)], Canceled),
        (&[(Canceled, HARD), (Failed, HARD)], Failed),
        (&[(Created, HARD)], Created),
        (&[(Created, HARD), (Pending, HARD)], Pending),
        (&[(Created, HARD), (Success, HARD)], Running),
        (&[(Pending, HARD), (Failed, HARD)], Running),
        (&[(Running, HARD), (Manual, HARD)], Running),
        (&[(Manual, HARD), (Success, HARD), (Created, HARD)], Manual),
    ];
    for (jobs, expected) in table {
        let jobs: Vec<JobState> =
            jobs.iter().enumerate().map(|(i, (status, soft))| ended(i, *status, *soft)).collect();
        assert_eq!(pipeline_status(&jobs), *expected, "{jobs:?}");
    }
}
