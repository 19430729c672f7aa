//! Appending, in the caller's transaction.

use cofferdam_store::{AuditEntryRow, Tx};
use cofferdam_types::{Error, Result, Sha256, Timestamp, merkle};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who did what to what, when. The fields are written in this order; the text is the leaf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the site's clock.
    pub at: Timestamp,
    /// Who: `person:alice`, `job:17`, `runner:1`, `system`.
    pub actor: String,
    /// What: a constant of the code that does it, such as `transfer.approve`.
    pub action: String,
    /// To what: `transfer:3`, `repository:pypi`.
    pub target: String,
    /// Everything else that an auditor needs; digests rather than contents, never a secret.
    pub detail: Value,
}

/// Appends an entry and returns its index. Durable exactly when the caller's transaction is.
///
/// # Errors
/// `Internal` when the database fails.
pub async fn append(tx: &mut Tx, entry: &Entry) -> Result<u64> {
    let body = serde_json::to_string(entry).map_err(|e| Error::internal("an audit entry", e))?;
    let index = tx.audit().lock().await?;
    let mut hash = merkle::leaf(body.as_bytes());
    let row = AuditEntryRow {
        index,
        at: entry.at,
        actor: entry.actor.clone(),
        action: entry.action.clone(),
        target: entry.target.clone(),
        body,
    };
    tx.audit().insert(&row).await?;
    tx.audit().insert_node(0, index, &hash).await?;
    // Every complete subtree that this leaf closes is stored once and never changes.
    for level in 0.. {
        if (index >> level) & 1 == 0 {
            break;
        }
        let left = node(tx, level, (index >> level) - 1).await?;
        hash = merkle::parent(&left, &hash);
        tx.audit().insert_node(level + 1, index >> (level + 1), &hash).await?;
    }
    Ok(index)
}

/// The number of entries.
///
/// # Errors
/// `Internal` when the database fails.
pub async fn size(tx: &mut Tx) -> Result<u64> {
    tx.audit().size().await
}

/// The root over the first `size` entries.
///
/// # Errors
/// `Internal` when the database fails or a node is missing.
pub async fn root(tx: &mut Tx, size: u64) -> Result<Sha256> {
    range(tx, 0, size).await
}

/// The inclusion proof of entry `index` in the log of `size` entries (RFC 6962, section 2.1.1).
///
/// # Errors
/// `Invalid` when the index is not in a log of that size.
pub async fn inclusion(tx: &mut Tx, index: u64, size: u64) -> Result<Vec<Sha256>> {
    if index >= size {
        return Err(Error::invalid("audit-index", format!("entry {index} is not among the first {size}")));
    }
    let mut proof = Vec::new();
    for (from, to) in merkle::path(index, size) {
        proof.push(range(tx, from, to).await?);
    }
    Ok(proof)
}

/// A page of entries from `from` on.
///
/// # Errors
/// `Internal` when the database fails.
pub async fn entries(tx: &mut Tx, from: u64, limit: usize) -> Result<Vec<AuditEntryRow>> {
    tx.audit().entries(from, limit).await
}

async fn range(tx: &mut Tx, from: u64, to: u64) -> Result<Sha256> {
    let mut hashes = Vec::new();
    for (level, index) in merkle::cover(from, to) {
        hashes.push(node(tx, level, index).await?);
    }
    Ok(merkle::fold(&hashes))
}

async fn node(tx: &mut Tx, level: u32, index: u64) -> Result<Sha256> {
    let found = tx.audit().node(level, index).await?;
    found.ok_or_else(|| {
        Error::internal("reading the audit log", std::io::Error::other(format!("no node {level}/{index}")))
    })
}
