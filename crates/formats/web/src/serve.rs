//! Reads: the route of a request, which kept answer it means, and that answer as it came.

use cofferdam_format_kit::{Answer, Body, FileRef, Request, Route, View, path_segments};
use cofferdam_types::{Error, ErrorKind, Result, Sha256, address::DIGEST_HEADER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{
    coords::{Address, KEPT},
    index,
    inspect::Kept,
    question,
};

/// The header that says that an answer is a kept one, with the digest of its body.
pub const DIGEST: HeaderName = HeaderName::from_static(DIGEST_HEADER);

/// See the table in the crate's documentation.
pub fn route(request: &Request) -> Option<Route> {
    let address = request.path.starts_with("/https/") || request.path.starts_with("/http/");
    if request.method != Method::GET && !(address && question::is_one(request)) {
        return address.then_some(Route::Api("refused"));
    }
    if address {
        return Some(match Address::of(request) {
            Ok(address) => Route::File { path: address.shown(), package: Some(address.package()) },
            Err(_) => Route::Api("bad-address"),
        });
    }
    let segments = path_segments(&request.path).ok()?;
    match segments.first().map(String::as_str) {
        None => matches!(request.path.as_str(), "" | "/").then_some(Route::Api("list")),
        Some(KEPT) => Some(Route::File { path: segments.join("/"), package: None }),
        Some(_) => None,
    }
}

/// The kept answers of an address that suit a request, oldest first.
pub async fn kept(address: &Address, asked: &HeaderMap, view: &dyn View) -> Result<Vec<(FileRef, Kept)>> {
    let files = view.below(&address.folder()).await?.into_iter();
    let kept = files.filter_map(|file| Kept::from_file(&file, address).map(|kept| (file, kept)));
    Ok(kept.filter(|(_, kept)| kept.suits(asked)).collect())
}

/// The first of them that the recording was given.
pub async fn given<'a>(
    address: &Address,
    kept: &'a [(FileRef, Kept)],
    view: &dyn View,
) -> Result<Option<&'a (FileRef, Kept)>> {
    if kept.is_empty() {
        return Ok(None);
    }
    let given = view.given(&address.folder()).await?;
    Ok(given.iter().find_map(|path| kept.iter().find(|(file, _)| file.path == *path)))
}

/// The committed file that a request for an address means: what this recording was given, else the
/// answer that was recorded last.
pub async fn settle(request: &Request, route: &Route, view: &dyn View) -> Result<Route> {
    let Ok(address) = Address::of(request) else { return Ok(route.clone()) };
    if !matches!(route, Route::File { .. }) {
        return Ok(route.clone());
    }
    let kept = kept(&address, &request.headers, view).await?;
    let meant = given(&address, &kept, view).await?.or(kept.last());
    let (file, _) = meant.ok_or_else(|| not_recorded(&address))?;
    Ok(Route::File { path: file.path.clone(), package: Some(address.package()) })
}

/// Answers a read.
pub async fn serve(request: &Request, route: &Route, view: &dyn View) -> Result<Answer> {
    match route {
        Route::File { path, .. } => file(path, view).await,
        Route::Api("list") => index::listing(request, view).await,
        Route::Api("refused") => Err(refused(&request.method)),
        Route::Api("bad-address") => {
            Err(Address::of(request).err().unwrap_or_else(|| Error::not_found("no such address")))
        }
        _ => Err(Error::not_found("no such address")),
    }
}

async fn file(path: &str, view: &dyn View) -> Result<Answer> {
    let found = view.file(path).await?;
    let file = found.ok_or_else(|| Error::not_found(format!("there is no kept answer {path}")))?;
    let kept: Kept = serde_json::from_value(file.meta.clone())
        .map_err(|e| Error::internal(format!("the metadata of {path}"), e))?;
    Ok(answer(&kept, file.sha256, file.size))
}

/// A kept answer as it came. A browser must not run it on our address.
pub fn answer(kept: &Kept, sha256: Sha256, size: u64) -> Answer {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = Answer::status(status)
        .with_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .with_header(header::CONTENT_SECURITY_POLICY, "sandbox");
    for (name, value) in &kept.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            answer.headers.insert(name, value);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&format!("sha256:{sha256}")) {
        answer.headers.insert(DIGEST, value);
    }
    answer.body = Body::Blob { sha256, size };
    answer
}

fn not_recorded(address: &Address) -> Error {
    let text = format!("{} is not recorded here", address.shown());
    let (package, shown) = (address.package(), address.shown());
    Error::new(ErrorKind::NotFound, "not-recorded", text).hint(format!(
        "record a build that fetches it, or ask for it: cofferdam want add web '{package}' --note '{shown}'"
    ))
}

fn refused(method: &Method) -> Error {
    Error::forbidden(
        "method-not-recorded",
        format!("{method} is not recorded: only what is fetched by GET or HEAD, or by git, can be replayed"),
    )
    .hint("fetch it by GET, or leave this step out of the recorded build")
}
