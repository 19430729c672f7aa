//! Sources: from a repository behind the job's token to the job's folder.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::site::{JOB_TOKEN, Site, job, possible};

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(arguments)
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@site.example")])
        .envs([("GIT_COMMITTER_NAME", "A"), ("GIT_COMMITTER_EMAIL", "a@site.example")])
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A bare repository below `root` with one commit, on `main` and as pipeline 3.
fn repository(root: &Path) -> String {
    let work = root.join("work");
    std::fs::create_dir(&work).unwrap();
    git(&work, &["init", "-q", "-b", "main"]);
    std::fs::write(work.join("hello.txt"), "hello from the commit\n").unwrap();
    git(&work, &["add", "."]);
    git(&work, &["commit", "-q", "-m", "One"]);
    git(root, &["clone", "-q", "--bare", "work", "tool.git"]);
    let sha = git(&work, &["rev-parse", "HEAD"]);
    git(&root.join("tool.git"), &["update-ref", "refs/pipelines/3", &sha]);
    git(&root.join("tool.git"), &["update-server-info"]);
    sha
}

fn can_run(story: &str) -> bool {
    if Command::new("git").arg("--version").output().is_err() {
        println!("skipped: {story}: no git");
        return false;
    }
    possible(story)
}

fn git_info(site: &Site, sha: &str) -> serde_json::Value {
    json!({
        "repo_url": format!("http://gitlab-ci-token:{JOB_TOKEN}@{}/git/tool.git", site.address),
        "repo_object_format": "sha1", "ref": "main", "sha": sha, "before_sha": "0", "ref_type": "branch",
        "refspecs": ["+refs/pipelines/3:refs/pipelines/3", "+refs/heads/main:refs/remotes/origin/main"],
        "depth": 0, "protected": true,
    })
}

#[tokio::test]
async fn the_commit_is_checked_out_and_the_token_stays_outside() {
    if !can_run("the_commit_is_checked_out_and_the_token_stays_outside") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let sha = repository(root.path());
    let site = Site::start().await;
    site.seen().repositories = Some(root.path().into());
    let mut job = job(&[
        "cat hello.txt",
        "git rev-parse HEAD",
        "git status --short --branch",
        "if grep -rqs glcbt .git ~; then echo token on disk; else echo no token on disk; fi",
    ]);
    job["git_info"] = git_info(&site, &sha);
    let end = site.run(job).await;
    let log = site.log();
    assert_eq!(end["state"], "success", "{log}");
    for wanted in [
        &format!("Checking out {} as detached HEAD (ref is main)", &sha[..8]),
        "\nhello from the commit\n",
        &format!("\n{sha}\n"),
        "\n## HEAD (no branch)\n",
        "\nno token on disk\n",
    ] {
        assert!(log.contains(wanted), "{wanted:?} is missing in\n{log}");
    }
}

#[tokio::test]
async fn a_missing_commit_is_a_failure_around_the_script() {
    if !can_run("a_missing_commit_is_a_failure_around_the_script") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    repository(root.path());
    let site = Site::start().await;
    site.seen().repositories = Some(root.path().into());
    let mut job = job(&["echo the script ran"]);
    job["git_info"] = git_info(&site, &"1".repeat(40));
    let end = site.run(job).await;
    assert_eq!(end["failure_reason"], "runner_system_failure");
    let log = site.log();
    assert!(log.contains("git could not get the sources") && !log.contains("\nthe script ran"), "{log}");
    assert!(!log.contains(JOB_TOKEN), "{log}");
}
