//! Several clients in one build: a Makefile that calls them, and a client that another one starts.

use serde_json::json;

use crate::{
    Build,
    common::tools::{have, have_sandbox},
    galaxy, known, ruby,
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
