//! What a medium holds of groups that are not here whole is kept until the next one comes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cofferdam_transfer::{Contents, Survey, answer};

use crate::made::{by_digest, files, noise, read_all, sealed, sealing, trust, write};

fn look(folders: &[&Path]) -> Contents {
    let mut survey = Survey::open(folders, &trust(&[1, 2], 2, "inside")).unwrap();
    survey.hash(&()).unwrap();
    survey.contents(Some(sealing(7)), &()).unwrap()
}

/// A medium with these volumes.
fn disc(transfer: &Path, number: usize, volumes: &[&str]) -> PathBuf {
    let name = transfer.file_name().unwrap();
    let disc = transfer.parent().unwrap().join(format!("disc-{number}")).join(name);
    fs::create_dir_all(&disc).unwrap();
    for name in ["header.dsse.json", "manifest.jsonl.zst.age"].iter().chain(volumes) {
        fs::copy(transfer.join(name), disc.join(name)).unwrap();
    }
    disc
}

fn blobs() -> Vec<Vec<u8>> {
    vec![noise(9 << 20, 1), noise(3 << 20, 2)]
}

fn size(path: PathBuf) -> u64 {
    fs::metadata(path).unwrap().len()
}

#[test]
fn each_medium_adds_only_what_the_stash_does_not_hold() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(2_000_000, 0));
    let into = home.path().join("parts");
    let keep = |folders: &[&Path]| {
        let contents = look(folders);
        contents.stash(&contents.groups(), &into).unwrap()
    };
    let stash = keep(&[&disc(&path, 1, &["v000001.ctv"])]);
    assert_eq!(files(&stash), ["header.dsse.json", "manifest.jsonl.zst.age", "r000001.ctr"]);
    assert!((2_000_000..2_001_000).contains(&size(stash.join("r000001.ctr"))));
    let second = disc(&path, 2, &["v000002.ctv"]);
    keep(&[&second, &stash]);
    assert!((2_000_000..2_001_000).contains(&size(stash.join("r000002.ctr"))));
    keep(&[&second, &stash]);
    assert_eq!(files(&stash).len(), 4, "nothing new came");
    assert_eq!(files(&into), [stash.file_name().unwrap().to_str().unwrap()]);

    let rest = ["v000003.ctv", "v000004.ctv", "v000005.ctv", "v000006.ctv", "v000007.ctv"];
    let contents = look(&[&disc(&path, 3, &rest), &stash]);
    let (here, missing) = contents.readable(&contents.groups()).unwrap();
    assert_eq!((here, missing.is_empty()), (contents.groups(), true));
    assert!(read_all(&contents).unwrap() == by_digest(&blobs()));
}

#[test]
fn an_answer_inside_a_missing_volume_is_kept_too() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(2_000_000, 0));
    let manifest = size(path.join("manifest.jsonl.zst.age"));
    fs::create_dir(home.path().join("answer")).unwrap();
    let asked = [(manifest + 2_500_000, 70_000), (manifest + 3_000_000, 10)];
    let whole = look(&[&path]);
    let (folder, _) = answer(&whole.survey, &asked, &home.path().join("answer")).unwrap();
    let contents = look(&[&disc(&path, 1, &["v000001.ctv"]), &folder]);
    let stash = contents.stash(&contents.groups(), &home.path().join("parts")).unwrap();
    assert!((2_070_010..2_071_000).contains(&size(stash.join("r000001.ctr"))));
    // Volume 2 without the answer's ranges would not be enough for this.
    let contents = look(&[&disc(&path, 2, &[]), &stash]);
    contents.stash(&contents.groups(), &home.path().join("parts")).unwrap();
    assert!(!stash.join("r000002.ctr").exists());
}

#[test]
fn a_stash_that_is_cut_short_leaves_no_part_of_a_file() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &blobs(), sealed(2_000_000, 0));
    let first = disc(&path, 1, &["v000001.ctv"]);
    let into = home.path().join("parts");
    let contents = look(&[&first]);
    let volume = fs::read(first.join("v000001.ctv")).unwrap();
    fs::write(first.join("v000001.ctv"), &volume[..1_500_000]).unwrap();
    contents.stash(&contents.groups(), &into).unwrap_err();
    assert!(files(&into).iter().all(|folder| !into.join(folder).join("r000001.ctr").exists()));
    assert!(files(&into).iter().all(|folder| !folder.starts_with('.')));
    fs::write(first.join("v000001.ctv"), &volume).unwrap();
    let stash = contents.stash(&contents.groups(), &into).unwrap();
    look(&[&disc(&path, 2, &["v000002.ctv"]), &stash]);
}
