//! What went in comes out.

use std::fs;

use cofferdam_transfer::{DEFAULT_VOLUME_BYTES, Record, Writer, verify};
use cofferdam_types::{Error, Sha256};

use crate::made::{
    by_digest, check, draft, files, key, noise, open, read_all, sealed, sealing, trust, write,
};

#[test]
fn blobs_of_every_size_cross_packs_and_volumes() {
    let home = tempfile::tempdir().unwrap();
    let blobs = vec![
        noise(20 << 20, 1),
        b"text ".repeat(100_000),
        Vec::new(),
        noise(5, 2),
        noise(8 << 20, 3),
        noise((8 << 20) + 1, 4),
        noise(16 << 20, 5),
        b"last ".repeat(9),
    ];
    let path = write(home.path(), &blobs, sealed(1_000_003, 50));
    let contents = open(&path).unwrap();
    let header = contents.header();
    assert!(header.volumes() > 50 && header.parity_volumes() > 1, "{} volumes", header.volumes());
    assert_eq!((contents.survey.signers.len(), contents.required().len()), (2, 1));
    assert_eq!(header.totals.blobs, blobs.len() as u64);
    assert!(read_all(&contents).unwrap() == by_digest(&blobs));
    let mut records = 0;
    contents
        .records::<Error>(|record| {
            records += usize::from(matches!(record, Record::Repository { .. } | Record::Artifact { .. }));
            Ok(())
        })
        .unwrap();
    assert_eq!(records, 2);
}

#[test]
fn either_recipient_opens_it_and_nobody_else_does() {
    let home = tempfile::tempdir().unwrap();
    let blobs = [b"secret".to_vec()];
    let path = write(home.path(), &blobs, sealed(DEFAULT_VOLUME_BYTES, 0));
    for n in [7, 8] {
        let contents = check(&path).unwrap().contents(Some(sealing(n)), &()).unwrap();
        assert_eq!(read_all(&contents).unwrap(), by_digest(&blobs));
    }
    assert_eq!(check(&path).unwrap().contents(Some(sealing(9)), &()).err().unwrap().code, "age-no-recipient");
    assert_eq!(check(&path).unwrap().contents(None, &()).err().unwrap().code, "no-key");
    for name in files(&path) {
        let bytes = fs::read(path.join(&name)).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"secret"), "{name} shows the secret");
    }
}

#[test]
fn the_files_of_a_transfer_may_lie_in_several_folders() {
    let home = tempfile::tempdir().unwrap();
    let blobs = [noise(3 << 20, 1)];
    let path = write(home.path(), &blobs, sealed(1 << 20, 0));
    let name = path.file_name().unwrap();
    let (first, second) = (home.path().join("disc1").join(name), home.path().join("disc2").join(name));
    for (n, file) in files(&path).into_iter().enumerate() {
        for folder in [&first, &second] {
            fs::create_dir_all(folder).unwrap();
        }
        let both = file == "header.dsse.json";
        for (m, folder) in [&first, &second].into_iter().enumerate() {
            if both || n % 2 == m {
                fs::copy(path.join(&file), folder.join(&file)).unwrap();
            }
        }
    }
    let trust = trust(&[1, 2], 2, "inside");
    assert_eq!(verify(&[&first], &trust, &()).err().unwrap().code, "missing-file");
    let survey = verify(&[&first, &second], &trust, &()).unwrap();
    let contents = survey.contents(Some(sealing(7)), &()).unwrap();
    assert!(read_all(&contents).unwrap() == by_digest(&blobs));
    let elsewhere = home.path().join("CT1-outside+inside-1-000002");
    fs::create_dir(&elsewhere).unwrap();
    assert_eq!(verify(&[&first, &elsewhere], &trust, &()).err().unwrap().code, "mixed-transfers");
}

#[test]
fn a_writer_that_stops_leaves_nothing_and_one_that_lies_is_caught() {
    let home = tempfile::tempdir().unwrap();
    let door = || sealed(DEFAULT_VOLUME_BYTES, 50);
    let mut writer = Writer::create(home.path(), draft(1), door()).unwrap();
    assert_eq!(Writer::create(home.path(), draft(1), door()).err().unwrap().code(), "transfer-busy");
    let digest = Sha256::of(b"a");
    for wrong in [b"b".as_slice(), b"", b"ab"] {
        assert_eq!(writer.add_blob(digest, 1, "a", wrong).unwrap_err().code(), "blob-mismatch");
    }
    assert_eq!(writer.finish(&[&key(1)], &()).unwrap_err().code(), "unfinished");

    let mut writer = Writer::create(home.path(), draft(1), door()).unwrap();
    writer.add_blob(digest, 1, "a", b"a".as_slice()).unwrap();
    assert_eq!(writer.finish(&[&key(1)], &()).unwrap_err().code(), "not-closed");
    let artifact = || Record::Artifact { value: serde_json::Value::Null, blobs: vec![digest] };
    let mut writer = Writer::create(home.path(), draft(1), door()).unwrap();
    writer.add_record(artifact()).unwrap();
    assert_eq!(writer.finish(&[&key(1)], &()).unwrap_err().code(), "not-closed");
    let mut writer = Writer::create(home.path(), draft(1), door()).unwrap();
    writer.add_record(artifact()).unwrap();
    writer.add_record(artifact()).unwrap();
    writer.add_blob(digest, 1, "a", b"a".as_slice()).unwrap();
    writer.add_blob(digest, 1, "a", b"a".as_slice()).unwrap();
    assert_eq!(writer.finish(&[&key(1)], &()).unwrap_err().code(), "bad-manifest");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}
