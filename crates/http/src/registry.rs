//! `/r/<repository>/…`: every package registry, in its ecosystem's own protocol.

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::Method,
    response::Response,
    routing::any,
};
use cofferdam_access::{Action, Principal, RecordingMode};
use cofferdam_format_kit::{Format, Query, Request as FormatRequest, Route, Upload};
use cofferdam_registry::{Mode, Registry, Session};
use cofferdam_store::RepositoryRow;
use cofferdam_types::{Error, ErrorKind, Result};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::{
    Site,
    auth::{Prefix, may},
    body::{Asked, respond},
    problem,
};

pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .route("/r/{repository}", any(handle))
        .route("/r/{repository}/{*path}", any(handle))
        .route("/r/{repository}/", any(handle))
}

/// The registries' session of a principal: what is noted, and whether upstream may be asked.
pub(crate) fn session(principal: &Principal) -> Session {
    match principal {
        Principal::Job(id) => Session::Job(*id),
        Principal::Recording(id, RecordingMode::Record) => Session::Recording(*id, Mode::Record),
        Principal::Recording(id, RecordingMode::Replay) => Session::Recording(*id, Mode::Replay),
        _ => Session::None,
    }
}

async fn handle(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    prefix: Option<Extension<Prefix>>,
    request: Request,
) -> Response {
    let prefix = prefix.map(|Extension(p)| p.0).unwrap_or_default();
    let (parts, body) = request.into_parts();
    let asked = Asked { method: &parts.method, headers: &parts.headers };
    let found = find(&site, parts.uri.path()).await;
    let (repository, format, path) = match found {
        Ok(found) => found,
        Err(error) => return axum::response::IntoResponse::into_response(problem::Problem(error)),
    };
    let read = matches!(parts.method, Method::GET | Method::HEAD);
    let request = FormatRequest {
        method: if parts.method == Method::HEAD { Method::GET } else { parts.method.clone() },
        path,
        query: Query::parse(parts.uri.query().unwrap_or("")),
        raw_query: parts.uri.query().unwrap_or("").to_owned(),
        headers: parts.headers.clone(),
        base: format!("{}{prefix}/r/{}", site.registry.public_url(), repository.name),
        body: Bytes::new(),
    };
    let done = act(&site, &principal, &repository, format.as_ref(), request, body).await;
    let mut why = None;
    let answer = done.unwrap_or_else(|error| {
        problem::log(&error);
        why = problem::reason(&error);
        format.error(&error)
    });
    match respond(&site.registry, &repository, &asked, answer).await {
        Ok(mut response) => {
            // Twine and pip show nothing else of a refusal.
            why.map(|why| response.extensions_mut().insert(why));
            response
        }
        Err(error) if read => {
            problem::log(&error);
            let shown = respond(&site.registry, &repository, &asked, format.error(&error)).await;
            shown.unwrap_or_else(|e| axum::response::IntoResponse::into_response(problem::Problem(e)))
        }
        Err(error) => axum::response::IntoResponse::into_response(problem::Problem(error)),
    }
}

type Found = (RepositoryRow, std::sync::Arc<dyn Format>, String);

async fn find(site: &Site, path: &str) -> Result<Found> {
    let rest = path.strip_prefix("/r/").unwrap_or(path);
    let (name, below) = rest.split_once('/').map_or((rest, "/".to_owned()), |(n, p)| (n, format!("/{p}")));
    let registry: &Registry = &site.registry;
    let mut tx = registry.db().read().await?;
    let repository = registry.repository(&mut tx, name).await?;
    let format = registry.format(&repository.format)?.clone();
    Ok((repository, format, below))
}

/// The whole body of a request that only reads.
async fn question(body: Body, limit: u64) -> Result<Bytes> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    axum::body::to_bytes(body, limit).await.map_err(|e| {
        let text = format!("the question cannot be read, or has more than {limit} bytes");
        Error::new(ErrorKind::TooLarge, "question-too-large", text).with_source(e)
    })
}

async fn act(
    site: &Site,
    principal: &Principal,
    repository: &RepositoryRow,
    format: &dyn Format,
    mut request: FormatRequest,
    mut body: Body,
) -> Result<cofferdam_format_kit::Answer> {
    if let Some(limit) = format.takes_question(&request) {
        may(site, principal, Action::PackageRead)?;
        request.body = question(std::mem::take(&mut body), limit).await?;
    }
    let route = format.route(&request);
    let publishes = matches!(route, Some(Route::Publish(_)));
    may(site, principal, if publishes { Action::PackagePublish } else { Action::PackageRead })?;
    let route = route.ok_or_else(|| {
        Error::not_found(format!("`{}` has nothing at {} {}", repository.name, request.method, request.path))
    })?;
    if !publishes {
        let answer = site.registry.answer(repository, &request, &route, session(principal)).await;
        // What is only ever recorded has no index that would be asked for first.
        let wanted = match &route {
            Route::Document { package, .. } => package.as_ref(),
            Route::File { package, .. } if !format.is_published() => package.as_ref(),
            _ => None,
        };
        if let (Err(error), Some(package)) = (&answer, wanted)
            && error.kind() == ErrorKind::NotFound
            && !site.connected
        {
            // The answer is the same whether or not it could be noted.
            if let Err(error) = site.crossing.missed(format.name(), package).await {
                problem::log(&error);
            }
        }
        return answer;
    }
    let body = body
        .into_data_stream()
        .map_err(|e| Error::invalid("body-broken", "the upload was cut off before its end").with_source(e))
        .boxed();
    let upload = Upload { request, route, body };
    site.registry.publish(repository, upload, &principal.actor()).await
}
