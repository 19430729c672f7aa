//! A repository as one generation shows it. Read-only: no writes, no network.

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_types::{Result, Sha256};
use serde::{Deserialize, Serialize};

use crate::{DocumentRef, FileRef, PackageView};

/// What sort of repository it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepositoryKind {
    /// Takes publishes from clients.
    Hosted,
    /// Filled only by the recorder (connected) or by admission (isolated); never by clients.
    Mirror,
    /// Ordered members shown as one.
    Group,
}

/// The facts of a repository.
#[derive(Clone, Debug)]
pub struct RepositoryView {
    /// Its name in URLs.
    pub name: String,
    /// Its kind.
    pub kind: RepositoryKind,
    /// Its absolute public address, without a trailing slash, for documents that need one.
    pub base: String,
}

/// Reads of one generation. In a group, a name of a hosted member hides the same name of every
/// mirror (dependency confusion): the view has already decided that; formats need not think of it.
#[async_trait]
pub trait View: Send + Sync {
    /// The repository.
    fn repository(&self) -> &RepositoryView;

    /// A rendered document.
    async fn document(&self, path: &str) -> Result<Option<DocumentRef>>;

    /// A committed file by its path.
    async fn file(&self, path: &str) -> Result<Option<FileRef>>;

    /// A package with its visible releases; `None` when there is none.
    async fn package(&self, key: &str) -> Result<Option<PackageView>>;

    /// Package names after `after`, in key order, at most `limit`: `(key, display)`.
    async fn packages(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, String)>>;

    /// Packages whose key or display name contains `text`, best first, at most `limit` keys.
    async fn search(&self, text: &str, limit: usize) -> Result<Vec<String>>;

    /// Files whose path begins with `prefix` (which ends in a slash), those of the releases published
    /// first before others, then by path.
    async fn below(&self, prefix: &str) -> Result<Vec<FileRef>>;

    /// Paths of files below `prefix` that the recording in whose name the request is made was given,
    /// first given first. Empty outside recordings and their rehearsals.
    async fn given(&self, prefix: &str) -> Result<Vec<String>>;

    /// A small blob whole (metadata documents); at most 16 MiB.
    async fn read(&self, sha256: &Sha256) -> Result<Bytes>;
}
