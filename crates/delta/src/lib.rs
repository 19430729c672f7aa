//! Exact deltas between releases: how to rebuild a new blob, byte for byte, from one that the other
//! side holds and a small payload.
//!
//! [`plan`] makes a [`Recipe`] and runs it before it answers, so that what it offers is known to
//! work. [`Recipe::execute`] runs what somebody else made: the recipe, the payload and even the base
//! may be hostile, and it ends with a stable code, never with a panic, more memory, more output or
//! more work than its [`Limits`]. README.md in this crate is the specification.
//!
//! Never decides that the result is right: the caller compares the SHA-256 of what was written with
//! that of the blob it wants, and discards the output of a failed execution. Never reads a clock:
//! work is counted, so both sides agree about what is too much.

mod archive;
mod budget;
mod encoder;
mod execute;
mod inflate;
mod matches;
mod patch;
mod plan;
mod recipe;

pub use plan::{Plan, plan};
pub use recipe::Recipe;

/// What an execution may use. The same limits on both sides make the same decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes held at once, besides the base and the payload, which the caller holds.
    pub memory: u64,
    /// Bytes written.
    pub output: u64,
    /// Units of work: one for each byte copied, inflated, decoded or deflated, and one for each 16
    /// places where an encoder looked for a match.
    pub work: u64,
}

impl Default for Limits {
    /// 512 MiB of memory, 1 GiB of output, and work for about a minute of one core.
    fn default() -> Self {
        Self { memory: 512 << 20, output: 1 << 30, work: 16 << 30 }
    }
}

/// How far a plan goes. Each level includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Equal ranges of bytes are copied from the base; the rest is only compressed.
    Copy,
    /// The rest is compressed with what the base has in its place as a dictionary.
    Prefix,
    /// Changed DEFLATE streams are compared by their plain text and encoded again.
    Deflate,
}
