//! Messages as a real runner writes them, and answers as it reads them.

use cofferdam_runner_api::{
    ContentRange, JobRequest, JobResponse, JobState, UpdateJob, VerifyAnswer, checksum,
};

#[test]
fn a_runner_asks_for_work_and_fields_of_the_future_do_not_disturb() {
    let asked: JobRequest = serde_json::from_str(
        r#"{"info":{"name":"gitlab-runner","version":"19.4.0","executor":"shell","future":1,
            "features":{"artifacts_exclude":true,"terminal":false,"labels":{"a":1}}},
            "token":"glrt-x","system_id":"s_1","session":{"url":""}}"#,
    )
    .unwrap();
    assert_eq!(asked.system_id, "s_1");
    assert_eq!(asked.last_update, "");
    assert!(asked.info.has_feature("artifacts_exclude"));
    assert!(!asked.info.has_feature("terminal"));
    assert!(!asked.info.has_feature("unheard_of"));
    assert!(!format!("{asked:?}").contains("glrt-x"), "a token must not reach a log");
}

#[test]
fn a_token_without_end_is_null_and_never_an_empty_string() {
    let answer = VerifyAnswer { id: 3, token: "glrt-x".into(), token_expires_at: None };
    let text = serde_json::to_string(&answer).unwrap();
    assert_eq!(text, r#"{"id":3,"token":"glrt-x","token_expires_at":null}"#);
}

#[test]
fn a_job_survives_the_wire_and_nulls_read_as_empty() {
    let job: JobResponse = serde_json::from_str(
        r#"{"id":7,"token":"secret-token","git_info":{"ref":"main","sha":"abc","refspecs":null},
            "variables":[{"key":"A","value":"hush","masked":true},{"key":"B","value":null}],
            "steps":[{"name":"script","script":["make"],"when":"on_success"}],
            "services":null,"image":null,
            "dependencies":[{"id":6,"name":"build","token":"secret-token","artifacts_file":{"filename":"a.zip","size":9}}]}"#,
    )
    .unwrap();
    assert_eq!(job.git_info.ref_name, "main");
    assert_eq!(job.dependencies[0].artifacts_file.as_ref().unwrap().size, 9);
    assert!(job.services.is_empty() && job.image.name.is_empty());
    let again: JobResponse = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
    assert_eq!(again, job);
    let shown = format!("{job:?}");
    assert!(!shown.contains("secret-token") && !shown.contains("hush"), "{shown}");
}

#[test]
fn a_job_that_ends_tells_its_logs_checksum() {
    let update: UpdateJob = serde_json::from_str(
        r#"{"token":"t","state":"failed","failure_reason":"script_failure","exit_code":2,"checksum":"old",
            "output":{"checksum":"crc32:0000abcd","bytesize":12}}"#,
    )
    .unwrap();
    assert_eq!(update.state, JobState::Failed);
    assert_eq!(checksum(0xabcd), "crc32:0000abcd");
    let output = update.output.unwrap();
    assert!(output.agrees(0xabcd, 12));
    assert!(!output.agrees(0xabcd, 11), "a lost byte must be seen");
}

#[test]
fn ranges_of_old_and_new_runners_both_read() {
    let new: ContentRange = "10-19".parse().unwrap();
    assert_eq!((new.first, new.last, new.total, new.length(), new.end()), (10, 19, None, 10, 20));
    let old: ContentRange = "0-4/5".parse().unwrap();
    assert_eq!(old.total, Some(5));
    assert_eq!(old.to_string(), "0-4/5");
    assert_eq!(new.to_string(), "10-19");
    let sign_of_life: ContentRange = "20-19".parse().unwrap();
    assert_eq!((sign_of_life.length(), sign_of_life.end()), (0, 20));
    assert_eq!(ContentRange::of(5, 3).unwrap().to_string(), "5-7");
    assert!(ContentRange::of(u64::MAX, 2).is_none());
}

#[test]
fn nonsense_is_not_a_range() {
    for text in ["", "-", "1", "5-3", "a-b", "+1-2", "1-2/x", "bytes 0-1/2", "99999999999999999999-1"] {
        let refused = text.parse::<ContentRange>();
        assert!(refused.is_err(), "{text:?} must be refused, not read as {refused:?}");
    }
}
