//! Transfers against what a person would pick instead: `tar | zstd | age` for packing and receiving, restic and
//! borg for deltas; and the peaks of memory that the format promises.
//!
//! `COFFERDAM_BENCH_DELTA` names a folder with `old/` and `new/` of adjacent releases (same names sorted the
//! same way); without it the bench downloads a set by pip and npm as they are set up. Peers that are not
//! installed are skipped by name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde_json::Value;

use super::Line;
use crate::{Outcome, capture, cargo, root, run as run_command};

/// Bytes of the set that is packed, about.
const SET: u64 = 1_200_000_000;
/// Adjacent releases: client, package, old, new.
const RELEASES: &[(&str, &str, &str, &str)] = &[
    ("pip", "numpy", "2.2.1", "2.2.2"),
    ("pip", "cryptography", "43.0.1", "43.0.3"),
    ("pip", "Django", "5.1.1", "5.1.2"),
    ("pip", "setuptools", "75.1.0", "75.2.0"),
    ("pip", "boto3", "1.35.30", "1.35.31"),
    ("pip", "botocore", "1.35.30", "1.35.31"),
    ("npm", "typescript", "5.6.2", "5.6.3"),
    ("npm", "next", "14.2.14", "14.2.15"),
    ("npm", "react-dom", "18.3.0", "18.3.1"),
    ("npm", "webpack", "5.95.0", "5.96.0"),
    ("npm", "eslint", "9.11.0", "9.11.1"),
];

/// All parts; one that fails does not take the others' numbers away.
pub(super) fn run() -> Outcome {
    [pipeline(), delta(), peaks()].into_iter().collect()
}

fn example(package: &str, name: &str) -> Outcome<PathBuf> {
    run_command(cargo().args(["build", "--release", "--quiet", "-p", package, "--example", name]))?;
    Ok(root().join("target/release/examples").join(name))
}

fn there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: {program} is not installed (Debian: apt-get install {program})");
    }
    found
}

fn scratch(name: &str) -> Outcome<PathBuf> {
    let folder = root().join("target/bench/transfer").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    Ok(folder)
}

fn shell(script: &str, folder: &Path) -> Outcome<f64> {
    let started = Instant::now();
    let status = Command::new("bash").args(["-euo", "pipefail", "-c", script]).current_dir(folder).status();
    match status {
        Ok(status) if status.success() => Ok(started.elapsed().as_secs_f64()),
        other => Err(format!("`{script}` failed: {other:?}")),
    }
}

fn ours(program: &Path, args: &[&str]) -> Outcome<Value> {
    let text = capture(Command::new(program).args(args))?;
    serde_json::from_str(text.trim()).map_err(|e| format!("{e}: {text}"))
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(0.0)
}

fn line(metric: &str, value: f64, unit: &str, peer: Option<(&str, f64)>) -> Outcome {
    let ratio = peer.map(|(_, other)| value / other);
    Line { bench: "transfer", metric, value, unit, peer: peer.map(|p| p.0), ratio }.print()
}

/// Regular files of the system's own libraries and of cargo's downloads, until there are enough bytes.
fn make_set(into: &Path) -> Outcome<u64> {
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|h| format!("{h}/.cargo")));
    let places = [
        home.map(|h| format!("{h}/registry/cache")).unwrap_or_default(),
        "/usr/lib".into(),
        "/usr/share".into(),
    ];
    let (mut total, mut count) = (0, 0u64);
    for place in places.iter().filter(|p| !p.is_empty()) {
        let limit = if place.ends_with("cache") { SET / 5 } else { SET };
        for entry in walkdir::WalkDir::new(place).sort_by_file_name().into_iter().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if !entry.file_type().is_file() || meta.len() == 0 || total >= limit {
                continue;
            }
            if fs::copy(entry.path(), into.join(format!("{count:06}"))).is_ok() {
                total += meta.len();
                count += 1;
            }
        }
    }
    eprintln!("the set: {count} files, {total} bytes, the first fifth of them compressed packages");
    Ok(total)
}

/// Packing and receiving, and the decision about a header.
pub(super) fn pipeline() -> Outcome {
    let program = example("cofferdam-transfer", "measure_transfer")?;
    let work = scratch("pipeline")?;
    let set = work.join("set");
    fs::create_dir(&set).map_err(|e| e.to_string())?;
    make_set(&set)?;
    let text = |path: &Path| path.display().to_string();
    let keys = ours(&program, &["keys", &text(&work)])?;
    let recipient = keys["recipient"].as_str().unwrap_or_default();
    // Everything is in the page cache for both.
    shell("cat set/* > /dev/null", &work)?;
    let packed = ours(&program, &["pack", &text(&set), &text(&work)])?;
    let folder = packed["more"]["path"].as_str().unwrap_or_default().to_owned();
    let received = ours(&program, &["receive", &folder, &text(&work.join("store"))])?;
    let mut peers = (None, None);
    if there("age") && there("zstd") {
        shell("(cd set && sha256sum * > ../sums)", &work)?;
        let pack = shell(
            &format!("tar -C set -cf - . | zstd -q -3 -T0 | age -r {recipient} -o peer.age && sync peer.age"),
            &work,
        )?;
        let out = "mkdir out && age -d -i measure.age peer.age | zstd -q -d | tar -C out -xf - && cd out && sha256sum --quiet -c ../sums";
        let unpack = shell(out, &work)?;
        line(
            "peer output",
            fs::metadata(work.join("peer.age")).map_or(0.0, |m| m.len() as f64),
            "bytes",
            None,
        )?;
        peers = (
            Some(("tar | zstd -3 -T0 | age", pack)),
            Some(("age -d | zstd -d | tar x, sha256sum -c", unpack)),
        );
    }
    line("pack", number(&packed, "seconds"), "s", peers.0)?;
    line("pack output, parity included", number(&packed, "output"), "bytes", None)?;
    line("receive, durable", number(&received, "seconds"), "s", peers.1)?;
    let header = ours(&program, &["header", &text(&scratch("header")?)])?;
    line("header decision on 1 TB", number(&header, "seconds"), "s", None)
}

fn fetch(into: &Path) -> Outcome {
    for (which, at) in [("old", 2), ("new", 3)] {
        let folder = into.join(which);
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        for release in RELEASES {
            let version = if at == 2 { release.2 } else { release.3 };
            let script = match release.0 {
                "pip" => {
                    format!("pip download -q --no-deps --only-binary=:all: -d . {}=={version}", release.1)
                }
                _ => format!("npm pack --silent {}@{version} > /dev/null", release.1),
            };
            if shell(&script, &folder).is_err() {
                eprintln!("skipped: {} {version} cannot be had", release.1);
            }
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.sort();
    files
}

/// The name of the package that a file belongs to.
fn package(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let version =
        name.match_indices('-').find(|(i, _)| name[i + 1..].starts_with(|c: char| c.is_ascii_digit()));
    version.map_or(name.clone(), |(i, _)| name[..i].to_owned())
}

/// What each level of deltas carries.
pub(super) fn delta() -> Outcome {
    let program = example("cofferdam-delta", "measure_delta")?;
    let set = match std::env::var_os("COFFERDAM_BENCH_DELTA") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let folder = root().join("target/bench/transfer/releases");
            if !folder.join("new").exists() {
                fetch(&folder)?;
            }
            folder
        }
    };
    let (old, new) = (sorted(&set.join("old")), sorted(&set.join("new")));
    let mut sums = [0.0; 3];
    let (mut whole, mut seconds, mut pairs) = (0.0, 0.0, 0);
    for target in &new {
        let Some(base) = old.iter().find(|path| package(path) == package(target)) else { continue };
        let text = capture(Command::new(&program).arg(base).arg(target))?;
        for row in text.lines() {
            let row: Value = serde_json::from_str(row).map_err(|e| e.to_string())?;
            let level = ["Copy", "Prefix", "Deflate"].iter().position(|l| row["level"] == *l).unwrap_or(0);
            sums[level] += number(&row, "carried");
            if level == 2 {
                whole += number(&row, "whole");
                seconds += number(&row, "plan_seconds");
                pairs += 1;
            }
        }
    }
    eprintln!("{pairs} adjacent releases");
    for (level, sum) in ["copies", "zstd prefixes", "DEFLATE again"].iter().zip(sums) {
        line(&format!("delta up to {level}"), sum, "bytes", Some(("whole files", whole)))?;
    }
    line("delta planning", seconds, "s", None)?;
    let work = scratch("peers")?;
    let mut added = Vec::new();
    if there("restic") {
        let script = "export RESTIC_PASSWORD=x RESTIC_REPOSITORY=restic; restic -q init; restic -q backup OLD; du -sb restic > 1; restic -q backup NEW; du -sb restic > 2";
        added.push(("restic", grown(script, &set, &work)?));
    }
    if there("borg") {
        let script = "export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_BASE_DIR=$PWD; borg init -e none borg; borg create -C zstd,3 borg::1 OLD; du -sb borg > 1; borg create -C zstd,3 borg::2 NEW; du -sb borg > 2";
        added.push(("borg", grown(script, &set, &work)?));
    }
    for (peer, bytes) in added {
        line("delta against", sums[2], "bytes", Some((peer, bytes)))?;
    }
    Ok(())
}

fn grown(script: &str, set: &Path, work: &Path) -> Outcome<f64> {
    let quoted = |which: &str| format!("'{}'", set.join(which).display());
    shell(&script.replace("OLD", &quoted("old")).replace("NEW", &quoted("new")), work)?;
    let size = |n: &str| -> f64 {
        let text = fs::read_to_string(work.join(n)).unwrap_or_default();
        text.split_whitespace().next().and_then(|t| t.parse().ok()).unwrap_or(0.0)
    };
    Ok(size("2") - size("1"))
}

/// Peaks of memory.
pub(super) fn peaks() -> Outcome {
    let program = example("cofferdam-transfer", "measure_transfer")?;
    for (what, args) in
        [("1,000,000 blobs", ["many", "1000000"]), ("20 GB of one sparse blob", ["sparse", "20000000000"])]
    {
        let work = scratch("peaks")?;
        let out = work.display().to_string();
        let packed = ours(&program, &[args[0], args[1], &out])?;
        line(&format!("peak of memory, packing {what}"), number(&packed, "peak_bytes"), "bytes", None)?;
        let folder = packed["more"]["path"].as_str().unwrap_or_default().to_owned();
        let read = ours(&program, &["receive", &folder, "none"])?;
        line(&format!("peak of memory, reading {what}"), number(&read, "peak_bytes"), "bytes", None)?;
    }
    fs::remove_dir_all(root().join("target/bench/transfer/peaks")).map_err(|e| e.to_string())
}
