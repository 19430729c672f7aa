//! The guarded lock: collect, pack, receive, quarantine, approve, publish.
//!
//! | module | journey | what |
//! |---|---|---|
//! | `record` | collect | a build's recording and rehearsal, and the signed statement of it |
//! | `collection` | collect | what a recording was given, as a list with a digest |
//! | `pack` | carry | writes the transfer: what the other side lacks |
//! | `receive` | admit | verifies, quarantines, re-inspects every byte; nothing is visible yet |
//! | `publish` | admit | two people, then one switch |
//! | `difference` | admit | what a transfer would change, before anybody approves |
//!
//! A received blob lies in the blob store under its digest, but no row of any repository names it:
//! that is the quarantine. Publication is one transaction that writes those rows.
//!
//! This crate must never make anything visible that two people have not approved, write to the
//! medium it reads, or know a package format.

mod collection;
mod difference;
mod pack;
mod projects;
mod publish;
mod receive;
mod record;

use std::sync::Arc;

use cofferdam_access::Access;
use cofferdam_git::GitService;
use cofferdam_registry::Registry;
use cofferdam_store::{Db, TransferRow};
use cofferdam_trust::SigningKey;
use cofferdam_types::{Clock, Error, Result, SiteName, TransferId};

pub use collection::{CollectedFile, Collection, CollectionItem, Missing};
pub use difference::{Difference, DifferenceLine};
pub use pack::{PackRequest, Packed};
pub use projects::Projects;
pub use publish::{Published, SUBJECT_KIND};
pub use receive::{Progress, Received};
pub use record::{RECORDING_PREDICATE, Rehearsed, StartedRecording};

/// The crossing of a site. Cheap to clone.
#[derive(Clone)]
pub struct Crossing(Arc<CrossingParts>);

/// What a crossing is made of.
pub struct CrossingParts {
    /// This site's name, as transfers carry it.
    pub site: SiteName,
    /// The site's registries.
    pub registry: Registry,
    /// People, tokens and approvals.
    pub access: Access,
    /// Git repositories.
    pub git: Arc<dyn GitService>,
    /// Names of git projects.
    pub projects: Arc<dyn Projects>,
    /// The site's key: it signs transfers and statements.
    pub key: Arc<SigningKey>,
    /// Name and version of this program, for headers.
    pub tool: String,
}

impl Crossing {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: CrossingParts) -> Self {
        Self(Arc::new(parts))
    }

    fn db(&self) -> &Db {
        self.0.registry.db()
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.0.registry.clock()
    }

    /// A transfer by its number at this site.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn transfer(&self, id: TransferId) -> Result<TransferRow> {
        let found = self.db().read().await?.crossing().transfer(id).await?;
        found.ok_or_else(|| Error::not_found(format!("there is no transfer {id} at this site")))
    }

    /// Believes transfers that are signed with `key` when they say that they come from `site`.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn trust_key(
        &self,
        site: &SiteName,
        key: &cofferdam_trust::VerifyingKey,
        actor: &str,
    ) -> Result<()> {
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        tx.crossing().trust(site.as_str(), &key.to_string(), actor, now).await?;
        let detail = serde_json::json!({ "key": key.to_string(), "key_id": key.id().to_string() });
        log(&mut tx, actor, "key.trust", &format!("site:{site}"), detail, now).await?;
        tx.commit().await
    }
}

async fn log(
    tx: &mut cofferdam_store::Tx,
    actor: &str,
    action: &str,
    target: &str,
    detail: serde_json::Value,
    at: cofferdam_types::Timestamp,
) -> Result<()> {
    let entry = cofferdam_audit::Entry {
        at,
        actor: actor.into(),
        action: action.into(),
        target: target.into(),
        detail,
    };
    cofferdam_audit::append(tx, &entry).await.map(drop)
}
