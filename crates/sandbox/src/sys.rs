//! The system calls of the child, each a thin wrapper that returns the error number.
//!
//! Between the clone and the exec only functions of this module run, with [`crate::step`] and
//! [`crate::child`]. Nothing here may allocate, lock, panic or unwind: the child is a copy of a
//! multithreaded process whose other threads, and the locks they held, are gone.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::os::fd::RawFd;

/// An error number of the kernel.
pub type Errno = i32;
/// The result of a system call.
pub type Sys<T = ()> = Result<T, Errno>;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// `struct clone_args` of linux/sched.h, first published size (64 bytes).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

pub const ATTR_RDONLY: u64 = 0x1;
pub const ATTR_NOSUID: u64 = 0x2;
pub const ATTR_NODEV: u64 = 0x4;
const OPEN_TREE_CLONE: libc::c_int = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_int = 4;

/// The calling thread's error number.
pub fn errno() -> Errno {
    // SAFETY: the location is thread-local and always valid; the child has its own copy.
    unsafe { *libc::__errno_location() }
}

fn check(result: libc::c_long) -> Sys<libc::c_long> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// A copy of this process in new namespaces. Returns `Ok(0)` in the child.
///
/// # Safety
/// The child may only call functions of this module until it execs or exits.
pub unsafe fn clone_into(flags: libc::c_int, pidfd: &mut RawFd) -> Sys<libc::pid_t> {
    let args = CloneArgs {
        flags: flags as u32 as u64,
        pidfd: std::ptr::from_mut(pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: no CLONE_VM, so the child runs on its own copy of this stack; `args` and `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    check(pid).map(|pid| pid as libc::pid_t)
}

/// Memory for one stack, written to by the kernel's idea of another process.
pub struct Stack(UnsafeCell<Box<[u128]>>);

impl Stack {
    /// 128 KiB: many times what the few frames before an exec take.
    pub fn new() -> Self {
        Self(UnsafeCell::new(vec![0; 8192].into_boxed_slice()))
    }
}

/// Runs `entry` as a new process on `stack`, sharing memory; returns when that has executed something
/// or ended.
///
/// # Safety
/// `entry` may only call functions of this module and must end in an exec or [`exit`].
pub unsafe fn vfork(
    stack: &Stack,
    entry: extern "C" fn(*mut libc::c_void) -> libc::c_int,
    argument: *const libc::c_void,
) -> Sys<libc::pid_t> {
    // SAFETY: nobody else looks at this memory.
    let top = unsafe { (*stack.0.get()).as_mut_ptr_range().end.cast() };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: stacks grow down on every processor that we run on; `top` is 16-byte aligned, and this
    // thread, the only other user of the memory, is held meanwhile.
    check(unsafe { libc::clone(entry, top, flags, argument.cast_mut()) }.into()).map(|pid| pid as libc::pid_t)
}

/// Ends this process at once, without running anything of the C library.
pub fn exit(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// mount(2). `data` may be empty.
pub fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) -> Sys {
    // SAFETY: all strings are NUL-terminated and live.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags as libc::c_ulong,
            data.as_ptr().cast(),
        )
    };
    check(result.into()).map(drop)
}

/// Shows `source` with all its submounts at `target`, with `attributes` on every one of them.
pub fn bind(source: &CStr, target: &CStr, attributes: u64) -> Sys {
    let flags = OPEN_TREE_CLONE | libc::AT_RECURSIVE | libc::O_CLOEXEC;
    // SAFETY: the string is live; the result is a new descriptor or an error.
    let tree = check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, source.as_ptr(), flags) })?
        as RawFd;
    let done =
        set_attributes(tree, c"", libc::AT_EMPTY_PATH | libc::AT_RECURSIVE, attributes).and_then(|()| {
            // SAFETY: strings are live, `tree` is open.
            let moved = unsafe {
                libc::syscall(
                    libc::SYS_move_mount,
                    tree,
                    c"".as_ptr(),
                    libc::AT_FDCWD,
                    target.as_ptr(),
                    MOVE_MOUNT_F_EMPTY_PATH,
                )
            };
            check(moved).map(drop)
        });
    close(tree);
    done
}

/// Adds mount attributes to one mount point, not to its submounts.
pub fn restrict(target: &CStr, attributes: u64) -> Sys {
    set_attributes(libc::AT_FDCWD, target, 0, attributes)
}

fn set_attributes(at: RawFd, path: &CStr, flags: libc::c_int, attributes: u64) -> Sys {
    let attr = MountAttr { attr_set: attributes, propagation: libc::MS_PRIVATE, ..MountAttr::default() };
    // SAFETY: `attr` has the size that is passed; the string is live.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            at,
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(result).map(drop)
}

/// pivot_root(2).
pub fn pivot_root(new: &CStr, old: &CStr) -> Sys {
    // SAFETY: both strings are live.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, new.as_ptr(), old.as_ptr()) }).map(drop)
}

/// Detaches a mount and everything below it.
pub fn unmount(target: &CStr) -> Sys {
    // SAFETY: the string is live.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }.into()).map(drop)
}

/// mkdir(2); an existing folder is fine.
pub fn mkdir(path: &CStr, mode: u32) -> Sys {
    // SAFETY: the string is live.
    match check(unsafe { libc::mkdir(path.as_ptr(), mode) }.into()) {
        Err(libc::EEXIST) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// rmdir(2).
pub fn rmdir(path: &CStr) -> Sys {
    // SAFETY: the string is live.
    check(unsafe { libc::rmdir(path.as_ptr()) }.into()).map(drop)
}

/// unlink(2).
pub fn unlink(path: &CStr) -> Sys {
    // SAFETY: the string is live.
    check(unsafe { libc::unlink(path.as_ptr()) }.into()).map(drop)
}

/// symlink(2).
pub fn symlink(points_to: &CStr, path: &CStr) -> Sys {
    // SAFETY: both strings are live.
    check(unsafe { libc::symlink(points_to.as_ptr(), path.as_ptr()) }.into()).map(drop)
}

/// chdir(2).
pub fn chdir(path: &CStr) -> Sys {
    // SAFETY: the string is live.
    check(unsafe { libc::chdir(path.as_ptr()) }.into()).map(drop)
}

/// open(2), always close-on-exec.
pub fn open(path: &CStr, flags: libc::c_int, mode: u32) -> Sys<RawFd> {
    // SAFETY: the string is live.
    check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, mode) }.into()).map(|fd| fd as RawFd)
}

/// One write(2) of the whole slice, as `/proc` files want it.
pub fn write(fd: RawFd, bytes: &[u8]) -> Sys {
    // SAFETY: the slice is live for its length.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    match check(written as libc::c_long)? as usize {
        n if n == bytes.len() => Ok(()),
        _ => Err(libc::EIO),
    }
}

/// One read(2).
pub fn read(fd: RawFd, bytes: &mut [u8]) -> Sys<usize> {
    // SAFETY: the slice is live for its length.
    let length = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    check(length as libc::c_long).map(|length| length as usize)
}

/// socket(2), always close-on-exec.
pub fn socket(domain: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> Sys<RawFd> {
    // SAFETY: plain socket creation.
    check(unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) }.into()).map(|fd| fd as RawFd)
}

/// setsockopt(2) with the bytes of `value`, which must be plain C data of the type that the option takes.
pub fn socket_option<T>(fd: RawFd, level: libc::c_int, name: libc::c_int, value: &T) -> Sys {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live value.
    let done = unsafe {
        libc::setsockopt(fd, level, name, std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t)
    };
    check(done.into()).map(drop)
}

/// bind(2) to an address as the kernel reads it.
pub fn bind_socket(fd: RawFd, address: &[u8]) -> Sys {
    // SAFETY: the slice is live for its length, and the kernel checks what it holds.
    let done = unsafe { libc::bind(fd, address.as_ptr().cast(), address.len() as libc::socklen_t) };
    check(done.into()).map(drop)
}

/// listen(2).
pub fn listen(fd: RawFd, backlog: libc::c_int) -> Sys {
    // SAFETY: no memory is involved.
    check(unsafe { libc::listen(fd, backlog) }.into()).map(drop)
}

/// close(2), whose failure nobody could act on.
pub fn close(fd: RawFd) {
    // SAFETY: closing any number is memory-safe; callers only pass their own descriptors.
    unsafe { libc::close(fd) };
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: RawFd) -> Sys {
    // SAFETY: the caller keeps nothing above `first`; the child has no Rust owners that will run.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) }).map(drop)
}

/// dup3(2). `from` and `to` must differ.
pub fn dup(from: RawFd, to: RawFd, flags: libc::c_int) -> Sys {
    // SAFETY: no memory is involved.
    check(unsafe { libc::dup3(from, to, flags) }.into()).map(drop)
}

/// prctl(2) with one argument.
pub fn prctl(option: libc::c_int, argument: libc::c_ulong) -> Sys {
    // SAFETY: only options with integer arguments are passed.
    check(unsafe { libc::prctl(option, argument, 0, 0, 0) }.into()).map(drop)
}

/// sethostname(2).
pub fn set_hostname(name: &[u8]) -> Sys {
    // SAFETY: the slice is live for its length.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// setrlimit(2), soft and hard.
pub fn limit(resource: u32, value: u64) -> Sys {
    let value = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `value` is live.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const value, 0) }).map(drop)
}

/// Brings `lo` up in the current network namespace.
pub fn loopback_up() -> Sys {
    // SAFETY: plain socket creation.
    let socket =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: an all-zero ifreq is valid: it is plain C data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    let done =
        check(unsafe { libc::ioctl(socket as RawFd, libc::SIOCSIFFLAGS as _, &raw const request) }.into());
    close(socket as RawFd);
    done.map(drop)
}

/// Gives every signal its default action and blocks (`true`) or delivers (`false`) all of them.
pub fn reset_signals(block: bool) {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL needs no handler; the calls that the C library refuses (32, 33, KILL, STOP) do nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    mask_signals(block);
}

/// Blocks or unblocks all signals of the calling thread.
pub fn mask_signals(block: bool) {
    // SAFETY: the set is initialised by sigfillset before use.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        let how = if block { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
        libc::pthread_sigmask(how, &raw const all, std::ptr::null_mut());
    }
}
