//! Merkle trees: RFC 6962, section 2.1, of the audit log, of a transfer's lists and of Go's checksum database. Pure.
//!
//! Where hashes are kept is the caller's business: the functions say which subtrees are needed. Must never believe a proof that
//! does not lead to the root.

use crate::{Sha256, Sha256Hasher};

/// The hash of a leaf.
#[must_use]
pub fn leaf(body: &[u8]) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    hasher.update(&[0]);
    hasher.update(body);
    hasher.finish()
}

/// The hash of an inner node.
#[must_use]
pub fn parent(left: &Sha256, right: &Sha256) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    hasher.update(&[1]);
    hasher.update(&left.0);
    hasher.update(&right.0);
    hasher.finish()
}

/// The complete subtrees `(level, index)` that cover leaves `from..to`, left to right. `from` must
/// be aligned as RFC 6962's splits are.
#[must_use]
pub fn cover(mut from: u64, to: u64) -> Vec<(u32, u64)> {
    let mut out = Vec::new();
    while from < to {
        let aligned = if from == 0 { 63 } else { from.trailing_zeros() };
        let level = aligned.min((to - from).ilog2());
        out.push((level, from >> level));
        from += 1 << level;
    }
    out
}

/// The hash over subtrees given left to right, largest first; of nothing, SHA-256 of nothing.
#[must_use]
pub fn fold(hashes: &[Sha256]) -> Sha256 {
    let mut right = hashes.iter().rev();
    let Some(last) = right.next() else { return Sha256::of(b"") };
    right.fold(*last, |acc, left| parent(left, &acc))
}

fn split(size: u64) -> u64 {
    // The largest power of two smaller than `size`.
    1 << (size - 1).ilog2()
}

/// The leaf ranges whose hashes are the inclusion proof of `index` among `size`, leaf upwards.
#[must_use]
pub fn path(index: u64, size: u64) -> Vec<(u64, u64)> {
    let (mut from, mut to) = (0, size);
    let mut out = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            out.push((middle, to));
            to = middle;
        } else {
            out.push((from, middle));
            from = middle;
        }
    }
    out.reverse();
    out
}

/// Whether `proof` shows that `leaf` is entry `index` of the log with `size` entries and `root`.
#[must_use]
pub fn included(leaf: &Sha256, index: u64, size: u64, proof: &[Sha256], root: &Sha256) -> bool {
    let ranges = if index < size { path(index, size) } else { return false };
    if ranges.len() != proof.len() {
        return false;
    }
    let found = ranges.iter().zip(proof).fold(*leaf, |acc, ((from, _), sibling)| {
        if *from > index { parent(&acc, sibling) } else { parent(sibling, &acc) }
    });
    found == *root
}

/// The root of a log, computed while its leaves pass by. Memory is the logarithm of the size.
#[derive(Clone, Debug, Default)]
pub struct Roller {
    size: u64,
    /// The complete subtrees so far, largest first.
    spine: Vec<Sha256>,
}

impl Roller {
    /// Takes the next leaf's hash.
    pub fn push(&mut self, leaf: Sha256) {
        let mut hash = leaf;
        let mut carry = self.size;
        while carry & 1 == 1 {
            if let Some(left) = self.spine.pop() {
                hash = parent(&left, &hash);
            }
            carry >>= 1;
        }
        self.spine.push(hash);
        self.size += 1;
    }

    /// How many leaves were taken.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over them.
    #[must_use]
    pub fn root(&self) -> Sha256 {
        fold(&self.spine)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962's own definition, word for word, as the judge of the fast one.
    fn by_definition(leaves: &[Sha256]) -> Sha256 {
        match leaves {
            [] => Sha256::of(b""),
            [one] => *one,
            _ => {
                let (left, right) = leaves.split_at(usize::try_from(split(leaves.len() as u64)).unwrap());
                parent(&by_definition(left), &by_definition(right))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Sha256> {
        (0..count).map(|i| leaf(&i.to_le_bytes())).collect()
    }

    #[test]
    fn the_empty_log_and_one_leaf_have_the_roots_of_the_rfc() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Roller::default().root().to_hex(), empty);
        let one = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(leaf(b"").to_hex(), one);
    }

    proptest! {
        #[test]
        fn every_size_has_the_root_of_the_definition(count in 0usize..200) {
            let leaves = leaves(count);
            let mut roller = Roller::default();
            leaves.iter().for_each(|l| roller.push(*l));
            prop_assert_eq!(roller.root(), by_definition(&leaves));
        }

        #[test]
        fn a_leaf_proves_its_place_and_no_other(count in 1usize..120, at in 0usize..120, other in 0usize..120) {
            let (at, other) = (at % count, other % count);
            let leaves = leaves(count);
            let root = by_definition(&leaves);
            let proof: Vec<_> = path(at as u64, count as u64).iter().map(|(from, to)| {
                by_definition(&leaves[usize::try_from(*from).unwrap()..usize::try_from(*to).unwrap()])
            }).collect();
            prop_assert!(included(&leaves[at], at as u64, count as u64, &proof, &root));
            if other != at {
                prop_assert!(!included(&leaves[other], at as u64, count as u64, &proof, &root));
                prop_assert!(!included(&leaves[at], other as u64, count as u64, &proof, &root));
            }
        }
    }
}
