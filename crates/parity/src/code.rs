//! The code itself over many groups at once: sums that grow row by row, and the solution for lost slices.
//!
//! Every 64-byte column of a group's slices is coded alone, so neighbouring groups are coded as one wide group,
//! and a row of it is one contiguous read. The high-rate code of `reed-solomon-simd` adds up transformed chunks
//! of rows, so the rows need not be in memory together: only one chunk and the sums are. Rebuilding uses that the
//! code is linear: the sums over what survived, added to the surviving parity, are the parity of what is lost.

use std::io::{Error, Result};

use reed_solomon_simd::engine::{DefaultEngine, Engine, ShardsRefMut, utils::xor};
use reed_solomon_simd::rate::{HighRateDecoder, RateDecoder};

use crate::geometry::{Layout, MIN_SLICE};

/// Memory of all buffers of all workers together, in bytes.
const BUFFERS: usize = 72 << 20;
/// Memory of one worker's decoder, in bytes.
const DECODER: usize = 4 << 20;
/// Columns that are transformed together: a chunk of them stays in the processor's cache.
const STRIP: usize = MIN_SLICE as usize;
const BLOCK: usize = 64;
const STRIP_BLOCKS: usize = STRIP / BLOCK;
/// A row longer than this is read no faster.
const WIDEST: usize = 4 << 20;

/// How many workers with how many groups each, so that all buffers together stay within [`BUFFERS`].
pub(crate) fn share_out(layout: &Layout, threads: usize, decoding: bool) -> (usize, u64) {
    let slice = layout.slice_len();
    let one_group = 2 * chunk(layout) * slice;
    let extra = if decoding { DECODER } else { 0 };
    let workers = threads.clamp(1, (BUFFERS / (one_group + extra)).max(1));
    let workers = workers.min(usize::try_from(layout.groups()).unwrap_or(workers)).max(1);
    let width = (BUFFERS / workers).saturating_sub(extra) / one_group;
    let fair = layout.groups().div_ceil(workers as u64);
    (workers, (width.min(WIDEST / slice) as u64).min(fair).max(1))
}

/// Rows of a chunk.
fn chunk(layout: &Layout) -> usize {
    (layout.geometry().parity_per_group as usize).next_power_of_two()
}

/// One worker's sums over a run of neighbouring groups, and the chunk of rows that is being filled.
pub(crate) struct Sums {
    engine: DefaultEngine,
    chunk: usize,
    /// Blocks of a row now.
    width: usize,
    /// Row after row, each as in the stream.
    rows: Vec<[u8; BLOCK]>,
    /// Strip after strip, each with its part of every parity row.
    sums: Vec<[u8; BLOCK]>,
    scratch: Vec<[u8; BLOCK]>,
}

impl Sums {
    /// Buffers for at most `groups` groups.
    pub(crate) fn new(layout: &Layout, groups: u64) -> Result<Self> {
        let chunk = chunk(layout);
        let width = blocks(layout, groups)?;
        let zeros = |blocks| vec![[0; BLOCK]; blocks];
        Ok(Self {
            engine: DefaultEngine::new(),
            chunk,
            width,
            rows: zeros(chunk * width),
            sums: zeros(chunk * width),
            scratch: zeros(chunk * STRIP_BLOCKS),
        })
    }

    /// Begins again with `groups` groups, not more than at first.
    pub(crate) fn begin(&mut self, layout: &Layout, groups: u64) -> Result<()> {
        self.width = blocks(layout, groups)?;
        self.sums[..self.chunk * self.width].fill([0; BLOCK]);
        Ok(())
    }

    /// The place of a data row, or after [`Self::finish`] of a parity row: `groups` slices.
    pub(crate) fn row(&mut self, row: u64) -> &mut [u8] {
        let start = self.place(row) * self.width;
        self.rows[start..start + self.width].as_flattened_mut()
    }

    fn place(&self, row: u64) -> usize {
        usize::try_from(row % self.chunk as u64).unwrap_or(0)
    }

    /// Takes in the data row that was just filled; `last` when no more follow.
    pub(crate) fn filled(&mut self, row: u64, last: bool) {
        let count = self.place(row) + 1;
        if count < self.chunk && !last {
            return;
        }
        let skew = usize::try_from(row).unwrap_or(0) + 1 - count + self.chunk;
        for strip in 0..self.width / STRIP_BLOCKS {
            for place in 0..count {
                let from = place * self.width + strip * STRIP_BLOCKS;
                self.scratch[place * STRIP_BLOCKS..(place + 1) * STRIP_BLOCKS]
                    .copy_from_slice(&self.rows[from..from + STRIP_BLOCKS]);
            }
            self.scratch[count * STRIP_BLOCKS..].fill([0; BLOCK]);
            let mut shards = ShardsRefMut::new(self.chunk, STRIP_BLOCKS, &mut self.scratch);
            self.engine.ifft(&mut shards, 0, self.chunk, count, skew);
            let size = self.chunk * STRIP_BLOCKS;
            xor(&mut self.sums[strip * size..(strip + 1) * size], &self.scratch);
        }
    }

    /// Turns the sums into parity, once every data row is in.
    pub(crate) fn finish(&mut self, layout: &Layout) {
        let count = layout.geometry().parity_per_group as usize;
        let size = self.chunk * STRIP_BLOCKS;
        for strip in self.sums[..self.chunk * self.width].chunks_exact_mut(size) {
            let mut shards = ShardsRefMut::new(self.chunk, STRIP_BLOCKS, strip);
            self.engine.fft(&mut shards, 0, self.chunk, count, 0);
        }
    }

    /// Copies a row of parity to its place in [`Self::row`].
    pub(crate) fn show_parity(&mut self, row: u64) {
        self.each_strip(row, |own, sum| own.copy_from_slice(sum));
    }

    /// Adds what stands in [`Self::row`] to a row of parity.
    pub(crate) fn add_parity(&mut self, row: u64) {
        self.each_strip(row, |own, sum| xor(sum, own));
    }

    fn each_strip(&mut self, row: u64, act: impl Fn(&mut [[u8; BLOCK]], &mut [[u8; BLOCK]])) {
        let (place, size) = (self.place(row), self.chunk * STRIP_BLOCKS);
        let row = &mut self.rows[place * self.width..(place + 1) * self.width];
        for (own, sums) in row.chunks_exact_mut(STRIP_BLOCKS).zip(self.sums.chunks_exact_mut(size)) {
            act(own, &mut sums[place * STRIP_BLOCKS..(place + 1) * STRIP_BLOCKS]);
        }
    }

    /// A strip's part of a row of parity.
    fn sum(&self, strip: usize, row: usize) -> &[u8] {
        let start = (strip * self.chunk + row) * STRIP_BLOCKS;
        self.sums[start..start + STRIP_BLOCKS].as_flattened()
    }
}

/// Blocks of a row of `groups` groups.
fn blocks(layout: &Layout, groups: u64) -> Result<usize> {
    let groups = usize::try_from(groups).map_err(Error::other)?;
    Ok(groups * layout.slice_len() / BLOCK)
}

/// Solves for the lost slices of one group after the other.
pub(crate) struct Solver {
    decoder: HighRateDecoder<DefaultEngine>,
    zeros: Vec<u8>,
    rows: usize,
}

impl Solver {
    /// A solver for the groups of a layout that has parity.
    pub(crate) fn new(layout: &Layout) -> Result<Self> {
        let rows = usize::try_from(layout.rows()).map_err(Error::other)?;
        let parity = layout.geometry().parity_per_group as usize;
        let places = (parity.next_power_of_two() + rows).next_power_of_two();
        let strip = (DECODER / places).clamp(BLOCK, STRIP);
        let decoder = HighRateDecoder::new(rows, parity, strip, DefaultEngine::new(), None);
        Ok(Self { decoder: decoder.map_err(Error::other)?, zeros: vec![0; strip], rows })
    }

    /// Rebuilds the `lost` rows of the group that stands `group`-th in `sums`, whose surviving parity rows are
    /// `known`. The n-th lost slice appears in `sums.row(n)`, in the group's place.
    pub(crate) fn solve(
        &mut self,
        sums: &mut Sums,
        layout: &Layout,
        group: usize,
        lost: &[usize],
        known: &[usize],
    ) -> Result<()> {
        let (slice, strip_len) = (layout.slice_len(), self.zeros.len());
        for at in (0..slice).step_by(strip_len) {
            let column = group * slice + at;
            let mut next_lost = lost.iter().peekable();
            for row in 0..self.rows {
                if next_lost.next_if_eq(&&row).is_none() {
                    self.decoder.add_original_shard(row, &self.zeros).map_err(Error::other)?;
                }
            }
            for &row in known {
                let part = &sums.sum(column / STRIP, row)[column % STRIP..][..strip_len];
                self.decoder.add_recovery_shard(row, part).map_err(Error::other)?;
            }
            let solved = self.decoder.decode().map_err(Error::other)?;
            for (place, &row) in (0..).zip(lost) {
                let part = solved.restored_original(row).ok_or_else(|| Error::other("no solution"))?;
                sums.row(place)[column..column + strip_len].copy_from_slice(part);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Geometry;
    use reed_solomon_simd::rate::{HighRateEncoder, RateEncoder};

    /// The parity that the library's own encoder gives, which has all rows in memory.
    fn by_the_library(rows: &[Vec<u8>], parity: usize) -> Vec<Vec<u8>> {
        let mut encoder =
            HighRateEncoder::new(rows.len(), parity, rows[0].len(), DefaultEngine::new(), None).unwrap();
        rows.iter().for_each(|row| encoder.add_original_shard(row).unwrap());
        encoder.encode().unwrap().recovery_iter().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn sums_of_chunks_are_the_parity_of_the_librarys_own_encoder() {
        for (rows, parity) in [(1, 1), (1, 2), (2, 1), (5, 2), (16, 3), (17, 4), (31, 32), (40, 5), (620, 32)]
        {
            let geometry = Geometry {
                slice: 4096,
                data_len: rows * 4096,
                groups: 1,
                parity_per_group: u32::try_from(parity).unwrap(),
            };
            let layout = geometry.check().unwrap();
            let byte = |row: u64, at: u64| u8::try_from((row * 7919 + at * 31 + row * at) % 251).unwrap();
            let data: Vec<Vec<u8>> =
                (0..rows).map(|row| (0..4096).map(|at| byte(row, at)).collect()).collect();
            let mut sums = Sums::new(&layout, 1).unwrap();
            sums.begin(&layout, 1).unwrap();
            for (row, bytes) in (0..).zip(&data) {
                sums.row(row).copy_from_slice(bytes);
                sums.filled(row, row + 1 == rows);
            }
            sums.finish(&layout);
            for (row, expected) in (0..).zip(by_the_library(&data, parity)) {
                sums.show_parity(row);
                assert!(sums.row(row) == expected, "{rows} rows, parity {row} of {parity}");
            }
        }
    }

    #[test]
    fn buffers_stay_within_their_bound_for_any_threads() {
        for bit in 12..45 {
            for (share, threads) in [(1, 1), (10, 2), (50, 3), (50, 64), (1000, 5)] {
                let layout = Geometry::choose(1 << bit, share).unwrap().check().unwrap();
                for decoding in [false, true] {
                    let (workers, groups) = share_out(&layout, threads, decoding);
                    let each = 2 * chunk(&layout) * layout.slice_len() * usize::try_from(groups).unwrap();
                    let all = workers * (each + if decoding { DECODER } else { 0 });
                    assert!(all <= BUFFERS && workers <= threads && groups <= layout.groups());
                }
            }
        }
    }
}
