//! Reads: the route of a request, downloads, `config.json`, search and `/me`.

use cofferdam_format_kit::{Answer, PackageView, ReleaseState, Request, Route, View, path_segments};
use cofferdam_types::{Error, Result};
use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::{coords, publish};

/// Hits of a search without `per_page`, and at the most (the public registry's numbers).
const PER_PAGE: (usize, usize) = (10, 100);

/// See the table in the crate's documentation.
pub fn route(request: &Request) -> Option<Route> {
    let segments = path_segments(&request.path).ok()?;
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match request.method {
        Method::GET => read_route(&parts),
        Method::PUT => match parts.as_slice() {
            ["api", "v1", "crates", "new"] => Some(Route::Publish("new")),
            ["api", "v1", "crates", _, _, "unyank"] => Some(Route::Publish("unyank")),
            ["api", "v1", "crates", _, "owners"] => Some(Route::Publish("owners")),
            _ => None,
        },
        Method::DELETE => match parts.as_slice() {
            ["api", "v1", "crates", _, _, "yank"] => Some(Route::Publish("yank")),
            ["api", "v1", "crates", _, "owners"] => Some(Route::Publish("owners")),
            _ => None,
        },
        _ => None,
    }
}

fn read_route(parts: &[&str]) -> Option<Route> {
    match parts {
        ["config.json"] => Some(Route::Api("config")),
        ["me"] => Some(Route::Api("me")),
        ["api", "v1", "crates"] => Some(Route::Api("search")),
        ["api", "v1", "crates", _, "owners"] => Some(Route::Api("owners")),
        ["crates", name, version, "download"] | ["api", "v1", "crates", name, version, "download"] => {
            coords::version(version).ok()?;
            let package = Some(coords::key(name).ok()?);
            Some(Route::File { path: coords::file_path(name, version), package })
        }
        [.., name] => {
            let package = Some(coords::key(name).ok()?);
            let path = coords::index_path(name);
            (path == parts.join("/")).then_some(Route::Document { path, package })
        }
        [] => None,
    }
}

/// Answers a read.
pub async fn serve(request: &Request, route: &Route, view: &dyn View) -> Result<Answer> {
    match route {
        Route::Document { path, .. } => match view.document(path).await? {
            Some(document) => Ok(Answer::document(document)),
            None => Err(Error::not_found(format!("there is no crate at {path}"))),
        },
        Route::File { path, .. } => match view.file(path).await? {
            Some(file) => Ok(Answer::file(&file, "application/gzip")),
            None => Err(Error::not_found(format!("there is no file {path}"))),
        },
        Route::Api("config") => Ok(config(&request.base)),
        Route::Api("search") => search(request, view).await,
        Route::Api("me") => Ok(me()),
        Route::Api("owners") => Err(publish::owners()),
        Route::Api(_) | Route::Publish(_) => Err(Error::not_found("no such address")),
    }
}

/// Made for each request: the address under which this client sees us may hold its token.
fn config(base: &str) -> Answer {
    let dl = format!("{base}/crates/{{crate}}/{{version}}/download");
    let answer = Answer::json(StatusCode::OK, &json!({ "dl": dl, "api": base }));
    answer.with_header(header::CACHE_CONTROL, "no-cache")
}

/// What `cargo login` tells people to look at.
fn me() -> Answer {
    let text = "Make a token for yourself on this site's own pages, then give it to `cargo login`.\n";
    Answer::bytes(StatusCode::OK, "text/plain; charset=utf-8", text)
}

async fn search(request: &Request, view: &dyn View) -> Result<Answer> {
    let text = request.query.get("q").unwrap_or_default().trim();
    let asked = request.query.get("per_page").and_then(|n| n.parse().ok()).unwrap_or(PER_PAGE.0);
    let limit = asked.clamp(1, PER_PAGE.1);
    let mut keys = match text {
        "" => view.packages(None, PER_PAGE.1).await?.into_iter().map(|(key, _)| key).collect(),
        _ => view.search(&text.to_ascii_lowercase(), PER_PAGE.1).await?,
    };
    // Keys are written with `-`, so `a_b` finds little unless it is asked for as `a-b` too.
    if text.contains('_') {
        let more = view.search(&text.to_ascii_lowercase().replace('_', "-"), PER_PAGE.1).await?;
        let new: Vec<String> = more.into_iter().filter(|key| !keys.contains(key)).collect();
        keys.extend(new);
    }
    let mut crates = Vec::new();
    for key in keys.iter().take(limit) {
        crates.extend(view.package(key).await?.as_ref().and_then(hit));
    }
    Ok(Answer::json(StatusCode::OK, &json!({ "crates": crates, "meta": { "total": keys.len() } })))
}

/// A package as a search shows it: by its newest release that is not yanked, if it has one.
fn hit(package: &PackageView) -> Option<Value> {
    let newest = |want: fn(&semver::Version, bool) -> bool| {
        package.releases.iter().rev().find(|release| {
            let version = semver::Version::parse(&release.version);
            version.is_ok_and(|v| want(&v, release.state == ReleaseState::Admitted))
        })
    };
    let release = newest(|v, live| live && v.pre.is_empty())
        .or_else(|| newest(|_, live| live))
        .or_else(|| package.releases.last())?;
    let description = release.files.first().and_then(|file| file.meta.get("description"));
    Some(json!({
        "name": package.display,
        "max_version": release.version,
        "description": description.cloned().unwrap_or_default(),
    }))
}
