//! What the caller asks for: the command, what it may see, touch and reach, and for how long.
//!
//! Plain data; nothing here talks to the kernel and nothing has a default that opens a door.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::watch::Watcher;

/// Everything about one sandbox. Nothing of the caller's process is inherited beyond this.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `env`, inside.
    pub command: Vec<OsString>,
    /// The complete environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where the command starts, as seen inside.
    pub workdir: PathBuf,
    /// Folders or files of the host to show at another place, in this order, after `hide`.
    pub mounts: Vec<Mount>,
    /// Folders and files of the host to mask, e.g. the user's home and the site's state folder.
    pub hide: Vec<PathBuf>,
    /// What can be reached.
    pub network: Network,
    /// Bounds of time and resources.
    pub limits: Limits,
    /// Standard input.
    pub stdin: Stdio,
    /// Standard output.
    pub stdout: Stdio,
    /// Standard error.
    pub stderr: Stdio,
    /// The host name inside, at most 64 bytes.
    pub hostname: String,
}

impl SandboxSpec {
    /// A sealed sandbox for `command`, started in `/tmp`: no environment, network, mounts or limits.
    pub fn new<S: Into<OsString>>(command: impl IntoIterator<Item = S>) -> Self {
        Self {
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            workdir: PathBuf::from("/tmp"),
            mounts: Vec::new(),
            hide: Vec::new(),
            network: Network::None,
            limits: Limits::default(),
            stdin: Stdio::Null,
            stdout: Stdio::Null,
            stderr: Stdio::Null,
            hostname: "sandbox".to_owned(),
        }
    }
}

/// One thing of the host shown inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// An existing folder or file of the host.
    pub source: PathBuf,
    /// Where it appears inside: an absolute path without `..`.
    pub target: PathBuf,
    /// Whether the command may change it.
    pub writable: bool,
}

/// What the command can reach. Every variant has its own network namespace with nothing but `lo`.
#[derive(Clone, Default)]
pub enum Network {
    /// Only its own loopback.
    #[default]
    None,
    /// Its own loopback, on which these doors lead out.
    Site(Vec<SiteDoor>),
    /// Doors as above; beside them every name has an address, every address can be dialled, and all
    /// of it lands in the recorder, where the watcher decides. [`crate::Running::network_log`] tells.
    Watched {
        /// The doors, which are not watched.
        doors: Vec<SiteDoor>,
        /// Who decides.
        watcher: Arc<dyn Watcher>,
    },
}

impl Network {
    /// The doors of any variant.
    #[must_use]
    pub fn doors(&self) -> &[SiteDoor] {
        match self {
            Self::None => &[],
            Self::Site(doors) | Self::Watched { doors, .. } => doors,
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Site(doors) => f.debug_tuple("Site").field(doors).finish(),
            Self::Watched { doors, .. } => {
                f.debug_struct("Watched").field("doors", doors).finish_non_exhaustive()
            }
        }
    }
}

/// Two watched networks are equal when they have the same watcher, not only an equal one.
impl PartialEq for Network {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Site(a), Self::Site(b)) => a == b,
            (Self::Watched { doors: a, watcher: x }, Self::Watched { doors: b, watcher: y }) => {
                a == b && Arc::ptr_eq(x, y)
            }
            _ => false,
        }
    }
}

impl Eq for Network {}

/// One listening address inside that leads to one target outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteDoor {
    /// A loopback address and a port, in the sandbox's own network namespace.
    pub listen: SocketAddr,
    /// Where its connections go.
    pub to: Target,
}

/// The outside end of a [`SiteDoor`], as the calling process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A TCP address, and what is said there first on every connection, before anything of the client inside.
    Greeted(SocketAddr, Greeting),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What a door says first. It may hold a token, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Greeting(pub String);

impl fmt::Debug for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Bounds; `None` means the caller's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Wall time; when it is over everything inside is killed.
    pub wall: Option<Duration>,
    /// Processes and threads alive at once, the sandbox's own init not counted. When the caller is
    /// root the kernel exempts it from this count; then 301 is the smallest bound that holds.
    pub max_processes: Option<u64>,
    /// Bytes of private writable memory per process.
    pub max_memory: Option<u64>,
    /// Bytes of the largest file that may be written.
    pub max_file_size: Option<u64>,
}

/// Where a standard stream leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stdio {
    /// The caller's own.
    Inherit,
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe to the caller.
    Piped,
}
