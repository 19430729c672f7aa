//! Receipts about a transfer: given as a file and as a page to print, taken from a file or from words.

use axum::{
    Form, Router,
    extract::{OriginalUri, Path, Request},
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse as _, Redirect},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_access::Action;
use cofferdam_crossing::KeptReceipt;
use cofferdam_store::TransferRow;
use cofferdam_types::{Error, Result, TransferId};
use cofferdam_web::{
    paper::{ReceiptFacts, ReceiptPaper, receipt_page, style_digest},
    paperwork::{ReceiptLine, Receipts},
    values::{State, When},
};
use serde::Deserialize;

use super::{
    Answer, Failed, MANY, Page,
    dress::show,
    number, origin, tellable, transfers,
    upload::{self, download},
};
use crate::{Site, problem};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/transfers/{id}/receipt", post(give))
        .route("/transfers/{id}/receipt/{receipt}", get(paper))
        .route("/transfers/{id}/receipt/{receipt}/file", get(file))
        .route("/transfers/{id}/take-receipt", post(take))
}

/// The part of a transfer's page.
pub(super) async fn of(page: &Page, row: &TransferRow) -> Result<Receipts> {
    let all = page.site.crossing.receipts(row.id).await?.into_iter().map(line).collect();
    let give = row.direction == "received" && page.can(Action::TransferReceive);
    let levels = if give { (0..=page.site.crossing.receipt_level()).collect() } else { Vec::new() };
    Ok(Receipts { all, levels, take: row.direction == "sent" && page.can(Action::TransferPack) })
}

fn line(kept: KeptReceipt) -> ReceiptLine {
    let mut says = Vec::new();
    if let Some(receipt) = kept.says {
        says.extend(receipt.inventory.map(|i| format!("blobs of this stream that are held: {}", i.count)));
        says.extend(receipt.unreadable.into_iter().map(|name| format!("could not be read: {name}")));
        says.extend(receipt.refused.into_iter().map(|(what, why)| format!("refused: {what}: {why}")));
        if !receipt.held.is_empty() {
            says.push(format!("names the digests of {} of them", receipt.held.len()));
        }
    }
    says.truncate(MANY);
    ReceiptLine {
        id: kept.row.id,
        given: kept.row.direction == "given",
        site: kept.row.site,
        outcome: State(kept.row.outcome),
        at: When(kept.row.at),
        actor: kept.row.actor,
        file: !kept.row.envelope.is_empty(),
        says,
    }
}

#[derive(Deserialize)]
struct Level {
    level: u8,
}

async fn give(
    page: Page,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Form(Level { level }): Form<Level>,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    page.may(Action::TransferReceive)?;
    let id = TransferId(number(&id)?);
    match page.site.crossing.give_receipt(id, Some(level), &page.who.actor()).await {
        Ok(_) => Ok(Redirect::to(&format!("/transfers/{id}#receipts")).into_response()),
        Err(error) => refused(&page, id, error).await,
    }
}

async fn kept(page: &Page, id: &str, receipt: &str) -> Result<KeptReceipt> {
    page.may(Action::TransferRead)?;
    page.site.crossing.kept_receipt(TransferId(number(id)?), number(receipt)?).await
}

/// The page to print. It has a style of its own, which is the only one that it may have.
async fn paper(page: Page, Path((id, receipt)): Path<(String, String)>) -> Answer {
    let given = page.site.crossing.given_receipt(&kept(&page, &id, &receipt).await?)?;
    let says = given.receipt;
    let facts = ReceiptFacts {
        site: says.site.to_string(),
        stream: says.transfer.stream,
        epoch: says.transfer.epoch,
        seq: says.transfer.seq,
        outcome: says.outcome.as_str().to_owned(),
        at: says.at.to_string(),
        identity: says.transfer.header_sha256.to_hex(),
        held: says.inventory.map(|inventory| inventory.count),
    };
    let html = receipt_page(&ReceiptPaper::of(&facts, given.words, &given.compact))?;
    let mut response = Html(html).into_response();
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        STANDARD.encode(style_digest().0)
    );
    let policy = HeaderValue::try_from(policy).map_err(|e| Error::internal("a page's policy", e))?;
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

async fn file(page: Page, Path((id, receipt)): Path<(String, String)>) -> Answer {
    let kept = kept(&page, &id, &receipt).await?;
    if kept.row.envelope.is_empty() {
        return Err(Failed(Error::not_found(
            "this receipt came as words or as a code: there is no file of it",
        )));
    }
    let name = match &kept.says {
        Some(says) => {
            let about = &says.transfer;
            format!("receipt-{}-{}-{:06}.json", about.stream, about.epoch, about.seq)
        }
        None => format!("receipt-{}.json", kept.row.id),
    };
    Ok(download(&name, kept.row.envelope))
}

/// Takes a receipt. It says itself which transfer it is about, so that one is shown.
async fn take(page: Page, Path(id): Path<String>, OriginalUri(uri): OriginalUri, request: Request) -> Answer {
    origin::check(request.headers(), &uri, page.site.registry.public_url())?;
    page.may(Action::TransferPack)?;
    let id = TransferId(number(&id)?);
    let taken = async {
        let text = upload::text(request).await?;
        page.site.crossing.take_receipt(&text, &page.who.actor()).await
    };
    match taken.await {
        Ok(taken) if taken.warnings.is_empty() => {
            Ok(Redirect::to(&format!("/transfers/{}#receipts", taken.transfer)).into_response())
        }
        // Nothing keeps a warning: it is shown now.
        Ok(taken) => {
            let text = format!("the receipt was taken: transfer {} is {}", taken.transfer, taken.outcome);
            let frame = page.frame_told(text, Some(taken.warnings.join("; ")));
            show(&transfers::load(&page, taken.transfer, frame).await?)
        }
        Err(error) => refused(&page, id, error).await,
    }
}

async fn refused(page: &Page, id: TransferId, error: Error) -> Answer {
    if !tellable(&error) || page.may(Action::TransferRead).is_err() {
        return Err(Failed(error));
    }
    let shown = show(&transfers::load(page, id, page.frame_with(&error)).await?)?;
    Ok((problem::status(error.kind()), shown).into_response())
}
