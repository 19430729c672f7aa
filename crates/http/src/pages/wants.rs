//! What is wanted, and the signed requests that carry it from one site to another.

use axum::{
    Form, Router,
    extract::{OriginalUri, Query, Request},
    http::HeaderMap,
    response::{IntoResponse as _, Redirect},
    routing::{get, post},
};
use cofferdam_access::Action;
use cofferdam_crossing::WANT_STATES;
use cofferdam_store::WantRow;
use cofferdam_types::{Error, Result};
use cofferdam_web::{
    Frame,
    paperwork::{WantForm, WantLine, Wants},
    values::{State, When},
};
use serde::Deserialize;

use super::{
    Answer, Failed, PAGE, Page,
    dress::show,
    next_of, origin, tellable,
    upload::{self, download},
};
use crate::{Site, problem};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/wants", get(list).post(add))
        .route("/wants/request", post(request))
        .route("/wants/take", post(take))
}

fn line(row: WantRow) -> WantLine {
    WantLine {
        site: row.site,
        format: row.format,
        package: row.package,
        version: row.version,
        asked: row.asked,
        note: row.note,
        actor: row.actor,
        state: State(row.state),
        last: When(row.last),
        transfer: row.transfer.map(|id| id.0),
    }
}

#[derive(Default, Deserialize)]
struct Find {
    before: Option<i64>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    site: String,
}

async fn list(page: Page, Query(find): Query<Find>) -> Answer {
    page.may(Action::TransferRead)?;
    show(&load(&page, find, WantForm::default(), page.frame()).await?)
}

async fn load(page: &Page, find: Find, form: WantForm, frame: Frame) -> Result<Wants> {
    let here = page.site.name.to_string();
    let of = find.site.trim().to_owned();
    let mut tx = page.site.registry.db().read().await?;
    let before = find.before.unwrap_or(i64::MAX);
    let rows = tx.carry().newest_wants(before, &find.state, &of, PAGE).await?;
    let open = !tx.carry().open_wants(&here, 1).await?.is_empty();
    Ok(Wants {
        frame,
        next: next_of(&rows, PAGE, |row| row.id),
        wants: rows.into_iter().map(line).collect(),
        state: find.state,
        of,
        states: &WANT_STATES,
        form: WantForm { formats: page.site.registry.formats().map(|f| f.name()).collect(), ..form },
        request: open && page.can(Action::TransferReceive),
        take: page.can(Action::TransferPack),
    })
}

/// The list again, with the refusal at its top.
async fn refused(page: &Page, error: Error, form: WantForm) -> Answer {
    if !tellable(&error) || page.may(Action::TransferRead).is_err() {
        return Err(Failed(error));
    }
    let shown = show(&load(page, Find::default(), form, page.frame_with(&error)).await?)?;
    Ok((problem::status(error.kind()), shown).into_response())
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

async fn add(
    page: Page,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Form(want): Form<Wanted>,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    page.may(Action::TransferRead)?;
    let Wanted { format, package, version, note } = want;
    let (package, version) = (package.trim().to_owned(), version.trim().to_owned());
    let done = page.site.crossing.want(&format, &package, &version, &note, &page.who.actor()).await;
    match done {
        Ok(()) => Ok(Redirect::to("/wants").into_response()),
        Err(error) => {
            let form = WantForm { format, package, version, note, ..WantForm::default() };
            refused(&page, error, form).await
        }
    }
}

async fn request(page: Page, OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    page.may(Action::TransferReceive)?;
    match page.site.crossing.request_wants(&page.who.actor()).await {
        Ok((text, _)) => Ok(download(&format!("wants-{}.json", page.site.name), text)),
        Err(error) => refused(&page, error, WantForm::default()).await,
    }
}

async fn take(page: Page, OriginalUri(uri): OriginalUri, request: Request) -> Answer {
    origin::check(request.headers(), &uri, page.site.registry.public_url())?;
    page.may(Action::TransferPack)?;
    let taken = async {
        let text = upload::text(request).await?;
        page.site.crossing.take_wants(&text, &page.who.actor()).await
    };
    match taken.await {
        // A site's name needs no escaping.
        Ok((site, _)) => Ok(Redirect::to(&format!("/wants?site={site}")).into_response()),
        Err(error) => refused(&page, error, WantForm::default()).await,
    }
}
