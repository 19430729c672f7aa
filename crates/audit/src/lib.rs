//! The Merkle audit log: append, checkpoints, proofs, verify.
//!
//! Every change of the site appends an [`Entry`] **in the same transaction** ([`append`]), so there
//! is no change without its entry and no entry without its change. The log is an RFC 6962 tree;
//! [`checkpoint`] signs its size and root as a C2SP note, and [`Verifier`] checks a whole log offline, from
//! the entries' bytes alone: nothing that the database says about hashes is believed.
//!
//! This crate must never drop, edit or reorder an entry, and must never decide who may do what.

mod checkpoint;
mod entry;
mod verify;

pub use checkpoint::{checkpoint, latest_checkpoint};
pub use entry::{Entry, append, entries, inclusion, root, size};
pub use verify::{Report, Verifier};
