//! The GitLab Runner coordinator protocol's messages: what a runner sends and what it is answered.
//!
//! The types here are shared by the server, which answers runners, and by the built-in runner, which asks.
//! They carry meaning only: this crate must never open a connection, read a clock or decide which job to run.
//! Reading is lenient, as the protocol demands: unknown fields are ignored and absent fields take a default.
//! Facts come from GitLab Runner's `network/gitlab.go` and `common/spec/spec.go`.

mod job;
mod range;
mod request;
mod update;

pub use job::{
    Artifact, ArtifactsFile, Cache, Credential, Dependency, GitInfo, Hook, Image, JobFeatures, JobInfo,
    JobResponse, Port, RunnerInfo, Service, Step, Variable,
};
pub use range::{ContentRange, RangeError};
pub use request::{JobRequest, RunnerDescription, VerifyAnswer, VerifyRequest};
pub use update::{JobOutput, JobState, UpdateJob, checksum};

/// The header in which both sides name the version of the job queue they saw last.
pub const LAST_UPDATE_HEADER: &str = "X-GitLab-Last-Update";
/// The header that tells the runner, with every answer, in which state the server has the job.
pub const JOB_STATUS_HEADER: &str = "Job-Status";
/// The header that tells the runner how many seconds to wait between two pieces of log.
pub const TRACE_INTERVAL_HEADER: &str = "X-GitLab-Trace-Update-Interval";
/// The header in which newer runners repeat their own token.
pub const RUNNER_TOKEN_HEADER: &str = "RUNNER-TOKEN";
/// The header in which newer runners repeat the job's token.
pub const JOB_TOKEN_HEADER: &str = "JOB-TOKEN";
