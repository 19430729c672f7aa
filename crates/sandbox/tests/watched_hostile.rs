//! A hostile command in a watched network harms nothing but itself.

#[path = "common/mod.rs"]
#[allow(dead_code, reason = "each file of stories uses its part")]
mod common;
#[path = "common/watched.rs"]
#[allow(dead_code, reason = "each file of stories uses its part")]
mod watching;

use std::time::Duration;

use cofferdam_sandbox::{
    Attempt, Decision, Exit, Limits, Network, NetworkLog, RefuseAll, Sandbox, SandboxSpec, Stdio, Transport,
    Verdict,
};
use tokio::io::AsyncReadExt;
use watching::{By, can_watch, observe, only, watched};

fn python(script: &str, network: Network) -> SandboxSpec {
    let mut spec = SandboxSpec { network, ..SandboxSpec::new(["python3", "-c", script]) };
    spec.limits = Limits { wall: Some(Duration::from_secs(120)), ..Limits::default() };
    spec
}

fn alone() -> Network {
    watched(RefuseAll, Vec::new())
}

fn counted(log: &NetworkLog, transport: Transport) -> u64 {
    log.lines.iter().filter(|line| line.attempt.transport == transport).map(|line| line.count).sum()
}

const OWN_ADDRESS: &str = r#"
import socket
for family, host in [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]:
    for port in range(1, 1024):
        s = socket.socket(family); s.settimeout(5)
        try:
            s.connect((host, port)); print("found"); s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"); print(s.recv(1))
        except ConnectionResetError: print("reset")
        except (ConnectionRefusedError, BrokenPipeError): pass
"#;

#[tokio::test]
async fn the_recorders_own_port_only_resets() {
    if !can_watch("the_recorders_own_port_only_resets", "python3") {
        return;
    }
    let network = watched(By(|_: &Attempt| Verdict::Take), Vec::new());
    let (_, out, err, log) = observe(python(OWN_ADDRESS, network)).await;
    assert!(!out.contains('b'), "nothing was answered: {out} {err}");
    assert_eq!(log.lines.len(), 2, "{log:#?}");
    assert!(log.lines.iter().all(|l| l.decision == Decision::Refused && l.attempt.address.is_loopback()));
}

const OWN_SERVER: &str = r#"
import socket
server = socket.create_server(("203.0.113.9", 8080))
client = socket.create_connection(("203.0.113.9", 8080), 5)
server.settimeout(0.3)
try: server.accept(); print("accepted")
except TimeoutError: print("nobody came")
try: socket.create_server(("127.0.0.1", 53)); print("bound")
except PermissionError: print("no port below 1024")
"#;

#[tokio::test]
async fn nobody_inside_can_play_the_address_that_is_dialled() {
    if !can_watch("nobody_inside_can_play_the_address_that_is_dialled", "python3") {
        return;
    }
    let (_, out, err, log) = observe(python(OWN_SERVER, alone())).await;
    assert_eq!(out, "nobody came\nno port below 1024\n", "{err}");
    assert_eq!(only(&log, Transport::Tcp).attempt.host(), "203.0.113.9");
}

const SPOOFED: &str = r#"
import socket, ssl
def plain(host):
    s = socket.create_connection(("evil.example", 80), 5)
    try: s.sendall(b"GET http://proxied.example/ HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"); s.recv(1)
    except OSError: pass
plain(b"site.internal"); plain(b"a\x1b[2Jb"); plain(b"x" * 60000)
try: ssl._create_unverified_context().wrap_socket(socket.create_connection(("evil.example", 443), 5), server_hostname="site.internal")
except OSError: pass
"#;

#[tokio::test]
async fn a_claimed_name_is_not_the_name_that_was_dialled() {
    if !can_watch("a_claimed_name_is_not_the_name_that_was_dialled", "python3") {
        return;
    }
    let (_, _, err, log) = observe(python(SPOOFED, alone())).await;
    let tcp: Vec<_> = log.lines.iter().filter(|l| l.attempt.transport == Transport::Tcp).collect();
    assert!(tcp.len() >= 3, "{log:#?} {err}");
    assert!(tcp.iter().all(|line| line.attempt.name.as_deref() == Some("evil.example")));
    let claims =
        |line: &&&cofferdam_sandbox::Noted| line.attempt.tls_server_name.as_deref() == Some("site.internal");
    assert_eq!(tcp.iter().filter(claims).count(), 1);
    assert!(tcp.iter().any(|line| line.attempt.http_host.as_deref() == Some("site.internal")));
    assert!(tcp.iter().any(|line| line.attempt.http_target.as_deref() == Some("proxied.example")));
    let hosts = tcp.iter().filter_map(|line| line.attempt.http_host.as_deref());
    assert!(hosts.into_iter().all(|host| host == "site.internal"), "odd names are not repeated");
}

const FLOOD: &str = r#"
import os, socket
children = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        for number in range(400):
            try: s = socket.create_connection((f"203.0.113.{number % 4}", 443), 20); s.sendall(b"x" * 100); s.recv(1)
            except (ConnectionResetError, BrokenPipeError): pass
        os._exit(0)
    children.append(pid)
print(sum(os.waitpid(pid, 0)[1] for pid in children))
"#;

#[tokio::test]
async fn a_flood_of_connections_is_a_few_lines() {
    if !can_watch("a_flood_of_connections_is_a_few_lines", "python3") {
        return;
    }
    let (outcome, out, err, log) = observe(python(FLOOD, alone())).await;
    assert_eq!((outcome.status, out.as_str()), (Exit::Code(0), "0\n"), "{err}");
    assert_eq!(counted(&log, Transport::Tcp), 3200);
    assert!(log.lines.len() <= 8, "{} lines", log.lines.len());
}

const HASTY: &str = r#"
import socket, struct
for number in range(200):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.connect(("203.0.113.8", 4000)); s.close()
"#;

#[tokio::test]
async fn who_connects_and_resets_at_once_is_still_seen() {
    if !can_watch("who_connects_and_resets_at_once_is_still_seen", "python3") {
        return;
    }
    let (_, _, err, log) = observe(python(HASTY, alone())).await;
    assert_eq!(counted(&log, Transport::Tcp), 200, "{log:#?} {err}");
    assert!(log.lines.iter().all(|line| line.attempt.host() == "203.0.113.8" && line.attempt.port == 4000));
    let decided = [Decision::Refused, Decision::HungUp];
    assert!(log.lines.iter().all(|line| decided.contains(&line.decision)), "{log:#?}");
}

const SILENT_CROWD: &str = r#"
import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
crowd = []
for number in range(900):
    s = socket.socket(); s.setblocking(False)
    s.connect_ex((f"198.51.100.{number % 200}", 25)); crowd.append(s)
begin = time.monotonic()
s = socket.create_connection(("203.0.113.5", 80), 20)
try: s.sendall(b"GET / HTTP/1.1\r\nHost: honest.example\r\n\r\n"); s.recv(1)
except OSError: print("refused", time.monotonic() - begin < 10)
"#;

#[tokio::test]
async fn a_silent_crowd_does_not_keep_others_waiting() {
    if !can_watch("a_silent_crowd_does_not_keep_others_waiting", "python3") {
        return;
    }
    let (_, out, err, log) = observe(python(SILENT_CROWD, alone())).await;
    assert_eq!(out, "refused True\n", "{err}");
    assert!(log.lines.iter().any(|line| line.attempt.host() == "203.0.113.5"), "{log:#?}");
}

const TOO_MANY_OPEN: &str = r#"
import socket
crowd = [socket.create_connection(("203.0.113.7", 9000), 20) for _ in range(300)]
reset = 0
for s in crowd: s.settimeout(1.5 if reset == 0 else 0.2)
for s in reversed(crowd):
    try: s.recv(1); break
    except ConnectionResetError: reset += 1
    except TimeoutError: break
print(reset)
"#;

#[tokio::test]
async fn too_many_open_connections_are_reset_and_said() {
    if !can_watch("too_many_open_connections_are_reset_and_said", "python3") {
        return;
    }
    let network = watched(By(|_: &Attempt| Verdict::Take), Vec::new());
    let (_, _, err, log) = observe(python(TOO_MANY_OPEN, network)).await;
    let count = |decision| {
        let lines = log.lines.iter().filter(|line| line.decision == decision);
        lines.map(|line| line.count).sum::<u64>()
    };
    assert_eq!((count(Decision::Taken), count(Decision::Overload)), (256, 44), "{err}");
}

const RANDOM_NAMES: &str = r#"
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", 53)); s.settimeout(10)
failed = 0
for number in range(17000):
    label = b"n%d" % number
    s.send(struct.pack(">HHHHHH", number, 256, 1, 0, 0, 0) + bytes([len(label)]) + label + b"\x07example\0\0\1\0\1")
    failed += s.recv(512)[3] & 15 == 2
print(failed)
"#;

#[tokio::test]
async fn endless_names_end_with_failures_and_a_bounded_log() {
    if !can_watch("endless_names_end_with_failures_and_a_bounded_log", "python3") {
        return;
    }
    let (_, out, err, log) = observe(python(RANDOM_NAMES, alone())).await;
    assert_eq!(out, format!("{}\n", 17_000 - 16_384), "{err}");
    assert_eq!((log.lines.len(), log.more), (10_000, 7_000));
}

const DATAGRAM_FLOOD: &str = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(20000):
    try: s.sendto(b"x", ("203.0.113.9", 1000 + number % 3))
    except ConnectionRefusedError: pass
"#;

#[tokio::test]
async fn a_flood_of_datagrams_is_counted_or_missed_but_said() {
    if !can_watch("a_flood_of_datagrams_is_counted_or_missed_but_said", "python3") {
        return;
    }
    let (_, _, err, log) = observe(python(DATAGRAM_FLOOD, alone())).await;
    assert!(err.is_empty(), "{err}");
    let seen = counted(&log, Transport::Udp);
    assert!(seen > 0 && seen + log.missed_packets + 2048 >= 20_000, "{seen} {}", log.missed_packets);
    assert!(log.lines.len() <= 6, "{}", log.lines.len());
}

const SNOOPING: &str = r#"
import socket
for family, kind, protocol in [(17, socket.SOCK_RAW, 3), (socket.AF_INET, socket.SOCK_RAW, 6), (socket.AF_INET, socket.SOCK_DGRAM, 1)]:
    try: socket.socket(family, kind, protocol); print("opened", family)
    except OSError: print("no")
s = socket.socket()
try: s.setsockopt(socket.SOL_IP, 19, 1); print("transparent")
except OSError: print("no")
n = socket.socket(16, socket.SOCK_RAW, 12)
import struct
n.send(struct.pack("=IHHII", 20, 10 << 8 | 2, 5, 1, 0) + bytes(4)); print(struct.unpack("=i", n.recv(100)[16:20])[0])
"#;

#[tokio::test]
async fn the_command_cannot_change_or_overhear_its_network() {
    if !can_watch("the_command_cannot_change_or_overhear_its_network", "python3") {
        return;
    }
    let (_, out, err, _) = observe(python(SNOOPING, alone())).await;
    assert_eq!(out, "no\nno\nno\nno\n-1\n", "{err}");
}

/// Bytes of memory that this process holds.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// What the other stories of this file hold meanwhile, and a full log of 10,000 lines.
const ALLOWED: u64 = 96 << 20;

const CONNECTIONS: &str = r#"
import os, socket, sys
total, children = int(sys.argv[1]), []
for child in range(8):
    pid = os.fork()
    if pid == 0:
        for number in range(child, total, 8):
            place = number % 12000
            try: s = socket.create_connection((f"203.0.{place // 250}.{place % 250 + 1}", 4000 + number % 7), 60); s.sendall(b"x"); s.recv(1)
            except (ConnectionResetError, BrokenPipeError): pass
        os._exit(0)
    children.append(pid)
print(sum(os.waitpid(pid, 0)[1] for pid in children))
"#;

#[tokio::test]
async fn twenty_thousand_connections_are_all_counted_and_cost_the_watcher_little() {
    if !can_watch("twenty_thousand_connections_are_all_counted_and_cost_the_watcher_little", "python3") {
        return;
    }
    // A million takes some minutes: COFFERDAM_TEST_CONNECTIONS=1000000
    let wanted = std::env::var("COFFERDAM_TEST_CONNECTIONS").ok().and_then(|text| text.parse().ok());
    let wanted: u64 = wanted.unwrap_or(20_000);
    let before = memory();
    let mut spec = python(CONNECTIONS, alone());
    spec.command.push(wanted.to_string().into());
    spec.limits.wall = Some(Duration::from_secs(3600));
    let (outcome, out, err, log) = observe(spec).await;
    assert_eq!((outcome.status, out.as_str()), (Exit::Code(0), "0\n"), "{err}");
    assert_eq!(counted(&log, Transport::Tcp) + log.more, wanted);
    assert!(log.lines.len() == 10_000 && log.more > 0, "{} lines, {} more", log.lines.len(), log.more);
    let grown = memory().saturating_sub(before);
    println!("{wanted} connections: {:?}, {} MiB more", outcome.duration, grown >> 20);
    assert!(grown < ALLOWED, "{grown} bytes");
}

const QUESTION_FLOOD: &str = r#"
import os, socket, struct
for _ in range(3): os.fork()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("192.0.2.53", 53))
number = 0
print("up", flush=True)
while True:
    number += 1
    label = b"n%d-%d" % (os.getpid(), number)
    try: s.send(struct.pack(">HHHHHH", number & 65535, 256, 1, 0, 0, 0) + bytes([len(label)]) + label + b"\x07example\0\0\1\0\1")
    except OSError: pass
"#;

#[tokio::test]
async fn endless_questions_end_with_the_command_and_keep_nobody_waiting() {
    if !can_watch("endless_questions_end_with_the_command_and_keep_nobody_waiting", "python3") {
        return;
    }
    let before = memory();
    let mut spec = python(QUESTION_FLOOD, alone());
    spec.stdout = Stdio::Piped;
    let mut flood = Sandbox::spawn(spec).await.unwrap();
    flood.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).await.unwrap();
    for _ in 0..5 {
        // Each asks and dials while the other floods, and so do the stories of this file.
        let (outcome, _, err, log) = observe(python(&FLOOD.replace("400", "4"), alone())).await;
        assert_eq!(outcome.status, Exit::Code(0), "{err}");
        assert_eq!(counted(&log, Transport::Tcp), 32);
    }
    flood.kill();
    assert_eq!(flood.wait().await.unwrap().status, Exit::Killed);
    let log = flood.network_log().unwrap();
    let known = counted(&log, Transport::Dns) + log.more + log.missed_packets;
    assert!(log.lines.len() <= 10_000 && known > 1000, "{} lines, {known} known", log.lines.len());
    assert!(memory().saturating_sub(before) < ALLOWED, "{} bytes", memory() - before);
}

const CHANGING: &str = r#"
import socket, struct
def ask(family, kind, flags, body):
    s = socket.socket(16, socket.SOCK_RAW, family); s.settimeout(5)
    s.send(struct.pack("=IHHII", 16 + len(body), kind, 1 | 4 | flags, 1, 0) + body)
    return struct.unpack("=i", s.recv(4096)[16:20])[0]
route = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 255, 4, 254, 2, 0)
link = struct.pack("=BxHiII", 0, 0, 1, 0, 1)
address = struct.pack("=BBBBI", 2, 8, 0, 0, 1) + struct.pack("=HH4s", 8, 2, bytes([10, 0, 0, 1]))
print(ask(0, 24, 0x400, route), ask(0, 25, 0, route), ask(0, 19, 0, link), ask(0, 20, 0x400, address))
# Ending the recorder's sockets: sock_diag, SOCK_DESTROY.
diag = struct.pack("=BBBBI", 2, 6, 0, 0, 0xffffffff) + struct.pack(">HH", 1, 0) + bytes(44)
print(ask(4, 21, 0, diag) in (-1, -2, -95))
s = socket.create_connection(("203.0.113.9", 80), 5)
try: s.sendall(b"GET / HTTP/1.1\r\n\r\n"); s.recv(1); print("answered")
except ConnectionResetError: print("still watched")
"#;

#[tokio::test]
async fn routes_devices_and_the_recorders_sockets_cannot_be_changed_by_netlink() {
    if !can_watch("routes_devices_and_the_recorders_sockets_cannot_be_changed_by_netlink", "python3") {
        return;
    }
    let (_, out, err, log) = observe(python(CHANGING, alone())).await;
    assert_eq!(out, "-1 -1 -1 -1\nTrue\nstill watched\n", "{err}");
    assert_eq!(only(&log, Transport::Tcp).decision, Decision::Refused);
}
