//! `cargo xtask TASK`: picks the task. No work is done here.

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask TASK
  tidy [--fix]    the house rules that a program can check; --fix writes the crate table
  test [ARGS]     everything that must pass before a change is merged; ARGS go to cargo test
  bench [NAME]    a measurement as JSON lines; without a name, the names
  dist [--kiosk]  the release binaries and their checksums in target/dist; --kiosk: cofferdam-verify alone";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let outcome = match args.first().map(String::as_str) {
        Some("tidy") => xtask::tidy::run(rest),
        Some("test") => xtask::test::run(rest),
        Some("bench") => xtask::bench::run(rest),
        Some("dist") if rest == ["--kiosk"] => xtask::dist::run_kiosk(),
        Some("dist") if rest.is_empty() => xtask::dist::run(),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}
