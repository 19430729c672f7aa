//! What a station says under its own key: an in-toto statement about a transfer's identity.
//!
//! It proves that somebody with the station's key said this, and nothing about the transfer itself: that is
//! proved by the sender's signature alone. Lists in it are cut at [`MAX_NAMES`]; the counts are exact.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use cofferdam_transfer::{MAX_STATION_BYTES, Suite, is_station_name, station_name};
use cofferdam_trust::{
    Envelope, KeyId, SigningKey, Statement, Subject, VerifyingKey, sign_statement, verify_statement,
};
use cofferdam_types::{Error, Result, Sha256, SiteName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::report::{FileState, FlatReport, FlatState, Problem, Report, Verdict};

/// The predicate type of version 1.
pub const PREDICATE_TYPE: &str = "https://cofferdam.dev/transfer-station/v1";
/// Names of each sort in one statement, at most.
const MAX_NAMES: usize = 1000;
/// Engines in one statement, at most.
const MAX_ENGINES: usize = 32;
/// Characters of a text that a person gave, at most.
const MAX_TEXT: usize = 200;

/// Who says it, and with what it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Station {
    /// The station's name.
    pub station: String,
    /// The person in charge.
    pub person: String,
    /// The scanners that looked at the files. Sealed files show them nothing.
    pub engines: Vec<Engine>,
}

/// A scanner and what it said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Engine {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The date of its data, as it gives it.
    pub data_date: String,
    /// What it said, in its words.
    pub verdict: String,
}

/// How many files were in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Seen {
    /// Listed files that are whole.
    pub whole: u64,
    /// Listed files that are damaged.
    pub damaged: u64,
    /// Listed files that are missing.
    pub missing: u64,
    /// Flat files as they were signed.
    pub ok: u64,
    /// Flat files changed at the door.
    pub changed: u64,
    /// Flat files removed at the door.
    pub removed: u64,
}

/// What a station says. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StationPredicate {
    /// The station's name.
    pub station: String,
    /// The person in charge.
    pub person: String,
    /// When it was looked at, by the station's clock.
    pub inspected: Timestamp,
    /// What it came to.
    pub verdict: Verdict,
    /// The code of a refusal.
    pub code: Option<String>,
    /// The site that wrote the transfer.
    pub source: SiteName,
    /// The sites it is for.
    pub destinations: Vec<SiteName>,
    /// Its epoch.
    pub epoch: u32,
    /// Its position in it.
    pub seq: u64,
    /// How its bytes lie on the medium.
    pub suite: Suite,
    /// How many files were in which state.
    pub seen: Seen,
    /// The first damaged files.
    pub damaged: Vec<String>,
    /// The first missing files.
    pub missing: Vec<String>,
    /// The first flat files changed or removed.
    pub door: Vec<FlatReport>,
    /// The scanners.
    pub engines: Vec<Engine>,
    /// Name and version of the program that looked.
    pub tool: String,
}

/// A signed statement, not written yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatement {
    /// The name of its file: from [`SignedStatement::sha256`].
    pub name: String,
    /// SHA-256 of [`SignedStatement::bytes`].
    pub sha256: Sha256,
    /// The envelope.
    pub bytes: Vec<u8>,
    /// What it says.
    pub predicate: StationPredicate,
}

impl Station {
    /// Can a statement name these people and engines? Ask before hours of reading, not after.
    ///
    /// # Errors
    /// `Invalid` (`bad-station`) for a name that is empty, too long or not one line, or too many engines.
    pub fn check(&self) -> Result<()> {
        let engines = self.engines.iter().flat_map(|e| [&e.name, &e.version, &e.data_date, &e.verdict]);
        let long = |text: &str| text.chars().count() > MAX_TEXT || text.chars().any(char::is_control);
        let named = [&self.station, &self.person];
        let wrong = named.iter().any(|text| text.trim().is_empty())
            || named.into_iter().chain(engines).any(|text| long(text))
            || self.engines.len() > MAX_ENGINES;
        if wrong {
            let text = "a statement names station and person, each on one line of at most 200 characters, \
                        and at most 32 engines with facts as short";
            return Err(Error::invalid("bad-station", text).hint(
                "give `--station` and `--person`, and shorten what is long, that of an `--engine` too",
            ));
        }
        Ok(())
    }
}

impl SignedStatement {
    /// Writes it as a new file into `folder`, the file and its name durable before this returns; half of one
    /// is never left. Where that is, a person decided.
    ///
    /// # Errors
    /// `NoSpace`; `Invalid` (`statement-not-written`) when the folder takes no file, as a medium that is
    /// closed for writing does. A file of the same name is the same statement and stays.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(&self.name);
        if fs::read(&path).is_ok_and(|there| there == self.bytes) {
            return Ok(path);
        }
        let file = fs::File::create_new(&path).map_err(|e| not_written(&path, e))?;
        let written = write_and_sync(file, &self.bytes).and_then(|()| fs::File::open(folder)?.sync_all());
        written.map_err(|e| {
            // This file is ours: it was not there before.
            let _ = fs::remove_file(&path);
            not_written(&path, e)
        })?;
        Ok(path)
    }
}

fn write_and_sync(mut file: fs::File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

fn not_written(path: &Path, e: std::io::Error) -> Error {
    match e.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            Error::io("writing a station's statement", e)
        }
        _ => Error::invalid("statement-not-written", format!("{} cannot be written: {e}", path.display()))
            .hint("name an existing folder that takes files; the medium itself may be closed for writing"),
    }
}

/// Signs what was seen.
///
/// # Errors
/// As [`Station::check`].
pub fn statement(
    report: &Report,
    station: &Station,
    now: Timestamp,
    tool: &str,
    key: &SigningKey,
) -> Result<SignedStatement> {
    station.check()?;
    let count = |n: usize| n as u64;
    let names = |state| report.files_in(state).take(MAX_NAMES).map(|f| f.name.clone()).collect();
    let predicate = StationPredicate {
        station: station.station.clone(),
        person: station.person.clone(),
        // What is written has milliseconds: what is read back must be the same.
        inspected: Timestamp(now.0.div_euclid(1000) * 1000),
        verdict: report.verdict,
        code: report.problem.as_ref().map(|p| p.code.clone()),
        source: report.source.clone(),
        destinations: report.destinations.clone(),
        epoch: report.epoch,
        seq: report.seq,
        suite: report.suite,
        seen: Seen {
            whole: count(report.files_in(FileState::Whole).count()),
            damaged: count(report.files_in(FileState::Damaged).count()),
            missing: count(report.files_in(FileState::Missing).count()),
            ok: count(report.flat_in(FlatState::Ok).count()),
            changed: count(report.flat_in(FlatState::Changed).count()),
            removed: count(report.flat_in(FlatState::Removed).count()),
        },
        damaged: names(FileState::Damaged),
        missing: names(FileState::Missing),
        door: report.flat.iter().filter(|f| f.state != FlatState::Ok).take(MAX_NAMES).cloned().collect(),
        engines: station.engines.clone(),
        tool: tool.to_owned(),
    };
    let value = serde_json::to_value(&predicate).map_err(|e| Error::internal("writing a statement", e))?;
    let subject = Subject::sha256(report.folder.clone(), report.identity);
    let said = Statement::new(vec![subject], PREDICATE_TYPE, value);
    let bytes = sign_statement(&said, &[key])?.to_json()?;
    let sha256 = Sha256::of(&bytes);
    Ok(SignedStatement { name: station_name(&sha256), sha256, bytes, predicate })
}

/// A statement whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Heard {
    /// The station's key.
    pub signers: Vec<KeyId>,
    /// What it says.
    pub predicate: StationPredicate,
}

/// A file that is named like a station's statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Its name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: Sha256,
    /// What it says, or why that is not believed.
    pub outcome: std::result::Result<Heard, Problem>,
}

/// Verifies statements about the transfer `identity`: those in its folders ([`cofferdam_transfer::station_files`])
/// and those that came another way, each a name and bytes. `keys` are the stations' keys. Each file has its own
/// outcome: an unknown station's word is no reason to refuse a transfer.
#[must_use]
pub fn read_statements(files: &[(String, Vec<u8>)], identity: &Sha256, keys: &[VerifyingKey]) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    for (name, bytes) in files {
        let sha256 = Sha256::of(bytes);
        if all.iter().any(|found| found.sha256 == sha256) {
            continue;
        }
        let outcome = read_one(name, bytes, &sha256, identity, keys).map_err(|e| Problem {
            code: e.code().to_owned(),
            message: e.message().to_owned(),
            hint: e.advice().unwrap_or("ask the station for its statement, and compare its key").to_owned(),
        });
        all.push(Found { name: name.escape_debug().take(100).collect(), sha256, outcome });
    }
    all
}

fn read_one(
    name: &str,
    bytes: &[u8],
    sha256: &Sha256,
    identity: &Sha256,
    keys: &[VerifyingKey],
) -> Result<Heard> {
    let bad = |why: &str| Error::verification("bad-station-statement", why.to_owned());
    if bytes.len() as u64 > MAX_STATION_BYTES {
        return Err(bad("it is too long"));
    }
    if !is_station_name(name) || station_name(sha256) != name {
        return Err(bad("its name is not made of its own digest"));
    }
    let envelope = Envelope::from_json(bytes)?;
    let verified = verify_statement(&envelope, PREDICATE_TYPE, keys, 1)?;
    let predicate: StationPredicate = serde_json::from_value(verified.statement.predicate)
        .map_err(|e| Error::invalid("bad-station-statement", format!("a field is wrong: {e}")))?;
    let mut subjects = verified.statement.subject.iter();
    if subjects.next().and_then(Subject::sha256_digest) != Some(*identity) || subjects.next().is_some() {
        return Err(Error::verification("other-transfer", "it is about another transfer"));
    }
    Ok(Heard { signers: verified.signers, predicate })
}
