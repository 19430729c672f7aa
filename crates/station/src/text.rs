//! A report as lines for a terminal, in plain ASCII: a kiosk's console may know nothing else.

use std::fmt::Write as _;

use cofferdam_transfer::Suite;
use cofferdam_types::groups;

use crate::{
    report::{FileReport, FileState, FlatState, Freshness, Report, Verdict},
    statement::Found,
};

/// Names of one sort that are shown before "and N more".
const SHOWN: usize = 20;

/// Bytes as people read them, powers of 1000.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut tenths, mut unit) = (bytes / 100, 0);
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1000, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit.min(5)])
}

/// The report for a person.
#[must_use]
pub fn to_text(report: &Report) -> String {
    let mut out = format!("{}\n\n", headline(report));
    let to: Vec<String> = report.destinations.iter().map(ToString::to_string).collect();
    let sealed = match report.suite {
        Suite::Sealed => "sealed: a station cannot look inside",
        Suite::Inspectable => "inspectable: every item is a file of its own",
    };
    line(&mut out, "transfer", &format!("from {} to {}", report.source, to.join(", ")));
    line(&mut out, "number", &format!("{} of epoch {}", report.seq, report.epoch));
    line(&mut out, "written", &format!("{}  good until {}", day(report.created), day(report.not_after)));
    match report.freshness {
        Freshness::Current => {}
        Freshness::Expired => line(&mut out, "CAUTION", "it is past its date by this machine's clock"),
        Freshness::FromTheFuture => {
            line(&mut out, "CAUTION", "it was written later than this machine's clock says it is now");
        }
    }
    if report.root_expired {
        let text = "the trust root is past its date by this machine's clock: ask for the newest one";
        line(&mut out, "CAUTION", text);
    }
    line(&mut out, "kind", sealed);
    let hex = report.identity.to_hex();
    line(&mut out, "identity", &groups(&hex[..32], 8));
    line(&mut out, "", &groups(&hex[32..], 8));
    two_columns(&mut out, &cofferdam_trust::words::encode(&report.identity.0));
    for signer in &report.signers {
        line(&mut out, "signed by", &format!("key {}", groups(&signer.to_string()[..16], 4)));
    }
    let whole = report.files_in(FileState::Whole).count();
    line(
        &mut out,
        "files",
        &format!("{whole} of {} whole, {} in all", report.files.len(), size(report.bytes())),
    );
    if !report.flat.is_empty() {
        let ok = report.flat_in(FlatState::Ok).count();
        line(&mut out, "items", &format!("{ok} of {} as they were signed", report.flat.len()));
    }
    if !report.stations.is_empty() {
        let count = report.stations.len();
        line(&mut out, "stations", &format!("{count} statement(s) lie beside it, not checked here"));
    }
    faults(&mut out, report);
    if let Some(problem) = &report.problem {
        let what = if report.verdict == Verdict::Refused { "refused" } else { "not read" };
        let _ = write!(out, "\n{what} ({}): {}\n", problem.code, plain(&problem.message));
    }
    let _ = write!(out, "\nnext: {}\n", plain(&report.advice));
    out
}

/// A text of somebody else's in plain ASCII, on one line.
fn plain(text: &str) -> String {
    let one = |c: char| if matches!(c, ' '..='~') { c.to_string() } else { c.escape_default().to_string() };
    text.chars().map(one).collect()
}

fn line(out: &mut String, name: &str, value: &str) {
    let _ = writeln!(out, "  {name:<10}{value}");
}

/// The identity as words, as they stand on the paper beside the medium.
fn two_columns(out: &mut String, words: &[String]) {
    let half = words.len().div_ceil(2);
    let (left, right) = words.split_at_checked(half).unwrap_or((words, &[]));
    for (n, one) in left.iter().enumerate() {
        let other = right.get(n).map_or("", String::as_str);
        line(out, "", format!("{one:<40}{other}").trim_end());
    }
}

fn day(time: cofferdam_types::Timestamp) -> String {
    let text = time.to_string();
    format!("{} {} UTC", text.get(..10).unwrap_or(&text), text.get(11..16).unwrap_or(""))
}

fn headline(report: &Report) -> String {
    let count = |state| report.files_in(state).count();
    match report.verdict {
        Verdict::Sound => "SOUND: every file is as it was signed".to_owned(),
        Verdict::ChangedAtTheDoor => {
            let changed = report.flat_in(FlatState::Changed).count();
            let removed = report.flat_in(FlatState::Removed).count();
            format!("CHANGED AT THE DOOR: {changed} file(s) changed, {removed} removed")
        }
        Verdict::Damaged if report.problem.is_some() => "DAMAGED: the medium cannot be read".to_owned(),
        Verdict::Damaged => format!("DAMAGED: {} file(s)", count(FileState::Damaged)),
        Verdict::Incomplete => {
            let missing = count(FileState::Missing);
            format!("INCOMPLETE: what is here is sound, {missing} file(s) are missing")
        }
        Verdict::Refused => "REFUSED: this is no honest copy".to_owned(),
    }
}

fn faults(out: &mut String, report: &Report) {
    let damaged: Vec<String> = report.files_in(FileState::Damaged).map(damage).collect();
    list(out, "damaged", &damaged);
    let name = |f: &FileReport| plain(&f.name);
    list(out, "missing", &report.files_in(FileState::Missing).map(name).collect::<Vec<_>>());
    for (title, state) in
        [("changed at the door", FlatState::Changed), ("removed at the door", FlatState::Removed)]
    {
        list(out, title, &report.flat_in(state).map(|f| plain(&f.name)).collect::<Vec<_>>());
    }
}

fn damage(file: &FileReport) -> String {
    let found = file.found.unwrap_or(0);
    let name = plain(&file.name);
    let mut text = match found.cmp(&file.bytes) {
        std::cmp::Ordering::Less => format!("{name}: has {found} of {} bytes", file.bytes),
        std::cmp::Ordering::Greater => format!("{name}: has more than its {} bytes", file.bytes),
        std::cmp::Ordering::Equal => format!("{name}: other bytes"),
    };
    for span in file.stretches.iter().take(4) {
        let _ = write!(text, ", {}..{}", span.offset, span.offset.saturating_add(span.len));
    }
    if file.stretches.len() > 4 {
        let _ = write!(text, ", and {} more stretches", file.stretches.len() - 4);
    }
    text
}

fn list(out: &mut String, title: &str, names: &[String]) {
    if names.is_empty() {
        return;
    }
    let _ = write!(out, "\n{title}:\n");
    for name in names.iter().take(SHOWN) {
        let _ = writeln!(out, "  {name}");
    }
    if names.len() > SHOWN {
        let _ = writeln!(out, "  and {} more", names.len() - SHOWN);
    }
}

/// What stations said, for a person: a line each.
#[must_use]
pub fn found_text(found: &[Found]) -> String {
    let mut out = String::new();
    for one in found {
        let _ = match &one.outcome {
            Ok(heard) => {
                let p = &heard.predicate;
                let (station, person) = (plain(&p.station), plain(&p.person));
                writeln!(out, "  {}  {station} ({person}): {}", day(p.inspected), p.verdict.as_str())
            }
            Err(problem) => {
                writeln!(out, "  {}: not believed: {}", plain(&one.name), plain(&problem.message))
            }
        };
    }
    out
}
