//! The watched network of a build or a job: what it dials beside its package clients is answered from the site's recorded
//! addresses, or refused; either way it is told.
//!
//! Must never let a connection out itself: only a site dials, and only in a recording.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cofferdam_gateway::{Authority, Destination, Gateway, apt_settings, client_trust, java_trust};
use cofferdam_sandbox::{
    Attempt, Mount, Network, Process, Running, Sandbox, SandboxSpec, SiteDoor, TakeFuture, Target, Transport,
    UNWATCHED, Verdict, Watcher,
};
use cofferdam_types::{Clock as _, Error, Result, Secret, time::SystemClock};
use tokio::net::TcpStream;

use crate::{
    env::HOME,
    seen::{self, Heard, Seen},
};

/// Where the authority of a run lies, inside.
const TRUST: &str = "/build/trust";
/// Where systems keep what programs without a variable of their own believe.
const SYSTEM_BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];
/// Where gems are installed, below the home.
const GEMS: &str = ".gem";
/// The site's repository of recorded addresses.
const ADDRESSES: &str = "/r/web/";
/// Ports of protocols in which the server speaks first: whoever dials one need not be waited for.
const SERVER_SPEAKS_FIRST: [u16; 14] =
    [21, 22, 23, 25, 110, 119, 143, 465, 587, 2222, 3306, 5900, 6667, 33060];
/// How long a client on another port than those and the web's, whose name was looked up, may take for its first byte:
/// a Java that has just started reads its certificates between connecting and speaking.
const SLOW_START: Duration = Duration::from_secs(3);
/// The time for everybody else.
const BRIEFLY: Duration = Duration::from_millis(70);
/// The ports on which everything is taken.
const WEB: [u16; 2] = [80, 443];

/// Hands web connections to the gateway and refuses all others.
struct Doorkeeper {
    gateway: Gateway,
    heard: Arc<Heard>,
}

impl Watcher for Doorkeeper {
    fn decide(&self, attempt: &Attempt) -> Verdict {
        let web = WEB.contains(&attempt.port) || attempt.tls || attempt.http_host.is_some();
        if web && attempt.transport == Transport::Tcp { Verdict::Take } else { Verdict::Refuse }
    }

    fn patience(&self, attempt: &Attempt) -> Duration {
        // On the web's own ports the gateway waits. Who dials an address that was never a name is rarely the web, and
        // who waits for its server to speak is refused in 3 seconds at the latest.
        let rarely = attempt.name.is_none() || SERVER_SPEAKS_FIRST.contains(&attempt.port);
        if rarely || WEB.contains(&attempt.port) { BRIEFLY } else { SLOW_START }
    }

    fn take(&self, attempt: Attempt, stream: TcpStream) -> TakeFuture {
        let (gateway, heard) = (self.gateway.clone(), Arc::clone(&self.heard));
        Box::pin(async move {
            let to = Destination {
                name: attempt.name,
                address: SocketAddr::new(attempt.address, attempt.port),
                tls: attempt.tls,
                asked_by: attempt.process.as_ref().map(Process::who),
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
        let (Target::Tcp(site) | Target::Greeted(site, _)) = door.to else {
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
    fn trust(&self, spec: &mut SandboxSpec, folder: &Path) -> Result<()> {
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
        // Ruby's own place for gems is the machine's, which nothing in a sandbox may write; and what is installed there
        // would be used instead of being asked for. So a bundle has a place of its own.
        variables.push(("GEM_HOME".into(), format!("{HOME}/{GEMS}")));
        variables.push(("BUNDLE_PATH".into(), format!("{HOME}/{GEMS}/bundle")));
        if let Some((_, path)) = spec.env.iter_mut().find(|(name, _)| name == "PATH") {
            path.push(format!(":{HOME}/{GEMS}/bin"));
        }
        for (name, value) in variables {
            // What a job says of its own wins.
            if spec.env.iter().all(|(own, _)| *own != *name) {
                spec.env.push((OsString::from(name), OsString::from(value)));
            }
        }
        Ok(())
    }

    /// Starts a sandbox with this network, whose clients believe the authority; the files for that are written into
    /// `trust`. On a machine that cannot watch, what is dialled beside the package clients is refused as ever; then the
    /// second part says so, to be told.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`]; `Internal` when a file cannot be written.
    pub async fn start(&self, mut spec: SandboxSpec, trust: &Path) -> Result<(Running, Option<String>)> {
        self.trust(&mut spec, trust)?;
        let doors = vec![self.door.clone()];
        let plain = SandboxSpec { network: Network::Site(doors.clone()), ..spec.clone() };
        let keeper = Doorkeeper { gateway: self.gateway.clone(), heard: Arc::clone(&self.heard) };
        spec.network = Network::Watched { doors, watcher: Arc::new(keeper) };
        match Sandbox::spawn(spec).await {
            Err(error) if error.code() == UNWATCHED => {
                self.heard.unwatched(error.message());
                let warning = format!("warning: {}: {}", seen::UNWATCHED, error.message());
                Ok((Sandbox::spawn(plain).await?, Some(warning)))
            }
            started => Ok((started?, None)),
        }
    }

    /// What the run has done with its network since this was last asked. Waits for the end of `running` first, and so
    /// for the last line: a request is told when its connection has ended, after the client itself, and one that is
    /// still under way then as broken off.
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub async fn seen(&self, running: &mut Running) -> Result<Seen> {
        running.wait().await?;
        Ok(self.heard.take(running.network_log().unwrap_or_default()))
    }
}
