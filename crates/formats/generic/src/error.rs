//! Errors as `application/problem+json` (RFC 9457). Must never show an internal cause.

use cofferdam_format_kit::Answer;
use cofferdam_types::{Error, ErrorKind};
use http::StatusCode;
use serde_json::json;

/// The answer for an error; `code` is the stable machine-readable half.
pub fn answer(error: &Error) -> Answer {
    problem(status(error.kind()), error.code(), error.message(), error.advice())
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
