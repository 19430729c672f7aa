//! Errors as cargo shows them: `{"errors":[{"detail":"…"}]}` (The Cargo Book, "Registry Web API").
//!
//! Must never show an internal cause.

use cofferdam_format_kit::Answer;
use cofferdam_types::{Error, ErrorKind};
use http::StatusCode;
use serde_json::json;

/// The answer for an error. Cargo prints `detail` whatever the status; in the index it takes 404
/// for "no such crate", and it repeats a request only after 5xx and 429.
pub fn answer(error: &Error) -> Answer {
    let detail = match error.advice() {
        Some(hint) => format!("{} ({hint})", error.message()),
        None => error.message().to_owned(),
    };
    Answer::json(status(error.kind()), &json!({ "errors": [{ "detail": detail }] }))
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden | ErrorKind::PolicyRefused | ErrorKind::AwaitingApproval => {
            StatusCode::FORBIDDEN
        }
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::VerificationFailed => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::MissingVolume | ErrorKind::Stale | ErrorKind::Unavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
