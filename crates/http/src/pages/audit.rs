//! The audit log, newest first.

use axum::{Router, extract::Query, routing::get};
use cofferdam_access::Action;
use cofferdam_store::AuditEntryRow;
use cofferdam_web::{
    site::{Audit, AuditLine},
    values::When,
};
use serde::Deserialize;

use super::{Answer, PAGE, Page, dress::show, next_of};
use crate::Site;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/audit", get(list))
}

#[derive(Deserialize)]
struct Before {
    before: Option<u64>,
}

async fn list(page: Page, Query(query): Query<Before>) -> Answer {
    page.may(Action::AuditRead)?;
    let mut tx = page.site.registry.db().read().await?;
    let size = tx.audit().size().await?;
    let rows = tx.audit().latest(query.before.unwrap_or(size).min(size), PAGE).await?;
    let next = next_of(&rows, PAGE, |row| row.index).filter(|&index| index > 0);
    show(&Audit { frame: page.frame(), size, entries: rows.into_iter().map(line).collect(), next })
}

/// An entry as a line; what is more than who, what and when is shown as JSON.
pub(super) fn line(row: AuditEntryRow) -> AuditLine {
    let body: serde_json::Value = serde_json::from_str(&row.body).unwrap_or_default();
    let detail = body.get("detail").filter(|d| d.as_object().is_none_or(|o| !o.is_empty()));
    AuditLine {
        index: row.index,
        at: When(row.at),
        actor: row.actor,
        action: row.action,
        target: row.target,
        detail: detail.map(ToString::to_string).unwrap_or_default(),
    }
}
