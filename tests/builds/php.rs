//! Composer, with a repository of two packages: `harbour/ferry`, which needs `harbour/oars`.

use std::{fs, io::Write as _};

use serde_json::{Value, json};
use sha1::Digest as _;

use crate::{
    Build,
    common::tools::{have, have_sandbox},
    known,
    world::{NONE, World},
};

fn archive(name: &str, needs: &Value) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let about =
        json!({ "name": format!("harbour/{name}"), "require": needs, "autoload": { "files": ["it.php"] } });
    for (file, text) in [
        ("composer.json", about.to_string()),
        ("it.php", format!("<?php function {name}() {{ return 42; }}\n")),
    ] {
        zip.start_file(format!("{name}-ab/{file}"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A repository of Composer 2.
fn repository(base: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (name, needs) in [("oars", json!({})), ("ferry", json!({ "harbour/oars": "^1.0" }))] {
        let (bytes, url) = (archive(name, &needs), format!("{base}dist/{name}.zip"));
        let shasum = hex::encode(sha1::Sha1::digest(&bytes));
        let package = json!({ "name": format!("harbour/{name}"), "version": "1.0.0", "version_normalized": "1.0.0.0",
            "require": needs, "autoload": { "files": ["it.php"] }, "dist": { "type": "zip", "url": url, "shasum": shasum } });
        let document =
            json!({ "packages": { (format!("harbour/{name}")): [package] }, "minified": "composer/2.0" });
        files.push((format!("{base}p2/harbour/{name}.json"), document.to_string().into_bytes()));
        files.push((url, bytes));
    }
    let root = json!({ "packages": [], "metadata-url": "/p2/%package%.json" });
    files.push((format!("{base}packages.json"), root.to_string().into_bytes()));
    files
}

/// `composer --version` asks a person whether root is meant.
fn have_composer() -> bool {
    have("php") && have("composer")
}

const BUILD: &str = "composer install --no-interaction --no-progress\n\
                     php -r 'require \"vendor/autoload.php\"; exit(ferry() == 42 ? 0 : 1);'; echo sailed > result";

#[test]
fn composer_installs_from_the_repository_that_a_project_names() {
    if !have_composer() || !have_sandbox() {
        return;
    }
    let world = World::new(repository("https://php.example/"));
    let pair = world.pair(NONE);
    // Without a suffix of the project's own, Composer makes one up each time.
    let project = json!({ "require": { "harbour/ferry": "^1.0" }, "config": { "autoloader-suffix": "boat" },
        "repositories": [{ "type": "composer", "url": "https://php.example" }, { "packagist.org": false }] });
    let project = project.to_string();
    let build = Build {
        files: &[("composer.json", project.as_bytes())],
        command: &format!("rm -rf vendor composer.lock; {BUILD}"),
        person: &[],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:composer/harbour/ferry@1.0.0", "pkg:composer/harbour/oars@1.0.0"]);
}

#[test]
fn composer_s_lock_file_names_what_is_installed_from_a_person_s_own_repository() {
    if !have_composer() || !have_sandbox() {
        return;
    }
    let files = repository("http://php.example/");
    let world = World::new(files);
    let pair = world.pair(NONE);
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join(".config/composer")).unwrap();
    let settings = json!({ "config": { "secure-http": false, "cafile": "/home/ann/ours.pem" },
        "repositories": [{ "type": "composer", "url": "http://php.example" }, { "packagist.org": false }] });
    fs::write(home.path().join(".config/composer/config.json"), settings.to_string()).unwrap();
    let project =
        json!({ "require": { "harbour/ferry": "^1.0" }, "config": { "autoloader-suffix": "boat" } });
    let project = project.to_string();
    let lock = lock(&project, &home, &pair);
    let build = Build {
        files: &[("composer.json", project.as_bytes()), ("composer.lock", lock.as_bytes())],
        command: &format!("rm -rf vendor; {BUILD}"),
        person: &[("HOME", home.path().to_str().unwrap())],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:composer/harbour/ferry@1.0.0", "pkg:composer/harbour/oars@1.0.0"]);
    let collection = pair.outside.by(&pair.officers.0, &["collect", "boat"]).ok();
    let archive = collection["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|i| i["address"].as_str().unwrap().ends_with("oars.zip"));
    let place = archive.unwrap()["mentioned"][0].as_str().unwrap();
    assert!(place.starts_with("composer.lock:"), "{place}");
}

/// The lock file, as Composer itself writes it in a recording of its own.
fn lock(project: &str, home: &tempfile::TempDir, pair: &crate::common::Pair) -> String {
    let (folder, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("composer.json"), project).unwrap();
    let kept = kept.path().join("kept");
    let words = [
        "record",
        "--name",
        "lock",
        "--keep",
        kept.to_str().unwrap(),
        "--",
        "composer",
        "update",
        "--no-install",
        "--no-interaction",
    ];
    let person = [("HOME", home.path().to_str().unwrap())];
    pair.outside.by_with(folder.path(), &person, &pair.officers.0, &words).ok();
    fs::read_to_string(kept.join("composer.lock")).unwrap()
}
