//! The vectors are read as their list says, and can be made again bit for bit.

use std::{collections::BTreeMap, fs, path::Path};

use cofferdam_transfer::{Authority, CheckOnly, Refusal, Trust, verify};
use cofferdam_trust::{Envelope, age::SealingKey, root::Root};
use cofferdam_types::Sha256;
use serde_json::Value;

use crate::{made, tools};

/// A line of the list.
#[derive(Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vector {
    pub name: String,
    pub folder: String,
    pub keys: Vec<String>,
    pub threshold: usize,
    pub site: String,
    pub identity: Option<String>,
    pub verdict: String,
    pub code: Option<String>,
    pub header_sha256: Option<Sha256>,
    pub door: Option<Vec<String>>,
    pub blobs: Option<Vec<Carried>>,
    pub root: Option<TrustedRoot>,
}

#[derive(Clone, serde::Deserialize)]
pub struct Carried {
    pub sha256: Sha256,
    pub size: u64,
}

#[derive(Clone, serde::Deserialize)]
pub struct TrustedRoot {
    file: String,
    fingerprint: Sha256,
}

/// What a reader says of a transfer that it takes: its identity and what happened at the door.
pub type Verdict = (Sha256, Vec<String>);

impl Vector {
    /// Whom the reader of this vector believes.
    pub fn trust(&self) -> Trust {
        let keys = self.keys.iter().map(|k| k.parse().unwrap()).collect();
        let authority = Authority::Keys { keys, threshold: self.threshold };
        Trust { authority, this_site: Some(self.site.parse().unwrap()) }
    }

    pub fn key(&self) -> Option<SealingKey> {
        self.identity.as_ref().map(|text| SealingKey::from_secret_text(text).unwrap())
    }

    /// Everything that this crate can check of a folder.
    pub fn read(&self, folder: &Path) -> Result<Verdict, Refusal> {
        self.read_by(folder, &self.trust())
    }

    fn read_by(&self, folder: &Path, trust: &Trust) -> Result<Verdict, Refusal> {
        let contents = verify(&[folder], trust, &())?.contents(self.key(), &())?;
        contents.read(&contents.groups(), &CheckOnly)?;
        let mut door: Vec<String> = contents.door.iter().map(|f| format!("{} {}", f.fate, f.name)).collect();
        door.sort();
        Ok((contents.survey.header_sha256, door))
    }
}

pub fn list() -> Vec<Vector> {
    let text = fs::read(tools::spec().join("vectors/vectors.json")).unwrap();
    let all: Value = serde_json::from_slice(&text).unwrap();
    serde_json::from_value(all["vectors"].clone()).unwrap()
}

#[test]
fn every_vector_is_read_as_its_list_says() {
    for vector in list() {
        let folder = tools::spec().join("vectors").join(&vector.folder);
        match (vector.verdict.as_str(), vector.read(&folder)) {
            ("verified", Ok((identity, door))) => {
                assert_eq!(Some(identity), vector.header_sha256, "{}", vector.name);
                assert_eq!(Some(door), vector.door, "{}", vector.name);
                let contents =
                    verify(&[&folder], &vector.trust(), &()).unwrap().contents(vector.key(), &()).unwrap();
                let mut blobs: Vec<_> = contents.blobs().iter().map(|b| (b.sha256, b.size)).collect();
                blobs.sort();
                let listed: Vec<_> = vector.blobs.unwrap().iter().map(|b| (b.sha256, b.size)).collect();
                assert_eq!(blobs, listed, "{}", vector.name);
            }
            ("refused", Err(refusal)) => {
                assert_eq!(Some(refusal.code), vector.code.as_deref(), "{}", vector.name)
            }
            (said, found) => panic!("{}: {said}, and it was {found:?}", vector.name),
        }
    }
}

#[test]
fn a_rotated_root_is_followed_from_the_one_that_the_receiver_trusts() {
    let vector = list().into_iter().find(|v| v.root.is_some()).unwrap();
    let trusted = vector.root.clone().unwrap();
    let home = tools::spec().join("vectors");
    let envelope = Envelope::from_json(&fs::read(home.join(trusted.file)).unwrap()).unwrap();
    let root = Root::first(&envelope, trusted.fingerprint).unwrap();
    let trust = Trust { authority: Authority::Root(Box::new(root)), this_site: None };
    let folder = home.join(&vector.folder);
    assert_eq!(Some(vector.read_by(&folder, &trust).unwrap().0), vector.header_sha256);
    let survey = verify(&[&folder], &trust, &()).unwrap();
    assert_eq!(survey.roots.iter().map(|(root, _)| root.version).collect::<Vec<_>>(), [2, 3]);

    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join(folder.file_name().unwrap());
    tools::copy(&folder, &copied);
    fs::remove_file(copied.join("root.2.dsse.json")).unwrap();
    assert_eq!(vector.read_by(&copied, &trust).unwrap_err().code, "root-skipped");
}

fn contents(folder: &Path, under: &str, out: &mut BTreeMap<String, Vec<u8>>) {
    for name in tools::names(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            contents(&path, &format!("{under}{name}/"), out);
        } else if name != "README.md" {
            out.insert(format!("{under}{name}"), fs::read(path).unwrap());
        }
    }
}

#[test]
fn the_vectors_can_be_made_again_bit_for_bit() {
    let home = tempfile::tempdir().unwrap();
    made::make(home.path());
    let (mut made, mut kept) = (BTreeMap::new(), BTreeMap::new());
    contents(home.path(), "", &mut made);
    contents(&tools::spec().join("vectors"), "", &mut kept);
    assert_eq!(made.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>());
    for (name, bytes) in made {
        assert!(bytes == kept[&name], "{name} is another than the one in docs/spec/vectors");
    }
}

/// Writes them: `cargo test -p cofferdam-transfer --test spec make_the_vectors -- --ignored`
#[test]
#[ignore = "writes into docs/spec/vectors"]
fn make_the_vectors() {
    let into = tools::spec().join("vectors");
    for name in tools::names(&into).into_iter().filter(|n| n != "README.md") {
        let path = into.join(name);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    made::make(&into);
}
