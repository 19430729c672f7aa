//! Power cuts: a killed site starts again, and ends where one that was never killed ends; at random points in
//! `killed`. Full disks: in `full_disk`.

#[path = "../common/mod.rs"]
mod common;
mod full_disk;
mod killed;
#[path = "../attacks/sender.rs"]
#[allow(dead_code, reason = "only its honest part is used here")]
mod sender;
#[path = "../attacks/site.rs"]
#[allow(dead_code, reason = "every suite uses its own part")]
mod site;

use std::process::{Command, Stdio};

use common::{PROGRAM, Pair, Site};

const FILES: u32 = 24;

fn bytes(seed: u32) -> Vec<u8> {
    (0..300_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) ^ seed).to_le_bytes()).collect()
}

#[test]
fn a_reception_that_is_killed_anywhere_is_received_again_whole() {
    let mut pair = Pair::new("");
    let paths: Vec<String> = (0..FILES).map(|n| format!("/r/generic/load/{n}.bin")).collect();
    for (n, path) in paths.iter().enumerate() {
        let hosted = path.replace("/r/generic/", "/r/generic-local/");
        let seed = u32::try_from(n).unwrap();
        assert_eq!(pair.outside.send(&pair.developers.0, "PUT", &hosted, &bytes(seed)).status, 201);
    }
    pair.record("load", &paths.iter().map(String::as_str).collect::<Vec<_>>());
    let folder = pair.pack("load", &[])["path"].as_str().unwrap().to_owned();
    for at in [1, 9, 17] {
        if pair.inside.transfers().is_empty() {
            kill_during_receive(&mut pair, &folder, at);
        }
    }
    // The last kill may have come after the one transaction that makes a transfer known: then it is told so.
    pair.receive(&folder).ok();
    assert_eq!(pair.inside.transfers().len(), 1);
    let id = pair.inside.transfers()[0]["id"].to_string();
    pair.approve_and_publish(&id);
    for (n, path) in paths.iter().enumerate() {
        assert_eq!(pair.inside.get(path).body, bytes(u32::try_from(n).unwrap()), "{path}");
    }
    let never_killed = other_inside(&pair, &folder);
    assert_eq!(pair.inside.root("generic-local"), never_killed, "the same content and history");
    pair.inside.here(&["audit", "verify"]).ok();
}

/// Kills the site once `at` files lie in its folder of blobs.
fn kill_during_receive(pair: &mut Pair, folder: &str, at: usize) {
    let mut client = Command::new(PROGRAM)
        .args(["--json", "--site", &pair.inside.url, "--token", &pair.officers.1, "receive", folder])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while pair.inside.blobs() < at && client.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    pair.inside.kill();
    // It may still wait to be accepted by a site that is no more.
    let _ = client.kill();
    client.wait().unwrap();
    pair.inside.serve();
}

/// The root digest of a site that received the same transfer undisturbed.
fn other_inside(pair: &Pair, folder: &str) -> String {
    // With the key that the transfer was sealed to.
    let mut site = Site::init(tempfile::tempdir().unwrap(), "inside", "isolated");
    std::fs::copy(pair.inside.home().join("keys/site.age"), site.home().join("keys/site.age")).unwrap();
    site.serve();
    site.trust(&pair.outside);
    let officer = site.person("olga", "officer");
    let id = site.by(&officer, &["receive", folder]).ok()["id"].to_string();
    let digest = site.by(&officer, &["transfers", &id]).ok()["digest"].as_str().unwrap().to_owned();
    for name in ["ann", "ben"] {
        site.by(&site.person(name, "approver"), &["approve", &id, "--digest", &digest]).ok();
    }
    site.by(&officer, &["publish", &id]).ok();
    site.root("generic-local")
}

#[test]
fn what_was_answered_as_published_is_there_after_a_power_cut() {
    let mut site = Site::isolated("inside");
    let token = site.person("dev", "developer");
    for n in 0..5 {
        let path = format!("/r/generic-local/log/{n}.txt");
        let body = format!("entry {n}");
        assert_eq!(site.send(&token, "PUT", &path, body.as_bytes()).status, 201);
        site.kill();
        site.serve();
        assert_eq!(site.get(&path).text(), body);
    }
    site.here(&["audit", "verify"]).ok();
}
