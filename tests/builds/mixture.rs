//! Several clients in one build: a Makefile that calls them, and a client that another one starts.

use std::fs;

use serde_json::json;

use crate::{
    Build,
    common::tools::{have, have_sandbox},
    galaxy, helm, known, ruby,
    world::{NONE, World},
};

#[test]
fn a_makefile_calls_an_npm_script_that_calls_bundler_and_then_ansible_galaxy() {
    if !["make", "npm", "gem", "bundle", "ansible-galaxy"].into_iter().all(have) || !have_sandbox() {
        return;
    }
    let gems = ruby::server("https://gems.example/");
    let world = World::new(gems.into_iter().chain(galaxy::galaxy("https://galaxy.example/")));
    let pair = world.pair(NONE);
    let package = json!({ "name": "boat", "version": "1.0.0", "scripts": { "sail": "bundle install --quiet && bundle exec ruby -e 'require %q(ferry)'" } }).to_string();
    let makefile = "all:\n\trm -rf out Gemfile.lock\n\tnpm run --silent sail\n\
                    \tansible-galaxy collection install -s https://galaxy.example/api/ -p out harbour.ferry:1.0.0\n";
    let build = Build {
        files: &[
            ("Makefile", makefile.as_bytes()),
            ("package.json", package.as_bytes()),
            ("Gemfile", b"source 'https://gems.example'\ngem 'ferry'\n"),
        ],
        command: "make",
        person: &[("ANSIBLE_CONFIG", "/none")],
    };
    build.crosses_twice(&pair, world);
    let expected = ["galaxy/harbour.ferry", "galaxy/harbour.oars", "gem/ferry", "gem/oars"];
    assert_eq!(known(&pair), expected.map(|name| format!("pkg:{name}@1.0.0")));
    let collection = pair.outside.by(&pair.officers.0, &["collect", "boat"]).ok();
    let gem =
        collection["items"].as_array().unwrap().iter().find(|item| item["known_as"] == "pkg:gem/oars@1.0.0");
    let by = gem.unwrap()["asked_by"].to_string();
    assert!(by.contains("for boat@1.0.0"), "who ran Bundler is told: {by}");
}

const LOCK: &str = "GEM\n  remote: https://gems.example/\n  specs:\n    ferry (1.0.0)\n      oars (~> 1.0)\n    oars (1.0.0)\n\n\
                    PLATFORMS\n  ruby\n\nDEPENDENCIES\n  ferry\n";
const CHART: &str = "apiVersion: v2\nname: harbour\nversion: 0.1.0\ndependencies:\n- name: quay\n  version: 1.0.0\n  \
                     repository: https://charts.example/stable\n";

#[test]
fn what_lock_files_name_is_collected_by_their_own_clients_and_installed_inside() {
    if !["gem", "bundle", "ansible-galaxy"].into_iter().all(have) || !helm::have_helm() || !have_sandbox() {
        return;
    }
    let world = World::new(
        [
            ruby::server("https://gems.example/"),
            galaxy::galaxy("https://galaxy.example/"),
            helm::repository("https://charts.example/stable"),
        ]
        .concat(),
    );
    let pair = world.pair(NONE);
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("galaxy.cfg");
    let wanted = "roles:\n- harbour.sails\ncollections:\n- name: harbour.ferry\n  version: 1.0.0\n";
    for (name, text) in [
        ("Gemfile", "source 'https://gems.example'\ngem 'ferry'\n"),
        ("Gemfile.lock", LOCK),
        ("Chart.yaml", CHART),
        ("requirements.yml", wanted),
        ("galaxy.cfg", "[galaxy]\nserver = https://galaxy.example/api/\n"),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let from = folder.path().to_str().unwrap();
    let person = [("ANSIBLE_CONFIG", settings.to_str().unwrap())];
    let collect = || {
        let words = ["collect", "--from", from, "--as", "boat"];
        pair.outside.by_with(folder.path(), &person, &pair.officers.0, &words)
    };
    let left = collect().json["left"].to_string();
    assert!(
        left.contains("harbour.sails") && !left.contains("ferry"),
        "a role is told, and nothing else: {left}"
    );
    fs::write(folder.path().join("requirements.yml"), wanted.replace("roles:\n- harbour.sails\n", ""))
        .unwrap();
    let done = collect().ok();
    assert_eq!((&done["complete"], &done["left"]), (&json!(true), &json!([])), "{done}");
    drop(world);
    let expected = ["galaxy/harbour.ferry", "galaxy/harbour.oars", "gem/ferry", "gem/oars", "helm/quay"];
    assert_eq!(known(&pair), expected.map(|name| format!("pkg:{name}@1.0.0")));

    let packed = pair.pack("boat", &[])["path"].as_str().unwrap().to_owned();
    let id = pair.receive(&packed).ok()["id"].to_string();
    let shown = pair.inside.by(&pair.approvers[0], &["transfers", &id]).ok();
    assert!(
        shown["difference"].to_string().contains("pkg:gem/oars@1.0.0"),
        "whoever approves sees what it is: {shown:#}"
    );
    pair.approve_and_publish(&id);
    let build = "bundle install; bundle exec ruby -e 'require %q(ferry)'; helm dependency update .; \
                 ansible-galaxy collection install -p out -r requirements.yml";
    let built = pair.inside.by_with(
        folder.path(),
        &person,
        &pair.developers.1,
        &["inside", "--", "sh", "-ec", build],
    );
    assert_eq!(built.code, 0, "{built:#?}");
}
