//! HTML for people: the same use cases as the API, rendered by the `web` crate.
//!
//! | address | module | who |
//! |---|---|---|
//! | `/` | [`overview`] | anybody; each part only for those who may see it |
//! | `/login` `/logout` | [`login`] | anybody |
//! | `/transfers…` | [`transfers`] [`receipts`] | `transfer.read`; voting, publishing and receipts as in the API |
//! | `/media…` | [`media`] | `transfer.read`; writing in the register as in the API |
//! | `/wants…` | [`wants`] | `transfer.read`; requests as in the API |
//! | `/repositories…` | [`packages`] | `package.read` |
//! | `/recordings…` | [`recordings`] | `transfer.read` |
//! | `/projects…` `/pipelines/…` `/jobs/…` | [`forge`] [`jobs`] | `project.read` |
//! | `/audit` | [`audit`] | `audit.read` |
//! | `/assets/…` | [`assets`] | anybody |
//!
//! A handler loads, fills a struct of `web` and returns [`Page`], or an error that [`dress`] shows
//! as a page. Nothing here may decide anything, and a form may act only when it was sent from our
//! own pages ([`origin`]).

mod assets;
mod audit;
mod difference;
mod dress;
mod forge;
mod jobs;
mod login;
mod media;
mod origin;
mod overview;
mod packages;
mod receipts;
mod recordings;
mod transfers;
pub(crate) mod upload;
mod wants;

use axum::{Router, extract::DefaultBodyLimit, middleware, response::Response};
use cofferdam_types::{Error, ErrorKind, Result};

pub(crate) use dress::{Failed, Page};

use crate::Site;

/// Rows of one page.
const PAGE: usize = 50;
/// Rows of a list that has no pages of its own.
const MANY: usize = 300;
/// Bytes of a form.
const FORM: usize = 64 * 1024;

type Answer = Result<Response, Failed>;

pub(crate) fn routes(site: &Site) -> Router<Site> {
    Router::new()
        .merge(overview::routes())
        .merge(login::routes())
        .merge(transfers::routes())
        .merge(receipts::routes())
        .merge(media::routes())
        .merge(wants::routes())
        .merge(packages::routes())
        .merge(recordings::routes())
        .merge(forge::routes())
        .merge(jobs::routes())
        .merge(audit::routes())
        .layer(middleware::from_fn_with_state(site.clone(), dress::dress))
        .layer(DefaultBodyLimit::max(FORM))
        .merge(assets::routes())
}

/// A number in an address; what is no number has no page.
fn number(text: &str) -> Result<i64> {
    text.parse().map_err(|_| Error::not_found(format!("there is nothing called `{}` here", short(text))))
}

/// Whether an error is about what was typed or given, so that the form is shown again with it; everything else has a
/// page of its own.
fn tellable(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Invalid
            | ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::TooLarge
            | ErrorKind::VerificationFailed
    )
}

/// Text from outside, short enough to be repeated in a message.
fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The place where the next page begins, when this one is full.
fn next_of<T, K>(rows: &[T], size: usize, key: impl FnOnce(&T) -> K) -> Option<K> {
    (rows.len() == size).then(|| rows.last().map(key)).flatten()
}
