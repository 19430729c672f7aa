//! Thousands of items in one switch: while it runs, readers see nothing of it, and afterwards all of it.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use cofferdam_blobs::{LocalBlobs, MultiHasher};
use cofferdam_format_kit::{Body, Change, Draft, DraftFile, Query, RepositoryKind, Request};
use cofferdam_registry::{Cause, Commit, Pages, Registry, RegistryParts, Session};
use cofferdam_store::{Db, RepositoryRow, Tx};
use cofferdam_testkit::TestClock;
use cofferdam_types::{Error, ErrorKind, Result, Sha256};
use http::{HeaderMap, Method};
use serde_json::json;
use tokio::sync::Barrier;

const FILES: usize = 3000;
const FOLDER: usize = 300;
const PACKAGES: usize = 1500;
const READERS: usize = 4;
const TRANSFER: Commit<'static> = Commit { actor: "person:omar", cause: Cause::Transfer("outside+inside/1") };

/// Changes in pages of a size that no chunk below has.
struct Made(Vec<Change>);

#[async_trait]
impl Pages for Made {
    async fn next(&mut self, _tx: &mut Tx) -> Result<Vec<Change>> {
        let rest = self.0.split_off(self.0.len().min(700));
        Ok(std::mem::replace(&mut self.0, rest))
    }
}

struct World {
    _home: tempfile::TempDir,
    registry: Registry,
}

impl World {
    fn new(home: tempfile::TempDir, db: Db) -> Self {
        let registry = Registry::new(RegistryParts {
            db,
            blobs: Arc::new(LocalBlobs::open(&home.path().join("blobs")).unwrap()),
            formats: vec![Arc::new(cofferdam_format_generic::Generic), Arc::new(cofferdam_format_npm::Npm)],
            upstreams: BTreeMap::new(),
            clock: Arc::new(TestClock::default()),
            public_url: "http://site.example".into(),
        });
        Self { _home: home, registry }
    }

    /// A mirror, and a group that shows it.
    async fn mirror(&self, format: &str) -> (RepositoryRow, RepositoryRow) {
        let name = format!("{format}-mirror").parse().unwrap();
        let mut tx = self.registry.db().write().await.unwrap();
        let kind = RepositoryKind::Mirror;
        let mirror = self.registry.create(&mut tx, "test", &name, format, kind, &[]).await.unwrap();
        let group = format.parse().unwrap();
        let kind = RepositoryKind::Group;
        let group = self.registry.create(&mut tx, "test", &group, format, kind, &[name]).await.unwrap();
        tx.commit().await.unwrap();
        (mirror, group)
    }
}

/// What a client gets: how many of the things it asked for are there.
async fn get(registry: &Registry, repository: &RepositoryRow, path: &str) -> Result<usize> {
    let request = Request {
        method: Method::GET,
        path: path.into(),
        query: Query::default(),
        raw_query: String::new(),
        headers: HeaderMap::new(),
        base: format!("http://site.example/r/{}", repository.name),
        body: bytes::Bytes::new(),
    };
    let format = registry.format(&repository.format)?.clone();
    let route = format.route(&request).unwrap();
    match registry.answer(repository, &request, &route, Session::None).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
        Ok(answer) => match answer.body {
            Body::Bytes(bytes) => {
                let listing: serde_json::Value =
                    serde_json::from_slice(&bytes).map_err(|e| Error::internal("a listing", e))?;
                Ok(listing["files"].as_array().unwrap().len())
            }
            Body::Document(document) => {
                registry.document_gzip(repository, &document).await?;
                Ok(1)
            }
            Body::Blob { .. } => Ok(1),
            Body::Empty => Ok(0),
        },
    }
}

/// Reads until everything is there; how often it saw nothing.
async fn reader(registry: Registry, seed: usize, places: [RepositoryRow; 4], begun: Arc<Barrier>) -> usize {
    let [files, all_files, npm, all_npm] = &places;
    let (mut whole, mut nothing) = (false, 0);
    for round in seed.. {
        // One moment: both repositories, or neither.
        let mut tx = registry.db().read().await.unwrap();
        let counts =
            [tx.registry().counts(files.id).await.unwrap(), tx.registry().counts(npm.id).await.unwrap()];
        drop(tx);
        let seen: Vec<u64> = counts.iter().map(|c| c[2]).collect();
        assert!(seen == [0, 0] || seen == [FILES as u64, PACKAGES as u64], "half of it: {counts:?}");
        assert!(!whole || seen[0] > 0, "what was there is gone");
        whole |= seen[0] > 0;

        // One request after the other: once something is there, everything is.
        let (folder, file) = (round * 7 % (FILES / FOLDER), round * 31 % FOLDER);
        let package = round * 13 % PACKAGES;
        for (place, path, count) in [
            (all_files, format!("/folder-{folder}/"), FOLDER),
            (files, format!("/folder-{folder}/file-{file}"), 1),
            (all_npm, format!("/package-{package}"), 1),
            (npm, format!("/package-{package}/-/package-{package}-1.0.0.tgz"), 1),
        ] {
            let found = get(&registry, place, &path).await.unwrap();
            assert!(found == 0 || found == count, "{path}: {found} of {count}");
            assert!(!whole || found == count, "{path}: others of the switch are there, and it is not");
            whole |= found == count;
        }
        if round == seed {
            begun.wait().await;
        }
        if whole {
            return nothing;
        }
        nothing += 1;
    }
    unreachable!("the rounds never end")
}

fn release(package: String, version: String, path: String, meta: serde_json::Value) -> Change {
    let mut hasher = MultiHasher::default();
    hasher.update(path.as_bytes());
    let digests = hasher.finish();
    let file = DraftFile { path, role: "file".into(), digests, meta: json!({}) };
    Change::Release(Draft {
        display: package.clone(),
        package,
        version,
        meta,
        files: vec![file],
        pointers: Vec::new(),
        published: None,
        yanked: None,
    })
}

fn files() -> Made {
    let one = |n: usize| {
        let (folder, name) = (format!("folder-{}", n / FOLDER), format!("file-{}", n % FOLDER));
        release(folder.clone(), name.clone(), format!("{folder}/{name}"), json!({}))
    };
    Made((0..FILES).map(one).collect())
}

fn packages() -> Made {
    let one = |n: usize| {
        let (name, version) = (format!("package-{n}"), "1.0.0");
        let meta = json!({ "name": name, "version": version, "dist": {} });
        let path = format!("{name}/-/{name}-{version}.tgz");
        match release(name, version.into(), path, meta) {
            Change::Release(draft) => Change::Release(Draft { pointers: vec!["latest".into()], ..draft }),
            other => other,
        }
    };
    Made((0..PACKAGES).map(one).collect())
}

async fn thousands_of_items_appear_at_once(world: World) {
    let (files_mirror, all_files) = world.mirror("generic").await;
    let (npm_mirror, all_npm) = world.mirror("npm").await;
    let begun = Arc::new(Barrier::new(READERS + 1));
    let readers: Vec<_> = (0..READERS)
        .map(|n| {
            let places = [files_mirror.clone(), all_files.clone(), npm_mirror.clone(), all_npm.clone()];
            tokio::spawn(reader(world.registry.clone(), n, places, Arc::clone(&begun)))
        })
        .collect();
    begun.wait().await;
    let mut tx = world.registry.db().write().await.unwrap();
    let done = world.registry.commit_pages_in(&mut tx, &files_mirror, &mut files(), TRANSFER).await.unwrap();
    assert_eq!((done.generation, done.files, done.packages.len()), (Some(1), FILES, FILES / FOLDER));
    let done = world.registry.commit_pages_in(&mut tx, &npm_mirror, &mut packages(), TRANSFER).await.unwrap();
    assert_eq!((done.generation, done.files, done.packages.len()), (Some(1), PACKAGES, PACKAGES));
    tx.commit().await.unwrap();
    for reader in readers {
        assert!(reader.await.unwrap() > 0, "it read before the switch, too");
    }
    the_root_is_that_of_all_its_changes(&world, &files_mirror).await;
}

/// However many rows the text of the changes takes: together they have the digest in the root.
async fn the_root_is_that_of_all_its_changes(world: &World, before: &RepositoryRow) {
    let mut tx = world.registry.db().read().await.unwrap();
    let (mut text, mut part) = (String::new(), 0);
    while let Some(more) = tx.registry().changes(before.id, 1, part).await.unwrap() {
        text += &more;
        part += 1;
    }
    assert!(part > 1, "{} bytes of changes are more than one row", text.len());
    let changes: Vec<Change> = serde_json::from_str(&text).unwrap();
    assert_eq!(changes, files().0);
    let root = Sha256::of(format!("{}\n{}\n", before.root, Sha256::of(text.as_bytes())).as_bytes());
    assert_eq!(tx.registry().repository(&before.name).await.unwrap().unwrap().root, root);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_items_appear_at_once_on_sqlite() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
    thousands_of_items_appear_at_once(World::new(home, db)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_items_appear_at_once_on_postgresql() {
    if let Some(url) = cofferdam_testkit::postgres() {
        let db = Db::open_postgres(&url).await.unwrap();
        thousands_of_items_appear_at_once(World::new(tempfile::tempdir().unwrap(), db)).await;
    }
}
