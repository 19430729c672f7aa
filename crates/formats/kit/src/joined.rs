//! Proofs that join several recorded files: a module's archive and the checksum database's answer for it.
//!
//! A format looks at all files of one repository that came together, when a recording ends and again when a
//! transfer is received, and says of each what upstream's own proofs make of it. Nothing here is taken from a
//! claim: findings are made from bytes and keys. This module must never say that a key is to be trusted: it
//! says whose it is and who brought it.

use cofferdam_types::Sha256;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A file that came with others.
#[derive(Clone, Debug)]
pub struct Together {
    /// Its path below the repository.
    pub path: String,
    /// Its bytes.
    pub sha256: Sha256,
    /// Their number.
    pub size: u64,
    /// Its metadata.
    pub meta: Value,
}

/// What a proof says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// What the text says was checked, and holds.
    Holds,
    /// Something could not be checked; the text says what and why. It refuses nothing.
    Unchecked,
    /// It was checked and does not hold: the release is refused.
    Wrong,
}

/// One proof of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file's path below the repository.
    pub path: String,
    /// The kind of proof, and the code of a failure.
    pub kind: String,
    /// What became of it.
    pub verdict: Verdict,
    /// The same for people: what was checked, and what was not.
    pub text: String,
}

/// What a file is, by a package URL: what the file, or an index that names it, says. A help for people, no proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The file's path below the repository.
    pub path: String,
    /// The package URL.
    pub purl: String,
}

/// Who says that a key is upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// This site's configuration.
    Site,
    /// The recording: what its machine's own clients are set up with.
    Recording,
}

/// A verifier key of signed notes, `<name>+<hash>+<key>` (C2SP `signed-note.md`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteKey {
    /// The key as text.
    pub key: String,
    /// Who brought it.
    pub origin: Origin,
}

/// Keys with which upstream signs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpstreamKeys {
    /// Of signed notes: checksum databases.
    pub notes: Vec<NoteKey>,
    /// Certificates of the authorities that this site believes, PEM, one after the other. They never come along.
    pub authorities: String,
}

impl UpstreamKeys {
    /// Keys of signed notes from one side, the blank ones left out; 64 at the most.
    #[must_use]
    pub fn notes(keys: &[String], origin: Origin) -> Self {
        let keys = keys.iter().map(|key| key.trim()).filter(|key| !key.is_empty() && key.len() <= 1024);
        let notes = keys.take(64).map(|key| NoteKey { key: key.to_owned(), origin }).collect();
        Self { notes, ..Self::default() }
    }

    /// These and others; the own ones first.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.notes.extend(other.notes);
        self
    }
}

/// What a format found out about files that came together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Joined {
    /// By file.
    pub findings: Vec<Finding>,
    /// What files are, where bytes say it.
    pub names: Vec<Named>,
    /// The note keys that made a signature which holds: with them the other side checks again.
    pub keys: Vec<String>,
}
