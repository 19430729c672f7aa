//! Pipeline jobs on a running site: what they were given is said of what they made.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::common::{
    Site,
    tools::{Person, have, have_sandbox},
};

const PIPELINE: &str = "build:\n  script:\n    - curl -sSf -o chart \"$CI_SERVER_URL/r/generic/charts/north.bin\"\n  \
                        artifacts:\n    paths: [chart]\n";

#[test]
fn what_a_job_reads_without_a_token_stands_in_the_provenance_of_what_it_made() {
    if !have("git") || !have("curl") || !have_sandbox() {
        return;
    }
    let site = Site::start_with("harbour", "isolated", "", &[("COFFERDAM_RUNNER_ENABLED", "true")]);
    let token = site.person("dev", "developer");
    assert_eq!(site.send(&token, "PUT", "/r/generic-local/charts/north.bin", b"deep water").status, 201);
    assert_eq!(site.post(&token, "/api/v1/projects", &json!({ "path": "fleet/tug" })).status, 201);
    let author = Person::of(&site, &token);
    let tug = author.folder("tug", &[(".gitlab-ci.yml", PIPELINE.as_bytes())]);
    author.does(&tug, "git", &["init", "--quiet", "--initial-branch", "main"]);
    author.does(&tug, "git", &["add", "."]);
    let name = ["-c", "user.name=Dev", "-c", "user.email=dev@harbour.example"];
    author.does(&tug, "git", &[&name[..], &["commit", "--quiet", "--message", "charts"]].concat());
    let address = format!("http://{token}@{}/fleet/tug.git", site.address());
    author.does(&tug, "git", &["push", "--quiet", &address, "main"]);

    let pipelines = site.send(&token, "GET", "/api/v1/projects/fleet/tug/pipelines", b"").json();
    let pipeline = &pipelines["pipelines"][0]["id"];
    let pipeline = site.send(&token, "GET", &format!("/api/v1/pipelines/{pipeline}"), b"").json();
    let job = &pipeline["jobs"][0]["id"];
    // A log that is followed ends with its job.
    let log = site.send(&token, "GET", &format!("/api/v1/jobs/{job}/log?follow=1"), b"").text();
    let signed = site.send(&token, "GET", &format!("/api/v1/jobs/{job}/provenance"), b"");
    assert_eq!(signed.status, 200, "{log}");
    let payload = STANDARD.decode(signed.json()["payload"].as_str().expect("an envelope")).expect("base64");
    let statement: Value = serde_json::from_slice(&payload).expect("a statement");
    let used = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    let names: Vec<_> = used.as_array().into_iter().flatten().filter_map(|d| d["name"].as_str()).collect();
    assert_eq!(names, ["charts/north.bin"], "{used}\n{log}");
}
