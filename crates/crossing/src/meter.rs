//! How far long work has come, for whoever asks: one row for each operation, in memory only.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

/// Operations that are remembered at once; one more is heard by nobody.
const MOST: usize = 256;
/// Bytes of an operation's name, at most.
const MAX_NAME: usize = 100;

/// Where an operation stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stand {
    /// What it is doing, in words.
    pub phase: String,
    /// Units done of this phase: bytes, or items where the phase says so.
    pub done: u64,
    /// Units in all; 0 when nobody knows yet.
    pub total: u64,
    /// Units among them that were here already.
    pub held: u64,
}

type Stands = Mutex<HashMap<String, Stand>>;

/// All operations.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Stands>);

impl Board {
    /// A meter for an operation; one without a name, or with one that is too long, is heard by nobody.
    #[must_use]
    pub fn meter(&self, name: Option<&str>) -> Meter {
        let row = |name: &str| Arc::new(Row { board: Arc::clone(&self.0), name: name.to_owned() });
        Meter(name.filter(|name| name.len() <= MAX_NAME).map(row))
    }

    /// Where an operation stands.
    #[must_use]
    pub fn stand(&self, name: &str) -> Option<Stand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// Tells about one operation. Cheap to clone; the row goes with the last one.
#[derive(Clone, Debug, Default)]
pub struct Meter(Option<Arc<Row>>);

#[derive(Debug)]
struct Row {
    board: Arc<Stands>,
    name: String,
}

impl Drop for Row {
    fn drop(&mut self) {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Meter {
    /// `done` of `total` units of a phase are done, `held` of them without work.
    pub fn at(&self, phase: &str, done: u64, total: u64, held: u64) {
        let Some(row) = &self.0 else { return };
        let mut all = row.board.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST || all.contains_key(&row.name) {
            all.insert(row.name.clone(), Stand { phase: phase.to_owned(), done, total, held });
        }
    }
}

impl crate::Progress for Meter {
    fn verifying(&self, done: u64, total: u64) {
        self.at("verifying", done, total, 0);
    }

    fn storing(&self, done: u64, total: u64, held: u64) {
        self.at("storing", done, total, held);
    }

    fn rebuilding(&self, done: u64, total: u64) {
        self.at("rebuilding (items)", done, total, 0);
    }

    fn inspecting(&self, done: u64) {
        self.at("inspecting (items)", done, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_told_as_long_as_somebody_works_at_it() {
        let board = Board::default();
        let meter = board.meter(Some("one"));
        assert_eq!(board.stand("one"), None);
        let other = meter.clone();
        meter.at("packing", 1, 2, 0);
        drop(meter);
        assert_eq!(board.stand("one").map(|stand| stand.done), Some(1));
        drop(other);
        assert_eq!(board.stand("one"), None);
        board.meter(Some(&"x".repeat(101))).at("packing", 1, 2, 0);
        assert_eq!(board.stand(&"x".repeat(101)), None);
    }
}
