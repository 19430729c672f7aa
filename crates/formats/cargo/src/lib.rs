//! Cargo: the sparse index, downloads, publish, yank, search.
//!
//! | request | route | answered by |
//! |---|---|---|
//! | `GET /config.json` | `Api("config")` | per request, from the client's own view of our address |
//! | `GET /1/x` `/2/xy` `/3/x/xyz` `/ab/cd/abcd` | `Document` | the rendered index file; 404 when absent |
//! | `GET /crates/<name>/<version>/download` | `File` | the `.crate`, byte for byte |
//! | `GET /api/v1/crates/<name>/<version>/download` | `File` | the same |
//! | `GET /api/v1/crates?q=&per_page=` | `Api("search")` | the view |
//! | `GET /me` | `Api("me")` | a sentence for people |
//! | `GET PUT DELETE /api/v1/crates/<name>/owners` | `Api`, `Publish("owners")` | an honest refusal |
//! | `PUT /api/v1/crates/new` | `Publish("new")` | the crate is inspected, then committed |
//! | `DELETE /api/v1/crates/<name>/<version>/yank` | `Publish("yank")` | |
//! | `PUT /api/v1/crates/<name>/<version>/unyank` | `Publish("unyank")` | |
//!
//! Start at `serve` for reads, `publish` for changes by clients, `collect` for recording and
//! admission. A release's metadata is its line in the index, kept as it came. This crate must
//! never change a crate's bytes, nor a line's fields other than `yanked`.

mod collect;
mod coords;
mod error;
mod frame;
mod index;
mod inspect;
mod publish;
mod serve;

use std::cmp::Ordering;

use async_trait::async_trait;
use cofferdam_format_kit::{
    Accepted, Answer, ClientSetup, Document, Door, Draft, Format, ListedFile, Recorded, Request, Route,
    Traits, Upload, Upstream, View, Want,
};
use cofferdam_types::{Error, Result};
use serde_json::Value;

/// The package format of cargo. It holds no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cargo;

/// Where cargo finds the token of the registry `cofferdam`.
const TOKEN_NAME: &str = "CARGO_REGISTRIES_COFFERDAM_TOKEN";

#[async_trait]
impl Format for Cargo {
    fn name(&self) -> &'static str {
        "cargo"
    }

    fn package_key(&self, name: &str) -> Result<String> {
        coords::key(name)
    }

    fn compare_versions(&self, a: &str, b: &str) -> Ordering {
        coords::compare(a, b)
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
            Route::Document { package, .. } => Some(Want::Index { package: package.clone() }),
            Route::File { path, package: Some(package) } => {
                Some(Want::File { package: package.clone(), path: path.clone() })
            }
            _ => None,
        }
    }

    fn index_path(&self, name: &str) -> Option<String> {
        coords::key(name).ok().map(|_| coords::index_path(name))
    }

    fn listed(&self, name: &str, index: &[u8]) -> Result<Vec<ListedFile>> {
        index::listed(name, index)
    }

    async fn record(
        &self,
        want: &Want,
        view: &dyn View,
        upstream: &dyn Upstream,
        door: &dyn Door,
    ) -> Result<Recorded> {
        match want {
            Want::Index { package: Some(package) } => collect::live_index(package, view, upstream).await,
            Want::Index { package: None } | Want::Address { .. } => {
                Err(Error::not_found("a sparse index has no list of its crates"))
            }
            Want::File { path, .. } => collect::release(path, upstream, door).await,
        }
    }

    async fn admit(&self, claim: &Draft, door: &dyn Door) -> Result<Draft> {
        collect::admit(claim, door).await
    }

    async fn render(&self, package: Option<&str>, view: &dyn View) -> Result<Vec<Document>> {
        let Some(key) = package else { return Ok(Vec::new()) };
        Ok(view.package(key).await?.as_ref().map(index::document).into_iter().collect())
    }

    fn traits(&self, _: &Value, files: &[(&str, &Value)]) -> Traits {
        let about = files.first().map_or(&Value::Null, |(_, about)| *about);
        let list = |name: &str| {
            about[name].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned))
        };
        Traits {
            licences: about["license"].as_str().map(str::to_owned).into_iter().collect(),
            people: list("authors").collect(),
            // Releases of earlier versions of this program have only what their manifest named.
            scripts: if about["runs"].is_array() {
                list("runs").collect()
            } else {
                about["build"].as_str().map(str::to_owned).into_iter().collect()
            },
            ..Traits::default()
        }
    }

    fn error(&self, error: &Error) -> Answer {
        error::answer(error)
    }

    /// `crates-io` is replaced for reading; the same address is the registry `cofferdam`, whose token is in the
    /// environment. A repository that needs a token for reading
    /// too is given with it inside `repository_url`, as the caller does.
    fn client_setup(&self, repository_url: &str, token: Option<&str>) -> ClientSetup {
        let index = format!("sparse+{}/", repository_url.trim_end_matches('/'));
        let config = format!(
            "[source.crates-io]\nreplace-with = \"cofferdam\"\n\n\
             [source.cofferdam]\nregistry = \"{index}\"\n\n\
             [registries.cofferdam]\nindex = \"{index}\"\n\n\
             # The site is near: a request that fails fails for a reason.\n\
             [net]\nretry = 2\n"
        );
        ClientSetup {
            env: token.map(|token| (TOKEN_NAME.to_owned(), token.to_owned())).into_iter().collect(),
            files: vec![(".cargo/config.toml".into(), config.clone())],
            commands: vec![
                format!("mkdir -p ~/.cargo && cat >> ~/.cargo/config.toml <<'EOF'\n{config}EOF"),
                "cargo build".into(),
            ],
        }
    }

    /// Variables in front of the command only: for everything else `cofferdam` stays the registry that is read, whose
    /// address stands in lock files.
    fn publish_setup(&self, hosted_url: &str, token: Option<&str>) -> ClientSetup {
        let index = format!("sparse+{}/", hosted_url.trim_end_matches('/'));
        let shown = token.unwrap_or("TOKEN");
        let command = format!(
            "CARGO_REGISTRIES_COFFERDAM_INDEX='{index}' {TOKEN_NAME}={shown} cargo publish --registry cofferdam"
        );
        ClientSetup { commands: vec![command], ..ClientSetup::default() }
    }
}
