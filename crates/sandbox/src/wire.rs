//! The conversation between child and parent: fixed-size messages on a packet socket, some of them
//! with a socket attached.
//!
//! The sending half runs in the child and allocates nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use seccompiler::sock_filter;

use crate::seccomp::Program;
use crate::sys::{self, Sys};

/// A socket that the child opens inside and hands out.
#[derive(Debug)]
pub struct Socket {
    pub domain: libc::c_int,
    pub kind: libc::c_int,
    pub protocol: libc::c_int,
    /// Level, name and value, set before the address is bound.
    pub options: Vec<(libc::c_int, libc::c_int, libc::c_int)>,
    /// A classic BPF program that says what the socket sees; empty for everything.
    pub filter: Vec<sock_filter>,
    /// The address as the kernel reads it.
    pub address: Vec<u8>,
    /// The length of the accept queue of one that listens.
    pub backlog: Option<libc::c_int>,
}

impl Socket {
    /// A listening TCP socket.
    pub fn listener(address: SocketAddr, backlog: libc::c_int) -> Self {
        let kind = libc::SOCK_STREAM;
        Self { backlog: Some(backlog), ..Self::bound(kind, address) }
    }

    /// A socket bound to an IP address.
    pub fn bound(kind: libc::c_int, address: SocketAddr) -> Self {
        let domain = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let (options, filter) = (Vec::new(), Vec::new());
        Self { domain, kind, protocol: 0, options, filter, address: raw_address(address), backlog: None }
    }
}

/// `struct sockaddr_in` or `sockaddr_in6`.
pub fn raw_address(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size_of::<libc::sockaddr_in6>());
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend((libc::AF_INET as u16).to_ne_bytes());
            bytes.extend(v4.port().to_be_bytes());
            bytes.extend(v4.ip().octets());
            bytes.resize(size_of::<libc::sockaddr_in>(), 0);
        }
        SocketAddr::V6(v6) => {
            bytes.extend((libc::AF_INET6 as u16).to_ne_bytes());
            bytes.extend(v6.port().to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(v6.ip().octets());
            bytes.resize(size_of::<libc::sockaddr_in6>(), 0);
        }
    }
    bytes
}

/// What the child tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A socket is attached, in the order of the set-up.
    Socket,
    /// Set-up step `step` failed with `errno`.
    SetupFailed { step: i32, errno: i32 },
    /// The command's own preparation or exec failed; `stage` is an index of [`STAGES`].
    StartFailed { stage: i32, errno: i32 },
    /// The command runs.
    Started,
    /// The command returned.
    Exited { code: i32 },
    /// The command died of a signal.
    Signalled { signal: i32 },
}

/// What the command's process does between fork and exec; [`Message::StartFailed`] names one.
pub const STAGES: [&str; 7] = [
    "starting its process",
    "starting a session",
    "entering its folder",
    "setting limits",
    "setting up Landlock",
    "setting up the system call filter",
    "executing it",
];

const LENGTH: usize = 12;

impl Message {
    fn encode(self) -> [u8; LENGTH] {
        let [kind, a, b] = match self {
            Self::Socket => [1, 0, 0],
            Self::SetupFailed { step, errno } => [2, step, errno],
            Self::StartFailed { stage, errno } => [3, stage, errno],
            Self::Started => [4, 0, 0],
            Self::Exited { code } => [5, code, 0],
            Self::Signalled { signal } => [6, signal, 0],
        };
        let mut bytes = [0; LENGTH];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&a.to_ne_bytes());
        bytes[8..].copy_from_slice(&b.to_ne_bytes());
        bytes
    }

    fn decode(bytes: [u8; LENGTH]) -> Option<Self> {
        let word = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(match word(0) {
            1 => Self::Socket,
            2 => Self::SetupFailed { step: word(4), errno: word(8) },
            3 => Self::StartFailed { stage: word(4), errno: word(8) },
            4 => Self::Started,
            5 => Self::Exited { code: word(4) },
            6 => Self::Signalled { signal: word(4) },
            _ => return None,
        })
    }
}

/// Room for one descriptor in a control message, aligned as the kernel wants it.
#[repr(C, align(8))]
struct ControlRoom([u8; 64]);

/// Sends a message from the child.
pub fn send(control: RawFd, message: Message, attached: Option<RawFd>) -> Sys {
    let mut bytes = message.encode();
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut room = ControlRoom([0; 64]);
    // SAFETY: an all-zero msghdr is valid; every pointer set below outlives the call, and the
    // control room (64 bytes) is larger than CMSG_SPACE of one descriptor (24 bytes).
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        if let Some(fd) = attached {
            header.msg_control = room.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
            let part = libc::CMSG_FIRSTHDR(&raw const header);
            (*part).cmsg_level = libc::SOL_SOCKET;
            (*part).cmsg_type = libc::SCM_RIGHTS;
            (*part).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(part).cast::<RawFd>().write_unaligned(fd);
        }
        if libc::sendmsg(control, &raw const header, libc::MSG_NOSIGNAL) < 0 {
            return Err(sys::errno());
        }
    }
    Ok(())
}

/// Receives one message in the parent; `None` when the child's side is closed.
///
/// # Errors
/// `WouldBlock` when nothing has arrived; `InvalidData` for something that is not a message.
pub fn receive(control: &impl AsRawFd) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
    let mut bytes = [0; LENGTH];
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut room = ControlRoom([0; 64]);
    let mut attached = None;
    // SAFETY: as in `send`; a received descriptor is ours alone, so owning it is right.
    let length = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = room.0.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let length = libc::recvmsg(control.as_raw_fd(), &raw mut header, flags);
        if length < 0 {
            return Err(io::Error::last_os_error());
        }
        let part = libc::CMSG_FIRSTHDR(&raw const header);
        if !part.is_null() && (*part).cmsg_type == libc::SCM_RIGHTS {
            attached = Some(OwnedFd::from_raw_fd(libc::CMSG_DATA(part).cast::<RawFd>().read_unaligned()));
        }
        length
    };
    if length == 0 {
        return Ok(None);
    }
    Message::decode(bytes)
        .filter(|_| length as usize == LENGTH)
        .map(|message| Some((message, attached)))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a message of the sandbox's init"))
}

/// Opens a socket in the child's network namespace and sends it to the parent.
pub fn open_socket(control: RawFd, wanted: &Socket) -> Sys {
    let socket = sys::socket(wanted.domain, wanted.kind | libc::SOCK_NONBLOCK, wanted.protocol)?;
    let done = prepare(socket, wanted).and_then(|()| send(control, Message::Socket, Some(socket)));
    sys::close(socket);
    done
}

/// Opens a socket and closes it again, to see whether it can be done.
pub fn try_socket(wanted: &Socket) -> Sys {
    let socket = sys::socket(wanted.domain, wanted.kind | libc::SOCK_NONBLOCK, wanted.protocol)?;
    let done = prepare(socket, wanted);
    sys::close(socket);
    done
}

fn prepare(socket: RawFd, wanted: &Socket) -> Sys {
    for (level, name, value) in &wanted.options {
        sys::socket_option(socket, *level, *name, value)?;
    }
    if !wanted.filter.is_empty() {
        let program =
            Program { length: wanted.filter.len() as libc::c_ushort, filter: wanted.filter.as_ptr() };
        sys::socket_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)?;
    }
    sys::bind_socket(socket, &wanted.address)?;
    wanted.backlog.map_or(Ok(()), |backlog| sys::listen(socket, backlog))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_wire() {
        for message in [
            Message::Socket,
            Message::SetupFailed { step: 7, errno: 13 },
            Message::StartFailed { stage: 6, errno: 2 },
            Message::Started,
            Message::Exited { code: 255 },
            Message::Signalled { signal: 9 },
        ] {
            assert_eq!(Message::decode(message.encode()), Some(message));
        }
        assert_eq!(Message::decode([9; LENGTH]), None);
    }
}
