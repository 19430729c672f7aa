//! The parity and the checks of the vectors are what the specification says, by its own formula.

use std::{fs, path::Path};

use cofferdam_transfer::{Header, Survey};
use cofferdam_types::Sha256;

use crate::{
    tools,
    vectors::{Vector, list},
};

const BASIS: [u16; 16] = [
    0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900, 0xfdb8,
    0xfb34, 0xff38, 0x991e,
];

/// The field element of a name.
fn element(name: u16) -> u16 {
    (0..16).filter(|bit| name >> bit & 1 == 1).fold(0, |sum, bit| sum ^ BASIS[bit])
}

fn times(a: u16, b: u16) -> u16 {
    let (mut product, mut a) = (0, u32::from(a));
    for bit in 0..16 {
        if b >> bit & 1 == 1 {
            product ^= a;
        }
        a <<= 1;
        if a >> 16 == 1 {
            a ^= 0x1_002d;
        }
    }
    product as u16
}

fn power(a: u16, k: usize) -> u16 {
    (0..k).fold(1, |product, _| times(product, a))
}

/// The element at a column of a slice.
fn at(stream: &[u8], slice: usize, number: usize, column: usize) -> u16 {
    let low = number * slice + column / 32 * 64 + column % 32;
    let byte = |at: usize| stream.get(at).copied().unwrap_or(0);
    element(u16::from_le_bytes([byte(low), byte(low + 32)]))
}

struct Streams {
    header: Header,
    data: Vec<u8>,
    parity: Vec<u8>,
    checks: Vec<u8>,
}

fn streams(vector: &Vector) -> Streams {
    let folder = tools::spec().join("vectors").join(&vector.folder);
    let header = Survey::open(&[&folder], &vector.trust()).unwrap().header;
    let read = |name: &str| fs::read(Path::new(&folder).join(name)).unwrap();
    let all = |end: &str| -> Vec<u8> {
        tools::names(&folder).iter().filter(|n| n.ends_with(end)).flat_map(|n| read(n)).collect()
    };
    let data = [read(header.manifest_name()), all(".ctv")].concat();
    Streams { header, data, parity: all(".ctp"), checks: read("checks.ctk") }
}

#[test]
fn parity_is_the_solution_of_the_equations_in_the_specification() {
    for name in ["sealed", "rotated", "nothing"] {
        let vector = list().into_iter().find(|v| v.name == name).unwrap();
        let Streams { header, data, parity, .. } = streams(&vector);
        let geometry = header.parity.unwrap();
        let (slice, groups) = (geometry.slice as usize, geometry.groups as usize);
        let written = geometry.parity_per_group as usize;
        let (m, rows) = (written.next_power_of_two(), data.len().div_ceil(slice).div_ceil(groups));
        assert!(m - written < 2, "the test solves for one row that is not written");
        for (group, column) in (0..groups).flat_map(|g| [0, 31, 32, 1000, slice / 2 - 1].map(|c| (g, c))) {
            let sum = |k: usize| {
                let known = (0..written).map(|j| (j, at(&parity, slice, j * groups + group, column)));
                let rows = (0..rows).map(|i| (m + i, at(&data, slice, i * groups + group, column)));
                known.chain(rows).fold(0, |sum, (n, x)| sum ^ times(x, power(element(n as u16), k)))
            };
            // The row that is not written follows from the first equation; the others must hold with it.
            let unwritten = if m > written { sum(0) } else { 0 };
            for k in 0..m {
                assert_eq!(
                    sum(k),
                    times(unwritten, power(element(written as u16), k)),
                    "{name}, {column}, {k}"
                );
            }
        }
    }
}

#[test]
fn checks_are_the_first_halves_of_the_hashes_of_slices() {
    for vector in list().iter().filter(|v| v.verdict == "verified" && v.identity.is_some()) {
        let Streams { header, mut data, parity, checks } = streams(vector);
        let slice = header.parity.unwrap().slice as usize;
        data.resize(data.len().div_ceil(slice) * slice, 0);
        let halves =
            data.chunks(slice).chain(parity.chunks(slice)).flat_map(|s| Sha256::of(s).0[..16].to_vec());
        let expected: Vec<u8> = b"CT1CHECK".iter().copied().chain(halves).collect();
        assert!(checks == expected, "{}", vector.name);
    }
}
