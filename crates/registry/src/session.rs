//! Who is asking, as far as the registries care: a recording, a job, or anybody.

use cofferdam_types::{JobId, RecordingId};

/// What a recording may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Ask upstream for what is not here, and keep it.
    Record,
    /// Use only what is here: the rehearsal.
    Replay,
}

/// The session in whose name a request is made. What it is given is noted, digest by digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Session {
    /// Nobody in particular: nothing is noted.
    #[default]
    None,
    /// A recording or its rehearsal.
    Recording(RecordingId, Mode),
    /// A job of a pipeline.
    Job(JobId),
}

impl Session {
    /// The kind and number under which it is noted.
    #[must_use]
    pub fn key(self) -> Option<(&'static str, i64)> {
        match self {
            Self::None => None,
            Self::Recording(id, Mode::Record) => Some(("recording", id.0)),
            Self::Recording(id, Mode::Replay) => Some(("rehearsal", id.0)),
            Self::Job(id) => Some(("job", id.0)),
        }
    }
}
