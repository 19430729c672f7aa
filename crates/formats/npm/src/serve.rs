//! Reads: packuments, tarballs, single manifests, dist-tags, search.
//!
//! Everything comes from one generation of the repository. This module must never write or ask the
//! network, and never answer "nothing found" for something that it does not know.

use cofferdam_format_kit::{Answer, PackageView, Request, Route, View};
use cofferdam_types::{Error, Result};
use http::{HeaderName, StatusCode, header};
use serde_json::{Value, json};

use crate::{coords, index};

/// Search results in one answer, at the most (npm asks for 20, the public protocol allows 250).
const SEARCH_LIMIT: usize = 250;
/// How far `from` may reach.
const SEARCH_REACH: usize = 5_000;

/// Answers a read.
///
/// # Errors
/// `NotFound`, and the view's own.
pub async fn serve(request: &Request, route: &Route, view: &dyn View) -> Result<Answer> {
    match route {
        Route::Document { path, .. } => packument(request, path, view).await,
        Route::File { path, .. } => {
            let file = view.file(path).await?;
            let file = file.ok_or_else(|| Error::not_found(format!("there is no file {path} here")))?;
            Ok(Answer::file(&file, "application/octet-stream"))
        }
        Route::Api("ping") => Ok(Answer::json(StatusCode::OK, &json!({}))),
        Route::Api("search") => search(request, view).await,
        Route::Api("manifest") => manifest(request, view).await,
        Route::Api("dist-tags") => dist_tags(request, view).await,
        Route::Api("audit") => Ok(no_advisories()),
        Route::Api(_) | Route::Publish(_) => Err(Error::not_found("there is no such address")),
    }
}

async fn packument(request: &Request, package: &str, view: &dyn View) -> Result<Answer> {
    let path = if request.accepts(index::ABBREVIATED) {
        index::abbreviated_path(package)
    } else {
        index::full_path(package)
    };
    let document = view.document(&path).await?.ok_or_else(|| no_package(package))?;
    Ok(vary(Answer::document(document)))
}

fn vary(answer: Answer) -> Answer {
    answer.with_header(header::VARY, "Accept")
}

/// The package that a request names, from its path.
async fn package(request: &Request, skip: usize, view: &dyn View) -> Result<(PackageView, Option<String>)> {
    let segments = cofferdam_format_kit::path_segments(&request.path)?;
    let named = segments.get(skip..).and_then(coords::take_name);
    let (name, rest) = named.ok_or_else(|| Error::not_found("there is no such address"))?;
    let found = view.package(&name).await?.ok_or_else(|| no_package(&name))?;
    Ok((found, rest.last().cloned()))
}

fn no_package(name: &str) -> Error {
    Error::not_found(format!("there is no package {name} in this repository"))
}

/// `GET /<pkg>/<version or tag>`.
async fn manifest(request: &Request, view: &dyn View) -> Result<Answer> {
    let (package, wanted) = package(request, 0, view).await?;
    let wanted = wanted.unwrap_or_default();
    let tags = index::dist_tags(&package);
    let version = tags.get(&wanted).and_then(Value::as_str).unwrap_or(&wanted);
    let release = package.releases.iter().find(|release| release.version == version);
    let release = release
        .ok_or_else(|| Error::not_found(format!("{} has no version or tag {wanted}", package.display)))?;
    Ok(Answer::json(StatusCode::OK, &index::manifest(release, &view.repository().base)))
}

/// `GET /-/package/<pkg>/dist-tags[/<tag>]`.
async fn dist_tags(request: &Request, view: &dyn View) -> Result<Answer> {
    let (package, last) = package(request, 2, view).await?;
    let tags = index::dist_tags(&package);
    match last.as_deref() {
        Some("dist-tags") | None => Ok(Answer::json(StatusCode::OK, &tags)),
        Some(tag) => {
            let version = tags.get(tag);
            let missing = || Error::not_found(format!("{} has no dist-tag {tag}", package.display));
            Ok(Answer::json(StatusCode::OK, version.ok_or_else(missing)?))
        }
    }
}

/// `GET /-/v1/search?text=&size=&from=` (npm/registry `docs/REGISTRY-API.md`).
async fn search(request: &Request, view: &dyn View) -> Result<Answer> {
    let number = |name: &str, default: usize| {
        request.query.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let size = number("size", 20).min(SEARCH_LIMIT);
    let from = number("from", 0).min(SEARCH_REACH);
    let text = request.query.get("text").unwrap_or_default().trim();
    let keys = view.search(text, SEARCH_REACH + SEARCH_LIMIT).await?;
    let mut objects = Vec::new();
    for key in keys.iter().skip(from).take(size) {
        if let Some(package) = view.package(key).await? {
            objects.extend(search_object(&package));
        }
    }
    Ok(Answer::json(StatusCode::OK, &json!({ "objects": objects, "total": keys.len() })))
}

fn search_object(package: &PackageView) -> Option<Value> {
    let tags = index::dist_tags(package);
    let latest = tags.get("latest").and_then(Value::as_str)?;
    let release = package.releases.iter().find(|release| release.version == latest)?;
    let field = |name: &str| release.meta.get(name).cloned();
    let scope = package.display.split_once('/').and_then(|(scope, _)| scope.strip_prefix('@'));
    Some(json!({
        "package": {
            "name": package.display,
            "scope": scope.unwrap_or("unscoped"),
            "version": latest,
            "description": field("description").unwrap_or_else(|| json!("")),
            "keywords": field("keywords").filter(Value::is_array).unwrap_or_else(|| json!([])),
            "date": release.published.to_string(),
            "links": {},
            "license": field("license"),
            // npm's table calls a method on this list and fails without it.
            "maintainers": field("maintainers").filter(Value::is_array).unwrap_or_else(|| json!([])),
        },
        "score": { "final": 1, "detail": { "quality": 1, "popularity": 1, "maintenance": 1 } },
        "searchScore": 1,
    }))
}

/// The site holds no advisories, so it says so: an empty list would read as "no vulnerabilities".
fn no_advisories() -> Answer {
    let text = "this site has no advisory data, so it cannot say whether packages are vulnerable";
    let body = json!({ "error": text, "reason": text, "code": "no-advisory-data" });
    Answer::json(StatusCode::NOT_IMPLEMENTED, &body)
        .with_header(HeaderName::from_static("npm-notice"), "audit: this site has no advisory data")
}
