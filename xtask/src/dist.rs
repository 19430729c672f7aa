//! The release binary and its checksum, in `target/dist`. Never publishes anything.

use std::{fs, process::Command};

use crate::{Outcome, capture, cargo, root, run as run_command};

/// Builds exactly what Cargo.lock says.
///
/// # Errors
/// When the build or the copy fails.
pub fn run() -> Outcome {
    run_command(cargo().args(["build", "--release", "--locked", "-p", "cofferdam"]))?;
    let dist = root().join("target/dist");
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(&dist)?;
        fs::copy(root().join("target/release/cofferdam"), dist.join("cofferdam")).map(|_| ())
    };
    copy().map_err(|e| format!("cannot fill {}: {e}", dist.display()))?;
    let sums = capture(Command::new("sha256sum").arg("cofferdam").current_dir(&dist))?;
    fs::write(dist.join("SHA256SUMS"), &sums).map_err(|e| format!("cannot write SHA256SUMS: {e}"))?;
    print!("{sums}");
    Ok(())
}
