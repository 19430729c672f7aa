//! The transfer format CT1: write, verify, read. Files only; `docs/spec/transfer-v1.md` is the norm.
//!
//! Start at [`Writer`] outside, at [`verify`] inside; [`classify`] and [`freshness`] are the checks
//! that need the caller's memory and clock. This crate must never know a package format, open a
//! database or a socket, write to a medium it verifies, use a name found in a transfer as a path, or
//! parse anything but the envelope before the signatures are checked.

mod frame;
mod header;
mod limits;
mod manifest;
mod medium;
mod readme;
mod refusal;
mod sequence;
mod verify;
mod writer;

pub use header::{FileEntry, Header, ManifestEntry, PREDICATE_TYPE, SUITE, Totals, stream_name};
pub use limits::*;
pub use manifest::{BlobMeta, FrameRef, Record};
pub use refusal::Refusal;
pub use sequence::{Freshness, Sequence, StreamState, classify, freshness};
pub use verify::{Progress, Trust, Verified, verify};
pub use writer::{HeaderDraft, Summary, Writer};
