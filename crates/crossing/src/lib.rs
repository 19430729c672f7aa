//! The guarded lock: collect, pack, receive, quarantine, approve, publish.
//!
//! | module | journey | what |
//! |---|---|---|
//! | `record` | collect | a build's recording and rehearsal, and the signed statement of it |
//! | `collection` | collect | what a recording was given, as a list with a digest |
//! | `pack`, `delta` | carry | writes the transfer: what the other side has not proved to hold |
//! | `receive`, `ingest`, `rebuild` | admit | verifies, quarantines, re-inspects every byte; nothing is visible yet |
//! | `joined` | both | upstream's proofs that join several files, when a recording ends and again on reception |
//! | `sites` | both | whom this site believes, for whom it seals, what it saw of each stream |
//! | `receipts`, `kept` | both | receipts and repair requests, given and taken |
//! | `wants` | both | what is wanted, asked for, on its way, and there |
//! | `media` | carry | the register of media, and their custody |
//! | `misses` | admit | what clients asked for in vain, for the want list |
//! | `meter` | both | how far long work has come |
//! | `publish` | admit | two people, then one switch |
//! | `difference` | admit | what a transfer would change, before anybody approves |
//!
//! A received blob lies in the blob store under its digest, but no row of any repository names it:
//! that is the quarantine. Publication is one transaction that writes those rows.
//!
//! This crate must never make anything visible that two people have not approved, write to the
//! medium it reads, or know a package format.

mod collection;
mod delta;
mod difference;
mod ingest;
mod joined;
mod kept;
mod media;
mod meter;
mod misses;
mod pack;
mod projects;
mod publish;
mod rebuild;
mod receipts;
mod receive;
mod record;
mod sites;
mod wants;

use std::{path::PathBuf, sync::Arc};

use cofferdam_access::Access;
use cofferdam_format_kit::joined::UpstreamKeys;
use cofferdam_git::GitService;
use cofferdam_registry::Registry;
use cofferdam_store::{Db, TransferRow};
use cofferdam_trust::{
    SigningKey,
    age::{Recipient, SealingKey},
};
use cofferdam_types::{Clock, Error, Result, SiteName, TransferId};

pub use collection::{
    Advisory, Affected, COLLECTION_PREDICATE, CollectedFile, Collection, CollectionItem, Excluded, FILE_END,
    FeedRead, Judgement, Mention, Missing, NETWORK_PREDICATE, News, NotJudged, Observed, Proof, RecordingOf,
    SecurityFix, Tree,
};
pub use delta::DeltaLevel;
pub use difference::{Asker, Difference, DifferenceLine, EvidenceFile, Rehearsal};
pub use joined::UPSTREAM_PREDICATE;
pub use kept::KeptReceipt;
pub use media::{Custody, MEDIUM_STATES, MOST_MOVES, MediumChange};
pub use meter::{Board, Meter, Stand};
use misses::Misses;
pub use pack::{DoorChoice, PackRequest, Packed};
pub use projects::Projects;
pub use publish::{Published, SUBJECT_KIND};
pub use receipts::{Answered, GivenReceipt, TakenReceipt};
pub use receive::{Progress, ReceiveRequest, Received};
pub use record::{Ended, RECORDING_PREDICATE, Rehearsed, StartedRecording};
pub use sites::{KnownRoot, KnownSite};
pub use wants::WANT_STATES;

/// The crossing of a site. Cheap to clone.
#[derive(Clone)]
pub struct Crossing(Arc<CrossingParts>, Board, Misses);

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
    /// The site's key for what is sealed to it.
    pub sealing: SealingKey,
    /// A folder for receptions in progress.
    pub staging: PathBuf,
    /// The file that remembers every transfer that was taken in, beside the database.
    pub ledger: PathBuf,
    /// How much a receipt may tell, 0 to 3: the site's policy.
    pub receipt_level: u8,
    /// Name and version of this program, for headers.
    pub tool: String,
    /// Upstream's keys that this site is set up with.
    pub upstream_keys: UpstreamKeys,
}

impl Crossing {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: CrossingParts) -> Self {
        Self(Arc::new(parts), Board::default(), Misses::default())
    }

    /// How far long work has come.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.1
    }

    /// What others seal to, to reach this site.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        self.0.sealing.recipient()
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
