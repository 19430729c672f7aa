//! The two processes inside: pid 1, which sets up, reaps and reports, and the command itself.
//!
//! Everything here runs in a copy of a multithreaded process before any exec: only [`crate::sys`],
//! prepared data and the stack. Pid 1 never returns and never execs; it makes itself undumpable,
//! so that the command cannot read its memory, which is a copy of the parent's.

use std::ffi::{CString, c_char};
use std::os::fd::RawFd;
use std::ptr;

use crate::landlock_rules::Rules;
use crate::seccomp::Filter;
use crate::step::Steps;
use crate::sys::{self, Errno, Stack, Sys};
use crate::watch::setup::Role;
use crate::wire::{self, Message};

/// Where the child keeps the socket to its parent, after the standard streams.
const CONTROL: RawFd = 3;

/// A NULL-terminated array of C strings that owns its strings.
pub struct CArray {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead into the heap blocks of `_strings`, which move with the array and never change.
unsafe impl Send for CArray {}

impl CArray {
    /// Takes the strings.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }
}

/// Everything the child needs, prepared by the parent.
pub struct Plan {
    /// The set-up of pid 1.
    pub steps: Steps,
    /// For the parent: what the sockets are for that come after those of the doors.
    pub roles: Vec<Role>,
    /// Where the program may be, in the order of its search path.
    pub programs: Vec<CString>,
    /// The arguments.
    pub arguments: CArray,
    /// The environment.
    pub environment: CArray,
    /// Where the command starts.
    pub workdir: CString,
    /// Resource numbers and their limits.
    pub limits: Vec<(u32, u64)>,
    /// Where Landlock lets the command write.
    pub landlock: Rules,
    /// System call filters, installed in this order.
    pub filters: Vec<Filter>,
    /// The command's stack until its exec.
    pub stack: Stack,
    /// Where this process's own arguments lie in memory: start and end, 0 when unknown.
    pub own_arguments: (usize, usize),
}

/// The descriptors that the child takes over; all of them are 10 or higher.
#[derive(Clone, Copy)]
pub struct Descriptors {
    /// Standard input, output and error.
    pub streams: [RawFd; 3],
    /// The socket to the parent.
    pub control: RawFd,
}

/// The life of pid 1.
pub fn run(plan: &Plan, descriptors: Descriptors) -> ! {
    if prepare(descriptors).is_err() {
        sys::exit(125);
    }
    for (index, step) in plan.steps.0.iter().enumerate() {
        if let Err(errno) = step.run(CONTROL) {
            let _ = wire::send(CONTROL, Message::SetupFailed { step: index as i32, errno }, None);
            sys::exit(125);
        }
    }
    // After the identity maps: an undumpable process may not write its own.
    let _ = sys::prctl(libc::PR_SET_DUMPABLE, 0);
    forget_arguments(plan.own_arguments);
    match start(plan) {
        Ok(child) => supervise(child),
        Err((stage, errno)) => {
            let _ = wire::send(CONTROL, Message::StartFailed { stage, errno }, None);
            sys::exit(125)
        }
    }
}

fn prepare(descriptors: Descriptors) -> Sys {
    sys::reset_signals(true);
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)?;
    for (target, source) in descriptors.streams.iter().enumerate() {
        sys::dup(*source, target as RawFd, 0)?;
    }
    sys::dup(descriptors.control, CONTROL, libc::O_CLOEXEC)?;
    sys::close_from(CONTROL + 1)?;
    // SAFETY: umask has no preconditions.
    unsafe { libc::umask(0o022) };
    Ok(())
}

/// Empties the copy of the parent's command line, which anybody inside could read in `/proc/1`.
fn forget_arguments((start, end): (usize, usize)) {
    let _ = sys::prctl(libc::PR_SET_NAME, c"sandbox".as_ptr() as libc::c_ulong);
    if start != 0 && end > start {
        // SAFETY: the kernel named this range of our own stack; nothing in this copy reads it again.
        unsafe { ptr::write_bytes(start as *mut u8, 0, end - start) };
    }
}

/// Forks the command and waits until its exec worked, which closes the pipe, or failed, which says why.
fn start(plan: &Plan) -> Result<libc::pid_t, (i32, Errno)> {
    let mut pipe = [0; 2];
    // SAFETY: `pipe` has room for two descriptors.
    if unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err((0, sys::errno()));
    }
    let task = Task { plan, report: pipe[1] };
    // SAFETY: `command_process` keeps to this module's rules and never returns into our frames; the
    // stack is its own and `task` outlives it, because this process is held until its exec or exit.
    let child = unsafe { sys::vfork(&plan.stack, command_process, (&raw const task).cast()) }
        .map_err(|errno| (0, errno))?;
    sys::close(pipe[1]);
    for stream in 0..3 {
        sys::close(stream);
    }
    let mut report = [0_u8; 8];
    // SAFETY: the buffer is live for its length.
    let length = unsafe { libc::read(pipe[0], report.as_mut_ptr().cast(), report.len()) };
    sys::close(pipe[0]);
    if length == 8 {
        let [a, b, c, d, e, f, g, h] = report;
        return Err((i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h])));
    }
    Ok(child)
}

/// What the command's process needs until its exec.
struct Task<'a> {
    plan: &'a Plan,
    report: RawFd,
}

/// The entry of the command's process. It shares our memory until its exec, which saves copying the
/// page tables a second time; descriptors, folder, limits and filters are its own.
extern "C" fn command_process(task: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `start` passes a live Task and waits.
    let task = unsafe { &*task.cast::<Task<'_>>() };
    let (stage, errno) = command(task.plan);
    let mut report = [0; 8];
    report[..4].copy_from_slice(&stage.to_ne_bytes());
    report[4..].copy_from_slice(&errno.to_ne_bytes());
    let _ = sys::write(task.report, &report);
    sys::exit(127)
}

/// The preparations of the command up to its exec. Returns only on failure: which stage, and why.
fn command(plan: &Plan) -> (i32, Errno) {
    // SAFETY: setsid has no preconditions; a fresh child is never a group leader.
    if unsafe { libc::setsid() } < 0 {
        return (1, sys::errno());
    }
    if let Err(errno) = sys::chdir(&plan.workdir) {
        return (2, errno);
    }
    for (resource, value) in &plan.limits {
        if let Err(errno) = sys::limit(*resource, *value) {
            return (3, errno);
        }
    }
    if let Err(errno) = sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1).and_then(|()| plan.landlock.enforce()) {
        return (4, errno);
    }
    sys::mask_signals(false);
    for filter in &plan.filters {
        if let Err(errno) = filter.install() {
            return (5, errno);
        }
    }
    let mut reason = libc::ENOENT;
    for program in &plan.programs {
        // SAFETY: all pointers lead to live NUL-terminated strings in NULL-terminated arrays.
        unsafe {
            libc::execve(
                program.as_ptr(),
                plan.arguments.pointers.as_ptr(),
                plan.environment.pointers.as_ptr(),
            );
        }
        match sys::errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            errno => reason = errno,
        }
    }
    (6, reason)
}

/// Reaps everything until the command ends or the parent is gone; then leaves, and the kernel
/// kills whatever else lives in this process namespace.
fn supervise(child: libc::pid_t) -> ! {
    // SAFETY: the set is initialised by sigemptyset before use.
    let signals = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if signals < 0 || wire::send(CONTROL, Message::Started, None).is_err() {
        sys::exit(125);
    }
    let mut watched = [
        libc::pollfd { fd: CONTROL, events: 0, revents: 0 },
        libc::pollfd { fd: signals, events: libc::POLLIN, revents: 0 },
    ];
    loop {
        if let Some(status) = reap(child) {
            let message = if libc::WIFSIGNALED(status) {
                Message::Signalled { signal: libc::WTERMSIG(status) }
            } else {
                Message::Exited { code: libc::WEXITSTATUS(status) }
            };
            let _ = wire::send(CONTROL, message, None);
            sys::exit(0);
        }
        // SAFETY: the array is live; `read` drains into a live buffer.
        unsafe {
            libc::poll(watched.as_mut_ptr(), 2, -1);
            let mut drain = [0_u8; 128];
            libc::read(signals, drain.as_mut_ptr().cast(), drain.len());
        }
        if watched[0].revents != 0 {
            sys::exit(124);
        }
    }
}

/// Collects every ended process; the wait status when the command was among them.
fn reap(child: libc::pid_t) -> Option<libc::c_int> {
    let mut found = None;
    loop {
        let mut status = 0;
        // SAFETY: `status` is live.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        if pid <= 0 {
            return found;
        }
        if pid == child {
            found = Some(status);
        }
    }
}
