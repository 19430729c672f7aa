//! Checking a whole log offline, from its entries' bytes alone.

use std::collections::BTreeMap;

use cofferdam_types::{
    Error, Result, Sha256,
    merkle::{Roller, leaf},
};

use crate::{Entry, checkpoint::parse};

/// Takes the checkpoints first, then every entry in order, and says whether the log holds.
pub struct Verifier {
    origin: String,
    roller: Roller,
    awaited: BTreeMap<u64, Sha256>,
    checked: u64,
    signed: u64,
    last_at: i64,
    backwards: u64,
}

/// What a verified log is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Entries read.
    pub entries: u64,
    /// Checkpoints whose signature and root hold.
    pub checkpoints: u64,
    /// Entries after the newest checkpoint: present, but not yet signed over.
    pub unsigned_tail: u64,
    /// Entries whose time is before the one in front of them (a clock was set back).
    pub clock_set_back: u64,
    /// The root over all entries.
    pub root: Sha256,
}

impl Verifier {
    /// A verifier of the log of `origin`. `verified_texts` are the checkpoint texts whose note
    /// signatures the caller has already checked against the site's key.
    ///
    /// # Errors
    /// `VerificationFailed` when two checkpoints of one size name different roots (equivocation),
    /// or one is of another log.
    pub fn new(origin: &str, verified_texts: &[String]) -> Result<Self> {
        let mut awaited = BTreeMap::new();
        for text in verified_texts {
            let (found, size, root) = parse(text)?;
            if found != origin {
                return Err(Error::verification(
                    "checkpoint-origin",
                    format!("a checkpoint belongs to `{found}`, not to `{origin}`"),
                ));
            }
            if awaited.insert(size, root).is_some_and(|other| other != root) {
                return Err(Error::verification(
                    "checkpoint-equivocation",
                    format!(
                        "two checkpoints of size {size} name different roots: the log was shown in two versions"
                    ),
                ));
            }
        }
        let mut verifier = Self {
            origin: origin.to_owned(),
            roller: Roller::default(),
            awaited,
            checked: 0,
            signed: 0,
            last_at: i64::MIN,
            backwards: 0,
        };
        verifier.compare()?;
        Ok(verifier)
    }

    /// Takes the next entry: its index and its exact text.
    ///
    /// # Errors
    /// `VerificationFailed` naming the entry when it is missing, edited or out of order.
    pub fn entry(&mut self, index: u64, body: &str) -> Result<()> {
        let expected = self.roller.size();
        if index != expected {
            return Err(Error::verification(
                "audit-order",
                format!(
                    "entry {expected} of the log of `{}` is missing: the next one is {index}",
                    self.origin
                ),
            ));
        }
        let entry: Entry = serde_json::from_str(body).map_err(|e| {
            Error::verification("audit-entry", format!("entry {index} is not an audit entry: {e}"))
        })?;
        self.backwards += u64::from(entry.at.0 < self.last_at);
        self.last_at = entry.at.0;
        self.roller.push(leaf(body.as_bytes()));
        self.compare()
    }

    fn compare(&mut self) -> Result<()> {
        let size = self.roller.size();
        if let Some(root) = self.awaited.remove(&size) {
            if root != self.roller.root() {
                return Err(Error::verification(
                    "audit-root",
                    format!("the first {size} entries are not those that the site signed: one of them was changed, or entries were swapped"),
                )
                .hint("compare with an earlier export to find which; treat everything after the last good checkpoint as unproved"));
            }
            self.checked += 1;
            self.signed = size;
        }
        Ok(())
    }

    /// The verdict once every entry was taken.
    ///
    /// # Errors
    /// `VerificationFailed` when a checkpoint speaks of entries that are not there.
    pub fn finish(self) -> Result<Report> {
        let entries = self.roller.size();
        if let Some((size, _)) = self.awaited.last_key_value() {
            return Err(Error::verification(
                "audit-truncated",
                format!(
                    "the site signed a log of {size} entries, but only {entries} are here: the end was cut off"
                ),
            ));
        }
        Ok(Report {
            entries,
            checkpoints: self.checked,
            unsigned_tail: entries - self.signed,
            clock_set_back: self.backwards,
            root: self.roller.root(),
        })
    }
}
