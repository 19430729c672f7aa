//! The same stories on SQLite and on PostgreSQL.

use std::time::Duration;

use cofferdam_store::{
    AuditEntryRow, Db, MediumRow, NewDocument, NewFile, NewRelease, NewTask, NewWant, ReceiptRow,
};
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
    what_is_written_behind_is_seen_at_once_and_undone_like_all_else
    a_task_is_done_once_and_survives_its_worker
    tasks_with_one_key_become_one
    what_a_repository_shows_is_what_its_rows_say
    two_writers_get_two_generations
    a_reader_sees_one_state
    a_want_moves_with_its_transfer_and_a_medium_is_found_by_it
    another_sites_want_stands_as_it_stood_there_when_it_asked_last
    of_many_entries_about_one_thing_the_newest_are_told
    a_thousand_rows_are_written_and_found_as_one_is
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

async fn what_is_written_behind_is_seen_at_once_and_undone_like_all_else(db: Db) {
    let mut tx = db.write_behind().await.unwrap();
    tx.settings().put("site", "inside").await.unwrap();
    tx.commit().await.unwrap();
    let mut dropped = db.write_behind().await.unwrap();
    dropped.settings().put("site", "nowhere").await.unwrap();
    drop(dropped);
    let site = || async { db.read().await.unwrap().settings().get("site").await.unwrap() };
    assert_eq!(site().await.as_deref(), Some("inside"));
    let mut tx = db.write().await.unwrap();
    tx.settings().put("role", "isolated").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(site().await.as_deref(), Some("inside"));
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
    let package_id = rows.insert_packages(id, &[("flask", "Flask")]).await.unwrap()[0];
    rows.put_blobs([&digests("wheel"), &digests("wheel")], now).await.unwrap();
    rows.put_blobs([&digests("wheel")], now).await.unwrap();
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
        purl: "pkg:pypi/flask@3.0".into(),
    };
    rows.insert_releases(id, &[release], generation).await.unwrap();
    let file = NewFile {
        package_id,
        version: "3.0",
        path: "files/flask/flask-3.0.whl",
        role: "wheel",
        sha256: Sha256::of(b"wheel"),
        meta: &meta,
        at: now,
    };
    rows.insert_files(id, &[file], generation).await.unwrap();
    rows.insert_pointers(id, &[(package_id, "latest", "2.0")], generation).await.unwrap();
    let old = rows.pointers_of(&[package_id]).await.unwrap()[0].id;
    rows.remove_pointers(&[old], generation).await.unwrap();
    rows.insert_pointers(id, &[(package_id, "latest", "3.0")], generation).await.unwrap();
    let document = NewDocument {
        path: "simple/flask/index.json".into(),
        package: "flask".into(),
        media_type: "application/json".into(),
        sha256: Sha256::of(b"{}"),
        size: 2,
        gzip: vec![31, 139, 0],
    };
    rows.put_documents(id, &["flask"], vec![document.clone(), document], generation).await.unwrap();
    assert_eq!(rows.counts(id).await.unwrap(), [1, 1, 1, 5]);
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    let mut rows = tx.registry();
    let found = rows.file(id, "files/flask/flask-3.0.whl").await.unwrap().unwrap();
    assert_eq!((found.package.as_str(), found.version.as_str(), found.digests.size), ("flask", "3.0", 5));
    assert_eq!(found.meta, meta);
    let pointers = rows.pointers_of(&[package_id]).await.unwrap();
    assert_eq!(
        (pointers.len(), pointers[0].name.as_str(), pointers[0].version.as_str()),
        (1, "latest", "3.0")
    );
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
    assert!(rows.releases_at(&[(package_id, "3.0")]).await.unwrap().is_empty());
    let path = "files/flask/flask-3.0.whl";
    assert_eq!(rows.removed_at(id, &[path]).await.unwrap(), [(path.to_owned(), Sha256::of(b"wheel"))]);
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
    let unfilled = tx.carry().unfilled_wants("inside", 0, 9).await.unwrap();
    let any = unfilled.iter().find(|want| want.version.is_empty()).unwrap().id;
    assert_eq!(unfilled.len(), 2, "of one site");
    assert_eq!(tx.carry().move_wants(&[any], "packed", first).await.unwrap(), 1);
    assert_eq!(tx.carry().move_wants(&[any], "packed", second).await.unwrap(), 1);
    assert_eq!(tx.carry().reopen_wants("inside", first).await.unwrap(), 0, "the second has it, too");
    assert_eq!(tx.carry().arrived_wants("depot", second).await.unwrap(), 0, "it was for another site");
    let packed = tx.carry().newest_wants(i64::MAX, "packed", "inside", 9).await.unwrap();
    assert_eq!((packed.len(), packed[0].transfer), (1, Some(second)));
    assert_eq!(tx.carry().arrived_wants("inside", second).await.unwrap(), 1);
    assert_eq!(tx.carry().unfilled_wants("inside", 0, 9).await.unwrap().len(), 1, "one is there");
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

async fn another_sites_want_stands_as_it_stood_there_when_it_asked_last(db: Db) {
    let mut tx = db.write().await.unwrap();
    let want = |asked, note| {
        let (site, format, package, version, actor) = ("depot", "generic", "maps", "", "site:depot");
        NewWant { site, format, package, version, asked, note, actor }
    };
    for (asked, note, at) in [(3, "", 20), (4, "for the harbour", 30), (1, "older", 10), (5, "", 30)] {
        tx.carry().want_elsewhere(want(asked, note), Timestamp(at)).await.unwrap();
    }
    let row = tx.carry().wants(0, 9).await.unwrap().remove(0);
    assert_eq!(
        (row.asked, row.note.as_str(), row.first, row.last),
        (5, "for the harbour", Timestamp(20), Timestamp(30))
    );

    tx.carry().move_wants(&[row.id], "packed", TransferId(7)).await.unwrap();
    let [direction, site, outcome, envelope, actor] =
        ["taken", "depot", "published", "", "test"].map(str::to_owned);
    let receipt = ReceiptRow {
        id: 0,
        direction,
        site,
        transfer: TransferId(7),
        outcome,
        envelope,
        at: Timestamp(50),
        actor,
    };
    tx.carry().insert_receipt(&receipt).await.unwrap();
    assert_eq!(tx.carry().arrived_wants("depot", TransferId(7)).await.unwrap(), 1);
    let mut stands = Vec::new();
    for at in [30, 40, 60] {
        tx.carry().want_elsewhere(want(6, ""), Timestamp(at)).await.unwrap();
        let row = tx.carry().wants(0, 9).await.unwrap().remove(0);
        stands.push((row.state, row.transfer));
    }
    let filled = || ("filled".to_owned(), Some(TransferId(7)));
    assert_eq!(stands, [filled(), filled(), ("open".to_owned(), None)], "it came by 50, says the receipt");
}

async fn of_many_entries_about_one_thing_the_newest_are_told(db: Db) {
    let mut tx = db.write().await.unwrap();
    for index in 0..6 {
        let target = if index % 2 == 0 { "medium:a" } else { "medium:b" }.into();
        let [actor, action, body] = ["test", "medium.custody", "{}"].map(str::to_owned);
        let row = AuditEntryRow { index, at: Timestamp(1), actor, action, target, body };
        tx.audit().insert(&row).await.unwrap();
    }
    let told = tx.audit().by_target("medium:a", 2).await.unwrap();
    assert_eq!(told.iter().map(|row| row.index).collect::<Vec<_>>(), [2, 4], "oldest first");
}

/// Enough for several chunks of every size, on either database.
async fn a_thousand_rows_are_written_and_found_as_one_is(db: Db) {
    const ROWS: usize = 1037;
    let now = TestClock::default().now();
    let mut tx = db.write().await.unwrap();
    let mut rows = tx.registry();
    let id = rows.create("files", "generic", "hosted", Sha256::of(b""), now).await.unwrap();
    let keys: Vec<String> = (0..ROWS).map(|n| format!("folder-{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let new: Vec<(&str, &str)> = keys.iter().map(|key| (*key, *key)).collect();
    let ids = rows.insert_packages(id, &new).await.unwrap();
    let meta = serde_json::json!({});
    let releases: Vec<NewRelease<'_>> = ids
        .iter()
        .map(|package_id| NewRelease {
            package_id: *package_id,
            version: "1",
            state: "admitted",
            yank_reason: "",
            meta: &meta,
            published: now,
            purl: String::new(),
        })
        .collect();
    rows.insert_releases(id, &releases[1..], 1).await.unwrap();
    let blobs: Vec<Digests> = keys.iter().map(|key| digests(key)).collect();
    rows.put_blobs(&blobs, now).await.unwrap();
    let files: Vec<NewFile<'_>> = ids
        .iter()
        .zip(&keys)
        .zip(&blobs)
        .map(|((package_id, key), blob)| NewFile {
            package_id: *package_id,
            version: "1",
            path: key,
            role: "file",
            sha256: blob.sha256,
            meta: &meta,
            at: now,
        })
        .collect();
    rows.insert_files(id, &files[1..], 1).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.read().await.unwrap();
    let mut rows = tx.registry();
    let known = rows.packages_of(id, &keys).await.unwrap();
    assert_eq!((known.len(), known.iter().filter(|(_, shown)| *shown).count()), (ROWS, ROWS - 1));
    assert!(known.iter().all(|(package, shown)| *shown == (package.key != "folder-0")));
    let asked: Vec<_> = ids.iter().flat_map(|id| [(*id, "1"), (*id, "2")]).collect();
    assert_eq!(rows.releases_at(&asked).await.unwrap().len(), ROWS - 1);
    assert_eq!(rows.releases_of(&ids).await.unwrap().len(), ROWS - 1);
    let found = rows.files_of(&ids).await.unwrap();
    assert!(found.len() == ROWS - 1 && found.iter().all(|f| f.path == f.package), "each its own");
    let taken = rows.files_at(id, &keys).await.unwrap();
    assert!(taken.len() == ROWS - 1 && taken.iter().all(|t| t.sha256 == Sha256::of(t.path.as_bytes())));
    assert_eq!(rows.weights(id, &keys).await.unwrap().iter().map(|(_, n)| n).sum::<u64>(), ROWS as u64 - 1);
}
