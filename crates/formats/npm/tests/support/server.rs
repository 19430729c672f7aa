//! A repository behind a real socket, as the stock client meets it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{body::Body as HttpBody, response::Response};
use cofferdam_format_kit::{
    Answer, Body, Format as _, Recorded, RepositoryKind, Route,
    conformance::{MemoryRepository, MemoryUpstream},
};
use cofferdam_format_npm::Npm;
use cofferdam_types::Error;
use http::{HeaderMap, Method, StatusCode};

/// What the site does with requests, without its accounts.
pub struct Site {
    /// The repository.
    pub repository: MemoryRepository,
    /// What a mirror records from.
    pub upstream: Option<MemoryUpstream>,
    /// Whether there is a way to upstream; without one, only what is committed is served.
    pub connected: AtomicBool,
}

/// Serves on a free port until the test ends; returns the repository's address.
pub async fn start(kind: RepositoryKind, upstream: Option<MemoryUpstream>) -> (String, Arc<Site>) {
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let base = format!("http://{}/r/js", listener.local_addr().unwrap());
    let repository = MemoryRepository::new("js", kind, &base);
    let site = Arc::new(Site { repository, upstream, connected: AtomicBool::new(true) });
    let shared = Arc::clone(&site);
    let app = axum::Router::new().fallback(move |request| {
        let site = Arc::clone(&shared);
        async move { site.answer(request).await }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, site)
}

impl Site {
    async fn answer(&self, request: axum::extract::Request) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let path = path.strip_prefix("/r/js").unwrap_or(path).to_owned();
        let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        if parts.method == Method::GET {
            match self.record(&path).await {
                Ok(Some(answer)) => return small(answer),
                Ok(None) => {}
                Err(error) => return small(Npm.error(&error)),
            }
            let (status, headers, bytes) = self.repository.get(&Npm, &path, header("accept")).await;
            return response(status, headers, bytes);
        }
        let bytes = axum::body::to_bytes(body, 1 << 30).await.unwrap();
        let request = self.repository.request(parts.method.clone(), &path, &[]);
        let answer = match Npm.route(&request) {
            Some(route @ Route::Api(_)) => Npm.serve(&request, &route, &self.repository).await,
            _ => self.repository.publish(&Npm, parts.method, &path, &[], bytes).await,
        };
        small(answer.unwrap_or_else(|error| Npm.error(&error)))
    }

    async fn record(&self, path: &str) -> Result<Option<Answer>, Error> {
        let connected = self.connected.load(Ordering::SeqCst);
        let Some(upstream) = self.upstream.as_ref().filter(|_| connected) else { return Ok(None) };
        let request = self.repository.request(Method::GET, path, &[]);
        let want = Npm.route(&request).and_then(|route| Npm.want(&request, &route));
        let Some(want) = want else { return Ok(None) };
        let view = &self.repository;
        let Recorded { changes, answer, .. } = Npm.record(&want, view, upstream, view).await?;
        view.commit(&Npm, &changes).await?;
        Ok(answer)
    }
}

fn small(answer: Answer) -> Response {
    let Body::Bytes(bytes) = answer.body else { panic!("a small answer is expected") };
    response(answer.status, answer.headers, bytes)
}

fn response(status: StatusCode, headers: HeaderMap, bytes: bytes::Bytes) -> Response {
    let mut response = Response::new(HttpBody::from(bytes));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
