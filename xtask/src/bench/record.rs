//! What recording costs: the same command of four real clients directly, recorded for the first time, recorded again,
//! and rehearsed, in turns. Each with empty caches of its own. Beside them, for clients that have one: directly with
//! their own full cache and no network, which is the client's own work and so the least that any rehearsal can take.
//!
//! Asks the upstreams that the person's own clients are configured for, so the numbers are of one machine, one network
//! and one hour. A client that is not here is skipped by name. `COFFERDAM_BENCH_ROUNDS` sets how many turns (3
//! without it), `COFFERDAM_BENCH_CLIENT` names one client (`pip`).

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde_json::Value;

use super::{Line, percentile, release_binary, site::Site};
use crate::Outcome;

/// A project and the command that fetches what it needs.
struct Project {
    name: &'static str,
    program: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// Makes its lock file, directly; not measured.
    lock: &'static str,
    /// What is measured. `$COLD` is an empty folder for the client's cache; the recorder's home is empty anyway.
    command: &'static str,
    /// What more it takes to do the same with a full cache and no network, where the client can.
    offline: Option<&'static str>,
}

const PROJECTS: &[Project] = &[
    Project {
        name: "pip install",
        program: "pip",
        files: &[("requirements.in", "flask\nrequests\nnumpy\n")],
        lock: "python3 -m pip install --quiet --dry-run --no-cache-dir --ignore-installed --report report.json \
               -r requirements.in >/dev/null\n\
               python3 -c 'import json; [print(p[\"metadata\"][\"name\"] + \"==\" + p[\"metadata\"][\"version\"]) \
               for p in json.load(open(\"report.json\"))[\"install\"]]' > requirements.txt\nrm report.json",
        command: "python3 -m pip install --quiet --no-compile --no-cache-dir --target site -r requirements.txt",
        offline: None,
    },
    Project {
        name: "npm ci",
        program: "npm",
        files: &[(
            "package.json",
            r#"{"name":"bench","version":"1.0.0","private":true,"dependencies":{"express":"4","webpack":"5","eslint":"9"}}"#,
        )],
        lock: "npm install --silent --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved",
        command: "npm_config_cache=${COLD:-$HOME/.npm} npm ci --silent --no-audit --no-fund",
        offline: Some("--offline"),
    },
    Project {
        name: "cargo fetch",
        program: "cargo",
        files: &[
            (
                "Cargo.toml",
                "[package]\nname = \"bench\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\naxum = \"0.8\"\n\
                 reqwest = \"0.12\"\nclap = { version = \"4\", features = [\"derive\"] }\n[workspace]\n",
            ),
            ("src/lib.rs", ""),
        ],
        lock: "cargo generate-lockfile --quiet",
        command: "if [ -n \"$COLD\" ]; then cp \"${CARGO_HOME:-$HOME/.cargo}\"/config* \"$COLD\" 2>/dev/null || :; \
                  export CARGO_HOME=$COLD; fi; cargo fetch --quiet --locked",
        // With a full cache there is nothing to fetch.
        offline: None,
    },
    Project {
        name: "mvn package",
        program: "mvn",
        files: &[
            (
                "pom.xml",
                "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
                 <groupId>example</groupId><artifactId>bench</artifactId><version>1</version><properties>\
                 <maven.compiler.source>17</maven.compiler.source><maven.compiler.target>17</maven.compiler.target>\
                 <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties></project>\n",
            ),
            ("src/main/java/Bench.java", "public class Bench { }\n"),
        ],
        lock: "true",
        command: "mvn --batch-mode --quiet ${COLD:+-Dmaven.repo.local=$COLD} package",
        offline: Some("--offline"),
    },
];

pub(super) fn run() -> Outcome {
    let rounds = match std::env::var("COFFERDAM_BENCH_ROUNDS") {
        Ok(text) => text.parse().map_err(|e| format!("COFFERDAM_BENCH_ROUNDS: {e}"))?,
        Err(_) => 3usize,
    };
    let only = std::env::var("COFFERDAM_BENCH_CLIENT").ok();
    let chosen = |project: &&Project| only.as_deref().is_none_or(|only| only == project.program);
    // One that fails does not take the others' numbers away.
    PROJECTS
        .iter()
        .filter(chosen)
        .map(|project| measure(project, rounds))
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

/// Seconds of each round, by what was done.
#[derive(Default)]
struct Times {
    direct: Vec<f64>,
    offline: Vec<f64>,
    cold: Vec<f64>,
    warm: Vec<f64>,
    replay: Vec<f64>,
}

fn measure(project: &Project, rounds: usize) -> Outcome {
    if which(project.program).is_none() {
        eprintln!("skipped: {}: {} is not here", project.name, project.program);
        return Ok(());
    }
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    for (path, text) in project.files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(folder.path())).map_err(|e| e.to_string())?;
        std::fs::write(path, text).map_err(|e| e.to_string())?;
    }
    shell(folder.path(), project.lock, None)?;
    let mut times = Times::default();
    for _ in 0..rounds {
        let (direct, offline) = directly(project, folder.path())?;
        times.direct.push(direct);
        times.offline.extend(offline);
        let site = Site::connected()?;
        let officer = site.person("olga", "officer")?;
        let _server = site.start()?;
        let ask = |arguments: &[&str]| seconds(&site, &officer, folder.path(), arguments);
        let record = ["record", "--name", "bench", "--", "sh", "-ec", project.command];
        times.cold.push(ask(&record)?);
        times.warm.push(ask(&record)?);
        times.replay.push(ask(&["rehearse", "bench"])?);
    }
    let direct = middle(&mut times.direct)?;
    say(project, "directly", direct, None)?;
    if !times.offline.is_empty() {
        say(project, "directly from its own full cache", middle(&mut times.offline)?, Some(direct))?;
    }
    for (what, all) in [
        ("recorded, nothing kept yet", &mut times.cold),
        ("recorded again", &mut times.warm),
        ("rehearsed", &mut times.replay),
    ] {
        say(project, what, middle(all)?, Some(direct))?;
    }
    Ok(())
}

/// In a fresh copy of the folder with an empty cache, and in another with the cache that this filled; seconds.
fn directly(project: &Project, folder: &Path) -> Outcome<(f64, Option<f64>)> {
    let cache = tempfile::tempdir().map_err(|e| e.to_string())?;
    let run = |command: &str| {
        let copy = tempfile::tempdir().map_err(|e| e.to_string())?;
        let from = format!("{}/.", folder.display());
        let copied = Command::new("cp").args(["-r", &from]).arg(copy.path()).status();
        if !copied.map_err(|e| e.to_string())?.success() {
            return Err("the project could not be copied".to_owned());
        }
        let start = Instant::now();
        shell(copy.path(), command, Some(cache.path()))?;
        Ok(start.elapsed().as_secs_f64())
    };
    let direct = run(project.command)?;
    let offline = project.offline.map(|more| run(&format!("{} {more}", project.command))).transpose()?;
    Ok((direct, offline))
}

fn shell(folder: &Path, script: &str, cold: Option<&Path>) -> Outcome {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).current_dir(folder);
    if let Some(cold) = cold {
        command.env("COLD", cold);
    }
    let output = command.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`{script}` failed: {}", String::from_utf8_lossy(&output.stderr)))
}

/// What a recording or a rehearsal says of its command's wall time; seconds.
fn seconds(site: &Site, token: &str, folder: &Path, arguments: &[&str]) -> Outcome<f64> {
    let mut command = Command::new(release_binary()?);
    command.arg("--home").arg(site.home()).arg("--json").args(["--token", token]);
    command.arg("--site").arg(format!("http://{}", site.address)).args(arguments).current_dir(folder);
    let output = command.output().map_err(|e| e.to_string())?;
    let told: Value = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("{arguments:?}: {told}: {}", String::from_utf8_lossy(&output.stderr)));
    }
    told["seconds"].as_f64().ok_or_else(|| format!("no time in {told}"))
}

fn middle(times: &mut [f64]) -> Outcome<f64> {
    times.sort_by(f64::total_cmp);
    percentile(times, 0.5).ok_or_else(|| "no round".to_owned())
}

fn say(project: &Project, what: &str, seconds: f64, direct: Option<f64>) -> Outcome {
    let metric = format!("{}, {what}", project.name);
    let (peer, ratio) = (direct.map(|_| "directly"), direct.map(|direct| seconds / direct));
    Line { bench: "record", metric: &metric, value: seconds, unit: "s", peer, ratio }.print()
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}
