//! Real projects built by each ecosystem's own client: recorded from an upstream that the test made, rehearsed without
//! it, carried over, and built inside by the same unchanged command.

#[path = "../common/mod.rs"]
mod common;

mod apt;
mod go;
mod java;
mod javascript;
mod python;
mod rust;
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
        let recorded = run(&pair.outside, officer, &["record", "--name", "boat", "--"]).ok();
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
        recorded
    }
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
