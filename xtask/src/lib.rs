//! The project's own tasks, a module each; `main.rs` only picks one.
//!
//! Tasks look at the tree and run tools. Nothing here is part of the product, and the product must
//! never depend on it.

pub mod bench;
pub mod clients;
pub mod dist;
pub mod layers;
pub mod links;
pub mod test;
pub mod tidy;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What a task returns: a failure is a text for the person who ran it.
pub type Outcome<T = ()> = Result<T, String>;

/// The repository's root: the folder above this crate.
///
/// # Panics
/// Never: this crate lies in a folder of the root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root").to_owned()
}

/// The cargo that runs this task, in the root.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a command with the person's own output.
///
/// # Errors
/// When it cannot be started or fails.
pub fn run(command: &mut Command) -> Outcome {
    let status = command.status().map_err(|e| format!("cannot run {command:?}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
}

/// Runs a command and returns what it wrote to standard output.
///
/// # Errors
/// When it cannot be started, fails (with what it said on standard error), or writes no UTF-8.
pub fn capture(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|e| format!("cannot run {command:?}: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} ended with {}: {}", output.status, said.trim()));
    }
    String::from_utf8(output.stdout).map_err(|e| format!("{command:?} wrote no UTF-8: {e}"))
}

/// Reads a text file and names it when that fails.
///
/// # Errors
/// When it cannot be read as UTF-8.
pub fn read(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
