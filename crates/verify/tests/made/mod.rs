//! Transfers for the tests of the program.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};

use cofferdam_transfer::{Door, HeaderDraft, Profile, Record, Sealed, Writer};
use cofferdam_trust::{SigningKey, age::SealingKey};
use cofferdam_types::{Sha256, Timestamp};

pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

pub fn public(n: u8) -> String {
    key(n).verifying_key().to_string()
}

pub fn sealed(parent: &Path) -> PathBuf {
    let recipients = vec![SealingKey::from_secret(&[7; 32]).unwrap().recipient()];
    write(parent, Door::Sealed(Sealed { recipients, volume_size: 70_000, parity_permille: 0 }))
}

pub fn flat(parent: &Path) -> PathBuf {
    write(parent, Door::Inspectable(Profile::default()))
}

fn write(parent: &Path, door: Door) -> PathBuf {
    let draft = HeaderDraft {
        source: "outside".parse().unwrap(),
        destinations: vec!["inside".parse().unwrap()],
        epoch: 1,
        seq: 1,
        prev: None,
        created: Timestamp::from_seconds(1_000),
        not_after: Timestamp::from_seconds(2_000),
        tool: "test 1".to_owned(),
        receipt: None,
        claims: [].into(),
        roots: Vec::new(),
    };
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()[6]
    };
    let blob: Vec<u8> = std::iter::repeat_with(&mut next).take(200_000).collect();
    let digest = Sha256::of(&blob);
    let mut writer = Writer::create(parent, draft, door).unwrap();
    writer.add_record(Record::Artifact { value: 1.into(), blobs: vec![digest] }).unwrap();
    writer.add_blob(digest, blob.len() as u64, "item.whl", blob.as_slice()).unwrap();
    writer.finish(&[&key(1)], &()).unwrap().path
}
