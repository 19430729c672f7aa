//! Listings of folders, made from the view for each request: there are no rendered documents.
//!
//! The subfolders are found by stepping through the package names from one to the next, so that a
//! listing costs what it shows and not what lies below.

use std::{collections::BTreeSet, fmt::Write as _};

use cofferdam_format_kit::{Answer, FileRef, Request, View, html_text};
use cofferdam_types::{Error, Result};
use http::{StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::coords;

/// Folders and files that one answer shows at the most; further files follow with `?after=`.
const PAGE: usize = 1000;

/// Package names that one step reads.
const STEP: usize = 256;

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path as it stands in an address.
pub fn encode(path: &str) -> String {
    path.split('/').map(|s| utf8_percent_encode(s, SEGMENT).to_string()).collect::<Vec<_>>().join("/")
}

/// The listing of a folder, as HTML for browsers and JSON for everybody else.
///
/// # Errors
/// `NotFound` when nothing lies in it (the root of an empty repository is an empty list).
pub async fn listing(folder: &str, request: &Request, view: &dyn View) -> Result<Answer> {
    let after = request.query.get("after").unwrap_or_default();
    let folders = if after.is_empty() { folders(folder, view, PAGE).await? } else { BTreeSet::new() };
    let key = if folder.is_empty() { coords::ROOT } else { folder };
    let package = view.package(key).await?;
    let files = package.iter().flat_map(|p| &p.releases).flat_map(|r| &r.files);
    let mut files: Vec<&FileRef> = files.filter(|f| coords::split(&f.path).1 > after).collect();
    if folders.is_empty() && files.is_empty() && after.is_empty() && !folder.is_empty() {
        return Err(Error::not_found(format!("there is no folder {folder}/")));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let next = (files.len() > PAGE).then(|| coords::split(&files[PAGE - 1].path).1.to_owned());
    files.truncate(PAGE);
    let answer = if request.accepts("text/html") {
        html(folder, &folders, &files, next.as_deref())
    } else {
        let files: Vec<Value> = files.iter().map(|file| entry(file)).collect();
        let more = folders.len() >= PAGE;
        let path = if folder.is_empty() { "/".to_owned() } else { format!("/{folder}/") };
        let value =
            json!({ "path": path, "folders": folders, "more_folders": more, "files": files, "next": next });
        Answer::json(StatusCode::OK, &value)
    };
    Ok(answer.with_header(header::CACHE_CONTROL, "no-cache").with_header(header::VARY, "Accept"))
}

/// Whether anything lies below a path.
pub async fn is_folder(path: &str, view: &dyn View) -> Result<bool> {
    Ok(view.package(path).await?.is_some() || !folders(path, view, 1).await?.is_empty())
}

/// The names directly below a folder that are folders, `limit` at the most.
async fn folders(folder: &str, view: &dyn View, limit: usize) -> Result<BTreeSet<String>> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut found = BTreeSet::new();
    let mut after = prefix.clone();
    loop {
        let step = STEP.min(limit);
        let page = view.packages(Some(&after), step).await?;
        let full = page.len() == step;
        for (key, _) in &page {
            let Some(rest) = key.strip_prefix(&prefix) else { return Ok(found) };
            let name = rest.split('/').next().unwrap_or(rest);
            if key != coords::ROOT {
                found.insert(name.to_owned());
            }
            if found.len() >= limit {
                return Ok(found);
            }
            after.clone_from(key);
            if name.len() < rest.len() {
                // Inside a subfolder that is known now: step over the rest of it.
                after = format!("{prefix}{name}/\u{10ffff}");
            }
        }
        if !full {
            return Ok(found);
        }
    }
}

fn entry(file: &FileRef) -> Value {
    json!({
        "name": coords::split(&file.path).1,
        "size": file.size,
        "sha256": file.sha256,
        "added": file.added,
    })
}

fn html(folder: &str, folders: &BTreeSet<String>, files: &[&FileRef], next: Option<&str>) -> Answer {
    let title = html_text(&format!("/{folder}"));
    let mut out =
        format!("<!doctype html><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1><ul>\n");
    if !folder.is_empty() {
        out.push_str("<li><a href=\"../\">../</a></li>\n");
    }
    for name in folders {
        let _ = writeln!(out, "<li><a href=\"{}/\">{}/</a></li>", encode(name), html_text(name));
    }
    for file in files {
        let name = coords::split(&file.path).1;
        let (link, text) = (encode(name), html_text(name));
        let _ = writeln!(
            out,
            "<li><a href=\"{link}\">{text}</a> {} bytes <code>sha256:{}</code></li>",
            file.size, file.sha256
        );
    }
    if let Some(next) = next {
        let _ = writeln!(out, "<li><a href=\"?after={}\">more</a></li>", encode(next));
    }
    out.push_str("</ul>\n");
    Answer::bytes(StatusCode::OK, "text/html; charset=utf-8", out)
        .with_header(header::CONTENT_SECURITY_POLICY, "default-src 'none'")
}
