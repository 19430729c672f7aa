//! The tables of the specification say what the code says.

use std::{collections::BTreeSet, fs, path::Path};

use cofferdam_transfer as transfer;

use crate::tools;

fn text() -> String {
    fs::read_to_string(tools::spec().join("transfer-v1.md")).unwrap()
}

fn sources(krate: &str) -> String {
    fn all(folder: &Path, out: &mut String) {
        for name in tools::names(folder) {
            let path = folder.join(&name);
            if path.is_dir() {
                all(&path, out);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = fs::read_to_string(path).unwrap();
                out.push_str(text.split("#[cfg(test)]\nmod tests {").next().unwrap());
            }
        }
    }
    let mut out = String::new();
    all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(krate).join("src"), &mut out);
    out
}

macro_rules! limits {
    ($($name:ident)*) => { [$((stringify!($name), transfer::$name as u128)),*] };
}

#[test]
fn every_limit_of_the_code_stands_in_the_table_with_its_value() {
    let known = limits!(MAX_PACK_RAW MAX_PACK_BYTES MAX_FRAME_BYTES MAX_PACKS MAX_VOLUMES MIN_VOLUME_BYTES
        MAX_VOLUME_BYTES DEFAULT_VOLUME_BYTES MAX_FILES MAX_HEADER_BYTES MAX_README_BYTES MAX_MANIFEST_BYTES
        MAX_LINE_BYTES MAX_BLOBS MAX_RECIPE_BYTES MAX_DESTINATIONS MAX_RECIPIENTS MAX_ROOTS MAX_FOLDER_NAME
        MAX_ENTRIES MAX_PATCH_LIST);
    let (text, code) =
        (text(), fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/limits.rs")).unwrap());
    let defined: Vec<&str> =
        code.lines().filter_map(|l| l.strip_prefix("pub const ")?.split(':').next()).collect();
    assert_eq!(defined, known.map(|(name, _)| name), "a limit is not in this test");
    for (name, value) in known {
        assert!(text.contains(&format!("\n| `{name}` | {value} |")), "{name} = {value} is not in the table");
    }
    let rows = text.lines().filter(|l| l.starts_with("| `M") || l.starts_with("| `DEFAULT")).count();
    assert_eq!(rows, known.len(), "the table has other rows");
}

/// Texts between quotes that are codes: kebab-case, or where a code is an argument.
fn codes(source: &str) -> BTreeSet<String> {
    let lower = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    let mut found = BTreeSet::new();
    for line in
        source.split("\n    ").flat_map(|l| l.split('\n')).filter(|l| !l.trim_start().starts_with("//"))
    {
        let pieces: Vec<&str> = line.split('"').collect();
        for n in (1..pieces.len()).step_by(2) {
            let (before, text) = (pieces[n - 1], pieces[n]);
            let argument =
                ["invalid(", "failed(", "conflict(", "verification("].iter().any(|f| before.ends_with(f))
                    || before.trim_end().ends_with(',') && before.contains("ErrorKind::");
            if lower(text)
                && (text.contains('-') && !text.starts_with('-') && !text.ends_with('-') || argument)
            {
                found.insert(text.to_owned());
            }
        }
    }
    found.remove("kebab-case");
    found.remove("dvd-dl");
    found.remove("-");
    found
}

#[test]
fn every_refusal_code_of_the_code_stands_in_the_list_and_no_other() {
    let text = text();
    let section = text.split("\n## Refusals\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
    for paragraph in section.split("\n\n") {
        let list: BTreeSet<String> = paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let elsewhere = paragraph.starts_with("From ");
        if ["Reading:", "Repair:", "Writing:", "Media:", "Back:"]
            .iter()
            .any(|start| paragraph.starts_with(start))
        {
            own.extend(list);
        } else if elsewhere {
            others.extend(list.into_iter().filter(|c| !c.starts_with("crates/")));
        }
    }
    assert_eq!(codes(&sources("transfer")), own);
    let there = sources("trust") + &sources("parity");
    for code in others {
        assert!(there.contains(&format!("\"{code}\"")), "nothing refuses with `{code}`");
    }
}

#[test]
fn the_second_verifier_is_short_and_needs_nothing_but_python() {
    let script = fs::read_to_string(tools::spec().join("verify.py")).unwrap();
    assert!(script.lines().count() <= 300, "verify.py has {} lines", script.lines().count());
    let imports: Vec<&str> =
        script.lines().filter(|l| l.trim_start().starts_with("import ") || l.contains(" import ")).collect();
    let standard = "import argparse, base64, calendar, decimal, functools, hashlib, itertools, json, math, os, pathlib, re, \
                    subprocess, sys, tempfile";
    assert_eq!(imports, [standard]);
}
