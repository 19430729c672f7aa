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

/// What advisories say of a recording's releases.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// When they were compared; none when nobody did.
    pub at: Option<When>,
    /// Who did.
    pub by: String,
    /// The data, in a sentence each.
    pub feeds: Vec<String>,
    /// Updates that left an advisory's range, worst first.
    pub fixes: Vec<Advice>,
    /// What is affected, worst first.
    pub affected: Vec<Advice>,
    /// How many releases were looked at.
    pub judged: usize,
    /// How many are not judged.
    pub not_judged: usize,
    /// Why: the reason, how many, and the first of them.
    pub reasons: Vec<(String, usize, Vec<String>)>,
}

/// An advisory about a release.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    /// The colour that it is shown in.
    pub tone: &'static str,
    /// The word for how bad it is.
    pub rating: String,
    /// The score, with a space before it; empty without one.
    pub severity: String,
    /// The advisory.
    pub id: String,
    /// What else it is called.
    pub aliases: Vec<String>,
    /// In a line.
    pub summary: String,
    /// The feed that it is from.
    pub source: String,
    /// The release, or the package.
    pub package: String,
    /// What else is to be said of it.
    pub about: String,
    /// The fixed version; empty when none is named.
    pub fix: String,
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
    /// What advisories say of it.
    pub judged: Judged,
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
