//! The database: SQLite and PostgreSQL behind one SQL text, one transaction object, one task queue.
//!
//! Start at [`Db`]: `db.write().await?` and `db.read().await?` give a [`Tx`]; a `Tx` hands out small
//! repositories ([`Tx::tasks`], [`Tx::registry`], …), and dropping it without [`Tx::commit`] rolls
//! everything back. All SQL of the product is in this crate, as named constants made by
//! `statements!`, so that one test can prepare every statement on both databases.
//!
//! To add a repository: a migration in `migrations/` (portable types only: `BIGINT`, `TEXT`, and
//! `BYTES_TYPE`, which [`dialect`] spells for each database), a module here with its statements and
//! a struct over `&mut Tx`, an accessor on `Tx`, and a line in [`statements`].
//!
//! This crate must never hold business rules, read the clock, or do I/O other than the database's:
//! a write transaction is short, because SQLite has one writer.

mod access;
mod audit;
mod bulk;
mod carry;
mod collections;
mod crossing;
mod db;
pub mod dialect;
mod forge;
mod many;
mod migrate;
mod paperwork;
mod registry;
mod row;
mod served;
mod settings;
mod sql;
mod tasks;
mod tx;

pub use access::{AccessRows, ApprovalRow, PersonRow, TokenOwner, TokenRow, VoteRow};
pub use audit::{AuditEntryRow, AuditRows};
pub use bulk::{HeldFile, PointerAt, TakenPath};
pub use carry::{CarryRows, ReceiptRow};
pub use collections::{CollectionRows, RuleRow};
pub use crossing::{CrossingRows, Json, RecordingRow, TransferItemRow, TransferRow};
pub use db::Db;
pub use forge::{
    ArtifactRow, ForgeRows, JobRow, JobStep, NewJob, NewPipeline, PipelineRow, ProjectRow, RunnerRow,
    StatementRow,
};
pub use paperwork::{MediumRow, NewWant, WantRow};
pub use registry::{
    BlobRow, DocumentRow, FileRow, GenerationRow, NewDocument, NewFile, NewRelease, PackageRow, RegistryRows,
    ReleaseRow, RepositoryRow,
};
pub use row::{Row, Value};
pub use served::{ServedRow, ServedRows};
pub use settings::Settings;
pub use tasks::{NewTask, TaskRow, Tasks};
pub use tx::Tx;

/// Every statement of the product, by name, for the test that prepares them on both databases.
#[must_use]
pub fn statements() -> Vec<(&'static str, &'static str)> {
    [
        access::STATEMENTS,
        audit::STATEMENTS,
        bulk::STATEMENTS,
        carry::STATEMENTS,
        collections::STATEMENTS,
        crossing::STATEMENTS,
        forge::STATEMENTS,
        paperwork::STATEMENTS,
        registry::STATEMENTS,
        served::STATEMENTS,
        settings::STATEMENTS,
        tasks::STATEMENTS,
        tx::STATEMENTS,
    ]
    .concat()
}
