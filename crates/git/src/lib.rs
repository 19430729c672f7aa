//! Git hosting over the git binary.
//!
//! [`GitService`] is what the rest of the house knows; [`GitBinary`] is its implementation, which
//! runs `git upload-pack` and `git receive-pack` over bare repositories named by project number.
//!
//! | module | what |
//! |---|---|
//! | `server` | the folder of repositories, and the environment and configuration of every git process |
//! | `process` | running git: bounded output, bounded time, and an end for all that was started |
//! | `body` | request bodies: gzip, bounds |
//! | `upload` | clone and fetch |
//! | `receive` | a push: quarantine, decision, references |
//! | `refs`, `read` | references, files, history, changes |
//! | `bundle` | a project's history as one file, for transfers |
//!
//! This crate must never decide who may read or push, put text of a user in a path, or read the
//! configuration of the machine's user.

mod body;
mod bundle;
mod oid;
mod process;
mod read;
mod receive;
mod refs;
mod server;
mod upload;

use std::{path::Path, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_types::{ProjectId, Result};
use futures::Stream;

pub use oid::{Oid, check_ref_name};
pub use read::{CommitInfo, TreeEntry};
pub use server::GitBinary;

/// Bytes that arrive over time.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Which half of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Reading: clone and fetch.
    UploadPack,
    /// Writing: push.
    ReceivePack,
}

impl Service {
    /// The name in addresses and media types.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }
}

/// One reference that a push wants to move, or has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefUpdate {
    /// The full name, such as `refs/heads/main`.
    pub name: String,
    /// What it was; zeros when it is new.
    pub old: Oid,
    /// What it becomes; zeros when it is deleted.
    pub new: Oid,
}

/// What the house thinks of a push.
#[async_trait]
pub trait PushPolicy: Send + Sync {
    /// Decides while the objects are in quarantine and no reference has moved. `Err` is shown to the
    /// person who pushes.
    async fn before(&self, updates: &[RefUpdate]) -> std::result::Result<(), String>;

    /// Hears exactly what was moved, before the client hears of success.
    async fn after(&self, updates: &[RefUpdate]);
}

/// A push as it arrives.
pub struct Push {
    /// The `Git-Protocol` header.
    pub protocol: Option<String>,
    /// Whether the body is gzip-compressed.
    pub gzip: bool,
    /// The body.
    pub body: ByteStream,
    /// Who decides.
    pub policy: Arc<dyn PushPolicy>,
    /// Bytes of the pack at the most.
    pub limit: u64,
}

/// Git repositories by project.
#[async_trait]
pub trait GitService: Send + Sync + 'static {
    /// Creates an empty repository; one that exists is left as it is.
    async fn init(&self, project: ProjectId, default_branch: &str) -> Result<()>;

    /// Removes a repository.
    async fn delete(&self, project: ProjectId) -> Result<()>;

    /// The advertisement of `GET …/info/refs?service=…`, with its banner.
    async fn info_refs(
        &self,
        project: ProjectId,
        service: Service,
        protocol: Option<&str>,
    ) -> Result<ByteStream>;

    /// `POST …/git-upload-pack`.
    async fn upload_pack(
        &self,
        project: ProjectId,
        protocol: Option<&str>,
        gzip: bool,
        body: ByteStream,
    ) -> Result<ByteStream>;

    /// `POST …/git-receive-pack`.
    ///
    /// Before the policy agrees, dropping this or its stream ends git, and nothing of the push is
    /// kept. After that the push is finished and the policy told, even if the client is gone.
    async fn receive_pack(&self, project: ProjectId, push: Push) -> Result<ByteStream>;

    /// The commit that `HEAD`, a full reference, a branch, a tag or an id (7 digits or more) names;
    /// in doubt the first of these. Expressions of git (`main~1`) name nothing here.
    async fn resolve(&self, project: ProjectId, revision: &str) -> Result<Option<Oid>>;

    /// A file of a commit; `None` when there is none.
    ///
    /// # Errors
    /// `TooLarge` past `limit` bytes.
    async fn read_file(
        &self,
        project: ProjectId,
        commit: &Oid,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>>;

    /// Every reference, by name.
    async fn list_refs(&self, project: ProjectId) -> Result<Vec<(String, Oid)>>;

    /// The newest commits of a revision.
    async fn log(&self, project: ProjectId, commit: &Oid, limit: usize) -> Result<Vec<CommitInfo>>;

    /// Paths that differ between two commits; every path of `new` when `old` is zero. A rename is
    /// both of its paths.
    async fn changed_paths(&self, project: ProjectId, old: &Oid, new: &Oid) -> Result<Vec<String>>;

    /// Every file of a commit.
    async fn list_tree(&self, project: ProjectId, commit: &Oid) -> Result<Vec<TreeEntry>>;

    /// Sets a reference of ours (such as `refs/pipelines/7`), or deletes it when `new` is zero.
    async fn update_ref(&self, project: ProjectId, name: &str, new: &Oid) -> Result<()>;

    /// Writes a bundle of `refs` without what `have` reaches; returns where the references are. Ids in
    /// `have` that are not known here are passed over. When no object is lacking, `out` is not made.
    async fn bundle(
        &self,
        project: ProjectId,
        refs: &[String],
        have: &[Oid],
        out: &Path,
    ) -> Result<Vec<(String, Oid)>>;

    /// Takes a bundle's objects in, checked, and sets exactly `refs`. A reference that the bundle
    /// leaves out, because its objects were here already, is set as well. A branch that has gone
    /// another way here, and a tag that names something else, are not overwritten: what arrived is
    /// set beside them, under `…/transferred/…`, and those names are returned.
    ///
    /// # Errors
    /// `VerificationFailed` when the bundle is broken, incomplete, holds an object that git's own
    /// check refuses, or holds other references; nothing moves then, and no object is kept.
    async fn unbundle(
        &self,
        project: ProjectId,
        bundle: &Path,
        refs: &[(String, Oid)],
    ) -> Result<Vec<String>>;
}

#[async_trait]
impl GitService for GitBinary {
    async fn init(&self, project: ProjectId, default_branch: &str) -> Result<()> {
        self.0.init(project, default_branch).await
    }

    async fn delete(&self, project: ProjectId) -> Result<()> {
        self.0.delete(project).await
    }

    async fn info_refs(
        &self,
        project: ProjectId,
        service: Service,
        protocol: Option<&str>,
    ) -> Result<ByteStream> {
        self.0.advertise(project, service, protocol).await
    }

    async fn upload_pack(
        &self,
        project: ProjectId,
        protocol: Option<&str>,
        gzip: bool,
        body: ByteStream,
    ) -> Result<ByteStream> {
        self.0.fetch(project, protocol, gzip, body).await
    }

    async fn receive_pack(&self, project: ProjectId, push: Push) -> Result<ByteStream> {
        self.0.push(project, push).await
    }

    async fn resolve(&self, project: ProjectId, revision: &str) -> Result<Option<Oid>> {
        self.0.resolve(project, revision).await
    }

    async fn read_file(
        &self,
        project: ProjectId,
        commit: &Oid,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>> {
        self.0.read_file(project, commit, path, limit).await
    }

    async fn list_refs(&self, project: ProjectId) -> Result<Vec<(String, Oid)>> {
        self.0.list_refs(project).await
    }

    async fn log(&self, project: ProjectId, commit: &Oid, limit: usize) -> Result<Vec<CommitInfo>> {
        self.0.log(project, commit, limit).await
    }

    async fn changed_paths(&self, project: ProjectId, old: &Oid, new: &Oid) -> Result<Vec<String>> {
        self.0.changed_paths(project, old, new).await
    }

    async fn list_tree(&self, project: ProjectId, commit: &Oid) -> Result<Vec<TreeEntry>> {
        self.0.list_tree(project, commit).await
    }

    async fn update_ref(&self, project: ProjectId, name: &str, new: &Oid) -> Result<()> {
        self.0.set_refs(project, &[(name.to_owned(), new.clone())]).await
    }

    async fn bundle(
        &self,
        project: ProjectId,
        refs: &[String],
        have: &[Oid],
        out: &Path,
    ) -> Result<Vec<(String, Oid)>> {
        self.0.bundle(project, refs, have, out).await
    }

    async fn unbundle(
        &self,
        project: ProjectId,
        bundle: &Path,
        refs: &[(String, Oid)],
    ) -> Result<Vec<String>> {
        self.0.unbundle(project, bundle, refs).await
    }
}
