//! Rows of the Merkle log. What they mean is in the `audit` crate.

use cofferdam_types::{Result, Sha256, Timestamp};

use crate::{
    Row, Tx,
    sql::{args, statements},
};

statements! {
    SIZE = "SELECT COALESCE(MAX(idx) + 1, 0) AS size FROM audit_entry";
    /// Serialises appends on PostgreSQL by the row lock; SQLite has one writer anyway.
    LOCK = "INSERT INTO sequence (name, value) VALUES ('audit', 0) ON CONFLICT (name) DO UPDATE SET value = sequence.value + 1";
    INSERT = "INSERT INTO audit_entry (idx, at, actor, action, target, body) VALUES ($1, $2, $3, $4, $5, $6)";
    INSERT_NODE = "INSERT INTO audit_node (level, idx, hash) VALUES ($1, $2, $3)";
    NODE = "SELECT hash FROM audit_node WHERE level = $1 AND idx = $2";
    NODES = "SELECT idx, hash FROM audit_node WHERE level = $1 AND idx >= $2 AND idx < $3 ORDER BY idx";
    ENTRIES = "SELECT idx, at, actor, action, target, body FROM audit_entry WHERE idx >= $1 ORDER BY idx LIMIT $2";
    LATEST = "SELECT idx, at, actor, action, target, body FROM audit_entry WHERE idx < $1 ORDER BY idx DESC LIMIT $2";
    BY_TARGET = "SELECT idx, at, actor, action, target, body FROM audit_entry WHERE target = $1 ORDER BY idx DESC LIMIT $2";
    INSERT_CHECKPOINT = "INSERT INTO audit_checkpoint (size, root, note, at) VALUES ($1, $2, $3, $4) ON CONFLICT (size) DO NOTHING";
    LAST_CHECKPOINT = "SELECT size, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1";
    CHECKPOINTS = "SELECT size, note FROM audit_checkpoint ORDER BY size";
}

/// An entry as stored. `body` is the canonical text whose hash is the leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntryRow {
    /// Position in the log, from 0.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What, as a constant such as `transfer.approve`.
    pub action: String,
    /// To what.
    pub target: String,
    /// The entry's canonical JSON text, which repeats the above.
    pub body: String,
}

/// Rows of the log.
pub struct AuditRows<'t>(pub(crate) &'t mut Tx);

impl AuditRows<'_> {
    /// Takes the right to append until the end of the transaction and returns the log's size.
    ///
    /// # Errors
    /// `Internal` when the database fails; so for every method here.
    pub async fn lock(&mut self) -> Result<u64> {
        self.0.execute(LOCK, args![]).await?;
        self.size().await
    }

    /// The number of entries.
    pub async fn size(&mut self) -> Result<u64> {
        self.0.one(SIZE, args![]).await?.size("size")
    }

    /// Adds an entry.
    pub async fn insert(&mut self, row: &AuditEntryRow) -> Result<()> {
        let values = args![row.index, row.at, &row.actor, &row.action, &row.target, &row.body];
        self.0.execute(INSERT, values).await.map(drop)
    }

    /// Adds the hash of a complete subtree of `2^level` leaves.
    pub async fn insert_node(&mut self, level: u32, index: u64, hash: &Sha256) -> Result<()> {
        self.0.execute(INSERT_NODE, args![level, index, hash]).await.map(drop)
    }

    /// The hash of a complete subtree.
    pub async fn node(&mut self, level: u32, index: u64) -> Result<Option<Sha256>> {
        self.0.optional(NODE, args![level, index]).await?.map(|row| row.sha256("hash")).transpose()
    }

    /// The hashes of a range of subtrees of one level.
    pub async fn nodes(&mut self, level: u32, from: u64, to: u64) -> Result<Vec<(u64, Sha256)>> {
        let rows = self.0.all(NODES, args![level, from, to]).await?;
        rows.iter().map(|row| Ok((row.size("idx")?, row.sha256("hash")?))).collect()
    }

    /// Entries from an index on.
    pub async fn entries(&mut self, from: u64, limit: usize) -> Result<Vec<AuditEntryRow>> {
        self.0.all(ENTRIES, args![from, limit]).await?.iter().map(entry).collect()
    }

    /// Entries before an index, newest first.
    pub async fn latest(&mut self, before: u64, limit: usize) -> Result<Vec<AuditEntryRow>> {
        self.0.all(LATEST, args![before, limit]).await?.iter().map(entry).collect()
    }

    /// The newest entries about one target, oldest first.
    pub async fn by_target(&mut self, target: &str, limit: usize) -> Result<Vec<AuditEntryRow>> {
        self.0.all(BY_TARGET, args![target, limit]).await?.iter().rev().map(entry).collect()
    }

    /// Keeps a signed checkpoint.
    pub async fn insert_checkpoint(
        &mut self,
        size: u64,
        root: &Sha256,
        note: &str,
        at: Timestamp,
    ) -> Result<()> {
        self.0.execute(INSERT_CHECKPOINT, args![size, root, note, at]).await.map(drop)
    }

    /// The newest checkpoint: `(size, signed note)`.
    pub async fn last_checkpoint(&mut self) -> Result<Option<(u64, String)>> {
        let row = self.0.optional(LAST_CHECKPOINT, args![]).await?;
        row.map(|row| Ok((row.size("size")?, row.text("note")?))).transpose()
    }

    /// Every checkpoint, oldest first.
    pub async fn checkpoints(&mut self) -> Result<Vec<(u64, String)>> {
        let rows = self.0.all(CHECKPOINTS, args![]).await?;
        rows.iter().map(|row| Ok((row.size("size")?, row.text("note")?))).collect()
    }
}

fn entry(row: &Row) -> Result<AuditEntryRow> {
    Ok(AuditEntryRow {
        index: row.size("idx")?,
        at: row.time("at")?,
        actor: row.text("actor")?,
        action: row.text("action")?,
        target: row.text("target")?,
        body: row.text("body")?,
    })
}
