//! Git hosting over the git binary.
//!
//! [`GitService`] is what the rest of the house knows; [`GitBinary`] is its implementation, which
//! runs `git upload-pack` and `git receive-pack` over bare repositories named by project number.
//!
//! | module | what |
//! |---|---|
//! | `command` | running git with a clean environment, bounded in time, killed when nobody listens |
//! | `serve` | smart HTTP, both ways, and the decision before a push's references move |
//! | `read` | references, files, changes |
//! | `bundle` | a project's history as one file, for transfers |
//!
//! This crate must never decide who may read or push, put text of a user in a path, or read the
//! configuration of the machine's user.

mod bundle;
mod command;
mod oid;
mod read;
mod serve;

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_types::{Error, ProjectId, Result};
use futures::Stream;

pub use oid::{Oid, check_ref_name};
pub use read::{CommitInfo, TreeEntry};

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
    async fn receive_pack(&self, project: ProjectId, push: Push) -> Result<ByteStream>;

    /// The commit that a reference or abbreviated id names.
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

    /// Paths that differ between two commits.
    async fn changed_paths(&self, project: ProjectId, old: &Oid, new: &Oid) -> Result<Vec<String>>;

    /// Every file of a commit.
    async fn list_tree(&self, project: ProjectId, commit: &Oid) -> Result<Vec<TreeEntry>>;

    /// Sets a reference of ours (such as `refs/pipelines/7`).
    async fn update_ref(&self, project: ProjectId, name: &str, new: &Oid) -> Result<()>;

    /// Writes a bundle of `refs` without what `have` reaches; returns the references in it.
    async fn bundle(
        &self,
        project: ProjectId,
        refs: &[String],
        have: &[Oid],
        out: &Path,
    ) -> Result<Vec<(String, Oid)>>;

    /// Takes a bundle's objects in, checked, and sets exactly `refs`.
    ///
    /// # Errors
    /// `VerificationFailed` when the bundle is broken or holds other references; nothing moves then.
    async fn unbundle(&self, project: ProjectId, bundle: &Path, refs: &[(String, Oid)]) -> Result<()>;
}

/// [`GitService`] over the git binary.
#[derive(Clone, Debug)]
pub struct GitBinary {
    root: Arc<PathBuf>,
}

/// The oldest git that is known to work: protocol v2 and `--end-of-options`.
const FLOOR: (u32, u32) = (2, 30);

impl GitBinary {
    /// Uses `root` as the folder of repositories and finds git.
    ///
    /// # Errors
    /// `Unavailable` when git is missing or too old, saying how to get it.
    pub async fn open(root: &Path) -> Result<Self> {
        for folder in [root.to_owned(), root.join("hooks"), root.join("home"), root.join("pushes")] {
            std::fs::create_dir_all(&folder)
                .map_err(|e| Error::io("making the folder of git repositories", e))?;
        }
        serve::write_hook(&root.join("hooks"))?;
        serve::release_orphans(&root.join("pushes"))?;
        let git = Self { root: Arc::new(root.to_owned()) };
        let text = git.text(&git.plain(["--version"])).await.map_err(|_| missing("git was not found"))?;
        let mut numbers =
            text.trim_start_matches("git version ").split('.').map_while(|n| n.trim().parse().ok());
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < FLOOR {
            return Err(missing(&format!(
                "git {}.{} is too old: {}.{} is needed",
                version.0, version.1, FLOOR.0, FLOOR.1
            )));
        }
        Ok(git)
    }

    fn folder(&self, project: ProjectId) -> PathBuf {
        self.root.join(format!("{project}.git"))
    }
}

fn missing(why: &str) -> Error {
    Error::new(cofferdam_types::ErrorKind::Unavailable, "git-missing", why).hint(
        "install git with the machine's package manager (Debian: apt-get install git), then start again",
    )
}

#[async_trait]
impl GitService for GitBinary {
    async fn init(&self, project: ProjectId, default_branch: &str) -> Result<()> {
        check_ref_name(&format!("refs/heads/{default_branch}"))?;
        let folder = self.folder(project);
        if folder.join("HEAD").exists() {
            return Ok(());
        }
        let mut command = self.plain(["init", "--quiet", "--bare"]);
        command.arg(format!("--initial-branch={default_branch}")).arg(&folder);
        self.text(&command).await.map(drop)
    }

    async fn delete(&self, project: ProjectId) -> Result<()> {
        match tokio::fs::remove_dir_all(self.folder(project)).await {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("removing a git repository", e))
            }
            _ => Ok(()),
        }
    }

    async fn info_refs(
        &self,
        project: ProjectId,
        service: Service,
        protocol: Option<&str>,
    ) -> Result<ByteStream> {
        serve::info_refs(self, project, service, protocol).await
    }

    async fn upload_pack(
        &self,
        project: ProjectId,
        protocol: Option<&str>,
        gzip: bool,
        body: ByteStream,
    ) -> Result<ByteStream> {
        serve::upload_pack(self, project, protocol, gzip, body).await
    }

    async fn receive_pack(&self, project: ProjectId, push: Push) -> Result<ByteStream> {
        serve::receive_pack(self, project, push).await
    }

    async fn resolve(&self, project: ProjectId, revision: &str) -> Result<Option<Oid>> {
        read::resolve(self, project, revision).await
    }

    async fn read_file(
        &self,
        project: ProjectId,
        commit: &Oid,
        path: &str,
        limit: u64,
    ) -> Result<Option<Vec<u8>>> {
        read::read_file(self, project, commit, path, limit).await
    }

    async fn list_refs(&self, project: ProjectId) -> Result<Vec<(String, Oid)>> {
        read::list_refs(self, project).await
    }

    async fn log(&self, project: ProjectId, commit: &Oid, limit: usize) -> Result<Vec<CommitInfo>> {
        read::log(self, project, commit, limit).await
    }

    async fn changed_paths(&self, project: ProjectId, old: &Oid, new: &Oid) -> Result<Vec<String>> {
        read::changed_paths(self, project, old, new).await
    }

    async fn list_tree(&self, project: ProjectId, commit: &Oid) -> Result<Vec<TreeEntry>> {
        read::list_tree(self, project, commit).await
    }

    async fn update_ref(&self, project: ProjectId, name: &str, new: &Oid) -> Result<()> {
        check_ref_name(name)?;
        let mut command = self.within(project, ["update-ref"]);
        command.arg(name).arg(new.as_str());
        self.text(&command).await.map(drop)
    }

    async fn bundle(
        &self,
        project: ProjectId,
        refs: &[String],
        have: &[Oid],
        out: &Path,
    ) -> Result<Vec<(String, Oid)>> {
        bundle::write(self, project, refs, have, out).await
    }

    async fn unbundle(&self, project: ProjectId, bundle: &Path, refs: &[(String, Oid)]) -> Result<()> {
        bundle::read(self, project, bundle, refs).await
    }
}
