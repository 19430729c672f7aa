//! A file or a pasted text out of a form: what somebody carried here. It is bounded, and nothing in it is believed.

use axum::{
    extract::Request,
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use cofferdam_types::{Error, ErrorKind, Result};

/// Bytes of a form with a file: a receipt that names every blob of a large site has room.
const MOST: u64 = 32 * 1024 * 1024;

/// The text of the part `file`, or of the part `text` when no file was chosen.
///
/// # Errors
/// `Invalid` for no such form, no text, or a file that is no text; `TooLarge`.
pub(super) async fn text(request: Request) -> Result<String> {
    let wrong = |why: &str| Error::invalid("bad-form", why.to_owned());
    let (parts, body) = request.into_parts();
    let content = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let boundary =
        multer::parse_boundary(content).map_err(|_| wrong("this request is not what the page expects"))?;
    let limits = multer::SizeLimit::new().whole_stream(MOST);
    let limits = multer::Constraints::new().size_limit(limits);
    let mut form = multer::Multipart::with_constraints(body.into_data_stream(), boundary, limits);
    let (mut file, mut pasted) = (Vec::new(), Vec::new());
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(broken)?;
        match name.as_str() {
            "file" => file = bytes.into(),
            "text" => pasted = bytes.into(),
            _ => {}
        }
    }
    let given = if file.is_empty() { pasted } else { file };
    let given = String::from_utf8(given).map_err(|_| {
        wrong("the file is no text").hint("choose the file that the other site signed; it ends in .json")
    })?;
    if given.trim().is_empty() {
        return Err(wrong("nothing was given").hint("choose a file, or paste its text"));
    }
    Ok(given)
}

fn broken(error: multer::Error) -> Error {
    if matches!(error, multer::Error::StreamSizeExceeded { .. } | multer::Error::FieldSizeExceeded { .. }) {
        let text = format!("a file here may have at most {MOST} bytes");
        return Error::new(ErrorKind::TooLarge, "form-too-large", text);
    }
    Error::invalid("bad-form", "the form was cut off before its end").with_source(error)
}

/// A signed statement, or a collection, as a file to carry; `name` may hold letters, digits, dots, dashes and plus signs.
pub(crate) fn download(name: &str, text: String) -> Response {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || ".-+".contains(c) { c } else { '_' }).collect();
    let mut response = text.into_response();
    let headers = response.headers_mut();
    let kind = if name.ends_with(".toml") { "application/toml" } else { "application/json" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}
