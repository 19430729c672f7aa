//! The only code that dials out; exists only in the connected role.
//!
//! Four parts:
//!
//! | module | what for |
//! |---|---|
//! | [`discover`] | asks the person's own clients (pip, npm, Cargo) which registry they use, and with which credentials |
//! | [`WebUpstream`] | fetches arbitrary addresses, for what a build fetches beside its package clients |
//! | [`HttpUpstream`] | fetches from one such registry, behind [`cofferdam_format_kit::Upstream`] |
//! | [`Recent`] | remembers a registry's documents for the moment in which they are needed twice |
//!
//! Start at [`discover()`] and give each [`Found`] to [`HttpUpstream::new`].
//!
//! This crate must never know a registry's address of its own: an address comes from the person's
//! configuration, from the client itself, or from a crate that is kept for the purpose. It must never
//! print or log a credential, and never send one to another origin than the registry's own.

pub mod discover;
mod http;
mod recent;
mod retry;

pub use discover::{Discovery, Found, Override, discover};
pub use http::{HttpUpstream, Options, WebUpstream};
pub use recent::Recent;
pub use retry::{Retries, dice};
