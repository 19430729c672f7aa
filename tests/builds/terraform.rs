//! Terraform, with a provider from a mirror that the person's own settings name, and from the registry that the project
//! names. Nothing of the provider is run.

use std::{fs, io::Write as _, process::Command};

use cofferdam_types::Sha256;
use serde_json::json;

use crate::{
    Build,
    common::tools::{have, have_sandbox},
    known,
    world::{NONE, World},
};

const FILE: &str = "terraform-provider-ferry_1.0.0_linux_amd64.zip";

fn archive() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.start_file("terraform-provider-ferry_v1.0.0", options).unwrap();
    zip.write_all(b"#!/bin/sh\nexit 1\n").unwrap();
    zip.finish().unwrap().into_inner()
}

fn have_terraform() -> bool {
    let this = cfg!(all(target_os = "linux", target_arch = "x86_64"));
    if !this {
        println!("skipped: terraform: the provider of this story is for linux_amd64");
    }
    this && have("terraform")
}

fn project(source: &str) -> String {
    format!(
        "terraform {{\n  required_providers {{\n    ferry = {{ source = \"{source}\", version = \"1.0.0\" }}\n  }}\n}}\n"
    )
}

const BUILD: &str = "rm -rf .terraform .terraform.lock.hcl; terraform init -no-color; find .terraform -type f | grep -q provider-ferry_v1.0.0";

#[test]
fn a_provider_comes_from_the_mirror_of_the_person_s_own_settings() {
    if !have_terraform() || !have_sandbox() {
        return;
    }
    let base = "https://mirror.example/tf/registry.terraform.io/harbour/ferry";
    let version = json!({ "archives": { "linux_amd64": { "url": FILE } } });
    let world = World::new([
        (format!("{base}/index.json"), json!({ "versions": { "1.0.0": {} } }).to_string().into_bytes()),
        (format!("{base}/1.0.0.json"), version.to_string().into_bytes()),
        (format!("{base}/{FILE}"), archive()),
    ]);
    let pair = world.pair(NONE);
    let settings = tempfile::tempdir().unwrap();
    let file = settings.path().join("terraformrc");
    // A cache that would hide what is fetched, and that no build has.
    let text = "plugin_cache_dir = \"/home/ann/.terraform.d/plugin-cache\"\n\
                provider_installation {\n  network_mirror {\n    url = \"https://mirror.example/tf/\"\n  }\n}\n";
    fs::write(&file, text).unwrap();
    let project = project("harbour/ferry");
    let build = Build {
        files: &[("main.tf", project.as_bytes())],
        command: BUILD,
        person: &[("TF_CLI_CONFIG_FILE", file.to_str().unwrap())],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:terraform/harbour/ferry@1.0.0"]);
}

/// A detached signature and the key, in armour; none where this machine's gpg does not make them.
fn signed(text: &str) -> Option<(Vec<u8>, String, String)> {
    let home = tempfile::tempdir().ok()?;
    let gpg = |words: &[&str]| {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--yes", "--passphrase", "", "--pinentry-mode", "loopback"]).args(words);
        let done = gpg.env("GNUPGHOME", home.path()).current_dir(home.path()).output().ok()?;
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
    };
    gpg(&["--quick-gen-key", "harbour", "rsa2048", "sign"])?;
    fs::write(home.path().join("sums"), text).ok()?;
    gpg(&["--detach-sign", "-o", "sums.sig", "sums"])?;
    let listed = gpg(&["--list-keys", "--with-colons"])?;
    let key = listed.lines().find_map(|line| line.strip_prefix("pub:"))?.split(':').nth(3)?.to_owned();
    let armour = gpg(&["--armor", "--export"])?;
    let signature = fs::read(home.path().join("sums.sig")).ok()?;
    let _ = Command::new("gpgconf").args(["--kill", "gpg-agent"]).env("GNUPGHOME", home.path()).output();
    Some((signature, key, armour))
}

#[test]
fn a_signed_provider_comes_from_the_registry_that_the_project_names() {
    if !have_terraform() || !have("gpg") || !have_sandbox() {
        return;
    }
    let (archive, base) = (archive(), "https://tf.example");
    let sha256 = Sha256::of(&archive);
    let sums = format!("{sha256}  {FILE}\n");
    let Some((signature, key_id, armour)) = signed(&sums) else {
        println!("skipped: gpg: it makes no key without asking a person");
        return;
    };
    let versions = json!({ "versions": [{ "version": "1.0.0", "protocols": ["5.0"], "platforms": [{ "os": "linux", "arch": "amd64" }] }] });
    let download = json!({ "protocols": ["5.0"], "os": "linux", "arch": "amd64", "filename": FILE, "shasum": sha256,
        "download_url": format!("{base}/files/{FILE}"), "shasums_url": format!("{base}/files/sums"),
        "shasums_signature_url": format!("{base}/files/sums.sig"),
        "signing_keys": { "gpg_public_keys": [{ "key_id": key_id, "ascii_armor": armour }] } });
    let provider = "v1/providers/harbour/ferry";
    let files = [
        (".well-known/terraform.json", json!({ "providers.v1": "/v1/providers/" }).to_string().into_bytes()),
        (&format!("{provider}/versions"), versions.to_string().into_bytes()),
        (&format!("{provider}/1.0.0/download/linux/amd64"), download.to_string().into_bytes()),
        ("files/sums", sums.into_bytes()),
        ("files/sums.sig", signature),
        (&format!("files/{FILE}"), archive),
    ];
    let world = World::new(files.map(|(name, bytes)| (format!("{base}/{name}"), bytes)));
    let pair = world.pair(NONE);
    let project = project("tf.example/harbour/ferry");
    let build = Build {
        files: &[("main.tf", project.as_bytes())],
        command: BUILD,
        person: &[("TF_CLI_CONFIG_FILE", "/none")],
    };
    build.crosses_twice(&pair, world);
    assert_eq!(known(&pair), ["pkg:terraform/harbour/ferry@1.0.0"]);
}
