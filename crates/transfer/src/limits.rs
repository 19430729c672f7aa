//! Every ceiling of the format, in one table. A transfer past one of them is refused.

/// A whole pack file, bytes; its plaintext is never longer.
pub const MAX_PACK_BYTES: u64 = 64 << 20;
/// Raw bytes of one frame.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Packs in one transfer.
pub const MAX_PACKS: u32 = 100_000;
/// `header.dsse.json`, bytes.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// `README.txt`, bytes.
pub const MAX_README_BYTES: u64 = 64 << 10;
/// The manifest, unpacked, bytes.
pub const MAX_MANIFEST_BYTES: u64 = 4 << 30;
/// One line of the manifest, bytes.
pub const MAX_LINE_BYTES: usize = 16 << 20;
/// Blobs carried or required.
pub const MAX_BLOBS: u64 = 10_000_000;
/// Destinations of one transfer.
pub const MAX_DESTINATIONS: usize = 16;
/// The folder's name, bytes.
pub const MAX_FOLDER_NAME: usize = 240;
