//! A disk that is full: a whole site whose state folder lies on a file system of a few MiB.
//!
//! The test starts itself again in a user and mount namespace, where it may mount a file system of
//! its own without being root. Where that is not allowed it is skipped by name.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    common::{
        Site,
        http::Answer,
        packages::{
            crate_description, crate_upload, metadata, npm_document, publish_crate, publish_npm, tar_gz,
            upload_distribution, wheel_of,
        },
    },
    sender::noise,
};

/// Names the folder that is mounted, in the process that runs inside.
const INSIDE: &str = "FULL_DISK_IS_AT";
const MEBIBYTE: usize = 1 << 20;
/// The size of the file system. A new site takes about 2 MiB of it.
const SIZE: &str = "size=24m";
/// What somebody can delete later.
const FILLER: usize = 8 * MEBIBYTE;

#[test]
fn a_site_on_a_full_disk_says_so_keeps_what_it_has_and_goes_on_when_there_is_room() {
    if let Some(disk) = std::env::var_os(INSIDE) {
        return story(Path::new(&disk));
    }
    let folder = tempfile::tempdir().unwrap();
    let unshare = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    let mount = format!("mount -t tmpfs -o {SIZE} tmpfs \"$1\"");
    let allowed = Command::new("unshare").args(unshare).arg(&mount).arg("sh").arg(folder.path()).output();
    match allowed {
        Ok(done) if done.status.success() => {}
        Ok(done) => {
            let why = String::from_utf8_lossy(&done.stderr).trim().replace('\n', "; ");
            println!("skipped: a full disk: no file system can be mounted here: {why}");
            return;
        }
        Err(error) => {
            println!("skipped: a full disk: unshare (util-linux) does not start: {error}");
            return;
        }
    }
    let name = "full_disk::a_site_on_a_full_disk_says_so_keeps_what_it_has_and_goes_on_when_there_is_room";
    let done = Command::new("unshare")
        .args(unshare)
        .arg(format!("{mount} && exec \"$2\" --exact {name} --nocapture"))
        .arg("sh")
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, folder.path())
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

fn noise_text(length: usize, seed: u64) -> String {
    noise(length, seed).into_iter().map(|b| char::from(b'!' + b % 90)).collect()
}

fn put(site: &Site, token: &str, name: &str, bytes: &[u8]) -> Answer {
    site.send(token, "PUT", &format!("/r/generic-local/full/{name}"), bytes)
}

fn story(disk: &Path) {
    let filler = disk.join("filler");
    fs::write(&filler, vec![1; FILLER]).unwrap();
    let mut site = Site::init(tempfile::tempdir_in(disk).unwrap(), "full", "isolated");
    site.serve();
    let token = site.person("dev", "developer");
    let kept = fill(&site, &token);
    assert!(kept > 2, "the file system is too small for this test: {kept} files");
    let before = (site.blobs(), site.repositories());
    every_client_is_told(&site, &token);
    assert_eq!((site.blobs(), site.repositories()), before, "nothing half-done remains");
    readable(&site, kept);

    // Not a byte is left: now the database, too, cannot write.
    let rest = fill_up(disk);
    let small = put(&site, &token, "small.txt", b"small");
    refused(&small, "problem+json", |body| body["code"] == "no-space");
    readable(&site, kept);
    fs::remove_file(rest).unwrap();
    assert_eq!((site.blobs(), site.repositories()), before, "nothing half-done remains");

    // Somebody makes room, and that is all: the same process goes on.
    fs::remove_file(filler).unwrap();
    let answer = put(&site, &token, &format!("{kept}.bin"), &noise(MEBIBYTE, kept));
    assert_eq!(answer.status, 201, "{}", answer.text());
    for answer in every_client(&site, &token) {
        assert!((200..300).contains(&answer.status), "{}: {}", answer.status, answer.text());
    }
    readable(&site, kept + 1);
    site.here(&["audit", "verify"]).ok();
    site.stop();
    site.serve();
    readable(&site, kept + 1);
}

/// Publishes files of 1 MiB until there is no room for one, and says how many there are.
fn fill(site: &Site, token: &str) -> u64 {
    for n in 0..64 {
        let answer = put(site, token, &format!("{n}.bin"), &noise(MEBIBYTE, n));
        if answer.status != 201 {
            refused(&answer, "problem+json", |body| body["code"] == "no-space" && body["hint"].is_string());
            assert_eq!(site.get(&format!("/r/generic/full/{n}.bin")).status, 404);
            return n;
        }
    }
    panic!("64 MiB found room in {SIZE}");
}

fn readable(site: &Site, kept: u64) {
    for n in 0..kept {
        let answer = site.get(&format!("/r/generic/full/{n}.bin"));
        assert!(answer.status == 200 && answer.body == noise(MEBIBYTE, n), "{n}: {}", answer.status);
    }
    assert_eq!(site.get(&format!("/r/generic/full/{kept}.bin")).status, 404);
}

/// Takes every byte that is left; the file that does.
fn fill_up(disk: &Path) -> PathBuf {
    let path = disk.join("rest");
    let mut file = File::create(&path).unwrap();
    for size in [MEBIBYTE, 4096, 1] {
        while file.write_all(&vec![2; size]).is_ok() {}
    }
    path
}

/// 507 in the shape that a client shows to people.
#[track_caller]
fn refused(answer: &Answer, kind: &str, told: impl Fn(&Value) -> bool) {
    let (status, text) = (answer.status, answer.text());
    assert!(status == 507 && answer.header("content-type").contains(kind), "{status}: {text}");
    assert!(told(&serde_json::from_str(&text).unwrap_or(Value::String(text.clone()))), "{text}");
}

/// A large package of every ecosystem.
fn every_client(site: &Site, token: &str) -> [Answer; 3] {
    let text = noise_text(2 * MEBIBYTE, 77);
    let wheel = wheel_of("large", "1.0", &metadata("large", "1.0", &[]), &[("large/data.txt", &text)]);
    let python = upload_distribution(site, token, "pypi-local", ("large-1.0-py3-none-any.whl", &wheel), &[]);
    let manifest = json!({ "name": "large", "version": "1.0.0" }).to_string();
    let tarball = tar_gz(&[("package/package.json", &manifest), ("package/data.txt", &text)]);
    let document = npm_document("large", "1.0.0", &json!({}), &tarball);
    let node = publish_npm(site, token, "npm-local", "large", &document);
    let upload = crate_upload(&crate_description("large", "1.0.0", &json!([])), &large_crate(&text));
    let rust = publish_crate(site, token, "cargo-local", &upload);
    [python, node, rust]
}

fn large_crate(text: &str) -> Vec<u8> {
    let manifest = "[package]\nname = \"large\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    tar_gz(&[
        ("large-1.0.0/Cargo.toml", manifest),
        ("large-1.0.0/src/lib.rs", ""),
        ("large-1.0.0/data.txt", text),
    ])
}

fn every_client_is_told(site: &Site, token: &str) {
    let [python, node, rust] = every_client(site, token);
    refused(&python, "text/plain", |body| body.as_str().is_some_and(|text| text.contains("space")));
    refused(&node, "json", |body| body["code"] == "no-space" && body["error"].is_string());
    refused(&rust, "json", |body| {
        body["errors"][0]["detail"].as_str().is_some_and(|text| text.contains("space"))
    });
}
