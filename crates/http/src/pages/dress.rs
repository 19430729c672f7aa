//! What every page has: the frame around it, the headers, and errors that people can read.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderValue, StatusCode, Uri, header, request::Parts},
    middleware::Next,
    response::{Html, IntoResponse, Redirect, Response},
};
use cofferdam_access::{Action, Principal};
use cofferdam_types::{Error, ErrorKind};
use cofferdam_web::{Frame, Notice, frame::Place, site::Failure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{Site, auth::may, problem};

/// Nothing but our own files, no inline script or style, never inside another page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Who asks for which page.
pub(crate) struct Page {
    pub site: Site,
    pub who: Principal,
    path: String,
}

impl FromRequestParts<Site> for Page {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Self::Rejection> {
        Ok(Self::new(site, parts.extensions.get::<Principal>().cloned(), &parts.uri))
    }
}

impl Page {
    fn new(site: &Site, who: Option<Principal>, uri: &Uri) -> Self {
        let who = who.unwrap_or(Principal::Anonymous);
        Self { site: site.clone(), who, path: uri.path().to_owned() }
    }

    /// Decides whether the viewer may see or do something.
    ///
    /// # Errors
    /// As [`may`].
    pub fn may(&self, action: Action) -> Result<(), Error> {
        may(&self.site, &self.who, action)
    }

    /// Whether they may.
    pub fn can(&self, action: Action) -> bool {
        self.may(action).is_ok()
    }

    /// What is around the page.
    pub fn frame(&self) -> Frame {
        const PLACES: [(&str, &str, Action); 7] = [
            ("/transfers", "Transfers", Action::TransferRead),
            ("/media", "Media", Action::TransferRead),
            ("/wants", "Wants", Action::TransferRead),
            ("/repositories", "Packages", Action::PackageRead),
            ("/recordings", "Recordings", Action::TransferRead),
            ("/projects", "Projects", Action::ProjectRead),
            ("/audit", "Audit log", Action::AuditRead),
        ];
        let here = |href: &str| {
            let below =
                self.path.strip_prefix(href).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            below
                || (href == "/projects"
                    && (self.path.starts_with("/pipelines/") || self.path.starts_with("/jobs/")))
        };
        let places = PLACES.iter().filter(|(.., action)| self.can(*action));
        let (who, roles) = match &self.who {
            Principal::Person { name, roles, .. } => {
                (Some(name.clone()), roles.iter().map(|r| r.as_str()).collect())
            }
            Principal::Anonymous => (None, Vec::new()),
            machine => (Some(machine.actor()), Vec::new()),
        };
        Frame {
            site: self.site.name.to_string(),
            connected: self.site.connected,
            who,
            roles,
            places: places.map(|&(href, label, _)| Place { href, label, here: here(href) }).collect(),
            notice: None,
        }
    }

    /// What is around the page, with an error at its top.
    pub fn frame_with(&self, error: &Error) -> Frame {
        self.frame_told(error.message().to_owned(), error.advice().map(str::to_owned))
    }

    /// What is around the page, with a sentence at its top that the viewer must read.
    pub fn frame_told(&self, text: String, hint: Option<String>) -> Frame {
        Frame { notice: Some(Notice { text, hint }), ..self.frame() }
    }
}

/// Renders a page as an answer.
pub(super) fn show(page: &impl cofferdam_web::Template) -> super::Answer {
    Ok(Html(cofferdam_web::render(page)?).into_response())
}

/// An error that becomes a page in [`dress`].
#[derive(Debug)]
pub(crate) struct Failed(pub Error);

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

#[derive(Clone)]
struct Carried(Arc<Error>);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = problem::status(self.0.kind()).into_response();
        response.extensions_mut().insert(Carried(Arc::new(self.0)));
        response
    }
}

/// Shows errors as pages, sends those who must log in to the login, and sets the headers of pages.
pub(super) async fn dress(State(site): State<Site>, request: Request, next: Next) -> Response {
    let page = Page::new(&site, request.extensions().get::<Principal>().cloned(), request.uri());
    let (get, uri) = (request.method().is_safe(), request.uri().clone());
    let mut response = next.run(request).await;
    if let Some(Carried(error)) = response.extensions_mut().remove::<Carried>() {
        problem::log(&error);
        response = failure(&page, &error, get.then_some(&uri));
    } else if response.status().is_client_error() && !is_html(&response) {
        let error = refused(response.status());
        let status = response.status();
        response = failure(&page, &error, None);
        *response.status_mut() = status;
    }
    let headers = response.headers_mut();
    // A sheet for the printer has a stricter one of its own.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn is_html(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// What the framework refused before a handler saw it.
fn refused(status: StatusCode) -> Error {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => Error::invalid("method", "this address does not take this method"),
        StatusCode::PAYLOAD_TOO_LARGE => {
            let text = format!("a form may have at most {} bytes", super::FORM);
            Error::new(ErrorKind::TooLarge, "form-too-large", text)
        }
        _ => Error::invalid("bad-form", "this request is not what the page expects"),
    }
}

fn failure(page: &Page, error: &Error, again: Option<&Uri>) -> Response {
    if error.kind() == ErrorKind::Unauthenticated
        && let Some(uri) = again
    {
        let here = uri.path_and_query().map_or("/", |p| p.as_str());
        let next = utf8_percent_encode(here, NON_ALPHANUMERIC);
        return Redirect::to(&format!("/login?next={next}")).into_response();
    }
    let status = problem::status(error.kind());
    let shown = Failure {
        frame: page.frame(),
        status: status.as_u16(),
        message: error.message().to_owned(),
        hint: error.advice().map(str::to_owned),
    };
    match cofferdam_web::render(&shown) {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => problem::Problem(error).into_response(),
    }
}
