//! cargo.

use crate::{
    Build,
    common::{
        tools::{have, have_sandbox},
        upstream::{pair_with, upstream},
    },
};

#[test]
fn cargo_builds_and_runs_a_program() {
    if !have("cargo") || !have_sandbox() {
        return;
    }
    let upstream = upstream();
    let pair = pair_with(&upstream);
    let manifest = "[package]\nname = \"boat\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nferry = \"1\"\n[workspace]\n";
    let build = Build {
        files: &[
            ("Cargo.toml", manifest.as_bytes()),
            ("src/main.rs", b"fn main() { assert_eq!(ferry::answer(), 42) }\n"),
        ],
        command: "rm -rf Cargo.lock target; cargo fetch; cargo run --locked --offline",
        person: &[],
    };
    let recorded = build.crosses(&pair, upstream);
    assert_eq!(
        (&recorded["releases"], recorded["network"]["addresses"].as_array().unwrap().len()),
        (&2.into(), 0)
    );
}
