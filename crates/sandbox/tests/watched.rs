//! What a command in a watched network tried to reach is written down, and ends fast.

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "each file of stories uses its part")]
mod common;
#[path = "common/watched.rs"]
#[allow(dead_code, reason = "each file of stories uses its part")]
mod watching;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cofferdam_sandbox::{
    Attempt, Decision, Exit, Network, Noted, RefuseAll, Sandbox, SandboxSpec, SiteDoor, Stdio, TakeFuture,
    Target, Transport, Verdict, Watcher,
};
use common::{possible, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use watching::{By, can_watch, observe, only, watched};

fn refused<S: Into<std::ffi::OsString>>(command: impl IntoIterator<Item = S>) -> SandboxSpec {
    SandboxSpec { network: watched(RefuseAll, Vec::new()), ..SandboxSpec::new(command) }
}

fn python(script: &str, network: Network) -> SandboxSpec {
    SandboxSpec { network, ..SandboxSpec::new(["python3", "-c", script]) }
}

/// Far below any client's patience, and far above what a busy test machine needs for 100 ms.
const AT_ONCE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn curl_to_a_made_up_name_is_recorded_with_everything_that_is_known() {
    if !can_watch("curl_to_a_made_up_name_is_recorded_with_everything_that_is_known", "curl") {
        return;
    }
    // Without certificates to read it speaks as soon as it is connected, however busy the machine is.
    let spec = refused(["curl", "-ksS", "https://files.made-up.example/simple/"]);
    let (outcome, _, err, log) = observe(spec).await;
    assert_ne!(outcome.status, Exit::Code(0));
    assert!(err.contains("reset"), "{err}");
    assert!(outcome.duration < AT_ONCE, "{outcome:?}");
    let question = only(&log, Transport::Dns);
    assert_eq!(question.attempt.name.as_deref(), Some("files.made-up.example"));
    assert_eq!(question.decision, Decision::Answered);
    let line = only(&log, Transport::Tcp);
    assert_eq!(line.attempt.name.as_deref(), Some("files.made-up.example"));
    assert_eq!(line.attempt.tls_server_name.as_deref(), Some("files.made-up.example"));
    assert!(line.attempt.tls);
    assert_eq!((line.attempt.port, line.decision, line.count), (443, Decision::Refused, 1));
    let process = line.attempt.process.as_ref().expect("curl still waits while it is looked for");
    assert_eq!(process.program, "curl");
    assert!(process.arguments.ends_with("https://files.made-up.example/simple/"), "{process:?}");
    assert_eq!(log.refused_hosts(), ["files.made-up.example"]);
}

#[tokio::test]
async fn plain_requests_and_literal_addresses_are_recorded() {
    if !can_watch("plain_requests_and_literal_addresses_are_recorded", "curl") {
        return;
    }
    let script = "curl -sS http://mirror.example/a; curl -sS http://203.0.113.9:8080/b; \
                  curl -gsS 'http://[2001:db8::9]:81/c'; exit 0";
    let (outcome, _, _, log) = observe(refused(["sh", "-c", script])).await;
    assert!(outcome.duration < AT_ONCE, "{outcome:?}");
    let seen = |line: &Noted| {
        let attempt = &line.attempt;
        (attempt.host(), attempt.port, attempt.http_host.clone().unwrap_or_default(), attempt.tls)
    };
    let tcp = log.lines.iter().filter(|line| line.attempt.transport == Transport::Tcp);
    assert_eq!(
        tcp.map(seen).collect::<Vec<_>>(),
        [
            ("mirror.example".to_owned(), 80, "mirror.example".to_owned(), false),
            ("203.0.113.9".to_owned(), 8080, "203.0.113.9:8080".to_owned(), false),
            ("2001:db8::9".to_owned(), 81, "[2001:db8::9]:81".to_owned(), false),
        ]
    );
    assert!(log.lines.iter().filter(|l| l.attempt.name.is_none()).count() == 2);
}

#[tokio::test]
async fn git_is_recorded_too() {
    if !can_watch("git_is_recorded_too", "git") {
        return;
    }
    let (_, _, _, log) = observe(refused(["git", "ls-remote", "https://code.example/x.git"])).await;
    let line = only(&log, Transport::Tcp);
    assert_eq!((line.attempt.host().as_str(), line.attempt.port), ("code.example", 443));
    assert!(line.attempt.process.as_ref().unwrap().program.starts_with("git"), "{line:?}");
}

const DATAGRAMS: &str = r#"
import socket, time
def send(family, to, data):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5)
    s.connect(to); s.send(data)
    try: s.recv(1)
    except ConnectionRefusedError: print("refused")
    return s
keep = [send(socket.AF_INET, ("203.0.113.9", 443), b"\xc3" + bytes(1199)),
        send(socket.AF_INET6, ("2001:db8::5", 123), b"x")]
"#;

#[tokio::test]
async fn datagrams_are_refused_at_once_and_quic_is_named() {
    if !can_watch("datagrams_are_refused_at_once_and_quic_is_named", "python3") {
        return;
    }
    let (outcome, out, err, log) = observe(python(DATAGRAMS, watched(RefuseAll, Vec::new()))).await;
    assert_eq!((out.as_str(), err.as_str()), ("refused\nrefused\n", ""));
    assert!(outcome.duration < AT_ONCE, "{outcome:?}");
    let quic = only(&log, Transport::Quic);
    assert_eq!((quic.attempt.host().as_str(), quic.attempt.port), ("203.0.113.9", 443));
    let udp = only(&log, Transport::Udp);
    assert_eq!((udp.attempt.host().as_str(), udp.attempt.port), ("2001:db8::5", 123));
    assert_eq!((quic.decision, udp.decision), (Decision::Refused, Decision::Refused));
}

const QUESTIONS: &str = r#"
import socket
print(socket.getaddrinfo("a.example", 1)[0][4][0], socket.gethostbyname("a.example"), socket.gethostbyname("localhost"))
question = b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\x01b\x07EXAMPLE\0\0\1\0\1"
for family, server in [(socket.AF_INET, "8.8.8.8"), (socket.AF_INET6, "2001:db8::53")]:
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5)
    for bad in [b"", b"x", question[:20], question[:12] + b"\xc0\x0c\0\1\0\1", question[:2] + b"\xff" + question[3:]]:
        s.sendto(bad, (server, 53))
    s.sendto(question, (server, 53))
    answer, sender = s.recvfrom(512)
    print(sender[0], answer[:2] == question[:2], socket.inet_ntoa(answer[-4:]))
"#;

#[tokio::test]
async fn every_name_has_an_address_whichever_server_is_asked() {
    if !can_watch("every_name_has_an_address_whichever_server_is_asked", "python3") {
        return;
    }
    let (_, out, err, log) = observe(python(QUESTIONS, watched(RefuseAll, Vec::new()))).await;
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines,
        ["198.18.0.1 198.18.0.1 127.0.0.1", "8.8.8.8 True 198.18.0.2", "2001:db8::53 True 198.18.0.2"],
        "{err}"
    );
    let asked = |line: &Noted| (line.attempt.host(), line.attempt.address.to_string());
    let asked: Vec<_> = log.lines.iter().map(asked).collect();
    let want = [("a.example", "127.0.0.1"), ("b.example", "8.8.8.8"), ("b.example", "2001:db8::53")];
    assert_eq!(asked, want.map(|(name, server)| (name.to_owned(), server.to_owned())));
    assert_eq!(log.lines[1].attempt.process.as_ref().unwrap().program.split('.').next(), Some("python3"));
}

const SILENT: &str = r#"
import socket, time
begin = time.monotonic()
s = socket.create_connection(("192.0.2.22", 22), 10)
print(s.getpeername())
try: s.recv(1)
except ConnectionResetError: print("reset")
"#;

#[tokio::test]
async fn a_client_that_waits_for_the_server_is_refused_in_time() {
    if !can_watch("a_client_that_waits_for_the_server_is_refused_in_time", "python3") {
        return;
    }
    let (outcome, out, _, log) = observe(python(SILENT, watched(RefuseAll, Vec::new()))).await;
    assert_eq!(out, "('192.0.2.22', 22)\nreset\n");
    assert!(outcome.duration < AT_ONCE, "{outcome:?}");
    assert_eq!(only(&log, Transport::Tcp).attempt.port, 22);
}

/// Waits for clients that may be slow to begin.
struct Patient(Duration);

impl Watcher for Patient {
    fn decide(&self, attempt: &Attempt) -> Verdict {
        if attempt.http_host.is_some() { Verdict::Take } else { Verdict::Refuse }
    }

    fn patience(&self, attempt: &Attempt) -> Duration {
        if attempt.port == 8443 { self.0 } else { Duration::from_millis(70) }
    }
}

/// The refusal of the second connection proves that the first was already waited for longer than usual.
const SLOW: &str = r#"
import socket
slow = socket.create_connection(("slow.example", 8443), 10)
other = socket.create_connection(("192.0.2.22", 22), 10)
try: other.recv(1)
except ConnectionResetError: print("refused")
slow.sendall(b"GET / HTTP/1.1\r\nHost: slow.example\r\n\r\n")
try: slow.recv(1)
except ConnectionResetError: pass
"#;

#[tokio::test]
async fn a_watcher_may_wait_longer_for_a_client_that_is_slow_to_begin() {
    if !can_watch("a_watcher_may_wait_longer_for_a_client_that_is_slow_to_begin", "python3") {
        return;
    }
    let network = watched(Patient(Duration::from_secs(10)), Vec::new());
    let (_, out, err, log) = observe(python(SLOW, network)).await;
    assert_eq!(out, "refused\n", "{err}");
    let slow = log.lines.iter().find(|line| line.attempt.port == 8443).unwrap();
    assert_eq!((slow.decision, slow.attempt.http_host.as_deref()), (Decision::Taken, Some("slow.example")));
}

#[tokio::test]
async fn who_keeps_silent_before_a_patient_watcher_is_refused_all_the_same() {
    if !can_watch("who_keeps_silent_before_a_patient_watcher_is_refused_all_the_same", "python3") {
        return;
    }
    let script = SILENT.replace("22)", "8443)").replace("10)", "30)");
    let network = watched(Patient(Duration::from_millis(300)), Vec::new());
    let (outcome, out, _, log) = observe(python(&script, network)).await;
    assert_eq!(out, "('192.0.2.22', 8443)\nreset\n");
    assert!(outcome.duration >= Duration::from_millis(300) && outcome.duration < AT_ONCE, "{outcome:?}");
    assert_eq!(only(&log, Transport::Tcp).decision, Decision::Refused);
}

#[tokio::test]
async fn a_relay_leads_to_a_server_outside_and_a_door_beside_it() {
    if !can_watch("a_relay_leads_to_a_server_outside_and_a_door_beside_it", "curl") {
        return;
    }
    let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Target::Tcp(site.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = site.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let path = String::from_utf8_lossy(&request[..length]).split(' ').nth(1).unwrap().to_owned();
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                stream.write_all(format!("{head}got {path}\n").as_bytes()).await.unwrap();
            });
        }
    });
    let relay = to.clone();
    let watcher = By(move |attempt: &Attempt| match attempt.name.as_deref() {
        Some("site.internal") => Verdict::Relay(relay.clone()),
        _ => Verdict::Refuse,
    });
    let door = SiteDoor { listen: "127.0.0.1:8080".parse().unwrap(), to };
    let script =
        "curl -sS http://site.internal/a; curl -sS http://127.0.0.1:8080/b; curl -sS http://other.example/c";
    let network = watched(watcher, vec![door]);
    let spec = SandboxSpec { network, ..SandboxSpec::new(["sh", "-c", script]) };
    let (outcome, out, _, log) = observe(spec).await;
    assert_eq!(out, "got /a\ngot /b\n");
    assert_eq!((outcome.connections, outcome.refused), (2, 0));
    let tcp = log.lines.iter().filter(|line| line.attempt.transport == Transport::Tcp);
    let tcp: Vec<_> = tcp.map(|line| (line.attempt.host(), line.decision)).collect();
    let want = [("site.internal", Decision::Relayed), ("other.example", Decision::Refused)];
    assert_eq!(tcp, want.map(|(host, decision)| (host.to_owned(), decision)), "the door is not watched");
}

#[tokio::test]
async fn a_relay_to_nobody_is_reset_and_said() {
    if !can_watch("a_relay_to_nobody_is_reset_and_said", "curl") {
        return;
    }
    let nobody = Target::Unix("/nowhere/site.sock".into());
    let watcher = By(move |_: &Attempt| Verdict::Relay(nobody.clone()));
    let network = watched(watcher, Vec::new());
    let spec = SandboxSpec { network, ..SandboxSpec::new(["curl", "-sS", "http://site.internal/"]) };
    let (outcome, _, err, log) = observe(spec).await;
    assert!(err.contains("reset"), "{err}");
    assert_eq!((outcome.connections, outcome.refused), (1, 1));
    assert_eq!(only(&log, Transport::Tcp).decision, Decision::Unreachable);
}

const TAKEN: &str = r#"
import socket
s = socket.create_connection(("taken.example", 7777))
s.sendall(b"first\n"); s.sendall(b"second\n\n")
print(s.makefile().read())
"#;

#[tokio::test]
async fn a_taken_connection_has_all_its_bytes_unread() {
    if !can_watch("a_taken_connection_has_all_its_bytes_unread", "python3") {
        return;
    }
    let network = watched(By(|_: &Attempt| Verdict::Take), Vec::new());
    let (_, out, err, log) = observe(python(TAKEN, network)).await;
    assert_eq!((out.as_str(), err.as_str()), ("taken.example 7777 first\nsecond\n\n\n", ""));
    assert_eq!(only(&log, Transport::Tcp).decision, Decision::Taken);
}

/// Two packages' scripts, one after the other, dial the same place.
const PACKAGES: &str = r#"
import os, subprocess, sys
dial = """
import socket
s = socket.create_connection(("taken.example", 7777)); s.sendall(b"x\\n\\n"); print(s.makefile().read().split()[-1])
"""
for name, version in [("esbuild", "0.21.5"), ("@scope/sharp", "1.0.0"), ("", "")]:
    env = {"TOKEN": "secret", "npm_package_name": name, "npm_package_version": version}
    subprocess.run([sys.executable, "-c", dial], env=env, check=True)
"#;

/// Greets by the package that it was told.
struct ByPackage;

impl Watcher for ByPackage {
    fn decide(&self, _: &Attempt) -> Verdict {
        Verdict::Take
    }

    fn take(&self, attempt: Attempt, mut stream: TcpStream) -> TakeFuture {
        Box::pin(async move {
            let _ = stream.read(&mut [0; 8]).await;
            let who = attempt.process.and_then(|process| process.package);
            let _ = stream.write_all(who.unwrap_or("nobody".into()).as_bytes()).await;
        })
    }
}

#[tokio::test]
async fn who_takes_a_connection_knows_for_which_package_it_was_dialled() {
    if !can_watch("who_takes_a_connection_knows_for_which_package_it_was_dialled", "python3") {
        return;
    }
    let (_, out, err, log) = observe(python(PACKAGES, watched(ByPackage, Vec::new()))).await;
    assert_eq!(out, "esbuild@0.21.5\n@scope/sharp@1.0.0\nnobody\n", "{err}");
    let tcp = log.lines.iter().filter(|line| line.attempt.transport == Transport::Tcp);
    let packages: Vec<_> = tcp.map(|line| line.attempt.process.as_ref().unwrap().package.clone()).collect();
    assert_eq!(packages, [Some("esbuild@0.21.5".to_owned()), Some("@scope/sharp@1.0.0".to_owned()), None]);
    assert!(!serde_json::to_string(&log).unwrap().contains("secret"));
}

/// Decides without the first bytes, and remembers what it was told.
#[derive(Clone, Default)]
struct Early(Arc<Mutex<Vec<Noted>>>);

impl Watcher for Early {
    fn decide_early(&self, attempt: &Attempt) -> Option<Verdict> {
        assert!(attempt.process.is_none() && attempt.http_host.is_none(), "not looked at yet");
        Some(Verdict::Refuse)
    }

    fn decide(&self, _: &Attempt) -> Verdict {
        unreachable!("the early verdict stands")
    }

    fn noted(&self, noted: &Noted) {
        self.0.lock().unwrap().push(noted.clone());
    }
}

#[tokio::test]
async fn the_watcher_hears_of_a_line_once_and_the_log_is_there_while_it_runs() {
    if !can_watch("the_watcher_hears_of_a_line_once_and_the_log_is_there_while_it_runs", "python3") {
        return;
    }
    let script = "import socket\nfor _ in range(5):\n try: socket.create_connection(('192.0.2.1', 99)).recv(1)\n \
                  except ConnectionResetError: pass\nprint('done', flush=True)\ninput()";
    let early = Early::default();
    let mut spec = python(script, watched(early.clone(), Vec::new()));
    (spec.stdin, spec.stdout) = (Stdio::Piped, Stdio::Piped);
    let mut running = Sandbox::spawn(spec).await.unwrap();
    let mut done = [0; 5];
    running.stdout.as_mut().unwrap().read_exact(&mut done).await.unwrap();
    let log = running.network_log().unwrap();
    drop(running.stdin.take());
    running.wait().await.unwrap();
    assert_eq!(only(&log, Transport::Tcp).count, 5);
    let heard = early.0.lock().unwrap();
    assert_eq!((heard.len(), heard[0].count, heard[0].attempt.port), (1, 1, 99));
}

#[tokio::test]
async fn other_networks_stay_as_they_are() {
    if !possible("other_networks_stay_as_they_are") {
        return;
    }
    let door = SiteDoor { listen: "127.0.0.1:8080".parse().unwrap(), to: Target::Unix("/nowhere".into()) };
    for network in [Network::None, Network::Site(vec![door])] {
        let mut running =
            Sandbox::spawn(SandboxSpec { network: network.clone(), ..SandboxSpec::new(["true"]) })
                .await
                .unwrap();
        running.wait().await.unwrap();
        assert_eq!(running.network_log(), None);
        let look = SandboxSpec { network, ..SandboxSpec::new(["cat", "/etc/resolv.conf"]) };
        assert_eq!(run(look).await.1, "");
    }
}
