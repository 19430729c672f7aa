//! The programs that ours is compared with: pypiserver and verdaccio, with the same files, the same
//! load and in the same run. They are installed below `target/bench` by their own package managers.
//!
//! A peer that cannot be had is skipped by name; no number of it is ever taken from elsewhere.

use std::{net::SocketAddr, path::Path, path::PathBuf, process::Command};

use serde_json::{Value, json};

use super::{
    client::Client,
    registry::{Rates, load, sized, told},
    server::Server,
    site::free_address,
};
use crate::{Outcome, root};

/// verdaccio asks for a dependency by a tag that not every mirror knows; the major version is the same.
const VERDACCIO: &str =
    r#"{ "private": true, "dependencies": { "verdaccio": "6" }, "overrides": { "node-fetch": "2" } }"#;

/// Says `listening` once something listens on port `$1` and becomes the rest of its arguments.
const READY: &str = "port=$1; shift; hex=$(printf ':%04X 00000000:0000 0A' $port); \
    (until grep -q \"$hex\" /proc/net/tcp; do sleep 0.1; done; echo listening) & exec \"$@\" 2>/dev/null >/dev/null";

/// The PyPI page of the wheels in a folder.
pub(super) fn pypiserver(wheels: &Path, ours: &Rates) -> Outcome {
    let venv = root().join("target/bench/pypiserver-venv");
    let (made, pip) = (venv.clone(), venv.join("bin/pip"));
    let install = move || {
        quietly(Command::new("python3").args(["-m", "venv"]).arg(made))?;
        // With waitress it keeps connections open; without, it answers as HTTP/1.0.
        quietly(Command::new(pip).args(["install", "--quiet", "pypiserver", "waitress"]))
    };
    let Some(program) = installed("pypiserver", venv.join("bin/pypi-server"), install) else { return Ok(()) };
    let address = free_address()?;
    let mut command = Command::new("sh");
    // It says nothing on standard output when it is ready: wait until the port answers.
    command.args(["-c", READY]).arg("sh").arg(address.port().to_string()).arg(&program);
    command.args(["run", "-p", &address.port().to_string(), "-i", "127.0.0.1"]).arg(wheels);
    let _server = Server::start(&mut command, "listening")?;
    compare("PyPI page", "pypiserver", address, "/simple/bench-many/", ours)
}

/// The packument that our site gave, put where verdaccio keeps its own.
pub(super) fn verdaccio(packument: &[u8], ours: &Rates) -> Outcome {
    let folder = root().join("target/bench/verdaccio");
    let into = folder.clone();
    let install = move || {
        std::fs::create_dir_all(&into).map_err(|e| e.to_string())?;
        std::fs::write(into.join("package.json"), VERDACCIO).map_err(|e| e.to_string())?;
        quietly(Command::new("npm").current_dir(into).args(["install", "--no-audit", "--no-fund"]))
    };
    let program = folder.join("node_modules/.bin/verdaccio");
    let Some(program) = installed("verdaccio", program, install) else { return Ok(()) };
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let failed = |e: std::io::Error| e.to_string();
    let package = home.path().join("storage/bench-many");
    std::fs::create_dir_all(&package).map_err(failed)?;
    let mut document: Value = serde_json::from_slice(packument).map_err(|e| e.to_string())?;
    for key in ["_attachments", "_distfiles", "_uplinks"] {
        document[key] = json!({});
    }
    document["_rev"] = json!("1-1");
    std::fs::write(package.join("package.json"), document.to_string()).map_err(failed)?;
    let config = "storage: ./storage\nuplinks: {}\npackages:\n  '**':\n    access: $all\n\
                  log: { type: stdout, format: json, level: fatal }\n";
    std::fs::write(home.path().join("config.yaml"), config).map_err(failed)?;
    let address = free_address()?;
    let mut command = Command::new("sh");
    command.args(["-c", READY]).arg("sh").arg(address.port().to_string()).arg("node").arg(&program);
    command.arg("--config").arg(home.path().join("config.yaml")).args(["--listen", &address.to_string()]);
    let _server = Server::start(command.current_dir(home.path()), "listening")?;
    compare("npm packument", "verdaccio", address, "/bench-many", ours)
}

/// The program, installed first when it is not there; none, and said so, when that fails.
fn installed(name: &str, program: PathBuf, install: impl FnOnce() -> Outcome) -> Option<PathBuf> {
    let tried = if program.exists() { Ok(()) } else { install() };
    match tried {
        Ok(()) if program.exists() => Some(program),
        Ok(()) => skipped(name, &format!("its installation left no {}", program.display())),
        Err(why) => skipped(name, &why),
    }
}

fn skipped(name: &str, why: &str) -> Option<PathBuf> {
    println!("skipped: {name}: {why}");
    None
}

/// Runs a command without its chatter; when it fails, its last words.
fn quietly(command: &mut Command) -> Outcome {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.output().map_err(|e| format!("{name} does not start: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    let last: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    Err(format!("{name}: {}: {}", done.status, last.join("; ")))
}

/// A peer in all forms. `Accept-Encoding: gzip` is only a wish, and what it sends is measured.
fn compare(what: &str, name: &str, address: SocketAddr, target: &str, ours: &Rates) -> Outcome {
    let gzip = vec!["Accept-Encoding: gzip".to_owned()];
    for (form, headers, our) in [("identity", vec![], ours.plain), ("gzip", gzip.clone(), ours.packed)] {
        let measured = sized(load(address, target, headers, 200))?;
        told(&format!("{what} of {name}, {form}"), &measured, Some((name, our / measured.per_second)))?;
    }
    let answer = Client::connect(address)?.ask(&format!("GET {target}"), &gzip, &[])?;
    let Some(etag) = answer.header("etag") else {
        println!("skipped: the 304 of {name}: it sends no ETag");
        return Ok(());
    };
    let headers = [gzip, vec![format!("If-None-Match: {etag}")]].concat();
    let again = Client::connect(address)?.ask(&format!("GET {target}"), &headers, &[])?.status;
    if again != 304 {
        println!("skipped: the 304 of {name}: it answers its own ETag with {again}");
        return Ok(());
    }
    let measured = sized(load(address, target, headers, 304))?;
    told(&format!("{what} of {name}, 304"), &measured, Some((name, ours.unchanged / measured.per_second)))
}
