//! People, roles, tokens and the two-person rule.
//!
//! [`Access`] says who is asking ([`Principal`]); [`allowed`] says what they may do, from one table
//! of roles × actions; [`approval`] is the two-person rule as a state machine.
//!
//! This crate must never store a password or a token in clear, decide by the wall clock alone, or
//! let the person who asks approve, whatever their role.

pub mod approval;
mod people;
mod permissions;
mod principal;
mod tokens;

use std::sync::Arc;

use cofferdam_store::Db;
use cofferdam_types::Clock;

pub use approval::{ApprovalState, Decision, Verdict};
pub use people::NewPerson;
pub use permissions::{Action, ROLES, Role, allowed, explain};
pub use principal::{Principal, RecordingMode};
pub use tokens::NewToken;

/// People and tokens of a site. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    db: Db,
    clock: Arc<dyn Clock>,
}

impl Access {
    /// Over a site's database.
    #[must_use]
    pub fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock }
    }
}
