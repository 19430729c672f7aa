//! Opening the database and starting transactions.

use std::{path::Path, str::FromStr as _, time::Duration};

use cofferdam_types::{Error, ErrorKind, Result};
use sqlx::{
    PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    Tx,
    dialect::{Begin, Dialect},
    migrate,
};

/// A database with all migrations applied. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Db(Inner);

#[derive(Clone, Debug)]
enum Inner {
    /// One writer, because SQLite has one write lock; readers see the last commit meanwhile (WAL).
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

const READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;
const WAIT: Duration = Duration::from_secs(120);

impl Db {
    /// Opens (or creates) a SQLite database file and migrates it.
    ///
    /// # Errors
    /// `Internal` when the file cannot be opened, or was written by a newer version.
    pub async fn open_sqlite(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A write is acknowledged when it is durable: NORMAL could lose the last commits.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(WAIT)
            .pragma("cache_size", "-4096")
            .foreign_keys(false);
        let opened = |e| Error::internal(format!("opening the database {}", path.display()), e);
        let pool = |n: u32| {
            SqlitePoolOptions::new()
                .max_connections(n)
                .acquire_timeout(WAIT)
                .idle_timeout(None)
                // A full disk can end a transaction behind the library's back; its roll-back then fails, and the
                // connection would never begin another one. It is closed, and a fresh one opened.
                .before_acquire(|connection, _| {
                    Box::pin(async move { Ok(!sqlx::Connection::is_in_transaction(connection)) })
                })
        };
        // A publication of very many items touches more pages than a reader; without room they are written again and
        // again.
        let roomy = options.clone().pragma("cache_size", "-32768");
        let writer = pool(1).connect_with(roomy).await.map_err(opened)?;
        let db = Self(Inner::Sqlite { writer: writer.clone(), readers: writer });
        migrate::run(&db).await?;
        let Self(Inner::Sqlite { writer, .. }) = db else { unreachable!("made above") };
        let readers = pool(READERS).connect_with(options.read_only(true)).await.map_err(opened)?;
        Ok(Self(Inner::Sqlite { writer, readers }))
    }

    /// Opens a PostgreSQL database by its connection URL and migrates it.
    ///
    /// # Errors
    /// `Unavailable` when the server does not answer.
    pub async fn open_postgres(url: &str) -> Result<Self> {
        let options = PgConnectOptions::from_str(url).map_err(|e| {
            Error::invalid("database-url", "the PostgreSQL address cannot be read").with_source(e)
        })?;
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(WAIT)
            .connect_with(options)
            .await
            .map_err(|e| {
                Error::new(ErrorKind::Unavailable, "database-away", "the PostgreSQL server does not answer")
                    .hint("check [database] url in cofferdam.toml and that the server runs")
                    .with_source(e)
            })?;
        let db = Self(Inner::Postgres(pool));
        migrate::run(&db).await?;
        Ok(db)
    }

    /// Which database it is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.0 {
            Inner::Sqlite { .. } => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Starts a transaction that may write. Keep it short and never wait for a network or a file
    /// inside it.
    ///
    /// # Errors
    /// `Internal` when the database is away or its write lock cannot be had in two minutes.
    pub async fn write(&self) -> Result<Tx> {
        self.begin(Begin::Write).await
    }

    /// The same for what need not be durable by itself: committed, everybody sees it, and a power cut takes it away together
    /// with everything after it, until the next ordinary transaction is committed, which makes both durable. For what a
    /// recording is given, whose end is such a transaction: waiting for the disk at each file would cost more than
    /// fetching it.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub async fn write_behind(&self) -> Result<Tx> {
        self.begin(Begin::WriteBehind).await
    }

    /// Starts a transaction that only reads: one state of the database until it is dropped.
    ///
    /// # Errors
    /// `Internal` when the database is away.
    pub async fn read(&self) -> Result<Tx> {
        self.begin(Begin::Read).await
    }

    async fn begin(&self, how: Begin) -> Result<Tx> {
        let (start, write) = (self.dialect().begin(how), how != Begin::Read);
        let failed = |e| Error::internal("starting a database transaction", e);
        Ok(match &self.0 {
            Inner::Sqlite { writer, readers } => {
                Tx::sqlite(if write { writer } else { readers }.begin_with(start).await.map_err(failed)?)
            }
            Inner::Postgres(pool) => Tx::postgres(pool.begin_with(start).await.map_err(failed)?),
        })
    }

    /// Closes every connection; SQLite then folds its write-ahead log into the file.
    pub async fn close(&self) {
        match &self.0 {
            Inner::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Inner::Postgres(pool) => pool.close().await,
        }
    }
}
