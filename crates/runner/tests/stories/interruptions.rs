//! Jobs that are stopped: by time, by a person, by the runner's own end.

use std::time::Duration;

use cofferdam_runner::Runner;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::site::{Site, after_script, job, possible, push};

#[tokio::test]
async fn a_job_that_takes_too_long_is_killed() {
    if !possible("a_job_that_takes_too_long_is_killed") {
        return;
    }
    let site = Site::start().await;
    let mut slow = job(&["echo begin", "sleep 600"]);
    slow["runner_info"] = json!({ "timeout": 1 });
    let end = site.run(slow).await;
    assert_eq!((&end["state"], &end["failure_reason"]), (&json!("failed"), &json!("job_execution_timeout")));
    assert!(site.log().contains("execution took longer than"), "{}", site.log());
}

#[tokio::test]
async fn a_cancelled_job_is_killed_at_the_next_piece_of_log() {
    if !possible("a_cancelled_job_is_killed_at_the_next_piece_of_log") {
        return;
    }
    let site = Site::start().await;
    site.seen().status_after = Some(("canceled", "\nready\n"));
    let mut job = job(&["echo ready", "sleep 600"]);
    push(&mut job, "steps", after_script(&["echo tidied up"]));
    let end = site.run(job).await;
    assert_eq!(end["state"], "failed");
    assert!(!site.log().contains("\ntidied up\n"), "{}", site.log());
}

#[tokio::test]
async fn a_silent_job_hears_of_its_cancellation_through_the_sign_of_life() {
    if !possible("a_silent_job_hears_of_its_cancellation_through_the_sign_of_life") {
        return;
    }
    let site = Site::start().await;
    site.seen().status_of_life = Some("canceled");
    let end =
        site.run_with(job(&["sleep 600"]), |config| config.heartbeat = Duration::from_millis(500)).await;
    assert_eq!(end["state"], "failed");
}

#[tokio::test]
async fn a_job_that_is_being_cancelled_tidies_up() {
    if !possible("a_job_that_is_being_cancelled_tidies_up") {
        return;
    }
    let site = Site::start().await;
    site.seen().status_after = Some(("canceling", "\nready\n"));
    let mut job = job(&["echo ready", "sleep 600"]);
    push(&mut job, "steps", after_script(&["echo \"tidied up after $CI_JOB_STATUS\""]));
    let end = site.run(job).await;
    assert_eq!((&end["state"], &end["failure_reason"]), (&json!("failed"), &json!("job_canceled")));
    assert!(site.log().contains("\ntidied up after canceled\n"), "{}", site.log());
}

#[tokio::test]
async fn a_runner_that_is_stopped_tells_the_site_about_its_job() {
    if !possible("a_runner_that_is_stopped_tells_the_site_about_its_job") {
        return;
    }
    let site = Site::start().await;
    let work = tempfile::tempdir().unwrap();
    let runner = Runner::new(site.config(work.path().into())).unwrap();
    let shutdown = CancellationToken::new();
    site.seen().queue.push_back(job(&["echo ready", "sleep 600"]));
    let stop = async {
        site.until(|seen| String::from_utf8_lossy(&seen.log).contains("\nready\n")).await;
        shutdown.cancel();
    };
    tokio::join!(runner.run(shutdown.clone()), stop);
    let end = site.seen().end.clone().expect("the site was told");
    assert_eq!(end["failure_reason"], "runner_system_failure");
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_runner_without_its_folder_still_tells_the_site() {
    let site = Site::start().await;
    let work = tempfile::tempdir().unwrap();
    let runner = Runner::new(site.config(work.path().join("jobs"))).unwrap();
    std::fs::remove_dir(work.path().join("jobs")).unwrap();
    site.seen().queue.push_back(job(&["echo never"]));
    let shutdown = CancellationToken::new();
    let stop = async {
        site.until(|seen| seen.end.is_some()).await;
        shutdown.cancel();
    };
    tokio::join!(runner.run(shutdown.clone()), stop);
    let end = site.seen().end.clone().unwrap();
    assert_eq!((&end["state"], &end["failure_reason"]), (&json!("failed"), &json!("runner_system_failure")));
}

#[test]
fn a_token_does_not_travel_in_the_clear() {
    let work = tempfile::tempdir().unwrap();
    struct Never;
    impl cofferdam_types::Clock for Never {
        fn now(&self) -> cofferdam_types::Timestamp {
            cofferdam_types::Timestamp(0)
        }
    }
    let config = cofferdam_runner::RunnerConfig::new(
        "http://site.example/",
        cofferdam_types::Secret::new("t".into()),
        work.path().join("jobs"),
        std::sync::Arc::new(Never),
    );
    let error = Runner::new(config).unwrap_err();
    assert_eq!(error.code(), "runner-url");
    assert!(!work.path().join("jobs").exists());
}
