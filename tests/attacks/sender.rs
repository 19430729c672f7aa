//! A sender that has every key it should have, and does what it should not: transfers written well, then
//! altered and signed again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cofferdam_blobs::MultiHasher;
use cofferdam_transfer::{
    Door, FileEntry, Header, HeaderDraft, PREDICATE_TYPE, Profile, Record, Sealed, Suite, Writer,
};
use cofferdam_trust::{
    Envelope, STATEMENT_PAYLOAD_TYPE, SigningKey, Statement, Subject,
    age::{self, SealingKey},
    root::{Role, RoleKeys, Root, RootKey},
    sign, sign_statement,
};
use cofferdam_types::{Digests, Sha256, Timestamp};
use serde_json::{Value, json};

/// When the transfers are written, and until when they are fresh: seconds since 1970.
pub const CREATED: i64 = 1_750_000_000;
/// See [`CREATED`].
pub const NOT_AFTER: i64 = 4_000_000_000;
/// Bytes of a volume: the smallest that may be.
pub const VOLUME: u64 = 64 << 10;

/// A key that is the same in every run. 1 is the collector's, 2 the releaser's, 3 the root's.
pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

/// The key that transfers are sealed to: the receiving site's own.
pub fn sealing(n: u8) -> SealingKey {
    SealingKey::from_secret(&[n; 32]).unwrap()
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

/// Root documents of the sending site: two roles, two people; version 2 takes the releaser's key away.
pub fn root(version: u64) -> Root {
    let holder =
        |n: u8, person: &str| (key(n).id(), RootKey { key: key(n).verifying_key(), person: person.into() });
    let role = |n: u8| RoleKeys { keys: [key(n).id()].into(), threshold: 1 };
    let releaser = if version < 2 { 2 } else { 4 };
    Root {
        version,
        issued: Timestamp::from_seconds(CREATED),
        expires: Timestamp::from_seconds(NOT_AFTER),
        distinct_persons: true,
        keys: [holder(1, "ann"), holder(releaser, "ben"), holder(3, "eve"), holder(5, "ann")].into(),
        roles: [
            (Role::Root, role(3)),
            (Role::Collector, RoleKeys { keys: [key(1).id(), key(5).id()].into(), threshold: 1 }),
            (Role::Releaser, RoleKeys { keys: [key(releaser).id(), key(5).id()].into(), threshold: 1 }),
        ]
        .into(),
    }
}

/// A root document as it travels.
pub fn root_json(root: &Root, signers: &[u8]) -> Vec<u8> {
    let keys: Vec<SigningKey> = signers.iter().map(|n| key(*n)).collect();
    root.sign(&keys.iter().collect::<Vec<_>>()).unwrap().to_json().unwrap()
}

/// What a transfer is to be.
#[derive(Clone)]
pub struct Plan {
    pub to: String,
    pub epoch: u32,
    pub seq: u64,
    pub prev: Option<Sha256>,
    pub created: i64,
    pub not_after: i64,
    /// Path and bytes of what is carried.
    pub files: Vec<(String, Vec<u8>)>,
    /// Thousandths of parity.
    pub parity: u32,
    /// Flat files instead of packs.
    pub flat: bool,
    pub recipient: u8,
}

impl Plan {
    /// The first transfer: one file of several volumes and a small one.
    pub fn first() -> Self {
        Self {
            to: "inside".into(),
            epoch: 1,
            seq: 1,
            prev: None,
            created: CREATED,
            not_after: NOT_AFTER,
            files: vec![
                ("maps/a.bin".into(), noise(150_000, 1)),
                ("maps/b.txt".into(), b"hello ".repeat(50)),
            ],
            parity: 0,
            flat: false,
            recipient: 7,
        }
    }

    /// The one after `header`.
    pub fn after(header: Sha256, seq: u64) -> Self {
        let files = vec![(format!("maps/{seq}.bin"), noise(150_000, seq + 10))];
        Self { seq, prev: Some(header), files, ..Self::first() }
    }

    /// Writes it into `parent`, signed by collector and releaser: the folder, and its identity.
    pub fn write(&self, parent: &Path) -> (PathBuf, Sha256) {
        fs::create_dir_all(parent).unwrap();
        let door = if self.flat {
            Door::Inspectable(Profile::default())
        } else {
            let recipients = vec![sealing(self.recipient).recipient()];
            Door::Sealed(Sealed { recipients, volume_size: VOLUME, parity_permille: self.parity })
        };
        let draft = HeaderDraft {
            source: "outside".parse().unwrap(),
            destinations: vec![self.to.parse().unwrap()],
            epoch: self.epoch,
            seq: self.seq,
            prev: self.prev,
            created: Timestamp::from_seconds(self.created),
            not_after: Timestamp::from_seconds(self.not_after),
            tool: "a hostile sender".into(),
            receipt: None,
            claims: std::collections::BTreeMap::new(),
            roots: Vec::new(),
        };
        let mut writer = Writer::create(parent, draft, door).unwrap();
        let (name, format, role) = ("files".to_owned(), "generic".to_owned(), "hosted".to_owned());
        writer.add_record(Record::Repository { name, format, role }).unwrap();
        for (path, bytes) in &self.files {
            writer.add_record(claim(path, &digests(bytes))).unwrap();
        }
        for (path, bytes) in &self.files {
            let name = path.rsplit('/').next().unwrap();
            writer.add_blob(Sha256::of(bytes), bytes.len() as u64, name, bytes.as_slice()).unwrap();
        }
        let summary = writer.finish(&[&key(1), &key(2)], &()).unwrap();
        (summary.path, summary.header_sha256)
    }
}

pub fn digests(bytes: &[u8]) -> Digests {
    let mut hasher = MultiHasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// The line of one published file.
pub fn claim(path: &str, digests: &Digests) -> Record {
    let (folder, name) = path.rsplit_once('/').unwrap();
    let file = json!({ "path": path, "role": "file", "digests": digests, "meta": null });
    let draft = json!({
        "package": folder, "display": folder, "version": name, "meta": null, "files": [file], "pointers": [],
        "published": null, "yanked": null,
    });
    Record::Artifact { value: json!({ "repository": "files", "draft": draft }), blobs: vec![digests.sha256] }
}

/// A written transfer, taken apart.
pub struct Forge {
    pub folder: PathBuf,
    pub header: Header,
    /// The manifest's lines.
    pub lines: Vec<Value>,
}

impl Forge {
    pub fn open(folder: &Path) -> Self {
        let payload = payload(folder);
        let statement: Statement = serde_json::from_slice(&payload).unwrap();
        let header: Header = serde_json::from_value(statement.predicate).unwrap();
        let manifest = fs::read(folder.join(header.manifest_name())).unwrap();
        let plain = match header.suite {
            Suite::Inspectable => manifest,
            Suite::Sealed => zstd::decode_all(age::open(&manifest, &sealing(7)).unwrap().as_slice()).unwrap(),
        };
        let lines = plain.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        let lines = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        Self { folder: folder.to_owned(), header, lines }
    }

    /// The lines of one kind.
    pub fn of_kind(&mut self, kind: &str) -> Vec<&mut Value> {
        self.lines.iter_mut().filter(|line| line["kind"] == kind).collect()
    }

    /// Writes the lines as they stand now, and signs.
    pub fn write(self) -> PathBuf {
        let text: String = self.lines.iter().map(|line| canonical(line) + "\n").collect();
        self.write_plain(text.as_bytes())
    }

    /// Writes any bytes as the manifest, and signs.
    pub fn write_plain(mut self, plain: &[u8]) -> PathBuf {
        self.header.manifest.plain_sha256 = Sha256::of(plain);
        self.header.manifest.plain_size = plain.len() as u64;
        self.put_manifest(plain);
        self.sign()
    }

    /// Writes a manifest that the header says other things of.
    pub fn put_manifest(&self, plain: &[u8]) {
        let bytes = match self.header.suite {
            Suite::Inspectable => plain.to_vec(),
            Suite::Sealed => {
                let packed = zstd::encode_all(plain, 3).unwrap();
                age::seal(&packed, &self.header.recipients).unwrap()
            }
        };
        fs::write(self.folder.join(self.header.manifest_name()), bytes).unwrap();
    }

    /// One pack with these bytes inside (after `age -d`) instead of all that were there.
    pub fn one_pack(&mut self, packed: &[u8], raw: u64) {
        let sealed = age::seal(packed, &self.header.recipients).unwrap();
        for n in 1..=self.header.volumes() {
            fs::remove_file(self.folder.join(format!("v{n:06}.ctv"))).unwrap();
        }
        for (n, part) in sealed.chunks(VOLUME as usize).enumerate() {
            fs::write(self.folder.join(format!("v{:06}.ctv", n + 1)), part).unwrap();
        }
        let len = sealed.len() as u64;
        (self.header.payload.size, self.header.payload.packs) = (len, 1);
        self.lines.retain(|line| line["kind"] != "pack");
        let at = self.lines.iter().position(|line| line["kind"] == "blob").unwrap();
        self.lines.insert(at, json!({ "kind": "pack", "offset": 0, "len": len, "raw": raw }));
    }

    /// Lists what is in the folder and signs it all.
    pub fn sign(mut self) -> PathBuf {
        // What finds damage is over other bytes now, and may be left out.
        self.header.parity = None;
        let _ = fs::remove_file(self.folder.join("checks.ctk"));
        let mut names = vec!["README.txt".to_owned(), self.header.manifest_name().to_owned()];
        names.extend((1..=self.header.volumes()).map(|n| format!("v{n:06}.ctv")));
        let entry = |name: String| {
            let bytes = fs::read(self.folder.join(&name)).unwrap();
            FileEntry { name, size: bytes.len() as u64, sha256: Sha256::of(&bytes) }
        };
        self.header.files = names.into_iter().map(entry).collect();
        self.sign_as_it_is()
    }

    /// Signs the header as it stands now.
    pub fn sign_as_it_is(self) -> PathBuf {
        let subject = Subject::sha256("manifest.jsonl", self.header.manifest.plain_sha256);
        let predicate = serde_json::to_value(&self.header).unwrap();
        let statement = Statement::new(vec![subject], PREDICATE_TYPE, predicate);
        put_envelope(&self.folder, &sign_statement(&statement, &[&key(1), &key(2)]).unwrap());
        self.folder
    }
}

/// The spelling that the format demands: that of the types, not that of a JSON value.
fn canonical(line: &Value) -> String {
    match serde_json::from_value::<Record>(line.clone()) {
        Ok(record) => serde_json::to_string(&record).unwrap(),
        Err(_) => line.to_string(),
    }
}

pub fn envelope(folder: &Path) -> Envelope {
    Envelope::from_json(&fs::read(folder.join("header.dsse.json")).unwrap()).unwrap()
}

pub fn put_envelope(folder: &Path, envelope: &Envelope) {
    fs::write(folder.join("header.dsse.json"), envelope.to_json().unwrap()).unwrap();
}

/// The signed text of a header.
pub fn payload(folder: &Path) -> Vec<u8> {
    let keys = [1, 2].map(|n| key(n).verifying_key());
    cofferdam_trust::verify(&envelope(folder), &keys, 1).unwrap().payload
}

/// Alters the signed text of a header and signs it with the right keys.
#[track_caller]
pub fn resign(folder: &Path, from: &str, to: &str) {
    let text = String::from_utf8(payload(folder)).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let altered = text.replacen(from, to, 1);
    put_envelope(folder, &sign(STATEMENT_PAYLOAD_TYPE, altered.as_bytes(), &[&key(1), &key(2)]));
}
