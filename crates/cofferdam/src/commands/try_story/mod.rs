//! `cofferdam try`: two sites on this machine, and the whole story between them.
//!
//! Nothing here is special: each step does through the same addresses and the same sandbox what a
//! person would do with the commands in the README. The steps are in `steps.rs`, the two running
//! sites in `sites.rs`, the package set of `--sample` in `sample.rs`.
//!
//! This module must never reach into a site behind its API, except to create it.

mod pipeline;
mod report;
mod sample;
mod sites;
mod steps;

use std::{path::PathBuf, process::ExitCode};

use cofferdam_types::{Error, Result};

use crate::cli::TryArgs;
use report::Report;
use steps::Story;

/// Runs the story; without `--check` it then stays up until it is told to stop.
pub async fn run(arguments: &TryArgs) -> Result<ExitCode> {
    let mut report = Report::new(arguments.check);
    let temporary = tempfile::Builder::new().prefix("cofferdam-try-").tempdir();
    let temporary = temporary.map_err(|e| Error::io("making a folder for the two sites", e))?;
    let root: PathBuf = match &arguments.dir {
        Some(dir) => std::path::absolute(dir).map_err(|e| Error::io("finding the folder", e))?,
        None => temporary.path().to_owned(),
    };
    let mut story = Story::prepare(&root, arguments.sample, &mut report).await?;
    let told = story.tell(&mut report).await;
    if let Err(error) = &told {
        report.failed(error);
    }
    if !arguments.check && told.is_ok() {
        story.stay(&report).await?;
    }
    let left = story.end().await;
    report.end(left);
    Ok(if report.all_held() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
