//! What a script does, says and returns.

use serde_json::json;

use crate::site::{Site, after_script, job, possible, push};

#[tokio::test]
async fn a_good_script_runs_in_order_in_one_shell_and_succeeds() {
    if !possible("a_good_script_runs_in_order_in_one_shell_and_succeeds") {
        return;
    }
    let site = Site::start().await;
    let end = site
        .run(job(&["greeting=hello", "echo one >&2", "echo \"$greeting two\"", "cat <<X\nthree\nX"]))
        .await;
    assert_eq!((&end["state"], &end["exit_code"]), (&json!("success"), &json!(0)));
    let log = site.log();
    let mut rest = log.as_str();
    for wanted in [
        "Running with cofferdam-runner",
        "section_start:1700000000:step_script\r\u{1b}[0K",
        "$ greeting=hello\u{1b}[0;m\n",
        "$ echo one >&2\u{1b}[0;m\none\n",
        "hello two\n",
        "$ cat <<X # collapsed multi-line command\u{1b}[0;m\nthree\n",
        "section_end:1700000000:step_script\r\u{1b}[0K",
        "Job succeeded",
    ] {
        let at =
            rest.find(wanted).unwrap_or_else(|| panic!("{wanted:?} is missing or out of order in\n{log}"));
        rest = &rest[at + wanted.len()..];
    }
}

#[tokio::test]
async fn a_failing_command_ends_the_script_and_after_script_still_runs() {
    if !possible("a_failing_command_ends_the_script_and_after_script_still_runs") {
        return;
    }
    let site = Site::start().await;
    let mut failing = job(&["(exit 3) | cat", "echo not reached"]);
    push(&mut failing, "steps", after_script(&["echo \"tidy after $CI_JOB_STATUS\"", "exit 9"]));
    let end = site.run(failing).await;
    assert_eq!(end["state"], "failed");
    assert_eq!((&end["exit_code"], &end["failure_reason"]), (&json!(3), &json!("script_failure")));
    let log = site.log();
    assert!(log.contains("tidy after failed\n"), "{log}");
    assert!(log.contains("ERROR: Job failed: exit code 3"), "{log}");
    assert!(!log.contains("not reached\n\u{1b}") && !log.contains("\nnot reached\n"), "{log}");
}

#[tokio::test]
async fn variables_files_and_the_home_are_as_the_site_says() {
    if !possible("variables_files_and_the_home_are_as_the_site_says") {
        return;
    }
    let site = Site::start().await;
    let mut job = job(&[
        "echo \"A=$A B=$B\"",
        "cat \"$KEY\"",
        "cat ~/.config/tool/conf",
        "pwd",
        "echo \"dir=$CI_PROJECT_DIR of $CI_BUILDS_DIR\"",
        "echo \"hidden=${COFFERDAM_HOME_FILES:-nothing}\"",
    ]);
    job["variables"] = json!([
        { "key": "A", "value": "first", "public": true, "file": false, "masked": false, "raw": false },
        { "key": "B", "value": "<$A>" },
        { "key": "A", "value": "last" },
        { "key": "KEY", "value": "text of the key\n", "file": true },
        { "key": "COFFERDAM_HOME_FILES", "value": r#"[[".config/tool/conf","from the site\n"]]"#, "raw": true },
    ]);
    let end = site.run(job).await;
    let log = site.log();
    assert_eq!(end["state"], "success", "{log}");
    for wanted in [
        "A=last B=<last>\n",
        "text of the key\n",
        "from the site\n",
        "\n/builds/group/tool\n",
        "dir=/builds/group/tool of /builds\n",
        "hidden=nothing\n",
    ] {
        assert!(log.contains(wanted), "{wanted:?} is missing in\n{log}");
    }
}
