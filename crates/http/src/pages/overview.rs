//! The first page: what the viewer may see of everything, the newest first.

use axum::{Router, routing::get};
use cofferdam_access::Action;
use cofferdam_types::Result;
use cofferdam_web::{
    site::{Count, Overview},
    values::Size,
};

use super::{Answer, Page, audit, dress::show, forge, transfers};
use crate::Site;

/// Rows of each list.
const FEW: usize = 8;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/", get(overview))
}

async fn overview(page: Page) -> Answer {
    let (counts, bytes) = counts(&page).await?;
    let transfers = if page.can(Action::TransferRead) {
        Some(transfers::lines(&page.site, i64::MAX, FEW).await?)
    } else {
        None
    };
    let pipelines =
        if page.can(Action::ProjectRead) { Some(forge::newest(&page.site, FEW).await?) } else { None };
    let audit = if page.can(Action::AuditRead) {
        let mut tx = page.site.registry.db().read().await?;
        let size = tx.audit().size().await?;
        Some(tx.audit().latest(size, FEW).await?.into_iter().map(audit::line).collect())
    } else {
        None
    };
    show(&Overview {
        frame: page.frame(),
        key: page.site.key.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        counts,
        bytes,
        transfers,
        pipelines,
        audit,
    })
}

async fn counts(page: &Page) -> Result<(Vec<Count>, Option<Size>)> {
    let (mut out, mut bytes) = (Vec::new(), None);
    let mut tx = page.site.registry.db().read().await?;
    if page.can(Action::TransferRead) {
        let open = tx.access().open_approvals().await?.len();
        out.push(Count { label: "waiting for approval", value: open.to_string(), href: "/transfers" });
    }
    if page.can(Action::PackageRead) {
        let rows = tx.registry().repositories("", super::MANY).await?;
        let (mut packages, mut size) = (0, 0);
        for row in &rows {
            let [one, _, _, held] = tx.registry().counts(row.id).await?;
            (packages, size) = (packages + one, size + held);
        }
        out.push(Count { label: "packages", value: packages.to_string(), href: "/repositories" });
        out.push(Count { label: "repositories", value: rows.len().to_string(), href: "/repositories" });
        bytes = Some(Size(size));
    }
    Ok((out, bytes))
}
