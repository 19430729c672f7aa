//! Reed-Solomon parity over equal slices, interleaved so that a lost volume is spread over all groups.
//!
//! It rebuilds lost or damaged parts of a *data stream* from the rest of it and a *parity stream*. The format is
//! in the crate's `README.md`. It knows nothing of files, volumes or transfers: the caller says how long the
//! data is and reads it at any offset ([`ReadAt`]).
//!
//! | step | where |
//! |---|---|
//! | how a stream is cut, from its length; a geometry of unknown origin is checked | [`Geometry`], [`Layout`] |
//! | parity and check list in one pass over the data | [`encode`] |
//! | which slices are damaged or missing | [`find_damage`], [`Damage`] |
//! | rebuilding them | [`repair`] |
//!
//! What it must never do: claim that bytes are genuine. The check list holds truncated hashes that *locate*
//! damage; who can write to the medium can write checks and parity to match. What is rebuilt counts only once
//! the caller has compared the SHA-256 of whole files with a signed list.
//!
//! Memory: buffers of at most 72 MiB in [`encode`] and [`repair`] together with 9 MiB of tables, for any length
//! of stream and any number of threads; a [`Damage`] takes one bit a slice.

mod checks;
mod code;
mod encode;
mod geometry;
mod io;
mod pool;
mod repair;
mod slices;

pub use checks::{CHECK_LEN, CHECK_MAGIC, CheckReader, Damage, find_damage};
pub use encode::encode;
pub use geometry::{Geometry, Layout, MAX_DATA_LEN, MAX_PARITY_PER_GROUP, MAX_SLICE, MIN_SLICE};
pub use io::{Memory, ReadAt, WriteAt};
pub use repair::{Unrepaired, repair};
pub use slices::SliceSet;

/// What the long operations call from any of their threads, with the number of bytes done since the last call.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);
