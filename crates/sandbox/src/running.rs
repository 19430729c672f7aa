//! Starting a sandbox and holding on to it. It must never let a process inside live on when the handle, the
//! command, the time or this process has ended.
//!
//! The clone itself happens on one thread of its own that lives as long as the process: the kernel
//! ties the child's death signal to the *thread* that made it, and the runtime's threads come and go.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

use cofferdam_types::{Error, ErrorKind, Result};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::child::{self, Descriptors, Plan};
use crate::door::{self, Traffic};
use crate::spec::{Network, SandboxSpec, Stdio, Target};
use crate::watch::setup::Role;
use crate::watch::{NetworkLog, Part, Shared};
use crate::wire::{self, Message};
use crate::{plan, sys};

/// A set-up that takes longer than this is given up; the usual cause is a dead network file system.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The code of the error when a machine can do everything but watch a network.
pub const UNWATCHED: &str = "sandbox-unwatched";

/// The entry point.
#[derive(Debug)]
pub struct Sandbox;

/// How a sandbox ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command returned this code.
    Code(i32),
    /// The command died of this signal.
    Signal(i32),
    /// The wall limit was reached; everything was killed.
    TimedOut,
    /// [`Running::kill`] was called, or something outside killed the sandbox.
    Killed,
}

impl Exit {
    /// Whether the command returned 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

/// What is known after the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: Exit,
    /// From the command's exec to its end.
    pub duration: Duration,
    /// Connections that were made through doors.
    pub connections: u64,
    /// Of those, the ones whose target could not be reached.
    pub refused: u64,
    /// Bytes that went out through doors.
    pub bytes_sent: u64,
    /// Bytes that came in through doors.
    pub bytes_received: u64,
}

/// A started sandbox. Dropping it kills everything inside.
#[derive(Debug)]
pub struct Running {
    /// The command's standard input when it is piped.
    pub stdin: Option<pipe::Sender>,
    /// The command's standard output when it is piped.
    pub stdout: Option<pipe::Receiver>,
    /// The command's standard error when it is piped.
    pub stderr: Option<pipe::Receiver>,
    pid: u32,
    init: Arc<Init>,
    shared: Option<Arc<Shared>>,
    task: JoinHandle<Outcome>,
    outcome: Option<Outcome>,
}

impl Sandbox {
    /// Starts a sandbox and returns when its command has been executed. Must run in a tokio runtime
    /// with input/output and time enabled; does not block it.
    ///
    /// # Errors
    /// `Invalid` for a request that cannot be, `NotFound` when the command does not exist inside,
    /// `Unavailable` when the machine does not allow a part of the isolation (then [`crate::probe`]
    /// says which setting to change); its code is [`UNWATCHED`] when only watching is not allowed.
    pub async fn spawn(spec: SandboxSpec) -> Result<Running> {
        let (plan, spec) = tokio::task::spawn_blocking(move || plan::prepare(&spec).map(|plan| (plan, spec)))
            .await
            .map_err(|error| Error::internal("preparing a sandbox", error))??;
        let (streams, ends) =
            streams(&spec).map_err(|error| Error::io("making pipes for a sandbox", error))?;
        let (control, theirs) =
            socket_pair().map_err(|error| Error::io("making a sandbox's socket", error))?;
        let (plan, init) = clone_child(plan, streams, theirs).await?;
        let init = Arc::new(init);
        let control = watch_fd(control)?;
        // From here on dropping `init` kills the child, also when this future is dropped.
        let started = tokio::time::timeout(START_PATIENCE, started(&control)).await;
        let sockets = match started {
            Ok(Ok(sockets)) => sockets,
            Ok(Err(failure)) => return Err(failure.explain(&plan, &spec)),
            Err(_) => return Err(unavailable("setting up the sandbox took longer than 30 seconds")),
        };
        let (served, shared) = served(sockets, &spec, plan.roles, init.pid)?;
        let [stdin, stdout, stderr] = ends;
        let wired = |error| Error::io("reading a sandbox's pipes", error);
        Ok(Running {
            stdin: stdin.map(pipe::Sender::from_owned_fd).transpose().map_err(wired)?,
            stdout: stdout.map(pipe::Receiver::from_owned_fd).transpose().map_err(wired)?,
            stderr: stderr.map(pipe::Receiver::from_owned_fd).transpose().map_err(wired)?,
            pid: init.pid,
            init: Arc::clone(&init),
            shared,
            task: tokio::spawn(supervise(init, control, served, spec)),
            outcome: None,
        })
    }
}

impl Running {
    /// Waits for the end; a second call returns the same outcome. Cancelling it is harmless.
    ///
    /// # Errors
    /// `Internal` when the supervising task failed.
    pub async fn wait(&mut self) -> Result<Outcome> {
        if let Some(outcome) = self.outcome {
            return Ok(outcome);
        }
        let outcome =
            (&mut self.task).await.map_err(|error| Error::internal("waiting for a sandbox", error))?;
        self.outcome = Some(outcome);
        Ok(outcome)
    }

    /// Kills everything inside. [`Running::wait`] then tells [`Exit::Killed`].
    pub fn kill(&self) {
        self.init.kill();
    }

    /// What was attempted so far, or in all after [`Running::wait`]; `None` when the network is not
    /// [`Network::Watched`].
    #[must_use]
    pub fn network_log(&self) -> Option<NetworkLog> {
        self.shared.as_ref().map(|shared| shared.recorder.snapshot())
    }

    /// The process id of the sandbox's init, as seen by the caller, e.g. for [`crate::net_counters`].
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.outcome.is_none() {
            self.init.kill();
        }
    }
}

/// Pid 1 of the sandbox. Its last owner kills and reaps it.
#[derive(Debug)]
struct Init {
    pid: u32,
    handle: AsyncFd<OwnedFd>,
    reaped: AtomicBool,
}

impl Init {
    fn kill(&self) {
        // SAFETY: the descriptor is a pidfd that we own; no siginfo is passed.
        unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.handle.as_raw_fd(), libc::SIGKILL, 0_usize, 0);
        }
    }

    async fn ended(&self) {
        // A pidfd is readable once its process has ended; an error leaves the blocking reap below.
        let _ = self.handle.readable().await;
        self.reap();
    }

    fn reap(&self) {
        if self.reaped.swap(true, Ordering::AcqRel) {
            return;
        }
        loop {
            // SAFETY: an all-zero siginfo_t is valid; the descriptor is our pidfd.
            let done = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                let id = self.handle.as_raw_fd() as libc::id_t;
                libc::waitid(libc::P_PIDFD, id, &raw mut info, libc::WEXITED)
            };
            if done == 0 || sys::errno() != libc::EINTR {
                return;
            }
        }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        // Only when nobody waited, e.g. the runtime was shut down: the kernel ends the namespace
        // within milliseconds of the signal.
        if !self.reaped.load(Ordering::Acquire) {
            self.kill();
            self.reap();
        }
    }
}

async fn supervise(init: Arc<Init>, control: AsyncFd<OwnedFd>, served: Served, spec: SandboxSpec) -> Outcome {
    let begin = Instant::now();
    let traffic = served.traffic;
    let (ended, watching) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for (listener, to) in served.doors {
        tasks.spawn(door::serve(listener, to, Arc::clone(&traffic), watching.clone()));
    }
    for (part, shared) in served.parts {
        part.spawn(shared, watching.clone(), &mut tasks);
    }
    let mut timed_out = false;
    tokio::select! {
        () = init.ended() => {}
        () = after(spec.limits.wall) => {
            timed_out = true;
            init.kill();
            init.ended().await;
        }
    }
    let duration = begin.elapsed();
    let status = match wire::receive(control.get_ref()) {
        _ if timed_out => Exit::TimedOut,
        Ok(Some((Message::Exited { code }, _))) => Exit::Code(code),
        Ok(Some((Message::Signalled { signal }, _))) => Exit::Signal(signal),
        _ => Exit::Killed,
    };
    let _ = ended.send(true);
    while tasks.join_next().await.is_some() {}
    Outcome {
        status,
        duration,
        connections: traffic.connections.load(Ordering::Relaxed),
        refused: traffic.refused.load(Ordering::Relaxed),
        bytes_sent: traffic.sent.load(Ordering::Relaxed),
        bytes_received: traffic.received.load(Ordering::Relaxed),
    }
}

/// The sockets that came out of the sandbox, with what is behind them.
struct Served {
    traffic: Arc<Traffic>,
    doors: Vec<(TcpListener, Target)>,
    parts: Vec<(Part, Arc<Shared>)>,
}

fn served(
    sockets: Vec<OwnedFd>,
    spec: &SandboxSpec,
    roles: Vec<Role>,
    init: u32,
) -> Result<(Served, Option<Arc<Shared>>)> {
    let registering = |error| Error::io("registering a sandbox's sockets", error);
    let traffic = Arc::new(Traffic::default());
    let mut sockets = sockets.into_iter();
    let doors = spec.network.doors().iter().zip(sockets.by_ref()).map(|(door, socket)| {
        let listener = TcpListener::from_std(std::net::TcpListener::from(socket)).map_err(registering)?;
        Ok((listener, door.to.clone()))
    });
    let doors = doors.collect::<Result<_>>()?;
    let Network::Watched { watcher, .. } = &spec.network else {
        return Ok((Served { traffic, doors, parts: Vec::new() }, None));
    };
    let shared = Arc::new(Shared::new(Arc::clone(watcher), Arc::clone(&traffic), init));
    let parts = roles
        .into_iter()
        .zip(sockets)
        .map(|(role, socket)| Ok((Part::new(role, socket).map_err(registering)?, Arc::clone(&shared))))
        .collect::<Result<_>>()?;
    Ok((Served { traffic, doors, parts }, Some(shared)))
}

async fn after(wall: Option<Duration>) {
    match wall {
        Some(wall) => tokio::time::sleep(wall).await,
        None => std::future::pending().await,
    }
}

/// Why the command does not run.
enum Failure {
    Said(Message),
    Silent,
}

impl Failure {
    fn explain(self, plan: &Plan, spec: &SandboxSpec) -> Error {
        let program = spec.command[0].display();
        match self {
            Self::Said(Message::SetupFailed { step, errno }) => {
                let step = step as usize;
                let what = plan.steps.0.get(step).map(ToString::to_string).unwrap_or_default();
                if plan.steps.only_for_watching(step) {
                    let message = format!("the network could not be watched: {what}: {}", reason(errno));
                    return Error::new(ErrorKind::Unavailable, UNWATCHED, message)
                        .hint("`cofferdam doctor` has a check, \"watched network\"");
                }
                unavailable(format!("the sandbox could not be set up: {what}: {}", reason(errno)))
            }
            Self::Said(Message::StartFailed { stage: 6, errno: libc::ENOENT }) => {
                Error::not_found(format!("there is no program {program} in the sandbox"))
                    .hint("check the spelling and PATH; the user's home is hidden inside")
            }
            Self::Said(Message::StartFailed { stage, errno }) => {
                let stage = wire::STAGES.get(stage as usize).copied().unwrap_or("an unknown stage");
                Error::invalid(
                    "sandbox-start",
                    format!("{program} could not be started: {stage}: {}", reason(errno)),
                )
            }
            _ => unavailable("the sandbox's init died while setting up"),
        }
    }
}

fn reason(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

fn unavailable(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unavailable, "sandbox-unavailable", message)
        .hint("`cofferdam doctor` shows which part of the isolation this machine does not allow")
}

/// Collects the sockets until the command runs.
async fn started(control: &AsyncFd<OwnedFd>) -> std::result::Result<Vec<OwnedFd>, Failure> {
    let mut sockets = Vec::new();
    loop {
        let mut ready = control.readable().await.map_err(|_| Failure::Silent)?;
        match ready.try_io(|socket| wire::receive(socket.get_ref())) {
            Err(_) => {}
            Ok(Ok(Some((Message::Socket, Some(socket))))) => sockets.push(socket),
            Ok(Ok(Some((Message::Started, _)))) => return Ok(sockets),
            Ok(Ok(Some((message, _)))) => return Err(Failure::Said(message)),
            Ok(Ok(None) | Err(_)) => return Err(Failure::Silent),
        }
    }
}

fn watch_fd(fd: OwnedFd) -> Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its one number open until it is dropped.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
        .map_err(|error| Error::io("watching a sandbox", error.into()))
}

type Ends = [Option<OwnedFd>; 3];

/// The child's three streams, and our ends of those that are piped.
fn streams(spec: &SandboxSpec) -> io::Result<([OwnedFd; 3], Ends)> {
    let (stdin, to_stdin) = stream(spec.stdin, 0)?;
    let (stdout, from_stdout) = stream(spec.stdout, 1)?;
    let (stderr, from_stderr) = stream(spec.stderr, 2)?;
    Ok(([stdin, stdout, stderr], [to_stdin, from_stdout, from_stderr]))
}

fn stream(choice: Stdio, number: RawFd) -> io::Result<(OwnedFd, Option<OwnedFd>)> {
    match choice {
        Stdio::Null => {
            let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
            Ok((high(null.as_fd())?, None))
        }
        Stdio::Inherit => {
            // SAFETY: only borrowed for the duration of the call; a closed number is reported as EBADF.
            let own = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
            Ok((high(own)?, None))
        }
        Stdio::Piped => {
            let (read, write) = io::pipe()?;
            if number == 0 {
                Ok((high(read.as_fd())?, Some(write.into())))
            } else {
                Ok((high(write.as_fd())?, Some(read.into())))
            }
        }
    }
}

/// A copy with a number out of the way of the streams and the control socket inside.
fn high(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the result is a new descriptor that nobody else owns.
    unsafe {
        match libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 10) {
            -1 => Err(io::Error::last_os_error()),
            copy => Ok(OwnedFd::from_raw_fd(copy)),
        }
    }
}

fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `pair` has room for two descriptors, which are ours alone on success.
    unsafe {
        if libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) < 0 {
            return Err(io::Error::last_os_error());
        }
        let (ours, theirs) = (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1]));
        Ok((ours, high(theirs.as_fd())?))
    }
}

async fn clone_child(plan: Plan, streams: [OwnedFd; 3], control: OwnedFd) -> Result<(Plan, Init)> {
    let (answer, answered) = oneshot::channel();
    let work = move || {
        let descriptors =
            Descriptors { streams: streams.each_ref().map(AsRawFd::as_raw_fd), control: control.as_raw_fd() };
        let _ = answer.send((clone_now(&plan, descriptors), plan));
    };
    let stopped = || unavailable("the thread that starts sandboxes is gone");
    starter().ok_or_else(stopped)?.send(Box::new(work)).map_err(|_| stopped())?;
    let (cloned, plan) = answered.await.map_err(|_| stopped())?;
    let (pid, handle) = cloned.map_err(|error| {
        let message = format!("the machine refused to make the sandbox's namespaces: {error}");
        unavailable(message).with_source(error)
    })?;
    Ok((plan, Init { pid: pid as u32, handle: watch_fd(handle)?, reaped: AtomicBool::new(false) }))
}

fn clone_now(plan: &Plan, descriptors: Descriptors) -> io::Result<(libc::pid_t, OwnedFd)> {
    let mut pidfd = -1;
    let flags = libc::CLONE_PIDFD
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    // SAFETY: the child runs `child::run` only, which keeps to the rules of `sys`. All signals are
    // blocked on this thread, so that no handler of the parent runs in the child.
    match unsafe { sys::clone_into(flags, &mut pidfd) } {
        Ok(0) => child::run(plan, descriptors),
        // SAFETY: the kernel filled in a new descriptor.
        Ok(pid) => Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
        Err(errno) => Err(reason(errno)),
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The thread that clones, started on first use.
fn starter() -> Option<mpsc::Sender<Work>> {
    static STARTER: OnceLock<Mutex<mpsc::Sender<Work>>> = OnceLock::new();
    let sender = STARTER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Work>();
        let _ = std::thread::Builder::new().name("sandbox-starter".into()).spawn(move || {
            sys::mask_signals(true);
            for work in receiver {
                work();
            }
        });
        Mutex::new(sender)
    });
    sender.lock().ok().map(|sender| sender.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::RefuseAll;

    #[test]
    fn only_what_watching_alone_needs_is_an_unwatched_network() {
        let network = Network::Watched { doors: Vec::new(), watcher: Arc::new(RefuseAll) };
        let spec = SandboxSpec { network, ..SandboxSpec::new(["true"]) };
        let plan = plan::prepare(&spec).unwrap();
        let code = |step: usize| {
            let failed = Message::SetupFailed { step: step as i32, errno: libc::EPERM };
            Failure::Said(failed).explain(&plan, &spec).code().to_owned()
        };
        let last = plan.steps.0.len() - 1;
        let loopback =
            plan.steps.0.iter().position(|step| matches!(step, crate::step::Step::Loopback)).unwrap();
        assert_eq!(
            (code(0).as_str(), code(loopback).as_str()),
            ("sandbox-unavailable", "sandbox-unavailable")
        );
        assert_eq!((code(loopback + 1).as_str(), code(last).as_str()), (UNWATCHED, UNWATCHED));
    }
}
