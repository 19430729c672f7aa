//! A hostile command reads, changes and keeps nothing of what is outside its sandbox, and the machine stays usable.

mod common;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, Stdio as Pipes};
use std::time::Duration;

use cofferdam_sandbox::{Exit, Mount, Network, Sandbox, SandboxSpec, SiteDoor, Stdio, Target};
use common::{possible, run, shell};
use tokio::io::AsyncReadExt;

fn can_run(story: &str, client: &str) -> bool {
    let there = Command::new(client).arg("--version").output().is_ok();
    if !there {
        println!("skipped: {story}: no {client}");
    }
    there && possible(story)
}

fn python(script: &str) -> SandboxSpec {
    SandboxSpec::new(["python3", "-c", script])
}

/// Whether processes inside can be bounded: the kernel does not count root's, and bounds namespaces since 6.14.
fn processes_are_bounded() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let root = own.lines().any(|line| line.starts_with("Uid:\t0\t"));
    !root || (numbers.next(), numbers.next()) >= (Some(6), Some(14))
}

/// The processes of a sandbox, as seen from outside.
fn processes_of(init: u32) -> usize {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(theirs) = namespace(&init.to_string()) else { return 0 };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| pid.parse::<u32>().is_ok() && namespace(pid).as_ref() == Some(&theirs)).count()
}

#[tokio::test]
async fn a_fork_bomb_leaves_the_machine_usable_and_nothing_behind() {
    let story = "a_fork_bomb_leaves_the_machine_usable_and_nothing_behind";
    if !can_run(story, "bash") {
        return;
    }
    if !processes_are_bounded() {
        println!(
            "skipped: {story}: root on a kernel before 6.14, which bounds neither root nor the namespace"
        );
        return;
    }
    let mut spec = SandboxSpec::new([
        "bash",
        "-c",
        "bomb() { bomb | bomb & }; exec 2>/dev/null; bomb; while :; do bomb; done",
    ]);
    spec.limits.max_processes = Some(310);
    spec.limits.wall = Some(Duration::from_secs(60));
    let mut bomb = Sandbox::spawn(spec).await.unwrap();
    let mut most = 0;
    for _ in 0..200 {
        most = most.max(processes_of(bomb.pid()));
        let (outcome, out, _) = run(shell("echo usable")).await;
        assert_eq!((outcome.status, out.as_str()), (Exit::Code(0), "usable\n"));
        if most >= 250 {
            break;
        }
    }
    assert!(Command::new("true").status().unwrap().success(), "the caller can start programs too");
    // How high it climbs is the scheduler's business: its processes end when they cannot fork. Only the bound is ours.
    assert!((2..=312).contains(&most), "{most} processes");
    bomb.kill();
    assert_eq!(bomb.wait().await.unwrap().status, Exit::Killed);
    assert_eq!(processes_of(bomb.pid()), 0);
}

/// Everything by which one might get at the recorder, whose init is process 1 inside.
const REACHING: &str = r#"
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    result = libc.syscall(*arguments)
    if result >= 0: print("could", name)
    return result
for file in ["environ", "mem", "maps", "stack", "cwd", "root", "exe", "ns/net"]:
    path = f"/proc/1/{file}"
    try: print("read", file, os.readlink(path) if os.path.islink(path) else open(path, "rb").read(64))
    except OSError: pass
# Root's sandboxes may list the numbers; nobody may follow one.
for number in range(64):
    for path in [f"/proc/1/fd/{number}", f"/proc/1/fdinfo/{number}", f"/proc/1/task/1/fd/{number}"]:
        try: os.stat(path); print("saw", path)
        except OSError: pass
        try: os.readlink(path); print("saw", path)
        except OSError: pass
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
call("attach", 101, PTRACE_ATTACH, 1, 0, 0)
call("seize", 101, PTRACE_SEIZE, 1, 0, 0)
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
call("process_vm_readv", 310, 1, vector, 1, vector, 1, 0)
handle = call("kcmp", 312, 1, os.getpid(), 0, 0, 0)
handle = libc.syscall(434, 1, 0)
for number in range(16): call("pidfd_getfd", 438, handle, number, 0)
for parent in [os.getppid(), 1]:
    try: os.kill(parent, 9)
    except OSError: print("odd")
def abstract(name):
    s = socket.socket(socket.AF_UNIX)
    try: s.connect(b"\0" + name.encode()); print("reached", name)
    except OSError: pass
abstract(sys.argv[1])
for path in sys.argv[2:]:
    try: socket.socket(socket.AF_UNIX).connect(path); print("reached", path)
    except OSError: pass
print(sorted(int(n) for n in os.listdir("/proc/self/fd"))[:4], len(open("/proc/net/unix").readlines()))
"#;

#[tokio::test]
async fn neither_the_init_nor_sockets_of_the_host_can_be_reached() {
    if !can_run("neither_the_init_nor_sockets_of_the_host_can_be_reached", "python3") {
        return;
    }
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: neither_the_init_nor_sockets_of_the_host_can_be_reached: call numbers of x86-64");
        return;
    }
    let name = format!("cofferdam-test-{}", std::process::id());
    let _abstract = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    let _socket = UnixListener::bind(&path).unwrap();
    let mut spec = python(REACHING);
    spec.command.extend([name.into(), path.into()]);
    let (outcome, out, err) = run(spec).await;
    // Process 1 ignores what is sent to it from inside, and of sockets only a headline is seen.
    assert_eq!((out.as_str(), err.as_str()), ("[0, 1, 2, 3] 1\n", ""));
    assert_eq!(outcome.status, Exit::Code(0));
}

const OTHERS: &str = r#"
import os, sys
pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
print(len(pids), max(pids) < 100)
for pid in map(int, sys.argv[1:]):
    if os.path.exists(f"/proc/{pid}"): print("saw", pid)
    try: os.kill(pid, 9); print("killed", pid)
    except ProcessLookupError: pass
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
try: os.kill(-1, signal.SIGTERM)
except ProcessLookupError: pass
for number in range(2, 40000):
    try: os.setpriority(os.PRIO_PROCESS, number, 19)
    except OSError: continue
    if number not in pids: print("changed", number)
"#;

#[tokio::test]
async fn processes_of_the_host_are_neither_seen_nor_signalled() {
    if !can_run("processes_of_the_host_are_neither_seen_nor_signalled", "python3") {
        return;
    }
    let mut host = Command::new("cat").stdin(Pipes::piped()).spawn().unwrap();
    // Low numbers are numbers inside too.
    let pids = [host.id(), std::process::id()].into_iter().filter(|pid| *pid >= 100);
    let mut spec = python(OTHERS);
    spec.command.extend(pids.map(|pid| pid.to_string().into()));
    let (_, out, err) = run(spec).await;
    assert_eq!((out.as_str(), err.as_str()), ("2 True\n", ""));
    assert!(host.try_wait().unwrap().is_none(), "the host's process lives");
    drop(host.stdin.take());
    assert!(host.wait().unwrap().success());
}

const SNOOP: &str = r#"
import glob, os, socket, sys
def look(path):
    try: data = open(path, "rb").read(65536)
    except OSError: return
    if b"token-of-" + b"the-other" in data: print("read", path)
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"): look(path)
for top in ["/tmp", "/var/tmp", "/dev/shm", "/run"] + sys.argv[1:]:
    for folder, _, files in os.walk(top):
        for file in files: look(os.path.join(folder, file))
for target in sys.argv[1:]:
    for name in [target, target + "/key", target + "/new"]:
        try: open(name, "w").write("changed")
        except OSError: pass
s = socket.create_connection(("127.0.0.1", 8080), 5)
print(s.makefile().read())
"#;

/// A door to a site that says its name to whoever comes.
async fn site(name: &'static str) -> Network {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Target::Tcp(listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, name.as_bytes()).await;
        }
    });
    Network::Site(vec![SiteDoor { listen: "127.0.0.1:8080".parse().unwrap(), to }])
}

#[tokio::test]
async fn a_run_sees_neither_the_token_of_another_nor_the_state_of_the_site() {
    if !can_run("a_run_sees_neither_the_token_of_another_nor_the_state_of_the_site", "python3") {
        return;
    }
    // Not below /tmp, which is hidden anyway.
    let state = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(state.path().join("key"), "token-of-the-other").unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut other = shell(
        "echo $TOKEN >/tmp/kept; echo $TOKEN >/dev/shm/kept; echo $TOKEN >/build/kept; echo up; read end",
    );
    other.env = vec![("TOKEN".into(), "token-of-the-other".into())];
    other.mounts = vec![Mount { source: work.path().into(), target: "/build".into(), writable: true }];
    other.network = site("the other's").await;
    (other.stdin, other.stdout) = (Stdio::Piped, Stdio::Piped);
    let mut other = Sandbox::spawn(other).await.unwrap();
    other.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).await.unwrap();

    let mut spec = python(SNOOP);
    spec.network = site("its own").await;
    spec.hide = vec![state.path().into()];
    spec.command.extend([state.path().into(), work.path().into()]);
    let (_, out, err) = run(spec).await;
    assert_eq!((out.as_str(), err.as_str()), ("its own\n", ""));
    // What was written went into private folders over them.
    assert_eq!(std::fs::read_to_string(state.path().join("key")).unwrap(), "token-of-the-other");
    assert_eq!(std::fs::read_to_string(work.path().join("kept")).unwrap(), "token-of-the-other\n");
    for folder in [&state, &work] {
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
    drop(other.stdin.take());
    other.wait().await.unwrap();
}

/// Daemons in every way: a session of its own, two forks, a closed terminal, ignored signals, a busy loop.
const DAEMONS: &str = r#"
import os, signal, sys
for number in range(20):
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        for one in range(1, 65):
            try: signal.signal(one, signal.SIG_IGN)
            except (OSError, ValueError): pass
        os.write(1, b"x")
        while True:
            if number % 2: signal.pause()
for _ in range(20): os.read(0, 1)
sys.exit(4)
"#;

#[tokio::test]
async fn no_daemon_of_any_kind_is_left() {
    if !can_run("no_daemon_of_any_kind_is_left", "python3") {
        return;
    }
    let mut spec = python(DAEMONS);
    (spec.stdin, spec.stdout) = (Stdio::Piped, Stdio::Piped);
    spec.limits.wall = Some(Duration::from_secs(60));
    let mut running = Sandbox::spawn(spec).await.unwrap();
    let (mut stdin, mut stdout) = (running.stdin.take().unwrap(), running.stdout.take().unwrap());
    let mut up = [0; 20];
    stdout.read_exact(&mut up).await.unwrap();
    assert!(processes_of(running.pid()) >= 21);
    tokio::io::AsyncWriteExt::write_all(&mut stdin, &up).await.unwrap();
    assert_eq!(running.wait().await.unwrap().status, Exit::Code(4));
    assert_eq!(processes_of(running.pid()), 0);
    // The last of them held the pipe.
    assert_eq!(stdout.read(&mut up).await.unwrap(), 0);
}
