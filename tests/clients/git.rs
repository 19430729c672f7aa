//! git over HTTP.

use serde_json::json;

use crate::common::{
    Site,
    tools::{Person, have},
};

fn address(site: &Site, token: &str) -> String {
    format!("http://{token}@{}/fleet/tug.git", site.address())
}

fn commit(person: &Person, folder: &std::path::Path, file: &str, text: &str) {
    person.folder(folder.to_str().unwrap(), &[(file, text.as_bytes())]);
    person.does(folder, "git", &["add", "."]);
    let name = ["-c", "user.name=Dev", "-c", "user.email=dev@harbour.example"];
    person.does(folder, "git", &[&name[..], &["commit", "--quiet", "--message", file]].concat());
}

fn project(site: &Site, token: &str) {
    let made = site.post(token, "/api/v1/projects", &json!({ "path": "fleet/tug" }));
    assert_eq!(made.status, 201, "{}", made.text());
}

#[test]
fn a_project_is_created_pushed_cloned_and_cloned_shallow() {
    if !have("git") {
        return;
    }
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    project(&site, &token);
    let author = Person::of(&site, &token);
    let tug = author.folder("tug", &[]);
    author.does(&tug, "git", &["init", "--quiet", "--initial-branch", "main"]);
    for n in ["one", "two", "three"] {
        commit(&author, &tug, n, n);
    }
    author.does(&tug, "git", &["push", "--quiet", &address(&site, &token), "main"]);

    let other = Person::of(&site, &token);
    let home = other.folder(".", &[]);
    other.does(&home, "git", &["clone", "--quiet", &address(&site, &token), "whole"]);
    assert_eq!(std::fs::read_to_string(home.join("whole/three")).unwrap(), "three");
    assert_eq!(other.does(&home.join("whole"), "git", &["rev-list", "--count", "HEAD"]).trim(), "3");
    other.does(&home, "git", &["clone", "--quiet", "--depth", "1", &address(&site, &token), "shallow"]);
    assert_eq!(other.does(&home.join("shallow"), "git", &["rev-list", "--count", "HEAD"]).trim(), "1");
    other.does(&home.join("whole"), "git", &["fsck", "--strict"]);

    commit(&author, &tug, "four", "four");
    author.does(&tug, "git", &["push", "--quiet", &address(&site, &token), "main"]);
    other.does(&home.join("whole"), "git", &["pull", "--quiet", "--ff-only"]);
    assert!(home.join("whole/four").exists());
}

#[test]
fn somebody_without_the_role_reads_but_may_not_push() {
    if !have("git") {
        return;
    }
    let site = Site::isolated("harbour");
    let (token, reader) = (site.person("dev", "developer"), site.person("ada", "auditor"));
    project(&site, &token);
    let ada = Person::of(&site, &reader);
    let home = ada.folder(".", &[]);
    ada.does(&home, "git", &["clone", "--quiet", &address(&site, &reader), "tug"]);
    commit(&ada, &home.join("tug"), "mine", "mine");
    let refused = ada.fails(&home.join("tug"), "git", &["push", "origin", "HEAD:main"]);
    assert!(refused.contains("403"), "{refused}");
    let nobody = ada.fails(&home, "git", &["clone", "--quiet", &address(&site, "cfd_wrong"), "other"]);
    assert!(nobody.contains("Authentication failed") || nobody.contains("could not read"), "{nobody}");
    let path = "/fleet/tug.git/info/refs?service=git-receive-pack";
    let told = site.send(&reader, "GET", path, b"");
    assert_eq!((told.status, told.json()["code"].as_str()), (403, Some("forbidden")), "{}", told.text());
    assert!(told.json()["title"].as_str().is_some_and(|t| t.contains("may not")), "{}", told.text());
}
