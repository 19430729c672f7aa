//! Repositories, generations, the one commit gate, groups.
//!
//! Start at [`Registry`]. Every change of a repository, from wherever it comes (a client's publish,
//! the recorder, a transfer), goes through [`Registry::commit_in`]: names, immutability, kinds,
//! audit entry, generation and rendered indexes, all in the caller's transaction. Reads go through
//! [`Registry::answer`]. Formats do the ecosystem's part and never see storage or network.
//!
//! | module | what |
//! |---|---|
//! | `gate` | what may be committed, and the generation it makes |
//! | `releases` | the gate's judgement of releases, many at a time |
//! | `history` | the text of what a generation changed |
//! | `view` | one generation as a format sees it; groups and the rule against dependency confusion |
//! | `render` | index documents of what a commit touched |
//! | `serve` | answers to clients, what sessions were given, recording mirrors |
//! | `behind` | commits of a recording that follow their answers |
//! | `door` | blobs for formats |
//!
//! This crate must never know a particular format, speak HTTP, or dial out: a recording mirror asks
//! an `Upstream` that the binary gives it on a connected site only.

mod behind;
mod door;
mod gate;
mod history;
mod releases;
mod render;
mod serve;
mod session;
mod view;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use cofferdam_blobs::{Blobs, ByteStream};
use cofferdam_format_kit::{DocumentRef, Format, RepositoryKind, Upstream};
use cofferdam_store::{Db, RepositoryRow, Tx};
use cofferdam_types::{Clock, Error, RepositoryName, Result, Sha256};
use tokio::sync::Mutex;

pub use door::BlobDoor;
pub use gate::{Cause, Commit, Committed, Pages};
pub use session::{Mode, Session};
pub use view::{RepoView, kind_of};

/// Documents kept in memory, by digest.
const DOCUMENT_CACHE_BYTES: u64 = 24 << 20;

/// The registries of a site. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Parts>);

struct Parts {
    db: Db,
    blobs: Arc<dyn Blobs>,
    formats: BTreeMap<&'static str, Arc<dyn Format>>,
    upstreams: BTreeMap<&'static str, Arc<dyn Upstream>>,
    clock: Arc<dyn Clock>,
    public_url: String,
    documents: moka::future::Cache<Sha256, Bytes>,
    recording: Mutex<HashMap<String, Weak<Mutex<()>>>>,
    behind: behind::Behind,
}

/// What a registry is made of.
pub struct RegistryParts {
    /// The site's database.
    pub db: Db,
    /// The site's blobs.
    pub blobs: Arc<dyn Blobs>,
    /// Every format that the site speaks.
    pub formats: Vec<Arc<dyn Format>>,
    /// Upstreams by format name. Empty on an isolated site: there is nothing to dial with.
    pub upstreams: BTreeMap<&'static str, Arc<dyn Upstream>>,
    /// The site's clock.
    pub clock: Arc<dyn Clock>,
    /// The site's address as clients see it, without a trailing slash; documents may hold it.
    pub public_url: String,
}

impl Registry {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: RegistryParts) -> Self {
        let documents = moka::future::Cache::builder()
            .max_capacity(DOCUMENT_CACHE_BYTES)
            .weigher(|_, body: &Bytes| u32::try_from(body.len()).unwrap_or(u32::MAX))
            .time_to_idle(Duration::from_secs(600))
            .build();
        Self(Arc::new(Parts {
            db: parts.db,
            blobs: parts.blobs,
            formats: parts.formats.into_iter().map(|f| (f.name(), f)).collect(),
            upstreams: parts.upstreams,
            clock: parts.clock,
            public_url: parts.public_url,
            documents,
            recording: Mutex::default(),
            behind: behind::Behind::default(),
        }))
    }

    /// The site's database.
    #[must_use]
    pub fn db(&self) -> &Db {
        &self.0.db
    }

    /// The site's blobs.
    #[must_use]
    pub fn blobs(&self) -> &Arc<dyn Blobs> {
        &self.0.blobs
    }

    /// The site's clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// The site's address as clients see it, without a trailing slash.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.0.public_url
    }

    /// A format by name.
    ///
    /// # Errors
    /// `Invalid` when this site does not speak it.
    pub fn format(&self, name: &str) -> Result<&Arc<dyn Format>> {
        self.0.formats.get(name).ok_or_else(|| {
            let known: Vec<_> = self.0.formats.keys().copied().collect();
            Error::invalid("unknown-format", format!("there is no package format `{name}`"))
                .hint(format!("this site speaks {}", known.join(", ")))
        })
    }

    /// Every format, by name.
    pub fn formats(&self) -> impl Iterator<Item = &Arc<dyn Format>> {
        self.0.formats.values()
    }

    /// The door to bytes for formats.
    #[must_use]
    pub fn door(&self) -> BlobDoor {
        BlobDoor::new(self.0.db.clone(), Arc::clone(&self.0.blobs), Arc::clone(&self.0.clock))
    }

    /// Creates a repository. A group gets its members in order; all must have the group's format.
    ///
    /// # Errors
    /// `Conflict` when the name is taken, `Invalid` for an unknown format or member.
    pub async fn create(
        &self,
        tx: &mut Tx,
        actor: &str,
        name: &RepositoryName,
        format: &str,
        kind: RepositoryKind,
        members: &[RepositoryName],
    ) -> Result<RepositoryRow> {
        let format = self.format(format)?;
        if (kind == RepositoryKind::Group) == members.is_empty() {
            return Err(Error::invalid("members", "a group has members, and only a group has"));
        }
        if tx.registry().repository(name.as_str()).await?.is_some() {
            return Err(Error::conflict(
                "repository-exists",
                format!("there is already a repository `{name}`"),
            ));
        }
        let now = self.0.clock.now();
        let root = Sha256::of(format!("cofferdam repository {name}\n").as_bytes());
        let id = tx.registry().create(name.as_str(), format.name(), view::kind_name(kind), root, now).await?;
        for (position, member) in members.iter().enumerate() {
            let row = self.repository(tx, member.as_str()).await?;
            if row.format != format.name() || kind_of(&row) == RepositoryKind::Group {
                return Err(Error::invalid(
                    "members",
                    format!(
                        "`{member}` cannot be a member: it is a {} repository of format {}",
                        row.kind, row.format
                    ),
                ));
            }
            tx.registry().add_member(id, row.id, position).await?;
        }
        let detail =
            serde_json::json!({ "format": format.name(), "kind": view::kind_name(kind), "members": members });
        let entry = cofferdam_audit::Entry {
            at: now,
            actor: actor.to_owned(),
            action: "repository.create".into(),
            target: format!("repository:{name}"),
            detail,
        };
        cofferdam_audit::append(tx, &entry).await?;
        let row = self.repository(tx, name.as_str()).await?;
        self.render_all(tx, &row).await?;
        Ok(row)
    }

    /// A repository by name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn repository(&self, tx: &mut Tx, name: &str) -> Result<RepositoryRow> {
        let found = tx.registry().repository(name).await?;
        found.ok_or_else(|| Error::not_found(format!("there is no repository `{name}`")))
    }

    /// The text of a rendered document: gzip-compressed, as it is stored.
    ///
    /// # Errors
    /// `NotFound` when a newer generation has replaced it meanwhile: ask again.
    pub async fn document_gzip(&self, repository: &RepositoryRow, document: &DocumentRef) -> Result<Bytes> {
        if let Some(body) = self.0.documents.get(&document.sha256).await {
            return Ok(body);
        }
        let mut tx = self.0.db.read().await?;
        let body = tx.registry().document_gzip(repository.id, &document.path, &document.sha256).await?;
        let body: Bytes =
            body.ok_or_else(|| Error::not_found(format!("{} was replaced", document.path)))?.into();
        self.0.documents.insert(document.sha256, body.clone()).await;
        Ok(body)
    }

    /// Streams a blob.
    ///
    /// # Errors
    /// `NotFound` when it is not here.
    pub async fn blob(&self, sha256: &Sha256, range: Option<std::ops::Range<u64>>) -> Result<ByteStream> {
        self.0.blobs.read(sha256, range).await
    }
}
