//! The check list: a truncated hash of every slice, and the search for damage with it.
//!
//! It locates damage and proves nothing: see the crate's first lines.

use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::geometry::Layout;
use crate::io::{ReadAt, is_loss};
use crate::pool::{self, Spans};
use crate::slices::SliceSet;
use crate::{Geometry, Progress};

/// How a check list begins. For people and `file`; the search does not depend on it, since it may be damaged too.
pub const CHECK_MAGIC: &[u8; 8] = b"CT1CHECK";
/// Bytes of one entry.
pub const CHECK_LEN: usize = 16;
/// Bytes read at once in the search.
const SPAN: u64 = 1 << 20;
/// Threads of the search at the most, which bounds its memory.
const MOST_THREADS: usize = 16;

/// An entry: the first 16 bytes of the SHA-256 of a whole slice, the zeros that fill the last one included.
pub(crate) type Check = [u8; CHECK_LEN];

pub(crate) fn check_of(slice: &[u8]) -> Check {
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&Sha256::digest(slice)[..CHECK_LEN]);
    check
}

/// Where entry `index` lies: data slices first, parity slices after them.
pub(crate) fn entry_offset(index: u64) -> u64 {
    CHECK_MAGIC.len() as u64 + index * CHECK_LEN as u64
}

/// A check list, read entry by entry and never as a whole.
pub struct CheckReader<'a> {
    source: &'a dyn ReadAt,
}

impl<'a> CheckReader<'a> {
    /// Reads from `source`, which begins with [`CHECK_MAGIC`].
    #[must_use]
    pub fn new(source: &'a dyn ReadAt) -> Self {
        Self { source }
    }

    /// Whether the list begins as it should.
    ///
    /// # Errors
    /// When it cannot be read, and not because its beginning is lost.
    pub fn has_magic(&self) -> Result<bool> {
        let mut magic = [0; CHECK_MAGIC.len()];
        match self.source.read_at(0, &mut magic) {
            Err(error) if !is_loss(&error) => Err(error),
            other => Ok(other.is_ok() && magic == *CHECK_MAGIC),
        }
    }

    /// Entries from `index` on (data slices, then parity slices), as many as `entries` holds. `None` stands for an
    /// entry that is lost.
    ///
    /// # Errors
    /// When the list cannot be read for another reason than loss.
    pub fn read(&self, index: u64, entries: &mut [Option<Check>]) -> Result<()> {
        let mut bytes = vec![0; entries.len() * CHECK_LEN];
        let whole = read_or_lost(self.source, entry_offset(index), &mut bytes)?;
        let places = (index..).zip(entries.iter_mut()).zip(bytes.as_chunks_mut::<CHECK_LEN>().0);
        for ((index, entry), bytes) in places {
            // After a failed read of all, each entry is asked for alone.
            let found = whole || read_or_lost(self.source, entry_offset(index), bytes)?;
            *entry = found.then_some(*bytes);
        }
        Ok(())
    }
}

/// Reads; false when the range is lost.
fn read_or_lost(source: &dyn ReadAt, offset: u64, buf: &mut [u8]) -> Result<bool> {
    match source.read_at(offset, buf) {
        Ok(()) => Ok(true),
        Err(error) if is_loss(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Slices that are damaged or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Of the data stream.
    pub data: SliceSet,
    /// Of the parity stream.
    pub parity: SliceSet,
}

impl Damage {
    /// No damage; for a caller that knows by itself what is lost.
    #[must_use]
    pub fn none(layout: &Layout) -> Self {
        Self { data: SliceSet::new(layout.data_slices()), parity: SliceSet::new(layout.parity_slices()) }
    }

    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.data.is_empty() && self.parity.is_empty()
    }

    /// Marks what a lost range of the data stream touches.
    pub fn lose_data(&mut self, layout: &Layout, bytes: Range<u64>) {
        self.data.insert_range(layout.data_slices_touching(bytes));
    }

    /// Marks what a lost range of the parity stream touches.
    pub fn lose_parity(&mut self, layout: &Layout, bytes: Range<u64>) {
        self.parity.insert_range(layout.parity_slices_touching(bytes));
    }
}

/// One of the two streams, to search either in the same way.
#[derive(Clone, Copy)]
enum Stream<'a> {
    Data(&'a dyn ReadAt),
    Parity(&'a dyn ReadAt),
}

impl Stream<'_> {
    fn read(self, layout: &Layout, first: u64, buf: &mut [u8]) -> Result<()> {
        match self {
            Self::Data(data) => layout.read_data(data, first, buf),
            Self::Parity(parity) => layout.read_parity(parity, first, buf),
        }
    }

    /// Number of slices, and the first one's entry in the check list.
    fn extent(self, layout: &Layout) -> (u64, u64) {
        match self {
            Self::Data(_) => (layout.data_slices(), 0),
            Self::Parity(_) => (layout.parity_slices(), layout.data_slices()),
        }
    }

    fn mark(self, damage: &mut Damage, slice: u64) {
        match self {
            Self::Data(_) => damage.data.insert(slice),
            Self::Parity(_) => damage.parity.insert(slice),
        }
    }
}

/// Compares both streams with the check list and names every slice that differs, cannot be read, or whose entry
/// is lost. Reads each stream once, in order. `progress` counts bytes of both streams.
///
/// # Errors
/// A geometry that fails its check, or a read that fails for another reason than loss; see [`ReadAt::read_at`].
pub fn find_damage(
    geometry: &Geometry,
    data: &dyn ReadAt,
    parity: &dyn ReadAt,
    checks: &CheckReader<'_>,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Damage> {
    let layout = layout(geometry)?;
    let found = Mutex::new(Damage::none(&layout));
    for stream in [Stream::Data(data), Stream::Parity(parity)] {
        let (count, _) = stream.extent(&layout);
        let spans = Spans::new(count, SPAN / layout.slice());
        let workers = threads.clamp(1, MOST_THREADS);
        pool::run(workers, |stop| {
            let mut buf = vec![0; usize::try_from(SPAN).map_err(Error::other)?];
            while let Some((first, count)) = spans.claim().filter(|_| !stop.asked()) {
                let bytes = &mut buf[..usize::try_from(count).map_err(Error::other)? * layout.slice_len()];
                let bad = search(&layout, stream, checks, first, bytes)?;
                if !bad.is_empty() {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    bad.into_iter().for_each(|slice| stream.mark(&mut found, slice));
                }
                progress(bytes.len() as u64);
            }
            Ok(())
        })?;
    }
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The damaged slices of one span.
fn search(
    layout: &Layout,
    stream: Stream<'_>,
    checks: &CheckReader<'_>,
    first: u64,
    buf: &mut [u8],
) -> Result<Vec<u64>> {
    let slice_len = layout.slice_len();
    let mut entries = vec![None; buf.len() / slice_len];
    checks.read(stream.extent(layout).1 + first, &mut entries)?;
    let whole = match stream.read(layout, first, buf) {
        Ok(()) => true,
        Err(error) if is_loss(&error) => false,
        Err(error) => return Err(error),
    };
    let mut bad = Vec::new();
    for ((slice, expected), bytes) in (first..).zip(entries).zip(buf.chunks_exact_mut(slice_len)) {
        let there = whole
            || match stream.read(layout, slice, bytes) {
                Ok(()) => true,
                Err(error) if is_loss(&error) => false,
                Err(error) => return Err(error),
            };
        if !there || expected != Some(check_of(bytes)) {
            bad.push(slice);
        }
    }
    Ok(bad)
}

/// The checked layout, as an error of input and output.
pub(crate) fn layout(geometry: &Geometry) -> Result<Layout> {
    geometry.check().map_err(|error| Error::new(ErrorKind::InvalidInput, error.message().to_owned()))
}
