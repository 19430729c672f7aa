//! Transfers for the tests of the station and of the program `cofferdam-verify`, which takes this file by path.

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

/// Volumes of 100 000 bytes with a fifth of parity.
pub fn sealed(parent: &Path) -> PathBuf {
    let recipients = vec![SealingKey::from_secret(&[7; 32]).unwrap().recipient()];
    write(parent, Door::Sealed(Sealed { recipients, volume_size: 100_000, parity_permille: 200 }))
}

/// The same three items as files of their own.
pub fn flat(parent: &Path) -> PathBuf {
    write(parent, Door::Inspectable(Profile::default()))
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = 0x2545_F491_4F6C_DD1Du64 ^ seed;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}

fn write(parent: &Path, door: Door) -> PathBuf {
    let draft = HeaderDraft {
        source: "outside".parse().unwrap(),
        destinations: vec!["inside".parse().unwrap()],
        epoch: 1,
        seq: 3,
        prev: None,
        created: Timestamp::from_seconds(1_000),
        not_after: Timestamp::from_seconds(2_000),
        tool: "test 1".to_owned(),
        receipt: None,
        claims: [].into(),
        roots: Vec::new(),
    };
    let blobs = [noise(600_000, 1), noise(200_000, 2), b"hello".to_vec()];
    let mut writer = Writer::create(parent, draft, door).unwrap();
    let digests = blobs.iter().map(|b| Sha256::of(b)).collect();
    writer.add_record(Record::Artifact { value: serde_json::json!({ "n": 1 }), blobs: digests }).unwrap();
    for (n, blob) in blobs.iter().enumerate() {
        let name = format!("item-{n}.whl");
        writer.add_blob(Sha256::of(blob), blob.len() as u64, &name, blob.as_slice()).unwrap();
    }
    writer.finish(&[&key(1)], &()).unwrap().path
}
