//! Counting what an execution uses.
//!
//! Never asks the machine: the same recipe passes or fails everywhere.

use cofferdam_types::{Error, ErrorKind, Result};

use crate::Limits;

/// What is left of the limits.
pub(crate) struct Budget {
    memory: u64,
    output: u64,
    work: u64,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { memory: limits.memory, output: limits.output, work: limits.work }
    }

    /// Takes memory before it is allocated.
    pub(crate) fn hold(&mut self, bytes: u64) -> Result<()> {
        self.memory = self.memory.checked_sub(bytes).ok_or_else(|| too_large("memory"))?;
        Ok(())
    }

    /// Gives memory back.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.memory = self.memory.saturating_add(bytes);
    }

    /// Takes output before it is written.
    pub(crate) fn write(&mut self, bytes: u64) -> Result<()> {
        self.output = self.output.checked_sub(bytes).ok_or_else(|| too_large("output"))?;
        Ok(())
    }

    /// Takes work.
    pub(crate) fn work(&mut self, units: u64) -> Result<()> {
        self.work = self.work.checked_sub(units).ok_or_else(|| {
            Error::new(
                ErrorKind::TooLarge,
                "recipe-too-much-work",
                "rebuilding this blob takes more work than the site allows",
            )
            .hint("raise the limit of work for recipes, or have the blob sent whole")
        })?;
        Ok(())
    }
}

fn too_large(what: &str) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        "recipe-too-large",
        format!("rebuilding this blob takes more {what} than the site allows"),
    )
    .hint("raise the limit for recipes, or have the blob sent whole")
}
