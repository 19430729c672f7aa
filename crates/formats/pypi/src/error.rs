//! Failures as pip, uv and twine show them: a status and a sentence of plain text.
//!
//! Twine prints the body, pip the status, uv both. Nothing internal is ever written here.

use cofferdam_format_kit::{Answer, status_of};
use cofferdam_types::{Error, ErrorKind};
use http::{StatusCode, header};

use crate::proofs;

/// Upstream's bytes contradict upstream's own digests: the fault is beyond us, not the client's.
pub(crate) const UPSTREAM_DIGEST: &str = "upstream-digest";

/// The failure as an answer.
pub(crate) fn answer(error: &Error) -> Answer {
    let mut text = error.message().to_owned();
    if let Some(hint) = error.advice() {
        text.push('\n');
        text.push_str(hint);
    }
    text.push('\n');
    let answer = Answer::bytes(status(error), "text/plain; charset=utf-8", text);
    match error.kind() {
        ErrorKind::Unauthenticated => {
            answer.with_header(header::WWW_AUTHENTICATE, "Basic realm=\"cofferdam\", charset=\"UTF-8\"")
        }
        ErrorKind::Unavailable => answer.with_header(header::RETRY_AFTER, "5"),
        _ => answer,
    }
}

fn status(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::VerificationFailed if matches!(error.code(), UPSTREAM_DIGEST | proofs::KIND) => {
            StatusCode::BAD_GATEWAY
        }
        ErrorKind::VerificationFailed => StatusCode::BAD_REQUEST,
        // Twine's --skip-existing takes the 409 of a conflict as "already there".
        _ => status_of(error),
    }
}

#[cfg(test)]
mod tests {
    use cofferdam_format_kit::Body;

    use super::*;

    #[test]
    fn people_read_what_is_wrong_and_what_to_do() {
        let answer = answer(&Error::conflict("file-exists", "File already exists").hint("raise the version"));
        assert_eq!(answer.status, StatusCode::CONFLICT);
        let Body::Bytes(text) = answer.body else { panic!("a text") };
        assert_eq!(text, "File already exists\nraise the version\n");
    }

    #[test]
    fn an_unknown_person_is_asked_for_a_password() {
        let answer = answer(&Error::new(ErrorKind::Unauthenticated, "token", "no such token"));
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
    }
}
