//! The one commit gate.
//!
//! accept, record and admit all end here. In the caller's transaction it checks every change,
//! writes rows, makes a generation, appends the audit entry and renders the indexes; if anything is
//! refused, nothing has happened.

use std::collections::BTreeSet;

use cofferdam_audit::Entry;
use cofferdam_format_kit::{Change, Draft, DraftFile, Format, RepositoryKind, path_segments};
use cofferdam_store::{GenerationRow, NewFile, NewRelease, RepositoryRow, Tx};
use cofferdam_types::{Error, PackageId, PackageUrl, Result, Sha256, Timestamp};
use serde_json::json;

use crate::{Registry, kind_of};

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

struct Gate<'a> {
    tx: &'a mut Tx,
    repository: &'a RepositoryRow,
    format: &'a dyn Format,
    generation: u64,
    now: Timestamp,
    packages: BTreeSet<String>,
    /// Whether a package appeared or vanished: the repository's own documents list packages.
    names_changed: bool,
    files: usize,
    effective: Vec<&'a Change>,
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
        let kind = kind_of(repository);
        if !commit.cause.allowed(kind) {
            return Err(refused(repository, kind, commit.cause));
        }
        let format = self.format(&repository.format)?.clone();
        let now = self.clock().now();
        let (generation, previous) = tx.registry().next_generation(repository.id).await?;
        let mut gate = Gate {
            tx,
            repository,
            format: format.as_ref(),
            generation,
            now,
            packages: BTreeSet::new(),
            names_changed: false,
            files: 0,
            effective: Vec::new(),
        };
        for change in changes {
            gate.apply(change).await?;
        }
        let (packages, names_changed, files, effective) =
            (gate.packages, gate.names_changed, gate.files, gate.effective);
        if effective.is_empty() {
            tx.registry().previous_generation(repository.id).await?;
            return Ok(Committed { generation: None, root: previous, packages, files });
        }
        let text =
            serde_json::to_string(&effective).map_err(|e| Error::internal("a generation's changes", e))?;
        let root = Sha256::of(format!("{previous}\n{}\n", Sha256::of(text.as_bytes())).as_bytes());
        let row = GenerationRow {
            n: generation,
            root,
            cause: commit.cause.text(),
            actor: commit.actor.into(),
            at: now,
        };
        tx.registry().insert_generation(repository.id, &row, &text).await?;
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
        let mut tx = self.db().write().await?;
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

impl<'a> Gate<'a> {
    async fn apply(&mut self, change: &'a Change) -> Result<()> {
        let (package, changed) = match change {
            Change::Release(draft) => (&draft.package, self.release(draft).await?),
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
        };
        if changed {
            self.packages.insert(package.clone());
            self.effective.push(change);
        }
        Ok(())
    }

    async fn release(&mut self, draft: &Draft) -> Result<bool> {
        self.check_names(draft)?;
        let id = self.tx.registry().put_package(self.repository.id, &draft.package, &draft.display).await?;
        let mut changed = false;
        if self.tx.registry().release(id, &draft.version).await?.is_none() {
            let state = if draft.yanked.is_some() { "yanked" } else { "admitted" };
            let reason = draft.yanked.as_deref().unwrap_or_default();
            let published = draft.published.unwrap_or(self.now);
            self.names_changed |= !self.tx.registry().has_release(id).await?;
            self.insert(id, &draft.package, &draft.version, state, reason, &draft.meta, published).await?;
            changed = true;
        }
        for file in &draft.files {
            changed |= self.file(id, &draft.version, file).await?;
        }
        for name in &draft.pointers {
            changed |= self.pointer(&draft.package, name, Some(&draft.version)).await?;
        }
        Ok(changed)
    }

    /// A draft's names must be what the format itself makes of them: a format that forgot to
    /// normalise must not get two keys for one package past the gate.
    fn check_names(&self, draft: &Draft) -> Result<()> {
        let key = self.format.package_key(&draft.display)?;
        if key != draft.package {
            return Err(Error::invalid(
                "package-key",
                format!("`{}` normalises to `{key}`, not to `{}`", draft.display, draft.package),
            ));
        }
        if draft.version.is_empty()
            || draft.version.len() > 200
            || draft.version.chars().any(char::is_control)
        {
            return Err(Error::invalid(
                "version",
                format!("a version of {} is empty or unusable", draft.package),
            ));
        }
        for file in &draft.files {
            let clean = path_segments(&file.path)?.join("/");
            if clean != file.path || file.path.len() > 1000 {
                return Err(Error::invalid(
                    "file-path",
                    format!("`{}` is not a plain relative path", file.path),
                ));
            }
        }
        Ok(())
    }

    async fn file(&mut self, id: PackageId, version: &str, file: &DraftFile) -> Result<bool> {
        let repository = self.repository.id;
        let mut rows = self.tx.registry();
        if let Some(there) = rows.file(repository, &file.path).await? {
            let same = there.digests.sha256 == file.digests.sha256
                && there.package_id == id
                && there.version == version;
            return if same { Ok(false) } else { Err(immutable(&file.path)) };
        }
        if rows.path_had_other_bytes(repository, &file.path, &file.digests.sha256).await? {
            return Err(immutable(&file.path));
        }
        rows.put_blob(&file.digests, self.now).await?;
        let new = NewFile {
            package_id: id,
            version,
            path: &file.path,
            role: &file.role,
            sha256: file.digests.sha256,
            meta: &file.meta,
            at: self.now,
        };
        rows.insert_file(repository, &new, self.generation).await?;
        self.files += 1;
        Ok(true)
    }

    async fn pointer(&mut self, package: &str, name: &str, version: Option<&str>) -> Result<bool> {
        let id = self.existing(package).await?;
        let mut rows = self.tx.registry();
        if let Some(version) = version
            && rows.release(id, version).await?.is_none()
        {
            return Err(absent(package, version));
        }
        let now = rows.pointers(id).await?.into_iter().find(|(n, _)| n == name).map(|(_, v)| v);
        if now.as_deref() == version {
            return Ok(false);
        }
        rows.set_pointer(self.repository.id, id, name, version, self.generation).await?;
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
        let release =
            NewRelease { package_id, version, state, yank_reason, meta, published, purl: purl.as_str() };
        self.tx.registry().insert_release(self.repository.id, &release, self.generation).await
    }

    async fn existing(&mut self, package: &str) -> Result<PackageId> {
        let found = self.tx.registry().package(self.repository.id, package).await?;
        found.map(|p| p.id).ok_or_else(|| Error::not_found(format!("there is no package `{package}` here")))
    }
}

fn absent(package: &str, version: &str) -> Error {
    Error::not_found(format!("there is no {package} {version} here"))
}

fn immutable(path: &str) -> Error {
    Error::conflict(
        "immutable",
        format!("`{path}` exists with other bytes, and what was published never changes"),
    )
    .hint("publish a new version; a yank or deprecation warns the users of the old one")
}
