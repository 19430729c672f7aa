//! The words every other crate uses: digests, ids, names, package URLs, time and error kinds.
//!
//! Start at [`Error`] for failures, [`Sha256`] for the identity of bytes, [`Clock`] for time.
//! This crate is pure: it must never touch a file, a socket, the environment or the wall clock
//! (the one exception is [`time::SystemClock`], which only the binary constructs).

pub mod address;
mod digest;
mod error;
mod ids;
mod image;
pub mod merkle;
mod names;
pub mod platform;
mod purl;
mod python;
mod secret;
pub mod time;

pub use digest::{Digests, ParseDigestError, Sha256, Sha256Hasher, groups};
pub use error::{Error, ErrorKind, Result, printable};
pub use ids::*;
pub use image::ImageReference;
pub use names::{NameError, RepositoryName, SiteName, Slug};
pub use purl::PackageUrl;
pub use python::python_name;
pub use secret::Secret;
pub use time::{Clock, Timestamp};
