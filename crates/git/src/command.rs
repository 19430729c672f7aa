//! Running git: a clean environment, a time limit, and no process that nobody listens to.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use cofferdam_types::{Error, ProjectId, Result};
use tokio::process::Command;

use crate::GitBinary;

/// The longest that a question to git may take. Clones and pushes have their client's patience.
const PATIENCE: Duration = Duration::from_secs(120);
const OUTPUT_LIMIT: usize = 64 << 20;

/// What is true of every repository of ours, whatever somebody wrote into its folder.
const SETTINGS: &[&str] = &[
    "safe.directory=*",
    "core.hooksPath=/nonexistent",
    "transfer.fsckObjects=true",
    "uploadpack.allowFilter=true",
    "receive.denyDeleteCurrent=true",
    "receive.autogc=false",
    "gc.auto=0",
    "core.fsync=all",
    "advice.defaultBranchName=false",
];

/// A git invocation: its arguments, kept so that it can be shown in the log.
pub(crate) struct Invocation {
    pub arguments: Vec<std::ffi::OsString>,
    pub env: Vec<(String, std::ffi::OsString)>,
}

impl Invocation {
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.arguments.push(arg.as_ref().to_owned());
        self
    }

    pub fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }
}

impl GitBinary {
    /// `git <arguments>`.
    pub(crate) fn plain<const N: usize>(&self, arguments: [&str; N]) -> Invocation {
        let mut all: Vec<std::ffi::OsString> = Vec::new();
        for setting in SETTINGS {
            all.extend(["-c".into(), (*setting).into()]);
        }
        all.extend(arguments.iter().map(Into::into));
        Invocation { arguments: all, env: Vec::new() }
    }

    /// `git <arguments>` in a project's repository.
    pub(crate) fn within<const N: usize>(&self, project: ProjectId, arguments: [&str; N]) -> Invocation {
        let mut invocation = self.plain(arguments);
        invocation.env("GIT_DIR", self.folder(project));
        invocation
    }

    /// A process that is killed when it is dropped, with nothing of this machine's user in it.
    pub(crate) fn process(&self, invocation: &Invocation) -> Command {
        let mut command = Command::new("git");
        command
            .args(&invocation.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.root.join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .envs(invocation.env.iter().map(|(n, v)| (n, v)))
            .current_dir(&*self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs to the end and returns what it printed, or an error with what it complained about.
    pub(crate) async fn output(&self, invocation: &Invocation) -> Result<Vec<u8>> {
        let shown = || {
            format!(
                "git {}",
                invocation.arguments.last().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default()
            )
        };
        let run = self.process(invocation).output();
        let done = tokio::time::timeout(PATIENCE, run)
            .await
            .map_err(|e| Error::internal(format!("{} took too long", shown()), e))?
            .map_err(|e| Error::internal("starting git", e))?;
        if !done.status.success() {
            let text = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(Error::internal(shown(), std::io::Error::other(text)));
        }
        if done.stdout.len() > OUTPUT_LIMIT {
            return Err(Error::internal(shown(), std::io::Error::other("it printed too much")));
        }
        Ok(done.stdout)
    }

    /// [`Self::output`] as text.
    pub(crate) async fn text(&self, invocation: &Invocation) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.output(invocation).await?).into_owned())
    }
}
