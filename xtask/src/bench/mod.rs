//! Measurements, each a module, each printing JSON lines. To add one: a module and a line in
//! [`BENCHES`].
//!
//! A bench prints what it measured on this machine and never a number from elsewhere.

mod advisories;
mod client;
pub mod load;
mod peers;
mod push;
mod record;
mod registry;
mod sandbox;
pub mod server;
mod site;
mod start;
mod switch;
mod transfer;
mod whole;

use serde::Serialize;

use crate::{Outcome, cargo, root, run as run_command};

/// A named measurement.
type Bench = (&'static str, fn() -> Outcome);

/// Every bench by name.
const BENCHES: &[Bench] = &[
    ("advisories", advisories::run),
    ("npm", registry::npm_packument),
    ("push", push::run),
    ("pypi", registry::pypi_page),
    ("record", record::run),
    ("registry", registry::run),
    ("sandbox", sandbox::run),
    ("start", start::run),
    ("switch", switch::run),
    ("transfer", transfer::run),
    ("transfer-delta", transfer::delta),
    ("transfer-memory", transfer::peaks),
    ("transfer-speed", transfer::pipeline),
    ("try", whole::run),
];

/// One measured number.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// The bench's name.
    pub bench: &'a str,
    /// What was measured.
    pub metric: &'a str,
    /// The number, in `unit`.
    pub value: f64,
    /// The unit (`ms`, `requests/s`, `bytes`).
    pub unit: &'a str,
    /// The program measured beside ours, if there is one.
    pub peer: Option<&'a str>,
    /// Our number divided by the peer's.
    pub ratio: Option<f64>,
}

impl Line<'_> {
    /// Prints it as one line of JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn print(&self) -> Outcome {
        println!("{}", serde_json::to_string(self).map_err(|e| e.to_string())?);
        Ok(())
    }
}

/// Runs a bench by its name; without one, prints the names.
///
/// # Errors
/// When the name is unknown or the bench fails.
pub fn run(args: &[String]) -> Outcome {
    let names = || BENCHES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    match args {
        [] => {
            println!("{}", names());
            Ok(())
        }
        [name] => match BENCHES.iter().find(|(known, _)| known == name) {
            Some((_, bench)) => bench(),
            None => Err(format!("there is no bench `{name}`; there are: {}", names())),
        },
        _ => Err("usage: cargo xtask bench [NAME]".into()),
    }
}

/// Builds the release binary and returns its path; with `COFFERDAM_BENCH_BINARY`, takes that one.
///
/// # Errors
/// When the build fails.
pub fn release_binary() -> Outcome<std::path::PathBuf> {
    if let Some(built) = std::env::var_os("COFFERDAM_BENCH_BINARY") {
        return Ok(built.into());
    }
    run_command(cargo().args(["build", "--release", "--locked", "-p", "cofferdam"]))?;
    Ok(root().join("target/release/cofferdam"))
}

/// The value below which a share (0 to 1) of the sorted values lies, by the nearest rank; none of
/// an empty list.
#[must_use]
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank within the list"
    )]
    let rank = (share.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), Some(10.0));
        assert_eq!(percentile(&values, 0.95), Some(19.0));
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
