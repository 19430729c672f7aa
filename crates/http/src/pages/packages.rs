//! Repositories, their packages and how clients are told to use them.

use axum::{
    Router,
    extract::{Path, Query},
    routing::get,
};
use cofferdam_access::Action;
use cofferdam_format_kit::{PackageView, ReleaseState, ReleaseView, View};
use cofferdam_store::{RepositoryRow, Tx};
use cofferdam_types::{Error, Result};
use cofferdam_web::{
    packages::{File, Package, PackageLine, Packages, Release, Repositories, Repository, Setup},
    values::{Size, State, When},
};
use serde::Deserialize;

use super::{Answer, MANY, PAGE, Page, dress::show, next_of, short};
use crate::Site;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/repositories", get(list))
        .route("/repositories/{name}", get(packages))
        .route("/repositories/{name}/package/{*key}", get(package))
        .route("/repositories/{name}/package/", get(root_package))
}

async fn repository(tx: &mut Tx, row: &RepositoryRow) -> Result<Repository> {
    let [packages, releases, files, bytes] = tx.registry().counts(row.id).await?;
    let members = tx.registry().members(row.id).await?;
    Ok(Repository {
        name: row.name.clone(),
        format: row.format.clone(),
        kind: row.kind.clone(),
        members: members.into_iter().map(|m| m.name).collect(),
        generation: row.generation,
        counts: [packages, releases, files],
        bytes: Size(bytes),
    })
}

async fn list(page: Page) -> Answer {
    page.may(Action::PackageRead)?;
    let mut tx = page.site.registry.db().read().await?;
    let mut repositories = Vec::new();
    for row in tx.registry().repositories("", MANY).await? {
        repositories.push(repository(&mut tx, &row).await?);
    }
    show(&Repositories { frame: page.frame(), repositories })
}

#[derive(Deserialize)]
struct Find {
    after: Option<String>,
    #[serde(default)]
    q: String,
}

async fn packages(page: Page, Path(name): Path<String>, Query(find): Query<Find>) -> Answer {
    page.may(Action::PackageRead)?;
    let mut tx = page.site.registry.db().read().await?;
    let row = page.site.registry.repository(&mut tx, &name).await?;
    let repository = repository(&mut tx, &row).await?;
    // A group is read; what people publish goes to its hosted member.
    let members = tx.registry().members(row.id).await?;
    let hosted = std::iter::once(&row).chain(&members).find(|r| r.kind == "hosted").map(|r| r.name.clone());
    drop(tx);
    let view = page.site.registry.view(&row).await?;
    let query = find.q.trim().to_owned();
    let keys = if query.is_empty() {
        view.packages(find.after.as_deref(), PAGE).await?.into_iter().map(|(key, _)| key).collect()
    } else {
        view.search(&query, MANY).await?
    };
    let next = if query.is_empty() { next_of(&keys, PAGE, String::clone) } else { None };
    let mut packages = Vec::new();
    for key in keys {
        // A package may have gone between the two reads; then it is not listed.
        packages.extend(view.package(&key).await?.map(package_line));
    }
    let url = view.repository().base.clone();
    let format = page.site.registry.format(&row.format)?;
    let setup = format.client_setup(&url, None);
    let setup = match hosted {
        Some(name) => {
            setup.and(format.publish_setup(&format!("{}/r/{name}", page.site.registry.public_url()), None))
        }
        None => setup,
    };
    let setup = Setup { env: setup.env, files: setup.files, commands: setup.commands };
    show(&Packages { frame: page.frame(), repository, url, setup, query, packages, next })
}

fn package_line(package: PackageView) -> PackageLine {
    let shown = package.releases.iter().rev().find(|r| r.state == ReleaseState::Admitted);
    let newest = shown.or(package.releases.last()).map(|r| r.version.clone()).unwrap_or_default();
    PackageLine { key: package.key, display: package.display, newest, releases: package.releases.len() }
}

async fn package(page: Page, Path((name, key)): Path<(String, String)>) -> Answer {
    show_package(page, name, key).await
}

/// The package of files in no folder is called `.`, which browsers take off an address.
async fn root_package(page: Page, Path(name): Path<String>) -> Answer {
    show_package(page, name, ".".into()).await
}

async fn show_package(page: Page, name: String, key: String) -> Answer {
    page.may(Action::PackageRead)?;
    let row = page.site.registry.repository(&mut page.site.registry.db().read().await?, &name).await?;
    let found = page.site.registry.view(&row).await?.package(&key).await?;
    let found =
        found.ok_or_else(|| Error::not_found(format!("`{name}` has no package `{}`", short(&key))))?;
    show(&Package {
        frame: page.frame(),
        repository: name,
        key: found.key,
        display: found.display,
        pointers: found.pointers.into_iter().map(|p| (p.name, p.version)).collect(),
        releases: found.releases.into_iter().rev().map(release).collect(),
    })
}

fn release(r: ReleaseView) -> Release {
    let state = if r.state == ReleaseState::Yanked { "yanked" } else { "admitted" };
    let file = |f: cofferdam_format_kit::FileRef| File {
        path: f.path,
        sha256: f.sha256.to_hex(),
        size: Size(f.size),
    };
    Release {
        version: r.version,
        state: State(state.into()),
        yank_reason: r.yank_reason,
        published: When(r.published),
        files: r.files.into_iter().map(file).collect(),
    }
}
