//! The commit gate and what repositories show, over real formats and both databases.

use std::{collections::BTreeMap, sync::Arc};

use cofferdam_blobs::LocalBlobs;
use cofferdam_format_kit::{
    Body, Change, Door as _, DoorExt as _, Draft, DraftFile, Query, RepositoryKind, Request, Upload,
    View as _,
};
use cofferdam_registry::{Cause, Commit, Registry, RegistryParts, Session};
use cofferdam_store::{Db, RepositoryRow};
use cofferdam_testkit::TestClock;
use cofferdam_types::{Error, ErrorKind, JobId, Result};
use futures::StreamExt as _;
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

struct World {
    _home: tempfile::TempDir,
    registry: Registry,
}

async fn worlds() -> Vec<World> {
    let mut databases = Vec::new();
    let home = tempfile::tempdir().unwrap();
    let sqlite = Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
    databases.push((home, sqlite));
    if let Some(url) = cofferdam_testkit::postgres() {
        databases.push((tempfile::tempdir().unwrap(), Db::open_postgres(&url).await.unwrap()));
    }
    databases
        .into_iter()
        .map(|(home, db)| {
            let registry = Registry::new(RegistryParts {
                db,
                blobs: Arc::new(LocalBlobs::open(&home.path().join("blobs")).unwrap()),
                formats: vec![
                    Arc::new(cofferdam_format_generic::Generic),
                    Arc::new(cofferdam_format_npm::Npm),
                ],
                upstreams: BTreeMap::new(),
                clock: Arc::new(TestClock::default()),
                public_url: "http://site.example".into(),
            });
            World { _home: home, registry }
        })
        .collect()
}

const PERSON: Commit<'static> = Commit { actor: "person:dana", cause: Cause::Publish };
const TRANSFER: Commit<'static> = Commit { actor: "person:omar", cause: Cause::Transfer("outside+inside/1") };

impl World {
    async fn repository(
        &self,
        name: &str,
        format: &str,
        kind: RepositoryKind,
        members: &[&str],
    ) -> Result<RepositoryRow> {
        let members: Vec<_> = members.iter().map(|m| m.parse().unwrap()).collect();
        let mut tx = self.registry.db().write().await?;
        let row =
            self.registry.create(&mut tx, "system", &name.parse().unwrap(), format, kind, &members).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// A release of a generic repository: one file in a folder.
    async fn draft(&self, folder: &str, file: &str, text: &str) -> Draft {
        let digests = self.registry.door().put_bytes(text.to_owned().into()).await.unwrap();
        Draft {
            package: folder.into(),
            display: folder.into(),
            version: file.into(),
            meta: json!({}),
            files: vec![DraftFile {
                path: format!("{folder}/{file}"),
                role: "file".into(),
                digests,
                meta: json!({}),
            }],
            pointers: Vec::new(),
            published: None,
            yanked: None,
        }
    }

    /// A release of an npm repository.
    async fn npm(&self, name: &str, version: &str, pointers: &[&str]) -> Draft {
        let digests = self.registry.door().put_bytes(format!("{name} {version}").into()).await.unwrap();
        Draft {
            package: name.into(),
            display: name.into(),
            version: version.into(),
            meta: json!({ "name": name, "version": version, "dist": { "shasum": digests.sha1 } }),
            files: vec![DraftFile {
                path: format!("{name}/-/{name}-{version}.tgz"),
                role: "tarball".into(),
                digests,
                meta: json!({}),
            }],
            pointers: pointers.iter().map(|p| (*p).to_owned()).collect(),
            published: None,
            yanked: None,
        }
    }

    async fn get(
        &self,
        repository: &RepositoryRow,
        path: &str,
        session: Session,
    ) -> Result<(StatusCode, String)> {
        let request = Request {
            method: Method::GET,
            path: path.into(),
            query: Query::default(),
            raw_query: String::new(),
            headers: HeaderMap::new(),
            base: format!("http://site.example/r/{}", repository.name),
            body: bytes::Bytes::new(),
        };
        let format = self.registry.format(&repository.format)?.clone();
        let route = format.route(&request).ok_or_else(|| Error::not_found("no route"))?;
        let answer = self.registry.answer(repository, &request, &route, session).await?;
        let text = match answer.body {
            Body::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Body::Blob { sha256, .. } => sha256.to_string(),
            Body::Document(document) => {
                use std::io::Read as _;
                let gzip = self.registry.document_gzip(repository, &document).await?;
                let mut text = String::new();
                flate2::read::GzDecoder::new(&gzip[..]).read_to_string(&mut text).unwrap();
                text
            }
            Body::Empty => String::new(),
        };
        Ok((answer.status, text))
    }

    async fn versions(&self, repository: &RepositoryRow, package: &str) -> Vec<String> {
        let view = self.registry.view(repository).await.unwrap();
        let package = view.package(package).await.unwrap();
        package.map(|p| p.releases.into_iter().map(|r| r.version).collect()).unwrap_or_default()
    }
}

fn kind(result: Result<impl std::fmt::Debug>) -> (ErrorKind, &'static str) {
    let error = result.unwrap_err();
    (error.kind(), error.code())
}

#[tokio::test]
async fn what_was_published_never_changes() {
    for world in worlds().await {
        let files = world.repository("files", "generic", RepositoryKind::Hosted, &[]).await.unwrap();
        let one = [Change::Release(world.draft("tools", "a.bin", "one").await)];
        let first = world.registry.commit(&files, &one, PERSON).await.unwrap();
        assert_eq!((first.generation, first.files), (Some(1), 1));
        let again = world.registry.commit(&files, &one, PERSON).await.unwrap();
        assert_eq!((again.generation, again.root), (None, first.root), "the same bytes are no change");
        let other = [Change::Release(world.draft("tools", "a.bin", "two").await)];
        assert_eq!(
            kind(world.registry.commit(&files, &other, PERSON).await),
            (ErrorKind::Conflict, "immutable")
        );

        let gone = [Change::Withdraw { package: "tools".into(), version: "a.bin".into() }];
        let second = world.registry.commit(&files, &gone, PERSON).await.unwrap();
        assert_eq!(second.generation, Some(2));
        assert_ne!(second.root, first.root);
        assert_eq!(world.versions(&files, "tools").await, Vec::<String>::new());
        assert_eq!(
            kind(world.registry.commit(&files, &other, PERSON).await),
            (ErrorKind::Conflict, "immutable"),
            "not even after it was withdrawn"
        );
        let mut tx = world.registry.db().read().await.unwrap();
        let log = tx.audit().by_target("repository:files", 10).await.unwrap();
        let actions: Vec<_> = log.iter().map(|e| e.action.as_str()).collect();
        assert_eq!(
            actions,
            ["repository.create", "repository.commit", "repository.commit"],
            "refusals leave nothing"
        );
        assert_eq!(tx.registry().repository("files").await.unwrap().unwrap().generation, 2);
    }
}

#[tokio::test]
async fn a_held_file_gains_a_proof_once_and_never_loses_or_changes_it() {
    for world in worlds().await {
        let mirror = world.repository("npm-mirror", "npm", RepositoryKind::Mirror, &[]).await.unwrap();
        let with = |draft: &Draft, meta: serde_json::Value| {
            let mut draft = draft.clone();
            draft.files[0].meta = meta;
            [Change::Release(draft)]
        };
        let shown = async || {
            let view = world.registry.view(&mirror).await.unwrap();
            view.file("boat/-/boat-1.0.0.tgz").await.unwrap().unwrap()
        };
        let draft = world.npm("boat", "1.0.0", &[]).await;
        let bare = with(&draft, json!({ "kept": 1 }));
        let first = world.registry.commit(&mirror, &bare, TRANSFER).await.unwrap();
        let before = shown().await;

        let proved = with(&draft, json!({ "kept": 2, "other": 3, "proofs": [{ "sig": "a" }] }));
        let second = world.registry.commit(&mirror, &proved, TRANSFER).await.unwrap();
        assert_eq!(
            (second.generation, first.generation),
            (Some(2), Some(1)),
            "a proof that is new is a change"
        );
        let after = shown().await;
        assert_eq!(
            after.meta,
            json!({ "kept": 1, "proofs": [{ "sig": "a" }] }),
            "nothing but the proofs is taken"
        );
        assert_eq!((after.sha256, after.added), (before.sha256, before.added));

        let other = with(&draft, json!({ "kept": 1, "proofs": [{ "sig": "b" }] }));
        let none = with(&draft, json!({ "kept": 1, "proofs": [] }));
        for changes in [bare, proved, other, none] {
            let again = world.registry.commit(&mirror, &changes, TRANSFER).await.unwrap();
            assert_eq!((again.generation, shown().await.meta), (None, after.meta.clone()));
        }
        let mut forged = draft.clone();
        forged.files[0].digests = world.registry.door().put_bytes("other bytes".into()).await.unwrap();
        let forged = with(&forged, json!({ "proofs": [{ "sig": "a" }] }));
        let refused = world.registry.commit(&mirror, &forged, TRANSFER).await;
        assert_eq!(kind(refused), (ErrorKind::Conflict, "immutable"));

        // Twice in one commit, and where there is no metadata at all.
        let two = world.npm("boat", "2.0.0", &[]).await;
        let [null, proved] =
            [json!(null), json!({ "proofs": [{ "sig": "c" }] })].map(|meta| with(&two, meta));
        world.registry.commit(&mirror, &null, TRANSFER).await.unwrap();
        let twice = [proved.clone(), proved].concat();
        assert_eq!(world.registry.commit(&mirror, &twice, TRANSFER).await.unwrap().generation, Some(4));
        let view = world.registry.view(&mirror).await.unwrap();
        let file = view.file("boat/-/boat-2.0.0.tgz").await.unwrap().unwrap();
        assert_eq!(file.meta, json!({ "proofs": [{ "sig": "c" }] }));
        let package = view.package("boat").await.unwrap().unwrap();
        assert_eq!(package.releases.iter().map(|r| r.files.len()).collect::<Vec<_>>(), [1, 1]);
    }
}

#[tokio::test]
async fn a_refused_change_takes_the_whole_commit_with_it() {
    for world in worlds().await {
        let files = world.repository("files", "generic", RepositoryKind::Hosted, &[]).await.unwrap();
        let good = world.draft("tools", "a.bin", "one").await;
        let mut bad = world.draft("tools", "b.bin", "two").await;
        bad.files[0].path = "tools/../../etc/passwd".into();
        let both = [Change::Release(good), Change::Release(bad)];
        assert_eq!(kind(world.registry.commit(&files, &both, PERSON).await).0, ErrorKind::Invalid);
        assert_eq!(world.versions(&files, "tools").await, Vec::<String>::new());
        let yank = [Change::Yank { package: "none".into(), version: "1".into(), reason: String::new() }];
        assert_eq!(kind(world.registry.commit(&files, &yank, PERSON).await).0, ErrorKind::NotFound);
        let mut renamed = world.draft("tools", "c.bin", "three").await;
        renamed.package = "Other".into();
        let refused = world.registry.commit(&files, &[Change::Release(renamed)], PERSON).await;
        assert_eq!(
            kind(refused),
            (ErrorKind::Invalid, "package-key"),
            "a format's slip does not pass the gate"
        );
        assert_eq!(
            world
                .registry
                .repository(&mut world.registry.db().read().await.unwrap(), "files")
                .await
                .unwrap()
                .generation,
            0
        );
    }
}

#[tokio::test]
async fn each_kind_of_repository_takes_changes_from_its_own_door_only() {
    for world in worlds().await {
        let hosted = world.repository("ours", "generic", RepositoryKind::Hosted, &[]).await.unwrap();
        let mirror = world.repository("theirs", "generic", RepositoryKind::Mirror, &[]).await.unwrap();
        let group =
            world.repository("all", "generic", RepositoryKind::Group, &["ours", "theirs"]).await.unwrap();
        let change = [Change::Release(world.draft("x", "1", "one").await)];
        let record = Commit { actor: "recording:1", cause: Cause::Record };
        for (place, commit, allowed) in [
            (&hosted, PERSON, true),
            (&hosted, record, false),
            (&hosted, TRANSFER, true),
            (&mirror, PERSON, false),
            (&mirror, record, true),
            (&mirror, TRANSFER, true),
            (&group, PERSON, false),
            (&group, TRANSFER, false),
        ] {
            let done = world.registry.commit(place, &change, commit).await;
            assert_eq!(done.is_ok(), allowed, "{} {:?}", place.name, commit.cause);
            if !allowed {
                assert_eq!(kind(done), (ErrorKind::PolicyRefused, "repository-kind"));
            }
        }
        let group_of_group = world.repository("nested", "generic", RepositoryKind::Group, &["all"]).await;
        assert_eq!(kind(group_of_group).0, ErrorKind::Invalid);
        let other_format = world.repository("mixed", "npm", RepositoryKind::Group, &["ours"]).await;
        assert_eq!(kind(other_format).0, ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_name_of_ours_hides_the_same_name_of_every_mirror() {
    for world in worlds().await {
        let ours = world.repository("ours", "npm", RepositoryKind::Hosted, &[]).await.unwrap();
        let theirs = world.repository("theirs", "npm", RepositoryKind::Mirror, &[]).await.unwrap();
        let all = world.repository("all", "npm", RepositoryKind::Group, &["theirs", "ours"]).await.unwrap();
        let evil = [Change::Release(world.npm("internal-lib", "99.0.0", &["latest"]).await)];
        let fine = [Change::Release(world.npm("left-pad", "1.3.0", &["latest"]).await)];
        world.registry.commit(&theirs, &evil, TRANSFER).await.unwrap();
        world.registry.commit(&theirs, &fine, TRANSFER).await.unwrap();
        assert_eq!(world.versions(&all, "internal-lib").await, ["99.0.0"], "nobody has claimed the name yet");

        let own = [Change::Release(world.npm("internal-lib", "1.0.0", &["latest"]).await)];
        world.registry.commit(&ours, &own, PERSON).await.unwrap();
        assert_eq!(world.versions(&all, "internal-lib").await, ["1.0.0"], "whatever the mirror's number");
        let (status, text) = world.get(&all, "/internal-lib", Session::None).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("1.0.0") && !text.contains("99.0.0"), "the rendered document agrees: {text}");
        let tarball = world.get(&all, "/internal-lib/-/internal-lib-99.0.0.tgz", Session::None).await;
        assert_eq!(kind(tarball).0, ErrorKind::NotFound, "nor can it be fetched by its path");
        assert_eq!(world.versions(&all, "left-pad").await, ["1.3.0"], "other names come through");
    }
}

#[tokio::test]
async fn a_session_is_noted_with_every_digest_it_was_given() {
    for world in worlds().await {
        let mirror = world.repository("theirs", "npm", RepositoryKind::Mirror, &[]).await.unwrap();
        let all = world.repository("all", "npm", RepositoryKind::Group, &["theirs"]).await.unwrap();
        let release = world.npm("left-pad", "1.3.0", &[]).await;
        let sha256 = release.files[0].digests.sha256;
        world.registry.commit(&mirror, &[Change::Release(release)], TRANSFER).await.unwrap();
        let job = Session::Job(JobId(5));
        for _ in 0..2 {
            world.get(&all, "/left-pad/-/left-pad-1.3.0.tgz", job).await.unwrap();
        }
        assert!(world.get(&all, "/nothing/-/nothing-1.0.0.tgz", job).await.is_err());
        world.get(&all, "/left-pad/-/left-pad-1.3.0.tgz", Session::None).await.unwrap();
        let mut tx = world.registry.db().read().await.unwrap();
        let served = tx.served().list("job", 5).await.unwrap();
        let seen: Vec<_> =
            served.iter().map(|s| (s.repository.as_str(), s.outcome.as_str(), s.times, s.sha256)).collect();
        assert_eq!(seen, [("all", "missing", 1, None), ("theirs", "served", 2, Some(sha256))]);
        assert_eq!(served[1].purl, "pkg:npm/left-pad@1.3.0");
    }
}

#[tokio::test]
async fn a_mirror_refuses_a_client_before_it_reads_the_body() {
    for world in worlds().await {
        let mirror = world.repository("theirs", "generic", RepositoryKind::Mirror, &[]).await.unwrap();
        let request = Request {
            method: Method::PUT,
            path: "/tools/a.bin".into(),
            query: Query::default(),
            raw_query: String::new(),
            headers: HeaderMap::new(),
            base: String::new(),
            body: bytes::Bytes::new(),
        };
        let format = world.registry.format("generic").unwrap().clone();
        let route = format.route(&request).unwrap();
        let body = futures::stream::once(async { Ok(bytes::Bytes::from_static(b"x")) }).boxed();
        let refused = world.registry.publish(&mirror, Upload { request, route, body }, "person:dana").await;
        assert!(matches!(kind(refused).0, ErrorKind::PolicyRefused | ErrorKind::Forbidden));
        let digest = cofferdam_types::Sha256::of(b"x");
        assert_eq!(kind(world.registry.door().digests(&digest).await).0, ErrorKind::NotFound);
    }
}
