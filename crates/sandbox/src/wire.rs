//! The conversation between child and parent: fixed-size messages on a packet socket, some of them
//! with a listening socket attached.
//!
//! The sending half runs in the child and allocates nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::sys::{self, Sys};

/// A socket address as the kernel reads it.
#[derive(Clone, Copy)]
pub struct Address {
    bytes: [u8; size_of::<libc::sockaddr_in6>()],
    length: libc::socklen_t,
    family: libc::c_int,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address(family {})", self.family)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        let mut bytes = [0; size_of::<libc::sockaddr_in6>()];
        let (length, family) = match address {
            SocketAddr::V4(v4) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&v4.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                (size_of::<libc::sockaddr_in>(), libc::AF_INET)
            }
            SocketAddr::V6(v6) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&v6.port().to_be_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                (size_of::<libc::sockaddr_in6>(), libc::AF_INET6)
            }
        };
        Self { bytes, length: length as libc::socklen_t, family }
    }
}

/// What the child tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A listening socket is attached.
    Door,
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
            Self::Door => [1, 0, 0],
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
            1 => Self::Door,
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

/// Listens on `address` in the child's network namespace and sends the socket to the parent.
pub fn open_door(control: RawFd, address: &Address) -> Sys {
    // SAFETY: plain socket creation.
    let socket = unsafe {
        libc::socket(address.family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
    };
    if socket < 0 {
        return Err(sys::errno());
    }
    // SAFETY: `bytes` holds a socket address of `length` bytes.
    let listening = unsafe {
        libc::bind(socket, address.bytes.as_ptr().cast(), address.length) == 0
            && libc::listen(socket, 256) == 0
    };
    let done = if listening { send(control, Message::Door, Some(socket)) } else { Err(sys::errno()) };
    sys::close(socket);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives_the_wire() {
        for message in [
            Message::Door,
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
