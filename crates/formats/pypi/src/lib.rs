//! PyPI: the simple repository API, distribution metadata, uploads.
//!
//! | request, below `/r/<repository>` | answer | where |
//! |---|---|---|
//! | `GET /simple/` | the list of packages, JSON or HTML | `serve`, `index` |
//! | `GET /simple/<name>/` | the files of a package; redirects to the normal form | `serve`, `index` |
//! | `GET /files/<name>/<file>` | a wheel or source distribution | `serve` |
//! | `GET /files/<name>/<file>.metadata` | a wheel's `METADATA` | `serve` |
//! | `GET /pypi/<name>/json` | facts of the newest release | `serve` |
//! | `GET /pypi/<name>/<version>/json` | facts of one release | `serve` |
//! | `POST /`, `POST /legacy/` | an upload (`:action=file_upload`) | `publish` |
//!
//! `coords` knows names and versions, `inspect` looks into files, `collect` asks upstream and
//! admits transfers, `proofs` checks upstream's attestations and `chain` who certified them, `links` reads old upstreams' HTML, `listed` our own pages, `client` writes the clients' set-up.
//! This crate must never store a byte or open a connection itself.

mod chain;
mod client;
mod collect;
mod coords;
mod error;
mod index;
mod inspect;
mod links;
mod listed;
mod proofs;
mod publish;
mod serve;

use std::cmp::Ordering;

use async_trait::async_trait;
use cofferdam_format_kit::{
    Accepted, Answer, ClientSetup, Document, Door, Draft, Format, ListedFile, Recorded, Request, Route,
    Traits, Upload, Upstream, View, Want,
    joined::{Joined, Together, UpstreamKeys},
};
use cofferdam_types::{Error, Result};
use serde_json::Value;

/// Python packages.
#[derive(Clone, Copy, Debug, Default)]
pub struct PyPi;

#[async_trait]
impl Format for PyPi {
    fn name(&self) -> &'static str {
        "pypi"
    }

    fn package_key(&self, name: &str) -> Result<String> {
        coords::normalise(name)
    }

    fn compare_versions(&self, a: &str, b: &str) -> Ordering {
        coords::compare_versions(a, b)
    }

    fn route(&self, request: &Request) -> Option<Route> {
        serve::route(request)
    }

    async fn serve(&self, request: &Request, route: &Route, view: &dyn View) -> Result<Answer> {
        serve::serve(request, route, view).await
    }

    async fn accept(&self, request: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
        publish::accept(request, view, door).await
    }

    fn want(&self, request: &Request, route: &Route) -> Option<Want> {
        if collect::is_redirect(request, route) { None } else { collect::want(route) }
    }

    fn index_path(&self, name: &str) -> Option<String> {
        Some(format!("simple/{}/", coords::normalise(name).ok()?))
    }

    fn index_accept(&self) -> Option<&'static str> {
        Some(index::JSON_V1)
    }

    fn listed(&self, name: &str, index: &[u8]) -> Result<Vec<ListedFile>> {
        listed::files(name, index)
    }

    async fn record(
        &self,
        want: &Want,
        view: &dyn View,
        upstream: &dyn Upstream,
        door: &dyn Door,
    ) -> Result<Recorded> {
        collect::record(want, view, upstream, door).await
    }

    async fn admit(&self, claim: &Draft, door: &dyn Door) -> Result<Draft> {
        collect::admit(claim, door).await
    }

    async fn render(&self, package: Option<&str>, view: &dyn View) -> Result<Vec<Document>> {
        match package {
            Some(key) => index::package_documents(key, view).await,
            None => index::root_documents(view).await,
        }
    }

    fn joins(&self) -> bool {
        true
    }

    async fn join(&self, files: &[Together], keys: &UpstreamKeys, _door: &dyn Door) -> Result<Joined> {
        Ok(chain::join(files, keys))
    }

    fn traits(&self, meta: &Value, files: &[(&str, &Value)]) -> Traits {
        let text = |name: &str| meta[name].as_str().map(str::to_owned);
        let licence = text("license_expression")
            .or_else(|| text("license"))
            .map(|l| l.lines().next().unwrap_or_default().to_owned());
        let classified = meta["classifiers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|c| c.as_str()?.strip_prefix("License :: ").map(str::to_owned));
        let people =
            ["author", "author_email", "maintainer", "maintainer_email"].iter().filter_map(|name| text(name));
        // A source distribution runs its build backend when it is installed.
        let source = files.iter().any(|(role, _)| *role == "sdist");
        Traits {
            licences: licence.into_iter().chain(classified).collect(),
            people: people.collect(),
            proofs: files.iter().flat_map(|(_, meta)| proofs::sentences(meta)).collect(),
            scripts: source.then(|| "source build".to_owned()).into_iter().collect(),
            ..Traits::default()
        }
    }

    fn error(&self, error: &Error) -> Answer {
        error::answer(error)
    }

    fn client_setup(&self, repository_url: &str, token: Option<&str>) -> ClientSetup {
        client::setup(repository_url, token)
    }

    fn publish_setup(&self, hosted_url: &str, token: Option<&str>) -> ClientSetup {
        client::publish_setup(hosted_url, token)
    }
}
