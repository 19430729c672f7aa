//! The audit log: entries as they were hashed, and signed checkpoints.

use axum::{
    Extension, Json, Router,
    extract::{Query, State},
    routing::get,
};
use cofferdam_access::{Action, Principal};
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use crate::{Site, auth::may};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/api/v1/audit", get(entries)).route("/api/v1/audit/checkpoints", get(checkpoints))
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    from: u64,
    #[serde(default = "page")]
    limit: usize,
}

fn page() -> usize {
    100
}

async fn entries(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<Page>,
) -> Answer {
    may(&site, &principal, Action::AuditRead)?;
    let mut tx = site.registry.db().read().await?;
    let rows = cofferdam_audit::entries(&mut tx, query.from, query.limit.min(1000)).await?;
    let entries: Vec<_> = rows.iter().map(|r| json!({ "index": r.index, "body": r.body })).collect();
    Ok(Json(json!({ "size": cofferdam_audit::size(&mut tx).await?, "entries": entries })))
}

async fn checkpoints(State(site): State<Site>, Extension(principal): Extension<Principal>) -> Answer {
    may(&site, &principal, Action::AuditRead)?;
    let mut tx = site.registry.db().read().await?;
    let all = tx.audit().checkpoints().await?;
    let notes: Vec<_> = all.into_iter().map(|(size, note)| json!({ "size": size, "note": note })).collect();
    Ok(Json(json!({ "checkpoints": notes })))
}
