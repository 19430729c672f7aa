//! A transfer dealt out to a set of media is the same transfer, whatever the order of the media.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use cofferdam_transfer::{Door, Media, Profile, Survey, flat_files, lay_out, plan};

use crate::made::{by_digest, check, files, noise, open, read_all, sealed, sealing, trust, write};

#[test]
fn a_set_of_small_media_is_read_in_any_order_and_nothing_was_copied() {
    let home = tempfile::tempdir().unwrap();
    let media = Media::parse("400KB").unwrap();
    let blobs = vec![noise(900_000, 1), noise(400_000, 2)];
    let path = write(home.path(), &blobs, sealed(media.volume_size(), 100));
    let header = check(&path).unwrap().header;
    let bytes = fs::metadata(path.join("header.dsse.json")).unwrap().len();
    let discs = plan(&header, bytes, &[], &media).unwrap();
    assert!(discs.len() >= 4, "{discs:?}");
    for disc in &discs {
        assert!(disc.bytes <= 400_000, "{disc:?}");
        assert!(disc.files.starts_with(&["header.dsse.json".into(), "README.txt".into()]), "{disc:?}");
        assert!(disc.files.iter().any(|f| f == "manifest.jsonl.zst.age"), "{disc:?}");
    }
    let dealt: usize = discs.iter().flat_map(|d| &d.files).filter(|f| f.ends_with(".ctv")).count();
    assert_eq!(dealt, header.volumes() as usize);

    let laid = lay_out(&path, &discs, &home.path().join("set")).unwrap();
    assert!(laid.to_copy.is_empty());
    let name = path.file_name().unwrap();
    let folders: Vec<_> = laid.discs.iter().rev().map(|d| d.join(name)).collect();
    let one = fs::metadata(folders[0].join("header.dsse.json")).unwrap();
    assert_eq!(one.ino(), fs::metadata(path.join("header.dsse.json")).unwrap().ino());
    fs::remove_dir_all(&path).unwrap();
    let folders: Vec<&Path> = folders.iter().map(AsRef::as_ref).collect();
    let mut survey = Survey::open(&folders, &trust(&[1, 2], 2, "inside")).unwrap();
    survey.hash(&()).unwrap();
    survey.require_whole().unwrap();
    assert!(read_all(&survey.contents(Some(sealing(7)), &()).unwrap()).unwrap() == by_digest(&blobs));
}

#[test]
fn a_medium_too_small_for_a_volume_is_told_and_an_old_layout_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let path = write(home.path(), &[noise(900_000, 1)], sealed(800_000, 0));
    let header = check(&path).unwrap().header;
    let error = plan(&header, 4_000, &[], &Media::parse("600KB").unwrap()).unwrap_err();
    assert!(error.code() == "fits-nowhere" && error.message().contains("v000001.ctv"), "{error}");

    let all = plan(&header, 4_000, &[], &Media::parse("fat32").unwrap()).unwrap();
    assert_eq!((all.len(), all[0].files.len()), (1, header.files.len() + 1));
    let into = home.path().join("set");
    lay_out(&path, &all, &into).unwrap();
    let before = files(&into.join("disc-001").join(path.file_name().unwrap()));
    assert_eq!(lay_out(&path, &all, &into).unwrap_err().code(), "disc-exists");
    assert_eq!(files(&into.join("disc-001").join(path.file_name().unwrap())), before);
}

#[test]
fn flat_files_are_dealt_out_too() {
    let home = tempfile::tempdir().unwrap();
    let blobs = vec![noise(150_000, 1), noise(150_000, 2), noise(100_000, 3)];
    let path = write(home.path(), &blobs, Door::Inspectable(Profile::default()));
    let header = check(&path).unwrap().header;
    let flat = flat_files(&path).unwrap();
    assert_eq!(flat.len(), 3);
    let discs = plan(&header, 4_000, &flat, &Media::parse("300KB").unwrap()).unwrap();
    assert_eq!(discs.len(), 2, "{discs:?}");
    let laid = lay_out(&path, &discs, &home.path().join("set")).unwrap();
    let name = path.file_name().unwrap();
    let folders: Vec<_> = laid.discs.iter().map(|d| d.join(name)).collect();
    // One medium alone is read as a transfer of which the door removed something.
    assert_eq!(open(&folders[1]).unwrap().door.len(), flat.len() - (discs[1].files.len() - 3));
    let folders: Vec<&Path> = folders.iter().map(AsRef::as_ref).collect();
    let mut survey = Survey::open(&folders, &trust(&[1, 2], 2, "inside")).unwrap();
    survey.hash(&()).unwrap();
    assert!(survey.contents(None, &()).unwrap().door.is_empty());
}
