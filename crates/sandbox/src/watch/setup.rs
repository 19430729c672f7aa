//! The inside of a watched network, as steps: every address is local, every TCP connection lands in
//! one listener, every question about a name in one socket, everything else before one observer.
//!
//! | Part | How |
//! |---|---|
//! | routes | the whole address space, IPv4 and IPv6, is local on `lo`; the command's own address is 127.0.0.1 or ::1 |
//! | TCP | nf_tables hands a connection whose destination is not loopback to our listener (TPROXY) |
//! | names | a socket on port 53 of *every* address |
//! | the rest | a packet socket on `lo`; the kernel itself answers "port unreachable" |
//!
//! TPROXY, not REDIRECT: it rewrites nothing and tracks nothing. The accepted socket's own address
//! *is* the address that was dialled, the client's `getpeername` is right, ports of the client never
//! change, and no connection leaves an entry in a table that a build could fill.
//!
//! It must never make a way out: no address of the whole space may lead anywhere but to `lo`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::netlink::{Messages, attribute, nested};
use crate::step::Step;
use crate::wire::Socket;

/// What a handed-out socket is for, in the order of [`steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts the connections.
    Listener,
    /// Receives the questions about names.
    Names,
    /// Sees the packets that are neither.
    Packets,
}

/// More than the usual 128, so that a burst waits instead of being dropped, which the client would
/// see as a second without an answer.
const BACKLOG: libc::c_int = 4096;
/// `lo` is the first device of every network namespace.
const LOOPBACK: u32 = 1;

const PACKET_IGNORE_OUTGOING: libc::c_int = 23;
const IPV6_TRANSPARENT: libc::c_int = 75;

/// The steps, after `lo` is up, and the sockets that they hand out in this order. `taken` are ports
/// that the doors need.
pub fn steps(taken: &[u16]) -> (Vec<Step>, Vec<Role>) {
    // Below 1024, where the command itself cannot listen.
    let port = (1..=1023).find(|port| *port != 53 && !taken.contains(port)).unwrap_or(1);
    let mut out = Plan::default();
    out.family(Ipv4Addr::LOCALHOST.into(), Ipv4Addr::UNSPECIFIED.into(), port);
    if ipv6_works() {
        out.family(Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into(), port);
    }
    out.socket(Role::Packets, packets(), "watching the packets of the loopback device".into());
    (out.steps, out.roles)
}

/// Without IPv6 in the kernel there is nothing to seal: its sockets cannot be made or have no route.
fn ipv6_works() -> bool {
    let off = std::fs::read_to_string("/sys/module/ipv6/parameters/disable_ipv6").unwrap_or_default();
    Path::new("/proc/net/if_inet6").exists() && off.trim() != "1"
}

#[derive(Default)]
struct Plan {
    steps: Vec<Step>,
    roles: Vec<Role>,
}

impl Plan {
    fn socket(&mut self, role: Role, socket: Socket, text: String) {
        self.steps.push(Step::Socket { socket, text });
        self.roles.push(role);
    }

    fn netlink(&mut self, family: libc::c_int, messages: Messages, text: String) {
        self.steps.push(Step::Netlink { family, messages, text });
    }

    fn family(&mut self, own: IpAddr, any: IpAddr, port: u16) {
        let version = if own.is_ipv4() { "IPv4" } else { "IPv6" };
        self.netlink(
            libc::NETLINK_ROUTE,
            everything_is_local(own),
            format!("making every {version} address local"),
        );
        self.netlink(
            libc::NETLINK_NETFILTER,
            hand_over(own, port),
            format!("telling nf_tables to hand {version} connections to the recorder"),
        );
        let listener = transparent(Socket::listener(SocketAddr::new(own, port), BACKLOG));
        self.socket(Role::Listener, listener, format!("listening for {version} connections"));
        let mut names = transparent(Socket::bound(libc::SOCK_DGRAM, SocketAddr::new(any, 53)));
        names.options.extend(if own.is_ipv4() {
            vec![(libc::SOL_IP, libc::IP_PKTINFO, 1)]
        } else {
            vec![(libc::SOL_IPV6, libc::IPV6_V6ONLY, 1), (libc::SOL_IPV6, libc::IPV6_RECVPKTINFO, 1)]
        });
        self.socket(Role::Names, names, format!("answering questions about names over {version}"));
    }
}

/// Lets a socket be other addresses than the namespace's own.
fn transparent(mut socket: Socket) -> Socket {
    socket.options.push(if socket.domain == libc::AF_INET {
        (libc::SOL_IP, libc::IP_TRANSPARENT, 1)
    } else {
        (libc::SOL_IPV6, IPV6_TRANSPARENT, 1)
    });
    socket
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// `ip route add local default dev lo src OWN`. Without a source of its own a connection would have
/// the same address at both ends, and could meet itself.
fn everything_is_local(own: IpAddr) -> Messages {
    const RTM_NEWROUTE: u16 = 24;
    const RTPROT_STATIC: u8 = 4;
    const RT_TABLE_LOCAL: u8 = 255;
    const RT_SCOPE_HOST: u8 = 254;
    const RTN_LOCAL: u8 = 2;
    const RTA_OIF: u16 = 4;
    const RTA_PREFSRC: u16 = 7;
    let family = if own.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
    // struct rtmsg: family, lengths of destination and source, service, table, protocol, scope, type, flags.
    let mut body = vec![family, 0, 0, 0, RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL, 0, 0, 0, 0];
    body.extend(attribute(RTA_OIF, &LOOPBACK.to_ne_bytes()));
    body.extend(attribute(RTA_PREFSRC, &octets(own)));
    let mut messages = Messages::default();
    messages.push(RTM_NEWROUTE, libc::NLM_F_ACK | libc::NLM_F_CREATE, &body);
    messages
}

/// A table with one chain at the pre-routing hook and one rule. In the terms of `nft`:
/// `ip daddr != 127.0.0.0/8 meta l4proto tcp tproxy to 127.0.0.1:PORT`.
fn hand_over(own: IpAddr, port: u16) -> Messages {
    const TABLE: &[u8] = b"cofferdam\0";
    const CHAIN: &[u8] = b"recorder\0";
    const SUBSYSTEM: u8 = 10;
    const MANGLE: i32 = -150;
    let (family, proto) = if own.is_ipv4() { (2, libc::AF_INET) } else { (10, libc::AF_INET6) };
    let head = |attributes: &[Vec<u8>]| {
        // struct nfgenmsg: family, version, resource.
        let mut body = vec![family, 0, 0, 0];
        body.extend(attributes.concat());
        body
    };
    let mut messages = Messages::default();
    let mut push = |kind: u16, body: Vec<u8>| {
        messages.push(u16::from(SUBSYSTEM) << 8 | kind, libc::NLM_F_ACK | libc::NLM_F_CREATE, &body);
    };
    // NEWTABLE: 1 name. NEWCHAIN: 1 table, 3 name, 4 hook (1 number, 2 priority), 7 type.
    // NEWRULE: 1 table, 2 chain, 4 expressions.
    let table = head(&[attribute(1, TABLE)]);
    let hook = nested(4, &[number(1, 0), attribute(2, &MANGLE.to_be_bytes())]);
    let chain = head(&[attribute(1, TABLE), attribute(3, CHAIN), hook, attribute(7, b"filter\0")]);
    let rule = head(&[attribute(1, TABLE), attribute(2, CHAIN), nested(4, &expressions(own, port, proto))]);
    push(0, table);
    push(3, chain);
    push(6, rule);
    messages.batch(SUBSYSTEM)
}

/// nf_tables takes numbers in network order.
fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn expression(name: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
    nested(1, &[attribute(1, name), nested(2, attributes)])
}

fn data(kind: u16, value: &[u8]) -> Vec<u8> {
    nested(kind, &[attribute(1, value)])
}

fn expressions(own: IpAddr, port: u16, proto: libc::c_int) -> Vec<Vec<u8>> {
    const EQUAL: u32 = 0;
    const NOT_EQUAL: u32 = 1;
    const L4_PROTOCOL: u32 = 16;
    const NETWORK_HEADER: u32 = 1;
    let (offset, mask, loopback) = match own {
        IpAddr::V4(_) => (16, vec![255, 0, 0, 0], vec![127, 0, 0, 0]),
        IpAddr::V6(v6) => (24, vec![255; 16], v6.octets().to_vec()),
    };
    let length = mask.len() as u32;
    let compare =
        |operator, value: &[u8]| expression(b"cmp\0", &[number(1, 1), number(2, operator), data(3, value)]);
    vec![
        // meta: 1 destination register, 2 key. cmp: 1 register, 2 operator, 3 value.
        expression(b"meta\0", &[number(1, 1), number(2, L4_PROTOCOL)]),
        compare(EQUAL, &[libc::IPPROTO_TCP as u8]),
        // payload: 1 register, 2 base, 3 offset, 4 length. bitwise: 1 from, 2 to, 3 length, 4 mask, 5 xor.
        expression(
            b"payload\0",
            &[number(1, 1), number(2, NETWORK_HEADER), number(3, offset), number(4, length)],
        ),
        expression(
            b"bitwise\0",
            &[number(1, 1), number(2, 1), number(3, length), data(4, &mask), data(5, &vec![0; mask.len()])],
        ),
        compare(NOT_EQUAL, &loopback),
        // immediate: 1 register, 2 value. tproxy: 1 family, 2 register of the address, 3 of the port.
        expression(b"immediate\0", &[number(1, 1), data(2, &octets(own))]),
        expression(b"immediate\0", &[number(1, 2), data(2, &port.to_be_bytes())]),
        expression(b"tproxy\0", &[number(1, proto as u32), number(2, 1), number(3, 2)]),
    ]
}

/// Sees what arrives on `lo` and is neither TCP, nor for loopback, nor a question about a name, nor
/// the kernel's own answer.
fn packets() -> Socket {
    // struct sockaddr_ll: family, protocol (network order), device; the rest does not matter for binding.
    let mut address = Vec::new();
    address.extend((libc::AF_PACKET as u16).to_ne_bytes());
    address.extend((libc::ETH_P_ALL as u16).to_be_bytes());
    address.extend(LOOPBACK.to_ne_bytes());
    address.resize(size_of::<libc::sockaddr_ll>(), 0);
    Socket {
        domain: libc::AF_PACKET,
        kind: libc::SOCK_DGRAM,
        // Bound with a protocol only when the filter is in place; before that it sees nothing.
        protocol: 0,
        // Every packet would be seen twice on `lo`, going out and coming in.
        options: vec![(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)],
        filter: super::filter::only_strangers(),
        address,
        backlog: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorder_leaves_the_ports_of_the_doors_alone() {
        let port = |taken: &[u16]| {
            let (steps, _) = steps(taken);
            steps.iter().find_map(|step| match step {
                Step::Socket { socket, .. } if socket.backlog.is_some() => {
                    Some(u16::from_be_bytes([socket.address[2], socket.address[3]]))
                }
                _ => None,
            })
        };
        assert_eq!((port(&[]), port(&[1, 2])), (Some(1), Some(3)));
        let all: Vec<u16> = (1..53).collect();
        assert_eq!(port(&all), Some(54), "53 is for names");
    }

    #[test]
    fn a_step_that_fails_can_be_told_in_words() {
        let (steps, roles) = steps(&[]);
        let words: Vec<_> = steps.iter().map(ToString::to_string).collect();
        assert!(words.contains(&"telling nf_tables to hand IPv4 connections to the recorder".to_owned()));
        let sockets = steps.iter().filter(|step| matches!(step, Step::Socket { .. })).count();
        assert_eq!(sockets, roles.len());
    }
}
