//! The packet observer's filter: what the kernel hands over of all that passes `lo`.
//!
//! Classic BPF, put together from jumps with names, because offsets counted by hand go wrong. It
//! must let nothing through that happens in masses in an honest build: TCP and questions about names.

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD};
use libc::{BPF_LDX, BPF_MSH, BPF_RET, BPF_W};
use seccompiler::sock_filter;

/// Bytes of a packet that its observer needs: addresses, ports, the first byte behind them.
pub const SNAP: usize = 128;

/// Where a comparison leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    Six,
    Body,
    SixUdp,
    Drop,
    Keep,
}
use To::{Body, Drop, Keep, Next, Six, SixUdp};

#[derive(Default)]
struct Program {
    ops: Vec<(sock_filter, To, To)>,
    marks: Vec<(To, usize)>,
}

impl Program {
    fn op(&mut self, code: u32, k: u32) -> &mut Self {
        self.ops.push((sock_filter { code: code as u16, jt: 0, jf: 0, k }, Next, Next));
        self
    }

    /// Loads from a fixed place, counted from the IP header.
    fn load(&mut self, size: u32, at: u32) -> &mut Self {
        self.op(BPF_LD | size | BPF_ABS, at)
    }

    fn equal(&mut self, value: u32, yes: To, no: To) -> &mut Self {
        let code = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
        self.ops.push((sock_filter { code, jt: 0, jf: 0, k: value }, yes, no));
        self
    }

    fn mark(&mut self, name: To) -> &mut Self {
        self.marks.push((name, self.ops.len()));
        self
    }

    fn build(&self) -> Vec<sock_filter> {
        let distance = |from: usize, to: To| {
            let at = self.marks.iter().find(|(name, _)| *name == to).map_or(from + 1, |(_, at)| *at);
            at.saturating_sub(from + 1) as u8
        };
        let resolved = |(at, (op, yes, no)): (usize, &(sock_filter, To, To))| sock_filter {
            jt: distance(at, *yes),
            jf: distance(at, *no),
            ..op.clone()
        };
        self.ops.iter().enumerate().map(resolved).collect()
    }
}

/// Lets through what is neither TCP, nor for loopback, nor a question about a name (port 53), nor
/// the kernel's own messages. Packets begin at their IP header.
pub fn only_strangers() -> Vec<sock_filter> {
    /// `SKF_AD_OFF + SKF_AD_PROTOCOL`: the packet's protocol, wherever it came from.
    const PROTOCOL: u32 = 0xffff_f000;
    const ECHO: u32 = 8;
    const ECHO_6: u32 = 128;
    const IGMP: u32 = 2;
    const HOP_BY_HOP: u32 = 0;
    let (tcp, udp) = (libc::IPPROTO_TCP as u32, libc::IPPROTO_UDP as u32);
    let mut program = Program::default();
    program
        .load(BPF_H, PROTOCOL)
        .equal(libc::ETH_P_IP as u32, Next, Six)
        .load(BPF_W, 16)
        .op(BPF_ALU | BPF_AND | BPF_K, 0xff00_0000)
        .equal(0x7f00_0000, Drop, Next)
        // A later fragment holds no ports; the first one was seen.
        .load(BPF_H, 6)
        .op(BPF_ALU | BPF_AND | BPF_K, 0x1fff)
        .equal(0, Next, Drop)
        .op(BPF_LDX | BPF_B | BPF_MSH, 0)
        .load(BPF_B, 9)
        .equal(tcp, Drop, Next)
        .equal(IGMP, Drop, Next)
        .equal(libc::IPPROTO_ICMP as u32, Next, Body)
        .op(BPF_LD | BPF_B | BPF_IND, 0)
        .equal(ECHO, Keep, Drop)
        .mark(Body)
        .equal(udp, Next, Keep)
        .op(BPF_LD | BPF_H | BPF_IND, 2)
        .equal(53, Drop, Keep);
    program.mark(Six).equal(libc::ETH_P_IPV6 as u32, Next, Drop);
    // The destination is ::1 only when all four words are right.
    program.load(BPF_B, 6).equal(tcp, Drop, Next).equal(HOP_BY_HOP, Drop, Next);
    program
        .equal(udp, SixUdp, Next)
        .equal(libc::IPPROTO_ICMPV6 as u32, Next, Keep)
        .load(BPF_B, 40)
        .equal(ECHO_6, Keep, Drop)
        .mark(SixUdp)
        .load(BPF_H, 42)
        .equal(53, Drop, Next)
        .load(BPF_W, 24)
        .equal(0, Next, Keep)
        .load(BPF_W, 28)
        .equal(0, Next, Keep)
        .load(BPF_W, 32)
        .equal(0, Next, Keep)
        .load(BPF_W, 36)
        .equal(1, Drop, Keep);
    program.mark(Keep).op(BPF_RET | BPF_K, SNAP as u32);
    program.mark(Drop).op(BPF_RET | BPF_K, 0);
    program.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_leads_forward_and_stays_inside() {
        let program = only_strangers();
        for (at, op) in program.iter().enumerate() {
            if op.code & 7 == BPF_JMP as u16 {
                assert!(at + 1 + usize::from(op.jt.max(op.jf)) < program.len(), "instruction {at}");
            }
        }
        assert_eq!(program.iter().filter(|op| op.code & 7 == BPF_RET as u16).count(), 2);
    }
}
