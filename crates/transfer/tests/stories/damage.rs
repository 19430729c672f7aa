//! Lost and damaged volumes are mended from parity, and from an answer when parity is not enough.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use cofferdam_transfer::{FileState, Survey, answer};

use crate::made::{by_digest, files, noise, open, read_all, sealed, sealing, trust, write};

fn look(folders: &[&Path]) -> Survey {
    let mut survey = Survey::open(folders, &trust(&[1, 2], 2, "inside")).unwrap();
    survey.hash(&()).unwrap();
    survey
}

fn copy(from: &Path, to: &Path) -> PathBuf {
    let target = to.join(from.file_name().unwrap());
    fs::create_dir_all(&target).unwrap();
    for name in files(from) {
        fs::copy(from.join(&name), target.join(&name)).unwrap();
    }
    target
}

/// Every file of a folder, by name.
fn bytes(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    files(dir).into_iter().map(|name| (name.clone(), fs::read(dir.join(name)).unwrap())).collect()
}

fn blobs() -> Vec<Vec<u8>> {
    vec![noise(9 << 20, 1), noise(3 << 20, 2), b"text ".repeat(9_000)]
}

#[test]
fn a_lost_volume_and_scattered_damage_are_mended_from_parity() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(500_000, 50));
    let volume = path.join("v000007.ctv");
    fs::remove_file(&volume).unwrap();
    let broken = path.join("v000011.ctv");
    let mut bytes = fs::read(&broken).unwrap();
    bytes[77_777] ^= 4;
    fs::write(&broken, bytes).unwrap();
    fs::remove_file(path.join("README.txt")).unwrap();

    let survey = look(&[&path]);
    let refusal = survey.require_whole().unwrap_err();
    assert_eq!((refusal.code, refusal.file.as_deref()), ("digest-mismatch", Some("v000011.ctv")));
    assert!(refusal.offset.is_some_and(|o| o <= 77_777 && o + 8192 > 77_777), "{refusal:?}");
    let harm = survey.harm(&()).unwrap();
    assert!(harm.repairable && harm.stretches.iter().any(|s| s.file == "v000007.ctv" && s.len == 500_000));

    let into = home.path().join("mended");
    let repaired = survey.repair(&into, &()).unwrap();
    assert_eq!(repaired.files, ["README.txt", "v000007.ctv", "v000011.ctv"]);
    let survey = look(&[&path, &repaired.folder]);
    survey.require_whole().unwrap();
    let contents = survey.contents(Some(sealing(7)), &()).unwrap();
    assert!(read_all(&contents).unwrap() == by_digest(&blobs()));
}

#[test]
fn a_damaged_manifest_is_mended_too() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(4_000_000, 50));
    let manifest = path.join("manifest.jsonl.zst.age");
    fs::remove_file(&manifest).unwrap();
    let repaired = look(&[&path]).repair(&home.path().join("mended"), &()).unwrap();
    assert_eq!(repaired.files, ["manifest.jsonl.zst.age"]);
    look(&[&path, &repaired.folder]).require_whole().unwrap();
}

#[test]
fn more_than_parity_can_mend_is_asked_for_and_only_that_is_answered() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(2_000_000, 50));
    let inside = copy(&path, &home.path().join("inside"));
    for lost in ["v000002.ctv", "v000004.ctv", "checks.ctk"] {
        fs::remove_file(inside.join(lost)).unwrap();
    }
    let survey = look(&[&inside]);
    let harm = survey.harm(&()).unwrap();
    assert!(!harm.repairable);
    let refused = survey.repair(&home.path().join("mended"), &()).unwrap_err();
    assert_eq!((refused.code(), home.path().join("mended").exists()), ("unrepairable", false));
    let lost: u64 = harm.ranges.iter().map(|r| r.1).sum();
    assert!((4_000_000..4_100_000).contains(&lost), "{lost}");

    fs::create_dir(home.path().join("answer")).unwrap();
    let (folder, bytes) = answer(&look(&[&path]), &harm.ranges, &home.path().join("answer")).unwrap();
    assert!(bytes < lost + 100_000, "{bytes} for {lost}");
    assert_eq!(files(&folder), ["header.dsse.json", "r000001.ctr"]);
    let survey = look(&[&inside, &folder]);
    let repaired = survey.repair(&home.path().join("mended"), &()).unwrap();
    let survey = look(&[&inside, &folder, &repaired.folder]);
    survey.require_whole().unwrap();
    let contents = survey.contents(Some(sealing(8)), &()).unwrap();
    assert!(read_all(&contents).unwrap() == by_digest(&blobs()));
}

#[test]
fn a_patch_with_other_bytes_mends_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(2_000_000, 0));
    let inside = copy(&path, &home.path().join("inside"));
    fs::remove_file(inside.join("v000002.ctv")).unwrap();
    let harm = look(&[&inside]).harm(&()).unwrap();
    fs::create_dir(home.path().join("answer")).unwrap();
    let (folder, _) = answer(&look(&[&path]), &harm.ranges, &home.path().join("answer")).unwrap();
    let patch = folder.join("r000001.ctr");
    let good = fs::read(&patch).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&patch, bad).unwrap();
    let mended = home.path().join("mended");
    let failed = look(&[&inside, &folder]).repair(&mended, &()).unwrap_err();
    assert_eq!(failed.code(), "repair-failed");
    assert!(!mended.join(path.file_name().unwrap()).exists());
    fs::write(&patch, [b"CT1PATCH".as_slice(), &[255; 40]].concat()).unwrap();
    assert_eq!(look(&[&inside, &folder]).harm(&()).err().unwrap().code, "bad-patch");
    fs::write(&patch, good).unwrap();
    look(&[&inside, &folder]).repair(&mended, &()).unwrap();
}

#[test]
fn damage_is_mapped_to_the_blobs_it_touches() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(2_000_000, 0));
    let contents = open(&path).unwrap();
    let groups = contents.groups();
    let (start, len) = contents.span(groups.last().unwrap());
    let touched = contents.touched(start + len - 1, 1);
    assert_eq!(
        touched,
        contents.blobs_of(groups.last().unwrap()).iter().map(|b| b.sha256).collect::<Vec<_>>()
    );
    assert_eq!(contents.touched(start + len, 5), []);
    assert_eq!(contents.touched(0, u64::MAX).len(), 3);
}

#[test]
fn a_medium_may_be_mended_in_its_own_place() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(500_000, 50));
    let before = bytes(&path);
    fs::remove_file(path.join("v000007.ctv")).unwrap();
    for name in ["v000011.ctv", "manifest.jsonl.zst.age"] {
        let mut broken = before[name].clone();
        broken[77] ^= 4;
        fs::write(path.join(name), broken).unwrap();
    }
    let repaired = look(&[&path]).repair(home.path(), &()).unwrap();
    assert_eq!((&repaired.folder, repaired.files.len()), (&path, 3));
    assert!(bytes(&path) == before);
    assert_eq!(files(home.path()), [path.file_name().unwrap().to_str().unwrap()], "nothing else is left");
}

#[test]
fn a_repair_that_fails_leaves_the_medium_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(2_000_000, 0));
    let inside = copy(&path, &home.path().join("inside"));
    let volume = inside.join("v000002.ctv");
    let mut broken = fs::read(&volume).unwrap();
    broken[77_777] ^= 4;
    fs::write(&volume, broken).unwrap();
    let harm = look(&[&inside]).harm(&()).unwrap();
    fs::create_dir(home.path().join("answer")).unwrap();
    let (folder, _) = answer(&look(&[&path]), &harm.ranges, &home.path().join("answer")).unwrap();
    let patch = folder.join("r000001.ctr");
    let mut bad = fs::read(&patch).unwrap();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&patch, bad).unwrap();

    let before = bytes(&inside);
    let failed = look(&[&inside, &folder]).repair(&home.path().join("inside"), &()).unwrap_err();
    assert_eq!(failed.code(), "repair-failed");
    assert!(bytes(&inside) == before);
    assert_eq!(files(&home.path().join("inside")).len(), 1, "nothing else is left");
}

#[test]
fn what_an_interrupted_repair_left_is_in_nobodys_way() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(500_000, 50));
    fs::remove_file(path.join("v000007.ctv")).unwrap();
    let left = home.path().join(format!(".{}.mending", path.file_name().unwrap().to_str().unwrap()));
    fs::create_dir(&left).unwrap();
    fs::write(left.join("v000007.ctv"), b"half").unwrap();
    look(&[&path]).repair(home.path(), &()).unwrap();
    look(&[&path]).require_whole().unwrap();
    assert!(!left.exists());
}

#[test]
fn a_lost_volume_is_mended_without_the_checks_too() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(500_000, 50));
    let before = bytes(&path);
    fs::remove_file(path.join("v000007.ctv")).unwrap();
    fs::remove_file(path.join("checks.ctk")).unwrap();
    let survey = look(&[&path]);
    assert!(survey.harm(&()).unwrap().repairable);
    let repaired = survey.repair(&home.path().join("mended"), &()).unwrap();
    assert_eq!(repaired.files, ["v000007.ctv"]);
    assert!(fs::read(repaired.folder.join("v000007.ctv")).unwrap() == before["v000007.ctv"]);
}

#[test]
fn of_two_damaged_copies_the_first_folders_counts() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(2_000_000, 0));
    let left = copy(&path, &home.path().join("left"));
    let volume = path.join("v000002.ctv");
    let mut broken = fs::read(&volume).unwrap();
    broken[77_777] ^= 4;
    fs::write(&volume, broken).unwrap();
    fs::write(left.join("v000002.ctv"), b"half").unwrap();
    let survey = look(&[&path, &left]);
    let states: Vec<_> = survey.faults().map(|(_, state)| state).collect();
    assert_eq!(states, [&FileState::Damaged { folder: 0, size: 2_000_000 }]);
    assert!(survey.harm(&()).unwrap().ranges.iter().map(|r| r.1).sum::<u64>() < 100_000);
}

#[test]
fn what_nobody_has_hashed_is_not_whole() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(2_000_000, 0));
    let survey = Survey::open(&[&path], &trust(&[1, 2], 2, "inside")).unwrap();
    assert_eq!(survey.require_whole().unwrap_err().code, "missing-file");
    assert_eq!(survey.require_present().unwrap_err().code, "missing-file");
}
