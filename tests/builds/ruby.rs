//! RubyGems and Bundler, with a gem server of two gems that `gem build` made: `ferry`, which needs `oars`.

use std::{fs, path::Path, process::Command};

use cofferdam_types::Sha256;
use md5::Digest as _;
use serde_json::json;

use crate::{
    Build,
    common::tools::{have, have_sandbox},
    known,
    world::{NONE, World},
};

const GEMS: &[(&str, &str)] = &[("oars", ""), ("ferry", "s.add_dependency 'oars', '~> 1.0'")];

/// A gem of one file.
fn gem(folder: &Path, name: &str, needs: &str) -> Vec<u8> {
    let root = folder.join(name);
    fs::create_dir_all(root.join("lib")).unwrap();
    fs::write(root.join(format!("lib/{name}.rb")), "ANSWER = 42\n").unwrap();
    let specification = format!(
        "Gem::Specification.new {{ |s| s.name = '{name}'; s.version = '1.0.0'; s.summary = 'a gem'; s.authors = ['Ann'];\
         s.homepage = 'https://harbour.example'; s.licenses = ['MIT']; s.files = ['lib/{name}.rb']; {needs} }}"
    );
    fs::write(root.join("it.gemspec"), specification).unwrap();
    let mut made = Command::new("gem");
    made.args(["build", "it.gemspec", "--output"]).arg(root.join("it.gem"));
    let made = made.current_dir(&root).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::read(root.join("it.gem")).unwrap()
}

/// A gem server: the index that `gem` reads, and the compact one that Bundler reads.
pub fn server(base: &str) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("server");
    fs::create_dir_all(root.join("gems")).unwrap();
    let mut files = Vec::new();
    let mut versions = "created_at: 2024-01-01T00:00:00Z\n---\n".to_owned();
    for (name, needs) in GEMS {
        let bytes = gem(folder.path(), name, needs);
        fs::write(root.join(format!("gems/{name}-1.0.0.gem")), &bytes).unwrap();
        let needs = if needs.is_empty() { "" } else { "oars:~> 1.0" };
        let info = format!("---\n1.0.0 {needs}|checksum:{}\n", Sha256::of(&bytes));
        versions.push_str(&format!("{name} 1.0.0 {}\n", hex::encode(md5::Md5::digest(&info))));
        files.push((format!("info/{name}"), info.into_bytes()));
    }
    files.push(("versions".into(), versions.into_bytes()));
    let made = Command::new("gem").args(["generate_index", "--directory"]).arg(&root).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    for path in crate::common::files_below(&root) {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        files.push((name, fs::read(path).unwrap()));
    }
    files.into_iter().map(|(name, bytes)| (format!("{base}{name}"), bytes)).collect()
}

#[test]
fn bundler_installs_from_a_server_with_an_authority_of_ones_own() {
    if !have("gem") || !have("bundle") || !have_sandbox() {
        return;
    }
    let world = World::new(server("https://gems.example/"));
    let pair = world.pair(NONE);
    // This person's gem believes a file that no build sees.
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(".gemrc"), ":ssl_ca_cert: /home/ann/ours.pem\n").unwrap();
    let build = Build {
        files: &[("Gemfile", b"source 'https://gems.example'\ngem 'ferry'\n")],
        command: "rm -rf Gemfile.lock; bundle install; bundle exec ruby -e 'require %q(ferry); exit ANSWER == 42'\n\
                  echo sailed > result",
        person: &[("HOME", home.path().to_str().unwrap())],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:gem/ferry@1.0.0", "pkg:gem/oars@1.0.0"]);
    // By that name advisories find it, and people decide about it.
    let feed = home.path().join("feed.json");
    let advisory = json!({ "schema_version": "1.6.0", "id": "HARBOUR-1", "modified": "2024-01-01T00:00:00Z", "summary": "oars break",
        "affected": [{ "package": { "ecosystem": "RubyGems", "name": "oars" }, "versions": ["1.0.0"] }] });
    fs::write(&feed, advisory.to_string()).unwrap();
    let (outside, officer) = (&pair.outside, &pair.officers.0);
    let judged = outside.by(officer, &["collect", "boat", "--advisories", feed.to_str().unwrap()]).ok();
    assert_eq!(judged["affected"][0]["release"], "pkg:gem/oars@1.0.0", "{judged:#}");
    let without = ["collect", "boat", "--exclude", "pkg:gem/oars@1.0.0", "--reason", "they break"];
    let excluded = outside.by(officer, &without).ok();
    assert!(excluded["excluded"][0]["purl"].as_str().unwrap().contains("oars-1.0.0.gem"), "{excluded:#}");
    assert_eq!(known(&pair), ["pkg:gem/ferry@1.0.0"]);
}

#[test]
fn gem_installs_from_the_source_of_the_person_s_own_settings() {
    if !have("gem") || !have_sandbox() {
        return;
    }
    let world = World::new(server("http://gems.example/"));
    let pair = world.pair(NONE);
    let settings = tempfile::tempdir().unwrap();
    let file = settings.path().join("gemrc");
    fs::write(&file, ":sources:\n- http://gems.example/\n").unwrap();
    let build = Build {
        files: &[("Makefile", b"all:\n\tgem install --no-document ferry\n\truby -e 'require %q(ferry)'\n")],
        command: "make; echo sailed > result",
        person: &[("GEMRC", file.to_str().unwrap())],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:gem/ferry@1.0.0", "pkg:gem/oars@1.0.0"]);
}
