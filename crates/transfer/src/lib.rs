//! The transfer format CT1: write, verify, repair, read. Files only; `docs/spec/transfer-v1.md` is the norm.
//!
//! | I look for | it is in |
//! |---|---|
//! | every ceiling | `limits` |
//! | file names | `name`; names of flat files and what a door lets through: `door` |
//! | the signed header, whom we believe | `header`, `trust` |
//! | the manifest's lines and their closure | `manifest` |
//! | packs, volumes, the threads that press them | `pack`, `volume`, `press`, `writer` |
//! | which files are whole, missing, damaged | `survey`, over `medium` |
//! | parity, repair, the answer to a repair request | `parity`, `repair`, `patch`, over `staging` |
//! | blobs out of a verified transfer | `read` |
//! | order and age | `sequence` |
//! | which file goes onto which medium of a set | `media` |
//! | statements of stations on the way, unread | `station` |
//! | receipts and requests | `receipt` |
//!
//! Start at [`Writer`] outside, at [`verify`] and [`Survey`] inside; [`classify`] and [`freshness`] are the
//! checks that need the caller's memory and clock. This crate must never know a package format, open a
//! database or a socket, write to a medium it reads, use a name found in a transfer as a path, or
//! parse anything but envelopes before the signatures are checked.

mod door;
mod handles;
mod header;
mod limits;
mod manifest;
mod media;
mod medium;
mod name;
mod pack;
mod parity;
mod patch;
mod press;
mod read;
mod readme;
pub mod receipt;
mod refusal;
mod repair;
mod sequence;
mod staging;
mod station;
mod survey;
mod trust;
mod volume;
mod writer;

pub use door::{Door, Profile, Sealed, is_flat_name};
pub use header::{
    Base, FileEntry, Header, Items, ManifestEntry, PREDICATE_TYPE, Payload, Suite, Totals, stream_name,
};
pub use limits::*;
pub use manifest::{BlobEntry, RecipeLine, Record};
pub use media::{Disc, LaidOut, Media, flat_files, lay_out, plan, volume_size};
pub use patch::answer;
pub use press::EntropyByFile;
pub use read::{CheckOnly, Contents, DoorFinding, Group, Sink, mismatch, verify};
pub use refusal::Refusal;
pub use repair::{Harm, Repaired, Stretch};
pub use sequence::{Freshness, Sequence, StreamState, classify, freshness};
pub use station::{MAX_STATION_BYTES, is_station_name, station_files, station_name};
pub use survey::{FileState, Progress, Survey};
pub use trust::{Authority, Trust};
pub use writer::{HeaderDraft, Summary, Writer, Writing};
