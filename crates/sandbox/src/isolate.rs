//! Moves a *site* into a network namespace of its own, with nothing but `lo`.
//!
//! The file system is not touched: this is for a trusted process that must not be able to speak to
//! any network. It must never add a device or a route. Sockets that are already open keep working in the
//! namespace they were made in.

use std::io;

use cofferdam_types::{Error, ErrorKind, Result};

use crate::sys;

/// Puts the calling process into a user and network namespace of its own, with `lo` up, no other
/// device and no route, and refuses to be put back. Identity and file access stay as they were.
///
/// Listening sockets opened before keep accepting from the outside. Call it first thing in `main`,
/// before the runtime: a user namespace can only be entered while there is a single thread.
///
/// # Errors
/// `Conflict` when other threads already run; `Unavailable` when the machine refuses.
pub fn isolate_self_from_network() -> Result<()> {
    if threads() != 1 {
        return Err(Error::conflict(
            "isolate-threads",
            "a site can only enter its own network before it starts other threads",
        ));
    }
    // SAFETY: these calls have no preconditions.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    // SAFETY: single-threaded, checked above; no memory is involved.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) } < 0 {
        return Err(refused("making the namespaces", io::Error::last_os_error()));
    }
    let map = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(|error| refused(file, error))
    };
    map("setgroups", "deny".into())?;
    map("gid_map", format!("{gid} {gid} 1"))?;
    map("uid_map", format!("{uid} {uid} 1"))?;
    sys::loopback_up().map_err(|errno| refused("bringing lo up", io::Error::from_raw_os_error(errno)))
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map(Iterator::count).unwrap_or(0)
}

fn refused(what: &str, error: io::Error) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "isolate-refused",
        format!("the site could not enter a network of its own: {what}: {error}"),
    )
    .hint("`cofferdam doctor` says which setting of this machine forbids it")
    .with_source(error)
}
