//! The root of a Merkle tree (RFC 6962 section 2.1), fed leaf by leaf, in logarithmic memory.

use cofferdam_types::{Sha256, Sha256Hasher};

/// A growing tree: the roots of its full subtrees, largest first.
#[derive(Clone, Debug, Default)]
pub struct Merkle {
    stack: Vec<(u32, Sha256)>,
    leaves: u64,
}

impl Merkle {
    pub fn add(&mut self, leaf: &[u8]) {
        let mut node = (0, hash(&[&[0], leaf]));
        while let Some(&(height, left)) = self.stack.last().filter(|(height, _)| *height == node.0) {
            self.stack.pop();
            node = (height + 1, hash(&[&[1], &left.0, &node.1.0]));
        }
        self.stack.push(node);
        self.leaves += 1;
    }

    pub const fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The root; of no leaves the hash of nothing.
    pub fn root(&self) -> Sha256 {
        let mut nodes = self.stack.iter().rev().map(|(_, node)| *node);
        let Some(mut right) = nodes.next() else { return Sha256::of(b"") };
        for left in nodes {
            right = hash(&[&[1], &left.0, &right.0]);
        }
        right
    }
}

fn hash(parts: &[&[u8]]) -> Sha256 {
    let mut hasher = Sha256Hasher::default();
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, recursive.
    fn defined(leaves: &[Vec<u8>]) -> Sha256 {
        match leaves {
            [] => Sha256::of(b""),
            [one] => hash(&[&[0], one]),
            many => {
                let k = many.len().next_power_of_two() / 2;
                hash(&[&[1], &defined(&many[..k]).0, &defined(&many[k..]).0])
            }
        }
    }

    #[test]
    fn the_root_is_the_one_that_rfc_6962_defines() {
        for n in 0..70 {
            let leaves: Vec<Vec<u8>> = (0..n).map(|i: u8| vec![i; usize::from(i)]).collect();
            let mut tree = Merkle::default();
            leaves.iter().for_each(|leaf| tree.add(leaf));
            assert_eq!(tree.root(), defined(&leaves), "{n} leaves");
        }
    }
}
