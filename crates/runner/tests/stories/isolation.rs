//! What a job can reach and see.

use tokio::net::TcpListener;

use crate::site::{Site, job, possible};

#[tokio::test]
async fn a_job_reaches_the_site_and_nothing_else() {
    if !possible("a_job_reaches_the_site_and_nothing_else") {
        return;
    }
    let site = Site::start().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let reach = |port: u16| {
        format!(
            "if (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; then echo {port} open; else echo {port} shut; fi"
        )
    };
    let (ours, theirs) = (site.address.port(), other.local_addr().unwrap().port());
    let end = site.run(job(&[&reach(ours), &reach(theirs)])).await;
    let log = site.log();
    assert_eq!(end["state"], "success", "{log}");
    assert!(log.contains(&format!("\n{ours} open\n")), "{log}");
    assert!(log.contains(&format!("\n{theirs} shut\n")), "{log}");
}

#[tokio::test]
async fn what_a_job_dials_is_answered_from_recorded_addresses_or_refused_and_told() {
    if !possible("what_a_job_dials_is_answered_from_recorded_addresses_or_refused_and_told") {
        return;
    }
    let site = Site::start().await;
    let get = |host: &str, path: &str| {
        format!(
            "exec 3<>/dev/tcp/{host}/80; printf 'GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n' >&3; \
             echo \"[$(tail -n 1 <&3)]\""
        )
    };
    let other = "(exec 3<>/dev/tcp/nowhere.example/22; cat <&3) || true";
    let end = site.run(job(&[&get("tools.example", "/rig"), &get("nowhere.example", "/tool"), other])).await;
    let log = site.log();
    assert_eq!(end["state"], "success", "{log}");
    assert!(log.contains("[rigged]") && log.contains("1 answers from recorded addresses"), "{log}");
    assert!(log.contains("refused: GET http://nowhere.example/tool"), "{log}");
    assert!(log.contains("refused: nowhere.example:22"), "{log}");
}

#[tokio::test]
async fn a_job_sees_neither_hidden_folders_nor_the_runners_own() {
    if !possible("a_job_sees_neither_hidden_folders_nor_the_runners_own") {
        return;
    }
    let site = Site::start().await;
    // A folder that a sandbox shows, unlike /tmp.
    let outer = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let secret = outer.path().join("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("key"), "private").unwrap();
    std::fs::write(outer.path().join("open"), "shown").unwrap();
    let work = outer.path().join("work");
    let script = format!(
        "cat {0}/open; echo; ls -A {0}/secret {0}/work | grep . || true; touch {0}/new 2>/dev/null || echo read-only",
        outer.path().display()
    );
    let hidden = secret.clone();
    let end = site
        .run_with(job(&[&script]), |config| {
            config.hide.push(hidden);
            config.keep_folders = false;
            std::fs::create_dir(&work).unwrap();
            std::fs::write(work.join("other"), "another job's").unwrap();
        })
        .await;
    let log = site.log();
    assert_eq!(end["state"], "success", "{log}");
    assert!(log.contains("\u{1b}[0;m\nshown\n") && log.contains("read-only\n"), "{log}");
    assert!(!log.contains("\nkey\n"), "{log}");
}
