//! A server for git over HTTP: `git http-backend` over bare repositories, asked one request at a time.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Bare repositories behind `git http-backend` (git-http-backend(1)).
#[derive(Clone, Debug)]
pub struct GitBackend {
    root: PathBuf,
}

/// What a client asks it.
#[derive(Clone, Debug, Default)]
pub struct GitAsked<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The path below the root, with its slash.
    pub path: &'a str,
    /// The query, without its question mark.
    pub query: &'a str,
    /// `Content-Type`.
    pub media_type: &'a str,
    /// `Git-Protocol`.
    pub protocol: &'a str,
    /// The body, not compressed.
    pub body: &'a [u8],
}

/// Status, headers and body.
pub type GitAnswer = (u16, Vec<(String, String)>, Vec<u8>);

impl GitBackend {
    /// A server of the bare repositories in `root`; none where this machine has no such git.
    #[must_use]
    pub fn find(root: &Path) -> Option<Self> {
        let path = Command::new("git").arg("--exec-path").output().ok()?;
        let path = PathBuf::from(String::from_utf8(path.stdout).ok()?.trim());
        path.join("git-http-backend").is_file().then(|| Self { root: root.to_owned() })
    }

    /// Runs a shell script in the root, with a person's name for commits.
    ///
    /// # Panics
    /// When the script fails.
    pub fn script(&self, text: &str) {
        let mut shell = Command::new("sh");
        shell.args(["-ec", text]).current_dir(&self.root).env("HOME", &self.root);
        for who in ["AUTHOR", "COMMITTER"] {
            shell.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@t.example");
        }
        shell.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "init.defaultBranch");
        let done = shell.env("GIT_CONFIG_VALUE_0", "main").output().expect("a shell");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Answers one request. Blocks until git has answered.
    ///
    /// # Panics
    /// When git cannot be run, or says what no CGI program says.
    #[must_use]
    pub fn answer(&self, asked: &GitAsked<'_>) -> GitAnswer {
        let mut git = Command::new("git");
        git.arg("http-backend").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        git.env("HOME", &self.root).env("GIT_PROJECT_ROOT", &self.root).env("GIT_HTTP_EXPORT_ALL", "1");
        git.env("REQUEST_METHOD", asked.method).env("PATH_INFO", asked.path);
        git.env("QUERY_STRING", asked.query).env("CONTENT_TYPE", asked.media_type);
        git.env("CONTENT_LENGTH", asked.body.len().to_string());
        if !asked.protocol.is_empty() {
            git.env("HTTP_GIT_PROTOCOL", asked.protocol).env("GIT_PROTOCOL", asked.protocol);
        }
        git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = git.spawn().expect("git runs");
        let (mut stdin, mut stdout) =
            (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut said = Vec::new();
        std::thread::scope(|scope| {
            // git may answer before it has read everything.
            scope.spawn(move || stdin.write_all(asked.body).ok());
            stdout.read_to_end(&mut said).expect("git's answer");
        });
        child.wait().expect("git ends");
        parse(&said)
    }
}

fn parse(said: &[u8]) -> GitAnswer {
    let end = said.windows(4).position(|w| w == b"\r\n\r\n").expect("a head and a body");
    let head = String::from_utf8_lossy(&said[..end]).into_owned();
    let (mut status, mut headers) = (200, Vec::new());
    for (name, value) in head.split("\r\n").filter_map(|line| line.split_once(": ")) {
        match name {
            "Status" => status = value[..3].parse().expect("a status"),
            _ => headers.push((name.to_owned(), value.to_owned())),
        }
    }
    (status, headers, said[end + 4..].to_vec())
}
