//! The binary: command line, configuration, composition.
//!
//! `main` parses the command line; each command is a file in `commands/`. What a site is made of is
//! put together in `site.rs`, and nowhere else. This crate must never hold business rules: it
//! starts things, talks to people, and maps errors to exit codes.

mod cli;
mod client;
mod commands;
mod config;
mod home;
mod memory;
mod output;
mod personal;
mod projects;
mod signals;
mod site;
mod toolchain;
mod upstream_keys;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = cli::Cli::parse();
    let json = arguments.json;
    match commands::run(arguments) {
        Ok(code) => code,
        Err(error) => output::failed(&error, json),
    }
}
