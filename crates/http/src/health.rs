//! For whoever watches the site: alive, ready, counters.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::{Site, problem::Problem};

pub(crate) fn routes() -> Router<Site> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready))
}

/// The process answers.
async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The database answers too.
async fn ready(State(site): State<Site>) -> Result<Json<Value>, Problem> {
    let mut tx = site.registry.db().read().await?;
    let entries = cofferdam_audit::size(&mut tx).await?;
    Ok(Json(json!({ "status": "ready", "site": site.name, "audit_entries": entries })))
}
