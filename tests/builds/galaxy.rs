//! `ansible-galaxy`, with a Galaxy of two collections: `harbour.ferry`, which needs `harbour.oars`.

use std::{fs, process::Command};

use cofferdam_types::Sha256;
use serde_json::{Value, json};

use crate::{
    Build,
    common::tools::{have, have_sandbox},
    known,
    world::{NONE, World},
};

/// A collection, as `ansible-galaxy` makes it.
fn collection(name: &str, needs: &Value) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join(name);
    fs::create_dir_all(root.join("roles/sail/tasks")).unwrap();
    fs::write(root.join("roles/sail/tasks/main.yml"), "- debug: msg=sailing\n").unwrap();
    fs::write(root.join("README.md"), "A collection.\n").unwrap();
    let about = json!({ "namespace": "harbour", "name": name, "version": "1.0.0", "authors": ["Ann"], "readme": "README.md",
        "license": ["MIT"], "dependencies": needs });
    fs::write(root.join("galaxy.yml"), about.to_string()).unwrap();
    let mut galaxy = Command::new("ansible-galaxy");
    galaxy.args(["collection", "build", "--output-path"]).arg(folder.path()).arg(&root);
    let made = galaxy.env("HOME", folder.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::read(folder.path().join(format!("harbour-{name}-1.0.0.tar.gz"))).unwrap()
}

/// The third version of the Galaxy's interface.
pub fn galaxy(base: &str) -> Vec<(String, Vec<u8>)> {
    let versions = json!({ "available_versions": { "v3": "v3/" } });
    let mut files = vec![("api/".to_owned(), versions.to_string().into_bytes())];
    for (name, needs) in [("oars", json!({})), ("ferry", json!({ "harbour.oars": ">=1.0.0" }))] {
        let (bytes, place) = (collection(name, &needs), format!("api/v3/collections/harbour/{name}/"));
        let archive = format!("files/harbour-{name}-1.0.0.tar.gz");
        let whole =
            json!({ "namespace": "harbour", "name": name, "highest_version": { "version": "1.0.0" } });
        let list = json!({ "meta": { "count": 1 }, "links": { "next": null },
            "data": [{ "version": "1.0.0", "href": format!("/{place}versions/1.0.0/") }] });
        let version = json!({ "namespace": { "name": "harbour" }, "name": name, "collection": { "name": name }, "version": "1.0.0",
            "href": format!("/{place}versions/1.0.0/"), "download_url": format!("{base}{archive}"), "signatures": [],
            "artifact": { "filename": format!("harbour-{name}-1.0.0.tar.gz"), "sha256": Sha256::of(&bytes), "size": bytes.len() },
            "metadata": { "dependencies": needs }, "manifest": {} });
        for (place, document) in [
            (place.clone(), whole),
            (format!("{place}versions/?limit=100"), list),
            (format!("{place}versions/1.0.0/"), version),
        ] {
            files.push((place, document.to_string().into_bytes()));
        }
        files.push((archive, bytes));
    }
    files.into_iter().map(|(name, bytes)| (format!("{base}{name}"), bytes)).collect()
}

const WANTED: &[u8] = b"collections:\n- name: harbour.ferry\n  version: 1.0.0\n";
const INSTALL: &str = "ansible-galaxy collection install -p out -r requirements.yml; test -d out/ansible_collections/harbour/oars";

#[test]
fn collections_come_from_the_server_of_the_person_s_own_settings() {
    if !have("ansible-galaxy") || !have_sandbox() {
        return;
    }
    let world = World::new(galaxy("https://galaxy.example/"));
    let pair = world.pair(NONE);
    let settings = tempfile::tempdir().unwrap();
    let file = settings.path().join("ansible.cfg");
    fs::write(&file, "[galaxy]\nserver_list = own\n[galaxy_server.own]\nurl = https://galaxy.example/api/\n")
        .unwrap();
    let build = Build {
        files: &[("requirements.yml", WANTED)],
        command: &format!("rm -rf out; {INSTALL}"),
        person: &[("ANSIBLE_CONFIG", file.to_str().unwrap())],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:galaxy/harbour.ferry@1.0.0", "pkg:galaxy/harbour.oars@1.0.0"]);
    let collection = pair.outside.by(&pair.officers.0, &["collect", "boat"]).ok();
    assert_eq!(collection["unused"], json!([]), "what the file names was used: {collection:#}");
}

#[test]
fn collections_come_from_the_server_that_the_command_names() {
    if !have("ansible-galaxy") || !have_sandbox() {
        return;
    }
    let world = World::new(galaxy("http://galaxy.example/"));
    let pair = world.pair(NONE);
    let build = Build {
        files: &[("requirements.yml", WANTED)],
        command: &format!("rm -rf out; {}", INSTALL.replace(" -p", " -s http://galaxy.example/api/ -p")),
        person: &[("ANSIBLE_CONFIG", "/none")],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:galaxy/harbour.ferry@1.0.0", "pkg:galaxy/harbour.oars@1.0.0"]);
}
