//! cargo.

use std::path::PathBuf;

use crate::common::{
    Site,
    tools::{Person, have},
};

fn project(person: &Person, name: &str, version: &str, more: &str) -> PathBuf {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\n\
         description = \"About {name}\"\nlicense = \"MIT\"\n{more}\n[workspace]\n"
    );
    let code = b"pub fn answer() -> u32 { 42 }\n";
    person.folder(name, &[("Cargo.toml", manifest.as_bytes()), ("src/lib.rs", code)])
}

fn author(site: &Site, token: &str) -> Person {
    let mut author = Person::of(site, token);
    let index = format!("sparse+{}/r/cargo-local/", site.url);
    author.set("CARGO_REGISTRIES_HARBOUR_INDEX", &index);
    author.set("CARGO_REGISTRIES_HARBOUR_TOKEN", token);
    author
}

const PUBLISH: &[&str] = &["publish", "--no-verify", "--allow-dirty", "--registry", "harbour"];

#[test]
fn cargo_publishes_searches_builds_and_yanks() {
    if !have("cargo") {
        return;
    }
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    let author = author(&site, &token);
    author.does(&project(&author, "keel", "0.1.0", ""), "cargo", PUBLISH);
    let more = "[dependencies]\nkeel = { version = \"0.1\", registry = \"harbour\" }\n";
    let hull = project(&author, "hull", "0.2.0", more);
    author.does(&hull, "cargo", PUBLISH);
    let again = author.fails(&hull, "cargo", PUBLISH);
    assert!(again.contains("already"), "{again}");
    let found = author.does(&hull, "cargo", &["search", "hull", "--registry", "harbour"]);
    assert!(found.contains("hull = \"0.2.0\""), "{found}");

    let user = Person::of(&site, &token);
    let boat = project(&user, "boat", "0.0.0", "[dependencies]\nhull = \"0.2\"\n");
    user.does(&boat, "cargo", &["fetch"]);
    user.does(&boat, "cargo", &["check", "--offline", "--locked"]);
    let lock = std::fs::read_to_string(boat.join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"keel\"\nversion = \"0.1.0\"") && lock.contains("checksum"), "{lock}");

    author.does(&hull, "cargo", &["yank", "hull@0.2.0", "--registry", "harbour"]);
    user.does(&boat, "cargo", &["fetch", "--locked"]);
    let late = Person::of(&site, &token);
    let raft = project(&late, "raft", "0.0.0", "[dependencies]\nhull = \"0.2\"\n");
    let refused = late.fails(&raft, "cargo", &["generate-lockfile"]);
    assert!(refused.contains("hull") && refused.contains("yanked"), "{refused}");
}

#[test]
fn cargo_shows_why_a_publish_is_refused() {
    if !have("cargo") {
        return;
    }
    let site = Site::isolated("harbour");
    let reader = site.person("ada", "auditor");
    let author = author(&site, &reader);
    let refused = author.fails(&project(&author, "keel", "0.1.0", ""), "cargo", PUBLISH);
    assert!(refused.contains("403") && refused.contains("may not"), "{refused}");
    assert_eq!(site.get("/r/cargo/ke/el/keel").status, 404);
}
