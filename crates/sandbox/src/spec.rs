//! What the caller asks for: the command, what it may see, touch and reach, and for how long.
//!
//! Plain data; nothing here talks to the kernel and nothing has a default that opens a door.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Only its own loopback.
    #[default]
    None,
    /// Its own loopback, on which these doors lead out.
    Site(Vec<SiteDoor>),
}

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
    /// A Unix socket.
    Unix(PathBuf),
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
