//! npm: packuments, tarballs, dist-tags, publish, search.
//!
//! | request | what it is |
//! |---|---|
//! | `GET /<pkg>` | packument: abbreviated or full, by `Accept` |
//! | `GET /<pkg>/<version or tag>` | one version manifest |
//! | `GET /<pkg>/-/<name>-<version>.tgz` | tarball |
//! | `GET /-/package/<pkg>/dist-tags[/<tag>]` | dist-tags |
//! | `GET /-/v1/search?text=&size=&from=` | search |
//! | `GET /-/ping` | `{}` |
//! | `POST /-/npm/v1/security/…` | "no advisory data", never "no vulnerabilities" |
//! | `PUT /<pkg>` | publish; without a tarball: deprecate |
//! | `PUT`, `DELETE /-/package/<pkg>/dist-tags/<tag>` | move or remove a tag |
//! | `PUT`, `DELETE /<pkg>/-rev/<rev>` | unpublish some versions, or all |
//! | `DELETE /<pkg>/-/<file>/-rev/<rev>` | the last step of `npm unpublish <pkg>@<version>` |
//!
//! `<pkg>` is `name`, `@scope/name` or `@scope%2fname`. Log-in and `whoami` are the edge's.
//! Sources: npm/registry `docs/`, and the npm client. This crate must never touch storage or the
//! network except through the view, the door and the upstream that it is given.

mod attachment;
mod collect;
mod coords;
mod error;
mod index;
mod inspect;
mod listed;
mod proofs;
mod publish;
mod serve;

use std::cmp::Ordering;

use async_trait::async_trait;
use cofferdam_format_kit::{
    Accepted, Answer, ClientSetup, Document, Door, Draft, Format, ListedFile, Recorded, Request, Route,
    Traits, Upload, Upstream, View, Want, path_segments,
};
use cofferdam_types::{Error, Result};
use http::Method;
use serde_json::Value;

/// The role of the one file of a release.
const TARBALL_ROLE: &str = "tarball";

/// The npm format.
#[derive(Clone, Copy, Debug, Default)]
pub struct Npm;

#[async_trait]
impl Format for Npm {
    fn name(&self) -> &'static str {
        "npm"
    }

    fn package_key(&self, name: &str) -> Result<String> {
        coords::check_name(name).map(str::to_owned)
    }

    fn compare_versions(&self, a: &str, b: &str) -> Ordering {
        coords::compare_versions(a, b)
    }

    fn route(&self, request: &Request) -> Option<Route> {
        let segments = path_segments(&request.path).ok()?;
        if segments.first().is_some_and(|first| first == "-") {
            return service_route(&request.method, &segments[1..]);
        }
        let (name, rest) = coords::take_name(&segments)?;
        let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
        match request.method {
            Method::GET => read_route(name, &rest),
            Method::PUT => match rest[..] {
                [] => Some(Route::Publish("publish")),
                ["-rev", _] => Some(Route::Publish("replace")),
                _ => None,
            },
            Method::DELETE => match rest[..] {
                ["-rev", _] => Some(Route::Publish("unpublish")),
                ["-", _, "-rev", _] | ["-", _, _, "-rev", _] => Some(Route::Publish("remove-tarball")),
                _ => None,
            },
            _ => None,
        }
    }

    async fn serve(&self, request: &Request, route: &Route, view: &dyn View) -> Result<Answer> {
        serve::serve(request, route, view).await
    }

    async fn accept(&self, request: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
        publish::accept(request, view, door).await
    }

    fn want(&self, request: &Request, route: &Route) -> Option<Want> {
        match route {
            Route::Document { package, .. } => Some(Want::Index { package: package.clone() }),
            // One release's manifest, as Corepack asks for it: the name, a slash and the version or tag.
            Route::Api("manifest") => {
                let segments = path_segments(&request.path).ok()?;
                let (name, rest) = coords::take_name(&segments)?;
                Some(Want::Index { package: Some(format!("{name}/{}", rest.first()?)) })
            }
            Route::File { path, package: Some(package) } => {
                Some(Want::File { package: package.clone(), path: path.clone() })
            }
            Route::File { .. } | Route::Api(_) | Route::Publish(_) => None,
        }
    }

    fn index_path(&self, name: &str) -> Option<String> {
        Some(coords::check_name(name).ok()?.replace('/', "%2f"))
    }

    fn index_accept(&self) -> Option<&'static str> {
        Some(index::ABBREVIATED)
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
        index::render(package, view).await
    }

    fn traits(&self, meta: &Value, files: &[(&str, &Value)]) -> Traits {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let person =
            |value: &Value| text(value).or_else(|| text(&value["name"])).or_else(|| text(&value["email"]));
        let licence = text(&meta["license"]).or_else(|| text(&meta["license"]["type"]));
        let people = meta["maintainers"].as_array().into_iter().flatten().filter_map(person);
        // npm runs these on its own when it installs (npm docs, "scripts", life cycle).
        let runs = |name: &&str| meta["scripts"][*name].is_string();
        let scripts = ["preinstall", "install", "postinstall"].iter().filter(|name| runs(name));
        let native = (meta["gypfile"] == true).then(|| "node-gyp".to_owned());
        Traits {
            licences: licence.into_iter().collect(),
            people: people.chain(person(&meta["_npmUser"])).collect(),
            scripts: scripts.map(|name| (*name).to_owned()).chain(native).collect(),
            proofs: files.iter().flat_map(|(_, meta)| proofs::sentences(meta)).collect(),
            ..Traits::default()
        }
    }

    fn error(&self, error: &Error) -> Answer {
        error::answer(error)
    }

    fn client_setup(&self, repository_url: &str, token: Option<&str>) -> ClientSetup {
        client_setup(repository_url, token)
    }

    fn publish_setup(&self, hosted_url: &str, token: Option<&str>) -> ClientSetup {
        let url = format!("{}/", hosted_url.trim_end_matches('/'));
        let place = url.split_once(':').map_or(url.as_str(), |(_, rest)| rest);
        let shown = token.unwrap_or("TOKEN");
        ClientSetup {
            env: Vec::new(),
            files: token
                .map(|t| (".npmrc".into(), format!("{place}:_authToken={t}\n")))
                .into_iter()
                .collect(),
            commands: vec![
                format!("npm config set {place}:_authToken {shown}"),
                format!("npm publish --registry {url}"),
            ],
        }
    }
}

fn read_route(name: String, rest: &[&str]) -> Option<Route> {
    match rest {
        [] => Some(Route::Document { path: name.clone(), package: Some(name) }),
        ["-", file] => {
            // Some registries write `/@s/n/-/@s/n-1.0.0.tgz`, and lock files remember it.
            let file = file.rsplit('/').next()?;
            Some(Route::File { path: format!("{name}/-/{file}"), package: Some(name) })
        }
        ["-", scope, file] if name.starts_with(&format!("{scope}/")) => {
            Some(Route::File { path: format!("{name}/-/{file}"), package: Some(name) })
        }
        ["-", ..] | ["-rev", ..] => None,
        [_] => Some(Route::Api("manifest")),
        _ => None,
    }
}

/// Routes below `/-/`.
fn service_route(method: &Method, segments: &[String]) -> Option<Route> {
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    match words[..] {
        ["ping"] if method == Method::GET => Some(Route::Api("ping")),
        ["v1", "search"] if method == Method::GET => Some(Route::Api("search")),
        ["npm", "v1", "security", ..] if method == Method::POST => Some(Route::Api("audit")),
        ["package", ..] => {
            let (_, rest) = coords::take_name(&segments[1..])?;
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            match (method, &rest[..]) {
                (&Method::GET, ["dist-tags"] | ["dist-tags", _]) => Some(Route::Api("dist-tags")),
                (&Method::PUT | &Method::POST, ["dist-tags", _]) => Some(Route::Publish("tag")),
                (&Method::DELETE, ["dist-tags", _]) => Some(Route::Publish("untag")),
                _ => None,
            }
        }
        _ => None,
    }
}

fn client_setup(repository_url: &str, token: Option<&str>) -> ClientSetup {
    let url = format!("{}/", repository_url.trim_end_matches('/'));
    let mut npmrc = format!("registry={url}\n");
    let mut commands = vec![format!("npm config set registry {url}")];
    if let Some(token) = token {
        let place = url.split_once(':').map_or(url.as_str(), |(_, rest)| rest);
        npmrc.push_str(&format!("{place}:_authToken={token}\n"));
        commands.push(format!("npm config set {place}:_authToken {token}"));
    }
    npmrc.push_str(
        "; The site has no advisory data and says so; with audit on, every install would end with\n\
         ; that message. `npm audit` still asks, and is told the truth.\n\
         audit=false\n\
         ; Funding notes and update checks are of no use here.\n\
         fund=false\n\
         update-notifier=false\n",
    );
    ClientSetup { env: env(&url, token), files: vec![(".npmrc".into(), npmrc)], commands }
}

/// npm, pnpm and Yarn 1 read the first variable; each of the others has names of its own.
fn env(url: &str, token: Option<&str>) -> Vec<(String, String)> {
    let registry =
        ["npm_config_registry", "YARN_NPM_REGISTRY_SERVER", "COREPACK_NPM_REGISTRY", "BUN_CONFIG_REGISTRY"];
    let mut env: Vec<_> = registry.iter().map(|name| (*name, url.trim_end_matches('/'))).collect();
    env[0].1 = url;
    let host = url.strip_prefix("http://").and_then(|rest| rest.split(['/', ':']).next());
    // Yarn 2 and later speak plain HTTP with nobody whom they were not told of.
    env.extend(host.map(|host| ("YARN_UNSAFE_HTTP_WHITELIST", host)));
    // pnpm asks for a newer pnpm otherwise; npm is told in its file.
    env.push(("pnpm_config_update_notifier", "false"));
    if let Some(token) = token {
        env.extend([
            ("YARN_NPM_AUTH_TOKEN", token),
            ("YARN_NPM_ALWAYS_AUTH", "true"),
            ("COREPACK_NPM_TOKEN", token),
            ("BUN_CONFIG_TOKEN", token),
        ]);
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
