//! The listing: hosts with their folders, and the answers of one of them. Made from the view for each
//! request; there are no rendered documents.

use std::fmt::Write as _;

use cofferdam_format_kit::{Answer, FileRef, Request, View, html_text};
use cofferdam_types::{Error, Result};
use http::{StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::inspect::Kept;

/// Entries that one answer shows at the most; more follow with `?after=`.
const PAGE: usize = 500;

/// `/` lists packages, `/?package=KEY` the answers of one; HTML for browsers, JSON for everybody else.
///
/// # Errors
/// `NotFound` for a package that is not here.
pub async fn listing(request: &Request, view: &dyn View) -> Result<Answer> {
    let answer = match request.query.get("package") {
        Some(key) => one(key, request, view).await?,
        None => all(request, view).await?,
    };
    Ok(answer.with_header(header::CACHE_CONTROL, "no-cache").with_header(header::VARY, "Accept"))
}

async fn all(request: &Request, view: &dyn View) -> Result<Answer> {
    let page = view.packages(request.query.get("after"), PAGE).await?;
    let next = page.last().filter(|_| page.len() == PAGE).map(|(key, _)| key.clone());
    let names: Vec<&str> = page.iter().map(|(key, _)| key.as_str()).collect();
    if !request.accepts("text/html") {
        return Ok(Answer::json(StatusCode::OK, &json!({ "packages": names, "next": next })));
    }
    let mut rows = String::new();
    for name in names {
        let _ = writeln!(rows, "<li><a href=\"?package={}\">{}</a></li>", encode(name), html_text(name));
    }
    if let Some(next) = next {
        let _ = writeln!(rows, "<li><a href=\"?after={}\">more</a></li>", encode(&next));
    }
    Ok(page_of("Recorded addresses", &rows))
}

async fn one(key: &str, request: &Request, view: &dyn View) -> Result<Answer> {
    let found = view.package(key).await?;
    let package = found.ok_or_else(|| Error::not_found(format!("nothing of {key} is recorded here")))?;
    let after = request.query.get("after").unwrap_or_default();
    let files = package.releases.iter().flat_map(|r| r.files.iter().map(move |f| (r.published, f)));
    let mut entries: Vec<_> = files
        .filter_map(|(at, file)| Some((serde_json::from_value::<Kept>(file.meta.clone()).ok()?, at, file)))
        .filter(|(_, _, file)| file.path.as_str() > after)
        .collect();
    entries.sort_by(|a, b| a.2.path.cmp(&b.2.path));
    let next = entries.get(PAGE).and_then(|_| entries.get(PAGE - 1)).map(|(_, _, file)| file.path.clone());
    entries.truncate(PAGE);
    if !request.accepts("text/html") {
        let list: Vec<Value> = entries.iter().map(|(kept, at, file)| entry(kept, &json!(at), file)).collect();
        return Ok(Answer::json(StatusCode::OK, &json!({ "package": key, "answers": list, "next": next })));
    }
    let mut rows = String::new();
    for (kept, _, file) in &entries {
        let _ = writeln!(
            rows,
            "<li><a href=\"{}\">{}</a> {} {} bytes <code>sha256:{}</code></li>",
            html_text(&file.path),
            html_text(&kept.url),
            kept.status,
            file.size,
            file.sha256
        );
    }
    if let Some(next) = next {
        let (key, next) = (encode(key), encode(&next));
        let _ = writeln!(rows, "<li><a href=\"?package={key}&amp;after={next}\">more</a></li>");
    }
    Ok(page_of(key, &rows))
}

fn entry(kept: &Kept, recorded: &Value, file: &FileRef) -> Value {
    json!({
        "url": kept.url, "question": kept.question, "status": kept.status, "size": file.size, "sha256": file.sha256,
        "path": file.path, "recorded": recorded,
    })
}

fn page_of(title: &str, rows: &str) -> Answer {
    let title = html_text(title);
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1><ul>\n{rows}</ul>\n"
    );
    Answer::bytes(StatusCode::OK, "text/html; charset=utf-8", text)
        .with_header(header::CONTENT_SECURITY_POLICY, "default-src 'none'")
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
