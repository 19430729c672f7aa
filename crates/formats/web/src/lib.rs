//! Addresses: what a build fetched over HTTP, kept by address and digest.
//!
//! | request | route | answered by |
//! |---|---|---|
//! | `GET /https/<host>/<path>?<query>`, `GET /http/…` | `File`, settled to a kept answer | the answer as it came |
//! | `GET /kept/<host>/<name>/<number>/<number>` | `File` | that kept answer |
//! | `GET /`, `GET /?package=<host>/<folder>/<folder>` | `Api("list")` | the view: JSON, or HTML |
//! | `POST /https/<host>/<path>/git-upload-pack` of git | `File`, settled by the question too | the answer as it came |
//! | any other method on an address | `Api("refused")` | 405 with the reason |
//!
//! The package is the host with the first folders of the path; a version is a file's name and the number of
//! one answer: see `coords` and `inspect`. An address whose answer changed has several answers; which one
//! a request means is settled by `serve::settle`. This crate must never keep a credential, and never
//! change a byte of a body (but where a credential stands in one: a redirect's text, a registry's token).

mod collect;
mod coords;
mod error;
mod image;
mod index;
mod inspect;
mod joined;
mod lasting;
mod question;
mod serve;

use std::cmp::Ordering;

use async_trait::async_trait;
use cofferdam_format_kit::{
    Accepted, Answer, ClientSetup, Document, Door, Draft, Format, Question, Recorded, Request, Route, Traits,
    Upload, Upstream, View, Want,
    joined::{Joined, Together, UpstreamKeys},
};
use cofferdam_types::{Error, Result, Secret};
use serde_json::Value;

pub use serve::DIGEST;

/// The format of recorded addresses. It holds no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Web;

#[async_trait]
impl Format for Web {
    fn name(&self) -> &'static str {
        "web"
    }

    fn package_key(&self, name: &str) -> Result<String> {
        coords::key(name)
    }

    fn compare_versions(&self, a: &str, b: &str) -> Ordering {
        a.cmp(b)
    }

    fn is_published(&self) -> bool {
        false
    }

    fn route(&self, request: &Request) -> Option<Route> {
        serve::route(request)
    }

    fn takes_question(&self, request: &Request) -> Option<u64> {
        question::is_one(request).then_some(question::MAX)
    }

    async fn settle(&self, request: &Request, route: &Route, view: &dyn View) -> Result<Route> {
        serve::settle(request, route, view).await
    }

    async fn serve(&self, request: &Request, route: &Route, view: &dyn View) -> Result<Answer> {
        serve::serve(request, route, view).await
    }

    async fn accept(&self, _upload: Upload, view: &dyn View, _door: &dyn Door) -> Result<Accepted> {
        let text = format!(
            "the repository `{}` keeps what is recorded and takes no uploads",
            view.repository().name
        );
        Err(Error::forbidden("not-hosted", text).hint("publish files to a generic repository"))
    }

    fn want(&self, request: &Request, route: &Route) -> Option<Want> {
        let Route::File { package: Some(_), path } = route else { return None };
        let address = coords::Address::of(request).ok()?;
        let body = address.question().map(|_| request.body.clone());
        Some(Want::Address {
            shown: path.clone(),
            whole: Secret::new(address.whole()),
            headers: inspect::request_headers(&request.headers),
            question: body.map(|body| Question { media_type: question::MEDIA_TYPE, body }),
        })
    }

    async fn record(
        &self,
        want: &Want,
        view: &dyn View,
        upstream: &dyn Upstream,
        door: &dyn Door,
    ) -> Result<Recorded> {
        match want {
            Want::Address { whole, headers, question, .. } => {
                let asked = (whole.expose().as_str(), question.as_ref());
                collect::answer(asked, headers, view, upstream, door).await
            }
            Want::Index { .. } | Want::File { .. } => {
                Err(Error::not_found("only addresses are recorded here"))
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

    /// A script that was fetched was most likely run.
    fn traits(&self, meta: &Value, _files: &[(&str, &Value)]) -> Traits {
        let url = meta["url"].as_str().unwrap_or_default();
        let path = url.split('?').next().unwrap_or_default();
        let script = [".sh", ".bash", ".ps1", ".py", ".pl"].iter().any(|end| path.ends_with(end));
        let scripts = script.then(|| url.to_owned()).into_iter().collect();
        Traits { scripts, address: (!url.is_empty()).then(|| url.to_owned()), ..Traits::default() }
    }

    fn joins(&self) -> bool {
        true
    }

    async fn join(&self, files: &[Together], keys: &UpstreamKeys, door: &dyn Door) -> Result<Joined> {
        joined::join(files, keys, door).await
    }

    fn error(&self, error: &Error) -> Answer {
        error::answer(error)
    }

    /// There is nothing to set up in a sandbox whose connections all end at the site. Elsewhere an address
    /// is asked for below the repository.
    fn client_setup(&self, repository_url: &str, token: Option<&str>) -> ClientSetup {
        let url = repository_url.trim_end_matches('/');
        let with = token.map_or("", |_| "-H \"Authorization: Bearer $COFFERDAM_TOKEN\" ");
        ClientSetup {
            env: vec![("COFFERDAM_WEB".to_owned(), url.to_owned())],
            files: Vec::new(),
            commands: vec![format!("curl -fsSLO {with}{url}/https/HOST/PATH")],
        }
    }
}
