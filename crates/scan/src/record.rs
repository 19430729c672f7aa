//! The shape of one OSV record, as far as judging needs it. Unknown fields are passed over, as the schema asks.

use serde::Deserialize;

/// One advisory (OSV schema, "Format").
#[derive(Debug, Deserialize)]
pub struct Record {
    pub id: String,
    #[serde(default)]
    pub modified: Option<String>,
    #[serde(default)]
    pub aliases: Option<Vec<String>>,
    #[serde(default)]
    pub withdrawn: Option<String>,
    #[serde(default)]
    pub summary: Option<String>,
    #[serde(default)]
    pub severity: Option<Vec<Score>>,
    #[serde(default)]
    pub affected: Option<Vec<Affected>>,
    #[serde(default)]
    pub database_specific: Option<Database>,
}

/// A vector of one of the CVSS versions.
#[derive(Debug, Deserialize)]
pub struct Score {
    #[serde(default)]
    pub score: String,
}

/// What a database adds; only its word for the severity is read, and only when it is a word.
#[derive(Debug, Default, Deserialize)]
pub struct Database {
    #[serde(default)]
    pub severity: Option<serde_json::Value>,
}

/// One package that is affected.
#[derive(Debug, Deserialize)]
pub struct Affected {
    #[serde(default)]
    pub package: Option<Package>,
    #[serde(default)]
    pub severity: Option<Vec<Score>>,
    #[serde(default)]
    pub ranges: Option<Vec<Range>>,
    #[serde(default)]
    pub versions: Option<Vec<String>>,
}

/// Which package.
#[derive(Debug, Deserialize)]
pub struct Package {
    #[serde(default)]
    pub ecosystem: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub purl: Option<String>,
}

/// A range of versions.
#[derive(Debug, Deserialize)]
pub struct Range {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub events: Vec<Event>,
}

/// A point on the line of versions; each object has one of these.
#[derive(Debug, Deserialize)]
pub struct Event {
    #[serde(default)]
    pub introduced: Option<String>,
    #[serde(default)]
    pub fixed: Option<String>,
    #[serde(default)]
    pub last_affected: Option<String>,
    #[serde(default)]
    pub limit: Option<String>,
}
