//! What only a site that remembers can refuse: replays, rollbacks, freezes, leaps, and its own lost memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cofferdam_trust::root::Root;
use cofferdam_types::Sha256;

use crate::{
    sender::{CREATED, NOT_AFTER, Plan, root, root_json},
    site::Inside,
};

fn write(plan: &Plan, parent: &tempfile::TempDir) -> (PathBuf, Sha256) {
    let folder = tempfile::tempdir_in(parent).unwrap().keep();
    plan.write(&folder)
}

#[test]
fn replays_do_nothing_and_rollbacks_leaps_and_two_faces_are_refused() {
    let (inside, desk) = (Inside::new(), tempfile::tempdir().unwrap());
    let first = Plan::first();

    // Fast-forward: one accepted transfer of the last epoch would shut out all that follow.
    let leap = Plan { epoch: u32::MAX, ..first.clone() };
    inside.refuses(&write(&leap, &desk).0, 3, "epoch-without-rotation");
    let (folder, one) = write(&first, &desk);
    inside.receive(std::slice::from_ref(&folder)).ok();
    inside.refuses(&write(&leap, &desk).0, 3, "epoch-without-rotation");
    let (next_epoch, _) = write(&Plan { epoch: 2, ..Plan::after(one, 1) }, &desk);
    inside.refuses(&next_epoch, 3, "epoch-without-rotation");
    // Nor does a far position: it waits for all before it, and is no attack by itself.
    let far = Plan { seq: u64::MAX, ..Plan::after(one, 2) };
    inside.refuses(&write(&far, &desk).0, 1, "gap");

    // A replay is recognised and does nothing again.
    let before = inside.state();
    let again = inside.receive(std::slice::from_ref(&folder)).ok();
    assert_eq!(again["again"], true, "{again}");
    assert_eq!(inside.state(), before);

    // Older than all that was taken, and never seen.
    inside.refuses(&write(&Plan { epoch: 0, ..first.clone() }, &desk).0, 3, "rollback");

    // The same position with other content: the stream freezes, and even what is due is not taken.
    let (second, two) = write(&Plan::after(one, 2), &desk);
    let forked = Plan { files: vec![("maps/c.bin".into(), b"other".to_vec())], ..first };
    inside.refuses(&write(&forked, &desk).0, 3, "equivocation");
    let message = inside.refuses(&second, 3, "stream-frozen");
    assert!(message.contains("two histories"), "{message}");
    thaw(&inside);
    inside.receive(&[second]).ok();

    // Another past than the one that was taken in.
    inside.refuses(&write(&Plan::after(one, 3), &desk).0, 3, "equivocation");
    thaw(&inside);
    inside.receive(&[write(&Plan::after(two, 3), &desk).0]).ok();
}

fn thaw(inside: &Inside) {
    let admin = &inside.site.admin;
    inside
        .site
        .by(admin, &["stream", "thaw", "outside+inside", "--reason", "a person asked the sender"])
        .ok();
}

#[test]
fn an_indefinite_freeze_ends_and_a_clock_set_back_does_not_prolong_it() {
    let (inside, desk) = (Inside::new(), tempfile::tempdir().unwrap());
    let old = Plan { created: 1_000_000_000, not_after: 1_000_086_400, ..Plan::first() };
    let (stale, _) = write(&old, &desk);
    let message = inside.refuses(&stale, 3, "expired");
    assert!(message.contains("2001"), "{message}");
    // Only a person takes it, and says why.
    let taken = inside.receive_with(&[stale], &["--accept-expired", "the ship was late"]).ok();
    assert_eq!(taken["sound"], true);

    // The newest signed date counts, not the clock, which says a date long before it.
    let (inside, desk) = (Inside::new(), tempfile::tempdir().unwrap());
    let ahead = Plan { created: NOT_AFTER, not_after: NOT_AFTER + 100, ..Plan::first() };
    let (folder, one) = write(&ahead, &desk);
    inside.receive(&[folder]).ok();
    let frozen = Plan { created: CREATED, not_after: NOT_AFTER - 86_400, ..Plan::after(one, 2) };
    inside.refuses(&write(&frozen, &desk).0, 3, "expired");
}

#[test]
fn a_root_document_past_its_last_day_vouches_for_nothing_until_a_person_says_so() {
    let (inside, desk) = (Inside::new(), tempfile::tempdir().unwrap());
    // This date is signed, and after it the root's last day has passed, whatever the clock says.
    let ahead = Plan { created: NOT_AFTER + 1, not_after: NOT_AFTER + 100, ..Plan::first() };
    let (folder, one) = write(&ahead, &desk);
    inside.receive(&[folder]).ok();
    let root = &inside.site.by(&inside.officer, &["key", "list", "--json"]).ok()["sites"][0]["root"];
    assert_eq!((&root["version"], &root["expired"]), (&1.into(), &true.into()));
    let fresh = Plan { created: NOT_AFTER + 2, not_after: NOT_AFTER + 100, ..Plan::after(one, 2) };
    let (folder, _) = write(&fresh, &desk);
    let message = inside.refuses(&folder, 3, "root-expired");
    assert!(message.contains("root document 1 of `outside`"), "{message}");
    inside.receive_with(&[folder], &["--accept-expired", "the holders are on leave"]).ok();
}

#[test]
fn a_forgotten_root_or_recipient_counts_no_more() {
    let (inside, desk) = (Inside::new(), tempfile::tempdir().unwrap());
    let admin = &inside.site.admin;
    inside.site.by(&inside.officer, &["key", "forget", "outside", "root"]).fails(4, "forbidden");
    inside.site.by(admin, &["key", "forget", "outside", "root"]).ok();
    inside.refuses(&write(&Plan::first(), &desk).0, 3, "no-trusted-key");
    inside.site.by(admin, &["key", "forget", "outside", "root"]).fails(1, "not-found");
    assert_eq!(inside.site.by(admin, &["key", "list", "--json"]).ok()["sites"], serde_json::json!([]));
}

#[test]
fn an_epoch_begins_after_a_root_that_was_believed_by_hand() {
    let (inside, desk) = (Inside::new(), tempfile::tempdir().unwrap());
    let (first, _) = write(&Plan::first(), &desk);
    inside.receive(&[first]).ok();
    let file = desk.path().join("root.2.json");
    let next = Root { roles: root(1).roles, keys: root(1).keys, ..root(2) };
    fs::write(&file, root_json(&next, &[3])).unwrap();
    inside.site.by(&inside.site.admin, &["key", "trust-root", "outside", file.to_str().unwrap()]).ok();
    inside.receive(&[write(&Plan { epoch: 2, ..Plan::first() }, &desk).0]).ok();
}

#[test]
fn a_database_from_an_old_backup_is_noticed_and_stops_the_stream() {
    let (mut inside, desk) = (Inside::new(), tempfile::tempdir().unwrap());
    let (first, one) = write(&Plan::first(), &desk);
    inside.receive(&[first]).ok();
    inside.site.stop();
    let backup = desk.path().join("backup");
    copy_database(&inside.site.home(), &backup);
    inside.site.serve();
    let (second, two) = write(&Plan::after(one, 2), &desk);
    inside.receive(std::slice::from_ref(&second)).ok();
    inside.site.stop();
    copy_database(&backup, &inside.site.home());
    inside.site.serve();
    // The ledger beside the database knows more than the database.
    inside.refuses(&second, 3, "state-restored");
    let (third, _) = write(&Plan::after(two, 3), &desk);
    inside.refuses(&third, 3, "stream-frozen");
    // When people have looked, what was forgotten comes again, in its order.
    thaw(&inside);
    inside.receive(&[second]).ok();
    inside.receive(&[third]).ok();
}

/// The database with its journal; what is not in `from` is removed from `to`.
fn copy_database(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["site.db", "site.db-wal", "site.db-shm"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_sender_that_nobody_knows_and_a_site_that_is_not_meant_are_refused() {
    let (inside, desk) = (Inside::new(), tempfile::tempdir().unwrap());
    let (folder, _) = write(&Plan::first(), &desk);
    let named = folder.with_file_name("CT1-harbour+inside-1-000001");
    fs::rename(folder, &named).unwrap();
    inside.refuses(&named, 3, "no-trusted-key");
    let (folder, _) = write(&Plan::first(), &desk);
    let odd = folder.with_file_name("CT1-outside");
    fs::rename(folder, &odd).unwrap();
    inside.refuses(&odd, 3, "wrong-folder");
    let hidden = odd.with_file_name("holiday-pictures");
    fs::rename(odd, &hidden).unwrap();
    inside.refuses(&hidden, 3, "not-a-transfer");
}
