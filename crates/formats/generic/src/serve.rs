//! Reads: the route of a request, files, and the way to a folder's listing.

use cofferdam_format_kit::{Answer, Request, Route, View};
use cofferdam_types::{Error, Result};
use http::{Method, header};

use crate::{
    coords::{self, Place},
    index,
};

/// See the table in the crate's documentation.
pub fn route(request: &Request) -> Option<Route> {
    let place = Place::read(&request.path).ok()?;
    match (&request.method, place.folder) {
        (&Method::GET, true) => Some(Route::Api("list")),
        (&Method::GET, false) => {
            let package = Some(coords::split(&place.path).0.to_owned());
            Some(Route::File { path: place.path, package })
        }
        (&Method::PUT, false) => Some(Route::Publish("put")),
        (&Method::DELETE, false) => Some(Route::Publish("delete")),
        _ => None,
    }
}

/// Answers a read.
pub async fn serve(request: &Request, route: &Route, view: &dyn View) -> Result<Answer> {
    match route {
        Route::File { path, .. } => file(path, view).await,
        Route::Api("list") => index::listing(&Place::read(&request.path)?.path, request, view).await,
        _ => Err(Error::not_found("no such address")),
    }
}

async fn file(path: &str, view: &dyn View) -> Result<Answer> {
    if let Some(file) = view.file(path).await? {
        // A browser must not run on our address what somebody stored here.
        return Ok(Answer::file(&file, "application/octet-stream")
            .with_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    }
    if index::is_folder(path, view).await? {
        return Ok(Answer::redirect(&format!("./{}/", index::encode(coords::split(path).1))));
    }
    Err(Error::not_found(format!("there is no file {path}")))
}
