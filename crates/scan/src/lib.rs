//! Security advisories: feeds of OSV records (schema 1.7) read within bounds, and which releases they are about.
//!
//! An [`Index`] takes feeds (files, folders, archives) and judges releases by package URL. "No advisory" and "not judged"
//! are two answers: what a feed has and this crate cannot read, and what no feed of an ecosystem was there for, is
//! counted and named. This crate must never fetch anything, and never call a release safe.
//!
//! Not covered: Debian, Alpine, RPM and other distributions (their advisories name source packages, and their version
//! orders are not in `versions`); ranges of git commits.

mod address;
mod index;
mod load;
mod record;
mod severity;
mod subject;

pub use address::Reading;
pub use index::{Finding, Index, Verdict};
pub use load::{Bounds, Loaded};
pub use severity::{Rating, Severity};
pub use subject::{Subject, ecosystem_of};
