//! The GitLab Runner protocol's messages, shared by the server and our own runner.
//!
//! Must stay free of I/O: types, their JSON, and the two small text forms of the protocol (the log's
//! byte range and its checksum). Unknown fields are ignored when reading, because runners are newer
//! and older than this server.

mod job;
mod messages;
mod trace;

pub use job::{
    Artifact, ArtifactsFile, Cache, Credentials, Dependency, GitInfo, Hook, Image, JobInfo, JobResponse,
    JobVariable, Port, RunnerInfo, ServerFeatures, Step,
};
pub use messages::{
    JobRequest, JobUpdateState, RunnerDetails, TraceOutput, UpdateJob, VerifyRequest, VerifyResponse,
};
pub use trace::{ContentRange, checksum};
