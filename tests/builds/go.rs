//! Go, whose modules come from where the person's own `go env` says.

use std::{collections::BTreeMap, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::{
    Build, addresses,
    common::tools::have_sandbox,
    world::{NONE, World},
};

const MOD: &str = "module harbour.example/ferry\n\ngo 1.20\n";
const BASE: &str = "http://modules.example/go/harbour.example/ferry/@v/";

fn module() -> BTreeMap<String, Vec<u8>> {
    let root = "harbour.example/ferry@v1.0.0/";
    [("go.mod", MOD), ("ferry.go", "package ferry\n\nconst Answer = 42\n")]
        .map(|(name, text)| (format!("{root}{name}"), text.as_bytes().to_vec()))
        .into()
}

/// Go's `h1:` digest: over the SHA-256 lines of all files, by name.
fn h1(files: &BTreeMap<String, Vec<u8>>) -> String {
    let lines: String = files
        .iter()
        .map(|(name, bytes)| format!("{}  {name}\n", hex::encode(Sha256::digest(bytes))))
        .collect();
    format!("h1:{}", STANDARD.encode(Sha256::digest(lines)))
}

fn zip(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// `go --version` is no command of Go's.
fn have_go() -> bool {
    let works =
        std::process::Command::new("go").arg("version").output().is_ok_and(|done| done.status.success());
    if !works {
        println!("skipped: go: there is no working go on the PATH");
    }
    works
}

#[test]
fn go_builds_with_modules_from_the_proxy_of_the_person_s_own_configuration() {
    if !have_go() || !have_sandbox() {
        return;
    }
    let module = module();
    let world = World::new([
        (format!("{BASE}list"), b"v1.0.0\n".to_vec()),
        (format!("{BASE}v1.0.0.info"), br#"{"Version":"v1.0.0","Time":"2024-01-01T00:00:00Z"}"#.to_vec()),
        (format!("{BASE}v1.0.0.mod"), MOD.as_bytes().to_vec()),
        (format!("{BASE}v1.0.0.zip"), zip(&module)),
    ]);
    let pair = world.pair(NONE);
    let only_mod = BTreeMap::from([("go.mod".to_owned(), MOD.as_bytes().to_vec())]);
    let sums = format!(
        "harbour.example/ferry v1.0.0 {}\nharbour.example/ferry v1.0.0/go.mod {}\n",
        h1(&module),
        h1(&only_mod)
    );
    let person = tempfile::tempdir().unwrap();
    let settings = person.path().join("env");
    std::fs::write(&settings, "GOPROXY=http://ann:hush@modules.example/go\nGOTOOLCHAIN=local\n").unwrap();
    let build = Build {
        files: &[
            ("go.mod", b"module harbour.example/boat\n\ngo 1.20\n\nrequire harbour.example/ferry v1.0.0\n"),
            ("go.sum", sums.as_bytes()),
            // A library: the standard one, which Go would compile first, is not what is tried here.
            ("boat.go", b"package boat\n\nimport \"harbour.example/ferry\"\n\nconst Answer = ferry.Answer\n"),
        ],
        command: "go build ./...; test \"$(go env GOPROXY)\" = http://modules.example/go",
        person: &[("GOENV", settings.to_str().unwrap()), ("GOPROXY", ""), ("GOFLAGS", "")],
    };
    let recorded = build.crosses(&pair, world);
    let found = addresses(&recorded);
    for name in ["v1.0.0.mod", "v1.0.0.zip"] {
        assert!(found.contains(&format!("{BASE}{name}")), "{name}: {found:?}");
    }
}
