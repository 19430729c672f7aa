//! Who is asking: one token, accepted wherever clients can put it.
//!
//! `Authorization: Bearer <t>`, `Basic <anything>:<t>` (or a name and password), `Token <t>`, the
//! bare `Authorization: <t>` that cargo sends, the session cookie of the pages, and `/t/<t>/…` in
//! the path; or, for what a sandbox reads of packages, the greeting of its door
//! ([`crate::opening`]). The result is a [`Principal`] in the request's extensions; nothing after this module
//! reads credentials.

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_access::{Action, Principal, allowed};
use cofferdam_types::{Error, ErrorKind, Result, Secret};
use tower::util::MapRequestLayer;

use crate::{Caller, Site, problem::Problem};

/// The cookie of the pages.
pub const COOKIE: &str = "cofferdam_session";

/// A token that came in the path; set by [`token_paths`], used up by [`identify`].
#[derive(Clone)]
struct PathToken(Secret<String>);

/// The session cookie of a request, for ending the session.
#[derive(Clone)]
pub(crate) struct SessionToken(pub Secret<String>);

/// The part of the address in front of the site's own paths: `""`, or `/t/<token>`. Documents that
/// hold an address for the same client repeat it.
#[derive(Clone, Debug, Default)]
pub struct Prefix(pub String);

/// Takes `/t/<token>` off the front of a path, before routing.
pub fn token_paths(routes: Router) -> Router {
    let rewrite = MapRequestLayer::new(|mut request: Request| {
        if let Some((token, rest)) = split(request.uri()) {
            request.extensions_mut().insert(Prefix(format!("/t/{token}")));
            request.extensions_mut().insert(PathToken(Secret::new(token)));
            *request.uri_mut() = rest;
        }
        request
    });
    Router::new().fallback_service(tower::Layer::layer(&rewrite, routes))
}

fn split(uri: &Uri) -> Option<(String, Uri)> {
    let path = uri.path_and_query()?.as_str().strip_prefix("/t/")?;
    let (token, _) = path.split_once('/')?;
    let rest = path[token.len()..].parse().ok()?;
    Some((token.to_owned(), rest))
}

/// Finds out who is asking. A wrong credential is an error even where none is needed: a client that
/// believes to be logged in must learn that it is not.
pub async fn identify(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let path_token = request.extensions_mut().remove::<PathToken>();
    let found = match through_door(&request) {
        Some(token) => site.access.by_token(token.expose()).await,
        None => principal(&site, request.headers(), path_token).await,
    };
    let principal = match found {
        Ok(principal) => principal,
        Err(error) => return Problem(error).into_response(),
    };
    if let Some(token) = cookie(request.headers()) {
        request.extensions_mut().insert(SessionToken(token));
    }
    request.headers_mut().remove(header::AUTHORIZATION);
    request.headers_mut().remove(header::COOKIE);
    request.extensions_mut().insert(principal);
    next.run(request).await
}

/// What a run's sandbox reads of packages is read in the run's name, whatever credential its client has or has not: one that
/// was noted under no name would be missing where the build is repeated.
fn through_door(request: &Request) -> Option<Secret<String>> {
    let ConnectInfo(caller) = request.extensions().get::<ConnectInfo<Caller>>()?;
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let packages = request.uri().path().starts_with("/r/");
    caller.door().filter(|_| reads && packages).cloned()
}

async fn principal(site: &Site, headers: &HeaderMap, path: Option<PathToken>) -> Result<Principal> {
    if let Some(PathToken(token)) = path {
        return site.access.by_token(token.expose()).await;
    }
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| unreadable())?;
        return by_header(site, text).await;
    }
    if let Some(token) = cookie(headers) {
        // An old cookie is no reason to refuse a page that anybody may see.
        return Ok(site.access.by_token(token.expose()).await.unwrap_or(Principal::Anonymous));
    }
    Ok(Principal::Anonymous)
}

async fn by_header(site: &Site, text: &str) -> Result<Principal> {
    let (scheme, rest) = text.split_once(' ').unwrap_or(("", text));
    if !scheme.eq_ignore_ascii_case("basic") {
        return site.access.by_token(rest.trim()).await;
    }
    let decoded =
        STANDARD.decode(rest.trim()).ok().and_then(|b| String::from_utf8(b).ok()).ok_or_else(unreadable)?;
    let (name, password) = decoded.split_once(':').ok_or_else(unreadable)?;
    let token = if password.is_empty() { name } else { password };
    if token.starts_with("cfd_") || token.starts_with("glrt-") {
        return site.access.by_token(token).await;
    }
    site.access.log_in(name, Secret::new(password.to_owned())).await
}

fn cookie(headers: &HeaderMap) -> Option<Secret<String>> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|v| v.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then(|| Secret::new(value.to_owned()))
    })
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Unauthenticated, "bad-credentials", "the Authorization header cannot be read")
}

/// Decides whether a principal may do something at this site.
///
/// # Errors
/// As [`allowed`].
pub fn may(site: &Site, principal: &Principal, action: Action) -> Result<()> {
    allowed(principal, action, site.anonymous_read)
}
