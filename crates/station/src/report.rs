//! What a station saw: plain values that are written as JSON and read back.

use cofferdam_transfer::{Header, Refusal, Suite};
use cofferdam_trust::KeyId;
use cofferdam_types::{ErrorKind, Sha256, SiteName, Timestamp};
use serde::{Deserialize, Serialize};

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every file is as it was signed (spare files may be missing).
    Sound,
    /// All is sound but flat files that a station changed or removed.
    ChangedAtTheDoor,
    /// A file has other bytes than those that were signed, or cannot be read.
    Damaged,
    /// What is here is sound, and files are missing: media of a set, perhaps.
    Incomplete,
    /// Something is here that no honest copy has.
    Refused,
}

impl Verdict {
    /// The text in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::ChangedAtTheDoor => "changed-at-the-door",
            Self::Damaged => "damaged",
            Self::Incomplete => "incomplete",
            Self::Refused => "refused",
        }
    }

    /// The sort of failure, for an exit code; `None` for a sound transfer.
    #[must_use]
    pub const fn failure(self) -> Option<ErrorKind> {
        match self {
            Self::Sound => None,
            Self::Incomplete => Some(ErrorKind::MissingVolume),
            Self::ChangedAtTheDoor | Self::Damaged | Self::Refused => Some(ErrorKind::VerificationFailed),
        }
    }
}

/// The header's dates beside the station's clock. A station tells; the receiving site decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freshness {
    /// Between its dates.
    Current,
    /// Past `notAfter`.
    Expired,
    /// Written later than now: one clock is wrong.
    FromTheFuture,
}

/// A stretch of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// How a listed file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// As it was signed.
    Whole,
    /// Other bytes, or more, or fewer.
    Damaged,
    /// In none of the folders.
    Missing,
    /// Not read, because the inspection ended before.
    Unread,
}

/// One file of the header's list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Bytes that were signed.
    pub bytes: u64,
    /// SHA-256 that was signed.
    pub sha256: Sha256,
    /// How it is.
    pub state: FileState,
    /// Bytes that a damaged file has; one past `bytes` stands for "more".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
    /// Where a damaged file is damaged, as far as the transfer's checks can tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stretches: Vec<Span>,
}

/// How a flat file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlatState {
    /// As it was signed.
    Ok,
    /// A station changed it, or the medium did.
    Changed,
    /// A station took it out, or it lies on another medium of the set.
    Removed,
}

/// One flat file of an inspectable transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlatReport {
    /// Its name in the folder `files`.
    pub name: String,
    /// Bytes that were signed.
    pub bytes: u64,
    /// SHA-256 that was signed.
    pub sha256: Sha256,
    /// How it is.
    pub state: FlatState,
}

/// Why the inspection of a transfer with a believed header ended early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Stable code of the specification.
    pub code: String,
    /// One sentence, with the file.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let (message, hint) = (refusal.to_string(), refusal.hint.clone());
        Self { code: refusal.code.to_owned(), message, hint }
    }
}

/// What a station saw of a transfer whose header is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What it comes to.
    pub verdict: Verdict,
    /// What to do next: one or two sentences with the command that helps.
    pub advice: String,
    /// SHA-256 of the signed payload: the identity of the transfer.
    pub identity: Sha256,
    /// The only name its folder may have.
    pub folder: String,
    /// The stream.
    pub stream: String,
    /// The site that wrote it.
    pub source: SiteName,
    /// The sites it is for.
    pub destinations: Vec<SiteName>,
    /// Rises when a stream starts anew.
    pub epoch: u32,
    /// Position in the epoch.
    pub seq: u64,
    /// When it was written.
    pub created: Timestamp,
    /// When it stops being fresh.
    pub not_after: Timestamp,
    /// These dates beside the station's clock.
    pub freshness: Freshness,
    /// How the bytes lie on the medium.
    pub suite: Suite,
    /// Who signed, of the keys that the station believes.
    pub signers: Vec<KeyId>,
    /// The trust root that says so is past its date by the station's clock: a newer one may name other
    /// people. Always false where single keys are believed.
    #[serde(default)]
    pub root_expired: bool,
    /// Every file of the header's list.
    pub files: Vec<FileReport>,
    /// Every flat file, when the manifest could be read and is not sealed.
    pub flat: Vec<FlatReport>,
    /// Whether the transfer's own parity mends all damage; `None` when nobody asked it.
    pub repairable: Option<bool>,
    /// Names of stations' statements that lie beside it, neither read nor believed.
    pub stations: Vec<String>,
    /// What ended the inspection early: with the verdict `refused` what no honest copy has, with `damaged`
    /// what the medium did not give.
    pub problem: Option<Problem>,
}

impl Report {
    /// Bytes that were signed: those of the header's list, and of the flat files as far as they are known.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let fixed = self.files.iter().fold(0u64, |sum, f| sum.saturating_add(f.bytes));
        self.flat.iter().fold(fixed, |sum, f| sum.saturating_add(f.bytes))
    }

    /// The listed files in a state.
    pub fn files_in(&self, state: FileState) -> impl Iterator<Item = &FileReport> {
        self.files.iter().filter(move |f| f.state == state)
    }

    /// The flat files in a state.
    pub fn flat_in(&self, state: FlatState) -> impl Iterator<Item = &FlatReport> {
        self.flat.iter().filter(move |f| f.state == state)
    }

    /// What a believed header says; nothing has been looked at.
    pub(crate) fn of(header: &Header, identity: Sha256, signers: Vec<KeyId>, now: Timestamp) -> Self {
        let unread = |file: &cofferdam_transfer::FileEntry| FileReport {
            name: file.name.clone(),
            bytes: file.size,
            sha256: file.sha256,
            state: FileState::Unread,
            found: None,
            stretches: Vec::new(),
        };
        Self {
            verdict: Verdict::Refused,
            advice: String::new(),
            identity,
            folder: header.folder_name(),
            stream: header.stream.clone(),
            source: header.source.clone(),
            destinations: header.destinations.clone(),
            epoch: header.epoch,
            seq: header.seq,
            created: header.created,
            not_after: header.not_after,
            freshness: match cofferdam_transfer::freshness(header, now) {
                cofferdam_transfer::Freshness::Current => Freshness::Current,
                cofferdam_transfer::Freshness::Expired(_) => Freshness::Expired,
                cofferdam_transfer::Freshness::FromTheFuture(_) => Freshness::FromTheFuture,
            },
            suite: header.suite,
            signers,
            root_expired: false,
            files: header.files.iter().map(unread).collect(),
            flat: Vec::new(),
            repairable: None,
            stations: Vec::new(),
            problem: None,
        }
    }
}
