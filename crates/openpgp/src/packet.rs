//! Packets (RFC 9580, section 4) and what stands in them: numbers and multiprecision integers.
//!
//! Lengths are whole here: partial and indeterminate ones occur in messages, not in keys and signatures, and are refused.

use cofferdam_types::Result;

use crate::bad;

/// Packets of one file at the most.
const MOST_PACKETS: usize = 50_000;
/// Bits of one number at the most.
const MOST_BITS: usize = 16_384;

/// Tags of packets that are read here.
pub mod tag {
    /// A signature.
    pub const SIGNATURE: u8 = 2;
    /// A secret key: no keyring of an archive has one.
    pub const SECRET_KEY: u8 = 5;
    /// A primary key.
    pub const PUBLIC_KEY: u8 = 6;
    /// A secret subkey.
    pub const SECRET_SUBKEY: u8 = 7;
    /// The marker, which says nothing.
    pub const MARKER: u8 = 10;
    /// A user id.
    pub const USER_ID: u8 = 13;
    /// A subkey.
    pub const PUBLIC_SUBKEY: u8 = 14;
    /// A user attribute: a picture.
    pub const USER_ATTRIBUTE: u8 = 17;
    /// Padding, which says nothing.
    pub const PADDING: u8 = 21;
}

/// One packet.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What it is.
    pub tag: u8,
    /// Its bytes without the header.
    pub body: &'a [u8],
}

/// Reads all packets of a file.
///
/// # Errors
/// `Invalid` when one is not whole, has a partial length, or when there are too many.
pub fn packets(bytes: &[u8]) -> Result<Vec<Packet<'_>>> {
    let mut input = Reader(bytes);
    let mut all = Vec::new();
    while !input.0.is_empty() {
        if all.len() == MOST_PACKETS {
            return Err(bad(format!("more than {MOST_PACKETS} packets")));
        }
        all.push(packet(&mut input).ok_or_else(|| bad("a packet is not whole, or its length is partial"))?);
    }
    Ok(all)
}

fn packet<'a>(input: &mut Reader<'a>) -> Option<Packet<'a>> {
    let first = input.byte()?;
    let (tag, length) = match first {
        0xC0.. => (first & 0x3F, new_length(input)?),
        0x80.. => {
            let length = match first & 3 {
                0 => usize::from(input.byte()?),
                1 => usize::from(input.u16()?),
                2 => usize::try_from(input.u32()?).ok()?,
                _ => return None,
            };
            ((first >> 2) & 0x0F, length)
        }
        _ => return None,
    };
    Some(Packet { tag, body: input.take(length)? })
}

/// A length of the new form (section 4.2.1.1), as subpackets have it too but for the partial ones.
fn new_length(input: &mut Reader<'_>) -> Option<usize> {
    let first = input.byte()?;
    match first {
        0..192 => Some(usize::from(first)),
        192..224 => Some(((usize::from(first) - 192) << 8) + usize::from(input.byte()?) + 192),
        255 => usize::try_from(input.u32()?).ok(),
        _ => None,
    }
}

/// A packet with a header of the new form.
pub fn written(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xC0 | tag, 0xFF];
    out.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// What is still to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// A number of two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A number of four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// A multiprecision integer (section 3.2), without zeros at its beginning.
    pub fn mpi(&mut self) -> Option<&'a [u8]> {
        let bits = usize::from(self.u16()?);
        if bits > MOST_BITS {
            return None;
        }
        let bytes = self.take(bits.div_ceil(8))?;
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        bytes.get(zeros..)
    }

    /// The length of a subpacket: partial ones do not exist there, so one more range is two bytes long.
    pub fn subpacket_length(&mut self) -> Option<usize> {
        match self.0.first()? {
            192..=254 => {
                let first = usize::from(self.byte()?);
                Some(((first - 192) << 8) + usize::from(self.byte()?) + 192)
            }
            _ => new_length(self),
        }
    }
}

/// A number as a fixed count of bytes, zeros before it; none when it is longer.
pub fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; length.checked_sub(number.len())?];
    out.extend_from_slice(number);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_headers_are_read_and_partial_lengths_are_not() {
        let long = [vec![0xC2, 192, 8], vec![7; 200]].concat();
        for (bytes, tag, length) in [
            (vec![0x88, 2, 1, 2], 2, 2),
            (vec![0x99, 0, 1, 9], 6, 1),
            (vec![0x8A, 0, 0, 0, 1, 9], 2, 1),
            (vec![0xC2, 2, 1, 2], 2, 2),
            (vec![0xCD, 0xFF, 0, 0, 0, 1, 9], 13, 1),
            (long, 2, 200),
        ] {
            let all = packets(&bytes).unwrap();
            assert_eq!((all.len(), all[0].tag, all[0].body.len()), (1, tag, length), "{bytes:?}");
        }
        for bytes in [
            &[0xC2u8, 225, 1, 1][..],
            &[0x8B, 1],
            &[0xC2, 9, 1],
            &[0x7F],
            &[0xC2],
            &[0xC2, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
        ] {
            assert!(packets(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(packets(&written(6, b"abc")).unwrap()[0].body, b"abc");
    }

    #[test]
    fn numbers_are_read_without_zeros_and_within_bounds() {
        assert_eq!(Reader(&[0, 9, 1, 2]).mpi(), Some(&[1u8, 2][..]));
        assert_eq!(Reader(&[0, 16, 0, 2]).mpi(), Some(&[2u8][..]));
        assert_eq!(Reader(&[0xFF, 0xFF, 1]).mpi(), None);
        assert_eq!(Reader(&[0, 9, 1]).mpi(), None);
        assert_eq!(padded(&[1], 3), Some(vec![0, 0, 1]));
        assert_eq!(padded(&[1, 2], 1), None);
    }
}
