//! Order and age: pure decisions from a verified header and what the site remembers.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use cofferdam_types::{Sha256, Timestamp};

use crate::Header;

/// What the receiving site remembers of one stream; the default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Epoch of the last transfer applied.
    pub epoch: u32,
    /// Its position; 0 before the first.
    pub last_seq: u64,
    /// SHA-256 of its signed payload.
    pub last_header: Option<Sha256>,
    /// Every header ever accepted or staged, by epoch and position.
    pub known: BTreeMap<(u32, u64), Sha256>,
}

/// Where a transfer stands in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sequence {
    /// The one that is due.
    Next,
    /// This very transfer is known.
    AlreadyImported,
    /// Others come before it. Some of them may be staged already.
    Gap {
        /// Positions in the transfer's epoch that have not been applied.
        missing: RangeInclusive<u64>,
    },
    /// The sender signed two histories: freeze the stream.
    Equivocation,
    /// Older than what was applied, and never seen here.
    Rollback,
}

/// Places a verified header in its stream. `header_sha256` is over its signed payload.
#[must_use]
pub fn classify(header: &Header, header_sha256: Sha256, state: &StreamState) -> Sequence {
    match state.known.get(&(header.epoch, header.seq)) {
        Some(known) if *known == header_sha256 => return Sequence::AlreadyImported,
        Some(_) => return Sequence::Equivocation,
        None => {}
    }
    let position = (header.epoch, header.seq);
    if position == (state.epoch, state.last_seq) && state.last_header == Some(header_sha256) {
        return Sequence::AlreadyImported;
    }
    if position == (state.epoch, state.last_seq) && state.last_header.is_some() {
        return Sequence::Equivocation;
    }
    if position <= (state.epoch, state.last_seq) {
        return Sequence::Rollback;
    }
    // A stream that starts anew does not hang on what came before: its last transfer may have been lost.
    if header.epoch > state.epoch && header.seq == 1 {
        return Sequence::Next;
    }
    let same_epoch = header.epoch == state.epoch;
    let applied = if same_epoch { state.last_seq } else { 0 };
    // Not `applied + 1`: a state at u64::MAX must not overflow.
    if header.seq - applied > 1 {
        return Sequence::Gap { missing: applied + 1..=header.seq - 1 };
    }
    if header.prev == state.last_header { Sequence::Next } else { Sequence::Equivocation }
}

/// How old a transfer is by a clock the caller trusts; what follows from it is the caller's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Between its two dates.
    Current,
    /// Past `notAfter` by this much.
    Expired(Duration),
    /// Written this much later than now: a clock is wrong on one side.
    FromTheFuture(Duration),
}

/// Compares a header's dates with `now`.
#[must_use]
pub fn freshness(header: &Header, now: Timestamp) -> Freshness {
    if now > header.not_after {
        Freshness::Expired(now.since(header.not_after))
    } else if now < header.created {
        Freshness::FromTheFuture(header.created.since(now))
    } else {
        Freshness::Current
    }
}
