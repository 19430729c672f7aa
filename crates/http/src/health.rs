//! For whoever watches the site: alive, ready, counters.

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::{Site, problem::Problem};

pub(crate) fn routes() -> Router<Site> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).route("/metrics", get(metrics))
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

/// The Prometheus text format, version 0.0.4. Nothing in it is secret or personal.
async fn metrics(State(site): State<Site>) -> Result<String, Problem> {
    let mut tx = site.registry.db().read().await?;
    let entries = cofferdam_audit::size(&mut tx).await?;
    let signed = cofferdam_audit::latest_checkpoint(&mut tx).await?.map_or(0, |(size, _)| size);
    let open = tx.access().open_approvals().await?.len();
    let role = if site.connected { "connected" } else { "isolated" };
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        "# TYPE cofferdam_build_info gauge\ncofferdam_build_info{{version=\"{version}\",site=\"{}\",role=\"{role}\"}} 1\n\
         # HELP cofferdam_audit_entries Entries of the audit log.\n\
         # TYPE cofferdam_audit_entries counter\ncofferdam_audit_entries {entries}\n\
         # HELP cofferdam_audit_unsigned_entries Entries that no signed checkpoint covers yet.\n\
         # TYPE cofferdam_audit_unsigned_entries gauge\ncofferdam_audit_unsigned_entries {}\n\
         # HELP cofferdam_open_approvals Questions that wait for people.\n\
         # TYPE cofferdam_open_approvals gauge\ncofferdam_open_approvals {open}\n",
        site.name,
        entries.saturating_sub(signed)
    ))
}
