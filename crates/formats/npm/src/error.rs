//! Errors in the shape that npm, pnpm and yarn show to people.
//!
//! npm prints the body's `error` behind the status line, so the whole sentence with its advice goes
//! there. An internal cause must never be shown.

use cofferdam_format_kit::{Answer, status_of};
use cofferdam_types::{Error, ErrorKind};
use http::{StatusCode, header};
use serde_json::json;

/// The code of "this version exists". npm would retry a 409 by merging documents, and then say
/// something else; a 403 is shown as it is, like the public registry's.
pub const VERSION_EXISTS: &str = "version-exists";

/// The answer for an error.
#[must_use]
pub fn answer(error: &Error) -> Answer {
    let text = match error.advice() {
        Some(hint) => format!("{} ({hint})", error.message()),
        None => error.message().to_owned(),
    };
    let body = json!({ "error": text, "reason": error.message(), "code": error.code() });
    let answer = Answer::json(status(error), &body);
    if error.kind() == ErrorKind::Unauthenticated {
        return answer
            .with_header(header::WWW_AUTHENTICATE, "Bearer realm=\"cofferdam\", Basic realm=\"cofferdam\"");
    }
    answer
}

fn status(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::MissingVolume => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict if matches!(error.code(), VERSION_EXISTS | "immutable") => StatusCode::FORBIDDEN,
        _ => status_of(error),
    }
}
