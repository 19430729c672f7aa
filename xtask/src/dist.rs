//! The release binaries and their checksums, in `target/dist`. Never publishes anything.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Outcome, capture, cargo, root, run as run_command};

/// Builds exactly what Cargo.lock says: the site, and the static program for kiosks.
///
/// # Errors
/// When a build or a copy fails, or the kiosk's program is not static.
pub fn run() -> Outcome {
    run_command(cargo().args(["build", "--release", "--locked", "-p", "cofferdam"]))?;
    let verify = kiosk()?;
    let dist = root().join("target/dist");
    fs::create_dir_all(&dist).map_err(|e| format!("cannot make {}: {e}", dist.display()))?;
    put(&root().join("target/release/cofferdam"), &dist)?;
    put(&verify, &dist)?;
    let sums = capture(Command::new("sha256sum").args(["cofferdam", "cofferdam-verify"]).current_dir(&dist))?;
    fs::write(dist.join("SHA256SUMS"), &sums).map_err(|e| format!("cannot write SHA256SUMS: {e}"))?;
    print!("{sums}");
    Ok(())
}

/// The program for kiosks alone: built static, checked, and its size told.
///
/// # Errors
/// As [`run`].
pub fn run_kiosk() -> Outcome {
    let dist = root().join("target/dist");
    fs::create_dir_all(&dist).map_err(|e| format!("cannot make {}: {e}", dist.display()))?;
    put(&kiosk()?, &dist)
}

fn put(binary: &Path, dist: &Path) -> Outcome {
    let name = binary.file_name().unwrap_or_default();
    let bytes = fs::copy(binary, dist.join(name))
        .map_err(|e| format!("cannot copy {} to {}: {e}", binary.display(), dist.display()))?;
    println!("{} {bytes} bytes", name.to_string_lossy());
    Ok(())
}

/// Builds the kiosk's program without shared libraries. The flag is given for a named target, so that it does
/// not reach build scripts and procedural macros, which must stay loadable.
fn kiosk() -> Outcome<PathBuf> {
    let target = host()?;
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    let args = ["build", "--profile", "kiosk", "--locked", "-p", "cofferdam-verify", "--target", &target];
    run_command(cargo().args(args).env(variable, "-C target-feature=+crt-static"))?;
    let binary = root().join("target").join(&target).join("kiosk/cofferdam-verify");
    let headers = capture(Command::new("readelf").arg("--program-headers").arg(&binary))?;
    if headers.contains("INTERP") {
        return Err(format!("{} is not static: it asks for a loader", binary.display()));
    }
    Ok(binary)
}

/// The triple of this machine.
fn host() -> Outcome<String> {
    let text = capture(Command::new("rustc").arg("-vV"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "rustc does not name its host".to_owned())
}
