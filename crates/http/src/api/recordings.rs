//! Recordings of builds.

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    response::Response,
    routing::{get, post},
};
use cofferdam_access::{Action, Principal};
use cofferdam_crossing::{Ended, FILE_END, Judgement, Observed};
use cofferdam_store::RecordingRow;
use cofferdam_types::{Error, RecordingId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Body, value};
use crate::{Site, auth::may, pages::upload::download, problem::Problem};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/recordings", get(list).post(start))
        .route("/api/v1/recordings/{id}", get(show))
        .route("/api/v1/recordings/{id}/collection", get(collection))
        .route("/api/v1/recordings/{id}/collection.toml", get(collection_file))
        .route("/api/v1/recordings/{id}/items", post(decide))
        .route("/api/v1/recordings/{id}/judgement", get(judgement).post(judged))
        .route("/api/v1/recordings/{id}/network", get(network))
        .route("/api/v1/recordings/{id}/news", get(news))
        .route("/api/v1/recordings/{id}/end", post(end))
        .route("/api/v1/recordings/{id}/rehearsed", post(rehearsed))
}

fn row(r: &RecordingRow) -> Value {
    json!({
        "id": r.id, "name": r.name, "command": r.command, "actor": r.actor, "state": r.state, "started": r.started,
        "ended": r.ended, "exit_code": r.exit_code, "rehearsed": r.rehearsed,
        "rehearsal_exit_code": r.rehearsal_exit_code,
    })
}

async fn list(State(site): State<Site>, Extension(principal): Extension<Principal>) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let all = site.registry.db().read().await?.crossing().recordings(i64::MAX, 100).await?;
    Ok(Json(json!({ "recordings": all.iter().map(row).collect::<Vec<_>>() })))
}

#[derive(Deserialize)]
struct Start {
    name: String,
    command: String,
}

async fn start(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Start>,
) -> Answer {
    may(&site, &principal, Action::Record)?;
    if !site.connected {
        return Err(Error::conflict("isolated", "an isolated site has no upstream to record from")
            .hint("record on the connected site, and bring it in with a transfer")
            .into());
    }
    let started = site.crossing.start_recording(&body.name, &body.command, &principal.actor()).await?;
    Ok(Json(json!({
        "id": started.id, "record_token": started.record.expose(), "replay_token": started.replay.expose(),
    })))
}

/// A recording by number, or the newest of a name.
async fn find(site: &Site, text: &str) -> Result<RecordingRow, Error> {
    if let Ok(id) = text.parse::<RecordingId>() {
        return site.crossing.recording(id).await;
    }
    let found = site.registry.db().read().await?.crossing().recording_by_name(text).await?;
    found.ok_or_else(|| Error::not_found(format!("there is no recording `{text}`")))
}

async fn show(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    Ok(Json(row(&find(&site, &id).await?)))
}

async fn collection(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let found = find(&site, &id).await?;
    value(&site.crossing.described_collection(found.id).await?)
}

async fn collection_file(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    may(&site, &principal, Action::TransferRead)?;
    let found = find(&site, &id).await?;
    let text = site.crossing.described_collection(found.id).await?.to_toml()?;
    Ok(download(&format!("{}{FILE_END}", found.name), text))
}

/// What a person decided about an item; without a decision, the last one is taken back.
#[derive(Deserialize)]
struct Decision {
    purl: String,
    decision: Option<String>,
    #[serde(default)]
    reason: String,
}

async fn decide(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    Body(body): Body<Decision>,
) -> Answer {
    may(&site, &principal, Action::Record)?;
    let found = find(&site, &id).await?;
    let decision = body.decision.as_deref().map(|kind| (kind, body.reason.as_str()));
    site.crossing.decide_item(found.id, &body.purl, decision, &principal.actor()).await?;
    value(&site.crossing.described_collection(found.id).await?)
}

/// What advisories say of the items, and which are not judged.
async fn judgement(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let found = find(&site, &id).await?;
    value(&site.crossing.judgement(found.id).await?)
}

async fn judged(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    Body(told): Body<Judgement>,
) -> Answer {
    may(&site, &principal, Action::Record)?;
    let found = find(&site, &id).await?;
    site.crossing.keep_judgement(found.id, told, &principal.actor()).await?;
    value(&site.crossing.judgement(found.id).await?)
}

/// The network logs of the recording and of its rehearsal, as their machine wrote them.
async fn network(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let found = find(&site, &id).await?;
    let (recorded, rehearsed) = site.crossing.observed(found.id).await?;
    Ok(Json(json!({ "recorded": recorded, "rehearsed": rehearsed })))
}

/// What each destination has not got yet.
async fn news(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let found = find(&site, &id).await?;
    Ok(Json(json!({ "news": site.crossing.news(found.id).await? })))
}

async fn end(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    Body(ended): Body<Ended>,
) -> Answer {
    may(&site, &principal, Action::Record)?;
    let found = find(&site, &id).await?;
    value(&site.crossing.end_recording(found.id, ended, &principal.actor()).await?)
}

#[derive(Deserialize)]
struct EndedRehearsal {
    exit_code: i64,
    #[serde(default)]
    observed: Observed,
}

async fn rehearsed(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    Body(body): Body<EndedRehearsal>,
) -> Answer {
    may(&site, &principal, Action::Record)?;
    let found = find(&site, &id).await?;
    let EndedRehearsal { exit_code, observed } = body;
    value(&site.crossing.end_rehearsal(found.id, exit_code, observed, &principal.actor()).await?)
}
