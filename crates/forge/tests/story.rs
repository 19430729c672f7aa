//! A commit becomes a signed artifact, on SQLite and on PostgreSQL.

mod world;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use cofferdam_forge::{HOME_FILES, JobEnd, NewArtifact, PREDICATE_TYPE, Updated};
use cofferdam_pipeline::{AllowFailure, PlannedJob, Retry, When};
use cofferdam_store::{Db, ServedRow};
use cofferdam_trust::{Envelope, verify_statement};
use cofferdam_types::{Clock as _, ErrorKind, JobId, RunnerId, Sha256};
use futures::{StreamExt as _, TryStreamExt as _};
use world::{SHA, World, job};

macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::World::new(None).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(url) = cofferdam_testkit::postgres() {
                    super::$name(super::World::new(Some(super::Db::open_postgres(&url).await.unwrap())).await).await;
                }
            })*
        }
    };
}

on_both! {
    a_push_becomes_an_artifact_that_says_where_it_came_from
    a_log_is_complete_or_sent_again
    jobs_follow_each_other_as_the_file_says
    two_runners_never_get_the_same_job
    a_silent_runner_loses_its_job_and_the_job_is_tried_again
    a_wrong_file_makes_a_pipeline_that_says_why
}

async fn runner(world: &World, tags: &[&str]) -> RunnerId {
    let tags: Vec<String> = tags.iter().map(|&t| t.to_owned()).collect();
    world.forge.register_runner("person:admin", "a machine", &tags, true).await.unwrap().0.id
}

/// A job that is there now.
async fn take(world: &World, runner: RunnerId) -> Option<cofferdam_runner_api::JobResponse> {
    world.forge.request_job(runner, None, Duration::ZERO).await.unwrap()
}

async fn end(world: &World, id: i64, state: &str) -> Updated {
    let end = JobEnd { state: state.into(), ..JobEnd::default() };
    world.forge.update_job(JobId(id), &end).await.unwrap()
}

async fn states(world: &World, pipeline: cofferdam_types::PipelineId) -> (String, Vec<String>) {
    let (row, jobs) = world.forge.pipeline(pipeline).await.unwrap();
    (row.state, jobs.iter().map(|j| format!("{} {}", j.name, j.state)).collect())
}

async fn a_push_becomes_an_artifact_that_says_where_it_came_from(world: World) {
    let project = world.forge.create_project("person:alice", "team/tool").await.unwrap();
    let runner = runner(&world, &["linux"]).await;
    world.plan(vec![PlannedJob { tags: vec!["linux".into()], ..job("build", 0) }]);

    // The runner asks before there is anything, and is answered by the push itself.
    let (waiting, pipeline) = tokio::join!(
        world.forge.request_job(runner, Some("{\"name\":\"test\"}"), Duration::from_secs(60)),
        world.push(&project)
    );
    let given = waiting.unwrap().expect("the held request is answered with the job");
    let id = JobId(given.id);
    assert_eq!(world.refs.0.lock().unwrap()[&(project.id.0, format!("refs/pipelines/{}", pipeline.id))], SHA);

    let variables: BTreeMap<_, _> =
        given.variables.iter().map(|v| (v.key.as_str(), v.value.as_str())).collect();
    assert_eq!(variables["CI_COMMIT_BRANCH"], "main");
    assert_eq!(variables["CI_COMMIT_SHORT_SHA"], "11111111");
    assert_eq!(variables["CI_PROJECT_PATH"], "team/tool");
    assert_eq!(variables["CI_SERVER_PORT"], "8080");
    assert!(!variables.contains_key("CI_COMMIT_TAG"));
    let short = given.variables.iter().find(|v| v.masked && v.value.len() < 8);
    assert_eq!(short, None, "a short mask would hide half of every log");
    let files: Vec<(String, String)> = serde_json::from_str(variables[HOME_FILES]).unwrap();
    assert!(files[0].1.contains(&format!("/t/{}/r/crates", given.token)), "{files:?}");
    assert!(
        given
            .git_info
            .repo_url
            .contains(&format!("gitlab-ci-token:{}@site.example:8080/team/tool.git", given.token))
    );
    assert_eq!(given.git_info.refspecs[0], format!("+refs/pipelines/{0}:refs/pipelines/{0}", pipeline.id));

    // A reader follows the log while it is written.
    let tail = world.forge.tail(id, 0);
    let (a, b) = (Bytes::from_static(b"hello "), Bytes::from(vec![b'x'; 200_000]));
    assert!(world.forge.append_log(id, 0, a.clone()).await.unwrap().watched);
    world.forge.append_log(id, 6, b.clone()).await.unwrap();

    served(&world, id).await;
    let bytes = futures::stream::iter([Ok(Bytes::from_static(b"PK zip"))]).boxed();
    let new = NewArtifact {
        kind: "archive".into(),
        format: "zip".into(),
        name: "artifacts.zip".into(),
        expire_in: None,
    };
    let artifact = world.forge.store_artifact(id, new, bytes).await.unwrap();
    world.clock.advance(Duration::from_secs(5));

    let whole = [a, b].concat();
    let done = JobEnd {
        state: "success".into(),
        exit_code: Some(0),
        log_crc: Some(crc32fast::hash(&whole)),
        log_size: Some(whole.len() as u64),
        ..JobEnd::default()
    };
    assert_eq!(world.forge.update_job(id, &done).await.unwrap(), Updated::Done("success".into()));
    assert_eq!(states(&world, pipeline.id).await, ("success".into(), vec!["build success".into()]));
    let read: Vec<Bytes> = tail.try_collect().await.unwrap();
    assert_eq!(read.concat(), whole, "the reader got everything and then the end");

    let row = world.forge.provenance(id).await.unwrap();
    assert_eq!(Sha256::of(row.envelope.as_bytes()), row.sha256);
    let envelope = Envelope::from_json(row.envelope.as_bytes()).unwrap();
    let verified = verify_statement(&envelope, PREDICATE_TYPE, &[world.key.verifying_key()], 1).unwrap();
    assert_eq!(verified.statement.subject[0].sha256_digest(), Some(artifact.sha256));
    let from = &verified.statement.predicate["buildDefinition"]["resolvedDependencies"];
    assert_eq!(from[0]["digest"]["gitCommit"], SHA);
    assert_eq!(from[1]["uri"], "pkg:cargo/adler2@2.0.0");
    assert_eq!(from.as_array().unwrap().len(), 2, "what was not served is not in it");

    // The token ended with the job, and the log of the site says all of it.
    let mut tx = world.db.read().await.unwrap();
    let hash = cofferdam_trust::token::hash(&given.token);
    assert!(tx.access().token_by_hash(&hash).await.unwrap().unwrap().revoked.is_some());
    let entries = cofferdam_audit::entries(&mut tx, 0, 100).await.unwrap();
    let actions: Vec<_> = entries.iter().map(|e| e.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "project.create",
            "runner.register",
            "git.push",
            "pipeline.create",
            "job.start",
            "artifact.store",
            "provenance.sign",
            "job.end"
        ]
    );
    assert!(entries[7].body.contains(&row.sha256.to_hex()), "the entry holds the statement's digest");
    let late = world.forge.append_log(id, whole.len() as u64, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Forbidden);
}

/// The registry gave the job one crate and missed another.
async fn served(world: &World, id: JobId) {
    let row = |path: &str, outcome: &str, purl: &str| ServedRow {
        repository: "crates".into(),
        path: path.into(),
        package: "adler2".into(),
        version: "2.0.0".into(),
        sha256: (outcome == "served").then(|| Sha256::of(b"crate")),
        size: 5,
        purl: purl.into(),
        outcome: outcome.into(),
        at: world.clock.now(),
        times: 1,
        source: String::new(),
        askers: vec!["pip/24.2".into()],
    };
    let mut tx = world.db.write().await.unwrap();
    tx.served()
        .note("job", id.0, &row("adler2-2.0.0.crate", "served", "pkg:cargo/adler2@2.0.0"))
        .await
        .unwrap();
    tx.served().note("job", id.0, &row("other", "missing", "")).await.unwrap();
    tx.commit().await.unwrap();
}

async fn a_log_is_complete_or_sent_again(world: World) {
    let project = world.forge.create_project("person:alice", "team/tool").await.unwrap();
    let runner = runner(&world, &[]).await;
    world.plan(vec![job("build", 0)]);
    world.push(&project).await;
    let id = JobId(take(&world, runner).await.unwrap().id);

    let say =
        |first, text: &'static str| world.forge.append_log(id, first, Bytes::from_static(text.as_bytes()));
    assert_eq!(say(0, "one ").await.unwrap().size, 4);
    let again = say(0, "one ").await.unwrap();
    assert_eq!((again.accepted, again.size), (false, 4), "a piece sent twice is there once");
    let gap = say(9, "three").await.unwrap();
    assert_eq!((gap.accepted, gap.size), (false, 4), "a gap is refused, and where to go on is said");
    assert!(say(4, "").await.unwrap().accepted, "an empty piece is a sign of life");

    let done = |text: &str| JobEnd {
        state: "success".into(),
        log_crc: Some(crc32fast::hash(text.as_bytes())),
        log_size: Some(text.len() as u64),
        ..JobEnd::default()
    };
    let whole = "one two";
    assert_eq!(
        world.forge.update_job(id, &done(whole)).await.unwrap(),
        Updated::LogDiffers("running".into())
    );
    assert_eq!(say(0, "one ").await.unwrap().size, 4, "it is sent again from the beginning");
    assert_eq!(say(4, "two").await.unwrap().size, 7);
    assert_eq!(world.forge.update_job(id, &done(whole)).await.unwrap(), Updated::Done("success".into()));
    assert_eq!(world.forge.read_log(id, 0).await.unwrap(), "one two");
    assert_eq!(world.forge.read_log(id, 5).await.unwrap(), "wo");
}

async fn jobs_follow_each_other_as_the_file_says(world: World) {
    let project = world.forge.create_project("person:alice", "team/tool").await.unwrap();
    let runner = runner(&world, &[]).await;
    world.plan(vec![
        job("lint", 0),
        PlannedJob { allow_failure: AllowFailure::Always(true), ..job("spell", 0) },
        job("test", 1),
        PlannedJob { when: When::OnFailure, ..job("mourn", 1) },
        PlannedJob { when: When::Manual, ..job("release", 2) },
        job("announce", 3),
    ]);
    let pipeline = world.push(&project).await;
    let [lint, spell] = [take(&world, runner).await.unwrap(), take(&world, runner).await.unwrap()];
    assert!(take(&world, runner).await.is_none(), "the next stage waits");
    end(&world, spell.id, "failed").await;
    end(&world, lint.id, "success").await;
    let (_, now) = states(&world, pipeline.id).await;
    assert_eq!(now[2..], ["test pending", "mourn skipped", "release created", "announce created"]);

    let test = take(&world, runner).await.unwrap();
    assert_eq!(test.dependencies.len(), 2);
    end(&world, test.id, "failed").await;
    assert_eq!(states(&world, pipeline.id).await.0, "failed");

    let again = world.forge.retry_job(JobId(test.id), "person:alice").await.unwrap();
    assert_eq!((again.state.as_str(), again.attempt), ("pending", 2));
    assert_eq!(take(&world, runner).await.unwrap().id, again.id.0);
    end(&world, again.id.0, "success").await;
    let (state, jobs) = states(&world, pipeline.id).await;
    assert_eq!((state.as_str(), jobs[5].as_str()), ("manual", "release manual"), "{jobs:?}");
    let (_, rows) = world.forge.pipeline(pipeline.id).await.unwrap();
    let release = rows.iter().find(|j| j.name == "release").unwrap().id;
    world.forge.play_job(release, "person:alice").await.unwrap();
    let played = take(&world, runner).await.unwrap();
    world.forge.cancel_job(JobId(played.id), "person:alice").await.unwrap();
    let stopped = JobEnd { state: "success".into(), ..JobEnd::default() };
    let told = world.forge.update_job(JobId(played.id), &stopped).await.unwrap_err();
    assert_eq!(told.kind(), ErrorKind::Forbidden, "a cancelled job does not succeed");
    assert_eq!(states(&world, pipeline.id).await.0, "canceled");
}

async fn two_runners_never_get_the_same_job(world: World) {
    let project = world.forge.create_project("person:alice", "team/tool").await.unwrap();
    let tagged = runner(&world, &["gpu", "linux"]).await;
    let plain = runner(&world, &[]).await;
    let mut plans: Vec<_> = (0..6).map(|n| job(&format!("job{n}"), 0)).collect();
    plans.push(PlannedJob { tags: vec!["gpu".into()], ..job("heavy", 0) });
    world.plan(plans);
    world.push(&project).await;
    let asking = (0..10).map(|n| take(&world, if n % 2 == 0 { plain } else { tagged }));
    let mut given: Vec<_> =
        futures::future::join_all(asking).await.into_iter().flatten().map(|j| j.id).collect();
    given.extend(take(&world, tagged).await.map(|j| j.id));
    given.sort_unstable();
    let count = given.len();
    given.dedup();
    assert_eq!((given.len(), count), (7, 7), "every job went to exactly one");
    let heavy = world.forge.job(JobId(*given.last().unwrap())).await.unwrap();
    assert_eq!((heavy.name.as_str(), heavy.runner), ("heavy", Some(tagged)));
}

async fn a_silent_runner_loses_its_job_and_the_job_is_tried_again(world: World) {
    let project = world.forge.create_project("person:alice", "team/tool").await.unwrap();
    let runner = runner(&world, &[]).await;
    world.plan(vec![PlannedJob {
        retry: Retry { max: 1, when: vec!["runner_system_failure".into()], ..Retry::default() },
        ..job("build", 0)
    }]);
    let pipeline = world.push(&project).await;
    let first = take(&world, runner).await.unwrap();
    let start = world.clock.now();
    world.clock.advance(Duration::from_secs(600));
    world.forge.append_log(JobId(first.id), 0, Bytes::from_static(b"alive")).await.unwrap();
    assert_eq!(world.forge.sweep(start.plus(Duration::from_secs(300))).await.unwrap(), 0, "it was heard");
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(world.forge.sweep(start.plus(Duration::from_secs(900))).await.unwrap(), 1);
    let lost = world.forge.job(JobId(first.id)).await.unwrap();
    assert_eq!(
        (lost.state.as_str(), lost.failure_reason.as_deref()),
        ("failed", Some("runner_system_failure"))
    );

    let second = take(&world, runner).await.unwrap();
    assert_ne!(second.id, first.id);
    end(&world, second.id, "failed").await;
    assert_eq!(
        states(&world, pipeline.id).await.0,
        "failed",
        "a script's failure is no reason for another try"
    );
    assert!(take(&world, runner).await.is_none());
}

async fn a_wrong_file_makes_a_pipeline_that_says_why(world: World) {
    let project = world.forge.create_project("person:alice", "team/tool").await.unwrap();
    world.told.0.lock().unwrap().error = ".gitlab-ci.yml:3:5: unknown keyword `scrpt`".into();
    let pipeline = world.push(&project).await;
    assert_eq!((pipeline.state.as_str(), pipeline.iid), ("failed", 1));
    assert_eq!(pipeline.error, ".gitlab-ci.yml:3:5: unknown keyword `scrpt`");
    for wrong in ["tool", "api/tool", "Team/tool", "team/tool/x", "team/tool.git"] {
        let refused = world.forge.create_project("person:alice", wrong).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{wrong}");
    }
    let taken = world.forge.create_project("person:alice", "team/tool").await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
}
