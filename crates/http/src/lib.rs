//! The edge: routes, authentication, errors to status codes.
//!
//! [`router`] puts every route of a site together. A handler extracts, decides once who may
//! ([`auth`]), calls one use case and renders; it holds no SQL and no business rule.
//!
//! | address | module | what |
//! |---|---|---|
//! | `/r/<repository>/…` | [`registry`] | packages, each in its ecosystem's own protocol |
//! | `/t/<token>/…` | [`auth`] | the same addresses with the token in the path, for clients that have no other place for it |
//! | `/<group>/<project>.git/…` | [`git`] | git's smart HTTP |
//! | `/api/v4/…` | [`runner_api`] | runners, in GitLab's protocol |
//! | `/api/v1/…` | [`api`] [`projects`] | management, JSON |
//! | `/` `/login` `/transfers` … | [`pages`] | HTML for people |
//! | `/healthz` `/readyz` `/metrics` | [`health`] | for whoever watches the site |
//!
//! This crate must never decide what may be committed, approved or scheduled, and never hold a
//! body in memory.

pub mod api;
pub mod auth;
mod body;
pub mod git;
pub mod health;
pub mod opening;
pub mod pages;
pub mod problem;
pub mod projects;
pub mod registry;
pub mod runner_api;
mod state;

use axum::{Router, extract::DefaultBodyLimit, middleware};

pub use opening::{Caller, Front};
pub use state::{Site, SiteState};

/// Every route of a site. Its callers are known where it is served with [`Caller`] as its connections' information.
pub fn router(site: Site) -> Router {
    let routes = Router::new()
        .merge(registry::routes())
        .merge(api::routes())
        .merge(projects::routes())
        .merge(runner_api::routes())
        .merge(git::routes())
        .merge(health::routes())
        .merge(pages::routes(&site))
        .fallback(problem::no_such_address)
        .layer(middleware::from_fn_with_state(site.clone(), auth::identify))
        // Formats bound their bodies themselves, with an error that names the bound.
        .layer(DefaultBodyLimit::disable())
        .with_state(site.clone());
    // Rewriting a path has to happen before routing, so it wraps the router itself.
    auth::token_paths(routes)
}
