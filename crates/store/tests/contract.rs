//! The same stories on SQLite and on PostgreSQL.

use std::time::Duration;

use cofferdam_store::{Db, MediumRow, NewDocument, NewFile, NewRelease, NewTask, NewWant, Wanted};
use cofferdam_testkit::TestClock;
use cofferdam_types::{Clock as _, Digests, ErrorKind, Sha256, Timestamp, TransferId};

/// A body that runs on both databases; PostgreSQL is skipped by name where there is none.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let home = tempfile::tempdir().unwrap();
                super::$name(super::Db::open_sqlite(&home.path().join("site.db")).await.unwrap()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(url) = cofferdam_testkit::postgres() {
                    super::$name(super::Db::open_postgres(&url).await.unwrap()).await;
                }
            })*
        }
    };
}

on_both! {
    every_statement_is_understood
    a_dropped_transaction_leaves_nothing
    a_task_is_done_once_and_survives_its_worker
    tasks_with_one_key_become_one
    what_a_repository_shows_is_what_its_rows_say
    two_writers_get_two_generations
    a_reader_sees_one_state
    a_want_moves_with_its_transfer_and_a_medium_is_found_by_it
}

async fn every_statement_is_understood(db: Db) {
    let statements = cofferdam_store::statements();
    assert!(statements.len() > 40, "the list is complete");
    for (name, sql) in statements {
        let mut tx = db.write().await.unwrap();
        let understood = tx.prepare(sql).await;
        assert!(understood.is_ok(), "{name}: {understood:?}");
    }
}

async fn a_dropped_transaction_leaves_nothing(db: Db) {
    let mut tx = db.write().await.unwrap();
    tx.settings().put("site", "inside").await.unwrap();
    drop(tx);
    assert_eq!(db.read().await.unwrap().settings().get("site").await.unwrap(), None);
    let mut tx = db.write().await.unwrap();
    tx.settings().put("site", "inside").await.unwrap();
    tx.settings().put("site", "outside").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(db.read().await.unwrap().settings().get("site").await.unwrap().as_deref(), Some("outside"));
}

fn task(kind: &'static str, key: Option<&'static str>, clock: &TestClock) -> NewTask<'static> {
    NewTask { kind, unique_key: key, run_after: clock.now(), max_attempts: 2 }
}

async fn a_task_is_done_once_and_survives_its_worker(db: Db) {
    let clock = TestClock::default();
    let lease = Duration::from_secs(60);
    let mut tx = db.write().await.unwrap();
    tx.tasks().enqueue(task("render", None, &clock), &"pypi", clock.now()).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.write().await.unwrap();
    let first = tx.tasks().lease("worker a", lease, clock.now()).await.unwrap().unwrap();
    assert_eq!(first.payload::<String>().unwrap(), "pypi");
    assert!(tx.tasks().lease("worker b", lease, clock.now()).await.unwrap().is_none(), "it is held");
    tx.commit().await.unwrap();

    clock.advance(lease * 2);
    let mut tx = db.write().await.unwrap();
    let second = tx.tasks().lease("worker b", lease, clock.now()).await.unwrap().unwrap();
    assert_eq!((second.id, second.attempts), (first.id, 2));
    assert!(!tx.tasks().done(first.id, "worker a", clock.now()).await.unwrap(), "worker a lost it");
    tx.tasks().fail(&second, "worker b", "no luck", clock.now(), clock.now()).await.unwrap();
    assert!(tx.tasks().lease("worker b", lease, clock.now()).await.unwrap().is_none(), "tries are used up");
    let list = tx.tasks().list(0, 10).await.unwrap();
    assert_eq!((list[0].1.as_str(), list[0].2.as_deref()), ("failed", Some("no luck")));
}

async fn tasks_with_one_key_become_one(db: Db) {
    let clock = TestClock::default();
    let mut tx = db.write().await.unwrap();
    for _ in 0..3 {
        tx.tasks().enqueue(task("scan", Some("7"), &clock), &7, clock.now()).await.unwrap();
    }
    assert!(tx.tasks().lease("w", Duration::from_secs(1), clock.now()).await.unwrap().is_some());
    assert!(tx.tasks().lease("w", Duration::from_secs(1), clock.now()).await.unwrap().is_none());
}

fn digests(text: &str) -> Digests {
    Digests {
        sha256: Sha256::of(text.as_bytes()),
        size: text.len() as u64,
        sha512: "5".repeat(128),
        sha1: "1".repeat(40),
        md5: "d".repeat(32),
        blake2b_256: "b".repeat(64),
    }
}

async fn what_a_repository_shows_is_what_its_rows_say(db: Db) {
    let clock = TestClock::default();
    let now = clock.now();
    let mut tx = db.write().await.unwrap();
    let mut rows = tx.registry();
    let id = rows.create("pypi", "pypi", "mirror", Sha256::of(b""), now).await.unwrap();
    let package_id = rows.put_package(id, "flask", "Flask").await.unwrap();
    assert_eq!(rows.put_package(id, "flask", "FLASK").await.unwrap(), package_id);
    rows.put_blob(&digests("wheel"), now).await.unwrap();
    rows.put_blob(&digests("wheel"), now).await.unwrap();
    let meta = serde_json::json!({"requires": ">=3"});
    let (generation, root) = rows.next_generation(id).await.unwrap();
    assert_eq!((generation, root), (1, Sha256::of(b"")));
    let release = NewRelease {
        package_id,
        version: "3.0",
        state: "admitted",
        yank_reason: "",
        meta: &meta,
        published: now,
        purl: "pkg:pypi/flask@3.0",
    };
    rows.insert_release(id, &release, generation).await.unwrap();
    let file = NewFile {
        package_id,
        version: "3.0",
        path: "files/flask/flask-3.0.whl",
        role: "wheel",
        sha256: Sha256::of(b"wheel"),
        meta: &meta,
        at: now,
    };
    rows.insert_file(id, &file, generation).await.unwrap();
    rows.set_pointer(id, package_id, "latest", Some("2.0"), generation).await.unwrap();
    rows.set_pointer(id, package_id, "latest", Some("3.0"), generation).await.unwrap();
    let document = NewDocument {
        path: "simple/flask/index.json",
        package: "flask",
        media_type: "application/json",
        sha256: Sha256::of(b"{}"),
        size: 2,
        gzip: vec![31, 139, 0],
    };
    rows.put_document(id, document, generation).await.unwrap();
    assert_eq!(rows.counts(id).await.unwrap(), [1, 1, 1, 5]);
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    let mut rows = tx.registry();
    let found = rows.file(id, "files/flask/flask-3.0.whl").await.unwrap().unwrap();
    assert_eq!((found.package.as_str(), found.version.as_str(), found.digests.size), ("flask", "3.0", 5));
    assert_eq!(found.meta, meta);
    assert_eq!(rows.pointers(package_id).await.unwrap(), [("latest".to_owned(), "3.0".to_owned())]);
    assert_eq!(rows.search(id, "LAS", 5).await.unwrap().len(), 1);
    assert_eq!(rows.search(id, "l_s", 5).await.unwrap().len(), 0, "a pattern of the user is plain text");
    let gzip = rows.document_gzip(id, "simple/flask/index.json", &Sha256::of(b"{}")).await.unwrap();
    assert_eq!(gzip, Some(vec![31, 139, 0]));
    drop(tx);

    let mut tx = db.write().await.unwrap();
    let mut rows = tx.registry();
    let (generation, _) = rows.next_generation(id).await.unwrap();
    assert!(rows.remove_release(package_id, "3.0", generation, true).await.unwrap());
    assert!(rows.file(id, "files/flask/flask-3.0.whl").await.unwrap().is_none());
    assert!(rows.packages(id, "", 10).await.unwrap().is_empty());
    assert!(rows.release_ever(package_id, "3.0").await.unwrap());
    let other = Sha256::of(b"other");
    assert!(rows.path_had_other_bytes(id, "files/flask/flask-3.0.whl", &other).await.unwrap());
    let again = rows.create("pypi", "pypi", "mirror", Sha256::of(b""), now).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

async fn two_writers_get_two_generations(db: Db) {
    let mut tx = db.write().await.unwrap();
    let id = tx
        .registry()
        .create("a", "generic", "hosted", Sha256::of(b""), TestClock::default().now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let bump = |db: Db| async move {
        let mut tx = db.write().await.unwrap();
        let (n, _) = tx.registry().next_generation(id).await.unwrap();
        tx.commit().await.unwrap();
        n
    };
    let (a, b, c) = tokio::join!(bump(db.clone()), bump(db.clone()), bump(db.clone()));
    let mut all = [a, b, c];
    all.sort_unstable();
    assert_eq!(all, [1, 2, 3]);
}

async fn a_reader_sees_one_state(db: Db) {
    let mut reader = db.read().await.unwrap();
    assert_eq!(reader.settings().get("x").await.unwrap(), None);
    let mut tx = db.write().await.unwrap();
    tx.settings().put("x", "1").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(reader.settings().get("x").await.unwrap(), None, "the reader's state is from before");
    drop(reader);
    assert_eq!(db.read().await.unwrap().settings().get("x").await.unwrap().as_deref(), Some("1"));
}

async fn a_want_moves_with_its_transfer_and_a_medium_is_found_by_it(db: Db) {
    let (now, first, second) = (Timestamp(1), TransferId(1), TransferId(2));
    let mut tx = db.write().await.unwrap();
    let want = |site, version| {
        let (format, package, note, actor) = ("generic", "maps", "", "test");
        NewWant { site, format, package, version, asked: 1, note, actor }
    };
    for (site, version) in [("inside", ""), ("inside", "2"), ("depot", "1")] {
        tx.carry().want(want(site, version), now).await.unwrap();
    }
    let release = Wanted { format: "generic", package: "maps", version: "1" };
    assert_eq!(tx.carry().pack_wants("inside", release, first).await.unwrap(), 1, "of one site and version");
    assert_eq!(tx.carry().pack_wants("inside", release, second).await.unwrap(), 1);
    assert_eq!(tx.carry().reopen_wants("inside", first).await.unwrap(), 0, "the second has it, too");
    assert_eq!(tx.carry().arrived_wants("depot", second).await.unwrap(), 0, "it was for another site");
    let packed = tx.carry().newest_wants(i64::MAX, "packed", "inside", 9).await.unwrap();
    assert_eq!((packed.len(), packed[0].transfer), (1, Some(second)));
    assert_eq!(tx.carry().arrived_wants("inside", second).await.unwrap(), 1);
    assert_eq!(tx.carry().pack_wants("inside", release, first).await.unwrap(), 0, "it is there");
    tx.carry().want(want("inside", ""), now).await.unwrap();
    let open = tx.carry().newest_wants(i64::MAX, "open", "", 9).await.unwrap();
    assert_eq!((open.len(), open[2].transfer, open[2].asked), (3, None, 2));

    for (serial, transfer, state) in
        [("a", first, "written"), ("b", second, "lost"), ("c", second, "written")]
    {
        let [label, files, holder, actor] = [(); 4].map(|()| String::new());
        let (serial, state) = (serial.into(), state.into());
        let row = MediumRow { serial, transfer, label, files, holder, state, at: now, actor };
        tx.carry().put_medium(&row).await.unwrap();
    }
    let mut found = Vec::new();
    for (after, state, transfer) in [("", "", None), ("a", "written", None), ("", "", Some(second))] {
        let page = tx.carry().media_page(after, state, transfer, 9).await.unwrap();
        found.push(page.into_iter().map(|m| m.serial).collect::<String>());
    }
    assert_eq!(found, ["abc", "c", "bc"]);
}
