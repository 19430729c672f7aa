//! The header: the predicate of the one signed statement that everything else hangs on.

use std::collections::BTreeMap;

use cofferdam_parity::Geometry;
use cofferdam_trust::age::Recipient;
use cofferdam_types::{Error, Result, Sha256, SiteName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_DESTINATIONS, MAX_FOLDER_NAME};

/// The predicate type of version 1; later versions change its last part.
pub const PREDICATE_TYPE: &str = "https://cofferdam.dev/transfer/v1";
/// What all versions' predicate types start with.
pub(crate) const PREDICATE_FAMILY: &str = "https://cofferdam.dev/transfer/";

/// How the bytes lie on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suite {
    /// Packs of zstd frames, each pack an age v1 file, cut into volumes.
    #[serde(rename = "sealed-1")]
    Sealed,
    /// One flat file an item, with its own name, readable by any scanner.
    #[serde(rename = "inspectable-1")]
    Inspectable,
}

impl Suite {
    /// The text in the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed-1",
            Self::Inspectable => "inspectable-1",
        }
    }
}

/// The signed predicate. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Header {
    /// Always 1.
    pub format_version: u32,
    /// How the bytes lie on the medium.
    pub suite: Suite,
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
    /// Whose keys open it: ascending, distinct; none when nothing is encrypted.
    pub recipients: Vec<Recipient>,
    /// Every fixed file but the header itself, in the order of [`Header::expected_files`].
    pub files: Vec<FileEntry>,
    /// The manifest's lines.
    pub manifest: ManifestEntry,
    /// The payload of a sealed transfer.
    pub payload: Payload,
    /// How parity lies over manifest and payload; `null` when there is none.
    pub parity: Option<Geometry>,
    /// The flat files of an inspectable transfer.
    pub items: Option<Items>,
    /// The blobs that the receiver must hold already: Merkle root over `sha256 || size`, and number.
    pub base: Option<Base>,
    /// SHA-256 of the receipt that the base was computed from.
    pub receipt: Option<Sha256>,
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

/// The manifest's lines, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestEntry {
    /// SHA-256 of the JSON lines.
    pub plain_sha256: Sha256,
    /// Length of the JSON lines in bytes.
    pub plain_size: u64,
}

/// All packs, one after the other, cut into volumes of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Payload {
    /// Bytes of all volumes.
    pub size: u64,
    /// Bytes of each volume but the last, which may be shorter.
    pub volume_size: u64,
    /// Number of packs.
    pub packs: u64,
}

/// The flat files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Items {
    /// RFC 6962 Merkle root over the manifest's `file` lines, each without its newline.
    pub root: Sha256,
    /// How many.
    pub count: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// What the receiver must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// RFC 6962 Merkle root over the manifest's `requires` lines, each without its newline.
    pub root: Sha256,
    /// How many.
    pub count: u64,
}

/// What comes out, exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Totals {
    /// Blobs carried whole, payloads of recipes among them.
    pub blobs: u64,
    /// Their bytes, unpacked.
    pub expanded_bytes: u64,
    /// Blobs rebuilt by recipes.
    pub rebuilt: u64,
    /// Their bytes.
    pub rebuilt_bytes: u64,
}

impl Header {
    /// The only name the folder of this transfer may have.
    #[must_use]
    pub fn folder_name(&self) -> String {
        folder_name(&self.stream, self.epoch, self.seq)
    }

    /// Number of volumes.
    #[must_use]
    pub fn volumes(&self) -> u32 {
        parts(self.payload.size, self.payload.volume_size)
    }

    /// Number of parity volumes.
    #[must_use]
    pub fn parity_volumes(&self) -> u32 {
        let bytes = self.parity.as_ref().and_then(|g| g.check().ok()).map_or(0, |layout| layout.parity_len());
        parts(bytes, self.payload.volume_size)
    }

    /// The entry of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.name == name)
    }

    /// The manifest's name under this suite.
    #[must_use]
    pub const fn manifest_name(&self) -> &'static str {
        match self.suite {
            Suite::Sealed => crate::name::MANIFEST_SEALED,
            Suite::Inspectable => crate::name::MANIFEST_CLEAR,
        }
    }

    /// Bytes of all fixed files and flat files together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let fixed = self.files.iter().fold(0u64, |sum, f| sum.saturating_add(f.size));
        fixed.saturating_add(self.items.map_or(0, |i| i.bytes))
    }
}

/// How many volumes of `each` bytes hold `bytes`; past `u32` it stays at its end.
pub(crate) fn parts(bytes: u64, each: u64) -> u32 {
    if bytes == 0 || each == 0 {
        return 0;
    }
    u32::try_from(bytes.div_ceil(each)).unwrap_or(u32::MAX)
}

pub(crate) fn folder_name(stream: &str, epoch: u32, seq: u64) -> String {
    format!("CT1-{stream}-{epoch}-{seq:06}")
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
