//! The log: complete, masked, and repaired when the site loses some of it.

use serde_json::{Value, json};

use crate::site::{JOB_TOKEN, Site, job, possible};

/// The site's log is the one whose checksum the runner told.
fn complete(site: &Site, end: &Value) {
    let seen = site.seen();
    let checksum = format!("crc32:{:08x}", crc32fast::hash(&seen.log));
    assert_eq!(end["output"], json!({ "checksum": checksum, "bytesize": seen.log.len() }));
}

#[tokio::test]
async fn the_checksum_is_that_of_the_log() {
    if !possible("the_checksum_is_that_of_the_log") {
        return;
    }
    let site = Site::start().await;
    let end = site.run(job(&["seq 1 300000"])).await;
    complete(&site, &end);
    let seen = site.seen();
    assert!(seen.log.len() > 1_900_000 && seen.pieces >= 2);
    assert!(seen.log.windows(15).any(|window| window == b"\n299999\n300000\n"));
}

#[tokio::test]
async fn the_first_line_arrives_while_the_script_still_runs() {
    if !possible("the_first_line_arrives_while_the_script_still_runs") {
        return;
    }
    let site = Site::start().await;
    // The script only goes on when the site, having seen the line, lets the download succeed.
    let script = format!(
        "echo waiting for you; until bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; \
         printf \"GET /api/v4/jobs/1/artifacts HTTP/1.0\\r\\nJOB-TOKEN: {JOB_TOKEN}\\r\\n\\r\\n\" >&3; grep -q open <&3'; \
         do sleep 0.05; done; echo went on",
        port = site.address.port()
    );
    let opener = async {
        site.until(|seen| String::from_utf8_lossy(&seen.log).contains("\nwaiting for you\n")).await;
        site.seen().archives.insert(1, b"open\n".to_vec());
    };
    let (end, ()) = tokio::join!(site.run(job(&[&script])), opener);
    assert_eq!(end["state"], "success", "{}", site.log());
    complete(&site, &end);
}

#[tokio::test]
async fn a_masked_value_never_appears() {
    if !possible("a_masked_value_never_appears") {
        return;
    }
    let site = Site::start().await;
    let mut job = job(&[
        "echo \"password: $PASSWORD.\"",
        "printf 'hunter'; sleep 0.2; printf '2-and-more; '; printf 'hunter%s\\n' 1",
        "echo $TOKEN",
    ]);
    job["variables"] = json!([
        { "key": "PASSWORD", "value": "hunter2-and-more", "masked": true },
        { "key": "TOKEN", "value": JOB_TOKEN },
    ]);
    let end = site.run(job).await;
    complete(&site, &end);
    let log = site.log();
    assert!(!log.contains("hunter2-and-more") && !log.contains(JOB_TOKEN), "{log}");
    assert!(log.contains("password: [MASKED].\n") && log.contains("\n[MASKED]; hunter1\n"), "{log}");
}

#[tokio::test]
async fn a_site_that_forgot_part_of_the_log_gets_it_again() {
    if !possible("a_site_that_forgot_part_of_the_log_gets_it_again") {
        return;
    }
    let site = Site::start().await;
    site.seen().forget_at = Some(2);
    let end = site.run(job(&["seq 1 300000"])).await;
    complete(&site, &end);
}

#[tokio::test]
async fn a_site_that_doubts_the_checksum_gets_the_whole_log_again() {
    if !possible("a_site_that_doubts_the_checksum_gets_the_whole_log_again") {
        return;
    }
    let site = Site::start().await;
    {
        let mut seen = site.seen();
        seen.lose_log = 2;
        seen.ask_again = 2;
    }
    let end = site.run(job(&["seq 1 1000"])).await;
    assert_eq!(end["state"], "success");
    complete(&site, &end);
}

#[tokio::test]
async fn a_site_that_fails_for_a_while_is_asked_again() {
    if !possible("a_site_that_fails_for_a_while_is_asked_again") {
        return;
    }
    let site = Site::start().await;
    site.seen().broken = 4;
    let end = site.run(job(&["echo done"])).await;
    assert_eq!(end["state"], "success");
    complete(&site, &end);
}

#[tokio::test]
async fn a_log_without_end_is_cut_and_the_job_goes_on() {
    if !possible("a_log_without_end_is_cut_and_the_job_goes_on") {
        return;
    }
    let site = Site::start().await;
    let end = site.run_with(job(&["seq 1 100000", "exit 4"]), |config| config.limits.log = 5000).await;
    assert_eq!(end["exit_code"], 4);
    complete(&site, &end);
    assert!(site.log().contains("The log has reached 5000 bytes"));
    assert!(site.seen().log.len() < 6000);
}
