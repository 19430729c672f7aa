//! Running a person's client, and reading small files of theirs.
//!
//! The client inherits this process's environment, except that every variable that can change its
//! answer is taken from the caller's `env`. It must never run for longer than [`PATIENCE`] or give more
//! than [`LONGEST_ANSWER`].

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use super::Person;

/// How long a client may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest answer read, and largest configuration file, in bytes.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Variables that change what pip, npm and their interpreters answer.
const RELEVANT: &[&str] = &[
    "PATH",
    "HOME",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "PIP_CONFIG_FILE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_CERT",
    "PIP_PROXY",
    "PIP_ISOLATED",
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_USERCONFIG",
    "NPM_CONFIG_GLOBALCONFIG",
    "NPM_CONFIG_PREFIX",
    "NPM_CONFIG_CAFILE",
    "npm_config_registry",
    "npm_config_userconfig",
    "npm_config_globalconfig",
    "npm_config_prefix",
    "npm_config_cafile",
];

/// Why a client did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// It is not on the PATH.
    #[error("it is not on the PATH")]
    Missing,
    /// It could not be run or read.
    #[error("it could not be run: {0}")]
    Broken(io::Error),
    /// It ended with a failure.
    #[error("it ended with a failure")]
    Failed,
    /// It took too long.
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    TooSlow,
}

/// What a client prints on its standard output. Its standard error is dropped: it may hold secrets.
pub fn client(person: &Person<'_>, program: &str, args: &[&str]) -> Result<String, Silence> {
    let mut command = Command::new(program);
    command.args(args).current_dir(person.cwd).env("HOME", person.home);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    for name in RELEVANT.iter().filter(|name| **name != "HOME") {
        match (person.env)(name) {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let child = command.spawn().map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Silence::Missing,
        _ => Silence::Broken(e),
    })?;
    read(child)
}

fn read(mut child: Child) -> Result<String, Silence> {
    let Some(stdout) = child.stdout.take() else {
        return Err(Silence::Broken(io::Error::other("no standard output")));
    };
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let outcome = stdout.take(LONGEST_ANSWER).read_to_string(&mut text).map(|_| text);
        // Nobody listens any more when the patience ran out.
        let _ = send.send(outcome);
    });
    let Ok(answer) = receive.recv_timeout(PATIENCE) else {
        // It may have ended by itself just now; either way it is gone after `wait`.
        let _ = child.kill();
        let _ = child.wait();
        return Err(Silence::TooSlow);
    };
    let text = answer.map_err(Silence::Broken)?;
    if ended(child)? { Ok(text) } else { Err(Silence::Failed) }
}

/// Whether a client that has said everything ends well; one that stays is left to itself.
fn ended(mut child: Child) -> Result<bool, Silence> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more when the patience ran out.
        let _ = send.send(child.wait());
    });
    let status = receive.recv_timeout(PATIENCE).map_err(|_| Silence::TooSlow)?;
    Ok(status.map_err(Silence::Broken)?.success())
}

/// A configuration file's text; `None` when there is no such file.
pub fn small_text(path: &Path) -> io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = String::new();
    file.take(LONGEST_ANSWER + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST_ANSWER {
        return Err(io::Error::other(format!("larger than {LONGEST_ANSWER} bytes")));
    }
    Ok(Some(text))
}
