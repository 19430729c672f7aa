//! `/api/v1`: management, in JSON.
//!
//! | address | method | who | what |
//! |---|---|---|---|
//! | `/api/v1/site` | GET | anybody | name, role, public key |
//! | `/api/v1/whoami` | GET | anybody | who the token is |
//! | `/api/v1/repositories` | GET, POST | read: any role; create: admin | repositories with their counts |
//! | `/api/v1/repositories/{name}/packages` | GET | any role | a page of packages, or a search |
//! | `/api/v1/recordings…` | GET, POST | officer | recordings, collections, rehearsals |
//! | `/api/v1/transfers…` | GET, POST | officer, approver | pack, receive, approve, publish |
//! | `/api/v1/keys…` | GET, POST | any role; admin | believe another site's key or root, seal to its key, forget it |
//! | `/api/v1/receipts`, `/api/v1/repairs…` | POST | officer | what travels back |
//! | `/api/v1/wants…` | GET, POST | any role; officer | what is asked for and not here |
//! | `/api/v1/media` | GET, POST | any role; officer | the register of media |
//! | `/api/v1/streams…` | GET, POST | any role; admin | frozen streams |
//! | `/api/v1/operations/{name}` | GET | any role | how far long work has come |
//! | `/api/v1/audit…` | GET | admin, auditor | entries and checkpoints |

mod audit;
mod carry;
mod recordings;
mod repositories;
pub(crate) mod transfers;

use axum::{
    Extension, Json, Router,
    extract::{FromRequest, Request, State, rejection::JsonRejection},
    routing::get,
};
use cofferdam_access::{Action, Principal};
use cofferdam_types::{Error, PersonId, Result};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Site, auth::may, problem::Problem};

pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .route("/api/v1/site", get(site))
        .route("/api/v1/whoami", get(whoami))
        .route("/api/v1/keys", get(carry::known_sites).post(trust_key))
        .merge(audit::routes())
        .merge(carry::routes())
        .merge(recordings::routes())
        .merge(repositories::routes())
        .merge(transfers::routes())
}

type Answer = Result<Json<Value>, Problem>;

/// A JSON body whose mistakes are told in our own shape.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem(wrong_body(&rejection))),
        }
    }
}

fn wrong_body(rejection: &JsonRejection) -> Error {
    Error::invalid(
        "bad-json",
        format!("the request's JSON is not what is expected here: {}", rejection.body_text()),
    )
}

/// The person behind a request, for acts that only a person can do.
pub(crate) fn person(principal: &Principal) -> Result<(PersonId, String)> {
    match principal.person() {
        Some(id) => Ok((id, principal.actor())),
        None => Err(Error::forbidden("person-needed", "only a person can do this, not a token of a machine")),
    }
}

pub(crate) fn value(of: &impl serde::Serialize) -> Answer {
    serde_json::to_value(of).map(Json).map_err(|e| Problem(Error::internal("an answer", e)))
}

async fn site(State(site): State<Site>) -> Json<Value> {
    Json(json!({
        "name": site.name,
        "role": if site.connected { "connected" } else { "isolated" },
        "url": site.registry.public_url(),
        "key": site.key.to_string(),
        "key_id": site.key.id().to_string(),
        "recipient": site.crossing.recipient(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
}

async fn whoami(Extension(principal): Extension<Principal>) -> Json<Value> {
    let roles = match &principal {
        Principal::Person { roles, .. } => roles.iter().map(|r| r.as_str()).collect(),
        _ => Vec::new(),
    };
    Json(json!({ "actor": principal.actor(), "roles": roles }))
}

#[derive(Deserialize)]
struct TrustKey {
    site: cofferdam_types::SiteName,
    key: String,
}

async fn trust_key(
    State(site): State<Site>,
    Extension(principal): Extension<Principal>,
    Body(body): Body<TrustKey>,
) -> Answer {
    may(&site, &principal, Action::RepositoryManage)?;
    let key = body.key.parse().map_err(|e: cofferdam_types::Error| e)?;
    site.crossing.trust_key(&body.site, &key, &principal.actor()).await?;
    Ok(Json(json!({ "site": body.site, "key_id": key.id().to_string() })))
}
