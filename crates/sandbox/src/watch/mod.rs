//! The watched network: every way out of a sandbox is noticed, written down, and decided upon.
//!
//! | Module | Does |
//! |---|---|
//! | `setup`, `filter` | prepare what is inside: routes, rules, sockets |
//! | `connections` | accepts every TCP connection, looks at its first bytes, asks the [`Watcher`] |
//! | `first_bytes` | what those bytes claim |
//! | `questions`, `names` | answers every question about a name |
//! | `packets` | notices UDP, QUIC and everything else |
//! | `owner` | which process it was |
//! | `log` | the bounded list of what was attempted |
//!
//! It must never let anything out by itself: without a [`Verdict`] that says otherwise a connection
//! is reset. What a stranger inside does may cost that sandbox, never the others or the caller.

mod connections;
mod filter;
mod first_bytes;
mod log;
mod names;
mod owner;
mod packets;
mod questions;
pub(crate) mod setup;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use log::{NetworkLog, Noted};

use crate::door::Traffic;
use crate::spec::Target;
use log::Recorder;
use names::Names;
use owner::{Owners, Table};
use setup::Role;

/// How something went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A TCP connection.
    Tcp,
    /// A datagram.
    Udp,
    /// A datagram to UDP port 443 that begins a QUIC connection (RFC 9000 section 17.2).
    Quic,
    /// A question about a name.
    Dns,
    /// Another protocol over IP; the port is its number.
    Other,
}

/// What was done about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It was reset, or the kernel said that nobody is there.
    Refused,
    /// The client had reset it already, before anything could be decided.
    HungUp,
    /// Its bytes were relayed.
    Relayed,
    /// The watcher took it.
    Taken,
    /// A question about a name got its answer.
    Answered,
    /// It was to be relayed, but the target could not be reached; it was reset.
    Unreachable,
    /// It was let through by its verdict, but too many were open; it was reset. Also a question
    /// about one name too many.
    Overload,
}

/// What the watcher wants done with a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Reset it.
    Refuse,
    /// Relay its bytes, all of them, to a target of the caller's.
    Relay(Target),
    /// Hand it to [`Watcher::take`].
    Take,
}

/// The process that attempted something; found afterwards by its socket, so it may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// As seen by the caller.
    pub pid: u32,
    /// The file name of the program that it executes, e.g. `curl`.
    pub program: String,
    /// Its arguments, joined by blanks, at most 1 KiB. A process can change what is shown here.
    pub arguments: String,
    /// The package whose script it runs, `name@version`, where npm or cargo says so in the environment; nothing else
    /// of that is kept. A process can claim any.
    pub package: Option<String>,
}

impl Process {
    /// The program, and for which package: `node for esbuild@0.21.5`, or `curl`.
    #[must_use]
    pub fn who(&self) -> String {
        match &self.package {
            Some(package) => format!("{} for {package}", self.program),
            None => self.program.clone(),
        }
    }
}

/// Something that went out.
///
/// `name`, `address`, `port` and `process` are facts of the kernel and of our own answers. What
/// begins with `tls_` and `http_` is only claimed by the first bytes: never let through by that alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// How.
    pub transport: Transport,
    /// The name that was asked for, when one was; `None` when a literal address was dialled. In
    /// lower case, as in the DNS, with odd bytes as `\DDD`.
    pub name: Option<String>,
    /// The address that was dialled; of 198.18.0.0/15 when it stands for `name`.
    pub address: IpAddr,
    /// The port that was dialled.
    pub port: u16,
    /// Whether the first bytes begin a TLS handshake.
    pub tls: bool,
    /// The server name in the TLS client hello.
    pub tls_server_name: Option<String>,
    /// The `Host` of a plain HTTP request.
    pub http_host: Option<String>,
    /// The host in the target of a plain HTTP request, as proxies are asked.
    pub http_target: Option<String>,
    /// Who. Looked for when such an attempt is new; later ones show the process of the first, except that
    /// [`Watcher::take`] is given the very process, or none when it was not found in time.
    pub process: Option<Process>,
    /// When, from the start of the command on.
    #[serde(skip)]
    pub at: Duration,
}

impl Attempt {
    fn new(transport: Transport, name: Option<&str>, address: IpAddr, port: u16, at: Duration) -> Self {
        Self {
            transport,
            name: name.map(str::to_owned),
            address: address.to_canonical(),
            port,
            tls: false,
            tls_server_name: None,
            http_host: None,
            http_target: None,
            process: None,
            at,
        }
    }

    /// The name, or else the address.
    #[must_use]
    pub fn host(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.address.to_string())
    }
}

/// What [`Watcher::take`] returns.
pub type TakeFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Decides about the connections of a sandbox. Called on the runtime's threads: it must not block.
pub trait Watcher: Send + Sync + 'static {
    /// A verdict that needs nothing but name, address and port, e.g. for the site itself. `None`, the
    /// default, looks at the first bytes for at most [`Watcher::patience`] and then asks [`Watcher::decide`].
    fn decide_early(&self, attempt: &Attempt) -> Option<Verdict> {
        let _ = attempt;
        None
    }

    /// How long the first bytes of a connection are waited for, at most 10 seconds; 70 ms is the default. More
    /// helps clients that are slow to begin, and keeps one waiting that wants its server to speak first.
    fn patience(&self, attempt: &Attempt) -> Duration {
        let _ = attempt;
        LOOK
    }

    /// What to do with a TCP connection.
    fn decide(&self, attempt: &Attempt) -> Verdict;

    /// Takes a connection after [`Verdict::Take`], all its bytes unread. What is not finished 2 seconds after the
    /// end of the sandbox is dropped; after [`crate::Running::wait`] none is left. The default resets it.
    fn take(&self, attempt: Attempt, stream: TcpStream) -> TakeFuture {
        drop(attempt);
        let _ = stream.set_zero_linger();
        Box::pin(async move { drop(stream) })
    }

    /// Told once for every new line of the log, not for each repetition: a flood stays outside.
    fn noted(&self, noted: &Noted) {
        let _ = noted;
    }
}

/// Refuses everything: the recorder alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefuseAll;

impl Watcher for RefuseAll {
    fn decide(&self, _: &Attempt) -> Verdict {
        Verdict::Refuse
    }
}

/// How long first bytes are waited for: a client that speaks first has done it by then, also one that
/// reads its certificates between connecting and speaking; one that waits is still refused in 100 ms.
const LOOK: Duration = Duration::from_millis(70);
/// No watcher can make a client wait longer than this.
const LONGEST_LOOK: Duration = Duration::from_secs(10);
/// Connections that are relayed or taken at once; more are reset.
const MAX_OPEN: usize = 256;
/// Connections whose first bytes are waited for at once, and as many again for longer than [`LOOK`]; more
/// are decided without them.
const MAX_LOOKING: usize = 64;

/// What all parts of one watched network share.
pub(crate) struct Shared {
    pub(crate) recorder: Recorder,
    watcher: Arc<dyn Watcher>,
    names: Names,
    owners: Owners,
    traffic: Arc<Traffic>,
    open: Semaphore,
    looking: Semaphore,
    lingering: Semaphore,
    begin: Instant,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(watcher: Arc<dyn Watcher>, traffic: Arc<Traffic>, init: u32) -> Self {
        Self {
            recorder: Recorder::default(),
            watcher,
            names: Names::default(),
            owners: Owners::new(init),
            traffic,
            open: Semaphore::new(MAX_OPEN),
            looking: Semaphore::new(MAX_LOOKING),
            lingering: Semaphore::new(MAX_LOOKING),
            begin: Instant::now(),
        }
    }

    fn attempt(&self, transport: Transport, name: Option<&str>, address: IpAddr, port: u16) -> Attempt {
        Attempt::new(transport, name, address, port, self.begin.elapsed())
    }

    /// Who it was: looked for when the destination is new, otherwise as before. True when it is the very one.
    async fn process(
        &self,
        table: Table,
        attempt: &Attempt,
        own: SocketAddr,
        remote: SocketAddr,
    ) -> (Option<Process>, bool) {
        if let Some(process) = self.recorder.known(attempt) {
            return (process, false);
        }
        match self.owners.find(table, own, remote, owner::PATIENCE).await {
            Some(process) => {
                self.recorder.learn(attempt, &process);
                (Some(process), true)
            }
            // Of several at once, one has found it.
            None => (self.recorder.known(attempt).flatten(), false),
        }
    }

    /// The very process of a connection, which need not be that of an earlier one to the same place.
    async fn dialler(&self, own: SocketAddr, remote: SocketAddr) -> Option<Process> {
        self.owners.find(Table::Tcp, own, remote, owner::PATIENCE_TAKEN).await
    }

    /// Writes an attempt down and tells the watcher when it is a new line.
    fn note(&self, attempt: &Attempt, decision: Decision) {
        if let Some(noted) = self.recorder.note(attempt, decision) {
            self.watcher.noted(&noted);
        }
    }
}

/// The sockets of a watched network, ready for the runtime.
#[derive(Debug)]
pub(crate) enum Part {
    Listener(AsyncFd<OwnedFd>),
    Names(AsyncFd<OwnedFd>),
    Packets(AsyncFd<OwnedFd>),
}

impl Part {
    pub(crate) fn new(role: Role, socket: OwnedFd) -> std::io::Result<Self> {
        Ok(match role {
            Role::Listener => Self::Listener(readable(socket)?),
            Role::Names => Self::Names(readable(socket)?),
            Role::Packets => Self::Packets(readable(socket)?),
        })
    }

    /// Serves until `ended` turns true and what had arrived by then is dealt with.
    pub(crate) fn spawn(self, shared: Arc<Shared>, ended: watch::Receiver<bool>, tasks: &mut JoinSet<()>) {
        match self {
            Self::Listener(listener) => tasks.spawn(connections::serve(listener, shared, ended)),
            Self::Names(socket) => tasks.spawn(questions::serve(socket, shared, ended)),
            Self::Packets(socket) => tasks.spawn(packets::serve(socket, shared, ended)),
        };
    }
}

fn readable(socket: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its one number open until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// Whether a datagram socket had something; `None` when it is empty.
fn received(socket: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> Option<usize> {
    // SAFETY: the buffer is live for its length.
    let length = unsafe {
        libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
    };
    usize::try_from(length).ok()
}

/// Datagrams that a socket's full buffer has dropped: `SO_MEMINFO` of socket(7), `SK_MEMINFO_DROPS`.
fn dropped(socket: &AsyncFd<OwnedFd>) -> u64 {
    const SO_MEMINFO: libc::c_int = 55;
    const DROPS: usize = 8;
    let mut numbers = [0_u32; 9];
    let mut length = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes.
    unsafe {
        let fd = socket.as_raw_fd();
        libc::getsockopt(fd, libc::SOL_SOCKET, SO_MEMINFO, numbers.as_mut_ptr().cast(), &raw mut length);
    }
    u64::from(numbers[DROPS])
}
