//! Transfers: pack, receive, look, vote, publish.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use cofferdam_access::{Action, Decision, Principal, Verdict};
use cofferdam_crossing::{DeltaLevel, DoorChoice, PackRequest, ReceiveRequest};
use cofferdam_store::{TransferRow, Tx};
use cofferdam_transfer::Profile;
use cofferdam_types::{Error, Result, Sha256, SiteName, TransferId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Body, person, value};
use crate::{Site, auth::may};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/transfers", get(list))
        .route("/api/v1/transfers/pack", post(pack))
        .route("/api/v1/transfers/receive", post(receive))
        .route("/api/v1/transfers/{id}", get(show))
        .route("/api/v1/transfers/{id}/difference", get(difference))
        .route("/api/v1/transfers/{id}/approve", post(approve))
        .route("/api/v1/transfers/{id}/reject", post(reject))
        .route("/api/v1/transfers/{id}/publish", post(publish))
}

async fn describe(tx: &mut Tx, t: &TransferRow) -> Result<Value> {
    let subject = format!("transfer:{}", t.id);
    let mut approval = Value::Null;
    if let Some(question) = tx.access().approval_of(cofferdam_crossing::SUBJECT_KIND, &subject).await? {
        let votes: Vec<_> = tx
            .access()
            .votes(question.id)
            .await?
            .into_iter()
            .map(|v| json!({ "person": v.name, "verdict": v.verdict, "reason": v.reason, "at": v.at }))
            .collect();
        let by = tx.access().person(question.requested_by).await?.map(|p| p.name);
        approval =
            json!({ "state": question.state, "needed": question.needed, "requested_by": by, "votes": votes });
    }
    Ok(json!({
        "id": t.id, "direction": t.direction, "stream": t.stream, "source": t.source, "seq": t.seq, "state": t.state,
        "header_sha256": t.header_sha256, "digest": t.digest, "bytes": t.bytes, "blobs": t.blobs,
        "created": t.created, "at": t.at, "actor": t.actor, "published": t.published, "approval": approval,
        "suite": t.suite, "folder": t.folder, "outcome": t.outcome,
    }))
}

async fn list(State(site): State<Site>, Extension(principal): Extension<Principal>) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let mut tx = site.registry.db().read().await?;
    let mut out = Vec::new();
    for row in tx.crossing().transfers(i64::MAX, 100).await? {
        out.push(describe(&mut tx, &row).await?);
    }
    Ok(Json(json!({ "transfers": out })))
}

async fn show(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<TransferId>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    let row = site.crossing.transfer(id).await?;
    let mut tx = site.registry.db().read().await?;
    Ok(Json(describe(&mut tx, &row).await?))
}

async fn difference(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<TransferId>,
) -> Answer {
    may(&site, &principal, Action::TransferRead)?;
    value(&site.crossing.difference(id).await?)
}

/// Goes on when the client goes away: a transfer that is on the medium must be known here too, and what is published
/// must get its references.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(work).await.map_err(|e| Error::internal("a crossing's task", e))?
}

#[derive(Deserialize)]
struct Pack {
    /// One destination, or several in `destinations`.
    destination: Option<SiteName>,
    #[serde(default)]
    destinations: Vec<SiteName>,
    #[serde(default)]
    recordings: Vec<String>,
    #[serde(default)]
    projects: Vec<String>,
    into: PathBuf,
    #[serde(default)]
    full: bool,
    #[serde(default)]
    assume_received: bool,
    #[serde(default)]
    new_epoch: bool,
    #[serde(default)]
    dry_run: bool,
    /// A profile makes it inspectable; without one it is sealed.
    profile: Option<Profile>,
    volume_size: Option<u64>,
    parity_permille: Option<u32>,
    /// `none`, `copy`, `prefix` or `deflate`.
    delta: Option<String>,
    /// The name under which `/api/v1/operations` tells how far it has come.
    operation: Option<String>,
}

impl Pack {
    fn door(&self) -> DoorChoice {
        if let Some(profile) = &self.profile {
            return DoorChoice::Inspectable(profile.clone());
        }
        DoorChoice::Sealed {
            volume_size: self.volume_size.unwrap_or(cofferdam_transfer::DEFAULT_VOLUME_BYTES),
            parity_permille: self.parity_permille.unwrap_or(50),
        }
    }

    fn level(&self) -> Result<DeltaLevel> {
        match self.delta.as_deref().unwrap_or("deflate") {
            "none" => Ok(DeltaLevel::None),
            "copy" => Ok(DeltaLevel::Copy),
            "prefix" => Ok(DeltaLevel::Prefix),
            "deflate" => Ok(DeltaLevel::Deflate),
            other => Err(Error::invalid("delta-level", format!("there is no delta level `{other}`"))
                .hint("levels are none, copy, prefix and deflate")),
        }
    }
}

async fn pack(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Pack>,
) -> Answer {
    may(&site, &principal, Action::TransferPack)?;
    let mut recordings = Vec::new();
    for name in &body.recordings {
        let id = match name.parse() {
            Ok(id) => id,
            Err(_) => {
                let found = site.registry.db().read().await?.crossing().recording_by_name(name).await?;
                found.ok_or_else(|| Error::not_found(format!("there is no recording `{name}`")))?.id
            }
        };
        recordings.push(id);
    }
    let (door, delta) = (body.door(), body.level()?);
    let meter = site.crossing.board().meter(body.operation.as_deref());
    let request = PackRequest {
        destinations: body.destination.into_iter().chain(body.destinations).collect(),
        recordings,
        projects: body.projects,
        into: body.into,
        full: body.full,
        assume_received: body.assume_received,
        door,
        delta,
        new_epoch: body.new_epoch,
        dry_run: body.dry_run,
    };
    let (crossing, actor) = (site.crossing.clone(), principal.actor());
    value(&to_its_end(async move { crossing.pack(request, &actor, &meter).await }).await?)
}

#[derive(Deserialize)]
struct Receive {
    /// One folder, or several in `folders`.
    path: Option<PathBuf>,
    #[serde(default)]
    folders: Vec<PathBuf>,
    accept_expired: Option<String>,
    accept_gap: Option<String>,
    #[serde(default)]
    repair: bool,
    /// The name under which `/api/v1/operations` tells how far it has come.
    operation: Option<String>,
}

async fn receive(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<Receive>,
) -> Answer {
    may(&site, &principal, Action::TransferReceive)?;
    let (id, actor) = person(&principal)?;
    let meter = site.crossing.board().meter(body.operation.as_deref());
    let folders = body.path.into_iter().chain(body.folders).collect();
    let request = ReceiveRequest {
        folders,
        accept_expired: body.accept_expired,
        accept_gap: body.accept_gap,
        repair: body.repair,
    };
    let crossing = site.crossing.clone();
    value(&to_its_end(async move { crossing.receive(request, (id, &actor), Arc::new(meter)).await }).await?)
}

#[derive(Deserialize)]
struct Vote {
    /// The digest of what the voter was shown.
    digest: Sha256,
    #[serde(default)]
    reason: String,
}

async fn vote(site: &Site, principal: &Principal, id: TransferId, verdict: Verdict, body: Vote) -> Answer {
    may(site, principal, Action::TransferApprove)?;
    let (by, actor) = person(principal)?;
    let decision = site.crossing.vote(id, (by, &actor), verdict, &body.reason, &body.digest).await?;
    let (state, yes) = match decision {
        Decision::Counted { yes } => ("open", yes),
        Decision::Approved => ("approved", cofferdam_access::approval::NEEDED),
        Decision::Rejected => ("rejected", 0),
    };
    Ok(Json(
        json!({ "transfer": id, "state": state, "yes": yes, "needed": cofferdam_access::approval::NEEDED }),
    ))
}

async fn approve(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<TransferId>,
    Body(body): Body<Vote>,
) -> Answer {
    vote(&site, &principal, id, Verdict::Yes, body).await
}

async fn reject(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<TransferId>,
    Body(body): Body<Vote>,
) -> Answer {
    vote(&site, &principal, id, Verdict::No, body).await
}

async fn publish(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<TransferId>,
) -> Answer {
    may(&site, &principal, Action::TransferPublish)?;
    person(&principal)?;
    let (crossing, actor) = (site.crossing.clone(), principal.actor());
    value(&to_its_end(async move { crossing.publish(id, &actor).await }).await?)
}
