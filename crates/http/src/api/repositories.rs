//! Repositories and their packages.

use axum::{
    Extension, Json, Router,
    extract::{Path, Query, State},
    routing::get,
};
use cofferdam_access::{Action, Principal};
use cofferdam_format_kit::{RepositoryKind, View as _};
use cofferdam_types::{Error, RepositoryName};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Body};
use crate::{Site, auth::may};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/repositories", get(list).post(create))
        .route("/api/v1/repositories/{name}/packages", get(packages))
        .route("/api/v1/repositories/{name}/generations", get(generations))
}

async fn list(State(site): State<Site>, Extension(principal): Extension<Principal>) -> Answer {
    may(&site, &principal, Action::PackageRead)?;
    let mut tx = site.registry.db().read().await?;
    let mut out = Vec::new();
    for row in tx.registry().repositories("", 500).await? {
        let [packages, releases, files, bytes] = tx.registry().counts(row.id).await?;
        let members: Vec<_> = tx.registry().members(row.id).await?.into_iter().map(|m| m.name).collect();
        out.push(json!({
            "name": row.name, "format": row.format, "kind": row.kind, "generation": row.generation, "root": row.root,
            "members": members, "packages": packages, "releases": releases, "files": files, "bytes": bytes,
            "url": format!("{}/r/{}/", site.registry.public_url(), row.name),
        }));
    }
    Ok(Json(json!({ "repositories": out })))
}

#[derive(Deserialize)]
struct Create {
    name: RepositoryName,
    format: String,
    kind: RepositoryKind,
    #[serde(default)]
    members: Vec<RepositoryName>,
}

async fn create(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Create>,
) -> Answer {
    may(&site, &principal, Action::RepositoryManage)?;
    let mut tx = site.registry.db().write().await?;
    let actor = principal.actor();
    let row =
        site.registry.create(&mut tx, &actor, &body.name, &body.format, body.kind, &body.members).await?;
    tx.commit().await?;
    Ok(Json(json!({ "name": row.name, "format": row.format, "kind": row.kind })))
}

#[derive(Deserialize)]
struct PackagePage {
    after: Option<String>,
    q: Option<String>,
    limit: Option<usize>,
}

async fn packages(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
    Query(query): Query<PackagePage>,
) -> Answer {
    may(&site, &principal, Action::PackageRead)?;
    let limit = query.limit.unwrap_or(100).min(500);
    let row = site.registry.repository(&mut site.registry.db().read().await?, &name).await?;
    let view = site.registry.view(&row).await?;
    let keys = match &query.q {
        Some(text) => view.search(text, limit).await?,
        None => view.packages(query.after.as_deref(), limit).await?.into_iter().map(|(key, _)| key).collect(),
    };
    let mut out = Vec::new();
    for key in keys {
        let package = view.package(&key).await?.ok_or_else(|| Error::not_found("the package vanished"))?;
        let releases: Vec<_> = package
            .releases
            .iter()
            .map(|r| {
                let files: Vec<_> = r
                    .files
                    .iter()
                    .map(|f| json!({ "path": f.path, "sha256": f.sha256, "size": f.size }))
                    .collect();
                json!({ "version": r.version, "state": r.state, "published": r.published, "files": files })
            })
            .collect();
        out.push(json!({ "key": package.key, "name": package.display, "releases": releases }));
    }
    Ok(Json(json!({ "packages": out })))
}

async fn generations(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Answer {
    may(&site, &principal, Action::PackageRead)?;
    let mut tx = site.registry.db().read().await?;
    let row = site.registry.repository(&mut tx, &name).await?;
    let all = tx.registry().generations(row.id, u64::MAX >> 1, 100).await?;
    let out: Vec<_> = all
        .iter()
        .map(|g| json!({ "n": g.n, "root": g.root, "cause": g.cause, "actor": g.actor, "at": g.at }))
        .collect();
    Ok(Json(json!({ "generations": out })))
}
