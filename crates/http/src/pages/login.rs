//! Logging in and out: a session is a token of its own with a short life, in a cookie.

use std::time::Duration;

use axum::{
    Extension, Form, Router,
    extract::{OriginalUri, Query},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};
use cofferdam_access::{NewToken, Principal};
use cofferdam_store::TokenOwner;
use cofferdam_trust::token;
use cofferdam_types::{Error, ErrorKind, PersonId, Result, Secret};
use cofferdam_web::site::Login;
use serde::Deserialize;

use super::{Answer, Page, dress::show, origin};
use crate::{
    Site,
    auth::{COOKIE, SessionToken},
    problem,
};

/// How long a session lasts.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/login", get(form).post(log_in)).route("/logout", post(log_out))
}

#[derive(Deserialize)]
struct Next {
    #[serde(default)]
    next: String,
}

async fn form(page: Page, Query(query): Query<Next>) -> Answer {
    show(&Login { frame: page.frame(), next: query.next, name: String::new() })
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

async fn log_in(
    page: Page,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Form(form): Form<Credentials>,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    let Credentials { name, password, token, next } = form;
    let session = match who(&page.site, &name, password, &token).await {
        Ok((id, actor)) => start(&page.site, id, &actor).await?,
        Err(error) if matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::Forbidden) => {
            let shown = show(&Login { frame: page.frame_with(&error), next, name })?;
            return Ok((problem::status(error.kind()), shown).into_response());
        }
        Err(error) => return Err(error.into()),
    };
    let cookie = cookie(&page.site, session.expose(), LIFETIME.as_secs());
    Ok(with_cookie(Redirect::to(local(&next)).into_response(), &cookie))
}

/// The person behind credentials. Machines have no pages.
async fn who(site: &Site, name: &str, password: String, token: &str) -> Result<(PersonId, String)> {
    let principal = if token.is_empty() {
        site.access.log_in(name, Secret::new(password)).await?
    } else {
        site.access.by_token(token.trim()).await?
    };
    match &principal {
        Principal::Person { id, .. } => Ok((*id, principal.actor())),
        _ => {
            Err(Error::forbidden("person-needed", "this is the token of a machine; only people log in here"))
        }
    }
}

async fn start(site: &Site, id: PersonId, actor: &str) -> Result<Secret<String>> {
    let new =
        NewToken { name: "web session", owner: TokenOwner::Person(id), scopes: "", lifetime: Some(LIFETIME) };
    site.access.create_token(new, actor).await
}

async fn log_out(
    page: Page,
    session: Option<Extension<SessionToken>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    if let Some(Extension(SessionToken(secret))) = session {
        let mut tx = page.site.registry.db().read().await?;
        let row = tx.access().token_by_hash(&token::hash(secret.expose())).await?;
        drop(tx);
        if let Some(row) = row.filter(|row| row.revoked.is_none()) {
            page.site.access.revoke_token(row.id, &page.who.actor()).await?;
        }
    }
    Ok(with_cookie(Redirect::to("/").into_response(), &cookie(&page.site, "", 0)))
}

fn cookie(site: &Site, value: &str, seconds: u64) -> String {
    let secure = if site.registry.public_url().starts_with("https://") { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// An address on this site, or `/`: a link to the login must not lead to somebody else's site.
/// Browsers read `//host`, `/\host` and addresses with line ends in them as other hosts.
fn local(next: &str) -> &str {
    let plain = next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if plain && next.starts_with('/') && !next.starts_with("//") { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn the_login_leads_nowhere_else() {
        assert_eq!(local("/transfers/3?a=b%20c"), "/transfers/3?a=b%20c");
        for bad in
            ["", "https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "/\r\nx"]
        {
            assert_eq!(local(bad), "/", "{bad:?}");
        }
    }
}
