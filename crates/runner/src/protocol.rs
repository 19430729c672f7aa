//! What this runner reads into the protocol's messages beyond their shape: defaults and words. Pure; it must
//! never refuse a job for a field that it does not know.
//!
//! Names and meaning: GitLab Runner, `common/spec/spec.go`.

use std::time::Duration;

use cofferdam_runner_api::Dependency;
pub use cofferdam_runner_api::{Artifact, GitInfo, JobResponse as Job, Step, Variable};

/// Whether something with this `when` happens after this outcome; no word means `on_success`.
pub fn applies(when: &str, success: bool) -> bool {
    match when {
        "always" => true,
        "on_failure" => !success,
        _ => success,
    }
}

/// The type of an upload: `archive`, `dotenv`, `junit`, ...
pub fn kind(artifact: &Artifact) -> &str {
    or(&artifact.artifact_type, "archive")
}

/// The format of an upload: `zip`, `gzip` or `raw`.
pub fn format(artifact: &Artifact) -> &str {
    or(&artifact.artifact_format, "zip")
}

/// The name of the file that is uploaded.
pub fn file_name(artifact: &Artifact) -> String {
    let name = or(&artifact.name, "artifacts");
    match format(artifact) {
        "zip" => format!("{name}.zip"),
        "gzip" => format!("{name}.gz"),
        _ => name.to_owned(),
    }
}

/// Whether a dependency left an archive.
pub fn has_archive(dependency: &Dependency) -> bool {
    dependency.artifacts_file.as_ref().is_some_and(|file| !file.filename.is_empty())
}

/// A bound; `None` where the protocol says 0.
pub fn seconds(number: u64) -> Option<Duration> {
    (number > 0).then(|| Duration::from_secs(number))
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}
