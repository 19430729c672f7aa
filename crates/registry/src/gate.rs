//! The one commit gate.
//!
//! accept, record and admit all end here. In the caller's transaction it checks every change,
//! writes rows, makes a generation, appends the audit entry and renders the indexes; if anything is
//! refused, nothing has happened.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use cofferdam_audit::Entry;
use cofferdam_format_kit::{Change, Format, RepositoryKind};
use cofferdam_store::{GenerationRow, NewRelease, RepositoryRow, Tx};
use cofferdam_types::{Error, PackageId, PackageUrl, Result, Sha256, Timestamp};
use serde_json::json;

use crate::{Registry, history::History, kind_of};

/// Releases that are looked up and written together.
const BATCH: usize = 256;

/// From where changes come; it decides which kind of repository may take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    /// A client's publish: hosted repositories only.
    Publish,
    /// The recorder on a connected site: mirrors only.
    Record,
    /// An approved transfer, by its name: mirrors and hosted repositories.
    Transfer(&'a str),
}

/// Who commits and why.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// Who, as in the audit log.
    pub actor: &'a str,
    /// From where.
    pub cause: Cause<'a>,
}

/// What a commit made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The new generation, or `None` when everything was there already.
    pub generation: Option<u64>,
    /// The newest root digest.
    pub root: Sha256,
    /// Packages that changed.
    pub packages: BTreeSet<String>,
    /// How many files were added.
    pub files: usize,
}

impl Cause<'_> {
    fn text(&self) -> String {
        match self {
            Self::Publish => "publish".into(),
            Self::Record => "record".into(),
            Self::Transfer(name) => format!("transfer {name}"),
        }
    }

    fn allowed(&self, kind: RepositoryKind) -> bool {
        match self {
            Self::Publish => kind == RepositoryKind::Hosted,
            Self::Record => kind == RepositoryKind::Mirror,
            Self::Transfer(_) => kind != RepositoryKind::Group,
        }
    }
}

/// Changes that come page by page, because all of them together are too many to hold.
#[async_trait]
pub trait Pages: Send {
    /// The next page; an empty one is the end. It may read in the commit's own transaction.
    async fn next(&mut self, tx: &mut Tx) -> Result<Vec<Change>>;
}

/// One commit on its way through the gate.
pub(crate) struct Gate<'a> {
    pub(crate) tx: &'a mut Tx,
    pub(crate) repository: &'a RepositoryRow,
    pub(crate) format: Arc<dyn Format>,
    pub(crate) generation: u64,
    pub(crate) now: Timestamp,
    /// Whether a package appeared or vanished: the repository's own documents list packages.
    pub(crate) names_changed: bool,
    pub(crate) files: usize,
    packages: BTreeSet<String>,
    previous: Sha256,
    history: History,
}

impl Registry {
    /// Commits changes to a repository in the caller's transaction. All of them, or an error.
    ///
    /// # Errors
    /// `PolicyRefused` when the repository does not take changes from there; `Conflict` when a path
    /// exists (or ever existed) with other bytes; `Invalid` for names and paths that do not agree;
    /// `NotFound` for a yank or pointer of something that is not there.
    pub async fn commit_in(
        &self,
        tx: &mut Tx,
        repository: &RepositoryRow,
        changes: &[Change],
        commit: Commit<'_>,
    ) -> Result<Committed> {
        let mut gate = self.gate(tx, repository, commit).await?;
        gate.apply(changes).await?;
        self.close(gate, commit).await
    }

    /// [`Registry::commit_in`] of changes that come page by page: still one generation, or an error.
    ///
    /// # Errors
    /// As there, and what a page's source says.
    pub async fn commit_pages_in(
        &self,
        tx: &mut Tx,
        repository: &RepositoryRow,
        pages: &mut dyn Pages,
        commit: Commit<'_>,
    ) -> Result<Committed> {
        let mut gate = self.gate(tx, repository, commit).await?;
        loop {
            let page = pages.next(gate.tx).await?;
            if page.is_empty() {
                return self.close(gate, commit).await;
            }
            gate.apply(&page).await?;
        }
    }

    /// Opens the gate. What goes through it counts when [`Registry::close`] has succeeded; on any error the caller
    /// drops the transaction.
    async fn gate<'a>(
        &self,
        tx: &'a mut Tx,
        repository: &'a RepositoryRow,
        commit: Commit<'_>,
    ) -> Result<Gate<'a>> {
        let kind = kind_of(repository);
        if !commit.cause.allowed(kind) {
            return Err(refused(repository, kind, commit.cause));
        }
        let format = self.format(&repository.format)?.clone();
        let now = self.clock().now();
        let (generation, previous) = tx.registry().next_generation(repository.id).await?;
        Ok(Gate {
            tx,
            repository,
            format,
            generation,
            now,
            names_changed: false,
            files: 0,
            packages: BTreeSet::new(),
            previous,
            history: History::default(),
        })
    }

    /// The generation, the audit entry and the indexes of what went through.
    async fn close(&self, gate: Gate<'_>, commit: Commit<'_>) -> Result<Committed> {
        let Gate {
            tx, repository, generation, now, packages, names_changed, previous, files, history, ..
        } = gate;
        let Some((first, digest)) = history.finish(tx, repository.id, generation).await? else {
            tx.registry().previous_generation(repository.id).await?;
            return Ok(Committed { generation: None, root: previous, packages, files });
        };
        let root = Sha256::of(format!("{previous}\n{digest}\n").as_bytes());
        let row = GenerationRow {
            n: generation,
            root,
            cause: commit.cause.text(),
            actor: commit.actor.into(),
            at: now,
        };
        tx.registry().insert_generation(repository.id, &row, &first).await?;
        drop(first);
        let detail = json!({
            "generation": generation, "root": root, "cause": row.cause,
            "packages": packages.iter().take(100).collect::<Vec<_>>(), "package_count": packages.len(), "files": files,
        });
        let entry = Entry {
            at: now,
            actor: commit.actor.into(),
            action: "repository.commit".into(),
            target: format!("repository:{}", repository.name),
            detail,
        };
        cofferdam_audit::append(tx, &entry).await?;
        self.render_dirty(tx, repository, &packages, names_changed).await?;
        Ok(Committed { generation: Some(generation), root, packages, files })
    }

    /// [`Registry::commit_in`] in a transaction of its own.
    ///
    /// # Errors
    /// As there.
    pub async fn commit(
        &self,
        repository: &RepositoryRow,
        changes: &[Change],
        commit: Commit<'_>,
    ) -> Result<Committed> {
        let mut tx = match commit.cause {
            // Durable with the recording's end, and nothing without it.
            Cause::Record => self.db().write_behind().await?,
            Cause::Publish | Cause::Transfer(_) => self.db().write().await?,
        };
        let done = self.commit_in(&mut tx, repository, changes, commit).await?;
        tx.commit().await?;
        Ok(done)
    }
}

fn refused(repository: &RepositoryRow, kind: RepositoryKind, cause: Cause<'_>) -> Error {
    let why = match (cause, kind) {
        (Cause::Publish, RepositoryKind::Mirror) => "it mirrors an upstream and takes nothing from clients",
        (_, RepositoryKind::Group) => "it is a group and shows what its members have",
        (Cause::Record, _) => "it is not a mirror",
        _ => "it does not take changes of this kind",
    };
    Error::new(
        cofferdam_types::ErrorKind::PolicyRefused,
        "repository-kind",
        format!("the repository `{}` refuses this: {why}", repository.name),
    )
    .hint("publish to a hosted repository of the same format; `cofferdam repo list` shows them")
}

impl Gate<'_> {
    /// Takes changes in their order: releases that follow each other together, everything else alone.
    async fn apply(&mut self, changes: &[Change]) -> Result<()> {
        let mut rest = changes;
        while let Some(first) = rest.first() {
            let releases = rest.iter().take(BATCH).take_while(|c| matches!(c, Change::Release(_))).count();
            let (now, after) = rest.split_at(releases.max(1));
            if releases == 0 {
                let (package, changed) = self.apply_one(first).await?;
                self.note(first, package, changed)?;
            } else {
                self.apply_releases(now).await?;
            }
            rest = after;
            self.history.flush(self.tx, self.repository.id, self.generation).await?;
        }
        Ok(())
    }

    /// Remembers a change that was one.
    pub(crate) fn note(&mut self, change: &Change, package: &str, changed: bool) -> Result<()> {
        if changed {
            if !self.packages.contains(package) {
                self.packages.insert(package.to_owned());
            }
            self.history.add(change)?;
        }
        Ok(())
    }

    async fn apply_one<'c>(&mut self, change: &'c Change) -> Result<(&'c str, bool)> {
        Ok(match change {
            Change::Release(draft) => {
                let what = format!("the release {} {} alone at the gate", draft.package, draft.version);
                return Err(Error::internal(what, "releases go together, by `apply_releases`"));
            }
            Change::Pointer { package, name, version } => {
                (package, self.pointer(package, name, version.as_deref()).await?)
            }
            Change::Yank { package, version, reason } => {
                (package, self.set_state(package, version, "yanked", reason).await?)
            }
            Change::Unyank { package, version } => {
                (package, self.set_state(package, version, "admitted", "").await?)
            }
            Change::Metadata { package, version, meta } => {
                (package, self.metadata(package, version, meta).await?)
            }
            Change::Withdraw { package, version } => {
                let id = self.existing(package).await?;
                let found = self.tx.registry().remove_release(id, version, self.generation, true).await?;
                if !found {
                    return Err(absent(package, version));
                }
                self.names_changed |= !self.tx.registry().has_release(id).await?;
                (package, true)
            }
        })
    }

    async fn pointer(&mut self, package: &str, name: &str, version: Option<&str>) -> Result<bool> {
        let id = self.existing(package).await?;
        let mut rows = self.tx.registry();
        if let Some(version) = version
            && rows.release(id, version).await?.is_none()
        {
            return Err(absent(package, version));
        }
        let now = rows.pointers_of(&[id]).await?.into_iter().find(|p| p.name == name);
        if now.as_ref().map(|p| p.version.as_str()) == version {
            return Ok(false);
        }
        let old: Vec<i64> = now.iter().map(|p| p.id).collect();
        let new: Vec<_> = version.iter().map(|version| (id, name, *version)).collect();
        rows.remove_pointers(&old, self.generation).await?;
        rows.insert_pointers(self.repository.id, &new, self.generation).await?;
        Ok(true)
    }

    async fn set_state(&mut self, package: &str, version: &str, state: &str, reason: &str) -> Result<bool> {
        let id = self.existing(package).await?;
        let now = self.tx.registry().release(id, version).await?.ok_or_else(|| absent(package, version))?;
        if now.state == state && now.yank_reason == reason {
            return Ok(false);
        }
        self.tx.registry().remove_release(id, version, self.generation, false).await?;
        self.insert(id, package, version, state, reason, &now.meta, now.published).await?;
        Ok(true)
    }

    async fn metadata(&mut self, package: &str, version: &str, meta: &serde_json::Value) -> Result<bool> {
        let id = self.existing(package).await?;
        let now = self.tx.registry().release(id, version).await?.ok_or_else(|| absent(package, version))?;
        if now.meta == *meta {
            return Ok(false);
        }
        self.tx.registry().remove_release(id, version, self.generation, false).await?;
        self.insert(id, package, version, &now.state, &now.yank_reason, meta, now.published).await?;
        Ok(true)
    }

    #[expect(clippy::too_many_arguments, reason = "one row, written in one place")]
    async fn insert(
        &mut self,
        package_id: PackageId,
        package: &str,
        version: &str,
        state: &str,
        yank_reason: &str,
        meta: &serde_json::Value,
        published: Timestamp,
    ) -> Result<()> {
        let purl = PackageUrl::new(self.format.purl_type(), package, version);
        let purl = purl.to_string();
        let release = NewRelease { package_id, version, state, yank_reason, meta, published, purl };
        self.tx.registry().insert_releases(self.repository.id, &[release], self.generation).await
    }

    async fn existing(&mut self, package: &str) -> Result<PackageId> {
        let found = self.tx.registry().package(self.repository.id, package).await?;
        found.map(|p| p.id).ok_or_else(|| Error::not_found(format!("there is no package `{package}` here")))
    }
}

fn absent(package: &str, version: &str) -> Error {
    Error::not_found(format!("there is no {package} {version} here"))
}

pub(crate) fn immutable(path: &str) -> Error {
    Error::conflict(
        "immutable",
        format!("`{path}` exists with other bytes, and what was published never changes"),
    )
    .hint("publish a new version; a yank or deprecation warns the users of the old one")
}
