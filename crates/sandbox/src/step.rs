//! The set-up of a sandbox as data: prepared by the parent, executed by the child in order.
//!
//! A step holds everything it needs (paths as C strings, addresses as the kernel's structures), so
//! that executing it allocates nothing. When one fails its index and error number go to the parent,
//! which still has the list and can say in words what did not work.

use std::ffi::CString;
use std::fmt;
use std::os::fd::RawFd;

use crate::netlink::{self, Messages};
use crate::sys::{self, Sys};
use crate::wire;

/// The set-up, in order.
#[derive(Debug, Default)]
pub struct Steps(pub Vec<Step>);

impl Steps {
    /// Whether a step is one of those that only a watched network needs. They are the last, and the first of
    /// them changes routes.
    pub fn only_for_watching(&self, index: usize) -> bool {
        self.0.iter().take(index.saturating_add(1)).any(|step| matches!(step, Step::Netlink { .. }))
    }
}

/// One action of the set-up.
#[derive(Debug)]
pub enum Step {
    /// Writes one of the kernel's files, e.g. an identity map.
    Write { path: CString, text: Vec<u8>, optional: bool },
    /// Creates a small file, or empties it, with this content.
    File { path: CString, text: Vec<u8> },
    /// Creates a folder; an existing one is fine.
    Folder { path: CString, mode: u32 },
    /// Creates a symbolic link.
    Link { path: CString, points_to: CString },
    /// Removes a file.
    Unlink { path: CString },
    /// Mounts a fresh file system.
    Mount { kind: CString, target: CString, flags: u64, data: CString, optional: bool },
    /// Makes every mount private, so that nothing propagates out.
    Private,
    /// Shows a part of the host.
    Bind { source: CString, target: CString, attributes: u64, optional: bool },
    /// Adds attributes to an existing mount.
    Restrict { target: CString, attributes: u64 },
    /// Makes `new` the root and shows the previous root at `old`, both as seen before.
    Pivot { new: CString, old: CString },
    /// Detaches a mount and removes its empty mount point.
    Detach { target: CString },
    /// Names the host.
    Hostname { name: Vec<u8> },
    /// Brings `lo` up.
    Loopback,
    /// Changes the network namespace by netlink; `text` says what for, e.g. "adding a route".
    Netlink { family: libc::c_int, messages: Messages, text: String },
    /// Opens a socket and sends it to the parent; `text` says what for, e.g. "listening at ADDRESS".
    Socket { socket: wire::Socket, text: String },
}

impl Step {
    /// Executes the step in the child. Allocates nothing.
    pub fn run(&self, control: RawFd) -> Sys {
        match self {
            Self::Write { path, text, optional } => {
                forgive(write_file(path, text, libc::O_WRONLY), *optional)
            }
            Self::File { path, text } => {
                write_file(path, text, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC)
            }
            Self::Folder { path, mode } => sys::mkdir(path, *mode),
            Self::Link { path, points_to } => sys::symlink(points_to, path),
            Self::Unlink { path } => sys::unlink(path),
            Self::Mount { kind, target, flags, data, optional } => {
                forgive(sys::mount(kind, target, kind, *flags, data), *optional)
            }
            Self::Private => sys::mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE, c""),
            Self::Bind { source, target, attributes, optional } => {
                forgive(sys::bind(source, target, *attributes), *optional)
            }
            Self::Restrict { target, attributes } => sys::restrict(target, *attributes),
            Self::Pivot { new, old } => {
                sys::pivot_root(new, old)?;
                sys::chdir(c"/")
            }
            Self::Detach { target } => {
                sys::unmount(target)?;
                sys::rmdir(target)
            }
            Self::Hostname { name } => sys::set_hostname(name),
            Self::Loopback => sys::loopback_up(),
            Self::Netlink { family, messages, .. } => netlink::exchange(*family, messages),
            Self::Socket { socket, .. } => wire::open_socket(control, socket),
        }
    }
}

fn forgive(result: Sys, optional: bool) -> Sys {
    if optional { Ok(()) } else { result }
}

fn write_file(path: &CString, text: &[u8], flags: libc::c_int) -> Sys {
    let file = sys::open(path, flags, 0o644)?;
    let written = if text.is_empty() { Ok(()) } else { sys::write(file, text) };
    sys::close(file);
    written
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, .. } => write!(f, "writing {}", path.to_string_lossy()),
            Self::File { path, .. } => write!(f, "creating the file {}", path.to_string_lossy()),
            Self::Folder { path, .. } => write!(f, "creating the folder {}", path.to_string_lossy()),
            Self::Link { path, .. } => write!(f, "creating the link {}", path.to_string_lossy()),
            Self::Unlink { path } => write!(f, "removing {}", path.to_string_lossy()),
            Self::Mount { kind, target, .. } => {
                write!(f, "mounting {} at {}", kind.to_string_lossy(), target.to_string_lossy())
            }
            Self::Private => write!(f, "making the mounts private"),
            Self::Bind { source, target, .. } => {
                write!(f, "showing {} at {}", source.to_string_lossy(), target.to_string_lossy())
            }
            Self::Restrict { target, .. } => write!(f, "restricting {}", target.to_string_lossy()),
            Self::Pivot { new, .. } => write!(f, "changing the root to {}", new.to_string_lossy()),
            Self::Detach { target } => write!(f, "detaching {}", target.to_string_lossy()),
            Self::Hostname { name } => write!(f, "naming the host {}", String::from_utf8_lossy(name)),
            Self::Loopback => write!(f, "bringing the loopback device up"),
            Self::Netlink { text, .. } | Self::Socket { text, .. } => f.write_str(text),
        }
    }
}
