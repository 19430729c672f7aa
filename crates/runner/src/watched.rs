//! The watched network of a build or a job: what it dials beside its package clients is answered from the site's recorded
//! addresses, or refused; either way it is told.
//!
//! Must never let a connection out itself: only a site dials, and only in a recording.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use cofferdam_gateway::{
    Asked, Authority, Destination, Gateway, Report, apt_settings, client_trust, java_trust,
};
use cofferdam_sandbox::{
    Attempt, Decision, Mount, Network, NetworkLog, Running, Sandbox, SandboxSpec, SiteDoor, TakeFuture,
    Target, Transport, Verdict, Watcher,
};
use cofferdam_types::{Clock as _, Error, ErrorKind, Result, Secret, time::SystemClock};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::env::HOME;

/// Where the authority of a run lies, inside.
const TRUST: &str = "/build/trust";
/// Where systems keep what programs without a variable of their own believe.
const SYSTEM_BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];
/// The site's repository of recorded addresses.
const ADDRESSES: &str = "/r/web/";
/// Requests that are told one by one, at most: a build may make a million.
const MAX_TOLD: usize = 10_000;

/// What was asked of the gateway.
#[derive(Default)]
struct Heard(Mutex<Vec<Asked>>);

impl Report for Heard {
    fn request(&self, asked: Asked) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MAX_TOLD {
            all.push(asked);
        }
    }
}

/// Hands web connections to the gateway and refuses all others.
struct Doorkeeper {
    gateway: Gateway,
    heard: Arc<Heard>,
}

impl Watcher for Doorkeeper {
    fn decide(&self, attempt: &Attempt) -> Verdict {
        // A Java that has just started needs longer for its first byte than anybody looks for it.
        let known = [80, 443].contains(&attempt.port);
        let web = known || attempt.tls || attempt.http_host.is_some();
        if web && attempt.transport == Transport::Tcp { Verdict::Take } else { Verdict::Refuse }
    }

    fn take(&self, attempt: Attempt, stream: TcpStream) -> TakeFuture {
        let (gateway, heard) = (self.gateway.clone(), Arc::clone(&self.heard));
        Box::pin(async move {
            let to = Destination {
                name: attempt.name,
                address: SocketAddr::new(attempt.address, attempt.port),
                tls: attempt.tls,
            };
            if let Err(error) = gateway.serve(stream, to, heard.as_ref()).await {
                tracing::debug!(%error, "a connection of a build ended early");
            }
        })
    }
}

/// One run with a watched network: its authority, and what it asked for.
pub struct Watched {
    gateway: Gateway,
    heard: Arc<Heard>,
    door: SiteDoor,
    /// Whether upstream answers now.
    live: bool,
}

impl Watched {
    /// For a run in the name of `token`, whose door leads to a site.
    ///
    /// # Errors
    /// `Invalid` when the door leads to no TCP address; `Internal` when no authority can be made.
    pub fn new(door: SiteDoor, token: &str) -> Result<Self> {
        let Target::Tcp(site) = door.to else {
            return Err(Error::invalid("site-door", "the site of a watched run is reached by TCP"));
        };
        let authority = Authority::generate(SystemClock.now())?;
        let gateway = Gateway::new(authority, site, ADDRESSES, Secret::new(token.to_owned()))?;
        Ok(Self { gateway, heard: Arc::default(), door, live: false })
    }

    /// The same for a recording, in which upstream answers: clients may mind how new an answer is.
    #[must_use]
    pub fn live(mut self, live: bool) -> Self {
        self.live = live;
        self
    }

    /// Makes the clients of a sandbox believe the authority; the files for it are written into `folder`.
    ///
    /// # Errors
    /// `Internal` when a file cannot be written.
    pub fn trust(&self, spec: &mut SandboxSpec, folder: &Path) -> Result<()> {
        let failed = |e| Error::io("writing the authority of a run", e);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let system = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.is_file());
        let roots = system.map(std::fs::read).transpose().map_err(failed)?;
        let files = [
            ("authority.pem", self.gateway.authority().pem().as_bytes().to_vec()),
            ("bundle.pem", self.gateway.bundle(roots.as_deref())),
            ("java.p12", self.gateway.java_trust_store()?),
            ("apt.conf", apt_settings(HOME, !self.live).into_bytes()),
        ];
        for (name, bytes) in files {
            std::fs::write(folder.join(name), bytes).map_err(failed)?;
        }
        let show = |source: PathBuf, target: &str| Mount { source, target: target.into(), writable: false };
        spec.mounts.push(show(folder.to_owned(), TRUST));
        // apt and wget ask only the system. The true path: what is shown over a link would be shown elsewhere.
        let bundles = SYSTEM_BUNDLES.iter().filter_map(|path| std::fs::canonicalize(path).ok());
        for bundle in bundles.collect::<std::collections::BTreeSet<_>>() {
            spec.mounts.push(show(folder.join("bundle.pem"), &bundle.to_string_lossy()));
        }
        let mut variables = client_trust(&format!("{TRUST}/authority.pem"), &format!("{TRUST}/bundle.pem"));
        let java = spec.env.iter().position(|(name, _)| name == "JAVA_TOOL_OPTIONS");
        let java = java.map(|at| spec.env.remove(at).1.to_string_lossy().into_owned());
        // Java asks the system whose home it is, not the environment.
        let java = format!("-Duser.home={HOME} {}", java.unwrap_or_default());
        variables.push(java_trust(&format!("{TRUST}/java.p12"), Some(&java)));
        variables.push(("APT_CONFIG".into(), format!("{TRUST}/apt.conf")));
        variables.push(("GRADLE_USER_HOME".into(), format!("{HOME}/.gradle")));
        for (name, value) in variables {
            // What a job says of its own wins.
            if spec.env.iter().all(|(own, _)| *own != *name) {
                spec.env.push((OsString::from(name), OsString::from(value)));
            }
        }
        Ok(())
    }

    /// Starts a sandbox with this network. On a machine that cannot watch, what is dialled beside the package clients
    /// is refused as ever; then the second part says why, to be told.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub async fn spawn(&self, mut spec: SandboxSpec) -> Result<(Running, Option<String>)> {
        let doors = vec![self.door.clone()];
        let plain = SandboxSpec { network: Network::Site(doors.clone()), ..spec.clone() };
        let keeper = Doorkeeper { gateway: self.gateway.clone(), heard: Arc::clone(&self.heard) };
        spec.network = Network::Watched { doors, watcher: Arc::new(keeper) };
        match Sandbox::spawn(spec).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                let why = format!(
                    "warning: addresses that no package client asks for are refused and not recorded here: {}",
                    error.message()
                );
                Ok((Sandbox::spawn(plain).await?, Some(why)))
            }
            started => Ok((started?, None)),
        }
    }

    /// What the run has done with its network since this was last asked.
    pub fn seen(&self, running: &Running) -> Seen {
        let asked = std::mem::take(&mut *self.heard.0.lock().unwrap_or_else(PoisonError::into_inner));
        Seen { asked, log: running.network_log().unwrap_or_default() }
    }
}

/// What a run did with its network.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Requests to addresses.
    pub asked: Vec<Asked>,
    /// Every connection and question, those of the requests included.
    pub log: NetworkLog,
}

impl Seen {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let asked: Vec<Value> = self.asked.iter().map(|a| json!({
            "method": a.method, "url": a.url, "status": a.status, "bytes": a.bytes, "digest": a.digest, "refused": a.refused,
        })).collect();
        let mut log = self.log.clone();
        // Arguments hold credentials: `curl -H "Authorization: …"`. The program's name says enough.
        log.lines
            .iter_mut()
            .filter_map(|line| line.attempt.process.as_mut())
            .for_each(|p| p.arguments.clear());
        json!({ "addresses": asked, "connections": log })
    }

    /// For people: what was answered, in a line, and each thing that was refused, with the reason.
    #[must_use]
    pub fn text(&self) -> String {
        let kept: Vec<&Asked> = self.asked.iter().filter(|a| a.refused.is_none()).collect();
        let mut text = String::new();
        if !kept.is_empty() {
            let bytes: u64 = kept.iter().map(|a| a.bytes).sum();
            text.push_str(&format!(
                "  {} answers from recorded addresses, {:.1} MB\n",
                kept.len(),
                bytes as f64 / 1e6
            ));
        }
        let mut refused: Vec<String> = self
            .asked
            .iter()
            .filter_map(|a| Some(format!("  refused: {} {}: {}", a.method, a.url, a.refused.as_deref()?)))
            .collect();
        for line in self.log.lines.iter().filter(|line| line.decision == Decision::Refused) {
            let by = line.attempt.process.as_ref().map_or("", |process| process.program.as_str());
            let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
            let (host, port, times) = (line.attempt.host(), line.attempt.port, line.count);
            refused.push(format!(
                "  refused: {host}:{port}{by}, {times} times: only HTTP and HTTPS can be recorded"
            ));
        }
        refused.sort();
        refused.dedup();
        for line in refused {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}
