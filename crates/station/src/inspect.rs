//! Looking at every byte of a transfer, with public keys only.
//!
//! The order is the specification's: names and header first, then every listed file, then, for an
//! inspectable transfer, the manifest and the flat files. Nothing is written.

use std::{collections::HashMap, path::Path};

use cofferdam_transfer::{Authority, FileState as Found, Header, Progress, Refusal, Suite, Survey, Trust};
use cofferdam_types::Timestamp;

use crate::report::{FileState, FlatReport, FlatState, Problem, Report, Span, Verdict};

/// What is being done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Every listed file is hashed.
    Reading,
    /// Damage was found: where is it, and can it be mended?
    Locating,
    /// The flat files are hashed.
    FlatFiles,
}

/// Hears what is being done and how far it has come. `()` hears nothing.
pub trait Watch: Progress {
    /// The next stage begins: bytes are counted anew.
    fn stage(&self, stage: Stage) {
        let _ = stage;
    }
}

impl Watch for () {}

/// Inspects the folders of one transfer: the media of a set together, or one of them.
///
/// # Errors
/// The refusal of what could not be believed at all: names, signatures, header. Whatever is found after that is
/// in the report.
pub fn inspect(
    folders: &[&Path],
    trust: &Trust,
    now: Timestamp,
    watch: &dyn Watch,
) -> Result<Report, Refusal> {
    let mut survey = Survey::open(folders, trust)?;
    let mut report = Report::of(&survey.header, survey.header_sha256, survey.signers.clone(), now);
    report.root_expired = root_expired(&survey, trust, now);
    report.stations = survey.stations().map(str::to_owned).collect();
    watch.stage(Stage::Reading);
    let read = survey.hash(watch);
    take_states(&survey, &mut report);
    if let Err(refusal) = read {
        return Ok(ended(report, &refusal));
    }
    let readable = survey.is_readable();
    if !readable {
        locate(&survey, &mut report, watch);
    }
    let damaged = report.files_in(FileState::Damaged).next().is_some();
    let manifest = survey.header.manifest_name();
    let manifest_whole = report.files_in(FileState::Whole).any(|f| f.name == manifest);
    if survey.header.suite == Suite::Inspectable && manifest_whole {
        watch.stage(Stage::FlatFiles);
        match survey.contents(None, watch) {
            Ok(contents) => report.flat = flat(&contents),
            Err(refusal) => return Ok(ended(report, &refusal)),
        }
    }
    report.verdict = match (damaged, readable) {
        (true, _) => Verdict::Damaged,
        (false, false) => Verdict::Incomplete,
        _ if report.flat.iter().any(|f| f.state != FlatState::Ok) => Verdict::ChangedAtTheDoor,
        _ => Verdict::Sound,
    };
    report.advice = advice(&report);
    Ok(report)
}

/// Is the newest trust root that is believed here past its date? Those on the way to it may be.
fn root_expired(survey: &Survey, trust: &Trust, now: Timestamp) -> bool {
    match (&trust.authority, survey.roots.last()) {
        (Authority::Root(_), Some((newest, _))) => newest.expired(now),
        (Authority::Root(root), None) => root.expired(now),
        (Authority::Keys { .. }, _) => false,
    }
}

/// The code of a medium that does not give what is on it. An honest copy on a bad disc has this; it says
/// nothing about whoever wrote it.
const UNREADABLE: &str = "unreadable";

/// The report of an inspection that could not go on.
fn ended(mut report: Report, refusal: &Refusal) -> Report {
    report.problem = Some(Problem::from(refusal));
    if refusal.code == UNREADABLE {
        report.verdict = Verdict::Damaged;
        report.advice = advice(&report);
    } else {
        report.verdict = Verdict::Refused;
        report.advice = refusal.hint.clone();
    }
    report
}

fn take_states(survey: &Survey, report: &mut Report) {
    for (file, state) in report.files.iter_mut().zip(&survey.states) {
        (file.state, file.found) = match state {
            Found::Unread => (FileState::Unread, None),
            Found::Whole { .. } => (FileState::Whole, None),
            Found::Missing => (FileState::Missing, None),
            Found::Damaged { size, .. } => (FileState::Damaged, Some(*size)),
        };
    }
}

/// Asks the transfer's own checks. They are read once more only when that can help: one disc of a large set
/// lacks more than any parity mends, and nobody wants it read twice.
fn locate(survey: &Survey, report: &mut Report, watch: &dyn Watch) {
    let parity = parity_bytes(&survey.header);
    let lost = report.files_in(FileState::Missing).filter(|f| is_data(&f.name));
    let hopeless = lost.fold(0u64, |sum, f| sum.saturating_add(f.bytes)) > parity;
    let damaged = report.files_in(FileState::Damaged).any(|f| is_data(&f.name));
    if survey.header.parity.is_none() || (hopeless && !damaged) {
        report.repairable = Some(false);
        return;
    }
    watch.stage(Stage::Locating);
    let Ok(harm) = survey.harm(watch) else { return };
    report.repairable = Some(harm.repairable);
    let mut places: HashMap<String, Vec<Span>> = HashMap::new();
    for stretch in harm.stretches {
        let span = Span { offset: stretch.offset, len: stretch.len };
        places.entry(stretch.file).or_default().push(span);
    }
    for file in report.files.iter_mut().filter(|f| f.state == FileState::Damaged) {
        file.stretches = places.remove(&file.name).unwrap_or_default();
    }
}

fn parity_bytes(header: &Header) -> u64 {
    let parity = header.files.iter().filter(|f| f.name.ends_with(".ctp"));
    parity.fold(0, |sum, f| sum.saturating_add(f.size))
}

fn is_data(name: &str) -> bool {
    name.ends_with(".ctv") || name.starts_with("manifest.")
}

fn flat(contents: &cofferdam_transfer::Contents) -> Vec<FlatReport> {
    let found: HashMap<&str, &str> = contents.door.iter().map(|d| (d.name.as_str(), d.fate)).collect();
    let one = |(name, entry): (&str, &cofferdam_transfer::BlobEntry)| FlatReport {
        name: name.to_owned(),
        bytes: entry.size,
        sha256: entry.sha256,
        state: match found.get(name) {
            None => FlatState::Ok,
            Some(&"removed") => FlatState::Removed,
            Some(_) => FlatState::Changed,
        },
    };
    contents.flat().map(one).collect()
}

fn advice(report: &Report) -> String {
    let to: Vec<String> = report.destinations.iter().map(ToString::to_string).collect();
    let to = to.join(", ");
    match report.verdict {
        Verdict::Sound => format!("carry it to {to}; there: `cofferdam receive FOLDER`"),
        Verdict::ChangedAtTheDoor if report.flat_in(FlatState::Changed).next().is_some() => {
            "a station may take a file out, never change one: take the changed files out or copy them again \
             from the medium before; the receiving site leaves out whatever is not as it was signed"
                .to_owned()
        }
        Verdict::ChangedAtTheDoor => {
            "if this station took these files out, say so with `--statement`; if they lie on another medium of \
             the set, give its folder too; the receiving site goes on without them"
                .to_owned()
        }
        Verdict::Damaged if report.repairable == Some(true) => {
            "copy the named files again from the medium before; or mend them from the transfer's own parity \
             where it is received: `cofferdam receive --repair FOLDER`"
                .to_owned()
        }
        Verdict::Damaged => {
            "copy the named files again from the medium before; if that is damaged too, the receiving site asks \
             for what is lost: `cofferdam repair FOLDER --request FILE`"
                .to_owned()
        }
        Verdict::Incomplete if report.repairable == Some(true) => {
            "give the folders of the other media of the set too; if they are lost, the transfer's own parity \
             mends it: `cofferdam receive --repair FOLDER`"
                .to_owned()
        }
        Verdict::Incomplete => {
            "give the folders of the other media of the set too, in any order; if they are lost, the receiving \
             site asks for what is missing: `cofferdam repair FOLDER --request FILE`"
                .to_owned()
        }
        Verdict::Refused => "do not use this copy; copy the folder again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_medium_that_cannot_be_read_is_damaged_and_nobody_is_called_dishonest() {
        let report: Report = serde_json::from_value(serde_json::json!({
            "verdict": "refused", "advice": "", "identity": "0".repeat(64), "folder": "CT1-outside+inside-1-000003",
            "stream": "outside+inside", "source": "outside", "destinations": ["inside"], "epoch": 1, "seq": 3,
            "created": "2026-11-20T00:00:00.000Z", "notAfter": "2026-12-20T00:00:00.000Z",
            "freshness": "current", "suite": "sealed-1", "signers": [], "files": [], "flat": [],
            "repairable": null, "stations": [], "problem": null,
        }))
        .unwrap();
        let trust = Trust { authority: Authority::Keys { keys: Vec::new(), threshold: 1 }, this_site: None };
        let home = tempfile::tempdir().unwrap();
        let mut refusal = inspect(&[&home.path().join("nowhere")], &trust, Timestamp(0), &()).unwrap_err();
        refusal.code = UNREADABLE;
        let ended_so = ended(report.clone(), &refusal);
        assert_eq!(
            (ended_so.verdict, ended_so.problem.as_ref().unwrap().code.as_str()),
            (Verdict::Damaged, UNREADABLE)
        );
        let text = crate::to_text(&ended_so);
        assert!(text.starts_with("DAMAGED") && !text.contains("honest"), "{text}");
        assert!(text.contains("copy the named files again"), "{text}");

        refusal.code = "unexpected-file";
        let ended_so = ended(report, &refusal);
        assert_eq!(ended_so.verdict, Verdict::Refused);
        assert!(crate::to_text(&ended_so).starts_with("REFUSED: this is no honest copy"));
    }
}
