//! A reception that is killed at random points: it ends where one that was never disturbed ends, and does at
//! most one pack per worker again.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    common::{PROGRAM, files_below},
    sender::{Plan, noise},
    site::Inside,
};

/// Packs of the transfer: one blob each, for two do not fit into one.
const PACKS: usize = 40;
const BLOB: usize = (4 << 20) + 9;
/// Kills in a normal run; `COFFERDAM_KILLS` asks for more, `COFFERDAM_SEED` for others.
const KILLS: u64 = 12;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % n
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Names of the stored blobs, and which file on the disk each is now.
fn stored(inside: &Inside) -> BTreeMap<PathBuf, u64> {
    let home = inside.site.home().join("blobs");
    let inode =
        |path: PathBuf| Some((path.strip_prefix(&home).ok()?.to_owned(), path.metadata().ok()?.ino()));
    files_below(&home).into_iter().filter_map(inode).collect()
}

/// What a reception leaves behind, without what the clock and the place say: the transfer's row, the blobs, what
/// is left in staging, and what is visible.
fn outcome(inside: &Inside) -> (Vec<Value>, Vec<PathBuf>, Vec<PathBuf>, String) {
    let mut transfers = inside.site.transfers();
    for transfer in &mut transfers {
        for field in ["at", "folder", "approval"] {
            transfer[field] = Value::Null;
        }
    }
    let staged = files_below(&inside.site.home().join("staging"));
    (transfers, stored(inside).into_keys().collect(), staged, inside.site.root("generic-local"))
}

/// Starts to receive, and kills the site at some point; whether the client had its answer before.
fn killed(inside: &mut Inside, folder: &Path, dice: &mut Dice) -> bool {
    let mut client = Command::new(PROGRAM)
        .args(["--json", "--site", &inside.site.url, "--token", &inside.officer, "receive"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Some blobs more than there are now, and then a little later; or before the first of them.
    let blobs = inside.site.blobs() + usize::try_from(dice.below(8)).unwrap();
    let mut later = dice.below(400);
    let mut done = false;
    while !done && (later > 0 || inside.site.blobs() < blobs) {
        if inside.site.blobs() >= blobs {
            later -= 1;
        }
        std::thread::yield_now();
        done = client.try_wait().unwrap().is_some();
    }
    inside.site.kill();
    // It may still wait to be accepted by a site that is no more.
    let _ = client.kill();
    client.wait().unwrap();
    inside.site.serve();
    done
}

#[test]
fn a_reception_killed_at_random_points_ends_as_if_it_never_was() {
    let desk = tempfile::tempdir().unwrap();
    let block = noise(BLOB, 1);
    let blob = |n: usize| [n.to_le_bytes().as_slice(), &block[8..]].concat();
    let files = (0..PACKS).map(|n| (format!("load/{n}.bin"), blob(n))).collect();
    let (folder, _) = Plan { files, ..Plan::first() }.write(desk.path());
    let undisturbed = {
        let inside = Inside::new();
        inside.receive(std::slice::from_ref(&folder)).ok();
        outcome(&inside)
    };
    assert_eq!((undisturbed.0.len(), undisturbed.1.len(), undisturbed.2.len()), (1, PACKS, 0));

    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let seed = setting("COFFERDAM_SEED", 0x0C0F_FE12_DA11);
    let (mut dice, kills) = (Dice(seed | 1), setting("COFFERDAM_KILLS", KILLS));
    let (mut killed_so_far, mut most, mut kept) = (0, 0, 0);
    while killed_so_far < kills {
        let mut inside = Inside::new();
        let mut before = stored(&inside);
        loop {
            let known = !inside.site.transfers().is_empty();
            let done = known || killed_so_far >= kills || killed(&mut inside, &folder, &mut dice);
            killed_so_far += u64::from(!done);
            if done {
                let received = inside.receive(std::slice::from_ref(&folder)).ok();
                assert_eq!(received["sound"], true, "seed {seed}: {received}");
            }
            let now = stored(&inside);
            // A blob that was stored again is another file under the same name.
            let again = before.iter().filter(|(name, inode)| now.get(*name) != Some(inode)).count();
            assert!(
                again <= workers,
                "seed {seed}: {again} packs were done again after kill {killed_so_far}"
            );
            (most, kept) = (most.max(again), kept + before.len() - again);
            if done {
                break;
            }
            before = now;
        }
        let ended = outcome(&inside);
        assert_eq!(ended.0, undisturbed.0, "seed {seed}, after {killed_so_far} kills");
        assert_eq!(ended.1, undisturbed.1, "seed {seed}: the stored blobs");
        assert_eq!(ended.2, undisturbed.2, "seed {seed}: nothing is left in staging");
        assert_eq!(ended.3, undisturbed.3, "seed {seed}: nothing is visible yet");
    }
    println!("{kills} kills: at most {most} of {workers} packs were done again at once, {kept} were not");
    assert!(kept > 0, "nothing was ever kept: the kills came too early to prove anything");
}
