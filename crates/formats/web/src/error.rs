//! Errors as plain text, which every client shows to people. Must never show an internal cause.

use cofferdam_format_kit::Answer;
use cofferdam_types::{Error, ErrorKind};
use http::{StatusCode, header};

/// The answer for an error: what was asked, what is wrong with it, what helps.
pub fn answer(error: &Error) -> Answer {
    let mut text = format!("cofferdam: {}\n", error.message());
    if let Some(hint) = error.advice() {
        text.push_str(hint);
        text.push('\n');
    }
    if error.code() == "method-not-recorded" {
        return Answer::bytes(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", text)
            .with_header(header::ALLOW, "GET, HEAD");
    }
    Answer::bytes(status(error.kind()), "text/plain; charset=utf-8", text)
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
        ErrorKind::VerificationFailed => StatusCode::BAD_GATEWAY,
        ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::MissingVolume | ErrorKind::Stale | ErrorKind::Unavailable => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
