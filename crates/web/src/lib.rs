//! Pages and assets: plain values in, HTML out.
//!
//! | module | what |
//! |---|---|
//! | [`frame`] | what every page has: the site, who is looking, where they may go |
//! | [`values`] | sizes, times, states as people read them |
//! | [`log`] | a job's log as safe HTML |
//! | [`assets`] | the style sheet and the script, by the hash in their names |
//! | [`paper`] | labels, hash lists and receipts as files for a printer |
//! | [`packages`] [`transfers`] [`paperwork`] [`recordings`] [`forge`] [`site`] | one struct per page |
//!
//! A page is a struct with an askama template of the same name in `templates/`; every value is
//! escaped by askama unless it is [`log::LogHtml`], which escapes itself. Pages work without
//! script and hold no inline script or style, so that a strict content security policy holds.
//!
//! This crate must never know the web server or the database, and never decide who may see what.

pub mod assets;
pub mod forge;
pub mod frame;
pub mod log;
pub mod packages;
pub mod paper;
pub mod paperwork;
pub mod recordings;
pub mod site;
pub mod transfers;
pub mod values;

use cofferdam_types::{Error, Result};

pub use askama::Template;
pub use assets::{Asset, asset};
pub use frame::{Frame, Notice};

/// Renders a page.
///
/// # Errors
/// `Internal` when a value cannot be shown, which is a fault of ours.
pub fn render(page: &impl Template) -> Result<String> {
    page.render().map_err(|e| Error::internal("rendering a page", e.to_string()))
}
