//! A stream with its parity, and media that lose parts of it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{Error, ErrorKind, Result};
use std::ops::Range;

use cofferdam_parity::{
    CheckReader, Damage, Geometry, Layout, Memory, ReadAt, Unrepaired, WriteAt, encode, find_damage, repair,
};

/// Bytes that do not repeat.
pub fn bytes(len: u64, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// A stream as it was written.
#[derive(Clone)]
pub struct Written {
    pub geometry: Geometry,
    pub data: Vec<u8>,
    pub parity: Vec<u8>,
    pub checks: Vec<u8>,
}

impl Written {
    pub fn new(geometry: Geometry, seed: u64, threads: usize) -> Self {
        let data = bytes(geometry.data_len, seed);
        let (parity, checks) = (Memory::default(), Memory::default());
        encode(&geometry, &data, &parity, &checks, threads, &|_| ()).unwrap();
        Self { geometry, data, parity: parity.into_bytes(), checks: checks.into_bytes() }
    }

    pub fn chosen(len: u64, share: u32) -> Self {
        Self::new(Geometry::choose(len, share).unwrap(), len, 2)
    }

    pub fn layout(&self) -> Layout {
        self.geometry.check().unwrap()
    }

    pub fn find(&self, data: &dyn ReadAt, parity: &dyn ReadAt) -> Damage {
        find_damage(&self.geometry, data, parity, &CheckReader::new(&self.checks), 2, &|_| ()).unwrap()
    }

    /// Repairs into a copy of `broken` and returns it with what was not rebuilt.
    pub fn repair(&self, broken: &Medium, parity: &Medium, damage: &Damage) -> (Vec<u8>, Unrepaired) {
        let place = Strict { len: self.geometry.data_len, memory: Memory::new(broken.bytes.clone()) };
        let rest = repair(&self.geometry, broken, parity, damage, &place, 3, &|_| ()).unwrap();
        (place.memory.into_bytes(), rest)
    }
}

/// A place that refuses to be written behind its end.
struct Strict {
    len: u64,
    memory: Memory,
}

impl WriteAt for Strict {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        assert!(offset + bytes.len() as u64 <= self.len, "written behind the end of the stream");
        self.memory.write_at(offset, bytes)
    }
}

/// A medium some of whose ranges are lost: their bytes are garbage, and reading them fails.
pub struct Medium {
    pub bytes: Vec<u8>,
    lost: Vec<Range<u64>>,
    error: fn() -> Error,
}

impl Medium {
    pub fn whole(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), lost: Vec::new(), error: || ErrorKind::NotFound.into() }
    }

    pub fn lose(mut self, range: Range<u64>) -> Self {
        let end = usize::try_from(range.end).unwrap().min(self.bytes.len());
        let start = usize::try_from(range.start).unwrap().min(end);
        self.bytes[start..end].fill(0xa5);
        self.lost.push(range);
        self
    }

    /// Lost ranges answer with this error instead.
    pub fn failing(mut self, error: fn() -> Error) -> Self {
        self.error = error;
        self
    }

    pub fn flip(mut self, at: u64) -> Self {
        self.bytes[usize::try_from(at).unwrap()] ^= 0x10;
        self
    }
}

impl ReadAt for Medium {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let end = offset + buf.len() as u64;
        if self.lost.iter().any(|lost| lost.start < end && offset < lost.end) {
            return Err((self.error)());
        }
        self.bytes.read_at(offset, buf)
    }
}
