//! The inspectable suite: a station opens, refuses and changes files one by one.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use cofferdam_transfer::{Door, Profile};

use crate::made::{Kept, by_digest, check, code, files, noise, open, read_all, write};

fn flat(parent: &Path) -> (PathBuf, Vec<Vec<u8>>) {
    let blobs = vec![noise(70_000, 1), b"print('hello')\n".to_vec(), noise(3, 2)];
    (write(parent, &blobs, Door::Inspectable(Profile::default())), blobs)
}

#[test]
fn every_item_is_a_file_with_its_own_name_and_no_key_is_needed() {
    let home = tempfile::tempdir().unwrap();
    let (path, blobs) = flat(home.path());
    assert_eq!(files(&path), ["README.txt", "files", "header.dsse.json", "manifest.jsonl"]);
    assert_eq!(files(&path.join("files")), ["item-0.whl", "item-1.whl", "item-2.whl"]);
    assert_eq!(fs::read(path.join("files/item-1.whl")).unwrap(), blobs[1]);
    let contents = check(&path).unwrap().contents(None, &()).unwrap();
    assert!(contents.door.is_empty());
    assert_eq!(read_all(&contents).unwrap(), by_digest(&blobs));
}

#[test]
fn what_a_station_removed_or_changed_is_told_by_name_and_left_out() {
    let home = tempfile::tempdir().unwrap();
    let (path, blobs) = flat(home.path());
    fs::remove_file(path.join("files/item-0.whl")).unwrap();
    fs::write(path.join("files/item-1.whl"), "print('cleaned')\n").unwrap();
    let contents = open(&path).unwrap();
    let told: Vec<_> = contents.door.iter().map(|f| (f.name.as_str(), f.fate)).collect();
    assert_eq!(told, [("item-0.whl", "removed"), ("item-1.whl", "changed")]);
    let kept = Kept::default();
    contents.read(&contents.groups(), &kept).unwrap();
    assert_eq!(*kept.0.lock().unwrap(), by_digest(&blobs[2..]));
    // Whoever brings the right file later must have it read: what was left out is not remembered as done.
    assert_eq!(*kept.1.lock().unwrap(), [2]);
}

#[test]
fn what_somebody_put_beside_the_files_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (path, _) = flat(home.path());
    fs::write(path.join("files/extra.exe"), "x").unwrap();
    assert_eq!(code(&path), "unexpected-file");
    fs::remove_file(path.join("files/extra.exe")).unwrap();
    fs::remove_file(path.join("files/item-2.whl")).unwrap();
    symlink("item-1.whl", path.join("files/item-2.whl")).unwrap();
    assert_eq!(code(&path), "not-a-regular-file");
    fs::remove_file(path.join("files/item-2.whl")).unwrap();
    fs::rename(path.join("files"), home.path().join("moved")).unwrap();
    symlink(home.path().join("moved"), path.join("files")).unwrap();
    assert_eq!(code(&path), "not-a-regular-file");
}

#[test]
fn a_changed_manifest_is_no_matter_of_the_door() {
    let home = tempfile::tempdir().unwrap();
    let (path, _) = flat(home.path());
    let manifest = path.join("manifest.jsonl");
    let text = fs::read_to_string(&manifest).unwrap().replace("item-1.whl", "item-9.whl");
    fs::write(manifest, text).unwrap();
    assert_eq!(code(&path), "digest-mismatch");
}
