//! The header: the predicate of the one signed statement that everything else hangs on.

use std::collections::BTreeMap;

use cofferdam_types::{Error, Result, Sha256, SiteName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_DESTINATIONS, MAX_FOLDER_NAME};

/// The predicate type of version 1; later versions change its last part.
pub const PREDICATE_TYPE: &str = "https://cofferdam.dev/transfer/v1";
/// What all versions' predicate types start with.
pub(crate) const PREDICATE_FAMILY: &str = "https://cofferdam.dev/transfer/";
/// The one suite of this version: nothing is encrypted.
pub const SUITE: &str = "clear-1";
pub(crate) const HEADER: &str = "header.dsse.json";
pub(crate) const MANIFEST: &str = "manifest.jsonl.zst";
pub(crate) const README: &str = "README.txt";

/// The signed predicate. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Always 1.
    pub format_version: u32,
    /// Always [`SUITE`].
    pub suite: String,
    /// [`stream_name`] of source and destinations.
    pub stream: String,
    /// The site that wrote it.
    pub source: SiteName,
    /// The sites it is for: ascending, distinct, at least one.
    pub destinations: Vec<SiteName>,
    /// Rises only when a stream starts anew.
    pub epoch: u32,
    /// Position in the epoch, from 1.
    pub seq: u64,
    /// SHA-256 of the signed payload of the transfer before; `null` for the first.
    pub prev: Option<Sha256>,
    /// When it was written.
    pub created: Timestamp,
    /// When it stops being fresh.
    pub not_after: Timestamp,
    /// Every file but the header itself, ascending by name.
    pub files: Vec<FileEntry>,
    /// The manifest.
    pub manifest: ManifestEntry,
    /// Number of packs.
    pub packs: u32,
    /// Ceilings the receiver holds the transfer to.
    pub totals: Totals,
    /// Name and version of the writing program.
    pub tool: String,
    /// Digests of other statements this transfer relies on, by name.
    pub claims: BTreeMap<String, Sha256>,
}

/// One file of the transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Name in the folder.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the file as it lies on the medium.
    pub sha256: Sha256,
}

/// The manifest in both its forms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestEntry {
    /// SHA-256 of the file.
    pub sha256: Sha256,
    /// SHA-256 of the JSON lines.
    pub plain_sha256: Sha256,
    /// Length of the JSON lines in bytes.
    pub plain_size: u64,
}

/// What comes out at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Totals {
    /// Blobs carried.
    pub blobs: u64,
    /// Their bytes, unpacked.
    pub expanded_bytes: u64,
}

impl Header {
    /// The only name the folder of this transfer may have.
    #[must_use]
    pub fn folder_name(&self) -> String {
        folder_name(&self.stream, self.epoch, self.seq)
    }
}

pub(crate) fn folder_name(stream: &str, epoch: u32, seq: u64) -> String {
    format!("CT1-{stream}-{epoch}-{seq:06}")
}

pub(crate) fn pack_name(number: u32) -> String {
    format!("p{number:06}.ctp")
}

/// The name of a stream: source and destinations joined by `+`, a character no site name holds.
///
/// # Errors
/// `Invalid` (`bad-destinations`) unless there are 1 to 16 ascending, distinct destinations and the
/// folder's name stays within 240 bytes.
pub fn stream_name(source: &SiteName, destinations: &[SiteName]) -> Result<String> {
    let ascending = destinations.windows(2).all(|pair| pair[0] < pair[1]);
    let mut name = source.to_string();
    for destination in destinations {
        name.push('+');
        name.push_str(destination.as_str());
    }
    let long = folder_name(&name, u32::MAX, u64::MAX).len() > MAX_FOLDER_NAME;
    if destinations.is_empty() || destinations.len() > MAX_DESTINATIONS || !ascending || long {
        let text = "a transfer needs 1 to 16 distinct destinations in ascending order, with names short enough \
                    for one folder name of 240 bytes";
        return Err(Error::invalid("bad-destinations", text));
    }
    Ok(name)
}
