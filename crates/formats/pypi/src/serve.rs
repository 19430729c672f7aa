//! Reading: routes, content negotiation, and answers from one generation.
//!
//! Documents were rendered at commit; nothing is built here but the JSON API's small answers.

use std::collections::BTreeMap;

use cofferdam_format_kit::{
    Answer, PackageView, ReleaseState, ReleaseView, Request, Route, View, path_segments,
};
use cofferdam_types::{Error, Result};
use http::{Method, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    coords::{self, file_path, normalise, same_version},
    index::{self, HTML_V1, JSON_V1, TEXT_HTML},
    inspect::FileMeta,
};

/// The name of the route of uploads.
pub(crate) const UPLOAD: &str = "upload";
/// The name of the route of the JSON API.
const JSON_API: &str = "json";

/// What a request is about.
pub(crate) fn route(request: &Request) -> Option<Route> {
    let segments = path_segments(&request.path).ok()?;
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    if request.method == Method::POST {
        return matches!(parts.as_slice(), [] | ["legacy"]).then_some(Route::Publish(UPLOAD));
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return None;
    }
    match parts.as_slice() {
        ["simple"] => Some(Route::Document { path: "simple".into(), package: None }),
        ["simple", name] => {
            let key = normalise(name).ok()?;
            Some(Route::Document { path: format!("simple/{key}"), package: Some(key) })
        }
        ["files", name, file] if !file.contains('/') => {
            let key = normalise(name).ok()?;
            Some(Route::File { path: file_path(&key, file), package: Some(key) })
        }
        ["pypi", name, "json"] | ["pypi", name, _, "json"] => {
            normalise(name).ok()?;
            Some(Route::Api(JSON_API))
        }
        _ => None,
    }
}

/// Answers a read.
pub(crate) async fn serve(request: &Request, route: &Route, view: &dyn View) -> Result<Answer> {
    match route {
        Route::Document { path, package } => document(request, path, package.as_deref(), view).await,
        Route::File { path, .. } => file(path, view).await,
        Route::Api(_) => json_api(request, view).await,
        Route::Publish(_) => Err(Error::invalid("method", "this address takes uploads by POST only")),
    }
}

async fn file(path: &str, view: &dyn View) -> Result<Answer> {
    let found = view.file(path).await?;
    let found =
        found.ok_or_else(|| Error::not_found(format!("there is no file `{}`", coords::shown(path))))?;
    let media_type =
        if found.role == "metadata" { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    Ok(Answer::file(&found, media_type))
}

async fn document(request: &Request, path: &str, package: Option<&str>, view: &dyn View) -> Result<Answer> {
    let address = format!("/{path}/");
    if request.path != address {
        let answer = Answer::redirect(&format!("{}{address}", request.base));
        return Ok(answer.with_header(header::VARY, "Accept"));
    }
    let Some(form) = negotiate(request) else { return Ok(not_acceptable()) };
    let name = if form == Form::Json { "index.json" } else { "index.html" };
    let stored = view.document(&format!("{path}/{name}")).await?;
    let mut answer = match (stored, package) {
        (Some(document), _) => Answer::document(document),
        (None, None) => empty_root(form, view).await?,
        (None, Some(key)) => {
            let text = format!("there is no package `{key}` in the repository `{}`", view.repository().name);
            return Err(Error::not_found(text));
        }
    };
    if form == Form::HtmlV1 {
        answer.headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(HTML_V1));
    }
    Ok(answer.with_header(header::VARY, "Accept"))
}

/// A repository that nothing was committed to yet has no stored list, and its list is empty.
async fn empty_root(form: Form, view: &dyn View) -> Result<Answer> {
    let media_type = if form == Form::Json { JSON_V1 } else { TEXT_HTML };
    let documents = index::root_documents(view).await?;
    let found = documents.into_iter().find(|d| d.media_type == media_type);
    Ok(Answer::bytes(StatusCode::OK, media_type, found.map(|d| d.bytes).unwrap_or_default()))
}

fn not_acceptable() -> Answer {
    let text = format!("this index can be had as {JSON_V1}, {HTML_V1} or text/html\n");
    Answer::bytes(StatusCode::NOT_ACCEPTABLE, "text/plain; charset=utf-8", text)
        .with_header(header::VARY, "Accept")
}

/// A form of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    HtmlV1,
    Html,
}

/// Picks the form that the client likes best: the highest `q`, then an exact type before a
/// wildcard, then JSON before HTML. A client that names nothing in particular gets HTML (simple
/// repository API, "Version + Format Selection").
fn negotiate(request: &Request) -> Option<Form> {
    let header: Vec<&str> =
        request.headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    // The `format` parameter is for people with a browser (same section).
    let wanted = match request.query.get("format") {
        Some(format) => format.to_owned(),
        None if header.is_empty() => "*/*".to_owned(),
        None => header.join(","),
    };
    let ranges: Vec<(String, u16)> = wanted.split(',').filter_map(media_range).collect();
    let forms = [(Form::Json, 2), (Form::HtmlV1, 1), (Form::Html, 0)];
    let rated = forms.into_iter().filter_map(|(form, order)| {
        let (exactness, q) = rate(form, &ranges)?;
        let order = if exactness == 2 { order } else { 2 - order };
        (q > 0).then_some(((q, exactness, order), form))
    });
    rated.max_by_key(|(rating, _)| *rating).map(|(_, form)| form)
}

/// A media range and its weight in thousandths (RFC 9110, 12.4.2). A weight that is none is 0.
fn media_range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|r| !r.is_empty())?.to_ascii_lowercase();
    let q = parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q=")));
    let weight = match q.map(str::parse::<f32>) {
        None => 1000,
        Some(Ok(q)) if (0.0..=1.0).contains(&q) => (q * 1000.0).round() as u16,
        Some(_) => 0,
    };
    Some((range, weight))
}

/// How well the ranges fit a form: exactness (2 type, 1 `type/*`, 0 `*/*`) of the most exact range
/// that fits, and its weight.
fn rate(form: Form, ranges: &[(String, u16)]) -> Option<(u8, u16)> {
    let (names, family): (&[&str], &str) = match form {
        Form::Json => (&[JSON_V1, "application/vnd.pypi.simple.latest+json"], "application/*"),
        Form::HtmlV1 => (&[HTML_V1, "application/vnd.pypi.simple.latest+html"], "application/*"),
        Form::Html => (&["text/html"], "text/*"),
    };
    let fits = |range: &str| match range {
        "*/*" => Some(0),
        range if range == family => Some(1),
        range if names.contains(&range) => Some(2),
        _ => None,
    };
    ranges.iter().filter_map(|(range, q)| fits(range).map(|exactness| (exactness, *q))).max()
}

/// `/pypi/<name>/json` and `/pypi/<name>/<version>/json`.
///
/// There is no `vulnerabilities` key: an empty list would say that somebody looked.
async fn json_api(request: &Request, view: &dyn View) -> Result<Answer> {
    let segments = path_segments(&request.path)?;
    let (name, version) = match segments.as_slice() {
        [_, name, _] => (name, None),
        [_, name, version, _] => (name, Some(version)),
        _ => return Err(Error::not_found("there is no such address")),
    };
    let key = normalise(name)?;
    let missing = || {
        let version = version.map(|v| format!(" {}", coords::shown(v))).unwrap_or_default();
        Error::not_found(format!("there is no `{key}{version}` in `{}`", view.repository().name))
    };
    let package = view.package(&key).await?.ok_or_else(missing)?;
    let release = match version {
        Some(version) => package.releases.iter().find(|r| same_version(&r.version, version)),
        None => newest(&package),
    };
    let release = release.ok_or_else(missing)?;
    let mut body = Map::new();
    body.insert("info".into(), info(&package, release));
    if version.is_none() {
        let all: BTreeMap<&str, Value> =
            package.releases.iter().map(|r| (r.version.as_str(), urls(request, &package.key, r))).collect();
        body.insert("releases".into(), json!(all));
    }
    body.insert("urls".into(), urls(request, &package.key, release));
    Ok(Answer::json(StatusCode::OK, &Value::Object(body)))
}

/// The newest final release that is not yanked, else the newest at all.
fn newest(package: &PackageView) -> Option<&ReleaseView> {
    let usable = |r: &&ReleaseView| r.state == ReleaseState::Admitted && coords::is_final(&r.version);
    package.releases.iter().rev().find(usable).or_else(|| package.releases.last())
}

fn info(package: &PackageView, release: &ReleaseView) -> Value {
    let mut info = release.meta.as_object().cloned().unwrap_or_default();
    let yanked = release.state == ReleaseState::Yanked;
    info.insert("name".into(), package.display.clone().into());
    info.insert("version".into(), release.version.clone().into());
    info.insert("yanked".into(), yanked.into());
    let reason =
        if yanked && !release.yank_reason.is_empty() { json!(release.yank_reason) } else { Value::Null };
    info.insert("yanked_reason".into(), reason);
    Value::Object(info)
}

fn urls(request: &Request, key: &str, release: &ReleaseView) -> Value {
    let files = release.files.iter().filter(|f| index::is_distribution(f)).map(|file| {
        let filename = file.path.rsplit('/').next().unwrap_or_default();
        let meta = FileMeta::of(&file.meta);
        let digests = json!({
            "sha256": file.sha256.to_hex(),
            "md5": file.digests.md5,
            "blake2b_256": file.digests.blake2b_256,
        });
        json!({
            "filename": filename,
            "url": format!("{}/{}", request.base, file_path(key, &coords::escape(filename))),
            "packagetype": if file.role == "wheel" { "bdist_wheel" } else { "sdist" },
            "size": file.size,
            "digests": digests,
            "requires_python": meta.requires_python,
            "upload_time_iso_8601": meta.upload_time.unwrap_or(file.added),
            "yanked": release.state == ReleaseState::Yanked || meta.yanked.is_some(),
        })
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use cofferdam_format_kit::{RepositoryKind, conformance::MemoryRepository};

    use super::*;

    fn form(accept: &[&str], query: &str) -> Option<Form> {
        let repository = MemoryRepository::new("r", RepositoryKind::Hosted, "https://site.example/r/r");
        let headers: Vec<(&str, &str)> = accept.iter().map(|a| ("accept", *a)).collect();
        negotiate(&repository.request(Method::GET, &format!("/simple/{query}"), &headers))
    }

    #[test]
    fn every_client_gets_the_form_it_likes_best() {
        let pip = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, expected) in [
            (&[pip][..], Some(Form::Json)),
            (&[browser][..], Some(Form::Html)),
            (&[][..], Some(Form::Html)),
            (&["*/*"][..], Some(Form::Html)),
            (&["application/vnd.pypi.simple.latest+json"][..], Some(Form::Json)),
            (&["application/vnd.pypi.simple.latest+html"][..], Some(Form::HtmlV1)),
            (&["application/vnd.pypi.simple.v1+json;q=0", "*/*"][..], Some(Form::Html)),
            (&["application/vnd.pypi.simple.v1+json;q=0.2, text/html;q=0.9"][..], Some(Form::Html)),
            (
                &["application/vnd.pypi.simple.v1+json;q=0.2", "application/vnd.pypi.simple.v1+html"][..],
                Some(Form::HtmlV1),
            ),
            (&["application/vnd.pypi.simple.v2+json"][..], None),
            (&["text/html;q=0"][..], None),
            (&["image/png"][..], None),
        ] {
            assert_eq!(form(accept, ""), expected, "{accept:?}");
        }
        assert_eq!(form(&[browser], "?format=application/vnd.pypi.simple.v1%2Bjson"), Some(Form::Json));
    }
}
