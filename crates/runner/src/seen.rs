//! What a run did with its network, for programs and for people.
//!
//! It must never hold more than a bounded list, never leave out silently what does not fit, and never show a
//! credential: addresses come without theirs, and of a process only its program is told.

use std::{
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cofferdam_gateway::{Asked, Report};
use cofferdam_sandbox::{Attempt, Decision, NetworkLog, Noted, Transport};
use serde_json::{Value, json};

/// What it means when a network is not watched.
pub const UNWATCHED: &str = "addresses that no package client asks for are refused and not recorded here";
/// Requests that are told one by one, at most: a build may make a million.
const MAX_TOLD: usize = 10_000;
/// Lines about what was refused, for people.
const MAX_SHOWN: usize = 200;

/// Collects what is asked of the gateway.
#[derive(Default)]
pub struct Heard(Mutex<Seen>);

impl Heard {
    fn so_far(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says why the network is not watched.
    pub fn unwatched(&self, why: &str) {
        self.so_far().unwatched = Some(why.to_owned());
    }

    /// What was heard since this was last called, with the sandbox's own log.
    pub fn take(&self, log: NetworkLog) -> Seen {
        Seen { log, ..std::mem::take(&mut *self.so_far()) }
    }
}

impl Report for Heard {
    fn request(&self, asked: Asked) {
        let mut all = self.so_far();
        if all.asked.len() < MAX_TOLD {
            all.asked.push(asked);
        } else {
            all.more += 1;
        }
    }
}

/// What a run did with its network.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Requests to addresses, at most 10,000.
    pub asked: Vec<Asked>,
    /// Requests beyond those.
    pub more: u64,
    /// Every connection and question, those of the requests included.
    pub log: NetworkLog,
    /// Why this machine could not watch the network; then nothing else is known.
    pub unwatched: Option<String>,
}

impl Seen {
    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let asked: Vec<Value> = self.asked.iter().map(|a| json!({
            "method": a.method, "url": a.url, "status": a.status, "bytes": a.bytes, "digest": a.digest, "refused": a.refused, "by": a.by,
        })).collect();
        let mut log = self.log.clone();
        // Arguments hold credentials: `curl -H "Authorization: …"`. The program's name says enough.
        log.lines
            .iter_mut()
            .filter_map(|line| line.attempt.process.as_mut())
            .for_each(|p| p.arguments.clear());
        json!({
            "addresses": asked, "more_addresses": self.more, "connections": log, "unwatched": self.unwatched,
        })
    }

    /// For people: what was answered, in a line, and each thing that was refused, with the reason.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let kept: Vec<&Asked> = self.asked.iter().filter(|a| a.refused.is_none()).collect();
        if !kept.is_empty() {
            let bytes: u64 = kept.iter().map(|a| a.bytes).sum();
            let megabytes = bytes as f64 / 1e6;
            let _ = writeln!(text, "  {} answers from recorded addresses, {megabytes:.1} MB", kept.len());
        }
        let mut refused: Vec<String> = self.asked.iter().filter_map(refused_request).collect();
        refused.extend(self.log.lines.iter().filter_map(refused_connection));
        refused.sort();
        refused.dedup();
        for line in refused.iter().take(MAX_SHOWN) {
            let _ = writeln!(text, "  {line}");
        }
        let hidden = refused.len().saturating_sub(MAX_SHOWN);
        for (count, what) in [
            (hidden as u64, "more lines about refusals are not shown"),
            (self.more, "more requests came after the first 10,000, and are not told one by one"),
            (
                self.log.more,
                "more connections and questions went other ways than the first 10,000, and are not told",
            ),
            (self.log.missed_packets, "packets came faster than they could be looked at"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "  {count} {what}");
            }
        }
        text
    }
}

fn refused_request(asked: &Asked) -> Option<String> {
    let why = asked.refused.as_deref()?;
    let what = format!("{} {}", asked.method, asked.url);
    let by = asked.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    // An answer that its client did not want to the end was given all the same.
    let given = asked.status.is_some_and(|status| status < 400) && why.starts_with("broken off");
    Some(format!("{}{}{by}: {why}", if given { "" } else { "refused: " }, what.trim()))
}

fn refused_connection(line: &Noted) -> Option<String> {
    let attempt = &line.attempt;
    let why = match (line.decision, attempt.transport) {
        (Decision::Relayed | Decision::Taken | Decision::Answered, _) => return None,
        (Decision::Refused, Transport::Quic) => "QUIC cannot be recorded; clients go on without it",
        (Decision::Refused, Transport::Udp) => "datagrams cannot be recorded",
        (Decision::Refused, _) => "only HTTP and HTTPS can be recorded",
        (Decision::HungUp, _) => "the client gave it up at once",
        (Decision::Unreachable, _) => "nobody is there",
        (Decision::Overload, Transport::Dns) => "too many different names were asked for",
        (Decision::Overload, _) => "too many connections were open at once",
    };
    let by = attempt.process.as_ref().map(|process| format!(" by {}", process.who())).unwrap_or_default();
    let times = if line.count == 1 { "once".to_owned() } else { format!("{} times", line.count) };
    Some(format!("refused: {}{by}, {times}: {why}", place(attempt)))
}

/// Where it was to go, in the words of its kind.
fn place(attempt: &Attempt) -> String {
    let (host, port) = (attempt.host(), attempt.port);
    match attempt.transport {
        Transport::Tcp => format!("{host}:{port}"),
        Transport::Udp | Transport::Quic => format!("{host}:{port}/udp"),
        Transport::Dns => format!("the name {host}"),
        Transport::Other => format!("{host} by protocol {port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sandbox::Process;

    fn noted(transport: Transport, port: u16, decision: Decision, count: u64) -> Noted {
        let attempt = Attempt {
            transport,
            name: Some("tools.example".into()),
            address: [198, 18, 0, 1].into(),
            port,
            tls: false,
            tls_server_name: None,
            http_host: None,
            http_target: None,
            process: Some(Process {
                pid: 7,
                program: "sh".into(),
                arguments: "sh -c secret".into(),
                package: None,
            }),
            at: std::time::Duration::ZERO,
        };
        Noted { attempt, decision, count, first_ms: 0, last_ms: 0 }
    }

    fn told(log: NetworkLog) -> Vec<String> {
        let text = Seen { log, ..Seen::default() }.text();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn each_refusal_is_told_with_its_own_reason() {
        let lines = vec![
            noted(Transport::Tcp, 22, Decision::Refused, 1),
            noted(Transport::Tcp, 443, Decision::HungUp, 3),
            noted(Transport::Tcp, 443, Decision::Overload, 2),
            noted(Transport::Dns, 53, Decision::Overload, 1),
            noted(Transport::Quic, 443, Decision::Refused, 1),
            noted(Transport::Other, 132, Decision::Refused, 1),
            noted(Transport::Tcp, 443, Decision::Taken, 9),
        ];
        let told = told(NetworkLog { lines, more: 5, missed_packets: 4 });
        assert_eq!(
            told,
            [
                "refused: the name tools.example by sh, once: too many different names were asked for",
                "refused: tools.example by protocol 132 by sh, once: only HTTP and HTTPS can be recorded",
                "refused: tools.example:22 by sh, once: only HTTP and HTTPS can be recorded",
                "refused: tools.example:443 by sh, 2 times: too many connections were open at once",
                "refused: tools.example:443 by sh, 3 times: the client gave it up at once",
                "refused: tools.example:443/udp by sh, once: QUIC cannot be recorded; clients go on without it",
                "5 more connections and questions went other ways than the first 10,000, and are not told",
                "4 packets came faster than they could be looked at",
            ]
        );
    }

    #[test]
    fn an_answer_that_a_client_left_was_not_refused() {
        let heard = Heard::default();
        for status in [Some(200), None] {
            let (url, refused) =
                ("http://a.example/v2/".to_owned(), Some("broken off after 0 bytes".to_owned()));
            heard.request(Asked { method: "GET".into(), url, status, refused, ..Asked::default() });
        }
        let text = heard.take(NetworkLog::default()).text();
        let told: Vec<_> = text.lines().map(str::trim).collect();
        let what = "GET http://a.example/v2/: broken off after 0 bytes";
        assert_eq!(told, [what.to_owned(), format!("refused: {what}")]);
    }

    #[test]
    fn what_is_too_much_to_list_is_counted() {
        let heard = Heard::default();
        for number in 0..MAX_TOLD + 3 {
            let (url, refused) = (format!("http://a.example/{number}"), Some("no".to_owned()));
            heard.request(Asked { method: "GET".into(), url, refused, ..Asked::default() });
        }
        let seen = heard.take(NetworkLog::default());
        assert_eq!(
            (seen.asked.len(), seen.more, seen.json()["more_addresses"].as_u64()),
            (MAX_TOLD, 3, Some(3))
        );
        let text = seen.text();
        assert_eq!(text.lines().count(), MAX_SHOWN + 2);
        assert!(text.contains("  9800 more lines about refusals are not shown\n"), "{text}");
        assert_eq!(heard.take(NetworkLog::default()).more, 0, "told once");
    }

    #[test]
    fn a_network_that_is_not_watched_says_why_to_programs() {
        let heard = Heard::default();
        heard.unwatched("no nf_tables");
        let seen = heard.take(NetworkLog::default());
        assert_eq!(seen.json()["unwatched"], "no nf_tables");
        assert_eq!(seen.text(), "", "people were told at the start");
    }

    #[test]
    fn arguments_are_not_told() {
        let log = NetworkLog {
            lines: vec![noted(Transport::Tcp, 22, Decision::Refused, 1)],
            ..NetworkLog::default()
        };
        let seen = Seen { log, ..Seen::default() };
        assert!(!seen.json().to_string().contains("secret") && !seen.text().contains("secret"));
    }
}
