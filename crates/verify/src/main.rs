//! `cofferdam-verify`: one small program for a kiosk or a courier's desk.
//!
//! It reads a medium, says how every file is, and signs that if asked. It must never hold network code
//! (`tests/no_network.rs`), write to the medium unasked, or decide anything that `cofferdam verify` decides
//! otherwise: both are `cofferdam-station` behind a command line.

mod bar;
mod cli;

use std::{path::Path, process::ExitCode};

use clap::Parser as _;
use cofferdam_station::{
    Found, SignedStatement, Station, found_text, inspect, read_statements, statement, to_text,
};
use cofferdam_transfer::station_files;
use cofferdam_trust::SigningKey;
use cofferdam_types::{Clock as _, Error, ErrorKind, Result, time::SystemClock};
use serde_json::{Value, json};

use crate::{bar::Bar, cli::Cli};

const TOOL: &str = concat!("cofferdam-verify ", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    let done = match &cli.make_station_key {
        Some(path) => make_key(path).map(|()| None),
        None => verify(&cli),
    };
    match done {
        Ok(failure) => ExitCode::from(failure.map_or(0, exit_code)),
        Err(error) => failed(&error, json),
    }
}

/// The same numbers as the main program's.
fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Invalid => 2,
        ErrorKind::VerificationFailed => 3,
        ErrorKind::PolicyRefused | ErrorKind::Forbidden => 4,
        ErrorKind::MissingVolume => 6,
        ErrorKind::NoSpace => 8,
        _ => 1,
    }
}

fn failed(error: &Error, json: bool) -> ExitCode {
    let (code, message, hint) = (error.code(), error.message(), error.advice());
    if json {
        println!("{}", json!({ "error": { "code": code, "message": message, "hint": hint } }));
    } else {
        eprintln!("REFUSED ({code}): {message}");
        if error.kind() == ErrorKind::Internal {
            eprintln!("cause: {}", error.internal_chain());
        }
        if let Some(hint) = hint {
            eprintln!("next: {hint}");
        }
    }
    ExitCode::from(exit_code(error.kind()))
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
    let key = cli.station_key.as_deref().map(SigningKey::read).transpose()?;
    let stations = cli::parse_keys(&cli.stations)?;
    let folders: Vec<&Path> = cli.folders.iter().map(AsRef::as_ref).collect();
    let bar = Bar::new();
    let looked = inspect(&folders, &trust, SystemClock.now(), &bar);
    bar.clear();
    let report = looked?;
    let found = if stations.is_empty() {
        Vec::new()
    } else {
        read_statements(&station_files(&folders)?, &report.identity, &stations)
    };
    let signed = match (&cli.statement, &key) {
        (Some(_), Some(key)) => {
            let station = Station {
                station: cli.station.clone().unwrap_or_default(),
                person: cli.person.clone().unwrap_or_default(),
                engines: cli.engines.clone(),
            };
            Some(statement(&report, &station, SystemClock.now(), TOOL, key)?)
        }
        _ => None,
    };
    if cli.json {
        let value = serde_json::to_value(&report).map_err(|e| Error::internal("writing a report", e))?;
        print_json(value, &found, signed.as_ref());
    } else {
        print!("{}", to_text(&report));
        if !found.is_empty() {
            print!("\nstations on the way:\n{}", found_text(&found));
        }
    }
    if let (Some(signed), Some(folder)) = (&signed, &cli.statement) {
        let path = signed.write(folder)?;
        eprintln!("the statement is in {}", path.display());
    }
    Ok(report.verdict.failure())
}

fn print_json(mut report: Value, found: &[Found], signed: Option<&SignedStatement>) {
    report["heard"] = json!(found);
    if let Some(signed) = signed {
        report["statement"] = json!({ "name": signed.name, "sha256": signed.sha256 });
    }
    println!("{report}");
}
