//! Finding the long ranges that two buffers have in common, wherever they are.
//!
//! Never short ones: below a few hundred bytes a compressor with a prefix says it in less.

use std::ops::Range;

/// Multiplier of the rolling hash; any odd number with mixed bits.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bytes of a block that is looked up.
const BLOCK: usize = 48;

/// Every block of the old bytes by its hash.
pub(crate) struct Index<'a> {
    old: &'a [u8],
    /// Start of a block plus one, 0 for none.
    table: Vec<u32>,
    shift: u32,
    /// `MULTIPLIER` to the power of `BLOCK`: what a byte that leaves the block counts.
    leaving: u64,
}

fn roll(hash: u64, byte: u8) -> u64 {
    hash.wrapping_mul(MULTIPLIER).wrapping_add(u64::from(byte) + 1)
}

fn slot(hash: u64, shift: u32) -> usize {
    ((hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> shift) as usize
}

/// A range of the new bytes that the old ones have too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) new: Range<usize>,
    pub(crate) old: usize,
}

impl<'a> Index<'a> {
    /// Indexes less than 4 GiB; of more, the rest is not found.
    pub(crate) fn new(old: &'a [u8]) -> Self {
        let blocks = old.len() / BLOCK;
        let bits = (usize::BITS - blocks.leading_zeros() + 1).clamp(4, 30);
        let shift = u64::BITS - bits;
        let mut table = vec![0_u32; 1 << bits];
        for (index, block) in old.chunks_exact(BLOCK).enumerate() {
            let hash = block.iter().fold(0, |hash, &byte| roll(hash, byte));
            let start = u32::try_from(index * BLOCK + 1).unwrap_or(0);
            // The first of equal blocks stays: runs of zeros would otherwise all point to their end.
            if let Some(entry) = table.get_mut(slot(hash, shift)).filter(|entry| **entry == 0) {
                *entry = start;
            }
        }
        let leaving = (0..BLOCK).fold(1_u64, |power, _| power.wrapping_mul(MULTIPLIER));
        Self { old, table, shift, leaving }
    }

    /// Ranges of `new` of at least `min` bytes, in order, found greedily.
    pub(crate) fn find(&self, new: &[u8], min: usize) -> Vec<Match> {
        let mut found = Vec::new();
        let (mut done, mut at, mut diagonal) = (0_usize, 0_usize, None::<isize>);
        let hash_of = |at: usize| {
            new.get(at..at + BLOCK).map(|block| block.iter().fold(0_u64, |hash, &byte| roll(hash, byte)))
        };
        let Some(mut hash) = hash_of(0) else { return found };
        loop {
            // What follows a change usually goes on as before it, at the same distance.
            let same = diagonal.and_then(|by| at.checked_add_signed(by));
            let best = same
                .and_then(|old| self.extend(new, at, old, done))
                .filter(|found| found.new.len() >= min)
                .or_else(|| {
                    let entry = self.table.get(slot(hash, self.shift)).copied().unwrap_or(0);
                    let old = usize::try_from(entry.checked_sub(1)?).ok()?;
                    self.extend(new, at, old, done).filter(|found| found.new.len() >= min)
                });
            if let Some(best) = best {
                done = best.new.end;
                at = done;
                diagonal = Some(best.old as isize - best.new.start as isize);
                found.push(best);
                match hash_of(at) {
                    Some(next) => hash = next,
                    None => return found,
                }
                continue;
            }
            let (Some(&leaves), Some(&enters)) = (new.get(at), new.get(at + BLOCK)) else { return found };
            hash = roll(hash, enters).wrapping_sub((u64::from(leaves) + 1).wrapping_mul(self.leaving));
            at += 1;
        }
    }

    /// The whole equal range around `new[at]` and `old[old_at]`, not before `floor`; none unless a
    /// block is equal.
    fn extend(&self, new: &[u8], at: usize, old_at: usize, floor: usize) -> Option<Match> {
        let (ahead, other) = (new.get(at..)?, self.old.get(old_at..)?);
        if ahead.get(..BLOCK)? != other.get(..BLOCK)? {
            return None;
        }
        let forward = common(ahead, other);
        let (behind, other) = (new.get(floor..at)?, self.old.get(..old_at)?);
        let backward = behind.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
        Some(Match { new: at - backward..at + forward, old: old_at - backward })
    }
}

fn common(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(32).zip(b.chunks_exact(32)).take_while(|(x, y)| x == y).count() * 32;
    let tail = a.get(words..).unwrap_or(&[]).iter().zip(b.get(words..).unwrap_or(&[]));
    words + tail.take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn moved_ranges_and_what_surrounds_a_change_are_found_whole() {
        let old = noise(20_000, 7);
        let new = [&old[10_000..15_000], b"something new", &old[..6_000], b"!", &old[6_001..9_000]].concat();
        let found = Index::new(&old).find(&new, 256);
        let expected = [(0..5_000, 10_000), (5_013..11_013, 0), (11_014..14_013, 6_001)];
        let expected: Vec<_> = expected.into_iter().map(|(new, old)| Match { new, old }).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn short_or_empty_buffers_have_nothing_in_common() {
        for (old, new) in [(&b""[..], &b""[..]), (b"abc", b"abc"), (&[0; 500], b""), (b"", &[0; 500])] {
            assert_eq!(Index::new(old).find(new, 64), []);
        }
        assert_eq!(Index::new(&[0; 500]).find(&[0; 700], 64).len(), 2, "zeros, once and again");
    }
}
