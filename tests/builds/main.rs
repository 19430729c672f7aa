//! Real projects built by each ecosystem's own client: recorded from an upstream that the test made, rehearsed without
//! it, carried over, and built inside by the same unchanged command.

#[path = "../common/mod.rs"]
mod common;

mod apt;
mod containers;
mod galaxy;
mod go;
mod helm;
mod java;
mod javascript;
mod mixture;
mod nuget;
mod php;
mod python;
mod ruby;
mod rust;
mod terraform;
mod world;

use std::{fs, path::Path};

use common::Pair;
use serde_json::Value;

/// A project, and how it is built.
struct Build<'a> {
    /// Its files.
    files: &'a [(&'a str, &'a [u8])],
    /// A command for the shell.
    command: &'a str,
    /// More of the environment of the person who builds, on both sides.
    person: &'a [(&'a str, &'a str)],
}

impl Build<'_> {
    /// The whole way. `upstream` is gone before the rehearsal. Answers what `record` said.
    #[track_caller]
    fn crosses(&self, pair: &Pair, upstream: impl Sized) -> Value {
        self.way(pair, upstream, 1).0
    }

    /// The same with two recordings, of which the second finds as much: nothing that the first has left behind hides
    /// what is fetched. And the rehearsal makes what the recording made, without a byte from outside.
    #[track_caller]
    fn crosses_twice(&self, pair: &Pair, upstream: impl Sized) -> Value {
        let (recorded, rehearsed) = self.way(pair, upstream, 2);
        assert_eq!(recorded["result"]["sha256"], rehearsed["result"]["sha256"], "{recorded:#} {rehearsed:#}");
        let lines = rehearsed["network"]["connections"]["lines"].as_array().unwrap();
        assert!(!lines.iter().any(|line| line["decision"] == "relayed"), "{lines:#?}");
        recorded
    }

    #[track_caller]
    fn way(&self, pair: &Pair, upstream: impl Sized, times: usize) -> (Value, Value) {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in self.files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let run = |site: &common::Site, token: &str, verb: &[&str]| {
            site.by_with(folder.path(), self.person, token, &[verb, &["sh", "-ec", self.command]].concat())
        };
        let officer = &pair.officers.0;
        let record = || run(&pair.outside, officer, &["record", "--name", "boat", "--"]).ok();
        let recorded = record();
        for _ in 1..times {
            let again = record();
            let found = |of: &Value| ["releases", "files", "bytes"].map(|name| of[name].as_u64());
            assert_eq!(found(&recorded), found(&again));
            assert_ne!(again["releases"], 0, "{again:#}");
        }
        drop(upstream);
        let rehearsed = pair.outside.by_with(Path::new("/"), self.person, officer, &["rehearse", "boat"]);
        let missing = rehearsed.json["missing"].clone();
        assert_eq!(
            (&rehearsed.json["complete"], missing.as_array().map(Vec::len)),
            (&true.into(), Some(0)),
            "{rehearsed:#?}"
        );
        let packed = pair.pack("boat", &[])["path"].as_str().unwrap().to_owned();
        let id = pair.receive(&packed).ok()["id"].to_string();
        let build = || run(&pair.inside, &pair.developers.1, &["inside", "--"]);
        assert_ne!(build().code, 0, "nothing can be built before it is published");
        pair.approve_and_publish(&id);
        let built = build();
        assert_eq!(built.code, 0, "{built:#?}");
        (recorded, rehearsed.json)
    }
}

/// What the recording's addresses are known as, sorted.
fn known(pair: &Pair) -> Vec<String> {
    let collection = pair.outside.by(&pair.officers.0, &["collect", "boat"]).ok();
    let items = collection["items"].as_array().unwrap();
    let mut known: Vec<String> =
        items.iter().filter_map(|item| item["known_as"].as_str().map(str::to_owned)).collect();
    known.sort();
    known.dedup();
    known
}

/// What a recording was given from addresses: the addresses that were there, in order of their first answer.
fn addresses(recorded: &Value) -> Vec<String> {
    let all = recorded["network"]["addresses"].as_array().unwrap();
    let found = all.iter().filter(|a| a["status"] == 200).map(|a| a["url"].as_str().unwrap().to_owned());
    let mut seen = Vec::new();
    for url in found {
        if !seen.contains(&url) {
            seen.push(url);
        }
    }
    seen
}

/// A `PATH` with the folder of a program in front, if a variable names the program.
fn path_with(program: &Path) -> String {
    let path = std::env::var("PATH").unwrap();
    match program.parent().filter(|folder| folder.is_absolute()) {
        Some(folder) => format!("{}:{path}", folder.display()),
        None => path,
    }
}
