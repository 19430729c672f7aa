//! What a view shows of a repository.

use cofferdam_types::{Digests, Sha256, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Draft, DraftFile};

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// Clients see it.
    Admitted,
    /// Clients that pinned it still get it.
    Yanked,
}

/// A package as one generation shows it.
#[derive(Clone, Debug)]
pub struct PackageView {
    /// The normalised name.
    pub key: String,
    /// The name as people write it.
    pub display: String,
    /// Releases in the order of [`crate::Format::compare_versions`], oldest first.
    pub releases: Vec<ReleaseView>,
    /// Its pointers, by name.
    pub pointers: Vec<PointerView>,
}

/// A release as one generation shows it.
#[derive(Clone, Debug)]
pub struct ReleaseView {
    /// The version.
    pub version: String,
    /// Admitted or yanked; nothing else is ever shown.
    pub state: ReleaseState,
    /// Why it was yanked.
    pub yank_reason: String,
    /// The format's metadata.
    pub meta: Value,
    /// When it was published (upstream's word, else our commit).
    pub published: Timestamp,
    /// Its files, by path.
    pub files: Vec<FileRef>,
}

impl ReleaseView {
    /// This release with one of its files as it is, but for its metadata: what a file that gains proofs is committed as.
    #[must_use]
    pub fn proving(&self, package: &PackageView, file: &FileRef, meta: Value) -> Draft {
        let (path, role) = (file.path.clone(), file.role.clone());
        Draft {
            package: package.key.clone(),
            display: package.display.clone(),
            version: self.version.clone(),
            meta: self.meta.clone(),
            files: vec![DraftFile { path, role, digests: file.digests.clone(), meta }],
            pointers: Vec::new(),
            published: Some(self.published),
            yanked: None,
        }
    }
}

/// A file as one generation shows it.
#[derive(Clone, Debug)]
pub struct FileRef {
    /// The path below the repository.
    pub path: String,
    /// Its role.
    pub role: String,
    /// Identity.
    pub sha256: Sha256,
    /// Bytes.
    pub size: u64,
    /// All digests.
    pub digests: Digests,
    /// The format's metadata of the file.
    pub meta: Value,
    /// When it was committed.
    pub added: Timestamp,
}

/// A pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointerView {
    /// Such as `latest`.
    pub name: String,
    /// The version that it names.
    pub version: String,
}

/// A file that an index document lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedFile {
    /// The version, as [`crate::Draft`] would store it.
    pub version: String,
    /// Where a client asks for its bytes: below the repository, percent-encoded, without a leading slash.
    pub path: String,
    /// Digests that the index gives, as `algorithm:hex`, strongest first.
    pub digests: Vec<String>,
    /// Bytes, where the index tells.
    pub size: Option<u64>,
    /// A client passes over it unless it is pinned: yanked, or deprecated where that is the word.
    pub yanked: bool,
    /// Where it runs, as [`cofferdam_types::platform`] writes it; empty is everywhere.
    pub platforms: Vec<String>,
}

/// A rendered document, to be stored at commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Unique in the repository, in the format's own naming; not necessarily a URL path (one URL
    /// may have several documents by media type).
    pub path: String,
    /// The media type that goes into `Content-Type`.
    pub media_type: String,
    /// The text.
    pub bytes: Vec<u8>,
}

/// A stored document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRef {
    /// Its path as rendered.
    pub path: String,
    /// Its media type.
    pub media_type: String,
    /// The text's digest; quoted, it is the strong `ETag`.
    pub sha256: Sha256,
    /// The text's size in bytes.
    pub size: u64,
}
