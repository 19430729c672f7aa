//! Rebuilding damaged data slices from what survived.
//!
//! A group with no more damaged data slices than it has undamaged parity slices is rebuilt completely; of any
//! other group nothing can be. Reads are like those of [`crate::encode`]: long rows of neighbouring groups.

use std::io::Result;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::checks::{Damage, layout};
use crate::code::{Solver, Sums, share_out};
use crate::geometry::{Geometry, Layout};
use crate::io::{ReadAt, WriteAt};
use crate::slices::SliceSet;
use crate::{Progress, pool};

/// Data slices that could not be rebuilt. [`Layout::data_bytes`] says which bytes they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrepaired {
    /// The slices; empty when all damage is repaired.
    pub data: SliceSet,
}

/// Rebuilds every damaged data slice that can be rebuilt and writes it at its place in the data stream, cut at the
/// stream's end. Returns the others. `progress` counts rebuilt bytes, [`SliceSet::len`] slices at the most.
///
/// Damaged slices are never read, so `repaired` may be the same file as `data`. A wrong slice that `damage` does not
/// name gives wrong results: the caller compares the SHA-256 of whole files afterwards.
///
/// # Errors
/// A geometry that fails its check; any failed read of a slice that is not in `damage`; whatever `repaired` fails with.
pub fn repair(
    geometry: &Geometry,
    data: &dyn ReadAt,
    parity: &dyn ReadAt,
    damage: &Damage,
    repaired: &dyn WriteAt,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Unrepaired> {
    let layout = layout(geometry)?;
    if layout.groups() == 0 {
        return Ok(Unrepaired { data: damage.data.clone() });
    }
    let (workers, width) = share_out(&layout, threads, true);
    let search = Mutex::new(Search {
        layout: &layout,
        damage,
        next: 0,
        unrepaired: SliceSet::new(layout.data_slices()),
    });
    let claim = || search.lock().unwrap_or_else(PoisonError::into_inner).next_run(width);
    if let Some(first) = claim() {
        // Nothing is allocated, and no thread started, where there is nothing to do.
        let first = Mutex::new(Some(first));
        pool::run(workers, |stop| {
            let mut worker = Worker {
                layout: &layout,
                damage,
                sums: Sums::new(&layout, width)?,
                solver: Solver::new(&layout)?,
            };
            let next = || first.lock().unwrap_or_else(PoisonError::into_inner).take().or_else(claim);
            while let Some(run) = next().filter(|_| !stop.asked()) {
                worker.absorb(data, parity, &run)?;
                worker.solve(&run, repaired, progress)?;
            }
            Ok(())
        })?;
    }
    let search = search.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Unrepaired { data: search.unrepaired })
}

/// What is damaged of one group, by row.
#[derive(Default)]
struct Loss {
    data: Vec<usize>,
    known_parity: Vec<usize>,
}

impl Loss {
    fn of(layout: &Layout, damage: &Damage, group: u64) -> Self {
        let rows = |count: u64, set: &SliceSet, member: bool| {
            let rows = (0..count).filter(|row| set.contains(layout.at(*row, group)) == member);
            rows.filter_map(|row| usize::try_from(row).ok()).collect::<Vec<_>>()
        };
        let data = rows(layout.rows(), &damage.data, true);
        if data.is_empty() {
            return Self::default();
        }
        Self { data, known_parity: rows(layout.parity_rows(), &damage.parity, false) }
    }

    fn can_be_rebuilt(&self) -> bool {
        self.data.len() <= self.known_parity.len()
    }
}

/// A run of neighbouring groups that all need rebuilding and can be rebuilt.
struct Run {
    first: u64,
    groups: Vec<Loss>,
}

impl Run {
    fn len(&self) -> u64 {
        self.groups.len() as u64
    }
}

/// Looks for runs, and notes the groups that are beyond rebuilding.
struct Search<'a> {
    layout: &'a Layout,
    damage: &'a Damage,
    next: u64,
    unrepaired: SliceSet,
}

impl Search<'_> {
    /// The next run, of at most `width` groups.
    fn next_run(&mut self, width: u64) -> Option<Run> {
        let mut run = Run { first: 0, groups: Vec::new() };
        while self.next < self.layout.groups() && run.len() < width {
            let group = self.next;
            let loss = Loss::of(self.layout, self.damage, group);
            self.next += 1;
            if !loss.data.is_empty() && loss.can_be_rebuilt() {
                if run.groups.is_empty() {
                    run.first = group;
                }
                run.groups.push(loss);
                continue;
            }
            for row in loss.data {
                self.unrepaired.insert(self.layout.at(row as u64, group));
            }
            if !run.groups.is_empty() {
                break;
            }
        }
        (!run.groups.is_empty()).then_some(run)
    }
}

struct Worker<'a> {
    layout: &'a Layout,
    damage: &'a Damage,
    sums: Sums,
    solver: Solver,
}

impl Worker<'_> {
    /// Reads what survived of a run; afterwards the sums are the parity of what is lost.
    fn absorb(&mut self, data: &dyn ReadAt, parity: &dyn ReadAt, run: &Run) -> Result<()> {
        let layout = self.layout;
        self.sums.begin(layout, run.len())?;
        for row in 0..layout.rows() {
            let first = layout.at(row, run.first);
            let buf = self.sums.row(row);
            read_known(layout, &self.damage.data, first, run.len(), buf, &|slice, buf| {
                layout.read_data(data, slice, buf)
            })?;
            self.sums.filled(row, row + 1 == layout.rows());
        }
        self.sums.finish(layout);
        for row in 0..layout.parity_rows() {
            let first = layout.at(row, run.first);
            let buf = self.sums.row(row);
            read_known(layout, &self.damage.parity, first, run.len(), buf, &|slice, buf| {
                layout.read_parity(parity, slice, buf)
            })?;
            self.sums.add_parity(row);
        }
        Ok(())
    }

    /// Rebuilds each group of the run and writes what was lost.
    fn solve(&mut self, run: &Run, repaired: &dyn WriteAt, progress: Progress<'_>) -> Result<()> {
        for (place, loss) in run.groups.iter().enumerate() {
            self.solver.solve(&mut self.sums, self.layout, place, &loss.data, &loss.known_parity)?;
        }
        let most = run.groups.iter().map(|loss| loss.data.len()).max().unwrap_or(0);
        for nth in 0..most {
            for (places, row) in same_row(run, nth) {
                let slice_len = self.layout.slice_len();
                let slice = self.layout.at(row as u64, run.first + places.start as u64);
                let start = self.layout.data_bytes(slice).start;
                let end = self.layout.data_bytes(slice + places.len() as u64).start;
                let buf = &self.sums.row(nth as u64)[places.start * slice_len..places.end * slice_len];
                // The last slice is cut where the stream ends.
                let len = usize::try_from(end - start).unwrap_or(buf.len()).min(buf.len());
                repaired.write_at(start, &buf[..len])?;
                progress(len as u64);
            }
        }
        Ok(())
    }
}

/// Reads the slices of a row that are not in `lost`, in as few reads as possible; zeros take the place of the others.
fn read_known(
    layout: &Layout,
    lost: &SliceSet,
    first: u64,
    count: u64,
    buf: &mut [u8],
    read: &dyn Fn(u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let mut rest = buf;
    let mut at = first;
    while at < first + count {
        let is_lost = lost.contains(at);
        let end = (at + 1..first + count).find(|s| lost.contains(*s) != is_lost).unwrap_or(first + count);
        let len = usize::try_from(end - at).unwrap_or(0) * layout.slice_len();
        let (part, after) = rest.split_at_mut(len.min(rest.len()));
        if is_lost {
            part.fill(0);
        } else {
            read(at, part)?;
        }
        (rest, at) = (after, end);
    }
    Ok(())
}

/// Neighbouring groups whose `nth` lost slice is in the same row, so that those slices are one piece of the stream.
fn same_row(run: &Run, nth: usize) -> Vec<(Range<usize>, usize)> {
    let mut pieces: Vec<(Range<usize>, usize)> = Vec::new();
    for (place, loss) in run.groups.iter().enumerate() {
        let Some(&row) = loss.data.get(nth) else { continue };
        match pieces.last_mut() {
            Some((places, of)) if *of == row && places.end == place => places.end = place + 1,
            _ => pieces.push((place..place + 1, row)),
        }
    }
    pieces
}
