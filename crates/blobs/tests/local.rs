//! Blobs on local disk: the contract, and what crashes and bad disks do.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use cofferdam_blobs::{Blobs as _, LocalBlobs, conformance};
use cofferdam_types::{ErrorKind, Sha256};
use futures::TryStreamExt as _;

#[tokio::test]
async fn it_keeps_the_contract() {
    let home = tempfile::tempdir().unwrap();
    conformance::check(&LocalBlobs::open(home.path()).unwrap()).await;
    assert_eq!(fs::read_dir(home.path().join("tmp")).unwrap().count(), 0, "nothing half-done remains");
}

#[tokio::test]
async fn a_flipped_byte_never_becomes_a_complete_body() {
    let home = tempfile::tempdir().unwrap();
    let blobs = LocalBlobs::open(home.path()).unwrap();
    let text = vec![7u8; 600_000];
    let digests = blobs.put(conformance::body(&[&text]), 1 << 20).await.unwrap();
    let hex = digests.sha256.to_hex();
    let path = home.path().join("sha256").join(&hex[..2]).join(&hex[2..]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::write(&path, bytes).unwrap();

    assert!(!blobs.verify(&digests.sha256).await.unwrap());
    let mut stream = blobs.read(&digests.sha256, None).await.unwrap();
    let mut got = 0;
    let error = loop {
        match stream.try_next().await {
            Ok(Some(chunk)) => got += chunk.len(),
            Ok(None) => panic!("a damaged blob was handed out as whole"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::VerificationFailed);
    assert!(got < text.len(), "the client can tell that the body is not complete");
}

#[tokio::test]
async fn a_crash_while_writing_leaves_nothing_after_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    drop(LocalBlobs::open(home.path()).unwrap());
    fs::write(home.path().join("tmp/1234-0"), b"half of a blob").unwrap();
    let blobs = LocalBlobs::open(home.path()).unwrap();
    assert_eq!(fs::read_dir(home.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(blobs.list(None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(home.path()).status();
    if !mounted.is_ok_and(|s| s.success()) {
        println!("skipped: full disk: this account may not mount a small file system");
        return;
    }
    let blobs = LocalBlobs::open(home.path()).unwrap();
    let big = vec![1u8; 4 << 20];
    let error = blobs.put(conformance::body(&[&big]), 1 << 30).await.unwrap_err();
    let left = fs::read_dir(home.path().join("tmp")).unwrap().count();
    let small = blobs.put(conformance::body(&[b"small"]), 10).await.map(|d| d.sha256);
    assert!(Command::new("umount").arg(home.path()).status().unwrap().success());
    assert_eq!((error.kind(), left), (ErrorKind::NoSpace, 0), "{error}");
    assert_eq!(small.ok(), Some(Sha256::of(b"small")), "the store goes on");
}

#[tokio::test]
async fn a_batch_of_thousands_holds_few_files_open() {
    let home = tempfile::tempdir().unwrap();
    let blobs = LocalBlobs::open(home.path()).unwrap();
    let mut batch = blobs.batch().unwrap();
    for n in 0..3_000u32 {
        let bytes = n.to_le_bytes();
        batch.put(&Sha256::of(&bytes), 4, &mut bytes.as_slice()).unwrap();
    }
    // The other tests of this process hold some, too.
    let open = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 300, "{open} files are open");
    batch.commit().unwrap();
    assert_eq!(blobs.list(None, 5_000).await.unwrap().len(), 3_000);
    assert_eq!(fs::read_dir(home.path().join("tmp")).unwrap().count(), 0);
}
