//! From the outside to the inside: recorded, packed, carried, received, approved, published, used.

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod advisories;
mod build;
mod clones;
mod collections;
mod jobs;
mod registry;
#[path = "../attacks/sender.rs"]
#[allow(dead_code, reason = "here the sender is an honest one")]
mod sender;
mod switch;
mod things;
mod wants;

use std::fs;

use common::{Pair, Site};

fn put(pair: &Pair, path: &str, bytes: &[u8]) {
    let answer = pair.outside.send(&pair.developers.0, "PUT", &format!("/r/generic-local/{path}"), bytes);
    assert_eq!(answer.status, 201, "{}", answer.text());
}

fn bytes(seed: u32, count: u32) -> Vec<u8> {
    // A small generator: bytes that do not compress, and the same in every run.
    let step = |x: &mut u32| {
        *x ^= *x << 13;
        *x ^= *x >> 17;
        *x ^= *x << 5;
        Some(*x)
    };
    let mut state = seed;
    std::iter::from_fn(|| step(&mut state)).take(count as usize).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn nothing_is_seen_before_two_others_have_said_yes() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 50_000));
    pair.record("maps", &["/r/generic/maps/a.bin"]);
    let folder = pair.pack("maps", &[])["path"].as_str().unwrap().to_owned();
    let site = &pair.inside;
    let received = pair.receive(&folder).ok();
    assert_eq!(received["sound"], true, "{received}");
    let id = received["id"].to_string();
    assert_eq!(site.get("/r/generic/maps/a.bin").status, 404, "quarantined bytes are not served");

    let digest = site.by(&pair.officers.1, &["transfers", &id]).ok()["digest"].as_str().unwrap().to_owned();
    let publish = || site.by(&pair.officers.1, &["publish", &id]);
    let vote = |token: &str| site.by(token, &["approve", &id, "--digest", &digest]);
    publish().fails(5, "awaiting-approval");
    vote(&site.admin).fails(4, "forbidden");
    vote(&pair.officers.1).fails(4, "forbidden");
    vote(&pair.approvers[0]).ok();
    assert_eq!(vote(&pair.approvers[0]).code, 4, "one person is one vote");
    publish().fails(5, "awaiting-approval");
    assert_eq!(site.get("/r/generic/maps/a.bin").status, 404);
    vote(&pair.approvers[1]).ok();
    publish().ok();
    assert_eq!(site.get("/r/generic/maps/a.bin").body, bytes(1, 50_000));
    site.here(&["audit", "verify"]).ok();
}

#[test]
fn a_transfer_in_which_nothing_is_new_is_small() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 500_000));
    pair.record("maps", &["/r/generic/maps/a.bin"]);
    let first = pair.pack("maps", &[]);
    let id = pair.receive(first["path"].as_str().unwrap()).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    pair.receipt(&id);
    let second = pair.pack("maps", &[]);
    assert!(first["bytes"].as_u64().unwrap() > 2_000_000, "{first}");
    assert!(second["bytes"].as_u64().unwrap() < 20_000 && second["blobs"] == 0, "{second}");
    assert_eq!(pair.receive(second["path"].as_str().unwrap()).ok()["sound"], true);
}

#[test]
fn a_medium_that_is_not_there_is_told_and_not_made() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 5_000));
    pair.record("maps", &["/r/generic/maps/a.bin"]);
    let nowhere = pair.medium.path().join("unmounted");
    let pack = ["pack", "--to", "inside", "--recording", "maps", nowhere.to_str().unwrap()];
    let message = pair.outside.by(&pair.officers.0, &pack).fails(2, "no-medium");
    assert!(message.contains("unmounted does not exist") && !nowhere.exists(), "{message}");
}

#[test]
fn a_second_transfer_carries_only_what_is_new_and_order_is_kept() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 250_000));
    pair.record("one", &["/r/generic/maps/a.bin"]);
    let first = pair.pack("one", &[]);
    put(&pair, "maps/b.bin", &bytes(2, 10_000));
    pair.record("two", &["/r/generic/maps/a.bin", "/r/generic/maps/b.bin"]);
    let second = pair.pack("two", &["--assume-received"]);
    assert!(first["bytes"].as_u64().unwrap() > 1_000_000, "{first}");
    assert!(second["bytes"].as_u64().unwrap() < 100_000, "{second}");
    assert_eq!((&second["blobs"], &second["held"]), (&1.into(), &1.into()), "{second}");

    let (first, second) = (first["path"].as_str().unwrap(), second["path"].as_str().unwrap());
    let message = pair.receive(second).fails(1, "gap");
    assert!(message.contains("1 to 1"), "{message}");
    let id = pair.receive(first).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    assert_eq!(pair.receive(first).ok()["again"], true, "nothing is done twice");
    let id = pair.receive(second).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    assert_eq!(pair.inside.get("/r/generic/maps/b.bin").body, bytes(2, 10_000));
    assert_eq!(pair.inside.transfers().len(), 2);
}

#[test]
fn only_what_a_receipt_proves_is_left_out_of_the_next_transfer() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 250_000));
    pair.record("one", &["/r/generic/maps/a.bin"]);
    let first = pair.pack("one", &[]);
    let id = pair.receive(first["path"].as_str().unwrap()).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    put(&pair, "maps/b.bin", &bytes(2, 10_000));
    pair.record("two", &["/r/generic/maps/a.bin", "/r/generic/maps/b.bin"]);
    let unproved = pair.pack("two", &["--dry-run"]);
    assert_eq!((&unproved["blobs"], &unproved["held"]), (&2.into(), &0.into()), "{unproved}");
    assert_eq!(pair.receipt(&id)["outcome"], "published");
    let second = pair.pack("two", &[]);
    assert_eq!((&second["blobs"], &second["held"]), (&1.into(), &1.into()), "{second}");
    assert!(second["bytes"].as_u64().unwrap() < 100_000, "{second}");
    let id = pair.receive(second["path"].as_str().unwrap()).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    assert_eq!(pair.inside.get("/r/generic/maps/b.bin").body, bytes(2, 10_000));
}

#[test]
fn a_transfer_that_is_lost_for_good_is_passed_by_with_a_full_one_and_a_reason() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 25_000));
    pair.record("one", &["/r/generic/maps/a.bin"]);
    let lost = pair.pack("one", &[])["path"].as_str().unwrap().to_owned();
    let full = pair.pack("one", &["--full"])["path"].as_str().unwrap().to_owned();
    let message = pair.receive(&full).fails(1, "gap");
    assert!(message.contains("1 to 1"), "{message}");
    let arguments = ["receive", &full, "--accept-gap", "the courier lost the first disc"];
    let id = pair.inside.by(&pair.officers.1, &arguments).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    assert_eq!(pair.inside.get("/r/generic/maps/a.bin").body, bytes(1, 25_000));
    pair.receive(&lost).fails(3, "rollback");
}

#[test]
fn a_full_transfer_builds_on_nothing_although_much_is_held() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 50_000));
    pair.record("one", &["/r/generic/maps/a.bin"]);
    let first = pair.pack("one", &[]);
    let id = pair.receive(first["path"].as_str().unwrap()).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    pair.receipt(&id);
    put(&pair, "maps/b.bin", &[bytes(1, 50_000), bytes(2, 100)].concat());
    pair.record("two", &["/r/generic/maps/b.bin"]);
    let small = pair.pack("two", &["--dry-run"]);
    assert_eq!((&small["blobs"], &small["deltas"]), (&0.into(), &1.into()), "{small}");
    let full = pair.pack("two", &["--full"]);
    assert_eq!((&full["blobs"], &full["deltas"]), (&1.into(), &0.into()), "{full}");
}

#[test]
fn what_a_station_took_out_is_not_held_and_travels_again() {
    let pair = Pair::new("");
    put(&pair, "maps/a.bin", &bytes(1, 1000));
    put(&pair, "maps/b.bin", &bytes(2, 1000));
    let both = ["/r/generic/maps/a.bin", "/r/generic/maps/b.bin"];
    pair.record("one", &both);
    let first = pair.pack("one", &["--door", "inspectable"])["path"].as_str().unwrap().to_owned();
    let flat: Vec<_> = fs::read_dir(format!("{first}/files")).unwrap().map(|e| e.unwrap().path()).collect();
    let taken_out = flat.iter().find(|path| fs::read(path).unwrap() == bytes(2, 1000)).unwrap();
    let key = pair.outside.keys().0;
    let verify = || common::cofferdam(&["verify", "--key", &key, &first]);
    verify().ok();
    fs::remove_file(taken_out).unwrap();
    verify().fails(3, "changed-at-the-door");
    let id = pair.receive(&first).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    assert_eq!(pair.inside.get(both[0]).body, bytes(1, 1000));
    assert_eq!(pair.inside.get(both[1]).status, 404);
    assert_eq!(pair.receipt(&id)["outcome"], "partial");
    put(&pair, "maps/c.bin", &bytes(3, 1000));
    pair.record("two", &[both[0], both[1], "/r/generic/maps/c.bin"]);
    let second = pair.pack("two", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&second).ok()["id"].to_string();
    pair.approve_and_publish(&id);
    assert_eq!(pair.inside.get(both[1]).body, bytes(2, 1000));
}

#[test]
fn an_audit_export_shows_every_change() {
    let site = Site::isolated("inside");
    site.person("dev", "developer");
    let mut site = site;
    site.stop();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let name = file.to_str().unwrap();
    site.here(&["audit", "export", name]).ok();
    let note_key = site.keys().1;
    let verify = || common::cofferdam(&["audit", "verify", "--file", name, "--note-key", &note_key]);
    verify().ok();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("developer") || text.contains("dev"), "{text}");
    fs::write(&file, text.replace("dev", "eve")).unwrap();
    let output = verify();
    assert_eq!(output.code, 3, "{output:#?}");
}

/// The state folder stands where no build's private `/tmp` or hidden home covers it.
#[test]
fn a_build_cannot_read_the_keys_of_a_site_on_the_same_machine() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut site = Site::init(folder, "harbour", "isolated");
    site.serve();
    let token = site.person("dev", "developer");
    let key = site.home().join("keys/site.key");
    assert!(key.is_file());
    let work = tempfile::tempdir().unwrap();
    let read = format!("echo here; cat {}", key.display());
    let tried = site.by_in(work.path(), &token, &["inside", "--", "sh", "-c", &read]);
    assert_eq!((tried.stdout.as_str(), tried.code == 0), ("here\n", false), "the key can be read");
}
