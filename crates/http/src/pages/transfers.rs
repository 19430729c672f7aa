//! Transfers: their state, what they change, who has approved, and the forms to do so.

use axum::{
    Form, Router,
    extract::{OriginalUri, Path, Query},
    http::HeaderMap,
    response::{IntoResponse as _, Redirect},
    routing::{get, post},
};
use cofferdam_access::{Action, Verdict};
use cofferdam_crossing::SUBJECT_KIND;
use cofferdam_store::{ApprovalRow, TransferRow, Tx, VoteRow};
use cofferdam_types::{Error, ErrorKind, Result, Sha256, TransferId};
use cofferdam_web::{
    Frame,
    transfers::{Acts, Approval, Transfer, TransferLine, Transfers, Vote},
    values::{Size, State, When},
};
use serde::Deserialize;

use super::{
    Answer, Failed, MANY, PAGE, Page,
    difference::{projects, rehearsals, sections},
    dress::show,
    media, next_of, number, origin, receipts,
};
use crate::{
    Site,
    api::{person, transfers::to_its_end},
    problem,
};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/transfers", get(list))
        .route("/transfers/{id}", get(one))
        .route("/transfers/{id}/approve", post(approve))
        .route("/transfers/{id}/reject", post(reject))
        .route("/transfers/{id}/publish", post(publish))
}

type Asked = Option<(ApprovalRow, Vec<VoteRow>)>;

async fn question(tx: &mut Tx, id: TransferId) -> Result<Asked> {
    let Some(row) = tx.access().approval_of(SUBJECT_KIND, &format!("transfer:{id}")).await? else {
        return Ok(None);
    };
    let votes = tx.access().votes(row.id).await?;
    Ok(Some((row, votes)))
}

fn yes(votes: &[VoteRow]) -> usize {
    votes.iter().filter(|v| v.verdict == "yes").count()
}

fn line(t: &TransferRow, asked: &Asked) -> TransferLine {
    let approval = asked.as_ref().map(|(row, votes)| (State(row.state.clone()), yes(votes), row.needed));
    TransferLine {
        id: t.id.0,
        direction: t.direction.clone(),
        stream: t.stream.clone(),
        seq: t.seq,
        state: State(t.state.clone()),
        size: Size(t.bytes),
        at: When(t.at),
        actor: t.actor.clone(),
        approval,
    }
}

/// A page of transfers as lines.
pub(super) async fn lines(site: &Site, before: i64, limit: usize) -> Result<Vec<TransferLine>> {
    let mut tx = site.registry.db().read().await?;
    let mut out = Vec::new();
    for row in tx.crossing().transfers(before, limit).await? {
        let asked = question(&mut tx, row.id).await?;
        out.push(line(&row, &asked));
    }
    Ok(out)
}

#[derive(Deserialize)]
struct Before {
    before: Option<i64>,
}

async fn list(page: Page, Query(query): Query<Before>) -> Answer {
    page.may(Action::TransferRead)?;
    let transfers = lines(&page.site, query.before.unwrap_or(i64::MAX), PAGE).await?;
    let next = next_of(&transfers, PAGE, |t| t.id);
    show(&Transfers { frame: page.frame(), transfers, next })
}

async fn one(page: Page, Path(id): Path<String>) -> Answer {
    page.may(Action::TransferRead)?;
    show(&load(&page, TransferId(number(&id)?), page.frame()).await?)
}

/// The page of a transfer.
pub(super) async fn load(page: &Page, id: TransferId, frame: Frame) -> Result<Transfer> {
    let row = page.site.crossing.transfer(id).await?;
    let difference = page.site.crossing.difference(id).await?;
    let receipts = receipts::of(page, &row).await?;
    let mut tx = page.site.registry.db().read().await?;
    let asked = question(&mut tx, id).await?;
    let refused = refused(&mut tx, id).await?;
    let on_media = tx.carry().media_page("", "", Some(id), PAGE).await?;
    let acts = acts(page, &row, &asked);
    let line = line(&row, &asked);
    let approval = match asked {
        Some((question, votes)) => Some(approval(&mut tx, question, votes).await?),
        None => None,
    };
    let mut facts = vec![
        ("Written by", row.source),
        ("Written", format!("{} UTC", When(row.created))),
        (
            if row.direction == "sent" { "Sent" } else { "Received" },
            format!("{} UTC by {}", When(row.at), row.actor),
        ),
        ("Files carried", row.blobs.to_string()),
        ("Header", row.header_sha256.to_hex()),
    ];
    if let Some(at) = row.published {
        facts.push(("Published", format!("{} UTC", When(at))));
    }
    if !row.outcome.is_empty() {
        let who = if row.direction == "sent" { "The receiver says" } else { "Receipts say" };
        facts.push((who, row.outcome.clone()));
    }
    facts.push(("On the medium", row.suite.clone()));
    if row.direction == "sent" {
        facts.push(("Folder at the site", row.folder.clone()));
    }
    let (projects, statements) = (projects(&difference), difference.statements);
    let mut notable = difference.notable.clone();
    notable.truncate(MANY);
    let sizes =
        difference.sizes.iter().map(|(name, (bytes, count))| (name.clone(), *count, Size(*bytes))).collect();
    let rehearsals = rehearsals(&difference);
    let sections = sections(difference);
    let digest = row.digest.to_hex();
    Ok(Transfer {
        frame,
        line,
        facts,
        digest,
        approval,
        refused,
        sections,
        notable,
        sizes,
        rehearsals,
        projects,
        statements,
        acts,
        more_media: next_of(&on_media, PAGE, |_| ()).is_some(),
        media: on_media.iter().map(media::line).collect(),
        register: page.can(Action::TransferReceive),
        receipts,
    })
}

async fn approval(tx: &mut Tx, row: ApprovalRow, votes: Vec<VoteRow>) -> Result<Approval> {
    let by = tx.access().person(row.requested_by).await?.map(|p| p.name);
    Ok(Approval {
        yes: yes(&votes),
        needed: row.needed,
        requested_by: by.unwrap_or_else(|| format!("person {}", row.requested_by)),
        at: When(row.created),
        state: State(row.state),
        votes: votes
            .into_iter()
            .map(|v| Vote { person: v.name, verdict: State(v.verdict), reason: v.reason, at: When(v.at) })
            .collect(),
    })
}

/// What the forms offer. Whether an act is allowed is decided again when it is done.
fn acts(page: &Page, row: &TransferRow, asked: &Asked) -> Acts {
    let Some((question, votes)) = asked.as_ref().filter(|_| row.state == "quarantined") else {
        return Acts::default();
    };
    let mut acts = Acts {
        publish: question.state == "approved"
            && page.can(Action::TransferPublish)
            && page.who.person().is_some(),
        ..Acts::default()
    };
    if let Some(me) =
        page.who.person().filter(|_| question.state == "open" && page.can(Action::TransferApprove))
    {
        if question.requested_by == me {
            acts.vote_not = Some("You asked for this, so two other people have to approve it.".into());
        } else if votes.iter().any(|v| v.person == me) {
            acts.vote_not = Some("You have voted.".into());
        } else {
            acts.vote = true;
        }
    }
    acts
}

/// What inspection refused, of every kind.
async fn refused(tx: &mut Tx, id: TransferId) -> Result<Vec<(String, String)>> {
    let (mut out, mut from) = (Vec::new(), 0);
    loop {
        let items = tx.crossing().items(id, from, 500).await?;
        let Some(last) = items.last() else { return Ok(out) };
        from = last.n + 1;
        for item in items.into_iter().filter(|i| i.verdict != "ok") {
            let what =
                if item.purl.is_empty() { format!("{} {}", item.kind, item.repository) } else { item.purl };
            out.push((what, item.verdict));
        }
        if out.len() >= MANY {
            return Ok(out);
        }
    }
}

#[derive(Deserialize)]
struct Ballot {
    /// The digest of what the voter was shown.
    digest: String,
    #[serde(default)]
    reason: String,
}

async fn approve(
    page: Page,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Form(ballot): Form<Ballot>,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    let id = TransferId(number(&id)?);
    let done = vote(&page, id, Verdict::Yes, &ballot).await;
    answer(&page, id, done).await
}

async fn reject(
    page: Page,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Form(ballot): Form<Ballot>,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    let id = TransferId(number(&id)?);
    let done = vote(&page, id, Verdict::No, &ballot).await;
    answer(&page, id, done).await
}

async fn vote(page: &Page, id: TransferId, verdict: Verdict, ballot: &Ballot) -> Result<()> {
    page.may(Action::TransferApprove)?;
    let (by, actor) = person(&page.who)?;
    let digest: Sha256 =
        ballot.digest.parse().map_err(|_| Error::invalid("bad-digest", "the form has no digest"))?;
    page.site.crossing.vote(id, (by, &actor), verdict, &ballot.reason, &digest).await.map(drop)
}

async fn publish(
    page: Page,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    let id = TransferId(number(&id)?);
    let done = async {
        page.may(Action::TransferPublish)?;
        person(&page.who)?;
        let (crossing, actor) = (page.site.crossing.clone(), page.who.actor());
        to_its_end(async move { crossing.publish(id, &actor).await }).await.map(drop)
    };
    let done = done.await;
    answer(&page, id, done).await
}

/// The transfer again: by a redirect when it was done, with the refusal at its top when not.
async fn answer(page: &Page, id: TransferId, done: Result<()>) -> Answer {
    let Err(error) = done else {
        return Ok(Redirect::to(&format!("/transfers/{id}")).into_response());
    };
    let here = matches!(
        error.kind(),
        ErrorKind::PolicyRefused
            | ErrorKind::AwaitingApproval
            | ErrorKind::Conflict
            | ErrorKind::VerificationFailed
    );
    if !here || page.may(Action::TransferRead).is_err() {
        return Err(Failed(error));
    }
    let shown = show(&load(page, id, page.frame_with(&error)).await?)?;
    Ok((problem::status(error.kind()), shown).into_response())
}
