//! A person pushes with git, a runner asks over HTTP, and what comes back can be proved.

mod site;

use cofferdam_forge::PREDICATE_TYPE;
use cofferdam_runner_api::JobResponse;
use cofferdam_trust::{Envelope, verify_statement};
use cofferdam_types::Sha256;
use reqwest::StatusCode;
use serde_json::{Value, json};
use site::TestSite;

const FILE: &str = "\
stages: [build, test]
variables: { GREETING: hello $CI_PROJECT_NAME }
build:
  stage: build
  script: [make]
  artifacts: { paths: [out/], expire_in: 1 week }
test:
  stage: test
  script: [make test]
";

#[tokio::test]
async fn a_push_travels_through_a_runner_to_a_signed_artifact() {
    let Some(site) = TestSite::start().await else { return };
    let alice = site.developer("alice").await;
    let made = site.api(&alice, "POST", "projects", Some(json!({ "path": "team/tool" }))).await;
    assert_eq!(made["git_url"], format!("{}/team/tool.git", site.url));

    // Nobody known is asked for a login, as git expects, and learns nothing about projects.
    let asked = site.client.get(format!("{}/team/tool.git/info/refs?service=git-upload-pack", site.url));
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));

    let runner = site.runner().await;
    let waiting = site.request_job(&runner);
    let pushing = async {
        site.git(&["init", "-q", "-b", "main", "work"]).await;
        site.write("work/.gitlab-ci.yml", FILE);
        site.git(&["-C", "work", "add", "."]).await;
        site.git(&["-C", "work", "commit", "-q", "-m", "first"]).await;
        site.git(&["-C", "work", "push", "-q", &site.clone_url("alice", &alice, "team/tool"), "main"]).await;
    };
    let (given, ()) = tokio::join!(waiting, pushing);
    let job = given.expect("the push answers the held request");
    let sha = site.git(&["-C", "work", "rev-parse", "HEAD"]).await;
    assert_eq!((job.git_info.sha.as_str(), job.job_info.name.as_str()), (sha.as_str(), "build"));

    assert_eq!(job.steps[0].script, ["make"]);
    assert_eq!((job.artifacts[0].paths[0].as_str(), job.artifacts[0].expire_in.as_str()), ("out/", "1 week"));
    // What refers to a predefined variable is put together by the runner, which knows them all.
    let greeting = job.variables.iter().find(|v| v.key == "GREETING").unwrap();
    assert_eq!((greeting.value.as_str(), greeting.raw), ("hello $CI_PROJECT_NAME", false));

    // The job's token clones what the job needs, and cannot push.
    site.git(&["init", "-q", "build"]).await;
    let mut fetch = vec!["-C", "build", "fetch", "-q", "--depth", "20", &job.git_info.repo_url];
    fetch.extend(job.git_info.refspecs.iter().map(String::as_str));
    site.git(&fetch).await;
    site.git(&["-C", "build", "checkout", "-q", &sha]).await;
    let refused = site.try_git(&["-C", "work", "push", "-q", &job.git_info.repo_url, "main:other"]).await;
    assert!(refused.is_err(), "a job may not push");

    site.follow_the_protocol(&job).await;
    let bytes = b"PK\x03\x04 zip".to_vec();
    let digest = Sha256::of(&bytes);
    assert_eq!(site.upload(&job, bytes.clone()).await, StatusCode::CREATED);
    assert_eq!(site.finish(&job, "success", b"hello world").await, StatusCode::OK);

    // The dependent job gets the artifact with its own token, and nobody else's job does.
    let test = site.request_job(&runner).await.expect("the next stage is there");
    assert_eq!(test.dependencies[0].artifacts_file.as_ref().unwrap().size, bytes.len() as u64);
    let address = format!("{}/api/v4/jobs/{}/artifacts", site.url, job.id);
    let got = site.client.get(&address).header("JOB-TOKEN", &test.token).send().await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), bytes);
    let spent = site.client.get(&address).header("JOB-TOKEN", &job.token).send().await.unwrap();
    assert_eq!(spent.status(), StatusCode::FORBIDDEN, "a token ends with its job");
    assert_eq!(site.finish(&test, "failed", b"").await, StatusCode::OK);

    the_people_see_it(&site, &alice, &job, &digest, &sha).await;
}

async fn the_people_see_it(site: &TestSite, alice: &str, job: &JobResponse, digest: &Sha256, sha: &str) {
    let list = site.api(alice, "GET", "projects/team/tool/pipelines", None).await;
    let row = &list["pipelines"][0];
    assert_eq!((&row["state"], &row["sha"]), (&json!("failed"), &json!(sha)));
    let pipeline = site.api(alice, "GET", &format!("pipelines/{}", row["id"]), None).await;
    let states: Vec<&Value> = pipeline["jobs"].as_array().unwrap().iter().map(|j| &j["state"]).collect();
    assert_eq!(states, ["success", "failed"]);

    let path = format!("jobs/{}", job.id);
    assert_eq!(site.text(alice, &format!("{path}/log?offset=6")).await, "world");
    let events = site.text(alice, &format!("{path}/log?follow=1")).await;
    assert_eq!(events, "event: log\ndata: \"hello world\"\n\nevent: end\ndata: success\n\n");
    let envelope =
        Envelope::from_json(site.text(alice, &format!("{path}/provenance")).await.as_bytes()).unwrap();
    let verified = verify_statement(&envelope, PREDICATE_TYPE, &[site.key], 1).unwrap();
    assert_eq!(verified.statement.subject[0].sha256_digest(), Some(*digest));

    let again =
        site.api(alice, "POST", &format!("jobs/{}/retry", pipeline["jobs"][1]["id"]), Some(json!({}))).await;
    assert_eq!((&again["state"], &again["attempt"]), (&json!("pending"), &json!(2)));
    let gone = site.api(alice, "POST", &format!("pipelines/{}/cancel", row["id"]), Some(json!({}))).await;
    assert_eq!(gone["state"], "canceled");
}

#[tokio::test]
async fn a_wrong_pipeline_file_is_told_with_its_place() {
    let Some(site) = TestSite::start().await else { return };
    let alice = site.developer("alice").await;
    site.api(&alice, "POST", "projects", Some(json!({ "path": "team/tool" }))).await;
    site.git(&["init", "-q", "-b", "main", "work"]).await;
    site.write("work/.gitlab-ci.yml", "build:\n  scrpt: make\n");
    site.git(&["-C", "work", "add", "."]).await;
    site.git(&["-C", "work", "commit", "-q", "-m", "first"]).await;
    let url = site.clone_url("alice", &alice, "team/tool");
    site.git(&["-C", "work", "push", "-q", &url, "main"]).await;
    let list = site.api(&alice, "GET", "projects/team/tool/pipelines", None).await;
    assert_eq!(list["pipelines"][0]["state"], "failed");
    let error = list["pipelines"][0]["error"].as_str().unwrap();
    assert!(error.contains(".gitlab-ci.yml:2:") && error.contains("scrpt"), "{error}");

    // Only branches and tags are people's; an annotated tag makes a pipeline of its commit.
    let ours = site.try_git(&["-C", "work", "push", "-q", &url, "main:refs/pipelines/99"]).await;
    let ours = ours.unwrap_err();
    assert!(ours.contains("only branches"), "{ours}");
    site.write("work/.gitlab-ci.yml", "release:\n  script: make\n  rules: [{ if: $CI_COMMIT_TAG }]\n");
    site.git(&["-C", "work", "commit", "-q", "-a", "-m", "second"]).await;
    site.git(&["-C", "work", "tag", "-a", "v1", "-m", "one"]).await;
    site.git(&["-C", "work", "push", "-q", &url, "main", "v1"]).await;
    let list = site.api(&alice, "GET", "projects/team/tool/pipelines", None).await;
    let rows = list["pipelines"].as_array().unwrap();
    let head = site.git(&["-C", "work", "rev-parse", "HEAD"]).await;
    assert_eq!((rows.len(), &rows[0]["ref"], &rows[0]["sha"]), (2, &json!("refs/tags/v1"), &json!(head)));
}

#[tokio::test]
async fn runners_are_told_what_to_do_by_the_status() {
    let Some(site) = TestSite::start().await else { return };
    let post = |path: &str, body: Value| {
        let request = site.client.post(format!("{}/api/v4/{path}", site.url));
        request.header("content-type", "application/json").body(body.to_string()).send()
    };
    let unknown = post("jobs/request", json!({ "token": "glrt-nobody" })).await.unwrap();
    assert_eq!(unknown.status(), StatusCode::FORBIDDEN);
    let said: Value = serde_json::from_slice(&unknown.bytes().await.unwrap()).unwrap();
    assert!(said["message"].as_str().unwrap().starts_with("403"), "{said}");
    let runner = site.runner().await;
    let verified =
        post("runners/verify", json!({ "token": runner, "system_id": "s_1", "new": 1 })).await.unwrap();
    let verified: Value = serde_json::from_slice(&verified.bytes().await.unwrap()).unwrap();
    assert_eq!((&verified["token"], &verified["token_expires_at"]), (&json!(runner), &Value::Null));
    let router =
        site.client.get(format!("{}/api/v4/runners/router/discovery", site.url)).send().await.unwrap();
    assert_eq!(router.status(), StatusCode::NOT_IMPLEMENTED);
    let stranger =
        site.client.patch(format!("{}/api/v4/jobs/99/trace", site.url)).header("JOB-TOKEN", &runner);
    assert_eq!(stranger.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}
