//! Questions about names: reading them, answering them, and the addresses that stand for names.
//!
//! Every name exists and has one address of 198.18.0.0/15 (RFC 2544: never routed), the same for
//! the same name; whoever dials it has told us the name. The questions are a stranger's: what is
//! not a plain question is dropped, and nothing here follows a compression pointer.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Names of one sandbox; a build that asks for more gets a failure.
const MAX_NAMES: usize = 16_384;
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 1]);
/// Seconds that an answer may be kept: as long as the sandbox lives.
const TTL: u32 = 3600;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
const HEADER: usize = 12;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// In lower case, without the last dot; `.` for the root.
    pub name: String,
    kind: u16,
    class: u16,
    header: &'a [u8],
    /// The question as it was asked: some clients compare its letters.
    asked: &'a [u8],
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This address.
    Address(Ipv4Addr),
    /// The name is there, but has nothing of this kind.
    Nothing,
    /// The server failed.
    Failure,
}

impl<'a> Question<'a> {
    /// Reads a message with exactly one question; `None` for anything else (RFC 1035 section 4.1).
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let header = message.get(..HEADER)?;
        // A question (not an answer), of the plain kind, one of them.
        let plain = header.get(2)? & 0b1111_1000 == 0 && header.get(4..6)? == [0, 1];
        let (mut at, mut name) = (HEADER, String::new());
        loop {
            let length = usize::from(*message.get(at)?);
            if length == 0 {
                break;
            }
            // Longer lengths are pointers or unknown; a whole name has at most 255 bytes.
            if length > 63 || at - HEADER + length + 2 > 255 {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            push_label(&mut name, message.get(at + 1..at + 1 + length)?);
            at += 1 + length;
        }
        let asked = message.get(HEADER..at + 5)?;
        let number = |from: usize| Some(u16::from_be_bytes(message.get(from..from + 2)?.try_into().ok()?));
        if name.is_empty() {
            name.push('.');
        }
        plain.then_some(Self { name, kind: number(at + 1)?, class: number(at + 3)?, header, asked })
    }

    /// Whether it asks for an IPv4 address.
    pub fn wants_address(&self) -> bool {
        self.kind == TYPE_A && self.class == CLASS_IN && self.name != "."
    }

    /// The message that answers.
    pub fn answer(&self, answer: Answer) -> Vec<u8> {
        let (code, count) = match answer {
            Answer::Address(_) => (0, 1),
            Answer::Nothing => (0, 0),
            Answer::Failure => (2, 0),
        };
        let mut out = Vec::with_capacity(HEADER + self.asked.len() + 16);
        out.extend(self.header.get(..2).unwrap_or_default());
        // An answer with authority; "recursion desired" as it was asked; recursion available.
        out.push(0b1000_0100 | self.header.get(2).map_or(0, |flags| flags & 1));
        out.push(0b1000_0000 | code);
        out.extend([0, 1, 0, count, 0, 0, 0, 0]);
        out.extend(self.asked);
        if let Answer::Address(address) = answer {
            out.extend([0xc0, HEADER as u8]);
            out.extend([TYPE_A, CLASS_IN].iter().flat_map(|number| number.to_be_bytes()));
            out.extend(TTL.to_be_bytes());
            out.extend([0, 4]);
            out.extend(address.octets());
        }
        out
    }
}

/// RFC 4343 section 2.1: what is not a printable letter is written as `\DDD`.
fn push_label(name: &mut String, label: &[u8]) {
    for byte in label {
        match byte {
            b'.' | b'\\' => name.extend(['\\', char::from(*byte)]),
            _ if byte.is_ascii_graphic() => name.push(char::from(byte.to_ascii_lowercase())),
            _ => name.push_str(&format!("\\{byte:03}")),
        }
    }
}

/// The addresses that stand for names.
#[derive(Debug, Default)]
pub struct Names(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    /// The address of a name; `None` when there are too many names.
    pub fn address(&self, name: &str) -> Option<Ipv4Addr> {
        if name == "localhost" || name.ends_with(".localhost") {
            return Some(Ipv4Addr::LOCALHOST);
        }
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = table.numbers.get(name) {
            return Some(Ipv4Addr::from(FIRST + number));
        }
        if table.names.len() >= MAX_NAMES {
            return None;
        }
        let (number, name) = (table.names.len() as u32, Arc::<str>::from(name));
        table.names.push(Arc::clone(&name));
        table.numbers.insert(name, number);
        Some(Ipv4Addr::from(FIRST + number))
    }

    /// The name that an address stands for.
    pub fn name(&self, address: IpAddr) -> Option<Arc<str>> {
        let IpAddr::V4(address) = address.to_canonical() else { return None };
        let number = u32::from(address).checked_sub(FIRST)?;
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.names.get(number as usize).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn question(labels: &[&[u8]], kind: u16) -> Vec<u8> {
        let mut message = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            message.push(label.len() as u8);
            message.extend(*label);
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message
    }

    #[test]
    fn a_question_is_answered_with_the_address_of_its_name() {
        let message = question(&[b"Files", b"example"], TYPE_A);
        let asked = Question::parse(&message).unwrap();
        assert_eq!((asked.name.as_str(), asked.wants_address()), ("files.example", true));
        let answer = asked.answer(Answer::Address(Ipv4Addr::new(198, 18, 0, 1)));
        assert_eq!(answer[..4], [7, 9, 0b1000_0101, 0b1000_0000]);
        assert_eq!(answer[12..message.len()], message[12..], "the letters are as they were asked");
        assert_eq!(answer[answer.len() - 4..], [198, 18, 0, 1]);
        assert!(answer.len() <= 512);
    }

    #[test]
    fn other_kinds_are_answered_with_nothing_and_a_full_table_with_a_failure() {
        let message = question(&[b"files"], 28);
        let asked = Question::parse(&message).unwrap();
        assert!(!asked.wants_address());
        assert_eq!(asked.answer(Answer::Nothing).len(), message.len());
        assert_eq!(asked.answer(Answer::Failure)[3] & 15, 2);
    }

    #[test]
    fn what_is_not_a_plain_question_is_dropped() {
        let good = question(&[b"files", b"example"], TYPE_A);
        assert!((0..good.len()).all(|length| Question::parse(&good[..length]).is_none()));
        let changed = |at: usize, value: u8| {
            let mut message = good.clone();
            message[at] = value;
            Question::parse(&message).is_some()
        };
        assert!(!changed(2, 0x81), "an answer");
        assert!(!changed(2, 0x28), "an update");
        assert!(!changed(5, 2), "two questions");
        assert!(!changed(12, 0xc0), "a pointer");
        assert!(!changed(12, 200), "a length that is none");
        let long = question(&[&[b'a'; 63][..]; 4], TYPE_A);
        assert!(Question::parse(&long).is_none(), "more than 255 bytes");
    }

    #[test]
    fn odd_letters_cannot_forge_a_name() {
        let message = question(&[b"a.b\n", b"c"], TYPE_A);
        assert_eq!(Question::parse(&message).unwrap().name, "a\\.b\\010.c");
    }

    #[test]
    fn the_same_name_has_the_same_address_until_the_table_is_full() {
        let names = Names::default();
        let first = names.address("a.example").unwrap();
        assert_ne!(names.address("b.example").unwrap(), first);
        assert_eq!(names.address("a.example").unwrap(), first);
        assert_eq!(names.name(first.into()).as_deref(), Some("a.example"));
        assert_eq!(names.name("8.8.8.8".parse().unwrap()), None);
        for number in 0..MAX_NAMES {
            let _ = names.address(&number.to_string());
        }
        assert_eq!(names.address("one.more"), None);
        assert_eq!(names.address("a.example"), Some(first));
    }

    proptest! {
        #[test]
        fn hostile_questions_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..600), plain: bool) {
            if plain && bytes.len() > HEADER {
                bytes[2] = 1;
                bytes[4..6].copy_from_slice(&[0, 1]);
            }
            if let Some(question) = Question::parse(&bytes) {
                prop_assert!(question.name.len() <= 255 * 4);
                let answer = question.answer(Answer::Address(Ipv4Addr::LOCALHOST));
                prop_assert!(answer.len() <= 512);
            }
        }
    }
}
