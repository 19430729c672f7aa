//! A site in a folder of its own, of the release binary.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
};

use serde_json::Value;

use super::{client::Client, release_binary, server::Server};
use crate::Outcome;

/// A site that can be started.
pub(super) struct Site {
    folder: tempfile::TempDir,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// A developer's token: an administrator may not push or publish.
    pub(super) token: String,
    /// The administrator's token.
    pub(super) admin: String,
}

/// A port that was free a moment ago.
pub(super) fn free_address() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener.local_addr().map_err(|e| e.to_string())
}

impl Site {
    /// An isolated site.
    pub(super) fn create() -> Outcome<Self> {
        Self::of_role("isolated")
    }

    /// A site that records from the upstreams of the person's own clients.
    pub(super) fn connected() -> Outcome<Self> {
        Self::of_role("connected")
    }

    fn of_role(role: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let address = free_address()?;
        let listen = address.to_string();
        let init = ["init", "--name", "bench", "--role", role, "--listen", &listen];
        let told = said(folder.path(), &init)?;
        let admin = told["token"].as_str().ok_or("no token was printed")?.to_owned();
        let mut site = Self { folder, address, token: String::new(), admin };
        site.token = site.person("dana", "developer")?;
        Ok(site)
    }

    /// A new person with a role: their token.
    pub(super) fn person(&self, name: &str, role: &str) -> Outcome<String> {
        self.said(&["user", "create", name, "--role", role, "--no-password"])?;
        let told = self.said(&["token", "create", "--user", name])?;
        Ok(told["token"].as_str().ok_or("no token was printed")?.to_owned())
    }

    /// What a command on the site's own machine says in JSON.
    pub(super) fn said(&self, arguments: &[&str]) -> Outcome<Value> {
        said(self.folder.path(), arguments)
    }

    pub(super) fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it and waits until it says that it is ready.
    pub(super) fn start(&self) -> Outcome<Server> {
        let log = std::fs::File::create(self.home().join("serve.log")).map_err(|e| e.to_string())?;
        let mut command = Command::new(release_binary()?);
        command.arg("--home").arg(self.home()).arg("serve").stderr(log);
        Server::start(&mut command, "\"ready\":true")
    }

    pub(super) fn client(&self) -> Outcome<Client> {
        Client::connect(self.address)
    }

    pub(super) fn bearer(&self) -> Vec<String> {
        vec![format!("Authorization: Bearer {}", self.token)]
    }
}

/// What a command says in JSON.
fn said(home: &Path, arguments: &[&str]) -> Outcome<Value> {
    let mut command = Command::new(release_binary()?);
    command.arg("--home").arg(home).arg("--json").args(arguments);
    let output = command.output().map_err(|e| e.to_string())?;
    serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("{arguments:?}: {e}: {}", String::from_utf8_lossy(&output.stderr)))
}
