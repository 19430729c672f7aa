//! A real build with the stock clients: recorded against an upstream that the test made, rehearsed,
//! carried over, and built again inside.

use std::fs;

use serde_json::json;

use crate::common::{
    Site,
    tools::{Person, have, have_sandbox},
    upstream::{pair_with, upstream},
};

fn journey(client: &str, files: &[(&str, &str)], command: &str) {
    if !have(client) || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let recorded =
        outside.by_in(folder.path(), officer, &["record", "--name", "boat", "--", "sh", "-ec", command]);
    assert_eq!(recorded.ok()["releases"], 2, "the package and what it needs");
    let rehearsed = outside.by(officer, &["rehearse", "boat"]).ok();
    assert_eq!(rehearsed["complete"], true, "{rehearsed}");
    drop(upstream);
    let packed = pair.pack("boat", &[])["path"].as_str().unwrap().to_owned();
    let key = outside.keys().0;
    crate::common::cofferdam(&["verify", "--key", &key, "--for", "inside", &packed]).ok();
    let id = pair.receive(&packed).ok()["id"].to_string();
    let developer = &pair.developers.1;
    let build = || pair.inside.by_in(folder.path(), developer, &["inside", "--", "sh", "-ec", command]);
    assert_ne!(build().code, 0, "nothing can be built before it is published");
    pair.approve_and_publish(&id);
    let built = build();
    assert_eq!(built.code, 0, "{built:#?}");
}

#[test]
fn a_python_build_crosses() {
    journey(
        "pip",
        &[("a.txt", "")],
        "rm -rf site; python3 -m pip install --no-compile --no-cache-dir --target site ferry; test -e site/oars",
    );
}

#[test]
fn a_javascript_build_crosses() {
    let manifest = r#"{"name":"boat","version":"1.0.0","private":true,"dependencies":{"ferry":"1"}}"#;
    journey(
        "npm",
        &[("package.json", manifest)],
        "rm -rf node_modules package-lock.json; npm install; test -e node_modules/oars",
    );
}

#[test]
fn a_rust_build_crosses() {
    let manifest = "[package]\nname = \"boat\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nferry = \"1\"\n[workspace]\n";
    let files = [("Cargo.toml", manifest), ("src/lib.rs", "")];
    journey("cargo", &files, "rm -f Cargo.lock; cargo check");
}

#[test]
fn a_build_that_asks_for_what_nobody_has_is_incomplete_and_says_what() {
    if !have("pip") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let folder = tempfile::tempdir().unwrap();
    let officer = &pair.officers.0;
    let command = "python3 -m pip install --target site submarine";
    let arguments = ["record", "--name", "sub", "--", "sh", "-ec", command];
    assert_ne!(pair.outside.by_in(folder.path(), officer, &arguments).code, 0);
    let rehearsed = pair.outside.by(officer, &["rehearse", "sub"]);
    assert_eq!((rehearsed.code, &rehearsed.json["complete"]), (1, &json!(false)), "{rehearsed:#?}");
    assert!(rehearsed.json["missing"].to_string().contains("submarine"), "{rehearsed:#?}");
    let medium = pair.medium.path().to_str().unwrap();
    let pack = pair.outside.by(officer, &["pack", "--to", "inside", "--recording", "sub", medium]);
    assert_ne!(pack.code, 0, "what was not rehearsed whole does not travel: {pack:#?}");
}

#[test]
fn a_build_asks_git_which_version_it_builds_and_who_stops_reading_breaks_nothing() {
    if !have("git") || !have_sandbox() {
        return;
    }
    let site = Site::connected("outside");
    let officer = site.person("olga", "officer");
    let author = Person::of(&site, &officer);
    let tug = author.folder("tug", &[("build.sh", b"git describe --tags --dirty >version; cat version\n")]);
    let git = |arguments: &[&str]| {
        let name = ["-c", "user.name=Dev", "-c", "user.email=dev@harbour.example"];
        author.does(&tug, "git", &[&name[..], arguments].concat())
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "tug"]);
    git(&["tag", "v1.2"]);
    let kept = tug.join("../kept");
    let keep = ["record", "--name", "tug", "--keep", kept.to_str().unwrap(), "--", "sh", "build.sh"];
    site.by_in(&tug, &officer, &keep).ok();
    assert_eq!(fs::read_to_string(kept.join("version")).unwrap(), "v1.2\n");
    let rehearsed = site.by_in(&tug, &officer, &["rehearse", "tug"]).ok();
    assert_eq!(rehearsed["complete"], true, "{rehearsed}");
    // A pipe that nobody reads from.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = std::process::Command::new(crate::common::PROGRAM);
    let asked = ["--site", &site.url, "--token", &officer, "collect", "tug"];
    let done = command.args(asked).stdout(writer).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
