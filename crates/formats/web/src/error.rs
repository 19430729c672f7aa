//! Errors as plain text, which every client shows to people. Must never show an internal cause.

use cofferdam_format_kit::{Answer, status_of};
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
    // Upstream's bytes contradict what upstream says: the fault is beyond us, not the client's.
    let status = match error.kind() {
        ErrorKind::VerificationFailed => StatusCode::BAD_GATEWAY,
        _ => status_of(error),
    };
    Answer::bytes(status, "text/plain; charset=utf-8", text)
}
