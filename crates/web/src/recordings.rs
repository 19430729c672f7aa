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
    /// Who asked for it.
    pub asked_by: Vec<String>,
    /// Where it came from.
    pub source: String,
    /// Licences.
    pub licences: Vec<String>,
    /// Upstream's own proofs that were kept with it, in words.
    pub proofs: Vec<String>,
    /// Where lock files name it; nothing is known of that for jobs.
    pub named_in: Option<Vec<String>>,
    /// Why it stays at its version.
    pub pinned: String,
}

/// Something that was asked for in vain.
#[derive(Clone, Debug)]
pub struct Missed {
    /// The repository that was asked.
    pub repository: String,
    /// The path below it.
    pub path: String,
    /// How often.
    pub times: u64,
    /// What to put on the want list: format and package; empty where the path does not tell.
    pub format: String,
    /// The package, or the address.
    pub package: String,
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
    /// How many no lock file names.
    pub found_by_running: usize,
    /// Whether only those are shown.
    pub only_running: bool,
    /// What people took out: package URL, reason, who.
    pub excluded: Vec<(String, String, String)>,
    /// What lock files name and the build did not use: name with version, and the place.
    pub unused: Vec<(String, String)>,
    /// What was asked for in vain.
    pub missing: Vec<Missed>,
    /// Requests and connections that were refused while it was recorded, in words.
    pub refused: Vec<String>,
    /// Whether the viewer may decide about items.
    pub decides: bool,
}
