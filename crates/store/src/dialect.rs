//! The only file that tells the two databases apart in SQL text.

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite, the default.
    Sqlite,
    /// PostgreSQL, when a team outgrows one machine.
    Postgres,
}

impl Dialect {
    /// Spells the few words of a migration that differ.
    #[must_use]
    pub fn spell(self, sql: &str) -> String {
        match self {
            Self::Sqlite => sql.replace("BYTES_TYPE", "BLOB"),
            Self::Postgres => sql.replace("BYTES_TYPE", "BYTEA"),
        }
    }

    /// Starts a write transaction. SQLite takes its one write lock at once, so that a transaction
    /// never fails half-way because another one wrote in between.
    #[must_use]
    pub fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Starts a read transaction that sees one state of the database until its end.
    #[must_use]
    pub fn begin_read(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN",
            Self::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}
