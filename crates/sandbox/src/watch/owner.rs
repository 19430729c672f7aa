//! Which process a socket inside belongs to: by the kernel's tables in `/proc`, from the outside.
//!
//! Best effort and bounded: it costs milliseconds, so it is done for new destinations and for taken
//! connections only, one at a time, within [`BURST`] of time and then [`PER_SECOND`]. Nothing inside can be
//! changed by it. It must never tell of a process that is not inside, nor keep anything of an environment but
//! the name of a package.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::Process;

/// Time that one sandbox may cost at once, in seconds, and what it earns: a twentieth of a processor.
const BURST: f64 = 2.0;
const PER_SECOND: f64 = 0.05;
/// Among many processes one look-up gives up; a few are looked at however slow the machine is.
const FEW: usize = 16;
const LONGEST: Duration = Duration::from_millis(50);
/// How long one waits for its turn: a refusal must be quick, its process is a detail.
pub const PATIENCE: Duration = Duration::from_millis(20);
/// The same for a connection that is taken, whose owner is asked for by name.
pub const PATIENCE_TAKEN: Duration = Duration::from_millis(250);
/// Bytes of the kernel's table of sockets: some ten thousand lines.
const MAX_TABLE: u64 = 2 << 20;
/// Processes and descriptors that are looked through.
const MAX_PROCESSES: usize = 2048;
const MAX_DESCRIPTORS: usize = 65_536;
const MAX_ARGUMENTS: u64 = 1024;
const MAX_ENVIRONMENT: usize = 64 * 1024;
/// Bytes of a package's name, and of its version.
const MAX_WORD: usize = 128;
/// How package managers tell the programs that they start whose package it is: scripts of npm and its
/// likes, build scripts of cargo.
const PACKAGES: [(&str, &str); 2] =
    [("npm_package_name", "npm_package_version"), ("CARGO_PKG_NAME", "CARGO_PKG_VERSION")];

/// Which of the kernel's tables.
#[derive(Clone, Copy, Debug)]
pub enum Table {
    Tcp,
    Udp,
}

/// Finds owners of sockets of one sandbox.
#[derive(Debug)]
pub struct Owners {
    init: Option<Arc<Folder>>,
    one_at_a_time: Arc<Semaphore>,
    budget: Arc<Mutex<Budget>>,
}

#[derive(Debug)]
struct Budget {
    left: f64,
    since: Instant,
}

impl Budget {
    fn affordable(&mut self) -> bool {
        let earned = self.since.elapsed().as_secs_f64() * PER_SECOND;
        self.left = (self.left + earned).min(BURST);
        self.since = Instant::now();
        self.left > 0.0
    }

    fn spend(&mut self, time: Duration) {
        self.left -= time.as_secs_f64();
    }
}

impl Owners {
    pub fn new(init: u32) -> Self {
        let budget = Arc::new(Mutex::new(Budget { left: BURST, since: Instant::now() }));
        let init = Folder::of(init).map(Arc::new);
        Self { init, one_at_a_time: Arc::new(Semaphore::new(1)), budget }
    }

    /// The process whose socket has this own address, and leads to `remote` if it is connected.
    pub async fn find(
        &self,
        table: Table,
        own: SocketAddr,
        remote: SocketAddr,
        patience: Duration,
    ) -> Option<Process> {
        if !locked(&self.budget).affordable() {
            return None;
        }
        let turn = Arc::clone(&self.one_at_a_time).acquire_owned();
        let permit = tokio::time::timeout(patience, turn).await.ok()?.ok()?;
        let (init, budget) = (self.init.clone()?, Arc::clone(&self.budget));
        let work = move || {
            let begin = Instant::now();
            let found =
                inode(&init, table, own, remote).and_then(|inode| owner(&init, inode, begin + LONGEST));
            locked(&budget).spend(begin.elapsed());
            drop(permit);
            found
        };
        tokio::task::spawn_blocking(work).await.ok()?
    }
}

fn locked(budget: &Mutex<Budget>) -> MutexGuard<'_, Budget> {
    budget.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of a process in `/proc`. It stays that process's: once it has ended nothing can be read there,
/// also when its number has become another's.
#[derive(Debug)]
struct Folder {
    pid: u32,
    open: OwnedFd,
}

impl Folder {
    fn of(pid: u32) -> Option<Self> {
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let open = fs::File::options().read(true).custom_flags(flags).open(format!("/proc/{pid}")).ok()?;
        Some(Self { pid, open: open.into() })
    }

    fn path(&self, below: &str) -> String {
        format!("/proc/self/fd/{}/{below}", self.open.as_raw_fd())
    }

    /// The beginning of a file.
    fn read(&self, file: &str, most: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(file)).ok()?.take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// The inode of a socket, from proc_pid_net(5).
fn inode(init: &Folder, table: Table, own: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let name = match table {
        Table::Tcp => "tcp",
        Table::Udp => "udp",
    };
    let find = |file: String| in_table(&String::from_utf8(init.read(&file, MAX_TABLE)?).ok()?, own, remote);
    // A program may dial an IPv4 address from an IPv6 socket.
    let four = own.is_ipv4().then(|| find(format!("net/{name}"))).flatten();
    four.or_else(|| find(format!("net/{name}6")))
}

/// The best line of a table: the whole connection, or else an unconnected socket with the own port.
fn in_table(text: &str, own: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let mut unconnected = None;
    for line in text.lines().skip(1) {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(local), Some(peer)) = (words.next().and_then(end), words.next().and_then(end)) else {
            continue;
        };
        let Some(inode) = words.nth(6).and_then(|word| word.parse::<u64>().ok()).filter(|inode| *inode != 0)
        else {
            continue;
        };
        if local.port() != own.port() {
            continue;
        }
        if local.ip() == own.ip().to_canonical() && peer == canonical(remote) {
            return Some(inode);
        }
        if peer.port() == 0 && (local.ip().is_unspecified() || local.ip() == own.ip().to_canonical()) {
            unconnected = Some(inode);
        }
    }
    unconnected
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// `0100007F:0035`: words of the address as the processor stores them, then the port.
fn end(word: &str) -> Option<SocketAddr> {
    let (address, port) = word.split_once(':')?;
    let words = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match address.len() {
        8 => words(0)?.into(),
        32 => {
            let mut octets = [0; 16];
            for (index, part) in octets.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&words(index * 8)?);
            }
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The process below `init` that has a socket open.
fn owner(init: &Folder, inode: u64, until: Instant) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    let (mut waiting, mut visited, mut descriptors) = (children(init), 0, 0);
    while let Some(pid) = waiting.pop() {
        visited += 1;
        let late = visited > FEW && Instant::now() > until;
        if late || visited > MAX_PROCESSES || descriptors > MAX_DESCRIPTORS {
            return None;
        }
        let Some(process) = Folder::of(pid) else { continue };
        let open = fs::read_dir(process.path("fd")).into_iter().flatten().flatten();
        for descriptor in open.take(MAX_DESCRIPTORS) {
            descriptors += 1;
            if fs::read_link(descriptor.path()).is_ok_and(|link| link.as_os_str() == OsStr::new(&wanted)) {
                return describe(&process);
            }
        }
        waiting.extend(children(&process).into_iter().take(MAX_PROCESSES));
    }
    None
}

/// The children of all threads of a process (needs CONFIG_PROC_CHILDREN, as every distribution has).
fn children(process: &Folder) -> Vec<u32> {
    let threads = fs::read_dir(process.path("task")).into_iter().flatten().flatten();
    let lists =
        threads.take(MAX_PROCESSES).filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().map(str::parse).collect::<Vec<_>>())
        .flatten()
        .collect()
}

fn describe(process: &Folder) -> Option<Process> {
    let arguments = process.read("cmdline", MAX_ARGUMENTS)?;
    let program = fs::read_link(process.path("exe")).ok();
    let program = program.as_deref().and_then(Path::file_name).map(|name| readable(name.as_bytes()));
    Some(Process {
        pid: process.pid,
        program: program?,
        arguments: readable(&arguments).trim_end().to_owned(),
        package: process.read("environ", MAX_ENVIRONMENT as u64).and_then(|all| package(&all)),
    })
}

/// The package in an environment, as `name@version`, or its name when it has no version.
fn package(environment: &[u8]) -> Option<String> {
    // What was cut off must not be taken for a shorter version.
    let whole = environment.iter().rposition(|byte| *byte == 0).unwrap_or(0);
    let value = |name: &str| {
        let own = |entry: &[u8]| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(word);
        environment.get(..whole)?.split(|byte| *byte == 0).find_map(own).flatten()
    };
    PACKAGES.iter().find_map(|(name, version)| {
        let name = value(name)?;
        Some(value(version).map_or_else(|| name.clone(), |version| format!("{name}@{version}")))
    })
}

/// Printable ASCII without blanks, of a sensible length.
fn word(bytes: &[u8]) -> Option<String> {
    let fine = !bytes.is_empty() && bytes.len() <= MAX_WORD && bytes.iter().all(u8::is_ascii_graphic);
    fine.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// Text that cannot move a terminal's cursor; arguments end with a NUL each.
fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        \x20  0: 0100007F:C350 097100CB:01BB 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 20\n\
        \x20  1: 00000000:C351 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 77 2 0 0\n\
        \x20  2: 0100007F:C352 0971\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn sockets_are_found_by_both_ends_or_by_their_port() {
        let find = |own: &str, remote: &str| in_table(TABLE, own.parse().unwrap(), remote.parse().unwrap());
        assert_eq!(find("127.0.0.1:50000", "203.0.113.9:443"), Some(4242));
        assert_eq!(find("127.0.0.1:50000", "203.0.113.9:80"), None);
        assert_eq!(find("127.0.0.1:50001", "203.0.113.9:443"), Some(77));
        assert_eq!(find("127.0.0.1:50002", "203.0.113.9:443"), None);
    }

    #[test]
    fn a_process_finds_its_own_child_and_its_own_arguments() {
        let own = describe(&Folder::of(std::process::id()).unwrap()).unwrap();
        assert!(own.arguments.len() <= 1024 && !own.program.is_empty());
        assert_eq!(readable(b"curl\0a\x1b[2J\0"), "curl a [2J ");
    }

    #[test]
    fn of_an_environment_only_the_package_is_kept() {
        let npm = b"TOKEN=secret\0npm_package_name=esbuild\0npm_package_version=0.21.5\0CARGO_PKG_NAME=x\0";
        assert_eq!(package(npm).as_deref(), Some("esbuild@0.21.5"));
        let cargo = b"CARGO_PKG_NAME_X=no\0CARGO_PKG_NAME=ring\0CARGO_PKG_VERSION=0.17.8\0";
        assert_eq!(package(cargo).as_deref(), Some("ring@0.17.8"));
        assert_eq!(package(b"npm_package_name=root\0npm_package_version=\0").as_deref(), Some("root"));
        assert_eq!(package(b"npm_package_name=a\nb\0"), None, "no odd letters");
        assert_eq!(package(b"npm_package_name=cut-o"), None, "not a part of a name");
        assert_eq!(package(b"TOKEN=secret\0"), None);
        assert_eq!(package(&[b"npm_package_name=", &[b'x'; 129][..], b"\0"].concat()), None);
    }

    #[test]
    fn a_process_that_has_ended_is_not_taken_for_another() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let folder = Folder::of(child.id()).unwrap();
        assert!(describe(&folder).is_some());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(describe(&folder).is_none() && children(&folder).is_empty());
    }

    #[test]
    fn a_flood_of_lookups_is_cut_off() {
        let mut budget = Budget { left: BURST, since: Instant::now() };
        let mut allowed = 0;
        while allowed < 1000 && budget.affordable() {
            budget.spend(LONGEST);
            allowed += 1;
        }
        assert!((40..60).contains(&allowed), "{allowed}");
    }
}
