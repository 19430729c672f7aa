//! What is read from a small file of each kind. The files stand in `tests/fixtures`; one line here is one
//! entry: ecosystem, name, version, then what else is known of it.

mod hostile;
mod node;
mod platforms;
mod python;
mod system;
mod want;

use std::path::Path;

use cofferdam_lockfiles::{Listed, Reading, Version, read};

/// A fixture's text, and the path by which it is read.
fn fixture(name: &str) -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    (name.to_owned(), std::fs::read_to_string(path).unwrap())
}

fn reading(name: &str) -> Reading {
    let (path, text) = fixture(name);
    read(&path, &text).unwrap()
}

/// One entry as a line. Digests are cut to their algorithm and first digits.
fn line(item: &Listed) -> String {
    let mut out = format!("{} {} ", item.ecosystem, item.name);
    out += &match &item.version {
        Version::Exact(version) => version.clone(),
        Version::Range(range) => format!("({range})"),
        Version::Latest(count) => format!("latest({count})"),
        Version::Any => "*".into(),
    };
    let short = |d: &String| {
        let (kind, value) = d.rsplit_once(':').unwrap();
        format!(" {kind}:{}", &value[..2])
    };
    out.extend(item.digests.iter().map(short));
    if let Some(source) = &item.source {
        out += &format!(" at {source}");
    }
    if !item.asked_by.is_empty() {
        out += &format!(" for {}", item.asked_by.join(", "));
    }
    if !item.platforms.is_empty() {
        out += &format!(" on {}", item.platforms.join(", "));
    }
    if let Some(markers) = &item.markers {
        out += &format!(" if {markers}");
    }
    for (is, word) in [(item.dev, " dev"), (item.optional, " optional")] {
        out += if is { word } else { "" };
    }
    out
}

/// Checks a fixture's entries, notes (line and a word of the text) and includes.
#[track_caller]
fn check(name: &str, entries: &[&str], notes: &[(u32, &str)], includes: &[&str]) {
    let reading = reading(name);
    let lines: Vec<String> = reading.items.iter().map(line).collect();
    assert_eq!(lines, entries, "{name}");
    let said: Vec<_> = reading.notes.iter().map(|n| (n.line, n.text.as_str())).collect();
    assert_eq!(said.len(), notes.len(), "{name}: {said:#?}");
    for ((line, text), (at, word)) in said.iter().zip(notes) {
        assert!(line == at && text.contains(word), "{name}: {line} {text}, expected {at} {word}");
    }
    assert_eq!(reading.includes, includes, "{name}");
}
