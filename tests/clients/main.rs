//! The ecosystems' own clients against a site without any upstream.

#[path = "../common/mod.rs"]
mod common;

mod caching;
mod cargo;
mod files;
mod git;
mod npm;
mod python;
mod refused;
