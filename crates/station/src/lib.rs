//! What a station on the way does with a transfer: a kiosk, a guard, a courier's desk.
//!
//! | I look for | it is in |
//! |---|---|
//! | looking at every byte and saying how it is | [`inspect`] |
//! | what was seen, as a value and as JSON | [`Report`] |
//! | the same for a terminal | [`to_text`] |
//! | what a station signs, and how it is read later | [`statement`], [`read_statements`] |
//!
//! A station holds public keys and, if it signs, a key of its own; it can open nothing that is sealed. This
//! crate must never write to a medium it inspects, open a socket, show anything of a header that is not
//! believed, or let a station's statement stand in for the sender's signature.

mod inspect;
mod report;
mod statement;
mod text;

pub use inspect::{Stage, Watch, inspect};
pub use report::{FileReport, FileState, FlatReport, FlatState, Freshness, Problem, Report, Span, Verdict};
pub use statement::{
    Engine, Found, Heard, PREDICATE_TYPE, Seen, SignedStatement, Station, StationPredicate, read_statements,
    statement,
};
pub use text::{found_text, size, to_text};
