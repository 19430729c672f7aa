//! What was attempted, as a bounded list: a million repetitions are one line with a count.
//!
//! Never grows beyond [`MAX_LINES`]; what does not fit is counted and said.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::{Attempt, Decision, Process, Transport};

/// Different lines of one sandbox.
const MAX_LINES: usize = 10_000;

/// One line: everything that went the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Noted {
    /// The first attempt of this kind.
    #[serde(flatten)]
    pub attempt: Attempt,
    /// What was done.
    pub decision: Decision,
    /// How often.
    pub count: u64,
    /// Milliseconds from the start of the command to the first time.
    pub first_ms: u64,
    /// The same for the last time.
    pub last_ms: u64,
}

/// All lines, by the time of their first attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NetworkLog {
    /// At most 10,000.
    pub lines: Vec<Noted>,
    /// Attempts that are in none of the lines, because there were too many different ones.
    pub more: u64,
    /// Packets and questions that came faster than they could be looked at.
    pub missed_packets: u64,
}

/// Where an attempt led.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Destination {
    transport: Transport,
    name: Option<String>,
    /// Not of an address that only stands for a name.
    address: Option<IpAddr>,
    port: u16,
}

impl From<&Attempt> for Destination {
    fn from(attempt: &Attempt) -> Self {
        let literal = attempt.name.is_none() || attempt.transport == Transport::Dns;
        Self {
            transport: attempt.transport,
            name: attempt.name.clone(),
            address: literal.then_some(attempt.address),
            port: attempt.port,
        }
    }
}

/// What the attempts of one line have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    destination: Destination,
    claim: Option<String>,
    /// Program and package.
    who: Option<String>,
    decision: Decision,
}

#[derive(Debug, Default)]
struct Lines {
    index: HashMap<Key, usize>,
    /// The process that was last found for a destination.
    processes: HashMap<Destination, Option<Process>>,
    lines: Vec<Noted>,
    more: u64,
    missed_packets: u64,
}

/// Collects the lines while the sandbox runs.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Lines>);

impl Recorder {
    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt; the line when it is a new one.
    pub fn note(&self, attempt: &Attempt, decision: Decision) -> Option<Noted> {
        let destination = Destination::from(attempt);
        let who = attempt.process.as_ref().map(Process::who);
        let at = milliseconds(attempt.at);
        let mut all = self.lines();
        let claim = attempt.tls_server_name.as_ref().or(attempt.http_host.as_ref());
        let claim = claim.or(attempt.http_target.as_ref()).cloned();
        let key = Key { destination, claim, who, decision };
        if let Some(index) = all.index.get(&key).copied() {
            if let Some(line) = all.lines.get_mut(index) {
                line.count += 1;
                line.last_ms = line.last_ms.max(at);
            }
            return None;
        }
        if all.lines.len() >= MAX_LINES {
            all.more += 1;
            return None;
        }
        let noted = Noted { attempt: attempt.clone(), decision, count: 1, first_ms: at, last_ms: at };
        let index = all.lines.len();
        let process = all.processes.entry(key.destination.clone()).or_default();
        if attempt.process.is_some() {
            process.clone_from(&attempt.process);
        }
        all.index.insert(key, index);
        all.lines.push(noted.clone());
        Some(noted)
    }

    /// The process of an earlier attempt at the same destination; `None` when this is the first, and
    /// worth looking for. When the list is full nothing is worth looking for.
    pub fn known(&self, attempt: &Attempt) -> Option<Option<Process>> {
        let all = self.lines();
        let full = (all.lines.len() >= MAX_LINES).then_some(None);
        all.processes.get(&Destination::from(attempt)).cloned().or(full)
    }

    /// Remembers the process of a destination before its attempt is noted, for others of the same kind.
    pub fn learn(&self, attempt: &Attempt, process: &Process) {
        let mut all = self.lines();
        if all.processes.len() < MAX_LINES {
            all.processes.insert(Destination::from(attempt), Some(process.clone()));
        }
    }

    pub fn missed_packets(&self, count: u64) {
        self.lines().missed_packets += count;
    }

    pub fn snapshot(&self) -> NetworkLog {
        let all = self.lines();
        let mut lines = all.lines.clone();
        let (more, missed_packets) = (all.more, all.missed_packets);
        drop(all);
        lines.sort_by_key(|line| line.first_ms);
        NetworkLog { lines, more, missed_packets }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl NetworkLog {
    /// The different hosts that were refused, by name or address, in order of their first attempt.
    #[must_use]
    pub fn refused_hosts(&self) -> Vec<String> {
        let mut seen = HashSet::new();
        let refused = self.lines.iter().filter(|line| line.decision == Decision::Refused);
        refused.map(|line| line.attempt.host()).filter(|host| seen.insert(host.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(name: &str, at: u64) -> Attempt {
        let address = "198.18.0.1".parse().unwrap();
        Attempt::new(Transport::Tcp, Some(name), address, 443, Duration::from_millis(at))
    }

    #[test]
    fn repetitions_are_one_line_with_a_count() {
        let recorder = Recorder::default();
        assert!(recorder.note(&attempt("a", 5), Decision::Refused).is_some());
        assert!(recorder.note(&attempt("a", 9), Decision::Refused).is_none());
        assert!(recorder.note(&attempt("a", 7), Decision::Relayed).is_some());
        let log = recorder.snapshot();
        let times: Vec<_> = log.lines.iter().map(|l| (l.count, l.first_ms, l.last_ms)).collect();
        assert_eq!(times, [(2, 5, 9), (1, 7, 7)]);
        assert_eq!(log.refused_hosts(), ["a"]);
    }

    #[test]
    fn too_many_lines_are_counted_instead_of_kept() {
        let recorder = Recorder::default();
        for number in 0..MAX_LINES as u64 + 7 {
            recorder.note(&attempt(&number.to_string(), number), Decision::Refused);
        }
        let log = recorder.snapshot();
        assert_eq!((log.lines.len(), log.more), (MAX_LINES, 7));
        assert_eq!(recorder.known(&attempt("unseen", 0)), Some(None), "nothing is looked for any more");
        recorder.note(&attempt("0", 1), Decision::Refused);
        assert_eq!(recorder.snapshot().lines[0].count, 2);
    }
}
