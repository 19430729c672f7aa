//! The bytes are those of README.md, computed here from its formula alone, without the library that wrote them.

mod common;

use std::fmt::Write;

use cofferdam_parity::Geometry;
use common::Written;
use sha2::{Digest, Sha256};

/// The basis in which a symbol's bits are coordinates, as elements of GF(2)[x] / (x^16 + x^5 + x^3 + x^2 + 1).
const BASIS: [u16; 16] = [
    0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012, 0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8,
    0xFB34, 0xFF38, 0x991E,
];

fn element(symbol: u16) -> u16 {
    (0..16).filter(|bit| symbol >> bit & 1 == 1).fold(0, |sum, bit| sum ^ BASIS[bit])
}

fn multiply(a: u16, b: u16) -> u16 {
    let (mut product, mut shifted) = (0, u32::from(a));
    for bit in 0..16 {
        if b >> bit & 1 == 1 {
            product ^= shifted;
        }
        shifted <<= 1;
        if shifted & 0x1_0000 != 0 {
            shifted ^= 0x1_002D;
        }
    }
    u16::try_from(product).unwrap()
}

/// a^(2^16 - 2) = 1/a.
fn inverse(a: u16) -> u16 {
    let (mut power, mut result) = (a, 1);
    for _ in 1..16 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}

/// What row `row` of the data adds to parity `parity`, as a factor.
fn factor(parity: u16, row: u16, places: u16) -> u16 {
    (0..places).filter(|place| *place != parity).fold(1, |product, place| {
        let above = element((places + row) ^ place);
        multiply(product, multiply(above, inverse(element(parity ^ place))))
    })
}

fn symbol(slice: &[u8], index: usize) -> u16 {
    let block = &slice[index / 32 * 64..];
    u16::from(block[index % 32]) | u16::from(block[index % 32 + 32]) << 8
}

#[test]
fn parity_is_what_the_formula_of_the_readme_gives() {
    for (groups, rows, parity) in [(1u64, 3u16, 1u16), (1, 25, 3), (2, 18, 5), (1, 8, 8)] {
        let geometry = Geometry {
            slice: 4096,
            data_len: groups * u64::from(rows) * 4096 - 5000,
            groups,
            parity_per_group: parity.into(),
        };
        let written = Written::new(geometry, 11, 1);
        let mut padded = written.data.clone();
        padded.resize(usize::try_from(groups).unwrap() * usize::from(rows) * 4096, 0);
        let slice = |stream: &[u8], row: u16, group: u64| {
            let start = (u64::from(row) * groups + group) * 4096;
            stream[usize::try_from(start).unwrap()..][..4096].to_vec()
        };
        for group in 0..groups {
            for j in 0..parity {
                let factors: Vec<u16> = (0..rows).map(|i| factor(j, i, parity.next_power_of_two())).collect();
                let data: Vec<Vec<u8>> = (0..rows).map(|i| slice(&padded, i, group)).collect();
                let stored = slice(&written.parity, j, group);
                for index in [0, 1, 31, 32, 1000, 2047] {
                    let sum = data
                        .iter()
                        .zip(&factors)
                        .fold(0, |sum, (data, factor)| sum ^ multiply(element(symbol(data, index)), *factor));
                    assert_eq!(element(symbol(&stored, index)), sum, "group {group} parity {j} at {index}");
                }
            }
        }
    }
}

#[test]
fn check_entries_are_truncated_hashes_of_padded_slices_in_order() {
    let written = Written::chosen(10_000, 50);
    let mut padded = written.data.clone();
    padded.resize(3 * 4096, 0);
    let slices = padded.chunks(4096).chain(written.parity.chunks(4096));
    let expected: Vec<u8> = slices.flat_map(|slice| Sha256::digest(slice)[..16].to_vec()).collect();
    assert_eq!(written.checks, [b"CT1CHECK".as_slice(), &expected].concat());
}

#[test]
fn the_bytes_of_a_known_stream_never_change() {
    let written = Written::chosen(3_000_000, 50);
    let digest = Sha256::digest([written.parity, written.checks].concat());
    let hex = digest.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    assert_eq!(hex, "07b44f5d66630a8465c21516b1ff7943c8e97185dd8f652a8dca843731d9e11a");
}
