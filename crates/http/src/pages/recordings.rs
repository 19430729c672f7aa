//! Recordings of builds, and what they used.

use axum::{
    Router,
    extract::{Path, Query},
    routing::get,
};
use cofferdam_access::Action;
use cofferdam_crossing::CollectionItem;
use cofferdam_store::RecordingRow;
use cofferdam_types::RecordingId;
use cofferdam_web::{
    recordings::{Recording, RecordingLine, Recordings, Used},
    values::{Size, State, When},
};
use serde::Deserialize;

use super::{Answer, MANY, PAGE, Page, dress::show, next_of, number};
use crate::Site;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/recordings", get(list)).route("/recordings/{id}", get(one))
}

fn line(row: &RecordingRow) -> RecordingLine {
    RecordingLine {
        id: row.id.0,
        name: row.name.clone(),
        command: row.command.clone(),
        actor: row.actor.clone(),
        state: State(row.state.clone()),
        started: When(row.started),
    }
}

#[derive(Deserialize)]
struct Before {
    before: Option<i64>,
}

async fn list(page: Page, Query(query): Query<Before>) -> Answer {
    page.may(Action::TransferRead)?;
    let before = query.before.unwrap_or(i64::MAX);
    let rows = page.site.registry.db().read().await?.crossing().recordings(before, PAGE).await?;
    let next = next_of(&rows, PAGE, |row| row.id.0);
    show(&Recordings { frame: page.frame(), recordings: rows.iter().map(line).collect(), next })
}

async fn one(page: Page, Path(id): Path<String>) -> Answer {
    page.may(Action::TransferRead)?;
    let row = page.site.crossing.recording(RecordingId(number(&id)?)).await?;
    let collection = page.site.crossing.collection(row.id).await?;
    let (files, bytes) = collection.totals();
    let mut facts = vec![
        ("Releases", collection.items.len().to_string()),
        ("Files", format!("{files}, {}", Size(bytes))),
        ("Digest", collection.digest()?.to_hex()),
    ];
    let ending = |at, code: Option<i64>| {
        format!("{} UTC, exit code {}", When(at), code.map_or("unknown".into(), |c| c.to_string()))
    };
    if let Some(at) = row.ended {
        facts.push(("Ended", ending(at, row.exit_code)));
    }
    if let Some(at) = row.rehearsed {
        facts.push(("Rehearsed", ending(at, row.rehearsal_exit_code)));
    }
    let missing =
        collection.missing.into_iter().take(MANY).map(|m| (m.repository, m.path, m.times)).collect();
    let total = collection.items.len();
    let used = collection.items.into_iter().take(MANY).map(used).collect();
    show(&Recording { frame: page.frame(), line: line(&row), facts, total, used, missing })
}

fn used(item: CollectionItem) -> Used {
    let size = item.files.iter().map(|f| f.size).sum();
    Used {
        purl: item.purl,
        repository: item.repository,
        package: item.package,
        files: item.files.into_iter().map(|f| (f.path, f.sha256.to_hex())).collect(),
        size: Size(size),
    }
}
