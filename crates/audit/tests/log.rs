//! The log in a real database, on both: what it proves and what it notices.

use cofferdam_audit::{Entry, Verifier, append, checkpoint, entries, inclusion, root, size};
use cofferdam_store::Db;
use cofferdam_types::{ErrorKind, Timestamp, merkle};
use serde_json::json;

async fn databases() -> Vec<(tempfile::TempDir, Db)> {
    let home = tempfile::tempdir().unwrap();
    let sqlite = Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
    let mut all = vec![(home, sqlite)];
    if let Some(url) = cofferdam_testkit::postgres() {
        all.push((tempfile::tempdir().unwrap(), Db::open_postgres(&url).await.unwrap()));
    }
    all
}

fn entry(n: i64) -> Entry {
    Entry {
        at: Timestamp(n),
        actor: "person:alice".into(),
        action: "test.count".into(),
        target: format!("number:{n}"),
        detail: json!({ "n": n }),
    }
}

async fn filled(db: &Db, count: i64) -> Vec<String> {
    let mut notes = Vec::new();
    for n in 0..count {
        let mut tx = db.write().await.unwrap();
        append(&mut tx, &entry(n)).await.unwrap();
        if n % 5 == 4 {
            notes
                .push(checkpoint(&mut tx, "inside", |text| Ok(text.to_owned()), Timestamp(n)).await.unwrap());
        }
        tx.commit().await.unwrap();
    }
    notes
}

async fn texts(db: &Db) -> Vec<String> {
    let mut tx = db.read().await.unwrap();
    entries(&mut tx, 0, 1000).await.unwrap().into_iter().map(|row| row.body).collect()
}

fn verify(notes: &[String], bodies: &[String]) -> cofferdam_types::Result<cofferdam_audit::Report> {
    let mut verifier = Verifier::new("inside", notes)?;
    for (index, body) in bodies.iter().enumerate() {
        verifier.entry(index as u64, body)?;
    }
    verifier.finish()
}

#[tokio::test]
async fn an_honest_log_holds_and_every_entry_proves_its_place() {
    for (_home, db) in databases().await {
        let notes = filled(&db, 23).await;
        let bodies = texts(&db).await;
        let report = verify(&notes, &bodies).unwrap();
        assert_eq!((report.entries, report.checkpoints, report.unsigned_tail), (23, 4, 3));
        let mut tx = db.read().await.unwrap();
        let total = size(&mut tx).await.unwrap();
        let head = root(&mut tx, total).await.unwrap();
        assert_eq!(head, report.root, "the stored nodes and the entries agree");
        for index in 0..total {
            let proof = inclusion(&mut tx, index, total).await.unwrap();
            let leaf = merkle::leaf(bodies[usize::try_from(index).unwrap()].as_bytes());
            assert!(merkle::included(&leaf, index, total, &proof, &head), "entry {index}");
        }
        assert_eq!(inclusion(&mut tx, total, total).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn every_way_to_cheat_is_noticed_by_name() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
    let notes = filled(&db, 20).await;
    let bodies = texts(&db).await;
    let code = |bodies: &[String]| verify(&notes, bodies).unwrap_err().code();

    let mut edited = bodies.clone();
    edited[7] = edited[7].replace("alice", "mallory");
    assert_eq!(code(&edited), "audit-root");
    let mut swapped = bodies.clone();
    swapped.swap(2, 3);
    assert_eq!(code(&swapped), "audit-root");
    assert_eq!(code(&bodies[..17]), "audit-truncated");
    let mut removed = bodies.clone();
    removed.remove(4);
    assert_eq!(code(&removed), "audit-root");
    let mut garbage = bodies.clone();
    garbage[1] = "not json".into();
    assert_eq!(code(&garbage), "audit-entry");

    let mut verifier = Verifier::new("inside", &notes).unwrap();
    assert_eq!(verifier.entry(1, &bodies[1]).unwrap_err().code(), "audit-order");
    let forged = [notes[0].clone(), notes[0].replace("inside\n5\n", "inside\n5\nAAAA")];
    assert!(Verifier::new("inside", &forged).is_err());
    assert_eq!(Verifier::new("outside", &notes).err().map(|e| e.code()), Some("checkpoint-origin"));
}

#[tokio::test]
async fn an_entry_without_its_change_does_not_exist() {
    let home = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&home.path().join("site.db")).await.unwrap();
    let mut tx = db.write().await.unwrap();
    append(&mut tx, &entry(1)).await.unwrap();
    drop(tx);
    assert_eq!(texts(&db).await, Vec::<String>::new());
}
