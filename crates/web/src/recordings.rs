//! Pages of recordings.

use askama::Template;

use crate::{
    Frame,
    values::{Fact, Size, State, When},
};

/// A recording in a list.
#[derive(Clone, Debug)]
pub struct RecordingLine {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The command that was recorded.
    pub command: String,
    /// Who recorded it.
    pub actor: String,
    /// Its state.
    pub state: State,
    /// When it began.
    pub started: When,
}

/// `/recordings`.
#[derive(Template)]
#[template(path = "recordings.html")]
pub struct Recordings {
    /// Around it.
    pub frame: Frame,
    /// A page of them, newest first.
    pub recordings: Vec<RecordingLine>,
    /// The number before which the next page begins.
    pub next: Option<i64>,
}

/// A release that was used.
#[derive(Clone, Debug)]
pub struct Used {
    /// Its package URL.
    pub purl: String,
    /// The repository.
    pub repository: String,
    /// The package's key.
    pub package: String,
    /// Its files: path and digest.
    pub files: Vec<(String, String)>,
    /// Their size.
    pub size: Size,
}

/// `/recordings/{id}`.
#[derive(Template)]
#[template(path = "recording.html")]
pub struct Recording {
    /// Around it.
    pub frame: Frame,
    /// The recording.
    pub line: RecordingLine,
    /// More about it.
    pub facts: Vec<Fact>,
    /// How many releases it used.
    pub total: usize,
    /// The first of them.
    pub used: Vec<Used>,
    /// What was asked for in vain: repository, path, how often.
    pub missing: Vec<(String, String, u64)>,
}
