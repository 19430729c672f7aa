//! What a site writes down about crossings, and what it makes of it when it is told twice, late or very often.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use cofferdam_access::Access;
use cofferdam_blobs::LocalBlobs;
use cofferdam_crossing::{Crossing, CrossingParts, Projects};
use cofferdam_format_kit::joined::UpstreamKeys;
use cofferdam_git::{GitBinary, GitService};
use cofferdam_registry::{Registry, RegistryParts};
use cofferdam_store::{NewWant, TransferItemRow, TransferRow, Tx, WantRow};
use cofferdam_testkit::TestClock;
use cofferdam_transfer::receipt::{Want, Wants};
use cofferdam_trust::{SigningKey, age::SealingKey};
use cofferdam_types::{Clock, Error, ProjectId, Result, Sha256, TransferId};
use serde_json::{Value, json};

/// Projects that are there, by path.
struct Known(HashMap<String, ProjectId>);

#[async_trait]
impl Projects for Known {
    async fn find(&self, _: &mut Tx, path: &str) -> Result<Option<ProjectId>> {
        Ok(self.0.get(path).copied())
    }

    async fn create(&self, _: &mut Tx, path: &str, _: &str) -> Result<ProjectId> {
        Err(Error::not_found(format!("no test makes a project, and `{path}` is not there")))
    }
}

struct World {
    crossing: Crossing,
    registry: Registry,
    git: Arc<dyn GitService>,
    clock: TestClock,
    home: tempfile::TempDir,
}

impl World {
    /// A site with empty projects of these paths. `None`, with the reason printed, where there is no git.
    async fn new(projects: &[&str]) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let git: Arc<dyn GitService> = match GitBinary::open(&home.path().join("git")).await {
            Ok(git) => Arc::new(git),
            Err(error) => {
                println!("skipped: git: {error}");
                return None;
            }
        };
        let mut known = HashMap::new();
        for (n, path) in (1..).zip(projects) {
            git.init(ProjectId(n), "main").await.unwrap();
            known.insert((*path).to_owned(), ProjectId(n));
        }
        let db = cofferdam_store::Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
        let test_clock = TestClock::default();
        let clock: Arc<dyn Clock> = Arc::new(test_clock.clone());
        let registry = Registry::new(RegistryParts {
            db: db.clone(),
            blobs: Arc::new(LocalBlobs::open(&home.path().join("blobs")).unwrap()),
            formats: vec![Arc::new(cofferdam_format_generic::Generic)],
            upstreams: BTreeMap::new(),
            clock: clock.clone(),
            public_url: "http://site.example".into(),
        });
        let crossing = Crossing::new(CrossingParts {
            site: "outside".parse().unwrap(),
            registry: registry.clone(),
            access: Access::new(db, clock),
            git: git.clone(),
            projects: Arc::new(Known(known)),
            key: Arc::new(SigningKey::from_seed(&[9; 32]).unwrap()),
            sealing: SealingKey::from_secret(&[7; 32]).unwrap(),
            staging: home.path().join("staging"),
            ledger: home.path().join("ledger"),
            receipt_level: 1,
            tool: "test".into(),
            upstream_keys: UpstreamKeys::default(),
        });
        Some(Self { crossing, registry, git, clock: test_clock, home })
    }

    async fn write(&self) -> Tx {
        self.registry.db().write().await.unwrap()
    }

    /// A transfer that was published here, with these items.
    async fn published(&self, items: &[TransferItemRow]) {
        let now = self.clock.now();
        let row = TransferRow {
            id: TransferId(0),
            direction: "received".into(),
            stream: "depot+outside".into(),
            source: "depot".into(),
            epoch: 1,
            seq: 1,
            header_sha256: Sha256::of(b"a header"),
            digest: Sha256::of(b"a digest"),
            state: "published".into(),
            bytes: 1000,
            blobs: 2,
            created: now,
            at: now,
            actor: "person:olga".into(),
            published: Some(now),
            suite: "sealed-1".into(),
            folder: String::new(),
            outcome: "published".into(),
        };
        let mut tx = self.write().await;
        let id = tx.crossing().insert_transfer(&row).await.unwrap();
        tx.crossing().insert_items(id, items).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A history of one commit as a blob: its references and its bundle's digest, as a transfer carries them.
    async fn history(&self) -> Value {
        let folder = self.home.path().join("source");
        std::fs::create_dir_all(&folder).unwrap();
        git(&folder, &["init", "--quiet", "--initial-branch=main"]);
        git(&folder, &["commit", "--quiet", "--allow-empty", "--message=first"]);
        git(&folder, &["bundle", "create", "--quiet", "all.bundle", "main"]);
        let bytes = std::fs::read(folder.join("all.bundle")).unwrap();
        let body = Box::pin(futures::stream::iter([Ok(bytes.into())]));
        let bundle = self.registry.blobs().put(body, 1 << 20).await.unwrap().sha256;
        json!({ "refs": { "refs/heads/main": git(&folder, &["rev-parse", "main"]) }, "bundle": bundle })
    }

    async fn only_want(&self) -> WantRow {
        let wants = self.crossing.wants().await.unwrap();
        assert_eq!(wants.len(), 1, "{wants:?}");
        wants.into_iter().next().unwrap()
    }
}

/// git with a home of its own.
fn git(folder: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .args(["-c", "user.name=Alice", "-c", "user.email=alice@site.example"])
        .args(args)
        .current_dir(folder)
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn history_of(n: u64, project: &str, value: &Value, verdict: &str) -> TransferItemRow {
    let [format, package, version, purl] = [(); 4].map(|()| String::new());
    let (kind, repository) = ("git".into(), project.to_owned());
    let (value, verdict) = (value.clone().into(), verdict.to_owned());
    TransferItemRow { n, kind, repository, format, package, version, purl, size: 10, value, verdict }
}

#[tokio::test]
async fn a_history_that_was_refused_stays_out_when_the_site_starts_again() {
    let Some(world) = World::new(&["team/sound", "team/refused"]).await else { return };
    let history = world.history().await;
    let taken_out = "at the door: berth.bundle was changed";
    let items =
        [history_of(0, "team/refused", &history, taken_out), history_of(1, "team/sound", &history, "ok")];
    world.published(&items).await;
    world.crossing.resume().await.unwrap();
    let shown = world.git.list_refs(ProjectId(1)).await.unwrap();
    assert_eq!(shown.len(), 1, "what a crash left out is made good: {shown:?}");
    let hidden = world.git.list_refs(ProjectId(2)).await.unwrap();
    assert!(hidden.is_empty(), "nobody was to see this: {hidden:?}");
}

#[tokio::test]
async fn a_long_list_of_wants_is_told_to_its_end() {
    const MANY: usize = 10_001;
    let Some(world) = World::new(&[]).await else { return };
    let mut tx = world.write().await;
    for n in 0..MANY {
        let package = &format!("part-{n}");
        let (format, version, note, actor) = ("generic", "", "", "clients");
        let want = NewWant { site: "outside", format, package, version, asked: 1, note, actor };
        tx.carry().want(want, world.clock.now()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let wants = world.crossing.wants().await.unwrap();
    assert_eq!((wants.len(), wants.last().unwrap().package.as_str()), (MANY, "part-10000"));
    assert!(wants.windows(2).all(|pair| pair[0].id < pair[1].id), "oldest first, none twice");
}

#[tokio::test]
async fn a_request_that_is_taken_twice_or_late_asks_for_nothing_again() {
    let Some(world) = World::new(&[]).await else { return };
    let key = SigningKey::from_seed(&[20; 32]).unwrap();
    world.crossing.trust_key(&"depot".parse().unwrap(), &key.verifying_key(), "test").await.unwrap();
    let request = |asked| {
        let [format, package] = ["generic", "maps"].map(str::to_owned);
        let items = vec![Want { format, package, version: String::new(), asked, note: String::new() }];
        let wants = Wants { site: "depot".parse().unwrap(), at: world.clock.now(), items };
        String::from_utf8(wants.sign(&key).unwrap().to_json().unwrap()).unwrap()
    };
    let early = request(3);
    world.clock.advance(Duration::from_secs(3600));
    let first = request(5);
    world.clock.advance(Duration::from_secs(3600));
    world.crossing.take_wants(&first, "test").await.unwrap();
    assert_eq!(world.only_want().await.asked, 5);
    let mut tx = world.write().await;
    let id = tx.carry().wants(0, 1).await.unwrap()[0].id;
    tx.carry().move_wants(&[id], "filled", TransferId(1)).await.unwrap();
    tx.commit().await.unwrap();

    for again in [&first, &early] {
        world.crossing.take_wants(again, "test").await.unwrap();
        let want = world.only_want().await;
        let stands = (want.state.as_str(), want.transfer, want.asked);
        assert_eq!(stands, ("filled", Some(TransferId(1)), 5), "nobody asked since");
    }

    world.clock.advance(Duration::from_secs(3600));
    world.crossing.take_wants(&request(6), "test").await.unwrap();
    let want = world.only_want().await;
    assert_eq!((want.state.as_str(), want.transfer, want.asked), ("open", None, 6), "it is missed again");
}
