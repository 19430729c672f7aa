//! The ecosystems' own clients, unmodified, each run with an empty home of its own.
//!
//! A client that this machine does not have is skipped by name and never fails a test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::Site;

/// A person at a computer whose package clients are set up for one site.
pub struct Person {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

/// What a client did.
#[derive(Debug)]
pub struct Ran {
    /// Whether it succeeded.
    pub ok: bool,
    /// Both outputs.
    pub text: String,
}

impl Person {
    /// Set up as `cofferdam env` says, with this token.
    pub fn of(site: &Site, token: &str) -> Self {
        let folder = tempfile::tempdir().expect("a home");
        let setups = site.by(token, &["env"]).ok();
        let mut env = Vec::new();
        let clients = setups["clients"].as_array().expect("set-ups").iter();
        for client in clients.flat_map(|client| [client, &client["publish"]]).filter(|setup| !setup.is_null())
        {
            for (name, value) in client["env"].as_object().expect("variables") {
                env.push((name.clone(), value.as_str().expect("a value").to_owned()));
            }
            for (path, text) in client["files"].as_object().expect("files") {
                let path = folder.path().join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                let mut text = text.as_str().expect("a text").to_owned();
                // What is read and what is published to may stand in one file.
                text.insert_str(0, &fs::read_to_string(&path).unwrap_or_default());
                fs::write(path, text).expect("a configuration file");
            }
        }
        Self { folder, env }
    }

    /// Sets a variable for everything that this person runs.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(n, _)| n != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Writes files below the home, and answers the folder.
    pub fn folder(&self, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let folder = self.home().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        for (path, bytes) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
        folder
    }

    /// Runs a client in a folder. Its environment holds the set-up and nothing of ours.
    pub fn run(&self, folder: &Path, program: impl AsRef<Path>, arguments: &[&str]) -> Ran {
        let mut command = Command::new(program.as_ref());
        command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null());
        command
            .env("PATH", path_of_tools())
            .env("HOME", self.home())
            .env("CARGO_HOME", self.home().join(".cargo"));
        command.env("GIT_TERMINAL_PROMPT", "0").env("npm_config_fetch_retries", "0").env("PIP_RETRIES", "0");
        command.env("PIP_ROOT_USER_ACTION", "ignore").env("RUSTUP_AUTO_INSTALL", "0");
        command.envs(toolchain());
        command.envs(self.env.iter().map(|(n, v)| (n, v)));
        let done = command.output().unwrap_or_else(|e| panic!("{:?} does not start: {e}", program.as_ref()));
        let text = [done.stdout, done.stderr].map(|b| String::from_utf8_lossy(&b).into_owned()).concat();
        Ran { ok: done.status.success(), text }
    }

    /// Runs a client that must succeed; its output.
    #[track_caller]
    pub fn does(&self, folder: &Path, program: impl AsRef<Path>, arguments: &[&str]) -> String {
        let ran = self.run(folder, program.as_ref(), arguments);
        assert!(ran.ok, "{:?} {arguments:?} failed:\n{}", program.as_ref(), ran.text);
        ran.text
    }

    /// Runs a client that must fail; its output.
    #[track_caller]
    pub fn fails(&self, folder: &Path, program: impl AsRef<Path>, arguments: &[&str]) -> String {
        let ran = self.run(folder, program.as_ref(), arguments);
        assert!(!ran.ok, "{:?} {arguments:?} should have failed:\n{}", program.as_ref(), ran.text);
        ran.text
    }
}

/// `PATH` with the interpreter that pyenv's shims stand for in front: they look for it below `HOME`.
fn path_of_tools() -> String {
    let path = std::env::var("PATH").expect("a PATH");
    let Some(python) = python_folder() else { return path };
    format!("{}:{path}", python.display())
}

fn python_folder() -> Option<PathBuf> {
    let asked = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().ok()?;
    let text = String::from_utf8(asked.stdout).ok()?;
    Path::new(text.trim()).parent().filter(|p| p.is_absolute()).map(Path::to_owned)
}

/// Where rustup keeps the compiler that belongs to the cargo on the `PATH`.
fn toolchain() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = ["RUSTUP_HOME", "RUSTUP_TOOLCHAIN"]
        .iter()
        .filter_map(|n| Some(((*n).into(), std::env::var(n).ok()?)))
        .collect();
    if !all.iter().any(|(n, _)| n == "RUSTUP_HOME")
        && let Some(home) = std::env::home_dir().map(|h| h.join(".rustup")).filter(|r| r.is_dir())
    {
        all.push(("RUSTUP_HOME".into(), home.display().to_string()));
    }
    all
}

/// Whether a program works here; says that it is skipped when it does not.
pub fn have(name: &str) -> bool {
    let works = Command::new(name).arg("--version").stdin(Stdio::null()).output();
    let works = works.is_ok_and(|done| done.status.success());
    if !works {
        println!("skipped: {name}: there is no working {name} on the PATH");
    }
    works
}

/// A program that a variable names, else the `PATH`; says that it is skipped when there is none.
pub fn named(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    let works = Command::new(name).arg("--version").stdin(Stdio::null()).output();
    if works.is_ok_and(|done| done.status.success()) {
        return Some(PathBuf::from(name));
    }
    println!("skipped: {name}: it is not on the PATH, and {variable} does not name it");
    None
}

/// Whether this machine lets us make sandboxes; says what is skipped when it does not.
pub fn have_sandbox() -> bool {
    let checks = super::cofferdam(&["doctor"]).json;
    let all = checks["checks"].as_array().cloned().unwrap_or_default();
    let bad = all.iter().find(|c| {
        c["name"].as_str().is_some_and(|n| n.starts_with("sandbox: "))
            && c["required"] == true
            && c["ok"] != true
    });
    if let Some(bad) = bad {
        println!("skipped: sandbox: {}: {}", bad["name"], bad["detail"]);
    }
    bad.is_none()
}
