//! How a stream is cut: slices, groups, parity. Pure arithmetic.
//!
//! Must never trust a [`Geometry`], which comes from a header: only a [`Layout`], made by [`Geometry::check`], is
//! used for reading, writing and allocating.

use std::io;
use std::ops::Range;

use cofferdam_types::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::checks::{CHECK_LEN, CHECK_MAGIC};
use crate::io::{ReadAt, is_loss};

/// The smallest slice in bytes.
pub const MIN_SLICE: u32 = 4 << 10;
/// The largest slice in bytes.
pub const MAX_SLICE: u32 = 256 << 10;
/// The longest data stream in bytes: 16 TiB.
pub const MAX_DATA_LEN: u64 = 1 << 44;
/// Parity slices of a group at the most: buffers are twice this many slices for each group worked on.
pub const MAX_PARITY_PER_GROUP: u32 = 32;
/// Data slices at the most: 16 TiB in slices of 256 KiB.
const MAX_DATA_SLICES: u64 = 1 << 26;
/// Data slices of a group at the most, so that data and parity of a group fit 4096 places of the decoder.
const MAX_ROWS: u64 = 4096 - 32;
/// Data slices of a group at the least where there are several groups.
const MIN_ROWS: u64 = 16;
/// A stream up to this long has the smallest slices; each doubling of the slice covers four times as much.
const SMALLEST_SLICES_UP_TO: u64 = 64 << 20;

/// How a data stream is cut and how much parity it has, as it stands in a signed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Geometry {
    /// Bytes of a slice, a power of two from [`MIN_SLICE`] to [`MAX_SLICE`].
    pub slice: u32,
    /// Bytes of the data stream.
    pub data_len: u64,
    /// Number of groups; 0 when there is no parity.
    pub groups: u64,
    /// Parity slices of each group; 0 when there is no parity.
    pub parity_per_group: u32,
}

impl Geometry {
    /// The geometry for a stream of `data_len` bytes that is to survive the loss of any `share_permille`
    /// thousandths of it in one piece. The same arguments always give the same geometry.
    ///
    /// # Errors
    /// `parity-share` above 1000, `parity-too-large` for a stream longer than [`MAX_DATA_LEN`].
    pub fn choose(data_len: u64, share_permille: u32) -> Result<Self> {
        if share_permille > 1000 {
            return Err(Error::invalid(
                "parity-share",
                format!("parity of {share_permille} thousandths is more than the data itself"),
            )
            .hint("ask for at most 1000 thousandths, which doubles the size"));
        }
        if data_len > MAX_DATA_LEN {
            return Err(Error::invalid(
                "parity-too-large",
                format!("{data_len} bytes are too many for parity, which covers {MAX_DATA_LEN} at the most"),
            )
            .hint("send several smaller transfers, or one without parity"));
        }
        let (mut slice, mut covers) = (MIN_SLICE, SMALLEST_SLICES_UP_TO);
        while slice < MAX_SLICE && covers < data_len {
            (slice, covers) = (slice * 2, covers * 4);
        }
        let slices = data_len.div_ceil(u64::from(slice));
        if slices == 0 || share_permille == 0 {
            return Ok(Self { slice, data_len, groups: 0, parity_per_group: 0 });
        }
        let share = u64::from(share_permille);
        // The share of a group's slices, and one more for a loss that begins and ends within slices.
        let parity = |rows: u64| (rows * share).div_ceil(1000) + 1;
        let most = (u64::from(MAX_PARITY_PER_GROUP - 1) * 1000 / share).min(MAX_ROWS);
        let groups = slices.div_ceil(most);
        let per_group = u32::try_from(parity(slices.div_ceil(groups))).unwrap_or(MAX_PARITY_PER_GROUP);
        Ok(Self { slice, data_len, groups, parity_per_group: per_group })
    }

    /// Checks a geometry of unknown origin. What it returns bounds every allocation of this crate.
    ///
    /// # Errors
    /// `bad-parity-geometry` for anything outside of the limits or that contradicts itself.
    pub fn check(&self) -> Result<Layout> {
        let bad = |what: String| Err(Error::invalid("bad-parity-geometry", format!("parity: {what}")));
        let (slice, data_len) = (u64::from(self.slice), self.data_len);
        if !self.slice.is_power_of_two() || !(MIN_SLICE..=MAX_SLICE).contains(&self.slice) {
            return bad(format!("a slice of {slice} bytes is not a power of two from 4 KiB to 256 KiB"));
        }
        let slices = data_len.div_ceil(slice);
        if data_len > MAX_DATA_LEN || slices > MAX_DATA_SLICES {
            return bad(format!("{data_len} bytes in slices of {slice} are more than is supported"));
        }
        let layout = |rows| Layout { geometry: *self, slices, rows };
        if self.groups == 0 && self.parity_per_group == 0 {
            return Ok(layout(0));
        }
        if self.groups == 0 || self.parity_per_group == 0 || self.groups > slices {
            return bad(format!("{} groups for {slices} slices", self.groups));
        }
        let rows = slices.div_ceil(self.groups);
        if rows > MAX_ROWS || (self.groups > 1 && rows < MIN_ROWS) {
            return bad(format!("{rows} slices in each of {} groups", self.groups));
        }
        if self.parity_per_group > MAX_PARITY_PER_GROUP || u64::from(self.parity_per_group) > rows + 1 {
            return bad(format!("{} parity slices for {rows} data slices", self.parity_per_group));
        }
        Ok(layout(rows))
    }
}

/// A checked [`Geometry`], with everything that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    geometry: Geometry,
    slices: u64,
    /// Data slices of a group, those of the last row that do not exist included.
    rows: u64,
}

impl Layout {
    /// What this was made from.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Number of data slices.
    #[must_use]
    pub fn data_slices(&self) -> u64 {
        self.slices
    }

    /// Number of parity slices.
    #[must_use]
    pub fn parity_slices(&self) -> u64 {
        self.geometry.groups * self.parity_rows()
    }

    /// Bytes of the parity stream.
    #[must_use]
    pub fn parity_len(&self) -> u64 {
        self.parity_slices() * self.slice()
    }

    /// Bytes of the check list.
    #[must_use]
    pub fn checks_len(&self) -> u64 {
        CHECK_MAGIC.len() as u64 + (self.slices + self.parity_slices()) * CHECK_LEN as u64
    }

    /// The data slices that have a byte in a range of the data stream: those that are lost with it.
    #[must_use]
    pub fn data_slices_touching(&self, bytes: Range<u64>) -> Range<u64> {
        touching(bytes, self.slice(), self.slices)
    }

    /// The parity slices that have a byte in a range of the parity stream.
    #[must_use]
    pub fn parity_slices_touching(&self, bytes: Range<u64>) -> Range<u64> {
        touching(bytes, self.slice(), self.parity_slices())
    }

    /// Where a data slice lies in the data stream; the last one ends with the stream.
    #[must_use]
    pub fn data_bytes(&self, slice: u64) -> Range<u64> {
        let start = slice.saturating_mul(self.slice()).min(self.geometry.data_len);
        start..start.saturating_add(self.slice()).min(self.geometry.data_len)
    }

    /// Bytes of a slice.
    pub(crate) fn slice(&self) -> u64 {
        u64::from(self.geometry.slice)
    }

    /// Bytes of a slice, as a length in memory.
    pub(crate) fn slice_len(&self) -> usize {
        self.geometry.slice as usize
    }

    pub(crate) fn groups(&self) -> u64 {
        self.geometry.groups
    }

    /// Data slices of a group.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Parity slices of a group.
    pub(crate) fn parity_rows(&self) -> u64 {
        u64::from(self.geometry.parity_per_group)
    }

    /// The slice of a group in a row; in the data stream it may lie behind the last one.
    pub(crate) fn at(&self, row: u64, group: u64) -> u64 {
        row * self.geometry.groups + group
    }

    /// Fills `buf`, whole slices, with the data stream from slice `first` on; zeros follow its end.
    pub(crate) fn read_data(&self, data: &dyn ReadAt, first: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = first * self.slice();
        let left = self.geometry.data_len.saturating_sub(start);
        let (own, padding) = buf.split_at_mut(usize::try_from(left).unwrap_or(usize::MAX).min(buf.len()));
        padding.fill(0);
        if own.is_empty() {
            return Ok(());
        }
        data.read_at(start, own).map_err(|error| named("data", start, &error))
    }

    /// Fills `buf`, whole slices, with the parity stream from slice `first` on.
    pub(crate) fn read_parity(&self, parity: &dyn ReadAt, first: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = first * self.slice();
        parity.read_at(start, buf).map_err(|error| named("parity", start, &error))
    }
}

/// An error that says which stream failed where, and still whether that is a loss.
fn named(stream: &str, offset: u64, error: &io::Error) -> io::Error {
    let kind = if is_loss(error) { io::ErrorKind::InvalidData } else { error.kind() };
    io::Error::new(kind, format!("cannot read the {stream} stream at byte {offset}: {error}"))
}

fn touching(bytes: Range<u64>, slice: u64, slices: u64) -> Range<u64> {
    if bytes.is_empty() {
        return 0..0;
    }
    let end = bytes.end.div_ceil(slice).min(slices);
    (bytes.start / slice).min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_geometry_is_valid_and_has_the_share_for_every_length() {
        let lengths = (0..45).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 4095]);
        for len in lengths.filter(|len| *len <= MAX_DATA_LEN) {
            for share in [0, 1, 5, 10, 50, 100, 333, 1000] {
                let geometry = Geometry::choose(len, share).unwrap();
                let layout = geometry.check().unwrap_or_else(|e| panic!("{geometry:?}: {e}"));
                let has = layout.parity_slices() * 1000;
                assert!(has >= layout.data_slices() * u64::from(share), "{geometry:?} {share}");
                // Never much more than the share: one slice in each group and rounding.
                let groups = geometry.groups * 1000;
                assert!(has <= (layout.data_slices() + geometry.groups) * u64::from(share) + 2 * groups);
            }
        }
        assert_eq!(Geometry::choose(1, 1001).unwrap_err().code(), "parity-share");
        assert_eq!(Geometry::choose(MAX_DATA_LEN + 1, 50).unwrap_err().code(), "parity-too-large");
    }

    #[test]
    fn the_geometry_of_known_streams_stays_what_the_format_says() {
        let four_tib = Geometry::choose(1 << 42, 50).unwrap();
        assert_eq!((four_tib.slice, four_tib.groups, four_tib.parity_per_group), (256 << 10, 27061, 32));
        let small = Geometry::choose(100 << 10, 50).unwrap();
        assert_eq!((small.slice, small.groups, small.parity_per_group), (4 << 10, 1, 3));
    }

    #[test]
    fn the_shape_in_a_header_is_exact() {
        let geometry = Geometry::choose(100_000, 50).unwrap();
        let json = serde_json::to_string(&geometry).unwrap();
        assert_eq!(json, r#"{"slice":4096,"dataLen":100000,"groups":1,"parityPerGroup":3}"#);
        assert_eq!(serde_json::from_str::<Geometry>(&json).unwrap(), geometry);
        let more = json.replace("\"groups\"", "\"more\":1,\"groups\"");
        assert!(serde_json::from_str::<Geometry>(&more).is_err());
    }

    #[test]
    fn a_range_of_bytes_names_the_slices_it_touches() {
        let layout = Geometry::choose(10_000, 50).unwrap().check().unwrap();
        assert_eq!(layout.data_slices_touching(4095..4097), 0..2);
        assert_eq!(layout.data_slices_touching(4096..4096), 0..0);
        assert_eq!(layout.data_slices_touching(8192..u64::MAX), 2..3);
        assert_eq!(layout.data_bytes(2), 8192..10_000);
        assert_eq!(layout.data_bytes(u64::MAX), 10_000..10_000);
    }
}
