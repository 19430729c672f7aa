//! What travels back and forth beside the packages: keys, receipts, repair requests, wants; the register of the media
//! that carry it, streams that are frozen, and how far long work has come.

use std::path::PathBuf;

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use cofferdam_access::{Action, Principal};
use cofferdam_crossing::MediumChange;
use cofferdam_trust::Envelope;
use cofferdam_types::{Error, Sha256, SiteName, TransferId};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Body, value};
use crate::{Site, auth::may};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/keys/recipient", post(recipient))
        .route("/api/v1/keys/root", post(root))
        .route("/api/v1/keys/forget", post(forget_key))
        .route("/api/v1/transfers/{id}/receipt", post(give_receipt))
        .route("/api/v1/receipts", post(take_receipt))
        .route("/api/v1/repairs/request", post(request_repair))
        .route("/api/v1/repairs/answer", post(answer_repair))
        .route("/api/v1/wants", get(wants).post(want))
        .route("/api/v1/wants/request", post(request_wants))
        .route("/api/v1/wants/take", post(take_wants))
        .route("/api/v1/media", get(media).post(put_medium))
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/streams/thaw", post(thaw))
        .route("/api/v1/operations/{name}", get(operation))
}

#[derive(Deserialize)]
struct Recipient {
    site: SiteName,
    recipient: String,
}

async fn recipient(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Recipient>,
) -> Answer {
    may(&site, &principal, Action::RepositoryManage)?;
    let recipient = body.recipient.parse().map_err(|e: Error| e)?;
    site.crossing.add_recipient(&body.site, &recipient, &principal.actor()).await?;
    Ok(Json(json!({ "site": body.site, "recipient": recipient })))
}

pub(super) async fn known_sites(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    Ok(Json(json!({ "sites": site.crossing.known_sites().await? })))
}

#[derive(Deserialize)]
struct Forgotten {
    site: SiteName,
    key: String,
}

async fn forget_key(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Forgotten>,
) -> Answer {
    may(&site, &principal, Action::RepositoryManage)?;
    site.crossing.forget_key(&body.site, body.key.trim(), &principal.actor()).await?;
    Ok(Json(json!({ "site": body.site, "forgotten": body.key.trim() })))
}

#[derive(Deserialize)]
struct RootDocument {
    site: SiteName,
    root: Envelope,
    fingerprint: Option<Sha256>,
}

async fn root(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<RootDocument>,
) -> Answer {
    may(&site, &principal, Action::RepositoryManage)?;
    let root = site.crossing.trust_root(&body.site, &body.root, body.fingerprint, &principal.actor()).await?;
    let fingerprint = root.fingerprint()?;
    Ok(Json(json!({
        "site": body.site, "version": root.version, "fingerprint": fingerprint, "expires": root.expires,
    })))
}

#[derive(Deserialize)]
struct Level {
    #[serde(default)]
    level: Option<u8>,
}

async fn give_receipt(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<TransferId>,
    Body(body): Body<Level>,
) -> Answer {
    may(&site, &principal, Action::TransferReceive)?;
    value(&site.crossing.give_receipt(id, body.level, &principal.actor()).await?)
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

async fn take_receipt(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Text>,
) -> Answer {
    may(&site, &principal, Action::TransferPack)?;
    value(&site.crossing.take_receipt(&body.text, &principal.actor()).await?)
}

#[derive(Deserialize)]
struct Folders {
    folders: Vec<PathBuf>,
}

async fn request_repair(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Folders>,
) -> Answer {
    may(&site, &principal, Action::TransferReceive)?;
    let (request, bytes) = site.crossing.request_repair(body.folders, &principal.actor()).await?;
    Ok(Json(json!({ "request": request, "bytes": bytes })))
}

#[derive(Deserialize)]
struct Answered {
    request: String,
    from: Option<PathBuf>,
    into: PathBuf,
}

async fn answer_repair(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Answered>,
) -> Answer {
    may(&site, &principal, Action::TransferPack)?;
    value(&site.crossing.answer_repair(&body.request, body.from, body.into, &principal.actor()).await?)
}

async fn wants(State(site): State<Site>, Extension(principal): Extension<Principal>) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let wants: Vec<_> = site
        .crossing
        .wants()
        .await?
        .into_iter()
        .map(|w| {
            json!({
                "id": w.id, "site": w.site, "format": w.format, "package": w.package, "version": w.version,
                "asked": w.asked, "note": w.note, "actor": w.actor, "state": w.state, "first": w.first, "last": w.last, "transfer": w.transfer,
            })
        })
        .collect();
    Ok(Json(json!({ "wants": wants })))
}

#[derive(Deserialize)]
struct Wanted {
    format: String,
    package: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    note: String,
}

async fn want(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Wanted>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let Wanted { format, package, version, note } = body;
    site.crossing.want(&format, &package, &version, &note, &principal.actor()).await?;
    Ok(Json(json!({ "format": format, "package": package, "version": version })))
}

async fn request_wants(State(site): State<Site>, Extension(principal): Extension<Principal>) -> Answer {
    may(&site, &principal, Action::TransferReceive)?;
    let (request, items) = site.crossing.request_wants(&principal.actor()).await?;
    Ok(Json(json!({ "request": request, "items": items })))
}

async fn take_wants(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Text>,
) -> Answer {
    may(&site, &principal, Action::TransferPack)?;
    let (from, items) = site.crossing.take_wants(&body.text, &principal.actor()).await?;
    Ok(Json(json!({ "site": from, "items": items })))
}

fn medium(m: &cofferdam_store::MediumRow) -> serde_json::Value {
    json!({
        "serial": m.serial, "transfer": m.transfer, "label": m.label, "files": m.files.lines().collect::<Vec<_>>(),
        "holder": m.holder, "state": m.state, "at": m.at, "actor": m.actor,
    })
}

async fn media(State(site): State<Site>, Extension(principal): Extension<Principal>) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let all: Vec<_> = site.crossing.media().await?.iter().map(medium).collect();
    Ok(Json(json!({ "media": all })))
}

#[derive(Deserialize)]
struct Custody {
    serial: String,
    transfer: Option<TransferId>,
    label: Option<String>,
    files: Option<Vec<String>>,
    holder: String,
    state: String,
}

async fn put_medium(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Custody>,
) -> Answer {
    may(&site, &principal, Action::TransferReceive)?;
    let Custody { serial, transfer, label, files, holder, state } = body;
    let change = MediumChange { serial, transfer, label, files, holder, state };
    let row = site.crossing.put_medium(change, &principal.actor()).await?;
    Ok(Json(medium(&row)))
}

async fn streams(State(site): State<Site>, Extension(principal): Extension<Principal>) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let rows = site.crossing.frozen_streams().await?;
    let frozen: Vec<_> = rows
        .into_iter()
        .map(|(stream, reason, at)| json!({ "stream": stream, "reason": reason, "at": at }))
        .collect();
    Ok(Json(json!({ "frozen": frozen })))
}

#[derive(Deserialize)]
struct Thaw {
    stream: String,
    reason: String,
}

async fn thaw(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Thaw>,
) -> Answer {
    may(&site, &principal, Action::RepositoryManage)?;
    site.crossing.thaw(&body.stream, &body.reason, &principal.actor()).await?;
    Ok(Json(json!({ "stream": body.stream })))
}

async fn operation(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(name): Path<String>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    value(&site.crossing.board().stand(&name))
}
