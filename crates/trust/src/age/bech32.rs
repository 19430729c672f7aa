//! Bech32 (BIP 173) without its length limit, as age uses it for keys.
//!
//! This module must never correct a mistake: a wrong character is refused, not repaired.

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
const CHECKSUM_LEN: usize = 6;
/// Our keys have 62 and 74 characters; nothing near this long is one.
const MAX_CHARS: usize = 200;

fn polymod(values: impl IntoIterator<Item = u8>) -> u32 {
    let mut sum: u32 = 1;
    for value in values {
        let top = sum >> 25;
        sum = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
        for (bit, generator) in GENERATOR.iter().enumerate() {
            if (top >> bit) & 1 == 1 {
                sum ^= generator;
            }
        }
    }
    sum
}

fn expand(prefix: &str) -> impl Iterator<Item = u8> {
    let high = prefix.bytes().map(|b| b >> 5);
    high.chain([0]).chain(prefix.bytes().map(|b| b & 31))
}

/// Encodes bytes under a lower-case prefix, in lower case.
pub(super) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let (mut groups, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            groups.push((held >> bits & 31) as u8);
        }
    }
    if bits > 0 {
        groups.push((held << (5 - bits) & 31) as u8);
    }
    let sum = polymod(expand(prefix).chain(groups.iter().copied()).chain([0; CHECKSUM_LEN])) ^ 1;
    groups.extend((0..CHECKSUM_LEN).rev().map(|n| (sum >> (5 * n) & 31) as u8));
    let text = groups.iter().map(|group| char::from(CHARSET[usize::from(group & 31)]));
    format!("{prefix}1{}", text.collect::<String>())
}

/// Decodes a text of one case under the given lower-case prefix; `None` when anything is amiss.
pub(super) fn decode(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let mixed = text.bytes().any(|b| b.is_ascii_lowercase()) && text.bytes().any(|b| b.is_ascii_uppercase());
    if mixed || text.len() > MAX_CHARS {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let body = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let value = |b: u8| CHARSET.iter().position(|c| *c == b).and_then(|at| u8::try_from(at).ok());
    let groups: Vec<u8> = body.bytes().map(value).collect::<Option<_>>()?;
    if polymod(expand(prefix).chain(groups.iter().copied())) != 1 {
        return None;
    }
    let groups = groups.get(..groups.len().checked_sub(CHECKSUM_LEN)?)?;
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0u32, 0);
    for group in groups {
        held = (held << 5) | u32::from(*group);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    // Padding is shorter than a group and zero, or two texts would mean the same key.
    (bits < 5 && held & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_the_specification_read_and_write_back() {
        let secret = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        assert_eq!(decode("age-secret-key-", secret), Some(vec![0x42; 32]));
        assert_eq!(encode("age-secret-key-", &[0x42; 32]).to_uppercase(), secret);
        // BIP 173, valid: an empty data part.
        assert_eq!(decode("a", "A12UEL5L"), Some(vec![]));
    }

    #[test]
    fn every_wrong_character_and_every_loose_form_is_refused() {
        let good = encode("age", &[7; 32]);
        assert_eq!(decode("age", &good), Some(vec![7; 32]));
        for at in 4..good.len() {
            let mut wrong = good.clone().into_bytes();
            wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
            assert_eq!(decode("age", std::str::from_utf8(&wrong).unwrap()), None, "{at}");
        }
        let mixed = format!("A{}", &good[1..]);
        let beyond = format!("{good}q");
        for wrong in ["", "age", "age1", "age1b", &mixed, &beyond, &good[..61], "agé1qqqqqqqq"] {
            assert_eq!(decode("age", wrong), None, "{wrong}");
        }
        assert_eq!(decode("other", &good), None);
    }
}
