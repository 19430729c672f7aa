//! Feeds and what they say of releases: the schema's own rules of evaluation, and feeds that mean harm.

use std::{fs, io::Write as _, path::Path};

use cofferdam_scan::{Bounds, Index, Loaded, Rating};
use serde_json::{Value, json};

fn load(text: &str, name: &str) -> (Index, Loaded) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let mut index = Index::default();
    let loaded = index.load(&path, &Bounds::default()).unwrap();
    (index, loaded)
}

fn record(id: &str, ecosystem: &str, name: &str, more: Value) -> Value {
    let mut affected = json!({ "package": { "ecosystem": ecosystem, "name": name } });
    affected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "id": id, "modified": "2026-01-01T00:00:00Z", "affected": [affected] })
}

fn range(kind: &str, events: Value) -> Value {
    json!({ "ranges": [{ "type": kind, "events": events }] })
}

fn one(ecosystem: &str, more: Value) -> Index {
    load(&record("X-1", ecosystem, "a", more).to_string(), "x.json").0
}

#[track_caller]
fn affected(index: &Index, kind: &str, yes: &[&str], no: &[&str]) {
    for (versions, expected) in [(yes, 1), (no, 0)] {
        for version in versions {
            let verdict = index.judge(&format!("pkg:{kind}/a@{version}"));
            assert_eq!(
                (verdict.findings.len(), verdict.not_judged.len()),
                (expected, 0),
                "{version}: {verdict:?}"
            );
        }
    }
}

#[test]
fn from_zero_everything_below_the_fix_is_affected_even_pre_releases() {
    let index = one("npm", range("SEMVER", json!([{ "introduced": "0" }, { "fixed": "2.0.0" }])));
    affected(&index, "npm", &["0.0.0-alpha", "1.9.9", "2.0.0-rc.1"], &["2.0.0", "2.0.0+build", "3.0.0"]);
    let index = one("npm", range("SEMVER", json!([{ "fixed": "2.0.0-0" }, { "introduced": "1.0.0" }])));
    affected(&index, "npm", &["1.0.0", "1.9.9"], &["1.0.0-rc.1", "2.0.0-rc.1"]);
}

#[test]
fn several_branches_have_each_their_fix_and_a_version_between_them_is_clean() {
    let events =
        json!([{ "introduced": "0" }, { "fixed": "1.5" }, { "introduced": "2.0" }, { "fixed": "2.3" }]);
    let index = one("PyPI", range("ECOSYSTEM", events));
    affected(
        &index,
        "pypi",
        &["1.4.9", "1.5rc1", "2.0.0", "2.2.post1"],
        &["1.5.0", "1.9", "2.3", "2.0.dev1"],
    );
    let finding = &index.judge("pkg:pypi/a@1.0").findings[0];
    assert_eq!((finding.fix.as_deref(), finding.fixed.len()), (Some("1.5"), 2), "{finding:?}");
    let separate = json!({ "ranges": [
        { "type": "ECOSYSTEM", "events": [{ "introduced": "1" }, { "fixed": "1.1" }] },
        { "type": "ECOSYSTEM", "events": [{ "introduced": "3" }] },
    ] });
    affected(&one("PyPI", separate), "pypi", &["1", "4"], &["1.1", "2"]);
}

#[test]
fn the_last_affected_version_is_affected_itself_and_a_limit_ends_a_range() {
    let index =
        one("crates.io", range("SEMVER", json!([{ "introduced": "1.0.0" }, { "last_affected": "1.4.0" }])));
    affected(&index, "cargo", &["1.0.0", "1.4.0"], &["0.9.0", "1.4.1"]);
    assert_eq!(index.judge("pkg:cargo/a@1.4.0").findings[0].fix, None, "nobody named a fix");
    let index = one("Go", range("SEMVER", json!([{ "introduced": "0" }, { "limit": "1.5.0" }])));
    affected(&index, "golang", &["v1.4.0"], &["v1.5.0"]);
}

#[test]
fn a_listed_version_is_affected_whatever_the_ranges_say_and_a_range_of_commits_stops_nothing() {
    let mut more = json!({ "versions": ["9.9.junk"], "ranges": [
        { "type": "GIT", "repo": "x", "events": [{ "introduced": "0" }] },
        { "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": "1" }] },
    ] });
    let index = one("PyPI", more.clone());
    affected(&index, "pypi", &["9.9.junk", "0.5"], &["2"]);
    more["ranges"].as_array_mut().unwrap().pop();
    more["versions"] = json!([]);
    let verdict = one("PyPI", more).judge("pkg:pypi/a@1");
    assert!(verdict.not_judged[0].contains("X-1"), "commits cannot be compared: {verdict:?}");
}

#[test]
fn what_cannot_be_compared_is_not_judged_rather_than_clean() {
    let events = json!([{ "introduced": "0" }, { "fixed": "2" }]);
    let index = one("PyPI", range("ECOSYSTEM", events.clone()));
    assert!(index.judge("pkg:pypi/a@junk").not_judged[0].contains("junk"));
    assert!(index.judge("pkg:npm/a@1.0.0").not_judged[0].contains("no feed"), "nothing is known of npm");
    assert!(index.judge("pkg:generic/a@1.0.0").not_judged[0].contains("by address"));
    assert_eq!(index.judge("pkg:pypi/other@1").not_judged, Vec::<String>::new());
    let index = one("Debian:12", range("ECOSYSTEM", events));
    assert!(index.judge("pkg:deb/debian/a@1").not_judged[0].contains("source packages"));
    let index = one("PyPI", range("ECOSYSTEM", json!([{ "introduced": "0" }, { "fixed": "junk" }])));
    assert_eq!(index.judge("pkg:pypi/a@1").not_judged.len(), 1);
    let index = one("Martian", range("SEMVER", json!([{ "introduced": "0" }])));
    assert_eq!(index.ecosystems()["Martian"], 1, "an unknown ecosystem is kept, and nothing of it is judged");
    assert_eq!(index.judge("pkg:martian/a@1").not_judged.len(), 1);
}

#[test]
fn withdrawn_advisories_are_counted_and_say_nothing_and_aliases_are_one_finding() {
    let fixed = |v: &str| range("ECOSYSTEM", json!([{ "introduced": "0" }, { "fixed": v }]));
    let mut gone = record("X-0", "PyPI", "a", fixed("9"));
    gone["withdrawn"] = json!("2026-01-01T00:00:00Z");
    let (mut first, mut second) =
        (record("X-1", "PyPI", "A", fixed("2")), record("Y-1", "PyPI", "a", fixed("2.1")));
    first["aliases"] = json!(["CVE-1"]);
    first["database_specific"] = json!({ "severity": "LOW" });
    second["aliases"] = json!(["CVE-1"]);
    second["severity"] =
        json!([{ "type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H" }]);
    let text = [&gone, &first, &second, &first].map(Value::to_string).join("\n");
    let (index, loaded) = load(&text, "feed.json");
    assert_eq!((loaded.advisories, loaded.withdrawn, loaded.again), (2, 1, 1), "{loaded:?}");
    assert_eq!(loaded.newest, "2026-01-01T00:00:00Z");
    let findings = index.judge("pkg:pypi/a@1").findings;
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert!(finding.source.ends_with("feed.json"), "it says whose word it is: {finding:?}");
    assert_eq!((finding.id.as_str(), finding.aliases.join(" ")), ("X-1", "CVE-1 Y-1".into()));
    assert_eq!((finding.severity.rating, finding.severity.score_tenths), (Rating::Critical, Some(98)));
    assert_eq!(finding.fix.as_deref(), Some("2.1"), "2 leaves only one of the two ranges");
}

#[test]
fn maven_gems_composer_and_nuget_are_compared_by_their_own_orders() {
    let below = |fixed: &str| range("ECOSYSTEM", json!([{ "introduced": "1" }, { "fixed": fixed }]));
    let judged = |ecosystem: &str, name: &str, fixed: &str| {
        load(&record("X-1", ecosystem, name, below(fixed)).to_string(), "x.json").0
    };
    affected(
        &judged("Maven:https://maven.example", "g.h:a", "2.0.0.RC2"),
        "maven/g.h",
        &["1", "1.9-sp", "2.0-rc1"],
        &["2", "2.0.0.Final", "1-SNAPSHOT"],
    );
    affected(&judged("RubyGems", "a", "2.0.0.rc1"), "gem", &["1.0", "2.0.0.beta"], &["2.0.0", "1.0.pre"]);
    affected(
        &judged("Packagist", "v/A", "2.0-beta2"),
        "composer/v",
        &["v1.0.0", "2.0-alpha5"],
        &["2.0.0", "1.0-RC1"],
    );
    affected(&judged("NuGet", "A", "2.0.0.1"), "nuget", &["1.0", "2.0.0"], &["2.0.0.1", "1.0.0-beta"]);
}

#[test]
fn what_was_recorded_by_address_is_judged_by_the_package_that_its_path_names() {
    let log = record(
        "X-1",
        "Maven",
        "org.tool.log:log",
        range("ECOSYSTEM", json!([{ "introduced": "0" }, { "fixed": "2.17" }])),
    );
    let old = record("X-2", "Maven", "log:log", range("ECOSYSTEM", json!([{ "introduced": "0" }])));
    let go = record(
        "X-3",
        "Go",
        "x.org/Mod",
        range("SEMVER", json!([{ "introduced": "0" }, { "fixed": "1.2.0" }])),
    );
    let index = load(&[&log, &old, &go].map(Value::to_string).join("\n"), "x.jsonl").0;
    let verdict = |address: &str| index.judge_address(address);
    let ids = |address: &str| verdict(address).findings.into_iter().map(|f| f.id).collect::<Vec<_>>();
    assert_eq!(ids("https://m.example/maven2/org/tool/log/log/2.16/log-2.16.jar"), ["X-1"]);
    assert_eq!(
        ids("https://m.example/maven2/org/tool/log/log/2.17/log-2.17.jar"),
        [""; 0],
        "it is not log:log"
    );
    assert_eq!(ids("https://m.example/maven2/log/log/9/log-9.jar"), ["X-2"]);
    let archive = verdict("https://p.example/x.org/!mod/@v/v1.1.0.zip");
    assert_eq!((archive.findings[0].fix.as_deref(), archive.describes), (Some("1.2.0"), false));
    assert_eq!(archive.release.as_deref(), Some("pkg:golang/x.org/Mod@v1.1.0"));
    assert!(verdict("https://p.example/x.org/!mod/@v/v1.1.0.mod").describes, "a build may not use it");
    assert_eq!(verdict("https://p.example/x.org/!mod/@v/v1.2.0.zip").findings, []);
    assert!(verdict("https://files.example/tool-1.0.tar.gz").not_judged[0].contains("by address"));
    assert!(verdict("https://g.example/gems/a-1.0.gem").not_judged[0].contains("no feed"));
}

fn archive(path: &Path, entries: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn a_folder_and_an_archive_are_read_and_what_is_broken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let good = |id: &str| record(id, "npm", "a", json!({ "versions": ["1.0.0"] })).to_string();
    fs::create_dir(folder.path().join("2026")).unwrap();
    fs::write(folder.path().join("2026/one.json"), good("X-1")).unwrap();
    fs::write(folder.path().join("2026/bad.json"), "{ \"id\": 7 }").unwrap();
    fs::write(folder.path().join("README.md"), "x").unwrap();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("{{ \"id\": \"X-9\", \"database_specific\": {{ \"severity\": {deep} }} }}");
    archive(
        &folder.path().join("all.zip"),
        &[("X-2.json", good("X-2").as_bytes()), ("X-9.json", deep.as_bytes())],
    );
    let mut index = Index::default();
    let loaded = index.load(folder.path(), &Bounds::default()).unwrap();
    assert_eq!((loaded.advisories, loaded.other_files, loaded.unread), (2, 1, 2), "{loaded:?}");
    let named: Vec<_> = loaded.unread_named.iter().map(|(place, _)| place.as_str()).collect();
    assert!(named[0].ends_with("bad.json") && named[1].ends_with("all.zip:X-9.json"), "{named:?}");
    assert_eq!(index.judge("pkg:npm/a@1.0.0").findings.len(), 2);
}

#[test]
fn bombs_and_endless_feeds_end_at_the_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { record: 1 << 16, records: 4, bytes: 1 << 18 };
    let load = |name: &str| Index::default().load(&folder.path().join(name), &bounds);
    let good = record("X-1", "npm", "a", json!({})).to_string();
    let bomb = vec![b' '; 4 << 20];
    archive(&folder.path().join("bomb.zip"), &[("X-1.json", good.as_bytes()), ("b.json", &bomb)]);
    let loaded = load("bomb.zip").unwrap();
    assert_eq!((loaded.advisories, loaded.unread), (1, 1), "{loaded:?}");
    let many: Vec<(String, &[u8])> = (0..6).map(|n| (format!("{n}.json"), good.as_bytes())).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|(n, b)| (n.as_str(), *b)).collect();
    archive(&folder.path().join("many.zip"), &many);
    assert_eq!(load("many.zip").unwrap_err().code(), "feed-too-large");
    fs::write(folder.path().join("many.jsonl"), format!("{good}\n").repeat(6)).unwrap();
    assert_eq!(load("many.jsonl").unwrap_err().code(), "feed-too-large");
    fs::write(folder.path().join("long.jsonl"), format!("{good}\n{}", "x".repeat(1 << 17))).unwrap();
    assert_eq!(load("long.jsonl").unwrap().unread, 1);
    fs::write(folder.path().join("junk"), "PK\x03\x04 and nothing more").unwrap();
    assert_eq!(load("junk").unwrap_err().code(), "no-advisories");
    fs::write(folder.path().join("page.json"), "<html>").unwrap();
    assert_eq!(load("page.json").unwrap_err().code(), "no-advisories");
    assert_eq!(load("nowhere").unwrap_err().code(), "not-found");
}
