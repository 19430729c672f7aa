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

    /// Starts a transaction. SQLite takes its one write lock at once, so that a transaction that writes never fails
    /// half-way because another one wrote in between; one that reads sees one state of the database until its end.
    ///
    /// In SQLite's write-ahead log a commit with `synchronous = FULL` makes everything before it durable, too; so does
    /// PostgreSQL's.
    #[must_use]
    pub fn begin(self, how: Begin) -> &'static str {
        match (self, how) {
            (Self::Sqlite, Begin::Write) => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            (Self::Sqlite, Begin::WriteBehind) => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
            (Self::Sqlite, Begin::Read) => "BEGIN",
            (Self::Postgres, Begin::Write) => "BEGIN",
            (Self::Postgres, Begin::WriteBehind) => "BEGIN; SET LOCAL synchronous_commit = off",
            (Self::Postgres, Begin::Read) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It only reads.
    Read,
    /// It may write, and is durable when it is committed.
    Write,
    /// It may write, and is durable with the next one that is [`Begin::Write`].
    WriteBehind,
}
