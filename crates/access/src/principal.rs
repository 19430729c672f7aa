//! Who is asking.

use cofferdam_types::{JobId, PersonId, RecordingId, RunnerId};

use crate::Role;

/// Whether a recording's token may make the site ask upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingMode {
    /// It may.
    Record,
    /// It may not: the rehearsal.
    Replay,
}

/// Who is asking. Made by [`crate::Access`] only, from a password or a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody known.
    Anonymous,
    /// A person.
    Person {
        /// Their id.
        id: PersonId,
        /// The name they log in with.
        name: String,
        /// Their roles.
        roles: Vec<Role>,
    },
    /// A running job.
    Job(JobId),
    /// A runner.
    Runner(RunnerId),
    /// A recording of a build.
    Recording(RecordingId, RecordingMode),
}

impl Principal {
    /// The name in the audit log.
    #[must_use]
    pub fn actor(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".into(),
            Self::Person { name, .. } => format!("person:{name}"),
            Self::Job(id) => format!("job:{id}"),
            Self::Runner(id) => format!("runner:{id}"),
            Self::Recording(id, _) => format!("recording:{id}"),
        }
    }

    /// The person, when it is one.
    #[must_use]
    pub fn person(&self) -> Option<PersonId> {
        match self {
            Self::Person { id, .. } => Some(*id),
            _ => None,
        }
    }
}
