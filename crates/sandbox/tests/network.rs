//! What a command inside can reach: its own loopback and the doors, nothing else.

mod common;

use std::net::SocketAddr;

use cofferdam_sandbox::{Exit, Network, Sandbox, SandboxSpec, SiteDoor, Target};
use common::{possible, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

const DOOR: &str = "127.0.0.1:8080";

fn door(to: Target) -> Network {
    Network::Site(vec![SiteDoor { listen: DOOR.parse().unwrap(), to }])
}

/// Python is the one client that can say how long a refused connection took.
fn can_run(story: &str) -> bool {
    let there = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !there {
        println!("skipped: {story}: no python3");
    }
    there && possible(story)
}

fn python(script: &str) -> SandboxSpec {
    SandboxSpec::new(["python3", "-c", script])
}

fn python_with(script: &str, to: Target) -> SandboxSpec {
    SandboxSpec { network: door(to), ..python(script) }
}

#[tokio::test]
async fn a_listener_of_the_host_is_out_of_reach() {
    if !can_run("a_listener_of_the_host_is_out_of_reach") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 5)");
    let (_, _, err) = run(python(&script)).await;
    assert!(err.contains("Connection refused"), "{err}");
}

const OTHERS: &str = r#"
import errno, socket, time
# Without waiting: an address that cannot be reached is refused by the first call, not after it.
for family, host in [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]:
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.setblocking(False)
        answer = s.connect_ex((host, 443))
        if answer in (0, errno.EINPROGRESS): print(host, "is not refused at once:", answer)
begin = time.monotonic()
try:
    socket.create_connection(("upstream.example", 443), 10)
    print("connected by name")
except OSError:
    # A resolver that asks somebody waits five seconds for the answer.
    if time.monotonic() - begin > 4: print("the name was looked up")
try:
    socket.socket(40, socket.SOCK_STREAM)
    print("vsock")
except OSError:
    pass
print([line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]])
print(open("/proc/net/route").readlines()[1:])
"#;

#[tokio::test]
async fn other_addresses_and_names_fail_at_once() {
    if !can_run("other_addresses_and_names_fail_at_once") {
        return;
    }
    let (outcome, out, err) = run(python(OTHERS)).await;
    assert_eq!((outcome.status, out.as_str(), err.as_str()), (Exit::Code(0), "['lo']\n[]\n", ""));
}

/// Reads one request up to its blank line and answers it.
async fn answer_once(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap() == 1 {
        request.push(byte[0]);
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    stream.write_all(answer).await.unwrap();
    String::from_utf8(request).unwrap()
}

const GET: &str =
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/simple/').read().decode())";

#[tokio::test]
async fn a_door_leads_to_a_tcp_site() {
    if !can_run("a_door_leads_to_a_tcp_site") {
        return;
    }
    let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec = python_with(GET, Target::Tcp(site.local_addr().unwrap()));
    let served = tokio::spawn(async move { answer_once(site.accept().await.unwrap().0).await });
    let (outcome, out, err) = run(spec).await;
    assert_eq!((outcome.status, out.as_str(), err.as_str()), (Exit::Code(0), "hello\n", ""));
    let request = served.await.unwrap();
    assert!(request.starts_with("GET /simple/ HTTP/1.1\r\n"), "{request}");
    assert_eq!((outcome.connections, outcome.refused), (1, 0));
    assert_eq!(outcome.bytes_sent, request.len() as u64);
    assert!(outcome.bytes_received > 5);
}

#[tokio::test]
async fn a_door_leads_to_a_unix_socket() {
    if !can_run("a_door_leads_to_a_unix_socket") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    let site = UnixListener::bind(&path).unwrap();
    let spec = python_with(GET, Target::Unix(path));
    let served = tokio::spawn(async move { answer_once(site.accept().await.unwrap().0).await });
    let (outcome, out, _) = run(spec).await;
    assert_eq!((outcome.status, out.as_str()), (Exit::Code(0), "hello\n"));
    assert!(served.await.unwrap().starts_with("GET /simple/"));
}

const ECHO: &str = r#"
import hashlib, socket, threading
block = bytes(range(256)) * 4096
s = socket.create_connection(("127.0.0.1", 8080))
def send():
    for _ in range(64): s.sendall(block)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got, total = hashlib.sha256(), 0
while data := s.recv(1 << 16): got.update(data); total += len(data)
want = hashlib.sha256()
for _ in range(64): want.update(block)
print(total, got.digest() == want.digest())
"#;

#[tokio::test]
async fn sixty_four_mebibytes_go_through_and_back_unchanged() {
    if !can_run("sixty_four_mebibytes_go_through_and_back_unchanged") {
        return;
    }
    let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec = python_with(ECHO, Target::Tcp(site.local_addr().unwrap()));
    let echo = tokio::spawn(async move {
        let (mut read, mut write) = site.accept().await.unwrap().0.into_split();
        tokio::io::copy(&mut read, &mut write).await.unwrap()
    });
    let (outcome, out, err) = run(spec).await;
    let size = 64 << 20;
    assert_eq!((out.trim(), err.as_str()), ("67108864 True", ""));
    assert_eq!(echo.await.unwrap(), size);
    assert_eq!((outcome.bytes_sent, outcome.bytes_received), (size, size));
}

#[tokio::test]
async fn what_was_sent_before_the_end_still_arrives() {
    if !can_run("what_was_sent_before_the_end_still_arrives") {
        return;
    }
    let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let script = "import socket; socket.create_connection(('127.0.0.1', 8080)).sendall(b'x' * 1000000)";
    let spec = python_with(script, Target::Tcp(site.local_addr().unwrap()));
    let sink = tokio::spawn(async move {
        let mut all = Vec::new();
        site.accept().await.unwrap().0.read_to_end(&mut all).await.unwrap()
    });
    assert_eq!(run(spec).await.0.status, Exit::Code(0));
    assert_eq!(sink.await.unwrap(), 1_000_000);
}

#[tokio::test]
async fn a_door_to_nobody_resets_and_is_counted() {
    if !can_run("a_door_to_nobody_resets_and_is_counted") {
        return;
    }
    let closed: SocketAddr = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let script = "import socket; socket.create_connection(('127.0.0.1', 8080)).recv(1)";
    let (outcome, _, err) = run(python_with(script, Target::Tcp(closed))).await;
    assert!(err.contains("reset"), "{err}");
    assert_eq!((outcome.connections, outcome.refused), (1, 1));
}

#[tokio::test]
async fn two_sandboxes_may_use_the_same_door_address() {
    if !can_run("two_sandboxes_may_use_the_same_door_address") {
        return;
    }
    let site = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Target::Tcp(site.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = site.accept().await {
            tokio::spawn(answer_once(stream));
        }
    });
    let ((_, a, _), (_, b, _)) = tokio::join!(run(python_with(GET, to.clone())), run(python_with(GET, to)));
    assert_eq!((a.as_str(), b.as_str()), ("hello\n", "hello\n"));
}

#[tokio::test]
async fn a_door_must_be_on_loopback() {
    let to = Target::Tcp(DOOR.parse().unwrap());
    let network = Network::Site(vec![SiteDoor { listen: "0.0.0.0:80".parse().unwrap(), to }]);
    let spec = SandboxSpec { network, ..SandboxSpec::new(["true"]) };
    assert_eq!(Sandbox::spawn(spec).await.expect_err("refused").code(), "sandbox-doors");
}
