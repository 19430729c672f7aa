//! What a generation changed, as the text whose digest is in its root.
//!
//! The text is one JSON list, as long as the commit is large: it is hashed while it grows, and what is more than one
//! row should hold goes into further rows at once. This file must never leave out or reorder a change: whoever puts
//! the rows together again gets the text of the digest.

use cofferdam_format_kit::Change;
use cofferdam_store::Tx;
use cofferdam_types::{Error, RepositoryId, Result, Sha256, Sha256Hasher};

/// Bytes that one row holds, about.
const PART: usize = 1 << 20;

/// The growing text.
#[derive(Default)]
pub(crate) struct History {
    hasher: Sha256Hasher,
    /// What is not in a row yet.
    tail: String,
    /// The first part, which the generation's own row will hold, once it is full.
    first: Option<String>,
    parts: u64,
    begun: bool,
}

impl History {
    /// Adds a change.
    pub(crate) fn add(&mut self, change: &Change) -> Result<()> {
        let text = serde_json::to_string(change).map_err(|e| Error::internal("a generation's changes", e))?;
        self.push(if self.begun { "," } else { "[" });
        self.push(&text);
        self.begun = true;
        Ok(())
    }

    fn push(&mut self, text: &str) {
        self.hasher.update(text.as_bytes());
        self.tail.push_str(text);
    }

    /// Puts a full part into a row of its own; the first waits for the generation's.
    pub(crate) async fn flush(&mut self, tx: &mut Tx, id: RepositoryId, generation: u64) -> Result<()> {
        if self.tail.len() < PART {
            return Ok(());
        }
        let part = std::mem::take(&mut self.tail);
        if self.first.is_none() {
            self.first = Some(part);
            return Ok(());
        }
        self.parts += 1;
        tx.registry().add_changes(id, generation, self.parts, &part).await
    }

    /// Writes what is left: the first part and the digest of the whole text; `None` when there was no change.
    pub(crate) async fn finish(
        mut self,
        tx: &mut Tx,
        id: RepositoryId,
        generation: u64,
    ) -> Result<Option<(String, Sha256)>> {
        if !self.begun {
            return Ok(None);
        }
        self.push("]");
        let first = match self.first.take() {
            None => self.tail,
            Some(first) => {
                tx.registry().add_changes(id, generation, self.parts + 1, &self.tail).await?;
                first
            }
        };
        Ok(Some((first, self.hasher.finish())))
    }
}
