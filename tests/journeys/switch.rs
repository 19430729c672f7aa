//! Publication is one switch: a transfer of thousands of files, and readers who ask all the time while two people's yes
//! becomes what everybody sees.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::{
    common::Site,
    sender::{Plan, key, sealing},
};

const FILES: usize = 3000;
const FOLDER: usize = 300;
const READERS: usize = 3;

fn path(n: usize) -> String {
    format!("folder-{}/file-{:03}.txt", n / FOLDER, n % FOLDER)
}

/// How many files a listing shows; none when there is no such folder or repository yet.
fn listed(site: &Site, folder: usize) -> usize {
    let answer = site.get(&format!("/r/files/folder-{folder}/"));
    match answer.status {
        404 => 0,
        200 => answer.json()["files"].as_array().expect("a list of files").len(),
        status => panic!("{status}: {}", answer.text()),
    }
}

fn served(site: &Site, n: usize) -> bool {
    let answer = site.get(&format!("/r/files/{}", path(n)));
    match answer.status {
        404 => false,
        200 => {
            assert_eq!(answer.body, path(n).as_bytes(), "it has its own bytes");
            true
        }
        status => panic!("{status}: {}", answer.text()),
    }
}

/// Asks until everything is there, and from the first thing that is there on, everything must be.
fn reader(site: &Site, seed: usize, published: &AtomicBool, begun: &AtomicUsize) {
    let mut whole = false;
    for round in seed.. {
        // Taken before the questions: what is asked after the publication was answered must be there.
        let must = whole || published.load(Ordering::SeqCst);
        let (folder, n) = (round * 7 % (FILES / FOLDER), round * 331 % FILES);
        let found = listed(site, folder);
        assert!(found == 0 || found == FOLDER, "{found} of {FOLDER} files are listed");
        assert!(!must || found == FOLDER, "a part of the switch is there, and folder {folder} is not");
        let served = served(site, n);
        assert!(served || found == 0, "its folder's listing was there before, and file {n} is not");
        whole = must || found > 0 || served;
        if round == seed {
            assert!(!whole, "it read before the switch, too");
            begun.fetch_add(1, Ordering::SeqCst);
        }
        if must {
            return;
        }
    }
}

#[test]
fn a_transfer_of_thousands_appears_to_every_reader_at_once() {
    let mut site = Site::init(tempfile::tempdir().unwrap(), "inside", "isolated");
    let sealed = site.home().join("keys/site.age");
    fs::remove_file(&sealed).unwrap();
    sealing(7).write_new(&sealed).unwrap();
    site.serve();
    site.by(&site.admin, &["key", "trust", "outside", &key(1).verifying_key().to_string()]).ok();
    let officer = site.person("olga", "officer");
    let approvers = [site.person("ann", "approver"), site.person("ben", "approver")];
    let medium = tempfile::tempdir().unwrap();
    let files = (0..FILES).map(|n| (path(n), path(n).into_bytes())).collect();
    let (folder, _) = Plan { files, ..Plan::first() }.write(medium.path());

    let received = site.by(&officer, &["receive", folder.to_str().unwrap()]).ok();
    assert_eq!((&received["sound"], &received["releases"]), (&true.into(), &FILES.into()), "{received}");
    let (id, digest) = (received["id"].to_string(), received["digest"].as_str().unwrap());
    for approver in &approvers {
        site.by(approver, &["approve", &id, "--digest", digest]).ok();
    }
    let (published, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (site, published, begun) = (&site, &published, &begun);
        let readers: Vec<_> =
            (0..READERS).map(|seed| scope.spawn(move || reader(site, seed, published, begun))).collect();
        // One that ended already has failed, and says so at the end of the scope.
        while begun.load(Ordering::SeqCst) < READERS && !readers.iter().any(|r| r.is_finished()) {
            assert_eq!(listed(site, 0), 0, "nothing is seen before the switch");
        }
        site.by(&officer, &["publish", &id]).ok();
        published.store(true, Ordering::SeqCst);
    });
    assert!((0..FILES / FOLDER).all(|folder| listed(&site, folder) == FOLDER));
    site.here(&["audit", "verify"]).ok();
}
