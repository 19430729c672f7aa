//! The transaction object.

use std::sync::Arc;

use cofferdam_types::{Error, ErrorKind, Result};
use sqlx::{
    AssertSqlSafe, Column as _, Executor as _, Postgres, Row as _, Sqlite, Transaction, TypeInfo as _,
    ValueRef as _,
};

use crate::{
    AccessRows, AuditRows, CarryRows, CollectionRows, CrossingRows, ForgeRows, RegistryRows, ServedRows,
    Settings, Tasks,
    dialect::Dialect,
    row::{Cell, Row, Value},
    sql::{args, statements},
};

statements! {
    NEXT_ID = "INSERT INTO sequence (name, value) VALUES ($1, $2)
        ON CONFLICT (name) DO UPDATE SET value = sequence.value + $2 RETURNING value";
}

/// A transaction. Dropping it without [`Tx::commit`] rolls everything back.
#[derive(Debug)]
pub struct Tx(Inner);

#[derive(Debug)]
enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Runs `$body` with `$query` bound on either database.
macro_rules! on_either {
    ($tx:expr, $sql:expr, $args:expr, |$connection:ident, $query:ident| $body:expr) => {
        match &mut $tx.0 {
            Inner::Sqlite(tx) => {
                let mut $query = sqlx::query::<Sqlite>($sql);
                for value in $args {
                    $query = match value {
                        Value::Int(v) => $query.bind(v),
                        Value::Text(v) => $query.bind(v),
                        Value::Bytes(v) => $query.bind(v),
                    };
                }
                let $connection = &mut **tx;
                $body
            }
            Inner::Postgres(tx) => {
                let mut $query = sqlx::query::<Postgres>($sql);
                for value in $args {
                    $query = match value {
                        Value::Int(v) => $query.bind(v),
                        Value::Text(v) => $query.bind(v),
                        Value::Bytes(v) => $query.bind(v),
                    };
                }
                let $connection = &mut **tx;
                $body
            }
        }
    };
}

impl Tx {
    pub(crate) fn sqlite(tx: Transaction<'static, Sqlite>) -> Self {
        Self(Inner::Sqlite(tx))
    }

    pub(crate) fn postgres(tx: Transaction<'static, Postgres>) -> Self {
        Self(Inner::Postgres(tx))
    }

    /// Which database it is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        match self.0 {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Makes everything durable and visible, or nothing.
    ///
    /// # Errors
    /// `NoSpace` when the disk is full; `Internal` otherwise. Nothing was changed then.
    pub async fn commit(self) -> Result<()> {
        match self.0 {
            Inner::Sqlite(tx) => tx.commit().await,
            Inner::Postgres(tx) => tx.commit().await,
        }
        .map_err(|e| failed("COMMIT", e))
    }

    /// People, roles, tokens, approvals.
    pub fn access(&mut self) -> AccessRows<'_> {
        AccessRows(self)
    }

    /// Background work.
    pub fn tasks(&mut self) -> Tasks<'_> {
        Tasks(self)
    }

    /// Facts of the site.
    pub fn settings(&mut self) -> Settings<'_> {
        Settings(self)
    }

    /// Rows of the audit log; the log itself is in the `audit` crate.
    pub fn audit(&mut self) -> AuditRows<'_> {
        AuditRows(self)
    }

    /// Repositories, packages, releases, files, documents.
    pub fn registry(&mut self) -> RegistryRows<'_> {
        RegistryRows(self)
    }

    /// Recordings, transfers, trusted keys.
    pub fn crossing(&mut self) -> CrossingRows<'_> {
        CrossingRows(self)
    }

    /// Other sites, receptions in progress, receipts, wants, media.
    pub fn carry(&mut self) -> CarryRows<'_> {
        CarryRows(self)
    }

    /// Projects, pipelines, jobs, runners.
    pub fn forge(&mut self) -> ForgeRows<'_> {
        ForgeRows(self)
    }

    /// What is kept beside recordings.
    pub fn collections(&mut self) -> CollectionRows<'_> {
        CollectionRows(self)
    }

    /// What sessions were given.
    pub fn served(&mut self) -> ServedRows<'_> {
        ServedRows(self)
    }

    /// The next id of a sequence; the row stays locked until the end of the transaction.
    pub(crate) async fn next_id(&mut self, sequence: &'static str) -> Result<i64> {
        self.take_ids(sequence, 1).await
    }

    /// Reserves `count` ids and returns the first.
    pub(crate) async fn take_ids(&mut self, sequence: &'static str, count: i64) -> Result<i64> {
        let row = self.one(NEXT_ID, args![sequence, count]).await?;
        Ok(row.int("value")? - count + 1)
    }

    /// Runs a statement and returns how many rows it touched.
    pub(crate) async fn execute(&mut self, sql: &'static str, args: Vec<Value>) -> Result<u64> {
        on_either!(self, sql, args, |connection, query| {
            let done = connection.execute(query).await.map_err(|e| failed(sql, e))?;
            Ok(done.rows_affected())
        })
    }

    /// All rows.
    pub(crate) async fn all(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Vec<Row>> {
        on_either!(self, sql, args, |connection, query| {
            let rows = connection.fetch_all(query).await.map_err(|e| failed(sql, e))?;
            let mut names = None;
            rows.iter().map(|row| row.decode(&mut names)).collect()
        })
    }

    /// [`Tx::execute`] of a text that `many` made.
    pub(crate) async fn execute_text(&mut self, sql: String, args: Vec<Value>) -> Result<u64> {
        on_either!(self, AssertSqlSafe(sql.clone()), args, |connection, query| {
            let done = connection.execute(query).await.map_err(|e| failed(&sql, e))?;
            Ok(done.rows_affected())
        })
    }

    /// [`Tx::all`] of a text that `many` made.
    pub(crate) async fn all_text(&mut self, sql: String, args: Vec<Value>) -> Result<Vec<Row>> {
        on_either!(self, AssertSqlSafe(sql.clone()), args, |connection, query| {
            let rows = connection.fetch_all(query).await.map_err(|e| failed(&sql, e))?;
            let mut names = None;
            rows.iter().map(|row| row.decode(&mut names)).collect()
        })
    }

    /// One row or none.
    pub(crate) async fn optional(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Option<Row>> {
        Ok(self.all(sql, args).await?.into_iter().next())
    }

    /// Exactly one row (aggregates, `RETURNING`).
    pub(crate) async fn one(&mut self, sql: &'static str, args: Vec<Value>) -> Result<Row> {
        let row = self.optional(sql, args).await?;
        row.ok_or_else(|| Error::internal("a statement gave no row", std::io::Error::other(sql)))
    }

    /// Runs a text of several statements; for migrations, whose texts are spelt by the dialect.
    pub(crate) async fn script(&mut self, sql: String) -> Result<()> {
        let done = match &mut self.0 {
            Inner::Sqlite(tx) => tx.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop),
            Inner::Postgres(tx) => tx.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(drop),
        };
        done.map_err(|e| failed("a migration", e))
    }

    /// Checks that the database understands a statement, without running it.
    ///
    /// # Errors
    /// `Internal` with the database's own words in the log half.
    pub async fn prepare(&mut self, sql: &'static str) -> Result<()> {
        match &mut self.0 {
            Inner::Sqlite(tx) => tx.prepare(sqlx::SqlStr::from_static(sql)).await.map(drop),
            Inner::Postgres(tx) => tx.prepare(sqlx::SqlStr::from_static(sql)).await.map(drop),
        }
        .map_err(|e| failed(sql, e))
    }
}

fn failed(sql: &str, error: sqlx::Error) -> Error {
    if let sqlx::Error::Database(inner) = &error {
        if inner.is_unique_violation() {
            return Error::conflict("exists", "there is already one of that name").with_source(error);
        }
        // SQLITE_FULL, and PostgreSQL's disk_full.
        if matches!(inner.code().as_deref(), Some("13" | "53100")) {
            return Error::new(ErrorKind::NoSpace, "no-space", "no space left in the database")
                .hint("free space in the site's state folder, then try again; nothing was changed")
                .with_source(error);
        }
    }
    Error::internal(format!("the statement `{sql}`"), error)
}

type Names = Option<Arc<[String]>>;

/// A driver's row as ours.
trait Decode {
    fn decode(&self, names: &mut Names) -> Result<Row>;
}

impl Decode for sqlx::sqlite::SqliteRow {
    fn decode(&self, names: &mut Names) -> Result<Row> {
        sqlite_row(self, names)
    }
}

impl Decode for sqlx::postgres::PgRow {
    fn decode(&self, names: &mut Names) -> Result<Row> {
        postgres_row(self, names)
    }
}

fn sqlite_row(row: &sqlx::sqlite::SqliteRow, names: &mut Names) -> Result<Row> {
    let names =
        names.get_or_insert_with(|| row.columns().iter().map(|c| c.name().to_owned()).collect()).clone();
    let mut cells = Vec::with_capacity(names.len());
    for index in 0..names.len() {
        let undecodable = |e| Error::internal(format!("decoding column {}", names[index]), e);
        let raw = row.try_get_raw(index).map_err(undecodable)?;
        let kind = raw.type_info();
        cells.push(match (raw.is_null(), kind.name()) {
            (true, _) => Cell::Null,
            (_, "TEXT") => Cell::Text(row.try_get_unchecked(index).map_err(undecodable)?),
            (_, "BLOB") => Cell::Bytes(row.try_get_unchecked(index).map_err(undecodable)?),
            _ => Cell::Int(row.try_get_unchecked(index).map_err(undecodable)?),
        });
    }
    Ok(Row { names, cells })
}

fn postgres_row(row: &sqlx::postgres::PgRow, names: &mut Names) -> Result<Row> {
    let names =
        names.get_or_insert_with(|| row.columns().iter().map(|c| c.name().to_owned()).collect()).clone();
    let mut cells = Vec::with_capacity(names.len());
    for index in 0..names.len() {
        let undecodable = |e| Error::internal(format!("decoding column {}", names[index]), e);
        let raw = row.try_get_raw(index).map_err(undecodable)?;
        let (null, kind) = (raw.is_null(), raw.type_info().name().to_owned());
        cells.push(match (null, kind.as_str()) {
            (true, _) => Cell::Null,
            (_, "BYTEA") => Cell::Bytes(row.try_get(index).map_err(undecodable)?),
            (_, "INT4") => Cell::Int(row.try_get::<i32, _>(index).map_err(undecodable)?.into()),
            (_, "INT8") => Cell::Int(row.try_get(index).map_err(undecodable)?),
            _ => Cell::Text(row.try_get(index).map_err(undecodable)?),
        });
    }
    Ok(Row { names, cells })
}
