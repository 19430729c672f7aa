//! Errors as answers: the one place where kinds become status codes (RFC 9457 bodies).

use axum::{
    Json,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use cofferdam_types::{Error, ErrorKind};
use hyper::ext::ReasonPhrase;
use serde::Serialize;

/// The status of a kind of failure.
#[must_use]
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden | ErrorKind::PolicyRefused => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict | ErrorKind::AwaitingApproval => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::VerificationFailed | ErrorKind::MissingVolume | ErrorKind::Stale => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ErrorKind::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An error that a handler returns.
pub struct Problem(pub Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = self.0;
        log(&error);
        let status = status(error.kind());
        let body = Body {
            r#type: "about:blank",
            title: error.message(),
            status: status.as_u16(),
            code: error.code(),
            hint: error.advice(),
        };
        let mut response = (status, Json(body)).into_response();
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"cofferdam\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
        }
        reason(&error).map(|why| response.extensions_mut().insert(why));
        response
    }
}

/// The longest reason phrase, in bytes.
const MAX_REASON: usize = 500;

/// The sentence beside the status (RFC 9112, section 4), for clients that show people nothing else of an answer: message
/// and hint, as far as they are plain ASCII.
pub fn reason(error: &Error) -> Option<ReasonPhrase> {
    let hint = error.advice().map_or(String::new(), |hint| format!("; {hint}"));
    let plain = |c: char| if c.is_ascii_graphic() { c } else { ' ' };
    let text: String = format!("{}{hint}", error.message()).chars().map(plain).take(MAX_REASON).collect();
    ReasonPhrase::try_from(text.into_bytes()).ok()
}

/// Writes the internal half of a fault of ours to the log, once.
pub fn log(error: &Error) {
    match error.kind() {
        ErrorKind::Internal | ErrorKind::NoSpace => {
            tracing::error!(code = error.code(), "{}", error.internal_chain());
        }
        _ => tracing::debug!(code = error.code(), "{}", error.internal_chain()),
    }
}

/// The answer to an address that is not ours.
pub async fn no_such_address(uri: Uri) -> Problem {
    Problem(Error::not_found(format!("there is nothing at {}", uri.path())))
}
