//! Stories about whole processes, each told by a copy of this binary that starts with one thread:
//! a parent that is killed, and a site that lives in a network of its own.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio as Pipes};

use cofferdam_sandbox::{
    Exit, Network, ProcessId, Sandbox, SiteDoor, Stdio, Target, has_route, isolate_self_from_network,
    net_counters,
};
use common::{possible, run, shell};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("hold") => hold(),
        Some("isolated") => isolated(),
        _ if !possible("processes") => {}
        _ => {
            nothing_survives_a_killed_parent();
            an_isolated_site_runs_sandboxes();
            println!("ok: 2 stories about processes");
        }
    }
}

fn copy(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(role).stdout(Pipes::piped());
    command
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Holds a sandbox whose processes keep this process's standard output open.
fn hold() {
    block_on(async {
        let mut spec = shell("setsid sleep 1000 & echo up; exec sleep 1000");
        spec.stdout = Stdio::Inherit;
        let mut running = Sandbox::spawn(spec).await.unwrap();
        running.wait().await.unwrap();
    });
}

fn nothing_survives_a_killed_parent() {
    let mut parent = copy("hold").spawn().unwrap();
    let mut out = BufReader::new(parent.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    // Ends when the last process inside is gone; a survivor would make this hang.
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
    let after = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(mounts, after, "no mount is visible outside");
    assert!(!mounts.contains("/.host"));
}

/// A site: opens its listener, enters its own network, then runs a sandbox with a door to itself.
fn isolated() {
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", outside.local_addr().unwrap());
    let before = has_route(ProcessId::Own).unwrap();
    isolate_self_from_network().unwrap();
    assert!(!has_route(ProcessId::Own).unwrap(), "a route is left; before: {before}");
    let names: Vec<_> = net_counters(ProcessId::Own).unwrap().into_iter().map(|c| c.name).collect();
    assert_eq!(names, ["lo"]);
    assert!(TcpStream::connect("192.0.2.1:443").is_err());
    block_on(async {
        outside.set_nonblocking(true).unwrap();
        let outside = tokio::net::TcpListener::from_std(outside).unwrap();
        let site = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let work = tempfile::tempdir().unwrap();
        let mut spec = shell("exec 3<>/dev/tcp/127.0.0.1/80; cat <&3 >/build/got; id -u");
        spec.command[0] = "bash".into();
        spec.mounts = vec![cofferdam_sandbox::Mount {
            source: work.path().into(),
            target: "/build".into(),
            writable: true,
        }];
        let listen = "127.0.0.1:80".parse().unwrap();
        spec.network = Network::Site(vec![SiteDoor { listen, to: Target::Tcp(site.local_addr().unwrap()) }]);
        let serve = async {
            let mut stream = site.accept().await.unwrap().0;
            stream.write_all(b"from the isolated site").await.unwrap();
        };
        let ((outcome, out, err), ()) = tokio::join!(run(spec), serve);
        assert_eq!((outcome.status, out.trim(), err.as_str()), (Exit::Code(0), "1000", ""));
        assert_eq!(std::fs::read_to_string(work.path().join("got")).unwrap(), "from the isolated site");
        // And a person outside still reaches it through the listener opened before.
        let mut person = outside.accept().await.unwrap().0;
        person.write_all(b"hello outside").await.unwrap();
        person.shutdown().await.unwrap();
        let _ = person.read(&mut [0]).await;
    });
}

fn an_isolated_site_runs_sandboxes() {
    let mut site = copy("isolated").spawn().unwrap();
    let mut address = String::new();
    BufReader::new(site.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let mut got = String::new();
    TcpStream::connect(address.trim()).unwrap().read_to_string(&mut got).unwrap();
    assert_eq!(got, "hello outside");
    assert!(site.wait().unwrap().success());
}
