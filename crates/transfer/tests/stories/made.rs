//! Transfers for the stories: keys, drafts and a sink that keeps what it is given.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Mutex,
};

use cofferdam_transfer::{
    Authority, BlobEntry, Contents, Door, Group, HeaderDraft, Record, Refusal, Sealed, Sink, Survey, Trust,
    Writer, mismatch, verify,
};
use cofferdam_trust::{SigningKey, age::SealingKey};
use cofferdam_types::{Sha256, Timestamp};

pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

pub fn sealing(n: u8) -> SealingKey {
    SealingKey::from_secret(&[n; 32]).unwrap()
}

pub fn trust(keys: &[u8], threshold: usize, site: &str) -> Trust {
    let keys = keys.iter().map(|n| key(*n).verifying_key()).collect();
    Trust { authority: Authority::Keys { keys, threshold }, this_site: Some(site.parse().unwrap()) }
}

pub fn draft(seq: u64) -> HeaderDraft {
    HeaderDraft {
        source: "outside".parse().unwrap(),
        destinations: vec!["inside".parse().unwrap()],
        epoch: 1,
        seq,
        prev: None,
        created: Timestamp::from_seconds(1_000),
        not_after: Timestamp::from_seconds(2_000),
        tool: "test 1".to_owned(),
        receipt: None,
        claims: [("rehearsal".to_owned(), Sha256::of(b"r"))].into(),
        roots: Vec::new(),
    }
}

/// Bytes that do not compress, the same every time.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut x = 0x2545_F491_4F6C_DD1Du64 ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[3]
    })
    .take(len)
    .collect()
}

pub fn sealed(volume_size: u64, parity_permille: u32) -> Door {
    let recipients = vec![sealing(7).recipient(), sealing(8).recipient()];
    Door::Sealed(Sealed { recipients, volume_size, parity_permille })
}

/// Writes a transfer of these blobs that also requires one; signed by the keys 1 and 2.
pub fn write(parent: &Path, blobs: &[Vec<u8>], door: Door) -> PathBuf {
    let mut writer = Writer::create(parent, draft(1), door).unwrap();
    let held = Sha256::of(b"held inside");
    let digests: Vec<_> = blobs.iter().map(|b| Sha256::of(b)).chain([held]).collect();
    let (name, format, role) = ("py".to_owned(), "pypi".to_owned(), "proxy".to_owned());
    writer.add_record(Record::Repository { name, format, role }).unwrap();
    writer.add_record(Record::Artifact { value: serde_json::json!({"n": 1}), blobs: digests }).unwrap();
    writer.add_required(held, 11).unwrap();
    for (n, blob) in blobs.iter().enumerate() {
        writer
            .add_blob(Sha256::of(blob), blob.len() as u64, &format!("item-{n}.whl"), blob.as_slice())
            .unwrap();
    }
    writer.finish(&[&key(1), &key(2)], &()).unwrap().path
}

/// One volume, no more than a few kilobytes.
pub fn small(parent: &Path) -> PathBuf {
    write(parent, &[b"hello ".repeat(50), noise(300, 1), Vec::new()], sealed(4_000_000_000, 50))
}

pub fn check(dir: &Path) -> Result<Survey, Refusal> {
    verify(&[dir], &trust(&[1, 2], 2, "inside"), &())
}

pub fn open(dir: &Path) -> Result<Contents, Refusal> {
    check(dir)?.contents(Some(sealing(7)), &())
}

pub fn code(dir: &Path) -> &'static str {
    open(dir).err().expect("it must be refused").code
}

/// Keeps every blob that it is given.
#[derive(Default)]
pub struct Kept(pub Mutex<BTreeMap<Sha256, Vec<u8>>>, pub Mutex<Vec<u32>>);

impl Sink for Kept {
    type Error = Refusal;

    fn blob(&self, entry: &BlobEntry, bytes: &mut dyn Read) -> Result<(), Refusal> {
        let mut all = Vec::new();
        bytes.read_to_end(&mut all).map_err(|_| mismatch(&entry.sha256))?;
        if Sha256::of(&all) != entry.sha256 {
            return Err(mismatch(&entry.sha256));
        }
        self.0.lock().unwrap().insert(entry.sha256, all);
        Ok(())
    }

    fn done(&self, group: &Group) -> Result<(), Refusal> {
        self.1.lock().unwrap().push(group.first);
        Ok(())
    }
}

pub fn read_all(contents: &Contents) -> Result<BTreeMap<Sha256, Vec<u8>>, Refusal> {
    let kept = Kept::default();
    contents.read(&contents.groups(), &kept)?;
    Ok(kept.0.into_inner().unwrap())
}

pub fn by_digest(blobs: &[Vec<u8>]) -> BTreeMap<Sha256, Vec<u8>> {
    blobs.iter().map(|b| (Sha256::of(b), b.clone())).collect()
}

pub fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
