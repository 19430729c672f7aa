//! Finding matches the way zlib does: a window of two halves, hash chains, lazy evaluation.
//!
//! Which match is taken depends on the order of the chains, on where the window is moved, and at
//! the very end even on the bytes that an earlier part left behind in it. All three are kept.
//! Never faster at the price of another choice.

use cofferdam_types::Result;

use super::huffman::Blocks;
use super::{Hash, Sink};

const WINDOW: usize = 1 << 15;
const MASK: usize = WINDOW - 1;
const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 258;
/// Bytes that must be ahead before a position is looked at, except at the end of the input.
const AHEAD: usize = MAX_MATCH + MIN_MATCH + 1;
const MAX_DISTANCE: usize = WINDOW - AHEAD;
/// A match of three bytes further back than this is worse than three literals.
const TOO_FAR: usize = 4096;
/// Visits to a hash chain that cost one unit of work.
const VISITS_PER_UNIT: u64 = 16;

/// What a level means: zlib's published table.
struct Tuning {
    good: usize,
    lazy: usize,
    nice: usize,
    chain: usize,
    greedy: bool,
}

fn tuning(level: u8) -> Tuning {
    let (good, lazy, nice, chain) = match level {
        1 => (4, 4, 8, 4),
        2 => (4, 5, 16, 8),
        3 => (4, 6, 32, 32),
        4 => (4, 4, 16, 16),
        5 => (8, 16, 32, 32),
        6 => (8, 16, 128, 128),
        7 => (8, 32, 128, 256),
        8 => (32, 128, 258, 1024),
        _ => (32, 258, 258, 4096),
    };
    Tuning { good, lazy, nice, chain, greedy: level <= 3 }
}

/// A raw DEFLATE stream being written.
pub(crate) struct Deflate<S> {
    sink: S,
    blocks: Blocks,
    tuning: Tuning,
    hash: Hash,
    hash_mask: usize,
    hash_shift: u32,
    /// Two halves of `WINDOW`, and room to read a little past the end.
    window: Vec<u8>,
    /// The window has been written, or set to zero, up to here.
    touched: usize,
    head: Vec<u16>,
    prev: Vec<u16>,
    /// The current position in the window.
    at: usize,
    /// Known bytes from `at` on.
    ahead: usize,
    /// Where the open block began; negative when that part of the window is gone.
    block_start: isize,
    match_len: usize,
    match_start: usize,
    /// The byte before `at` has not been decided yet.
    undecided: bool,
    /// Input that did not fit into the window yet.
    pending: Vec<u8>,
    finishing: bool,
    /// Chain visits not yet charged.
    visits: u64,
}

impl<S: Sink> Deflate<S> {
    pub(super) fn new(hash: Hash, level: u8, memory: u8, sink: S) -> Self {
        let bits = u32::from(memory) + 7;
        Self {
            sink,
            blocks: Blocks::new(1 << (memory + 6)),
            tuning: tuning(level),
            hash,
            hash_mask: (1 << bits) - 1,
            hash_shift: bits.div_ceil(3),
            window: vec![0; 2 * WINDOW + 2 * AHEAD],
            touched: 0,
            head: vec![0; 1 << bits],
            prev: vec![0; WINDOW],
            at: 0,
            ahead: 0,
            block_start: 0,
            match_len: MIN_MATCH - 1,
            match_start: 0,
            undecided: false,
            pending: Vec::new(),
            finishing: false,
            visits: 0,
        }
    }

    /// Takes the next bytes of the plain text.
    pub(crate) fn write(&mut self, mut plain: &[u8]) -> Result<()> {
        // The window is filled only when there is enough to fill it whole, so that the result is
        // that of one call with everything.
        while !plain.is_empty() {
            let take = plain.len().min((2 * WINDOW).saturating_sub(self.pending.len()));
            let (now, later) = plain.split_at(take);
            self.pending.extend_from_slice(now);
            plain = later;
            if self.pending.len() >= 2 * WINDOW {
                self.run()?;
            }
        }
        Ok(())
    }

    /// Ends the stream.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.finishing = true;
        self.run()?;
        if self.undecided {
            self.blocks.literal(self.byte(self.at.wrapping_sub(1)));
        }
        self.close_block(true)?;
        let rest = self.blocks.drain();
        self.sink.take(&rest)
    }

    /// Where the stream goes.
    pub(crate) fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    fn run(&mut self) -> Result<()> {
        while self.look_ahead() {
            if self.tuning.greedy { self.greedy()? } else { self.lazy()? }
        }
        Ok(())
    }

    fn byte(&self, at: usize) -> u8 {
        self.window.get(at).copied().unwrap_or(0)
    }

    /// Makes sure that enough is known ahead of the next position. False when all is done that can be done
    /// without more input, and at the end of it.
    fn look_ahead(&mut self) -> bool {
        if self.ahead >= AHEAD {
            return true;
        }
        loop {
            let free = 2 * WINDOW - self.ahead - self.at;
            let slides = self.at >= WINDOW + MAX_DISTANCE;
            let room = if slides { free + WINDOW } else { free };
            if !self.finishing && self.pending.len() < room {
                return false;
            }
            if slides {
                self.slide(free);
            }
            let count = room.min(self.pending.len());
            if count == 0 {
                break;
            }
            let start = self.at + self.ahead;
            if let (Some(to), Some(from)) =
                (self.window.get_mut(start..start + count), self.pending.get(..count))
            {
                to.copy_from_slice(from);
            }
            self.pending.drain(..count);
            self.ahead += count;
            if self.ahead >= AHEAD || self.pending.is_empty() {
                break;
            }
        }
        self.clear_beyond();
        self.ahead > 0
    }

    fn slide(&mut self, free: usize) {
        self.window.copy_within(WINDOW..(2 * WINDOW - free.min(WINDOW)), 0);
        self.at -= WINDOW;
        self.match_start = self.match_start.saturating_sub(WINDOW);
        self.block_start -= WINDOW as isize;
        for link in self.head.iter_mut().chain(&mut self.prev) {
            *link = link.saturating_sub(WINDOW as u16);
        }
    }

    /// What was never written reads as zero, as far as a match can look.
    fn clear_beyond(&mut self) {
        let end = self.at + self.ahead;
        let until = (end + MAX_MATCH).min(2 * WINDOW);
        let from = self.touched.max(end);
        if let Some(part) = self.window.get_mut(from..until.max(from)) {
            part.fill(0);
        }
        self.touched = self.touched.max(until);
    }

    /// Puts the position into its chain and returns the one before it, 0 for none.
    fn insert(&mut self, at: usize) -> usize {
        let Some(&[a, b, c, d]) = self.window.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
            return 0;
        };
        let key = match self.hash {
            Hash::Three => {
                (usize::from(a) << (2 * self.hash_shift))
                    ^ (usize::from(b) << self.hash_shift)
                    ^ usize::from(c)
            }
            Hash::Four => {
                let value = u32::from_le_bytes([a, b, c, d]);
                (value.wrapping_mul(66_521).wrapping_add(66_521) >> 16) as usize
            }
        } & self.hash_mask;
        let Some(head) = self.head.get_mut(key) else { return 0 };
        let before = std::mem::replace(head, at as u16);
        if let Some(link) = self.prev.get_mut(at & MASK) {
            *link = before;
        }
        usize::from(before)
    }

    /// The longest match of the chain that is longer than `best`; sets `match_start`.
    fn longest(&mut self, mut candidate: usize, mut best: usize) -> usize {
        let mut chain = if best >= self.tuning.good { self.tuning.chain >> 2 } else { self.tuning.chain };
        let nice = self.tuning.nice.min(self.ahead);
        let limit = self.at.saturating_sub(MAX_DISTANCE);
        let reach = MAX_MATCH.min(self.ahead);
        let (Some(scan), Some(window)) =
            (self.window.get(self.at..self.at + MAX_MATCH + 1), self.window.get(..))
        else {
            return best;
        };
        let (mut visits, mut start) = (0, self.match_start);
        loop {
            visits += 1;
            let other = window.get(candidate..candidate + MAX_MATCH + 1).unwrap_or(&[]);
            if other.get(best) == scan.get(best) && other.get(best - 1) == scan.get(best - 1) {
                let len = common(scan, other).min(reach);
                visits += (len >> 4) as u64;
                if len > best {
                    start = candidate;
                    best = len;
                    if len >= nice {
                        break;
                    }
                }
            }
            candidate = self.prev.get(candidate & MASK).map_or(0, |&link| usize::from(link));
            chain -= 1;
            if candidate <= limit || chain == 0 {
                break;
            }
        }
        self.visits += visits;
        self.match_start = start;
        best.min(self.ahead)
    }

    fn reachable(&self, candidate: usize) -> bool {
        candidate != 0 && self.at - candidate <= MAX_DISTANCE
    }

    /// One position of levels 1 to 3: every match is taken at once.
    fn greedy(&mut self) -> Result<()> {
        let candidate = if self.ahead >= MIN_MATCH { self.insert(self.at) } else { 0 };
        let len = if self.reachable(candidate) { self.longest(candidate, MIN_MATCH - 1) } else { 0 };
        let full = if len >= MIN_MATCH {
            let full = self.blocks.pair(len, self.at - self.match_start);
            self.ahead -= len;
            if len <= self.tuning.lazy && self.ahead >= MIN_MATCH {
                for at in self.at + 1..self.at + len {
                    self.insert(at);
                }
            }
            self.at += len;
            full
        } else {
            let full = self.blocks.literal(self.byte(self.at));
            self.at += 1;
            self.ahead -= 1;
            full
        };
        if full {
            self.close_block(false)?;
        }
        Ok(())
    }

    /// One position of levels 4 to 9: a match is taken when the next one is not longer.
    fn lazy(&mut self) -> Result<()> {
        let candidate = if self.ahead >= MIN_MATCH { self.insert(self.at) } else { 0 };
        let (before_len, before_start) = (self.match_len, self.match_start);
        self.match_len = MIN_MATCH - 1;
        if before_len < self.tuning.lazy && self.reachable(candidate) {
            self.match_len = self.longest(candidate, before_len);
            if self.match_len == MIN_MATCH && self.at - self.match_start > TOO_FAR {
                self.match_len = MIN_MATCH - 1;
            }
        }
        if before_len >= MIN_MATCH && self.match_len <= before_len {
            // The last position whose string lies within the input.
            let last = self.at + self.ahead - MIN_MATCH;
            let full = self.blocks.pair(before_len, self.at - 1 - before_start);
            for at in self.at + 1..self.at + before_len - 1 {
                if at <= last {
                    self.insert(at);
                }
            }
            self.at += before_len - 1;
            self.ahead -= before_len - 1;
            self.undecided = false;
            self.match_len = MIN_MATCH - 1;
            if full {
                self.close_block(false)?;
            }
            return Ok(());
        }
        if self.undecided && self.blocks.literal(self.byte(self.at - 1)) {
            self.close_block(false)?;
        }
        self.undecided = true;
        self.at += 1;
        self.ahead -= 1;
        Ok(())
    }

    fn close_block(&mut self, last: bool) -> Result<()> {
        let raw = usize::try_from(self.block_start).ok().and_then(|start| self.window.get(start..self.at));
        let len = (self.at as isize - self.block_start).unsigned_abs();
        self.blocks.close(raw, len, last);
        self.block_start = self.at as isize;
        let bytes = self.blocks.drain_whole();
        self.sink.take(&bytes)?;
        self.sink.work(std::mem::take(&mut self.visits) / VISITS_PER_UNIT + len as u64)
    }
}

/// How many bytes two slices of `MAX_MATCH + 1` begin with in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    let mut len = 0;
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let (Some(x), Some(y)) = (x.first_chunk::<8>(), y.first_chunk::<8>()) else { break };
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return len + (differ.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let tail = a.get(len..).unwrap_or(&[]).iter().zip(b.get(len..).unwrap_or(&[]));
    len + tail.take_while(|(x, y)| x == y).count()
}
