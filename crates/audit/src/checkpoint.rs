//! Signed checkpoints: C2SP tlog-checkpoint in a signed note.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_store::Tx;
use cofferdam_types::{Error, Result, Sha256, Timestamp};

use crate::entry;

/// Signs the log as it is in this transaction and keeps the note. `sign` makes a signed note of a
/// checkpoint's text; the key never comes here.
///
/// # Errors
/// What `sign` says; `Internal` when the database fails.
pub async fn checkpoint(
    tx: &mut Tx,
    origin: &str,
    sign: impl FnOnce(&str) -> Result<String>,
    now: Timestamp,
) -> Result<String> {
    let size = entry::size(tx).await?;
    let root = entry::root(tx, size).await?;
    let note = sign(&text(origin, size, &root))?;
    tx.audit().insert_checkpoint(size, &root, &note, now).await?;
    Ok(note)
}

/// The newest kept checkpoint: its size and its signed note.
///
/// # Errors
/// `Internal` when the database fails.
pub async fn latest_checkpoint(tx: &mut Tx) -> Result<Option<(u64, String)>> {
    tx.audit().last_checkpoint().await
}

/// The text that is signed: origin, size, root.
pub(crate) fn text(origin: &str, size: u64, root: &Sha256) -> String {
    format!("{origin}\n{size}\n{}\n", STANDARD.encode(root.0))
}

/// Reads a checkpoint's text.
pub(crate) fn parse(text: &str) -> Result<(String, u64, Sha256)> {
    let wrong =
        || Error::verification("checkpoint-text", "a checkpoint is not in the form origin, size, root");
    let mut lines = text.lines();
    let (origin, size, root) =
        (lines.next().ok_or_else(wrong)?, lines.next().ok_or_else(wrong)?, lines.next().ok_or_else(wrong)?);
    let size = size.parse().map_err(|_| wrong())?;
    let root: [u8; 32] =
        STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?;
    Ok((origin.to_owned(), size, Sha256(root)))
}
