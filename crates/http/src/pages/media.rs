//! The register of media: which transfer each carries, who has it, and the chain of custody.

use axum::{
    Form, Router,
    extract::{OriginalUri, Path, Query},
    http::HeaderMap,
    response::{IntoResponse as _, Redirect},
    routing::get,
};
use cofferdam_access::Action;
use cofferdam_crossing::{Custody, MEDIUM_STATES, MOST_MOVES, MediumChange};
use cofferdam_store::MediumRow;
use cofferdam_types::{Error, Result, TransferId};
use cofferdam_web::{
    Frame,
    paperwork::{CustodyLine, Media, Medium, MediumForm, MediumLine},
    values::{State, When},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Answer, Failed, PAGE, Page, dress::show, next_of, origin, tellable};
use crate::{Site, problem};

/// The longest list of files that a person types.
const MOST_FILES: usize = 10_000;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/media", get(list).post(register)).route("/media/{serial}", get(one).post(move_on))
}

/// A medium as a line.
pub(super) fn line(row: &MediumRow) -> MediumLine {
    MediumLine {
        serial: row.serial.clone(),
        transfer: row.transfer.0,
        label: row.label.clone(),
        holder: row.holder.clone(),
        state: State(row.state.clone()),
        at: When(row.at),
        actor: row.actor.clone(),
    }
}

#[derive(Default, Deserialize)]
struct Find {
    #[serde(default)]
    after: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    transfer: String,
}

async fn list(page: Page, Query(find): Query<Find>) -> Answer {
    page.may(Action::TransferRead)?;
    let form = MediumForm { transfer: find.transfer.clone(), ..empty() };
    show(&load_all(&page, find, form, page.frame()).await?)
}

async fn load_all(page: &Page, find: Find, form: MediumForm, frame: Frame) -> Result<Media> {
    let transfer = transfer_in(&find.transfer)?;
    let mut tx = page.site.registry.db().read().await?;
    let rows = tx.carry().media_page(&find.after, &find.state, transfer, PAGE).await?;
    Ok(Media {
        frame,
        next: next_of(&rows, PAGE, |row| row.serial.clone()),
        media: rows.iter().map(line).collect(),
        state: find.state,
        transfer: find.transfer,
        states: &MEDIUM_STATES,
        form: page.can(Action::TransferReceive).then_some(form),
    })
}

async fn one(page: Page, Path(serial): Path<String>) -> Answer {
    page.may(Action::TransferRead)?;
    show(&load(&page, &serial, None, page.frame()).await?)
}

async fn load(page: &Page, serial: &str, typed: Option<MediumForm>, frame: Frame) -> Result<Medium> {
    let row = page.site.crossing.medium(serial).await?;
    let custody = page.site.crossing.custody(serial).await?.into_iter().map(custody).collect::<Vec<_>>();
    let form = typed.unwrap_or_else(|| MediumForm {
        serial: row.serial.clone(),
        fixed: true,
        transfer: row.transfer.to_string(),
        label: row.label.clone(),
        state: row.state.clone(),
        // Not filled in: who has it now is what the form asks.
        ..empty()
    });
    let may = page.can(Action::TransferReceive) && row.state != "destroyed";
    Ok(Medium {
        frame,
        line: line(&row),
        files: row.files.lines().take(super::MANY).map(str::to_owned).collect(),
        newest: (custody.len() >= MOST_MOVES).then_some(MOST_MOVES),
        custody,
        form: may.then_some(form),
    })
}

fn custody(entry: Custody) -> CustodyLine {
    CustodyLine {
        index: entry.index,
        at: When(entry.at),
        actor: entry.actor,
        state: State(entry.state),
        holder: entry.holder,
        transfer: entry.transfer.0,
    }
}

fn empty() -> MediumForm {
    MediumForm { states: &MEDIUM_STATES, ..MediumForm::default() }
}

/// The number of a transfer that somebody typed; `None` for nothing.
fn transfer_in(text: &str) -> Result<Option<TransferId>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let id = text.parse().map_err(|_| {
        Error::invalid("bad-number", "a transfer is told by its number at this site")
            .hint("the page Transfers has the numbers")
    })?;
    Ok(Some(TransferId(id)))
}

#[derive(Deserialize)]
struct Move {
    #[serde(default)]
    serial: String,
    #[serde(default)]
    transfer: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    holder: String,
    state: String,
    #[serde(default)]
    files: String,
}

impl Move {
    fn typed(&self, fixed: bool) -> MediumForm {
        MediumForm {
            serial: self.serial.clone(),
            fixed,
            transfer: self.transfer.clone(),
            label: self.label.clone(),
            holder: self.holder.clone(),
            state: self.state.clone(),
            files: self.files.clone(),
            ..empty()
        }
    }

    /// What was left empty stays as it was.
    fn change(&self) -> Result<MediumChange> {
        let kept = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let files: Vec<String> = self.files.lines().filter_map(kept).collect();
        if files.len() > MOST_FILES {
            return Err(Error::invalid("medium-files", format!("a medium may list {MOST_FILES} files")));
        }
        let holder = kept(&self.holder).ok_or_else(|| {
            Error::invalid("medium-holder", "it is not said who has the medium now")
                .hint("write a person's name, or the safe it lies in")
        })?;
        Ok(MediumChange {
            serial: self.serial.clone(),
            transfer: transfer_in(&self.transfer)?,
            label: kept(&self.label),
            files: Some(files).filter(|files| !files.is_empty()),
            holder,
            state: self.state.clone(),
        })
    }
}

async fn put(page: &Page, moved: &Move) -> Result<String> {
    page.may(Action::TransferReceive)?;
    let row = page.site.crossing.put_medium(moved.change()?, &page.who.actor()).await?;
    Ok(format!("/media/{}", utf8_percent_encode(&row.serial, NON_ALPHANUMERIC)))
}

async fn register(
    page: Page,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Form(moved): Form<Move>,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    let error = match put(&page, &moved).await {
        Ok(there) => return Ok(Redirect::to(&there).into_response()),
        Err(error) => error,
    };
    if !tellable(&error) {
        return Err(Failed(error));
    }
    let frame = page.frame_with(&error);
    let shown = show(&load_all(&page, Find::default(), moved.typed(false), frame).await?)?;
    Ok((problem::status(error.kind()), shown).into_response())
}

async fn move_on(
    page: Page,
    Path(serial): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Form(mut moved): Form<Move>,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    page.may(Action::TransferReceive)?;
    // The address says which medium is meant, and it is one that is there.
    moved.serial = page.site.crossing.medium(&serial).await?.serial;
    let error = match put(&page, &moved).await {
        Ok(there) => return Ok(Redirect::to(&there).into_response()),
        Err(error) => error,
    };
    if !tellable(&error) {
        return Err(Failed(error));
    }
    let frame = page.frame_with(&error);
    let shown = show(&load(&page, &serial, Some(moved.typed(true)), frame).await?)?;
    Ok((problem::status(error.kind()), shown).into_response())
}
