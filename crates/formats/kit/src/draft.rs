//! What is to change: the one shape in which accept, record and admit meet the commit gate.

use cofferdam_types::{Digests, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One change of a repository.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// Adds a release, or more files to an existing one (a second wheel of the same version).
    /// The gate refuses a path that exists with other bytes; the same bytes again are no change.
    Release(Draft),
    /// Moves a pointer (npm dist-tag): the only mutable thing. `None` removes it.
    Pointer {
        /// The package's key.
        package: String,
        /// The pointer's name.
        name: String,
        /// The version it names from now on.
        version: Option<String>,
    },
    /// Yanks a release: it stays downloadable by those who pinned it.
    Yank {
        /// The package's key.
        package: String,
        /// The version as stored.
        version: String,
        /// The reason shown to clients; empty when none was given.
        reason: String,
    },
    /// Takes a yank back.
    Unyank {
        /// The package's key.
        package: String,
        /// The version as stored.
        version: String,
    },
    /// Replaces a release's own metadata where the ecosystem allows it (npm deprecate).
    Metadata {
        /// The package's key.
        package: String,
        /// The version as stored.
        version: String,
        /// The new metadata.
        meta: Value,
    },
    /// Removes a release that the repository's rules allow to be removed (hosted, unpublish).
    Withdraw {
        /// The package's key.
        package: String,
        /// The version as stored.
        version: String,
    },
}

/// A release that is to be committed. Also what a transfer carries as its claim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// The package's key (normalised name).
    pub package: String,
    /// The package's name as people write it.
    pub display: String,
    /// The version as stored and shown. Unique in the package.
    pub version: String,
    /// The format's own metadata of the release; what `render` needs beyond the files.
    pub meta: Value,
    /// Its files.
    pub files: Vec<DraftFile>,
    /// Pointers that move to this version in the same commit (`latest`, dist-tags).
    pub pointers: Vec<String>,
    /// When upstream (or the publisher) says that it was published, where the ecosystem tells.
    pub published: Option<Timestamp>,
    /// `Some(reason)` when upstream says that it is yanked.
    pub yanked: Option<String>,
}

/// A file of a draft.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DraftFile {
    /// Unique in the repository; the path below `/r/<repository>/`, no leading slash.
    pub path: String,
    /// What it is for its format: `wheel`, `sdist`, `metadata`, `tarball`, `crate`, `file`.
    pub role: String,
    /// Its bytes, already stored through the door.
    pub digests: Digests,
    /// The format's own metadata of the file (such as `requires_python`).
    pub meta: Value,
}
