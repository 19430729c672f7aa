//! Generic files: PUT, GET, list.
//!
//! | request | route | answered by |
//! |---|---|---|
//! | `GET /<path>` | `File` | the bytes; a folder without its slash is redirected |
//! | `GET /<folder>/`, `GET /` | `Api("list")` | the view: JSON, or HTML when `Accept` names `text/html` |
//! | `PUT /<path>` | `Publish("put")` | created (201), the same again (200), other bytes (409) |
//! | `DELETE /<path>` | `Publish("delete")` | withdrawn (204) |
//!
//! The package is the folder and the version is the file's name: see `coords`. Start at `serve`
//! for reads, `publish` for changes. This crate must never look into a file: here bytes are bytes.

mod collect;
mod coords;
mod error;
mod index;
mod inspect;
mod publish;
mod serve;

use std::cmp::Ordering;

use async_trait::async_trait;
use cofferdam_format_kit::{
    Accepted, Answer, ClientSetup, Document, Door, Draft, Format, Recorded, Request, Route, Upload, Upstream,
    View, Want,
};
use cofferdam_types::{Error, Result};

/// The format of plain files. It holds no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generic;

#[async_trait]
impl Format for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn package_key(&self, name: &str) -> Result<String> {
        coords::key(name)
    }

    fn compare_versions(&self, a: &str, b: &str) -> Ordering {
        a.cmp(b)
    }

    fn route(&self, request: &Request) -> Option<Route> {
        serve::route(request)
    }

    async fn serve(&self, request: &Request, route: &Route, view: &dyn View) -> Result<Answer> {
        serve::serve(request, route, view).await
    }

    async fn accept(&self, upload: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
        match upload.route {
            Route::Publish(action) => publish::accept(action, upload, view, door).await,
            _ => Err(Error::not_found("no such address")),
        }
    }

    fn want(&self, _request: &Request, route: &Route) -> Option<Want> {
        match route {
            Route::File { path, package: Some(package) } => {
                Some(Want::File { package: package.clone(), path: path.clone() })
            }
            _ => None,
        }
    }

    async fn record(
        &self,
        want: &Want,
        _view: &dyn View,
        upstream: &dyn Upstream,
        door: &dyn Door,
    ) -> Result<Recorded> {
        match want {
            Want::File { path, .. } => collect::file(path, upstream, door).await,
            Want::Index { .. } | Want::Address { .. } => {
                Err(Error::not_found("plain files have no index upstream"))
            }
        }
    }

    async fn admit(&self, claim: &Draft, door: &dyn Door) -> Result<Draft> {
        collect::admit(claim, door).await
    }

    fn has_documents(&self) -> bool {
        false
    }

    async fn render(&self, _package: Option<&str>, _view: &dyn View) -> Result<Vec<Document>> {
        Ok(Vec::new())
    }

    fn error(&self, error: &Error) -> Answer {
        error::answer(error)
    }

    /// There is no stock client and so no file of its own: the address and the token are in the
    /// environment, for `curl` and scripts.
    fn client_setup(&self, repository_url: &str, token: Option<&str>) -> ClientSetup {
        let url = repository_url.trim_end_matches('/');
        let mut env = vec![("COFFERDAM_FILES".to_owned(), url.to_owned())];
        env.extend(token.map(|token| ("COFFERDAM_TOKEN".to_owned(), token.to_owned())));
        ClientSetup {
            env,
            files: Vec::new(),
            commands: vec![format!("curl -fsSO {url}/FOLDER/FILE"), format!("curl -fsS {url}/FOLDER/")],
        }
    }

    fn publish_setup(&self, hosted_url: &str, token: Option<&str>) -> ClientSetup {
        let url = hosted_url.trim_end_matches('/');
        let shown = token.unwrap_or("TOKEN");
        let command = format!("curl -fsS -T FILE -H 'Authorization: Bearer {shown}' {url}/FOLDER/FILE");
        ClientSetup { commands: vec![command], ..ClientSetup::default() }
    }
}
