//! How far long work has come, for whoever asks: one row for each operation, in memory only.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

/// Operations that are remembered at once; the oldest goes first.
const MOST: usize = 256;

/// Where an operation stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stand {
    /// What it is doing, in words.
    pub phase: String,
    /// Units done of this phase: bytes, or items where the phase says so.
    pub done: u64,
    /// Units in all.
    pub total: u64,
    /// Units among them that were here already.
    pub held: u64,
}

/// All operations.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Stand>>>);

impl Board {
    /// A meter for an operation; one without a name is heard by nobody.
    #[must_use]
    pub fn meter(&self, name: Option<&str>) -> Meter {
        Meter { board: self.clone(), name: name.map(str::to_owned) }
    }

    /// Where an operation stands.
    #[must_use]
    pub fn stand(&self, name: &str) -> Option<Stand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// Tells about one operation. Cheap to clone; the row goes with the last one.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    board: Board,
    name: Option<String>,
}

impl Meter {
    /// `done` of `total` units of a phase are done, `held` of them without work.
    pub fn at(&self, phase: &str, done: u64, total: u64, held: u64) {
        let Some(name) = &self.name else { return };
        let mut all = self.board.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(name) {
            all.pop_first();
        }
        all.insert(name.clone(), Stand { phase: phase.to_owned(), done, total, held });
    }

    /// The operation has ended.
    pub fn end(&self) {
        if let Some(name) = &self.name {
            self.board.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
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

    fn inspecting(&self, done: u64, total: u64) {
        self.at("inspecting (items)", done, total, 0);
    }
}
