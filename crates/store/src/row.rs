//! Values that go in and rows that come out, the same for both databases.

use std::sync::Arc;

use cofferdam_types::{Error, Result, Sha256, Timestamp};
use serde::de::DeserializeOwned;

/// A value bound to a statement. Every column of ours is an integer, a text, or bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `BIGINT`, or NULL of that type.
    Int(Option<i64>),
    /// `TEXT`, or NULL of that type.
    Text(Option<String>),
    /// Bytes.
    Bytes(Vec<u8>),
}

macro_rules! value_from {
    ($($from:ty, $x:ident => $to:expr;)*) => {$(
        impl From<$from> for Value {
            fn from($x: $from) -> Self { $to }
        }
    )*};
}

value_from! {
    i64, x => Self::Int(Some(x));
    u32, x => Self::Int(Some(i64::from(x)));
    u64, x => Self::Int(Some(i64::try_from(x).unwrap_or(i64::MAX)));
    usize, x => Self::Int(Some(i64::try_from(x).unwrap_or(i64::MAX)));
    bool, x => Self::Int(Some(i64::from(x)));
    Option<i64>, x => Self::Int(x);
    Timestamp, x => Self::Int(Some(x.0));
    Option<Timestamp>, x => Self::Int(x.map(|t| t.0));
    &str, x => Self::Text(Some(x.to_owned()));
    String, x => Self::Text(Some(x));
    &String, x => Self::Text(Some(x.clone()));
    Option<String>, x => Self::Text(x);
    Option<&str>, x => Self::Text(x.map(str::to_owned));
    Sha256, x => Self::Text(Some(x.to_hex()));
    &Sha256, x => Self::Text(Some(x.to_hex()));
    Option<Sha256>, x => Self::Text(x.map(|d| d.to_hex()));
    Vec<u8>, x => Self::Bytes(x);
    &serde_json::Value, x => Self::Text(Some(x.to_string()));
}

macro_rules! value_from_id {
    ($($id:ident)*) => {$(
        impl From<cofferdam_types::$id> for Value {
            fn from(id: cofferdam_types::$id) -> Self { Self::Int(Some(id.0)) }
        }
        impl From<Option<cofferdam_types::$id>> for Value {
            fn from(id: Option<cofferdam_types::$id>) -> Self { Self::Int(id.map(|i| i.0)) }
        }
    )*};
}

value_from_id! { RepositoryId PackageId ReleaseId PersonId TokenId ProjectId PipelineId JobId RunnerId RecordingId TransferId TaskId }

/// A row. Columns are read by name; a value that cannot be decoded is an error that names the
/// column (a different failure from a failed query).
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) names: Arc<[String]>,
    pub(crate) cells: Vec<Cell>,
}

#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Row {
    fn cell(&self, name: &str) -> Result<&Cell> {
        let index = self.names.iter().position(|n| n == name);
        index.and_then(|i| self.cells.get(i)).ok_or_else(|| undecodable(name, "is not in the answer"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// `Internal` when the column is missing, NULL or of another type; so for all others.
    pub fn int(&self, name: &str) -> Result<i64> {
        self.opt_int(name)?.ok_or_else(|| undecodable(name, "is NULL"))
    }

    /// A whole number or NULL.
    pub fn opt_int(&self, name: &str) -> Result<Option<i64>> {
        match self.cell(name)? {
            Cell::Int(value) => Ok(Some(*value)),
            Cell::Null => Ok(None),
            _ => Err(undecodable(name, "is no number")),
        }
    }

    /// A size or count.
    pub fn size(&self, name: &str) -> Result<u64> {
        u64::try_from(self.int(name)?).map_err(|_| undecodable(name, "is negative"))
    }

    /// Zero or one.
    pub fn flag(&self, name: &str) -> Result<bool> {
        Ok(self.int(name)? != 0)
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<String> {
        self.opt_text(name)?.ok_or_else(|| undecodable(name, "is NULL"))
    }

    /// A text or NULL.
    pub fn opt_text(&self, name: &str) -> Result<Option<String>> {
        match self.cell(name)? {
            Cell::Text(value) => Ok(Some(value.clone())),
            Cell::Null => Ok(None),
            _ => Err(undecodable(name, "is no text")),
        }
    }

    /// Bytes.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        match self.cell(name)? {
            Cell::Bytes(value) => Ok(value.clone()),
            _ => Err(undecodable(name, "is not bytes")),
        }
    }

    /// A time.
    pub fn time(&self, name: &str) -> Result<Timestamp> {
        self.int(name).map(Timestamp)
    }

    /// A time or NULL.
    pub fn opt_time(&self, name: &str) -> Result<Option<Timestamp>> {
        Ok(self.opt_int(name)?.map(Timestamp))
    }

    /// A digest.
    pub fn sha256(&self, name: &str) -> Result<Sha256> {
        self.text(name)?.parse().map_err(|_| undecodable(name, "is no digest"))
    }

    /// JSON.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_str(&self.text(name)?)
            .map_err(|e| Error::internal(format!("column {name} is not the JSON expected"), e))
    }
}

fn undecodable(name: &str, why: &str) -> Error {
    Error::internal("decoding a row", std::io::Error::other(format!("column {name} {why}")))
}
