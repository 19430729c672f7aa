//! Every ceiling of the format, in one table. A transfer past one of them is refused.

/// Raw bytes of one pack. Every pack of a blob's chain but the last has exactly this many.
pub const MAX_PACK_RAW: usize = 8 << 20;
/// A pack as it lies on the medium, bytes: raw bytes, what zstd may add, and age's frame.
pub const MAX_PACK_BYTES: u64 = 9 << 20;
/// Raw bytes of one zstd frame inside a pack.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Packs in one transfer.
pub const MAX_PACKS: u64 = 8_000_000;
/// Volumes, and as many parity volumes.
pub const MAX_VOLUMES: u32 = 50_000;
/// Bytes of one volume, at least.
pub const MIN_VOLUME_BYTES: u64 = 64 << 10;
/// Bytes of one volume, at most.
pub const MAX_VOLUME_BYTES: u64 = 16 << 40;
/// Bytes of one volume unless the caller says otherwise: below the limit of FAT32 (4 GiB - 1).
pub const DEFAULT_VOLUME_BYTES: u64 = 4_000_000_000;
/// Flat files of an inspectable transfer.
pub const MAX_FILES: u64 = 1_000_000;
/// `header.dsse.json`, bytes.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// `README.txt`, bytes.
pub const MAX_README_BYTES: u64 = 64 << 10;
/// The manifest's lines, and the file that holds them, bytes.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 30;
/// One line of the manifest, bytes.
pub const MAX_LINE_BYTES: usize = 16 << 20;
/// Blobs carried, required or rebuilt.
pub const MAX_BLOBS: u64 = 10_000_000;
/// All recipes of a manifest together, bytes: they are held in memory.
pub const MAX_RECIPE_BYTES: usize = 32 << 20;
/// Destinations of one transfer.
pub const MAX_DESTINATIONS: usize = 16;
/// Recipients of one transfer.
pub const MAX_RECIPIENTS: usize = 16;
/// Root documents that travel with a transfer.
pub const MAX_ROOTS: usize = 64;
/// The folder's name, bytes.
pub const MAX_FOLDER_NAME: usize = 240;
/// Entries of a folder that are looked at.
pub const MAX_ENTRIES: usize = 1_200_000;
/// A patch file's list of ranges, bytes.
pub const MAX_PATCH_LIST: u64 = 16 << 20;
