//! Netlink messages, by which a watched network gets its routes and rules: put together in the parent,
//! sent and acknowledged in the child.
//!
//! Only attributes, messages and batches. The sending half runs in the child: it must never allocate,
//! and never interpret more of an answer than its error number.

use crate::sys::{self, Sys};

/// Bytes of one message or of a batch, and how many acknowledgements the kernel owes for it.
#[derive(Debug, Default)]
pub struct Messages {
    pub bytes: Vec<u8>,
    pub acknowledgements: usize,
}

/// `struct nlmsghdr`: length, type, flags, sequence, port.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;

impl Messages {
    /// Appends a message; `flags` beside `NLM_F_REQUEST`. One with `NLM_F_ACK` is waited for.
    pub fn push(&mut self, kind: u16, flags: libc::c_int, body: &[u8]) {
        let flags = (flags | libc::NLM_F_REQUEST) as u16;
        self.bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend((self.acknowledgements as u32).to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.acknowledgements += usize::from(flags & libc::NLM_F_ACK as u16 != 0);
    }

    /// The same as one transaction of a subsystem of nfnetlink: all of it is done, or nothing.
    pub fn batch(mut self, subsystem: u8) -> Self {
        const BEGIN: u16 = 0x10;
        const END: u16 = 0x11;
        // struct nfgenmsg: family, version, resource in network order.
        let body = [0, 0, 0, subsystem];
        let mut whole = Self::default();
        whole.push(BEGIN, 0, &body);
        whole.bytes.append(&mut self.bytes);
        whole.acknowledgements = self.acknowledgements;
        whole.push(END, 0, &body);
        whole
    }
}

/// One attribute, padded.
pub fn attribute(kind: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + data.len());
    bytes.extend(((4 + data.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute made of attributes.
pub fn nested(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    attribute(kind | NLA_F_NESTED, &parts.concat())
}

/// Sends prepared messages and checks every acknowledgement. Allocates nothing.
pub fn exchange(family: libc::c_int, messages: &Messages) -> Sys {
    let socket = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_NONBLOCK, family)?;
    let done = sys::write(socket, &messages.bytes).and_then(|()| acknowledged(socket, messages));
    sys::close(socket);
    done
}

/// The kernel works while it is written to: every answer is there already.
fn acknowledged(socket: std::os::fd::RawFd, messages: &Messages) -> Sys {
    let mut left = messages.acknowledgements;
    while left > 0 {
        let mut answer = [0; 4096];
        let length = sys::read(socket, &mut answer)?;
        // One datagram may hold several answers; each is an nlmsgerr: header, negative error number.
        let mut rest = answer.get(..length).unwrap_or_default();
        while let Some((error, size)) = first_answer(rest) {
            match error {
                Some(0) => left = left.saturating_sub(1),
                Some(error) => return Err(-error),
                None => {}
            }
            rest = rest.get(size..).unwrap_or_default();
        }
    }
    Ok(())
}

/// The error number of the first message, if it is an acknowledgement, and the message's padded size.
fn first_answer(bytes: &[u8]) -> Option<(Option<i32>, usize)> {
    let word = |at: usize| Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let size = usize::try_from(word(0)?).ok()?.max(HEADER).next_multiple_of(4);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let error = if kind == NLMSG_ERROR { Some(word(HEADER)?) } else { None };
    bytes.get(..HEADER).map(|_| (error, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_are_padded_to_four_bytes() {
        let mut messages = Messages::default();
        messages.push(7, libc::NLM_F_ACK, &attribute(1, b"abc"));
        assert_eq!(messages.bytes.len(), HEADER + 8);
        assert_eq!(messages.bytes[..4], 24_u32.to_ne_bytes());
        assert_eq!(messages.acknowledgements, 1);
        assert_eq!(nested(2, &[attribute(1, b"abcd")])[2..4], 0x8002_u16.to_ne_bytes());
    }

    #[test]
    fn a_batch_is_its_messages_between_a_begin_and_an_end() {
        let mut messages = Messages::default();
        messages.push(7, libc::NLM_F_ACK, &[1; 4]);
        messages.push(8, libc::NLM_F_ACK, &[2; 4]);
        let inside = messages.bytes.clone();
        let whole = messages.batch(10);
        let mark = HEADER + 4;
        assert_eq!(whole.acknowledgements, 2);
        assert_eq!(whole.bytes[mark..whole.bytes.len() - mark], inside);
        assert_eq!(whole.bytes[4..6], 0x10_u16.to_ne_bytes());
        assert_eq!(whole.bytes[HEADER..mark], [0, 0, 0, 10]);
    }

    #[test]
    fn a_short_or_odd_answer_is_not_read_beyond_its_end() {
        assert_eq!(first_answer(&[0; 10]), None);
        assert_eq!(first_answer(&[255; 18]), None);
        let mut refused = Messages::default();
        refused.push(NLMSG_ERROR, 0, &(-libc::EPERM).to_ne_bytes());
        assert_eq!(first_answer(&refused.bytes), Some((Some(-libc::EPERM), 20)));
    }
}
