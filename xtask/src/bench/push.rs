//! From `git push` to the first line of a job's own output, as somebody who follows the log sees it.

use std::{path::Path, process::Command, time::Instant};

use serde_json::Value;

use super::{Line, percentile, site::Site};
use crate::{Outcome, run as run_command};

const RUNS: usize = 50;
const MARK: &str = "line-of-run";

pub(super) fn run() -> Outcome {
    let site = Site::create()?;
    let _server = site.start()?;
    let body = br#"{"path":"bench/push"}"#;
    let headers = [site.bearer(), vec!["Content-Type: application/json".into()]].concat();
    site.client()?.json("POST /api/v1/projects", &headers, body)?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let work = folder.path();
    git(work, &["init", "--quiet", "--initial-branch", "main"])?;
    let (mut from_push, mut from_accepted, mut pushes) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..RUNS {
        let (push, line) = once(&site, work, n)?;
        pushes.push(push);
        from_push.push(line);
        from_accepted.push((line - push).max(0.0));
    }
    for (what, mut times) in [
        ("git push alone", pushes),
        ("git push begins to first line", from_push),
        ("git push ended to first line", from_accepted),
    ] {
        times.sort_by(f64::total_cmp);
        for (name, share) in [("p50", 0.5), ("p95", 0.95)] {
            let value = percentile(&times, share).ok_or("no run")?;
            let metric = format!("{what} {name}");
            Line { bench: "push", metric: &metric, value, unit: "ms", peer: None, ratio: None }.print()?;
        }
    }
    Ok(())
}

/// Milliseconds from the start of the push to its end, and to the line.
fn once(site: &Site, work: &Path, n: usize) -> Outcome<(f64, f64)> {
    let file = format!("# change {n}\nfirst:\n  script:\n    - word=first; echo $word-{MARK}\n");
    std::fs::write(work.join(".gitlab-ci.yml"), file).map_err(|e| e.to_string())?;
    git(work, &["add", "--all"])?;
    git(work, &["commit", "--quiet", "--message", "a change"])?;
    let url = format!("http://dana:{}@{}/bench/push.git", site.token, site.address);
    // Connected before, so that the measurement holds no connection of ours.
    let (mut client, bearer) = (site.client()?, site.bearer());
    let start = Instant::now();
    git(work, &["push", "--quiet", &url, "HEAD:refs/heads/main"])?;
    let push = start.elapsed().as_secs_f64() * 1000.0;
    let all = client.json("GET /api/v1/projects/bench/push/pipelines", &bearer, &[])?;
    let pipeline = all["pipelines"][0]["id"].as_i64().ok_or("the push made no pipeline")?;
    let pipeline = client.json(&format!("GET /api/v1/pipelines/{pipeline}"), &bearer, &[])?;
    let job = pipeline["jobs"][0]["id"].as_i64().ok_or("the pipeline has no job")?;
    client.send(&format!("GET /api/v1/jobs/{job}/log?follow=1"), &bearer, &[])?;
    // What the script computes, so that the command's own echo in the log is not taken for it.
    let mark = format!("first-{MARK}");
    let mut seen = String::new();
    let line = loop {
        let text = client.line()?;
        seen += &text;
        if text.contains(&mark) {
            break start.elapsed().as_secs_f64() * 1000.0;
        }
        if text.starts_with("event: end") {
            return Err(format!("job {job} ended without its line: {seen}"));
        }
    };
    while !client.line()?.starts_with("event: end") {}
    let mut after = site.client()?;
    let ended: Value = after.json(&format!("GET /api/v1/jobs/{job}"), &bearer, &[])?;
    if ended["state"] == "success" { Ok((push, line)) } else { Err(format!("job {job}: {}", ended["state"])) }
}

fn git(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new("git");
    command.current_dir(folder).args(["-c", "user.name=bench", "-c", "user.email=bench@site.example"]);
    run_command(command.args(["-c", "commit.gpgsign=false"]).args(arguments))
}
