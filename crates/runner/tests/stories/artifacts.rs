//! Artifacts: out of a job, into the next one, and hostile ones into neither.

use std::io::{Cursor, Read, Write};

use serde_json::json;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use crate::site::{JOB_TOKEN, Site, job, possible, push};

fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn files(bytes: &[u8]) -> Vec<(String, String)> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut all = Vec::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).unwrap();
        if entry.is_file() {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            all.push((entry.name().unwrap().into_owned(), text));
        }
    }
    all
}

#[tokio::test]
async fn declared_files_and_reports_are_uploaded() {
    if !possible("declared_files_and_reports_are_uploaded") {
        return;
    }
    let site = Site::start().await;
    let mut job = job(&[
        "mkdir -p dist/deep",
        "echo a > dist/a.txt",
        "echo b > dist/deep/b.txt",
        "echo noise > dist/x.log",
        "echo VERSION=1 > build.env",
        "echo left > left",
    ]);
    push(
        &mut job,
        "artifacts",
        json!({ "name": "out", "paths": ["dist/"], "exclude": ["**/*.log"],
        "when": "on_success", "expire_in": "1 week", "artifact_type": "archive", "artifact_format": "zip" }),
    );
    push(
        &mut job,
        "artifacts",
        json!({ "name": "dotenv", "paths": ["build.env"], "when": "always",
        "artifact_type": "dotenv", "artifact_format": "gzip" }),
    );
    push(&mut job, "artifacts", json!({ "name": "sad", "paths": ["left"], "when": "on_failure" }));
    let end = site.run(job).await;
    assert_eq!(end["state"], "success", "{}", site.log());
    let seen = site.seen();
    assert_eq!(seen.uploads.len(), 2);
    let out = &seen.uploads[0];
    assert_eq!(out.file_name, "out.zip");
    assert_eq!((out.query["expire_in"].as_str(), out.query["artifact_type"].as_str()), ("1 week", "archive"));
    let wanted = [("dist/a.txt", "a\n"), ("dist/deep/b.txt", "b\n")];
    assert_eq!(files(&out.bytes), wanted.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let report = &seen.uploads[1];
    assert_eq!((report.query["artifact_format"].as_str(), report.file_name.as_str()), ("gzip", "dotenv.gz"));
    assert_eq!(&report.bytes[..2], [0x1f, 0x8b]);
}

#[tokio::test]
async fn a_failed_job_leaves_what_is_kept_on_failure() {
    if !possible("a_failed_job_leaves_what_is_kept_on_failure") {
        return;
    }
    let site = Site::start().await;
    let mut job = job(&["echo why > why.txt", "exit 1"]);
    push(&mut job, "artifacts", json!({ "name": "good", "paths": ["why.txt"], "when": "on_success" }));
    push(&mut job, "artifacts", json!({ "name": "bad", "paths": ["why.txt"], "when": "on_failure" }));
    site.run(job).await;
    let seen = site.seen();
    assert_eq!(seen.uploads.iter().map(|one| one.file_name.as_str()).collect::<Vec<_>>(), ["bad.zip"]);
}

#[tokio::test]
async fn no_file_of_the_host_gets_into_an_archive_through_a_link() {
    if !possible("no_file_of_the_host_gets_into_an_archive_through_a_link") {
        return;
    }
    let site = Site::start().await;
    let mut job = job(&["cd ..", "rm -rf tool", "ln -s /etc tool"]);
    push(&mut job, "artifacts", json!({ "name": "out", "paths": ["hostname", "**/*"], "when": "always" }));
    let end = site.run(job).await;
    assert_eq!(end["failure_reason"], "runner_system_failure");
    assert!(site.seen().uploads.is_empty());
    assert!(site.log().contains("a link is in its place"), "{}", site.log());
}

#[tokio::test]
async fn the_artifacts_of_earlier_jobs_are_there() {
    if !possible("the_artifacts_of_earlier_jobs_are_there") {
        return;
    }
    let site = Site::start().await;
    site.seen().archives.insert(5, archive(&[("dist/a.txt", "from job five\n")]));
    let mut job = job(&["cat dist/a.txt"]);
    push(
        &mut job,
        "dependencies",
        json!({ "id": 5, "name": "build", "token": JOB_TOKEN, "artifacts_file": { "filename": "a.zip", "size": 1 } }),
    );
    push(&mut job, "dependencies", json!({ "id": 6, "name": "lint", "token": JOB_TOKEN }));
    let end = site.run(job).await;
    assert_eq!(end["state"], "success", "{}", site.log());
    assert!(site.log().contains("\nfrom job five\n"));
}

#[tokio::test]
async fn a_hostile_archive_fails_the_job_before_its_script() {
    if !possible("a_hostile_archive_fails_the_job_before_its_script") {
        return;
    }
    for name in ["../../home/.profile", "/etc/passwd", "a/../../b", ".git/config"] {
        let site = Site::start().await;
        site.seen().archives.insert(5, archive(&[("good", "x"), (name, "evil")]));
        let mut job = job(&["echo the script ran"]);
        push(
            &mut job,
            "dependencies",
            json!({ "id": 5, "name": "build", "token": JOB_TOKEN, "artifacts_file": { "filename": "a.zip" } }),
        );
        let end = site.run(job).await;
        assert_eq!(end["failure_reason"], "runner_system_failure", "{name}");
        let log = site.log();
        assert!(log.contains("the artifact archive is refused") && !log.contains("the script ran"), "{log}");
    }
}
