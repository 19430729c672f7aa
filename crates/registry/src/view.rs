//! One generation of a repository as a format sees it.
//!
//! Groups are merged here, package by package, and this is where the rule against dependency
//! confusion lives: **a name that any hosted member has is served from hosted members only**. A
//! mirror can never add a version to a name of ours, whatever its number.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_blobs::Blobs;
use cofferdam_format_kit::{
    DocumentRef, FileRef, Format, PackageView, PointerView, ReleaseState, ReleaseView, RepositoryKind,
    RepositoryView, View,
};
use cofferdam_store::{Db, FileRow, PackageRow, ReleaseRow, RepositoryRow, Tx};
use cofferdam_types::{Error, ErrorKind, PackageId, RepositoryId, Result, Sha256};
use futures::TryStreamExt as _;
use tokio::sync::Mutex;

use crate::Session;

const READ_LIMIT: u64 = 16 << 20;

/// A transaction of our own, or the caller's; or one for each question.
pub(crate) enum TxHandle<'t> {
    Owned(Box<Tx>),
    Borrowed(&'t mut Tx),
    /// For views that live as long as a download: kept open by a few of them, the database's few readers would be
    /// all taken, and each would wait for one more.
    Each(Db),
}

impl TxHandle<'_> {
    async fn open(&mut self) -> Result<Open<'_>> {
        Ok(match self {
            Self::Owned(tx) => Open::Kept(tx),
            Self::Borrowed(tx) => Open::Kept(tx),
            Self::Each(db) => Open::Own(db.read().await?),
        })
    }
}

/// A transaction for one question.
enum Open<'a> {
    Kept(&'a mut Tx),
    Own(Tx),
}

impl std::ops::Deref for Open<'_> {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        match self {
            Self::Kept(tx) => tx,
            Self::Own(tx) => tx,
        }
    }
}

impl std::ops::DerefMut for Open<'_> {
    fn deref_mut(&mut self) -> &mut Tx {
        match self {
            Self::Kept(tx) => tx,
            Self::Own(tx) => tx,
        }
    }
}

/// A [`View`] of a repository or group in one transaction.
pub struct RepoView<'t> {
    info: RepositoryView,
    row: RepositoryRow,
    /// The repositories to look in, in order; the repository itself when it is no group.
    members: Vec<RepositoryRow>,
    format: Arc<dyn Format>,
    blobs: Arc<dyn Blobs>,
    /// The recording in whose name it is looked at.
    recording: Option<i64>,
    tx: Mutex<TxHandle<'t>>,
    /// Packages that were read before, together.
    shelf: Option<&'t Shelf>,
}

/// Rows of packages, read together in a few statements.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// Every package that was looked for, also where it is not.
    looked_for: HashSet<String>,
    found: HashMap<(RepositoryId, String), Shelved>,
}

/// A package of one repository, whole.
#[derive(Clone, Debug)]
struct Shelved {
    package: PackageRow,
    releases: Vec<ReleaseRow>,
    files: Vec<FileRow>,
    pointers: Vec<PointerView>,
}

impl Shelf {
    /// Reads what these repositories show of these packages. How much that may be is the caller's to bound.
    pub(crate) async fn read(tx: &mut Tx, repositories: &[RepositoryId], keys: &[&str]) -> Result<Self> {
        let mut found = HashMap::new();
        for repository in repositories {
            let mut rows = tx.registry();
            let known = rows.packages_of(*repository, keys).await?;
            let mut shown: HashMap<PackageId, Shelved> = known
                .into_iter()
                .filter(|(_, shown)| *shown)
                .map(|(package, _)| (package.id, Shelved::empty(package)))
                .collect();
            let ids: Vec<PackageId> = shown.keys().copied().collect();
            for (id, release) in rows.releases_of(&ids).await? {
                shown.entry(id).and_modify(|at| at.releases.push(release));
            }
            for file in rows.files_of(&ids).await? {
                shown.entry(file.package_id).and_modify(|at| at.files.push(file));
            }
            for pointer in rows.pointers_of(&ids).await? {
                let view = PointerView { name: pointer.name, version: pointer.version };
                shown.entry(pointer.package).and_modify(|at| at.pointers.push(view));
            }
            for mut at in shown.into_values() {
                at.pointers.sort_by(|a, b| a.name.cmp(&b.name));
                found.insert((*repository, at.package.key.clone()), at);
            }
        }
        Ok(Self { looked_for: keys.iter().map(|key| (*key).to_owned()).collect(), found })
    }
}

impl Shelved {
    fn empty(package: PackageRow) -> Self {
        Self { package, releases: Vec::new(), files: Vec::new(), pointers: Vec::new() }
    }
}

/// The kind of a repository.
#[must_use]
pub fn kind_of(row: &RepositoryRow) -> RepositoryKind {
    match row.kind.as_str() {
        "hosted" => RepositoryKind::Hosted,
        "group" => RepositoryKind::Group,
        _ => RepositoryKind::Mirror,
    }
}

pub(crate) fn kind_name(kind: RepositoryKind) -> &'static str {
    match kind {
        RepositoryKind::Hosted => "hosted",
        RepositoryKind::Mirror => "mirror",
        RepositoryKind::Group => "group",
    }
}

impl<'t> RepoView<'t> {
    pub(crate) async fn new(
        mut tx: TxHandle<'t>,
        row: &RepositoryRow,
        format: &Arc<dyn Format>,
        blobs: &Arc<dyn Blobs>,
        public_url: &str,
    ) -> Result<RepoView<'t>> {
        let kind = kind_of(row);
        let members = members_of(&mut *tx.open().await?, row).await?;
        let base = format!("{public_url}/r/{}", row.name);
        Ok(Self {
            info: RepositoryView { name: row.name.clone(), kind, base },
            row: row.clone(),
            members,
            format: Arc::clone(format),
            blobs: Arc::clone(blobs),
            recording: None,
            tx: Mutex::new(tx),
            shelf: None,
        })
    }

    /// The same view, which takes from the shelf what is on it.
    pub(crate) fn over(mut self, shelf: &'t Shelf) -> Self {
        self.shelf = Some(shelf);
        self
    }

    /// The same view under the address of another repository: a mirror that records for a group hands
    /// out the group's addresses, which the client is set up for.
    pub(crate) fn addressed_as(mut self, repository: &RepositoryRow, public_url: &str) -> Self {
        self.info.base = format!("{public_url}/r/{}", repository.name);
        self
    }

    /// The same view as a recording or its rehearsal sees it: both are shown what the recording was given.
    pub(crate) fn for_session(mut self, session: Session) -> Self {
        self.recording = match session {
            Session::Recording(id, _) => Some(id.0),
            Session::None | Session::Job(_) => None,
        };
        self
    }

    /// The members that may speak for a name.
    async fn speakers(&self, key: &str) -> Result<Vec<RepositoryId>> {
        let mut handle = self.tx.lock().await;
        let mut tx = handle.open().await?;
        let mut rows = tx.registry();
        let mut found = Vec::new();
        for member in &self.members {
            if let Some(package) = rows.package(member.id, key).await?
                && rows.has_release(package.id).await?
            {
                found.push((member, member.id));
            }
        }
        Ok(may_speak(found))
    }

    /// What the members that may speak for a name show of it, in their order.
    async fn shelved(&self, key: &str) -> Result<Vec<Shelved>> {
        let found = match self.shelf.filter(|shelf| shelf.looked_for.contains(key)) {
            Some(shelf) => {
                let at = |m: &RepositoryRow| shelf.found.get(&(m.id, key.to_owned())).cloned();
                self.members.iter().filter_map(|m| Some((m, at(m)?))).collect()
            }
            None => {
                let ids: Vec<RepositoryId> = self.members.iter().map(|m| m.id).collect();
                let mut handle = self.tx.lock().await;
                let mut tx = handle.open().await?;
                let mut shelf = Shelf::read(&mut tx, &ids, &[key]).await?;
                let mut at = |m: &RepositoryRow| shelf.found.remove(&(m.id, key.to_owned()));
                self.members.iter().filter_map(|m| Some((m, at(m)?))).collect()
            }
        };
        Ok(may_speak(found))
    }
}

/// **The rule**: of those that have a name, the hosted ones if there are any, else the mirrors.
fn may_speak<T>(mut found: Vec<(&RepositoryRow, T)>) -> Vec<T> {
    if found.iter().any(|(member, _)| kind_of(member) == RepositoryKind::Hosted) {
        found.retain(|(member, _)| kind_of(member) == RepositoryKind::Hosted);
    }
    found.into_iter().map(|(_, what)| what).collect()
}

/// The repositories that a repository shows, in order: itself when it is no group.
pub(crate) async fn members_of(tx: &mut Tx, row: &RepositoryRow) -> Result<Vec<RepositoryRow>> {
    match kind_of(row) {
        RepositoryKind::Group => tx.registry().members(row.id).await,
        _ => Ok(vec![row.clone()]),
    }
}

#[async_trait]
impl View for RepoView<'_> {
    fn repository(&self) -> &RepositoryView {
        &self.info
    }

    async fn document(&self, path: &str) -> Result<Option<DocumentRef>> {
        let mut handle = self.tx.lock().await;
        let mut tx = handle.open().await?;
        let row = tx.registry().document(self.row.id, path).await?;
        Ok(row.map(|d| DocumentRef {
            path: d.path,
            media_type: d.media_type,
            sha256: d.sha256,
            size: d.size,
        }))
    }

    async fn file(&self, path: &str) -> Result<Option<FileRef>> {
        for member in &self.members {
            let found = self.tx.lock().await.open().await?.registry().file(member.id, path).await?;
            let Some(file) = found else { continue };
            let speaks = self.members.len() == 1 || self.speakers(&file.package).await?.contains(&member.id);
            if speaks {
                return Ok(Some(file_ref(file)));
            }
        }
        Ok(None)
    }

    async fn package(&self, key: &str) -> Result<Option<PackageView>> {
        let mut merged: Option<PackageView> = None;
        for shelved in self.shelved(key).await? {
            let one = package_view(shelved);
            match &mut merged {
                None => merged = Some(one),
                Some(all) => merge(all, one),
            }
        }
        if let Some(package) = &mut merged {
            package.releases.sort_by(|a, b| self.format.compare_versions(&a.version, &b.version));
        }
        Ok(merged)
    }

    async fn packages(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, String)>> {
        let mut handle = self.tx.lock().await;
        let mut tx = handle.open().await?;
        let mut all: Vec<(String, String)> = Vec::new();
        for member in &self.members {
            let page = tx.registry().packages(member.id, after.unwrap_or(""), limit).await?;
            all.extend(page.into_iter().map(|p| (p.key, p.display)));
        }
        // Members come in order and the sort is stable: the first member's spelling wins.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|b, a| a.0 == b.0);
        all.truncate(limit);
        Ok(all)
    }

    async fn search(&self, text: &str, limit: usize) -> Result<Vec<String>> {
        let mut handle = self.tx.lock().await;
        let mut tx = handle.open().await?;
        let mut all: Vec<String> = Vec::new();
        for member in &self.members {
            let page = tx.registry().search(member.id, text, limit).await?;
            all.extend(page.into_iter().map(|p| p.key));
        }
        all.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        all.dedup();
        all.truncate(limit);
        Ok(all)
    }

    async fn below(&self, prefix: &str) -> Result<Vec<FileRef>> {
        let mut handle = self.tx.lock().await;
        let mut tx = handle.open().await?;
        let mut all = Vec::new();
        for member in &self.members {
            all.extend(tx.registry().files_below(member.id, prefix).await?.into_iter().map(file_ref));
        }
        Ok(all)
    }

    async fn given(&self, prefix: &str) -> Result<Vec<String>> {
        let Some(recording) = self.recording else { return Ok(Vec::new()) };
        let mut handle = self.tx.lock().await;
        let mut tx = handle.open().await?;
        let mut all = Vec::new();
        for member in &self.members {
            all.extend(tx.served().below("recording", recording, &member.name, prefix).await?);
        }
        Ok(all)
    }

    async fn read(&self, sha256: &Sha256) -> Result<Bytes> {
        let size = self.blobs.size(sha256).await?.unwrap_or(0);
        if size > READ_LIMIT {
            let text = format!("a document of {size} bytes cannot be read whole");
            return Err(Error::new(ErrorKind::TooLarge, "blob-too-large", text));
        }
        let chunks: Vec<Bytes> = self.blobs.read(sha256, None).await?.try_collect().await?;
        Ok(chunks.concat().into())
    }
}

fn package_view(shelved: Shelved) -> PackageView {
    let Shelved { package, releases, files, pointers } = shelved;
    let mut releases: Vec<ReleaseView> = releases
        .into_iter()
        .map(|r| ReleaseView {
            version: r.version,
            state: if r.state == "yanked" { ReleaseState::Yanked } else { ReleaseState::Admitted },
            yank_reason: r.yank_reason,
            meta: r.meta,
            published: r.published,
            files: Vec::new(),
        })
        .collect();
    let index: HashMap<String, usize> =
        releases.iter().enumerate().map(|(i, r)| (r.version.clone(), i)).collect();
    for file in files {
        if let Some(at) = index.get(&file.version) {
            releases[*at].files.push(file_ref(file));
        }
    }
    PackageView { key: package.key, display: package.display, releases, pointers }
}

/// Adds what a later member has and the earlier ones have not.
fn merge(all: &mut PackageView, more: PackageView) {
    let known: HashSet<String> = all.releases.iter().map(|r| r.version.clone()).collect();
    all.releases.extend(more.releases.into_iter().filter(|r| !known.contains(&r.version)));
    for pointer in more.pointers {
        if !all.pointers.iter().any(|p| p.name == pointer.name) {
            all.pointers.push(pointer);
        }
    }
    all.pointers.sort_by(|a, b| a.name.cmp(&b.name));
}

pub(crate) fn file_ref(file: FileRow) -> FileRef {
    FileRef {
        path: file.path,
        role: file.role,
        sha256: file.digests.sha256,
        size: file.digests.size,
        digests: file.digests,
        meta: file.meta,
        added: file.at,
    }
}
