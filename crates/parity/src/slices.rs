//! A set of slice numbers: one bit for each slice there is.
//!
//! A bit a slice is 2 MiB for four tebibytes, whatever a hostile medium makes of the pattern of damage.

use std::ops::Range;

/// A set of numbers below a fixed bound. Numbers outside of it are never members and are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceSet {
    words: Vec<u64>,
    bound: u64,
}

impl SliceSet {
    /// No slice of those below `bound`, which is at most that of a checked [`crate::Layout`].
    #[must_use]
    pub(crate) fn new(bound: u64) -> Self {
        let words = usize::try_from(bound.div_ceil(64)).unwrap_or(0);
        Self { words: vec![0; words], bound }
    }

    fn place(&self, slice: u64) -> Option<(usize, u64)> {
        (slice < self.bound).then_some(())?;
        Some((usize::try_from(slice / 64).ok()?, 1 << (slice % 64)))
    }

    /// Adds one slice.
    pub fn insert(&mut self, slice: u64) {
        if let Some((word, bit)) = self.place(slice)
            && let Some(word) = self.words.get_mut(word)
        {
            *word |= bit;
        }
    }

    /// Removes one slice.
    pub fn remove(&mut self, slice: u64) {
        if let Some((word, bit)) = self.place(slice)
            && let Some(word) = self.words.get_mut(word)
        {
            *word &= !bit;
        }
    }

    /// Adds every slice of a range.
    pub fn insert_range(&mut self, range: Range<u64>) {
        (range.start..range.end.min(self.bound)).for_each(|slice| self.insert(slice));
    }

    /// Removes every slice of a range, such as one whose file the caller has proved whole.
    pub fn remove_range(&mut self, range: Range<u64>) {
        (range.start..range.end.min(self.bound)).for_each(|slice| self.remove(slice));
    }

    /// Removes the members for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        for (number, word) in (0u64..).zip(&mut self.words) {
            let mut rest = *word;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                if !keep(number * 64 + u64::from(bit)) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// Whether the slice is a member.
    #[must_use]
    pub fn contains(&self, slice: u64) -> bool {
        self.place(slice).is_some_and(|(word, bit)| self.words.get(word).is_some_and(|w| w & bit != 0))
    }

    /// How many slices are members.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Whether no slice is a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// One more than the largest number that could be a member.
    #[must_use]
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// The members as ascending ranges that do not touch.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut from = 0;
        std::iter::from_fn(move || {
            let start = self.next(from, true)?;
            let end = self.next(start, false).unwrap_or(self.bound);
            from = end;
            Some(start..end)
        })
    }

    /// The first number from `from` on that is a member, or is not.
    fn next(&self, from: u64, member: bool) -> Option<u64> {
        let mut word = usize::try_from(from / 64).ok()?;
        let mut mask = u64::MAX << (from % 64);
        loop {
            let bits = *self.words.get(word)?;
            let found = if member { bits } else { !bits } & mask;
            if found != 0 {
                let number = word as u64 * 64 + u64::from(found.trailing_zeros());
                return (number < self.bound).then_some(number);
            }
            (word, mask) = (word + 1, u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_the_members_in_order_and_do_not_touch() {
        let mut set = SliceSet::new(200);
        set.insert_range(60..130);
        set.insert(0);
        set.insert(199);
        set.insert(200);
        set.remove(100);
        assert_eq!(set.ranges().collect::<Vec<_>>(), [0..1, 60..100, 101..130, 199..200]);
        assert_eq!(set.len(), 71);
        assert!(!set.contains(200) && set.contains(199));
        set.retain(|slice| slice != 199 && !(64..128).contains(&slice));
        assert_eq!(set.ranges().collect::<Vec<_>>(), [0..1, 60..64, 128..130]);
        set.remove_range(0..u64::MAX);
        assert!(set.is_empty() && set.ranges().next().is_none());
    }
}
