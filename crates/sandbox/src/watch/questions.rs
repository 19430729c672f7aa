//! Answers the sandbox's questions about names, whichever server they were meant for, so that a name which
//! is dialled later is known: one socket on port 53 of every address.
//!
//! It must never ask anybody outside, and never answer from another address than the one that was asked,
//! which a client would not believe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::names::{Answer, Question};
use super::owner::Table;
use super::{Decision, Shared, Transport};

/// Longer questions are cut off, and then dropped.
const MAX_QUESTION: usize = 1232;
/// Questions answered before other tasks get their turn.
const BATCH: usize = 32;

/// Serves until the end; then notes what has still arrived.
pub async fn serve(socket: AsyncFd<OwnedFd>, shared: Arc<Shared>, mut ended: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            ready = socket.readable() => match ready {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => return,
            },
            _ = ended.wait_for(|ended| *ended) => break,
        }
        while drain(&socket, &shared).await {
            tokio::task::yield_now().await;
            if *ended.borrow() {
                break;
            }
        }
    }
    // Nobody is left inside, so this ends when the socket's buffer is empty.
    while drain(&socket, &shared).await {}
    shared.recorder.missed_packets(super::dropped(&socket));
}

async fn drain(socket: &AsyncFd<OwnedFd>, shared: &Shared) -> bool {
    let mut buffer = [0; MAX_QUESTION];
    for _ in 0..BATCH {
        let Some((length, ends)) = receive(socket, &mut buffer) else { return false };
        let message = buffer.get(..length).unwrap_or_default();
        if let (Some(ends), Some(question)) = (ends, Question::parse(message)) {
            answer(socket, shared, ends, &question).await;
        }
    }
    true
}

async fn answer(socket: &AsyncFd<OwnedFd>, shared: &Shared, ends: Ends, question: &Question<'_>) {
    let server = SocketAddr::new(ends.server, 53);
    let mut attempt = shared.attempt(Transport::Dns, Some(&question.name), ends.server, 53);
    // Before the answer, while the client still waits for it.
    attempt.process = shared.process(Table::Udp, &attempt, ends.client, server).await.0;
    let address = question.wants_address().then(|| shared.names.address(&question.name));
    let (answer, decision) = match address {
        Some(Some(address)) => (Answer::Address(address), Decision::Answered),
        Some(None) => (Answer::Failure, Decision::Overload),
        None => (Answer::Nothing, Decision::Answered),
    };
    shared.note(&attempt, decision);
    send(socket, &question.answer(answer), ends);
}

/// Who asked, and which address was asked.
#[derive(Clone, Copy, Debug)]
struct Ends {
    client: SocketAddr,
    server: IpAddr,
}

/// Room for the control message with an address, aligned as the kernel wants it.
#[repr(C, align(8))]
struct ControlRoom([u8; 128]);

/// One datagram, unless the socket is empty. Without `Ends` it cannot be answered.
fn receive(socket: &AsyncFd<OwnedFd>, buffer: &mut [u8]) -> Option<(usize, Option<Ends>)> {
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut room = ControlRoom([0; 128]);
    // SAFETY: all-zero structures are valid plain data; every pointer outlives the call; the kernel
    // tells how much of the rooms it has filled, and CMSG_FIRSTHDR and CMSG_NXTHDR stay inside.
    unsafe {
        let mut from: libc::sockaddr_in6 = std::mem::zeroed();
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_name = (&raw mut from).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in6>() as _;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = room.0.as_mut_ptr().cast();
        header.msg_controllen = room.0.len() as _;
        let length = libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT);
        let length = usize::try_from(length).ok()?;
        let mut server = None;
        let mut part = libc::CMSG_FIRSTHDR(&raw const header);
        while !part.is_null() {
            let data = libc::CMSG_DATA(part);
            match ((*part).cmsg_level, (*part).cmsg_type) {
                (libc::SOL_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    server = Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    server = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                _ => {}
            }
            part = libc::CMSG_NXTHDR(&raw const header, part);
        }
        let port = u16::from_be(from.sin6_port);
        let client: Option<IpAddr> = match i32::from(from.sin6_family) {
            // sockaddr_in has its address where sockaddr_in6 has the flow.
            libc::AF_INET => Some(Ipv4Addr::from(from.sin6_flowinfo.to_ne_bytes()).into()),
            libc::AF_INET6 => Some(Ipv6Addr::from(from.sin6_addr.s6_addr).into()),
            _ => None,
        };
        let ends =
            client.zip(server).map(|(client, server)| Ends { client: SocketAddr::new(client, port), server });
        Some((length, ends))
    }
}

/// Sends an answer from the address that was asked; a client that is gone does not get it.
fn send(socket: &AsyncFd<OwnedFd>, message: &[u8], ends: Ends) {
    let mut to = crate::wire::raw_address(ends.client);
    let mut vector = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
    let mut room = ControlRoom([0; 128]);
    // SAFETY: as in `receive`; the room (128 bytes) is larger than CMSG_SPACE of either structure.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_name = to.as_mut_ptr().cast();
        header.msg_namelen = to.len() as _;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = room.0.as_mut_ptr().cast();
        header.msg_controllen = room.0.len() as _;
        let part = libc::CMSG_FIRSTHDR(&raw const header);
        let size = match ends.server {
            IpAddr::V4(server) => {
                let mut info: libc::in_pktinfo = std::mem::zeroed();
                info.ipi_spec_dst.s_addr = u32::from_ne_bytes(server.octets());
                (*part).cmsg_level = libc::SOL_IP;
                (*part).cmsg_type = libc::IP_PKTINFO;
                libc::CMSG_DATA(part).cast::<libc::in_pktinfo>().write_unaligned(info);
                size_of::<libc::in_pktinfo>() as u32
            }
            IpAddr::V6(server) => {
                let mut info: libc::in6_pktinfo = std::mem::zeroed();
                info.ipi6_addr.s6_addr = server.octets();
                (*part).cmsg_level = libc::SOL_IPV6;
                (*part).cmsg_type = libc::IPV6_PKTINFO;
                libc::CMSG_DATA(part).cast::<libc::in6_pktinfo>().write_unaligned(info);
                size_of::<libc::in6_pktinfo>() as u32
            }
        };
        (*part).cmsg_len = libc::CMSG_LEN(size) as _;
        header.msg_controllen = libc::CMSG_SPACE(size) as _;
        libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
    }
}
