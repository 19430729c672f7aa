//! The external programs that tests talk to: finds them, or installs them under `target`.
//!
//! A client that cannot be had is skipped by name; it never fails a run. Packages come through the
//! person's own configuration: no address is named here.

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Outcome, root, run};

/// Programs of Python packages: variable, package, version. Each has an environment of its own: their dependencies differ.
const PYTHON: [(&str, &str, &str); 4] = [
    ("COFFERDAM_TEST_TWINE", "twine", "7.0.0"),
    ("COFFERDAM_TEST_UV", "uv", "0.13.9"),
    ("COFFERDAM_TEST_PDM", "pdm", "2.29.4"),
    ("COFFERDAM_TEST_PIPENV", "pipenv", "2026.10.3"),
];

/// Programs of npm packages: variable, package, version, and the program in the package.
const NODE: [(&str, &str, &str, &str); 4] = [
    ("COFFERDAM_TEST_PNPM", "pnpm", "12.21.0", "pnpm"),
    ("COFFERDAM_TEST_YARN", "@yarnpkg/cli-dist", "4.18.1", "bin/yarn"),
    ("COFFERDAM_TEST_YARN1", "yarn", "1.22.22", "bin/yarn"),
    ("COFFERDAM_TEST_BUN", "bun", "1.4.5", "bin/bun"),
];

/// What was found: variables for the tests, and what is skipped and why.
#[derive(Debug, Default)]
pub struct Clients {
    /// Environment variables that name the clients.
    pub variables: Vec<(&'static str, PathBuf)>,
    /// One line for each missing client: `NAME: why`.
    pub skipped: Vec<String>,
}

/// Finds or installs every client. A variable that is already set is left alone.
#[must_use]
pub fn prepare() -> Clients {
    let mut clients = Clients::default();
    for (variable, name, version) in PYTHON {
        clients.add(variable, name, || python_tool(name, version));
    }
    for (variable, package, version, program) in NODE {
        clients.add(variable, &format!("{package} {version}"), || node_tool(package, version, program));
    }
    clients.add("COFFERDAM_TEST_PG_BIN", "PostgreSQL", postgres);
    // What recovers a transfer without us, and what the second verifier runs: found on the PATH by the tests.
    for name in ["age", "zstd", "openssl"] {
        clients.need(name, || packaged(name));
    }
    for line in &clients.skipped {
        println!("skipped: {line}");
    }
    clients
}

impl Clients {
    fn add(&mut self, variable: &'static str, name: &str, find: impl FnOnce() -> Outcome<PathBuf>) {
        if std::env::var_os(variable).is_some() {
            return;
        }
        match find() {
            Ok(path) => {
                println!("{name}: {}", path.display());
                self.variables.push((variable, path));
            }
            Err(why) => self.skipped.push(format!("{name}: {why}")),
        }
    }
}

impl Clients {
    /// A program that the tests look for themselves.
    fn need(&mut self, name: &str, find: impl FnOnce() -> Outcome<PathBuf>) {
        match find() {
            Ok(path) => println!("{name}: {}", path.display()),
            Err(why) => self.skipped.push(format!("{name}: {why}")),
        }
    }
}

/// A program on the PATH, installed from the package of its name where that may be.
fn packaged(name: &str) -> Outcome<PathBuf> {
    if let Some(found) = on_path(name) {
        return Ok(found);
    }
    install(name, &format!("`{name}` is not on the PATH"))?;
    on_path(name).ok_or_else(|| format!("its package was installed without `{name}`"))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Installs a Debian package; `missing` says why, where that may not be.
fn install(package: &str, missing: &str) -> Outcome {
    // Only root may install; a developer's machine is left as it is.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0);
    if !is_root || !Path::new("/usr/bin/apt-get").exists() {
        return Err(missing.to_owned());
    }
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-y", "--no-install-recommends", package]);
    run(apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null()))
}

/// A folder of a client's own: another version is another folder.
fn folder(package: &str, version: &str) -> PathBuf {
    root()
        .join("target/clients")
        .join(format!("{}-{version}", package.trim_start_matches('@').replace('/', "-")))
}

fn python_tool(name: &str, version: &str) -> Outcome<PathBuf> {
    let venv = folder(name, version);
    let program = venv.join("bin").join(name);
    if program.is_file() {
        return Ok(program);
    }
    let pip = venv.join("bin/pip");
    if !pip.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    // PDM does not run with a later one, and does not say so.
    let beside = (name == "pdm").then_some("hishel==1.4.0");
    // Where there is no network, that is to be known soon.
    let quick = ["--retries", "1", "--timeout", "20"];
    run(Command::new(&pip)
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(quick)
        .arg(format!("{name}=={version}"))
        .args(beside))?;
    if program.is_file() { Ok(program) } else { Err("it was installed without a program".into()) }
}

fn node_tool(package: &str, version: &str, program: &str) -> Outcome<PathBuf> {
    let folder = folder(package, version);
    // Of its own folder, where the program stands and not a link to it: a build sees no more than the folder.
    let program = folder.join("node_modules").join(package).join(program);
    if program.is_file() {
        return Ok(program);
    }
    if on_path("npm").is_none() {
        return Err("it is installed by npm, which is not on the PATH".into());
    }
    let mut npm = Command::new("npm");
    run(npm
        .args([
            "install",
            "--silent",
            "--no-save",
            "--no-audit",
            "--fetch-retries",
            "1",
            "--fetch-timeout",
            "60000",
        ])
        .arg("--prefix")
        .arg(&folder)
        .arg(format!("{package}@{version}")))?;
    // Bun's own package calls its program so on every system, and leaves the plain name to a link elsewhere.
    let other = program.with_extension("exe");
    if !program.is_file() && other.is_file() {
        std::fs::hard_link(&other, &program).map_err(|e| format!("linking {}: {e}", program.display()))?;
    }
    if !program.is_file() {
        return Err("it was installed without a program of its own".into());
    }
    // Yarn's lies in its package as a plain file.
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, executable).map_err(|e| format!("{}: {e}", program.display()))?;
    Ok(program)
}

fn postgres() -> Outcome<PathBuf> {
    if let Some(found) = installed_postgres() {
        return Ok(found);
    }
    install("postgresql", "`initdb` is neither on the PATH nor below /usr/lib/postgresql")?;
    installed_postgres().ok_or_else(|| "it was installed without `initdb`".into())
}

/// The folder with `initdb` and `postgres`: on the PATH, or the newest packaged one.
fn installed_postgres() -> Option<PathBuf> {
    let complete = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path).find(complete) {
        return Some(found);
    }
    let entries = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let packaged = entries.map(|entry| entry.path().join("bin")).filter(complete);
    packaged.max_by_key(|folder| {
        let version =
            folder.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        version.and_then(|text| text.parse::<u32>().ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_of_each_version_has_a_folder_of_its_own() {
        let folders: Vec<PathBuf> = PYTHON
            .iter()
            .map(|(_, name, version)| folder(name, version))
            .chain(NODE.iter().map(|(_, name, version, _)| folder(name, version)))
            .collect();
        assert!(folders.iter().any(|f| f.ends_with("target/clients/yarnpkg-cli-dist-4.18.1")), "{folders:?}");
        assert_ne!(folder("yarn", "1"), folder("yarn", "2"));
        let distinct: std::collections::BTreeSet<_> = folders.iter().collect();
        assert_eq!(distinct.len(), folders.len());
    }

    #[test]
    fn a_missing_client_is_skipped_by_name() {
        let mut clients = Clients::default();
        clients.add("COFFERDAM_TEST_NO_SUCH_VARIABLE", "ferry", || Err("there is none".into()));
        assert_eq!(clients.skipped, ["ferry: there is none"]);
        assert!(clients.variables.is_empty());
        clients.need("barge", || Err("there is none".into()));
        assert_eq!(clients.skipped, ["ferry: there is none", "barge: there is none"]);
        assert!(on_path("sh").is_some() && on_path("no such program").is_none());
    }
}
