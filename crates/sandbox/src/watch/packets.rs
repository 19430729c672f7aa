//! Notices packets that are neither TCP nor questions about names: UDP, QUIC, pings, other protocols.
//!
//! It only looks, and must never let a packet out or answer one. The kernel inside answers them itself, at once, with "port unreachable". Reading is
//! throttled: a flood fills the socket's own buffer, is counted there and dropped.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::filter::SNAP;
use super::owner::Table;
use super::{Decision, Shared, Transport};

/// Packets looked at before a pause.
const BATCH: usize = 64;
const PAUSE: Duration = Duration::from_millis(5);
/// Packets looked at after the end.
const LAST: usize = 1024;

/// Serves the observer's socket until the end.
pub async fn serve(socket: AsyncFd<OwnedFd>, shared: Arc<Shared>, mut ended: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            ready = socket.readable() => match ready {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => break,
            },
            _ = ended.wait_for(|ended| *ended) => break,
        }
        while drain(&socket, &shared, BATCH).await == BATCH {
            tokio::time::sleep(PAUSE).await;
            if *ended.borrow() {
                break;
            }
        }
    }
    drain(&socket, &shared, LAST).await;
    let mut unseen = missed(&socket);
    while super::received(&socket, &mut [0; SNAP]).is_some() {
        unseen += 1;
    }
    shared.recorder.missed_packets(unseen);
    // The kernel waits for all processors when a packet socket is closed; nobody waits for that.
    tokio::task::spawn_blocking(move || drop(socket));
}

async fn drain(socket: &AsyncFd<OwnedFd>, shared: &Shared, most: usize) -> usize {
    let mut buffer = [0; SNAP];
    for count in 0..most {
        let Some(length) = super::received(socket, &mut buffer) else { return count };
        if let Some(packet) = parse(buffer.get(..length).unwrap_or_default()) {
            note(shared, packet).await;
        }
    }
    most
}

async fn note(shared: &Shared, packet: Packet) {
    let name = shared.names.name(packet.to.ip());
    let (address, port) = (packet.to.ip(), packet.to.port());
    let mut attempt = shared.attempt(packet.transport, name.as_deref(), address, port);
    if packet.transport != Transport::Other {
        attempt.process = shared.process(Table::Udp, &attempt, packet.from, packet.to).await.0;
    }
    shared.note(&attempt, Decision::Refused);
}

/// Packets that the kernel dropped because the buffer was full: packet(7), `PACKET_STATISTICS`.
fn missed(socket: &AsyncFd<OwnedFd>) -> u64 {
    const PACKET_STATISTICS: libc::c_int = 6;
    let mut seen_and_dropped = [0_u32; 2];
    let mut length = size_of_val(&seen_and_dropped) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes.
    unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            PACKET_STATISTICS,
            seen_and_dropped.as_mut_ptr().cast(),
            &raw mut length,
        );
    }
    u64::from(seen_and_dropped[1])
}

#[derive(Debug, PartialEq, Eq)]
struct Packet {
    transport: Transport,
    from: SocketAddr,
    to: SocketAddr,
}

/// The head of an IP packet, cut off after [`SNAP`] bytes.
fn parse(bytes: &[u8]) -> Option<Packet> {
    let array = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
    let six = |at: usize| -> Option<[u8; 16]> { bytes.get(at..at + 16)?.try_into().ok() };
    let (from, to, protocol, payload): (IpAddr, IpAddr, u8, usize) = match bytes.first()? >> 4 {
        4 => {
            let header = usize::from(bytes.first()? & 15) * 4;
            (array(12)?.into(), array(16)?.into(), *bytes.get(9)?, header)
        }
        6 => {
            let (from, to) = (six(8)?.into(), six(24)?.into());
            match *bytes.get(6)? {
                // A fragment: only the first one holds the ports.
                44 if *bytes.get(42)? != 0 || bytes.get(43)? & 0xf8 != 0 => return None,
                44 => (from, to, *bytes.get(40)?, 48),
                protocol => (from, to, protocol, 40),
            }
        }
        _ => return None,
    };
    let port = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes(bytes.get(payload + at..payload + at + 2)?.try_into().ok()?))
    };
    if i32::from(protocol) != libc::IPPROTO_UDP && i32::from(protocol) != libc::IPPROTO_UDPLITE {
        let number = u16::from(protocol);
        return Some(Packet {
            transport: Transport::Other,
            from: SocketAddr::new(from, 0),
            to: SocketAddr::new(to, number),
        });
    }
    let (source, target) = (port(0)?, port(2)?);
    // The long header form with its fixed bit: every connection begins with one.
    let quic = target == 443 && bytes.get(payload + 8).is_some_and(|first| first & 0xc0 == 0xc0);
    Some(Packet {
        transport: if quic { Transport::Quic } else { Transport::Udp },
        from: SocketAddr::new(from, source),
        to: SocketAddr::new(to, target),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn udp(port: u16, first: u8) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 203, 0, 113, 9];
        packet.extend(50_000_u16.to_be_bytes());
        packet.extend(port.to_be_bytes());
        packet.extend([0, 9, 0, 0, first]);
        packet
    }

    #[test]
    fn quic_is_told_from_other_datagrams() {
        let kind = |port, first| parse(&udp(port, first)).unwrap().transport;
        assert_eq!(kind(443, 0xc3), Transport::Quic);
        assert_eq!(kind(443, 0x43), Transport::Udp);
        assert_eq!(kind(123, 0xc3), Transport::Udp);
        assert_eq!(parse(&udp(443, 0xc3)).unwrap().to, "203.0.113.9:443".parse().unwrap());
    }

    proptest! {
        #[test]
        fn hostile_packets_do_no_harm(version in prop::sample::select(vec![0x45_u8, 0x4f, 0x60, 0]), bytes: Vec<u8>) {
            let _ = parse(&[&[version][..], &bytes].concat());
        }
    }
}
