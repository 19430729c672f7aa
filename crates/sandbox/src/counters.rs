//! What a network namespace has sent and whether it could send anywhere: the proof of isolation.
//!
//! Read from `/proc/PID/net` (proc_pid_net(5)); never changes anything.

use std::path::PathBuf;

use cofferdam_types::{Error, Result};
use serde::Serialize;

/// Whose network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessId {
    /// The calling process's.
    Own,
    /// Another process's.
    Of(u32),
}

impl ProcessId {
    fn file(self, name: &str) -> PathBuf {
        match self {
            // Not /proc/self: of a process whose first thread has ended that is empty.
            Self::Own => format!("/proc/thread-self/net/{name}"),
            Self::Of(pid) => format!("/proc/{pid}/net/{name}"),
        }
        .into()
    }

    fn read(self, name: &str) -> Result<String> {
        let path = self.file(name);
        std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!("there is no {}", path.display())),
            _ => Error::io(format!("reading {}", path.display()), error),
        })
    }
}

/// The counters of one network interface since its namespace was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceCounters {
    /// Its name, e.g. `lo`.
    pub name: String,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// The interfaces of a process's network namespace.
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn net_counters(of: ProcessId) -> Result<Vec<InterfaceCounters>> {
    Ok(parse_counters(&of.read("dev")?))
}

fn parse_counters(text: &str) -> Vec<InterfaceCounters> {
    let line = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let numbers: Vec<u64> = rest.split_whitespace().map_while(|n| n.parse().ok()).collect();
        Some(InterfaceCounters {
            name: name.trim().to_owned(),
            rx_bytes: *numbers.first()?,
            rx_packets: *numbers.get(1)?,
            tx_bytes: *numbers.get(8)?,
            tx_packets: *numbers.get(9)?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// Whether a process's network namespace has a route that leads anywhere but to its own loopback.
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn has_route(of: ProcessId) -> Result<bool> {
    let v4 = of.read("route")?;
    // Absent when the kernel runs without IPv6.
    let v6 = of.read("ipv6_route").unwrap_or_default();
    Ok(leads_out_v4(&v4) || leads_out_v6(&v6))
}

fn leads_out_v4(table: &str) -> bool {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).any(|device| device != "lo")
}

fn leads_out_v6(table: &str) -> bool {
    table.lines().filter_map(|line| line.split_whitespace().last()).any(|device| device != "lo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_column() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n\
                    \x20   lo:     100       2    0    0    0     0          0         0      300       4    0    0    0     0       0          0\n";
        let lo = InterfaceCounters {
            name: "lo".into(),
            rx_packets: 2,
            tx_packets: 4,
            rx_bytes: 100,
            tx_bytes: 300,
        };
        assert_eq!(parse_counters(text), [lo]);
    }

    #[test]
    fn only_routes_over_other_devices_lead_out() {
        let head = "Iface\tDestination\tGateway\n";
        assert!(!leads_out_v4(head));
        assert!(leads_out_v4(&format!("{head}eth0\t00000000\t0100A8C0\n")));
        assert!(!leads_out_v6("00000000000000000000000000000000 00 0 00 0 ffffffff 1 0 00200200       lo\n"));
        assert!(leads_out_v6("fe80 40 0 00 0 256 1 0 00000001     eth0\n"));
    }
}
