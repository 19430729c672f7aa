//! Inclusion in a tree of which some tiles are here (RFC 6962, section 2.1; tiles of height 8 as Go's checksum
//! database serves them). Pure.

use std::collections::HashMap;

use cofferdam_types::{
    Sha256,
    merkle::{cover, fold, parent, path},
};

/// Entries of a tree at the most: far more than there will be, and no sum below overflows.
pub const MOST_ENTRIES: u64 = 1 << 48;
/// Hashes of a full tile.
const FULL: u64 = 256;
/// Levels of a tile.
const HEIGHT: u32 = 8;

/// Whether an entry is in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Included {
    /// It is.
    Yes,
    /// The tiles lead to another root.
    No,
    /// A tile that would say is not here.
    Unknown,
}

/// The tiles that are here: by level and number, their hashes one after the other.
#[derive(Debug, Default)]
pub struct Tiles(HashMap<(u32, u64), Vec<u8>>);

/// A tile's place in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    level: u32,
    number: u64,
    width: u64,
}

impl Place {
    /// Reads `<level>/x001/x234/067[.p/<width>]`, what follows `/tile/8/` of an address.
    pub fn parse(text: &str) -> Option<Self> {
        let (level, rest) = text.split_once('/')?;
        let (rest, width) = match rest.split_once(".p/") {
            Some((rest, width)) => (rest, width.parse().ok().filter(|w| (1..FULL).contains(w))?),
            None => (rest, FULL),
        };
        let mut number: u64 = 0;
        for part in rest.split('/') {
            let digits = part.trim_start_matches('x');
            let part = digits.parse::<u64>().ok().filter(|n| digits.len() == 3 && *n < 1000)?;
            number = number.checked_mul(1000)?.checked_add(part)?;
        }
        let level = level.parse().ok().filter(|l| *l < 8)?;
        Some(Self { level, number, width })
    }

    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.width * 32
    }
}

impl Tiles {
    /// Takes a tile; of two of one place, the wider one says more.
    pub fn add(&mut self, place: Place, bytes: Vec<u8>) {
        let held = self.0.entry((place.level, place.number)).or_default();
        if bytes.len() as u64 == place.bytes() && bytes.len() > held.len() {
            *held = bytes;
        }
    }

    /// The hash of a complete subtree.
    fn node(&self, level: u32, index: u64) -> Option<Sha256> {
        let within = level % HEIGHT;
        let first = index.checked_shl(within)?;
        let tile = self.0.get(&(level / HEIGHT, first / FULL))?;
        let from = usize::try_from(first % FULL).ok()? * 32;
        let hashes = tile.get(from..from + (32 << within))?;
        let mut row: Vec<Sha256> =
            hashes.chunks_exact(32).filter_map(|c| c.try_into().ok().map(Sha256)).collect();
        while row.len() > 1 {
            row = row.chunks_exact(2).filter_map(|p| Some(parent(p.first()?, p.last()?))).collect();
        }
        row.pop()
    }

    /// Whether the tiles show that `leaf` is entry `index` of the tree with `size` entries and `root`.
    pub fn included(&self, leaf: Sha256, index: u64, size: u64, root: &Sha256) -> Included {
        if size > MOST_ENTRIES || index >= size {
            return if index < size { Included::Unknown } else { Included::No };
        }
        let mut hash = leaf;
        for (from, to) in path(index, size) {
            let Some(sibling) = self.range(from, to) else { return Included::Unknown };
            hash = if from > index { parent(&hash, &sibling) } else { parent(&sibling, &hash) };
        }
        if hash == *root { Included::Yes } else { Included::No }
    }

    /// The hash over entries `from..to`, which is cut as the tree is.
    fn range(&self, from: u64, to: u64) -> Option<Sha256> {
        let nodes = cover(from, to).into_iter().map(|(level, index)| self.node(level, index));
        nodes.collect::<Option<Vec<_>>>().map(|nodes| fold(&nodes))
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_types::merkle::leaf;

    use super::*;

    /// The root over leaves, by the definition.
    fn root(leaves: &[Sha256]) -> Sha256 {
        match leaves {
            [] => Sha256::of(b""),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(1 << (more.len() - 1).ilog2());
                parent(&root(left), &root(right))
            }
        }
    }

    fn row(hashes: &[Sha256]) -> Vec<u8> {
        hashes.iter().flat_map(|h| h.0).collect()
    }

    /// Every tile of a tree.
    fn tiles(leaves: &[Sha256]) -> Tiles {
        let mut tiles = Tiles::default();
        let (mut hashes, mut level) = (leaves.to_vec(), 0);
        while !hashes.is_empty() {
            for (number, part) in (0..).zip(hashes.chunks(256)) {
                tiles.add(Place { level, number, width: part.len() as u64 }, row(part));
            }
            hashes = hashes.chunks_exact(256).map(root).collect();
            level += 1;
        }
        tiles
    }

    #[test]
    fn an_entry_is_included_in_its_tree_and_another_is_not() {
        for size in [1, 2, 3, 255, 256, 257, 600, 1000] {
            let leaves: Vec<Sha256> = (0..size).map(|n: u64| leaf(&n.to_be_bytes())).collect();
            let (root, tiles) = (root(&leaves), tiles(&leaves));
            for index in [0, size / 2, size - 1] {
                let own = leaves[usize::try_from(index).unwrap()];
                assert_eq!(tiles.included(own, index, size, &root), Included::Yes, "{index} of {size}");
                let other = leaf(b"other");
                assert_eq!(tiles.included(other, index, size, &root), Included::No, "{index} of {size}");
            }
            assert_eq!(tiles.included(leaves[0], size, size, &root), Included::No);
        }
    }

    #[test]
    fn without_a_tile_nothing_is_known_and_no_size_overflows() {
        let none = Tiles::default();
        let leaf = leaf(b"x");
        assert_eq!(none.included(leaf, 1, 3, &leaf), Included::Unknown);
        assert_eq!(none.included(leaf, 0, 1, &leaf), Included::Yes, "a tree of one entry needs none");
        assert_eq!(none.included(leaf, 5, MOST_ENTRIES, &leaf), Included::Unknown);
        assert_eq!(none.included(leaf, 5, u64::MAX, &leaf), Included::Unknown);
    }

    #[test]
    fn places_are_read_as_go_writes_them() {
        let place = |level, number, width| Some(Place { level, number, width });
        assert_eq!(Place::parse("0/x123/067"), place(0, 123_067, 256));
        assert_eq!(Place::parse("1/067.p/12"), place(1, 67, 12));
        for wrong in ["data/001", "0/", "0/1", "9/001", "0/001.p/256", "0/001.p/0", "0/x99999/001", ""] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
