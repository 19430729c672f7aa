//! The transfers of `docs/spec/vectors`, made with fixed keys and fixed entropy: the same bytes every time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use cofferdam_transfer::{Door, EntropyByFile, HeaderDraft, Profile, Record, Sealed, Summary, Writer};
use cofferdam_trust::{
    Envelope, SigningKey, Statement, Subject, VerifyingKey,
    age::{Entropy, Recipient, SealingKey},
    root::{Role, RoleKeys, Root, RootKey},
    sign_statement,
};
use cofferdam_types::{Sha256, Timestamp};
use serde_json::{Value, json};

use crate::{mutants, tools};

/// The signing key whose seed is 32 times `n`.
pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32]).unwrap()
}

pub fn public(n: u8) -> VerifyingKey {
    key(n).verifying_key()
}

/// The sealing key whose secret is 32 times `n`: 7 is the site `inside`, 8 its spare.
pub fn sealing(n: u8) -> SealingKey {
    SealingKey::from_secret(&[n; 32]).unwrap()
}

/// SHA-256 of a label, the file's number and a counter, one block after the other.
fn entropy(label: &'static str) -> EntropyByFile {
    Arc::new(move |file| {
        let mut block = 0u64;
        let source = move |out: &mut [u8]| {
            for part in out.chunks_mut(32) {
                let text = format!("cofferdam vector {label} file {file} block {block}");
                part.copy_from_slice(&Sha256::of(text.as_bytes()).0[..part.len()]);
                block += 1;
            }
            Ok(())
        };
        Box::new(source) as Box<dyn Entropy>
    })
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    tools::Dice(seed).bytes(len)
}

fn draft(destinations: &[&str], epoch: u32, seq: u64) -> HeaderDraft {
    HeaderDraft {
        source: "outside".parse().unwrap(),
        destinations: destinations.iter().map(|d| d.parse().unwrap()).collect(),
        epoch,
        seq,
        prev: None,
        created: Timestamp::parse("2026-11-02T08:30:00.250Z").unwrap(),
        not_after: Timestamp::parse("2027-01-31T08:30:00Z").unwrap(),
        tool: "vectors 1".to_owned(),
        receipt: None,
        claims: BTreeMap::new(),
        roots: Vec::new(),
    }
}

fn sealed(volume_size: u64, parity_permille: u32) -> Door {
    let recipients = vec![sealing(7).recipient(), sealing(8).recipient()];
    Door::Sealed(Sealed { recipients, volume_size, parity_permille })
}

/// What is written into one transfer.
struct Plan {
    name: &'static str,
    draft: HeaderDraft,
    door: Door,
    blobs: Vec<(&'static str, Vec<u8>)>,
    required: Vec<(Sha256, u64)>,
    records: Vec<Record>,
    signers: Vec<u8>,
}

impl Plan {
    fn new(name: &'static str, draft: HeaderDraft, door: Door, blobs: Vec<(&'static str, Vec<u8>)>) -> Self {
        Self { name, draft, door, blobs, required: Vec::new(), records: Vec::new(), signers: vec![1, 2] }
    }

    fn write(self, into: &Path) -> Summary {
        let parent = into.join(self.name);
        fs::create_dir_all(&parent).unwrap();
        let mut writer =
            Writer::create_with_entropy(&parent, self.draft, self.door, &entropy(self.name)).unwrap();
        for record in self.records {
            writer.add_record(record).unwrap();
        }
        let blobs: Vec<Sha256> = self.blobs.iter().map(|(_, bytes)| Sha256::of(bytes)).collect();
        let all = blobs.iter().copied().chain(self.required.iter().map(|r| r.0)).collect();
        if !self.blobs.is_empty() {
            let value = json!({"name": "two", "ö": ["\u{1}\"\\/", -1, 0.1, 1e-7, 1e21, true, null, {}]});
            writer.add_record(Record::Artifact { value, blobs: all }).unwrap();
        }
        for (sha256, size) in self.required {
            writer.add_required(sha256, size).unwrap();
        }
        for ((name, bytes), sha256) in self.blobs.iter().zip(blobs) {
            writer.add_blob(sha256, bytes.len() as u64, name, bytes.as_slice()).unwrap();
        }
        let keys: Vec<SigningKey> = self.signers.iter().map(|n| key(*n)).collect();
        writer.finish(&keys.iter().collect::<Vec<_>>(), &()).unwrap()
    }
}

fn descriptions(bundle: Sha256) -> Vec<Record> {
    let text = |text: &str| text.to_owned();
    let statement = Statement::new(
        vec![Subject::sha256("a", Sha256::of(b"a"))],
        "https://cofferdam.dev/example/v1",
        json!({"said": "by a collector"}),
    );
    vec![
        Record::Repository { name: text("py"), format: text("pypi"), role: text("mirror") },
        Record::Git {
            project: text("tools/berth"),
            refs: [("refs/heads/main", "1"), ("refs/tags/v1", "2")]
                .map(|(k, v)| (text(k), v.repeat(40)))
                .into(),
            bundle,
        },
        Record::Statement { envelope: sign_statement(&statement, &[&key(1)]).unwrap() },
    ]
}

/// A root with its people; `n` are the seeds of the collector and the releaser.
fn root(version: u64, [collector, releaser]: [u8; 2]) -> Root {
    let people = [(3, "Cleo"), (4, "Dora"), (collector, "Anna"), (releaser, "Bert")];
    let role = |keys: &[u8], threshold| RoleKeys {
        keys: keys.iter().map(|n| key(*n).id()).collect::<BTreeSet<_>>(),
        threshold,
    };
    Root {
        version,
        issued: Timestamp::from_seconds(1_700_000_000),
        expires: Timestamp::from_seconds(1_900_000_000),
        distinct_persons: true,
        keys: people
            .iter()
            .map(|(n, person)| (key(*n).id(), RootKey { key: public(*n), person: (*person).to_owned() }))
            .collect(),
        roles: [
            (Role::Root, role(&[3, 4], 2)),
            (Role::Collector, role(&[collector], 1)),
            (Role::Releaser, role(&[releaser], 1)),
        ]
        .into(),
    }
}

/// The root that the receiver of the vector `rotated` trusts already.
pub fn first_root() -> Envelope {
    root(1, [1, 2]).sign(&[&key(3), &key(4)]).unwrap()
}

fn later_roots() -> Vec<(u32, Vec<u8>)> {
    let signed = |r: Root| r.sign(&[&key(3), &key(4)]).unwrap().to_json().unwrap();
    vec![(2, signed(root(2, [5, 2]))), (3, signed(root(3, [5, 6])))]
}

fn plans() -> Vec<Plan> {
    let bundle = b"# v2 git bundle\n".to_vec();
    let mut first = Plan::new(
        "sealed",
        draft(&["inside"], 1, 1),
        sealed(65_536, 50),
        vec![
            ("noise.whl", noise(1, 135_000)),
            ("text.txt", b"The same line, again and again.\n".repeat(200)),
            ("empty", Vec::new()),
            ("small.bin", noise(2, 5)),
            ("berth.bundle", bundle.clone()),
        ],
    );
    first.records = descriptions(Sha256::of(&bundle));
    let mut requires = Plan::new(
        "requires",
        HeaderDraft {
            prev: Some(Sha256::of(b"the transfer before")),
            receipt: Some(Sha256::of(b"a receipt")),
            claims: [("rehearsal".to_owned(), Sha256::of(b"r")), ("scan".to_owned(), Sha256::of(b"s"))]
                .into(),
            ..draft(&["inside", "annex"], 1, 2)
        },
        sealed(4_000_000_000, 0),
        vec![("new.txt", b"new\n".repeat(300))],
    );
    requires.required = [b"held 1".as_slice(), b"held 2", b"held 3"].map(|b| (Sha256::of(b), 6)).into();
    let mut rotated = Plan::new(
        "rotated",
        HeaderDraft { roots: later_roots(), ..draft(&["inside"], 1, 3) },
        sealed(4_000_000_000, 1000),
        vec![("one.txt", b"signed by those whom the newest root names\n".to_vec())],
    );
    rotated.signers = vec![5, 6];
    let long = b"0123456789abcde\n".repeat((9 << 20) / 16);
    let chain = Plan::new(
        "chain",
        draft(&["inside"], 1, 4),
        sealed(4_000_000_000, 50),
        vec![
            ("before.txt", b"before".to_vec()),
            ("long.txt", long),
            ("after.txt", b"after".to_vec()),
            ("empty", Vec::new()),
        ],
    );
    let nothing = Plan::new("nothing", draft(&["inside"], 1, 5), sealed(4_000_000_000, 50), Vec::new());
    let mut flat = Plan::new(
        "inspectable",
        draft(&["inside"], 2, 1),
        Door::Inspectable(Profile::default()),
        vec![
            ("packages/Two-2.0-py3-none-any.whl", noise(3, 900)),
            ("two-2.0.tgz", b"not really a tarball\n".to_vec()),
            ("TWO-2.0.tgz", b"nor this\n".to_vec()),
            ("con.txt", Vec::new()),
            ("berth.bundle", bundle.clone()),
        ],
    );
    flat.records = descriptions(Sha256::of(&bundle));
    flat.required = vec![(Sha256::of(b"held 1"), 6)];
    vec![first, requires, rotated, chain, nothing, flat]
}

/// What `vectors.json` says of a vector.
fn entry(name: &str, folder: &Path, into: &Path, verdict: Value) -> Value {
    let keys: Vec<VerifyingKey> =
        if name == "rotated" { vec![public(5), public(6)] } else { vec![public(1), public(2)] };
    let flat = folder.join("files").exists();
    let identity = (!flat).then(|| sealing(7).to_secret_text().unwrap().expose().clone());
    let mut entry = json!({
        "name": name,
        "folder": folder.strip_prefix(into).unwrap(),
        "keys": keys,
        "threshold": 2,
        "site": "inside",
        "identity": identity,
    });
    entry.as_object_mut().unwrap().extend(verdict.as_object().unwrap().clone());
    entry
}

/// Makes all vectors and their list.
pub fn make(into: &Path) {
    let mut list = Vec::new();
    let mut at: BTreeMap<&str, PathBuf> = BTreeMap::new();
    for plan in plans() {
        let (name, blobs) = (plan.name, plan.blobs.clone());
        let made = plan.write(into);
        let mut blobs: Vec<Value> =
            blobs.iter().map(|(_, b)| json!({"sha256": Sha256::of(b), "size": b.len()})).collect();
        blobs.sort_by_key(|b| b["sha256"].to_string());
        let mut verdict =
            json!({"verdict": "verified", "headerSha256": made.header_sha256, "door": [], "blobs": blobs});
        if name == "rotated" {
            let first = first_root();
            fs::write(into.join("root.1.dsse.json"), first.to_json().unwrap()).unwrap();
            let root = Root::read_unverified(&first).unwrap();
            verdict["root"] = json!({"file": "root.1.dsse.json", "fingerprint": root.fingerprint().unwrap()});
        }
        list.push(entry(name, &made.path, into, verdict));
        at.insert(name, made.path);
    }
    let refused = |code: &str| json!({"verdict": "refused", "code": code});
    for (name, from, change, code) in mutants::known() {
        let folder = into.join(name).join(at[from].file_name().unwrap());
        tools::copy(&at[from], &folder);
        change(&folder);
        let mut verdict = refused(code);
        if name == "at-the-door" {
            let original = list.iter().find(|v| v["name"] == from).unwrap();
            verdict = json!({"verdict": "verified", "headerSha256": original["headerSha256"],
                "door": ["changed two-2.0.tgz", "removed berth.bundle"], "blobs": original["blobs"]});
        }
        list.push(entry(name, &folder, into, verdict));
    }
    // The same folder for somebody who trusts others, or is another.
    let original = list.iter().find(|v| v["name"] == "requires").unwrap().clone();
    for (name, member, value, code) in [
        ("one-stranger", "keys", json!([public(1), public(3)]), "too-few-signatures"),
        ("not-enough-keys", "threshold", json!(3), "no-threshold"),
        ("for-others", "site", json!("elsewhere"), "other-destination"),
        (
            "wrong-identity",
            "identity",
            json!(sealing(9).to_secret_text().unwrap().expose()),
            "age-no-recipient",
        ),
    ] {
        let mut other = original.clone();
        let map = other.as_object_mut().unwrap();
        map.retain(|member, _| !["headerSha256", "door", "blobs"].contains(&member.as_str()));
        map.extend(refused(code).as_object().unwrap().clone());
        other["name"] = json!(name);
        other[member] = value;
        list.push(other);
    }
    let recipients: Vec<Recipient> = [7, 8].iter().map(|n| sealing(*n).recipient()).collect();
    let all = json!({
        "about": "Keys whose secrets are 32 equal bytes. They protect nothing.",
        "signers": (1..=6u8).map(|n| json!({"seedByte": n, "key": public(n), "keyid": key(n).id()})).collect::<Vec<_>>(),
        "recipients": recipients,
        "vectors": list,
    });
    fs::write(into.join("vectors.json"), serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}
