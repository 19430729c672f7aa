//! A kiosk looks at transfers that are whole, broken, incomplete and changed, and says what it saw.

mod made;

use std::{fs, path::Path};

use cofferdam_station::{
    Engine, FileState, FlatState, Freshness, Report, Station, Verdict, found_text, inspect, read_statements,
    statement, to_text,
};
use cofferdam_transfer::{Authority, Trust, station_files};
use cofferdam_trust::root::{Role, RoleKeys, Root, RootKey};
use cofferdam_types::{Sha256, Timestamp};
use made::{flat, key, sealed};

const NOW: Timestamp = Timestamp::from_seconds(1_500);

fn trust() -> Trust {
    let keys = vec![key(1).verifying_key()];
    Trust { authority: Authority::Keys { keys, threshold: 1 }, this_site: None }
}

fn look(folders: &[&Path]) -> Report {
    inspect(folders, &trust(), NOW, &()).unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sealed_transfer_is_proved_whole_with_public_keys_only() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    let report = look(&[&path]);
    assert_eq!((report.verdict, report.freshness), (Verdict::Sound, Freshness::Current));
    assert!(report.files.iter().all(|f| f.state == FileState::Whole));
    assert_eq!((report.seq, report.folder.as_str()), (3, "CT1-outside+inside-1-000003"));
    assert_eq!(report.signers, [key(1).id()]);
    let text = to_text(&report);
    assert!(text.starts_with("SOUND") && text.is_ascii() && text.contains("cofferdam receive"), "{text}");
    assert!(text.contains(&report.identity.to_hex()[..8]));
    let words = cofferdam_trust::words::encode(&report.identity.0);
    assert!(words.iter().all(|line| text.contains(line)), "{text}");
    // The JSON is the value itself: another program reads back what this one saw.
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    assert!(json.contains(r#""verdict":"sound""#) && json.contains(r#""notAfter":"#));
    let late = inspect(&[&path], &trust(), Timestamp::from_seconds(3_000), &()).unwrap();
    assert!(late.freshness == Freshness::Expired && to_text(&late).contains("CAUTION"));
}

#[test]
fn damage_is_told_by_file_and_stretch_and_so_is_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    flip(&path.join("v000003.ctv"), 54_321);
    let report = look(&[&path]);
    assert_eq!((report.verdict, report.repairable), (Verdict::Damaged, Some(true)));
    let damaged: Vec<_> = report.files_in(FileState::Damaged).collect();
    assert_eq!((damaged.len(), damaged[0].name.as_str()), (1, "v000003.ctv"));
    let hit = |offset: u64, len: u64| offset <= 54_321 && 54_321 < offset + len;
    assert!(damaged[0].stretches.iter().any(|s| hit(s.offset, s.len)), "{damaged:?}");
    let text = to_text(&report);
    assert!(
        text.contains("v000003.ctv: other bytes, ") && text.contains("cofferdam receive --repair"),
        "{text}"
    );

    for n in 1..=6 {
        flip(&path.join(format!("v{n:06}.ctv")), 0);
        fs::write(path.join(format!("p{:06}.ctp", 1)), "short").unwrap();
    }
    let report = look(&[&path]);
    assert_eq!(report.verdict, Verdict::Damaged);
    assert_eq!(report.files.iter().find(|f| f.name == "p000001.ctp").unwrap().found, Some(5));
}

#[test]
fn one_medium_of_a_set_is_incomplete_and_all_of_them_are_sound() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    let other = home.path().join("other").join(path.file_name().unwrap());
    fs::create_dir_all(&other).unwrap();
    for n in 2..=7 {
        let name = format!("v{n:06}.ctv");
        fs::rename(path.join(&name), other.join(&name)).unwrap();
    }
    let report = look(&[&path]);
    assert_eq!((report.verdict, report.files_in(FileState::Missing).count()), (Verdict::Incomplete, 6));
    assert_eq!(report.repairable, Some(false));
    assert!(report.advice.contains("other media"), "{}", report.advice);
    assert_eq!(look(&[&path, &other]).verdict, Verdict::Sound);
}

#[test]
fn what_the_door_changed_or_removed_is_named_and_nothing_else_is() {
    let home = tempfile::tempdir().unwrap();
    let path = flat(home.path());
    let report = look(&[&path]);
    assert_eq!((report.verdict, report.flat_in(FlatState::Ok).count()), (Verdict::Sound, 3));
    fs::remove_file(path.join("files/item-2.whl")).unwrap();
    let removed = look(&[&path]);
    assert!(removed.advice.contains("--statement"), "{}", removed.advice);
    flip(&path.join("files/item-0.whl"), 9);
    let report = look(&[&path]);
    assert_eq!(report.verdict, Verdict::ChangedAtTheDoor);
    let states: Vec<_> = report.flat.iter().map(|f| (f.name.as_str(), f.state)).collect();
    let expected = [
        ("item-0.whl", FlatState::Changed),
        ("item-1.whl", FlatState::Ok),
        ("item-2.whl", FlatState::Removed),
    ];
    assert_eq!(states, expected);
    let text = to_text(&report);
    assert!(text.contains("changed at the door:\n  item-0.whl"), "{text}");

    fs::write(path.join("files/autostart.exe"), "x").unwrap();
    let report = look(&[&path]);
    assert_eq!(report.verdict, Verdict::Refused);
    assert_eq!(report.problem.as_ref().unwrap().code, "unexpected-file");
}

#[test]
fn nothing_of_a_header_by_a_stranger_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    let keys = vec![key(9).verifying_key()];
    let stranger = Trust { authority: Authority::Keys { keys, threshold: 1 }, this_site: None };
    assert_eq!(inspect(&[&path], &stranger, NOW, &()).unwrap_err().code, "too-few-signatures");
    let elsewhere = Trust { this_site: Some("elsewhere".parse().unwrap()), ..trust() };
    assert_eq!(inspect(&[&path], &elsewhere, NOW, &()).unwrap_err().code, "other-destination");
}

/// A root that believes the writer of these tests until the time 2000, and not longer.
fn root() -> Root {
    let known = RootKey { key: key(1).verifying_key(), person: "Ada".to_owned() };
    let members = || RoleKeys { keys: [key(1).id()].into(), threshold: 1 };
    Root {
        version: 1,
        issued: Timestamp::from_seconds(500),
        expires: Timestamp::from_seconds(2_000),
        distinct_persons: false,
        keys: [(key(1).id(), known)].into(),
        roles: [Role::Root, Role::Collector, Role::Releaser].map(|role| (role, members())).into(),
    }
}

#[test]
fn an_expired_trust_root_is_said_and_refuses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    let trust = Trust { authority: Authority::Root(Box::new(root())), this_site: None };
    let look = |now| inspect(&[&path], &trust, Timestamp::from_seconds(now), &()).unwrap();
    let (early, late) = (look(1_999), look(2_000));
    assert!(!early.root_expired && !to_text(&early).contains("trust root"));
    assert!(late.root_expired && late.verdict == Verdict::Sound);
    let text = to_text(&late);
    assert!(text.contains("CAUTION   the trust root is past its date"), "{text}");
}

fn kiosk() -> Station {
    let engine = Engine {
        name: "scanner".into(),
        version: "1.2".into(),
        data_date: "2026-11-20".into(),
        verdict: "clean".into(),
    };
    Station { station: "Gate 3".into(), person: "J. Doe".into(), engines: vec![engine] }
}

#[test]
fn a_statement_lies_beside_the_transfer_and_is_believed_by_its_key_only() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    let report = look(&[&path]);
    let signed = statement(&report, &kiosk(), NOW, "test 1", &key(5)).unwrap();
    assert_eq!(signed.write(&path).unwrap(), signed.write(&path).unwrap(), "writing it twice is no error");
    // The transfer is as sound as before, and says that a statement is there.
    let again = look(&[&path]);
    assert_eq!((again.verdict, again.stations.as_slice()), (Verdict::Sound, &[signed.name.clone()][..]));

    let files = station_files(&[&path]).unwrap();
    let believed = read_statements(&files, &report.identity, &[key(5).verifying_key()]);
    let heard = believed[0].outcome.as_ref().unwrap();
    assert_eq!((heard.predicate.station.as_str(), heard.predicate.verdict), ("Gate 3", Verdict::Sound));
    assert_eq!((&heard.predicate, heard.signers.as_slice()), (&signed.predicate, &[key(5).id()][..]));

    let code = |files: &[(String, Vec<u8>)], identity: Sha256, n: u8| {
        let found = read_statements(files, &identity, &[key(n).verifying_key()]);
        found[0].outcome.as_ref().unwrap_err().code.clone()
    };
    assert_eq!(code(&files, report.identity, 6), "too-few-signatures");
    assert_eq!(code(&files, Sha256::of(b"another"), 5), "other-transfer");
    let mut renamed = files.clone();
    renamed[0].0 = "station-0123456789abcdef.dsse.json".to_owned();
    assert_eq!(code(&renamed, report.identity, 5), "bad-station-statement");
    let twice = [files.clone(), files].concat();
    assert_eq!(read_statements(&twice, &report.identity, &[key(5).verifying_key()]).len(), 1);
}

#[test]
fn what_people_wrote_is_shown_in_plain_ascii() {
    let home = tempfile::tempdir().unwrap();
    let path = sealed(home.path());
    let station = Station { person: "J\u{fc}rgen \u{202e}dlo".to_owned(), ..kiosk() };
    let mut report = look(&[&path]);
    statement(&report, &station, NOW, "test 1", &key(5)).unwrap().write(&path).unwrap();
    let files = station_files(&[&path]).unwrap();
    let text = found_text(&read_statements(&files, &report.identity, &[key(5).verifying_key()]));
    assert!(text.is_ascii() && text.contains(r"(J\u{fc}rgen \u{202e}dlo): sound"), "{text}");
    report.advice = "mend\u{e9}\n\u{1b}[2J".to_owned();
    report.files[0].name = "\u{e9}.ctv".to_owned();
    report.files[0].state = FileState::Missing;
    let text = to_text(&report);
    assert!(text.is_ascii() && text.contains(r"next: mend\u{e9}\n\u{1b}[2J"), "{text}");
    assert!(text.contains(r"  \u{e9}.ctv"), "{text}");
}

#[test]
fn a_statement_needs_names_on_one_line_and_a_folder_that_takes_it() {
    let home = tempfile::tempdir().unwrap();
    let report = look(&[&sealed(home.path())]);
    for wrong in ["", "  ", "two\nlines", &"x".repeat(201)] {
        let station = Station { person: wrong.to_owned(), ..kiosk() };
        assert_eq!(station.check().unwrap_err().code(), "bad-station", "{wrong:?}");
        let error = statement(&report, &station, NOW, "test 1", &key(5)).unwrap_err();
        assert_eq!(error.code(), "bad-station", "{wrong:?}");
    }
    let signed = statement(&report, &kiosk(), NOW, "test 1", &key(5)).unwrap();
    let error = signed.write(&home.path().join("nowhere")).unwrap_err();
    assert_eq!(error.code(), "statement-not-written");
}
