//! Typed numbers for rows. A `JobId` cannot be passed where a `ProjectId` is wanted.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    )*};
}

ids! {
    /// A repository of packages.
    RepositoryId
    /// A package in a repository.
    PackageId
    /// A release (version) of a package.
    ReleaseId
    /// A person.
    PersonId
    /// A token.
    TokenId
    /// A git project.
    ProjectId
    /// A pipeline.
    PipelineId
    /// A job of a pipeline.
    JobId
    /// A runner.
    RunnerId
    /// A recording of a build.
    RecordingId
    /// A transfer, sent or received.
    TransferId
    /// A row of the background job table.
    TaskId
}
