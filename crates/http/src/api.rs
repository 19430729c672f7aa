//! `/api/v1`: management, in JSON.

use axum::Router;

use crate::Site;

pub(crate) fn routes() -> Router<Site> {
    Router::new()
}
