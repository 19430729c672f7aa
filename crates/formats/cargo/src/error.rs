//! Errors as cargo shows them: `{"errors":[{"detail":"…"}]}` (The Cargo Book, "Registry Web API").
//!
//! Must never show an internal cause.

use cofferdam_format_kit::{Answer, status_of};
use cofferdam_types::Error;
use serde_json::json;

/// The answer for an error. Cargo prints `detail` whatever the status; in the index it takes 404
/// for "no such crate", and it repeats a request only after 5xx and 429.
pub fn answer(error: &Error) -> Answer {
    let detail = match error.advice() {
        Some(hint) => format!("{} ({hint})", error.message()),
        None => error.message().to_owned(),
    };
    Answer::json(status_of(error), &json!({ "errors": [{ "detail": detail }] }))
}
