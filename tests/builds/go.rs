//! Go, whose modules come from where the person's own `go env` says.

use std::{collections::BTreeMap, io::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_trust::{SigningKey, note};
use sha2::{Digest as _, Sha256};

use crate::{
    Build, addresses,
    common::tools::{have, have_sandbox},
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

/// Go's checksum database with one record, signed by a key made here: its `GOSUMDB`, and its answers.
fn database(sums: &str) -> (String, Vec<(String, Vec<u8>)>) {
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let name = "sums.example";
    // RFC 6962: the root of a tree of one entry is that entry's hash.
    let root = Sha256::digest([b"\0", sums.as_bytes()].concat());
    let head = format!("go.sum database tree\n1\n{}\n", STANDARD.encode(root));
    let note = note::sign(&head, &[(name, &key)]).unwrap();
    let answers = vec![
        (
            "http://sums.example/lookup/harbour.example/ferry@v1.0.0".to_owned(),
            format!("0\n{sums}\n{note}").into_bytes(),
        ),
        ("http://sums.example/latest".to_owned(), note.into_bytes()),
        ("http://sums.example/tile/8/0/000.p/1".to_owned(), root.to_vec()),
    ];
    (format!("{} http://sums.example", note::NoteKey::new(name, key.verifying_key()).unwrap()), answers)
}

#[test]
fn what_go_s_checksum_database_says_is_checked_when_recorded_and_again_inside() {
    if !have_go() || !have_sandbox() {
        return;
    }
    let module = module();
    let only_mod = BTreeMap::from([("go.mod".to_owned(), MOD.as_bytes().to_vec())]);
    let sums = format!(
        "harbour.example/ferry v1.0.0 {}\nharbour.example/ferry v1.0.0/go.mod {}\n",
        h1(&module),
        h1(&only_mod)
    );
    let (setting, answers) = database(&sums);
    let modules = [
        (format!("{BASE}list"), b"v1.0.0\n".to_vec()),
        (format!("{BASE}v1.0.0.info"), br#"{"Version":"v1.0.0","Time":"2024-01-01T00:00:00Z"}"#.to_vec()),
        (format!("{BASE}v1.0.0.mod"), MOD.as_bytes().to_vec()),
        (format!("{BASE}v1.0.0.zip"), zip(&module)),
    ];
    let world = World::new(modules.into_iter().chain(answers));
    let pair = world.pair(NONE);
    let person = tempfile::tempdir().unwrap();
    let settings = person.path().join("env");
    let text = format!("GOPROXY=http://modules.example/go\nGOTOOLCHAIN=local\nGOSUMDB={setting}\n");
    std::fs::write(&settings, text).unwrap();
    let build = Build {
        files: &[
            ("go.mod", b"module harbour.example/boat\n\ngo 1.20\n\nrequire harbour.example/ferry v1.0.0\n"),
            ("boat.go", b"package boat\n\nimport \"harbour.example/ferry\"\n\nconst Answer = ferry.Answer\n"),
        ],
        command: "rm -f go.sum; go mod download harbour.example/ferry; go mod verify",
        person: &[
            ("GOENV", settings.to_str().unwrap()),
            ("GOPROXY", ""),
            ("GOFLAGS", ""),
            ("GOSUMDB", ""),
            ("GONOSUMDB", ""),
            ("GOPRIVATE", ""),
        ],
    };
    build.crosses(&pair, world);
    let collection = pair.outside.by(&pair.officers.0, &["collect", "boat"]).ok();
    proved(&collection["items"], "/proofs", 2);
    let received = pair.inside.by(&pair.officers.1, &["transfers", "1"]).ok();
    proved(&received["difference"]["known"], "/traits/proofs", 2);
}

/// Whether as many of these lines tell the whole proof.
#[track_caller]
fn proved(lines: &serde_json::Value, at: &str, count: usize) {
    let texts = lines.as_array().unwrap().iter().filter_map(|line| line.pointer(at)?.as_array());
    let texts: Vec<_> = texts.flatten().map(|text| text.as_str().unwrap()).collect();
    assert_eq!(texts.len(), count, "{lines:#}");
    for text in texts {
        let all = [
            "tree signed by sums.example+",
            "a key that the recording brought",
            "record 0 is in that tree of 1",
        ];
        assert!(all.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn a_module_that_is_not_what_the_checksum_database_lists_is_not_rehearsed_nor_packed() {
    if !have("curl") || !have_sandbox() {
        return;
    }
    let module = module();
    let sums = "harbour.example/ferry v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let (_, answers) = database(sums);
    let archive = format!("{BASE}v1.0.0.zip");
    let lookup = answers[0].0.clone();
    let world = World::new(answers.into_iter().chain([(archive.clone(), zip(&module))]));
    let pair = world.pair(NONE);
    let (folder, officer) = (tempfile::tempdir().unwrap(), &pair.officers.0);
    let fetch = format!("curl -fsS {lookup} -o b; curl -fsS {archive} -o a || echo without it");
    let kept = folder.path().join("kept");
    let keep = kept.to_str().unwrap();
    let record = ["record", "--name", "boat", "--keep", keep, "--", "sh", "-ec", &fetch];
    let record = pair.outside.by_in(folder.path(), officer, &record);
    let text = record.fails(3, "upstream-proof");
    assert!(kept.join("a").is_file(), "what was built is kept for looking at all the same");
    assert!(text.contains("the bytes have h1:"), "{text}");
    let collection = pair.outside.by(officer, &["collect", "boat"]).ok();
    assert!(collection.to_string().contains("DOES NOT HOLD"), "{collection:#}");
    pair.outside.by(officer, &["rehearse", "boat"]).fails(3, "upstream-proof");
    let medium = folder.path().to_str().unwrap();
    let pack = ["pack", "--to", "inside", "--recording", "boat", "--dry-run", medium];
    pair.outside.by(officer, &pack).fails(1, "not-rehearsed");

    // Taken out, as the error says, it is in the way of nothing: the build does without it, and is packed.
    let items = collection["items"].as_array().unwrap();
    let wrong = items.iter().find(|item| item["proofs"].to_string().contains("DOES NOT HOLD")).unwrap();
    let purl = wrong["purl"].as_str().unwrap();
    let exclude = ["collect", "boat", "--exclude", purl, "--reason", "it is not what upstream lists"];
    pair.outside.by(officer, &exclude).ok();
    let rehearsed = pair.outside.by(officer, &["rehearse", "boat"]).ok();
    assert_eq!(rehearsed["complete"], true, "{rehearsed:#}");
    let packed = pair.pack("boat", &[]);
    let received = pair.receive(packed["path"].as_str().unwrap()).ok();
    let shown = pair.inside.by(&pair.officers.1, &["transfers", &received["id"].to_string()]).ok();
    let lists = ["added", "updated", "known"].map(|list| shown["difference"][list].to_string());
    assert!(lists.concat().contains("sums.example") && !lists.concat().contains(purl), "{shown:#}");
}

#[test]
fn a_module_that_another_recording_of_the_transfer_proves_wrong_is_refused_inside() {
    if !have("curl") || !have_sandbox() {
        return;
    }
    let sums = "harbour.example/ferry v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let (_, answers) = database(sums);
    let (archive, lookup) = (format!("{BASE}v1.0.0.zip"), answers[0].0.clone());
    let world = World::new(answers.into_iter().chain([(archive.clone(), zip(&module()))]));
    let pair = world.pair(NONE);
    let (folder, officer) = (tempfile::tempdir().unwrap(), &pair.officers.0);
    for (name, url) in [("boat", &archive), ("sums", &lookup)] {
        let command = format!("curl -fsS {url} -o fetched");
        let record = ["record", "--name", name, "--", "sh", "-ec", &command];
        pair.outside.by_in(folder.path(), officer, &record).ok();
        pair.outside.by(officer, &["rehearse", name]).ok();
    }
    let packed = pair.pack("boat", &["--recording", "sums"])["path"].as_str().unwrap().to_owned();
    let received = pair.receive(&packed);
    let text = received.json.to_string();
    assert!(text.contains("go-checksum") && text.contains("the bytes have h1:"), "{received:#?}");
    assert_eq!(received.json["sound"], false, "{received:#?}");
}
