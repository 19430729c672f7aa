//! The two running sites: real `cofferdam serve` processes, with their people and tokens.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use cofferdam_access::{Access, NewPerson, NewToken, Role as PersonRole};
use cofferdam_store::TokenOwner;
use cofferdam_types::{Error, Result, time::SystemClock};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{
    client::Client,
    commands::init,
    config::{Role, template},
    home::Home,
    site::database,
};

/// Long enough for a slow machine; a site that needs longer is broken.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(10);

/// A running site.
pub struct RunningSite {
    /// Its name.
    pub name: String,
    /// Its state folder.
    pub home: Home,
    /// Its address.
    pub url: String,
    tokens: BTreeMap<String, String>,
    process: Child,
}

/// What a site is to be.
pub struct Plan<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it may do.
    pub role: Role,
    /// People and their roles, besides the administrator `admin`.
    pub people: &'a [(&'a str, &'a [PersonRole])],
    /// More lines of its configuration.
    pub more: &'a str,
}

impl RunningSite {
    /// Creates a site in `folder` and starts it; an isolated one is sealed.
    ///
    /// # Errors
    /// What went wrong, with the end of the site's own log.
    pub async fn start(folder: &Path, plan: Plan<'_>) -> Result<Self> {
        let failed = |e| Error::io("opening a socket for a site", e);
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let home = Home::find(Some(folder))?;
        let name = plan.name.parse().map_err(|e| Error::invalid("site-name", format!("{e}")))?;
        let text = template(&name, plan.role, address) + plan.more;
        let mut tokens = BTreeMap::new();
        tokens.insert("admin".to_owned(), init::create(&home, &text, "admin").await?);
        tokens.extend(people(&home, plan.people).await?);
        let process = spawn(&home, plan.role, &listener)?;
        let url = format!("http://{address}");
        let mut site = Self { name: plan.name.to_owned(), home, url, tokens, process };
        site.wait().await?;
        Ok(site)
    }

    async fn wait(&mut self) -> Result<()> {
        let out = self
            .process
            .stdout
            .take()
            .ok_or_else(|| Error::internal("starting a site", std::io::Error::other("no output")))?;
        let mut lines = BufReader::new(out).lines();
        match tokio::time::timeout(START, lines.next_line()).await {
            Ok(Ok(Some(line))) if line.contains("\"ready\":true") => Ok(()),
            _ => {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(8).collect();
                let text = end.into_iter().rev().collect::<Vec<_>>().join("\n");
                Err(Error::internal(
                    format!("starting the site `{}`", self.name),
                    std::io::Error::other(text),
                ))
            }
        }
    }

    /// The site's own log.
    pub fn log(&self) -> PathBuf {
        self.home.path().join("serve.log")
    }

    /// A client in somebody's name.
    ///
    /// # Errors
    /// `NotFound` when there is no such person.
    pub fn client(&self, person: &str) -> Result<Client> {
        Client::new(Some(&self.url), Some(self.token(person)?))
    }

    /// Somebody's token.
    ///
    /// # Errors
    /// `NotFound` when there is no such person.
    pub fn token(&self, person: &str) -> Result<&str> {
        self.tokens
            .get(person)
            .map(String::as_str)
            .ok_or_else(|| Error::not_found(format!("there is nobody called {person}")))
    }

    /// The site's process number.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Stops the site as a service manager would: it ends by itself when its standard input closes.
    ///
    /// # Errors
    /// `Internal` when it had to be killed.
    pub async fn stop(&mut self) -> Result<()> {
        drop(self.process.stdin.take());
        match tokio::time::timeout(STOP, self.process.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(done) => Err(Error::internal(
                format!("the site `{}` ended badly", self.name),
                std::io::Error::other(format!("{done:?}")),
            )),
            Err(late) => {
                let _ = self.process.kill().await;
                Err(Error::internal(format!("the site `{}` did not stop", self.name), late))
            }
        }
    }
}

async fn people(home: &Home, people: &[(&str, &[PersonRole])]) -> Result<Vec<(String, String)>> {
    let db = database(home, &home.config()?).await?;
    let access = Access::new(db.clone(), Arc::new(SystemClock));
    let mut tokens = Vec::new();
    for (name, roles) in people {
        let slug = name.parse().map_err(|e| Error::invalid("person-name", format!("{e}")))?;
        let new =
            NewPerson { name: slug, display: (*name).to_owned(), password: None, roles: roles.to_vec() };
        let id = access.create_person(new, "system:try").await?;
        let new = NewToken {
            name: "try",
            owner: TokenOwner::Person(id),
            scopes: "",
            lifetime: Some(Duration::from_secs(24 * 3600)),
        };
        tokens.push(((*name).to_owned(), access.create_token(new, "system:try").await?.expose().clone()));
    }
    db.close().await;
    Ok(tokens)
}

fn spawn(home: &Home, role: Role, listener: &TcpListener) -> Result<Child> {
    let failed = |e: std::io::Error| Error::io("starting a site", e);
    let program = std::env::current_exe().map_err(failed)?;
    let log = std::fs::File::create(home.path().join("serve.log")).map_err(failed)?;
    // The site takes the socket over under this number; ours closes when this function returns.
    let inherited = rustix::io::dup(listener).map_err(|e| failed(e.into()))?;
    let mut command = Command::new(program);
    command.arg("--home").arg(home.path()).args(["serve", "--until-stdin-closes", "--listen-fd"]);
    command.arg(inherited.as_raw_fd().to_string());
    if role == Role::Isolated {
        command.arg("--sealed");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    command.spawn().map_err(failed)
}
