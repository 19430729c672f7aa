//! Sites run by the real binary, people with tokens, and the ways to ask them.
//!
//! Nothing here knows the inside of the program: it uses the command line and HTTP, as people do.
//! A site never outlives its test: it stops when its standard input closes.
#![allow(dead_code, reason = "every suite uses its own part")]

pub mod http;
pub mod packages;
pub mod tools;
pub mod upstream;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use http::Answer;
use serde_json::{Value, json};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cofferdam");

/// What a command of the program did.
#[derive(Debug)]
pub struct Output {
    /// Its exit code.
    pub code: i32,
    /// Its standard output as JSON; null when that is not JSON.
    pub json: Value,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// The answer of a command that must succeed.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert_eq!(self.code, 0, "the command failed: {self:#?}");
        self.json
    }

    /// The message of a command that must fail with this exit code and this stable code.
    #[track_caller]
    pub fn fails(self, exit: i32, code: &str) -> String {
        let error = &self.json["error"];
        assert_eq!((self.code, error["code"].as_str()), (exit, Some(code)), "{self:#?}");
        error["message"].as_str().expect("a failure says what is wrong").to_owned()
    }
}

/// Runs the program, asking for JSON.
pub fn cofferdam(arguments: &[&str]) -> Output {
    cofferdam_in(Path::new("/"), arguments)
}

/// Runs the program in a folder, asking for JSON.
pub fn cofferdam_in(folder: &Path, arguments: &[&str]) -> Output {
    cofferdam_with(folder, &[], arguments)
}

/// Runs the program in a folder with more environment, asking for JSON.
pub fn cofferdam_with(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let done = plain(Command::new(PROGRAM).arg("--json").args(arguments))
        .envs(environment.iter().copied())
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
    // A recorded build writes to the same standard output; the program's own answer comes last.
    let json = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
    let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
    Output { code: done.status.code().unwrap_or(-1), json, stdout, stderr }
}

/// Takes the caller's own settings of the program away.
fn plain(command: &mut Command) -> &mut Command {
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|n| n.to_string_lossy().starts_with("COFFERDAM_")) {
        command.env_remove(name);
    }
    command
}

/// A site with its state folder, its socket, and (mostly) its process.
pub struct Site {
    folder: tempfile::TempDir,
    listener: TcpListener,
    child: Option<Child>,
    /// Its address, without a slash at the end.
    pub url: String,
    /// Its administrator's token.
    pub admin: String,
    name: String,
    /// More of its process's environment.
    environment: Vec<(String, String)>,
}

impl Site {
    /// A running connected site without upstreams.
    pub fn connected(name: &str) -> Self {
        Self::start(name, "connected", "")
    }

    /// A running isolated site.
    pub fn isolated(name: &str) -> Self {
        Self::start(name, "isolated", "")
    }

    /// A running site; `more` is appended to its configuration.
    pub fn start(name: &str, role: &str, more: &str) -> Self {
        Self::start_with(name, role, more, &[])
    }

    /// The same in a process with more environment.
    pub fn start_with(name: &str, role: &str, more: &str, environment: &[(&str, &str)]) -> Self {
        let mut site = Self::init(tempfile::tempdir().expect("a folder for the site"), name, role);
        let config = site.home().join("cofferdam.toml");
        let text = fs::read_to_string(&config).expect("init wrote a configuration");
        fs::write(config, format!("{text}\n{more}")).expect("the configuration can be written");
        site.environment = environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        site.serve();
        site
    }

    /// A site that does not run yet, in this folder.
    pub fn init(folder: tempfile::TempDir, name: &str, role: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of its own");
        let address = listener.local_addr().expect("the port").to_string();
        let home = folder.path().join("home");
        fs::create_dir(folder.path().join("user")).expect("a home for the process");
        let home = home.to_str().expect("a readable path");
        let made = cofferdam(&["--home", home, "init", "--name", name, "--role", role, "--listen", &address]);
        let admin = made.ok()["token"].as_str().expect("a token").to_owned();
        let url = format!("http://{address}");
        Self { folder, listener, child: None, url, admin, name: name.to_owned(), environment: Vec::new() }
    }

    /// Starts the process and waits until it says that it is ready.
    pub fn serve(&mut self) {
        assert!(self.child.is_none(), "the site runs already");
        // The socket outlives the process: a site that was killed starts again on its own port. A
        // duplicate is passed because the standard library's own closes when a program starts.
        let socket = rustix::io::dup(&self.listener).expect("a duplicate of the socket");
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log");
        let mut command = Command::new(PROGRAM);
        command
            .args(["--home", self.home_text(), "serve", "--until-stdin-closes", "--listen-fd"])
            .arg(socket.as_raw_fd().to_string())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("a PATH"))
            .env("HOME", self.folder.path().join("user"))
            .env("COFFERDAM_RUNNER_ENABLED", "false")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().expect("the site starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("standard output is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the site says something");
        self.child = Some(child);
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        assert_eq!((&ready["ready"], &ready["url"]), (&json!(true), &json!(self.url)), "{}", self.log());
    }

    /// The same site in a process with more environment.
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) {
        self.stop();
        self.environment.extend(environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        self.serve();
    }

    /// Lets the process end in order.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            let status = child.wait().expect("the site ends");
            assert!(status.success() || std::thread::panicking(), "{status}: {}", self.log());
        }
    }

    /// Kills the process where it stands, as a power cut would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the site runs");
        child.kill().expect("the site can be killed");
        child.wait().expect("the site is gone");
    }

    /// The state folder.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn home_text(&self) -> &'static str {
        self.home().to_str().expect("a readable path").to_owned().leak()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What the process logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Runs a command on the site's own machine.
    pub fn here(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["--home", self.home_text()];
        all.extend(arguments);
        cofferdam(&all)
    }

    /// Runs a command as somebody.
    pub fn by(&self, token: &str, arguments: &[&str]) -> Output {
        self.by_in(Path::new("/"), token, arguments)
    }

    /// Runs a command as somebody, in a folder.
    pub fn by_in(&self, folder: &Path, token: &str, arguments: &[&str]) -> Output {
        self.by_with(folder, &[], token, arguments)
    }

    /// Runs a command as somebody, in a folder, with more environment.
    pub fn by_with(
        &self,
        folder: &Path,
        environment: &[(&str, &str)],
        token: &str,
        arguments: &[&str],
    ) -> Output {
        let mut all = vec!["--home", self.home_text(), "--site", &self.url, "--token", token];
        all.extend(arguments);
        cofferdam_with(folder, environment, &all)
    }

    /// A new person with a role, and their token.
    pub fn person(&self, name: &str, role: &str) -> String {
        self.here(&["user", "create", name, "--role", role, "--no-password"]).ok();
        let token = self.here(&["token", "create", "--user", name]).ok();
        token["token"].as_str().expect("a token").to_owned()
    }

    /// The site's public key, and its note key.
    pub fn keys(&self) -> (String, String) {
        let shown = self.here(&["key", "show"]).ok();
        let text = |name: &str| shown[name].as_str().expect(name).to_owned();
        (text("key"), text("note_key"))
    }

    /// Believes another site.
    pub fn trust(&self, other: &Self) {
        self.by(&self.admin, &["key", "trust", &other.name, &other.keys().0]).ok();
    }

    /// Seals what it packs for another site to that site's key.
    pub fn seal_to(&self, other: &Self) {
        let shown = other.here(&["key", "show"]).ok();
        let recipient = shown["recipient"].as_str().expect("a recipient");
        self.by(&self.admin, &["key", "recipient", &other.name, recipient]).ok();
    }

    /// The address without `http://`.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("an http address")
    }

    /// Asks by HTTP.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        http::ask(self.address(), method, path, headers, body)
    }

    /// Reads by HTTP, as nobody.
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// Asks by HTTP as somebody.
    pub fn send(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        self.ask(method, path, &[("authorization", &format!("Bearer {token}"))], body)
    }

    /// Posts JSON as somebody.
    pub fn post(&self, token: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.ask("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Every repository with its counts and its root digest.
    pub fn repositories(&self) -> Value {
        let answer = self.send(&self.admin, "GET", "/api/v1/repositories", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The root digest of a repository: the same digest means the same content and history.
    pub fn root(&self, repository: &str) -> String {
        let all = self.repositories();
        let rows = all["repositories"].as_array().expect("a list").iter();
        let row = rows.into_iter().find(|r| r["name"] == repository).expect(repository);
        row["root"].as_str().expect("a root digest").to_owned()
    }

    /// How many blobs are stored, half-written ones included.
    pub fn blobs(&self) -> usize {
        files_below(&self.home().join("blobs")).len()
    }

    /// The transfers that the site knows.
    pub fn transfers(&self) -> Vec<Value> {
        let answer = self.send(&self.admin, "GET", "/api/v1/transfers", b"");
        answer.json()["transfers"].as_array().expect("a list of transfers").clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the log of the site `{}`:\n{}", self.name, self.log());
        }
        self.stop();
    }
}

/// Every file below a folder, sorted; a file that vanishes meanwhile is no longer one.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    entries.filter(|e| e.file_type().is_file()).map(|e| e.path().to_owned()).collect()
}

/// Copies a flat folder, as somebody does with a file manager.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy's folder");
    for file in files_below(from) {
        fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("a copied file");
    }
}

/// Two sites and the people who carry something from one to the other.
pub struct Pair {
    /// The connected site.
    pub outside: Site,
    /// The isolated site.
    pub inside: Site,
    /// The officer's token outside, and inside.
    pub officers: (String, String),
    /// Tokens of two approvers.
    pub approvers: [String; 2],
    /// A developer's token outside, and inside.
    pub developers: (String, String),
    /// What is carried.
    pub medium: tempfile::TempDir,
}

impl Pair {
    /// Two sites; the inside one believes the outside one, whose configuration ends with `more`.
    pub fn new(more: &str) -> Self {
        Self::with(more, &[])
    }

    /// The same, the outside one in a process with more environment.
    pub fn with(more: &str, environment: &[(&str, &str)]) -> Self {
        let outside = Site::start_with("outside", "connected", more, environment);
        let inside = Site::isolated("inside");
        inside.trust(&outside);
        outside.trust(&inside);
        outside.seal_to(&inside);
        Self {
            officers: (outside.person("olga", "officer"), inside.person("olga", "officer")),
            approvers: [inside.person("ann", "approver"), inside.person("ben", "approver")],
            developers: (outside.person("dev", "developer"), inside.person("dev", "developer")),
            medium: tempfile::tempdir().expect("a medium"),
            outside,
            inside,
        }
    }

    /// Records and rehearses the reading of these paths, as a build without a package client would.
    pub fn record(&self, name: &str, paths: &[&str]) {
        let (site, officer) = (&self.outside, &self.officers.0);
        let started =
            site.post(officer, "/api/v1/recordings", &json!({ "name": name, "command": "read" })).json();
        for token in ["record_token", "replay_token"] {
            let secret = started[token].as_str().expect("a session's token");
            for path in paths {
                let answer = site.send(secret, "GET", path, b"");
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            }
            let verb = if token == "record_token" { "end" } else { "rehearsed" };
            let path = format!("/api/v1/recordings/{}/{verb}", started["id"]);
            let answer = site.post(officer, &path, &json!({ "exit_code": 0 }));
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }

    /// Packs a recording and answers what the command said; `path` is the folder.
    pub fn pack(&self, recording: &str, more: &[&str]) -> Value {
        let medium = self.medium.path().to_str().expect("a readable path");
        let mut arguments = vec!["pack", "--to", "inside", "--recording", recording, medium];
        arguments.extend(more);
        self.outside.by(&self.officers.0, &arguments).ok()
    }

    /// Receives a folder.
    pub fn receive(&self, folder: &str) -> Output {
        self.inside.by(&self.officers.1, &["receive", folder])
    }

    /// The receipt of a transfer goes back and is taken.
    pub fn receipt(&self, id: &str) -> Value {
        let file = self.medium.path().join(format!("receipt-{id}.json"));
        let file = file.to_str().expect("a readable path");
        self.inside.by(&self.officers.1, &["receipt", "give", id, "--file", file]).ok();
        self.outside.by(&self.officers.0, &["receipt", "take", file]).ok()
    }

    /// Two people say yes to a transfer, and it is published.
    pub fn approve_and_publish(&self, id: &str) -> Value {
        let shown = self.inside.by(&self.approvers[0], &["transfers", id]).ok();
        let digest = shown["digest"].as_str().expect("a digest");
        for approver in &self.approvers {
            self.inside.by(approver, &["approve", id, "--digest", digest]).ok();
        }
        self.inside.by(&self.officers.1, &["publish", id]).ok()
    }
}
