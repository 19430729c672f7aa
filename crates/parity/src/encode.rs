//! Parity and check list in one pass over the data.
//!
//! The data is read once. A worker takes a run of neighbouring groups and reads it row by row: each row is one
//! contiguous read, and rows lie `groups` slices apart.

use std::io::Result;

use crate::Progress;
use crate::checks::{CHECK_LEN, CHECK_MAGIC, check_of, entry_offset, layout};
use crate::code::{Sums, share_out};
use crate::geometry::{Geometry, Layout};
use crate::io::{ReadAt, WriteAt};
use crate::pool::{self, Spans};

/// Writes the parity stream ([`Layout::parity_len`] bytes) and the check list ([`Layout::checks_len`] bytes) of a
/// data stream. Every byte of both is written exactly once, in no order. `progress` counts bytes of data.
///
/// # Errors
/// A geometry that fails its check, and whatever reading or writing fails with.
pub fn encode(
    geometry: &Geometry,
    data: &dyn ReadAt,
    parity: &dyn WriteAt,
    checks: &dyn WriteAt,
    threads: usize,
    progress: Progress<'_>,
) -> Result<()> {
    let layout = layout(geometry)?;
    checks.write_at(0, CHECK_MAGIC)?;
    if layout.groups() == 0 {
        return checks_only(&layout, data, checks, threads, progress);
    }
    let (workers, width) = share_out(&layout, threads, false);
    let runs = Spans::new(layout.groups(), width);
    pool::run(workers, |stop| {
        let mut sums = Sums::new(&layout, width)?;
        while let Some((first, groups)) = runs.claim().filter(|_| !stop.asked()) {
            sums.begin(&layout, groups)?;
            for row in 0..layout.rows() {
                let slice = layout.at(row, first);
                let buf = sums.row(row);
                layout.read_data(data, slice, buf)?;
                let there = layout.data_slices().saturating_sub(slice).min(groups);
                write_checks(&layout, checks, slice, there, buf)?;
                sums.filled(row, row + 1 == layout.rows());
                let bytes = layout.data_bytes(slice).start..layout.data_bytes(slice + there).start;
                progress(bytes.end - bytes.start);
            }
            sums.finish(&layout);
            for row in 0..layout.parity_rows() {
                let slice = layout.at(row, first);
                sums.show_parity(row);
                parity.write_at(slice * layout.slice(), sums.row(row))?;
                write_checks(&layout, checks, layout.data_slices() + slice, groups, sums.row(row))?;
            }
        }
        Ok(())
    })
}

/// Writes the entries of the first `count` slices in `buf`, the first of which is entry `index`.
fn write_checks(layout: &Layout, checks: &dyn WriteAt, index: u64, count: u64, buf: &[u8]) -> Result<()> {
    let slices = (0..count).zip(buf.chunks_exact(layout.slice_len()));
    let entries: Vec<[u8; CHECK_LEN]> = slices.map(|(_, slice)| check_of(slice)).collect();
    if entries.is_empty() {
        return Ok(());
    }
    checks.write_at(entry_offset(index), entries.as_flattened())
}

/// The check list of a stream without parity.
fn checks_only(
    layout: &Layout,
    data: &dyn ReadAt,
    checks: &dyn WriteAt,
    threads: usize,
    progress: Progress<'_>,
) -> Result<()> {
    let width = (1 << 20) / layout.slice();
    let spans = Spans::new(layout.data_slices(), width);
    pool::run(threads.clamp(1, 16), |stop| {
        let mut buf = vec![0; 1 << 20];
        while let Some((first, count)) = spans.claim().filter(|_| !stop.asked()) {
            let len = layout.slice_len() * usize::try_from(count).unwrap_or(0);
            let part = buf.get_mut(..len).unwrap_or_default();
            layout.read_data(data, first, part)?;
            write_checks(layout, checks, first, count, part)?;
            progress(layout.data_bytes(first + count).start - layout.data_bytes(first).start);
        }
        Ok(())
    })
}
