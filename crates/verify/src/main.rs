//! `cofferdam-verify`: one small program for a kiosk or a courier's desk.
//!
//! It reads a medium, says how every file is, and signs that if asked. It must never hold network code
//! (`tests/no_network.rs`), write to the medium unasked, or decide anything that `cofferdam verify` decides
//! otherwise: both are `cofferdam-station` behind a command line.

mod bar;
mod cli;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser as _;
use cofferdam_station::{
    Found, Report, SignedStatement, found_text, inspect, read_statements, statement, to_text,
};
use cofferdam_transfer::station_files;
use cofferdam_trust::SigningKey;
use cofferdam_types::{Clock as _, Error, ErrorKind, Result, time::SystemClock};
use serde_json::{Value, json};

use crate::{
    bar::Bar,
    cli::{Cli, Signing},
};

const TOOL: &str = concat!("cofferdam-verify ", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    let done = match &cli.make_station_key {
        Some(path) => make_key(path).map(|()| None),
        None => verify(&cli),
    };
    match done {
        Ok(failure) => ExitCode::from(failure.map_or(0, ErrorKind::exit_code)),
        Err(error) => failed(&error, json),
    }
}

fn failed(error: &Error, json: bool) -> ExitCode {
    if json {
        println!("{}", json!({ "error": as_json(error) }));
    } else {
        say("REFUSED", error);
    }
    ExitCode::from(error.kind().exit_code())
}

fn as_json(error: &Error) -> Value {
    json!({ "code": error.code(), "message": error.message(), "hint": error.advice() })
}

/// An error for a person, on standard error.
fn say(what: &str, error: &Error) {
    eprintln!("{what} ({}): {}", error.code(), error.message());
    if error.kind() == ErrorKind::Internal {
        eprintln!("cause: {}", error.internal_chain());
    }
    if let Some(hint) = error.advice() {
        eprintln!("next: {hint}");
    }
}

fn make_key(path: &Path) -> Result<()> {
    let key = SigningKey::generate()?;
    key.write_new(path)?;
    eprintln!("the private key is in {}; keep it at this station. Its public half:", path.display());
    println!("{}", key.verifying_key());
    Ok(())
}

fn verify(cli: &Cli) -> Result<Option<ErrorKind>> {
    let trust = cli.trust()?;
    // What can fail before hours of reading fails before.
    let signing = cli.signing()?;
    let stations = cli::parse_keys(&cli.stations)?;
    let folders: Vec<&Path> = cli.folders.iter().map(AsRef::as_ref).collect();
    let beside = if stations.is_empty() { Vec::new() } else { station_files(&folders)? };
    let bar = Bar::new();
    let looked = inspect(&folders, &trust, SystemClock.now(), &bar);
    bar.clear();
    let report = looked?;
    let found = read_statements(&beside, &report.identity, &stations);
    // What was seen is shown and is the exit code, whether or not the statement could be written.
    let said = signing.map(|signing| signing.write(&report));
    if cli.json {
        let value = serde_json::to_value(&report).map_err(|e| Error::internal("writing a report", e))?;
        print_json(value, &found, said.as_ref());
    } else {
        print!("{}", to_text(&report));
        if !found.is_empty() {
            print!("\nstations on the way:\n{}", found_text(&found));
        }
    }
    let unsaid = match &said {
        Some(Ok((_, path))) => {
            eprintln!("the statement is in {}", path.display());
            None
        }
        Some(Err(error)) => {
            say("NO STATEMENT", error);
            Some(error.kind())
        }
        None => None,
    };
    Ok(report.verdict.failure().or(unsaid))
}

impl Signing {
    /// Signs what was seen and writes it where the person said.
    fn write(&self, report: &Report) -> Result<(SignedStatement, PathBuf)> {
        let signed = statement(report, &self.station, SystemClock.now(), TOOL, &self.key)?;
        let path = signed.write(&self.folder)?;
        Ok((signed, path))
    }
}

fn print_json(mut report: Value, found: &[Found], said: Option<&Result<(SignedStatement, PathBuf)>>) {
    report["heard"] = json!(found);
    match said {
        Some(Ok((signed, _))) => {
            report["statement"] = json!({ "name": signed.name, "sha256": signed.sha256 });
        }
        Some(Err(error)) => report["statement"] = json!({ "error": as_json(error) }),
        None => {}
    }
    println!("{report}");
}
