//! Errors as `application/problem+json` (RFC 9457). Must never show an internal cause.

use cofferdam_format_kit::{Answer, status_of};
use cofferdam_types::Error;
use http::StatusCode;
use serde_json::json;

/// The answer for an error; `code` is the stable machine-readable half.
pub fn answer(error: &Error) -> Answer {
    problem(status_of(error), error.code(), error.message(), error.advice())
}

/// A problem document.
pub fn problem(status: StatusCode, code: &str, detail: &str, hint: Option<&str>) -> Answer {
    let mut body = json!({
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "code": code,
    });
    if let Some(hint) = hint {
        body["hint"] = hint.into();
    }
    Answer::bytes(status, "application/problem+json", body.to_string())
}
