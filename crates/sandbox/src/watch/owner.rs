//! Which process a socket inside belongs to: by the kernel's tables in `/proc`, from the outside.
//!
//! Best effort and bounded: it costs milliseconds, so it is done for new destinations only, one at
//! a time, within [`BURST`] of time and then [`PER_SECOND`]. Nothing inside can be changed by it.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
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
const PATIENCE: Duration = Duration::from_millis(20);
/// Bytes of the kernel's table of sockets: some ten thousand lines.
const MAX_TABLE: u64 = 2 << 20;
/// Processes and descriptors that are looked through.
const MAX_PROCESSES: usize = 2048;
const MAX_DESCRIPTORS: usize = 65_536;
const MAX_ARGUMENTS: u64 = 1024;

/// Which of the kernel's tables.
#[derive(Clone, Copy, Debug)]
pub enum Table {
    Tcp,
    Udp,
}

/// Finds owners of sockets of one sandbox.
#[derive(Debug)]
pub struct Owners {
    init: u32,
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
        Self { init, one_at_a_time: Arc::new(Semaphore::new(1)), budget }
    }

    /// The process whose socket has this own address, and leads to `remote` if it is connected.
    pub async fn find(&self, table: Table, own: SocketAddr, remote: SocketAddr) -> Option<Process> {
        if !locked(&self.budget).affordable() {
            return None;
        }
        let turn = Arc::clone(&self.one_at_a_time).acquire_owned();
        let permit = tokio::time::timeout(PATIENCE, turn).await.ok()?.ok()?;
        let (init, budget) = (self.init, Arc::clone(&self.budget));
        let work = move || {
            let begin = Instant::now();
            let found = inode(init, table, own, remote).and_then(|inode| owner(init, inode, begin + LONGEST));
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

/// The inode of a socket, from proc_pid_net(5).
fn inode(init: u32, table: Table, own: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let name = match table {
        Table::Tcp => "tcp",
        Table::Udp => "udp",
    };
    let find = |file: String| {
        let mut text = String::new();
        fs::File::open(file).ok()?.take(MAX_TABLE).read_to_string(&mut text).ok()?;
        in_table(&text, own, remote)
    };
    // A program may dial an IPv4 address from an IPv6 socket.
    let four = own.is_ipv4().then(|| find(format!("/proc/{init}/net/{name}"))).flatten();
    four.or_else(|| find(format!("/proc/{init}/net/{name}6")))
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
fn owner(init: u32, inode: u64, until: Instant) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    let (mut waiting, mut visited, mut descriptors) = (children(init), 0, 0);
    while let Some(pid) = waiting.pop() {
        visited += 1;
        let late = visited > FEW && Instant::now() > until;
        if late || visited > MAX_PROCESSES || descriptors > MAX_DESCRIPTORS {
            return None;
        }
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for descriptor in open.take(MAX_DESCRIPTORS) {
            descriptors += 1;
            if fs::read_link(descriptor.path()).is_ok_and(|link| link.as_os_str() == OsStr::new(&wanted)) {
                return describe(pid);
            }
        }
        waiting.extend(children(pid).into_iter().take(MAX_PROCESSES));
    }
    None
}

/// The children of all threads of a process (needs CONFIG_PROC_CHILDREN, as every distribution has).
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists =
        threads.take(MAX_PROCESSES).filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().map(str::parse).collect::<Vec<_>>())
        .flatten()
        .collect()
}

fn describe(pid: u32) -> Option<Process> {
    let mut arguments = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(MAX_ARGUMENTS).read_to_end(&mut arguments).ok()?;
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let program = program.as_deref().and_then(Path::file_name).map(|name| readable(name.as_bytes()));
    Some(Process { pid, program: program?, arguments: readable(&arguments).trim_end().to_owned() })
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
        let own = describe(std::process::id()).unwrap();
        assert!(own.arguments.len() <= 1024 && !own.program.is_empty());
        assert_eq!(readable(b"curl\0a\x1b[2J\0"), "curl a [2J ");
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
