//! What stock runners send is understood, and what they read is written.

use cofferdam_runner_api::*;
use serde_json::json;

#[test]
fn a_request_for_work_is_read_and_what_is_new_in_it_ignored() {
    let asked: JobRequest = serde_json::from_value(json!({
        "info": {"name": "gitlab-runner", "version": "19.4.0", "executor": "shell", "labels": null,
                 "features": {"variables": true, "cancelable": false}, "tomorrow": [1]},
        "token": "glrt-x", "system_id": "s_1", "session": {"url": "wss://runner.example"}
    }))
    .unwrap();
    assert_eq!((asked.token.as_str(), asked.system_id.as_str()), ("glrt-x", "s_1"));
    assert_eq!(asked.last_update, "");
    assert!(asked.info.has("variables"));
    assert!(!asked.info.has("cancelable"));
    assert!(!asked.info.has("masking"));
}

#[test]
fn a_runner_without_expiry_is_told_null() {
    let answer = VerifyResponse { id: 4, token: "glrt-x".into(), token_expires_at: None };
    let written = serde_json::to_value(answer).unwrap();
    assert_eq!(written, json!({"id": 4, "token": "glrt-x", "token_expires_at": null}));
}

#[test]
fn a_job_survives_being_written_and_read() {
    let mut job = JobResponse { id: 9, token: "job".into(), ..Default::default() };
    job.git_info.ref_name = "main".into();
    job.job_info.project_jobs_running_on_instance_runners_count = "+Inf".into();
    job.steps =
        vec![Step { name: "script".into(), script: vec!["make".into()], timeout: 60, ..Default::default() }];
    job.credentials = vec![Credentials { kind: "registry".into(), ..Default::default() }];
    job.features.failure_reasons = vec!["script_failure".into()];
    job.artifacts = vec![Artifact { paths: vec!["out/".into()], ..Default::default() }];
    let written = serde_json::to_value(&job).unwrap();
    assert_eq!(written["git_info"]["ref"], "main");
    assert_eq!(written["credentials"][0]["type"], "registry");
    assert_eq!(written["job_info"]["project_jobs_running_on_instance_runners_count"], "+Inf");
    assert!(written["artifacts"][0].get("exclude").is_none(), "an empty exclude needs a feature");
    assert_eq!(serde_json::from_value::<JobResponse>(written).unwrap(), job);
}

#[test]
fn a_job_with_nulls_for_lists_is_read() {
    let job: JobResponse = serde_json::from_str(
        r#"{"id": 1, "token": "t", "variables": null, "image": null, "services": null, "cache": null,
            "steps": [{"name": "script", "script": ["true"], "when": "on_success"}], "run": null}"#,
    )
    .unwrap();
    assert_eq!(job.steps[0].script, ["true"]);
    assert_eq!(job.image, Image::default());
}

#[test]
fn the_end_of_a_job_is_read_with_its_log_checksum() {
    let update: UpdateJob = serde_json::from_value(json!({
        "info": {"name": "gitlab-runner"}, "token": "t", "state": "failed", "exit_code": 7,
        "failure_reason": "script_failure", "checksum": "crc32:0000002a",
        "output": {"checksum": "crc32:0000002a", "bytesize": 1234}
    }))
    .unwrap();
    assert_eq!(update.state, JobUpdateState::Failed);
    assert_eq!(update.exit_code, Some(7));
    assert_eq!(update.output, Some(TraceOutput { checksum: checksum(42), bytesize: 1234 }));
    serde_json::from_value::<UpdateJob>(json!({"token": "t", "state": "dancing"})).unwrap_err();
}

#[test]
fn a_log_range_is_read_with_and_without_the_total() {
    let range: ContentRange = "5-11".parse().unwrap();
    assert_eq!(range, ContentRange { first: 5, last: 11, total: None });
    assert_eq!(range, ContentRange::of(5, 7));
    let old: ContentRange = "0-11/12".parse().unwrap();
    assert_eq!(old.total, Some(12));
    assert_eq!((range.to_string(), old.to_string()), ("5-11".into(), "0-11/12".into()));
    "7-6".parse::<ContentRange>().expect("an empty piece is a sign of life");
    for wrong in ["", "5", "-5", "a-b", "+1-2", "9-3", "1-2/", "bytes 1-2", "0-18446744073709551616"] {
        wrong.parse::<ContentRange>().expect_err(wrong);
    }
}

#[test]
fn a_small_checksum_keeps_its_leading_zeros() {
    assert_eq!(checksum(0x2a), "crc32:0000002a");
    assert_eq!(checksum(u32::MAX), "crc32:ffffffff");
}
