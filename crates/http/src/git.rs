//! `/<group>/<project>.git/…`: git's smart HTTP (gitprotocol-http), bytes both ways as they come.

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
    routing::{get, post},
};
use cofferdam_access::{Action, Principal};
use cofferdam_git::{ByteStream, Push, Service};
use cofferdam_store::ProjectRow;
use cofferdam_types::{Error, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;

use crate::{Site, auth::may, problem::Problem};

/// A push may carry at most this many bytes.
const MAX_PUSH: u64 = 8 << 30;

pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .route("/{group}/{project}/info/refs", get(info_refs))
        .route("/{group}/{project}/git-upload-pack", post(upload_pack))
        .route("/{group}/{project}/git-receive-pack", post(receive_pack))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    service: String,
}

type Where = Path<(String, String)>;

async fn info_refs(
    State(site): State<Site>,
    Extension(who): Extension<Principal>,
    Path(place): Where,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let service = match asked.service.as_str() {
        "git-upload-pack" => Service::UploadPack,
        "git-receive-pack" => Service::ReceivePack,
        _ => {
            let error = Error::invalid("git-protocol", "this address speaks git's smart protocol only");
            return Err(error.hint("use git 1.6.6 or newer").into());
        }
    };
    let project = find(&site, &who, &place, service).await?;
    let body = site.forge.git().info_refs(project.id, service, protocol(&headers).as_deref()).await?;
    Ok(answer(body, &format!("application/x-{}-advertisement", service.as_str())))
}

async fn upload_pack(
    State(site): State<Site>,
    Extension(who): Extension<Principal>,
    Path(place): Where,
    request: Request,
) -> Result<Response, Problem> {
    let project = find(&site, &who, &place, Service::UploadPack).await?;
    let (protocol, gzip) = (protocol(request.headers()), gzip(request.headers()));
    let body = stream(request.into_body());
    let out = site.forge.git().upload_pack(project.id, protocol.as_deref(), gzip, body).await?;
    Ok(answer(out, "application/x-git-upload-pack-result"))
}

async fn receive_pack(
    State(site): State<Site>,
    Extension(who): Extension<Principal>,
    Path(place): Where,
    request: Request,
) -> Result<Response, Problem> {
    let project = find(&site, &who, &place, Service::ReceivePack).await?;
    let push = Push {
        protocol: protocol(request.headers()),
        gzip: gzip(request.headers()),
        policy: site.forge.push_policy(&project, &who.actor()),
        body: stream(request.into_body()),
        limit: MAX_PUSH,
    };
    let out = site.forge.git().receive_pack(project.id, push).await?;
    Ok(answer(out, "application/x-git-receive-pack-result"))
}

/// The project of an address, once it is decided that the caller may do this to it. Who may not read
/// anything does not learn which projects there are.
async fn find(
    site: &Site,
    who: &Principal,
    (group, name): &(String, String),
    service: Service,
) -> Result<ProjectRow> {
    let action = match service {
        Service::UploadPack => Action::ProjectRead,
        Service::ReceivePack => Action::ProjectWrite,
    };
    may(site, who, action)?;
    let name = name.strip_suffix(".git").unwrap_or(name);
    site.forge.project(&format!("{group}/{name}")).await
}

fn protocol(headers: &HeaderMap) -> Option<String> {
    headers.get("git-protocol").and_then(|v| v.to_str().ok()).map(str::to_owned)
}

fn gzip(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|v| v == "gzip" || v == "x-gzip")
}

fn stream(body: Body) -> ByteStream {
    let cut = |e| Error::invalid("body-broken", "the request was cut off before its end").with_source(e);
    body.into_data_stream().map_err(cut).boxed()
}

fn answer(body: ByteStream, kind: &str) -> Response {
    let mut response = Response::new(Body::from_stream(body));
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0"));
    response
}
