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
