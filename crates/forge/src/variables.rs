//! The variables that every job has without asking for them.

use cofferdam_runner_api::Variable;
use cofferdam_store::{JobRow, PipelineRow, ProjectRow};

/// What a reference is, taken apart.
pub(crate) struct RefName<'a> {
    pub name: &'a str,
    pub tag: bool,
}

pub(crate) fn ref_name(git_ref: &str) -> RefName<'_> {
    match git_ref.strip_prefix("refs/tags/") {
        Some(name) => RefName { name, tag: true },
        None => RefName { name: git_ref.strip_prefix("refs/heads/").unwrap_or(git_ref), tag: false },
    }
}

/// A value that may be shown and in which `$` stands for itself.
pub(crate) fn public(key: &str, value: impl Into<String>) -> Variable {
    Variable { key: key.into(), value: value.into(), public: true, raw: true, ..Variable::default() }
}

/// A value that must not be shown anywhere.
pub(crate) fn secret(key: &str, value: impl Into<String>) -> Variable {
    Variable { key: key.into(), value: value.into(), masked: true, raw: true, ..Variable::default() }
}

/// What is known of a project before there is a pipeline: rules may ask for it. `site` is the site's address.
pub(crate) fn project_facts(site: &str, project: &ProjectRow) -> Vec<Variable> {
    let path = project.path();
    let (protocol, rest) = site.split_once("://").unwrap_or(("http", site));
    let authority = rest.split('/').next().unwrap_or(rest);
    let (host, port) = host_and_port(protocol, authority);
    vec![
        public("CI", "true"),
        public("GITLAB_CI", "true"),
        public("CI_API_V4_URL", format!("{site}/api/v4")),
        public("CI_DEFAULT_BRANCH", &project.default_branch),
        public("CI_PROJECT_ID", project.id.to_string()),
        public("CI_PROJECT_NAME", &project.name),
        public("CI_PROJECT_NAMESPACE", &project.namespace),
        public("CI_PROJECT_PATH", &path),
        public("CI_PROJECT_PATH_SLUG", slug(&path)),
        public("CI_PROJECT_URL", format!("{site}/{path}")),
        public("CI_SERVER", "yes"),
        public("CI_SERVER_HOST", host),
        public("CI_SERVER_NAME", "Cofferdam"),
        public("CI_SERVER_PORT", port),
        public("CI_SERVER_PROTOCOL", protocol),
        public("CI_SERVER_URL", site),
    ]
}

/// The predefined variables of a job, in GitLab's names.
pub(crate) fn predefined(
    site: &str,
    project: &ProjectRow,
    pipeline: &PipelineRow,
    job: &JobRow,
) -> Vec<Variable> {
    let reference = ref_name(&pipeline.git_ref);
    let path = project.path();
    let mut list = project_facts(site, project);
    list.extend([
        public("CI_COMMIT_BEFORE_SHA", &pipeline.before_sha),
        public("CI_COMMIT_REF_NAME", reference.name),
        public("CI_COMMIT_REF_SLUG", slug(reference.name)),
        public("CI_COMMIT_SHA", &pipeline.sha),
        public("CI_COMMIT_SHORT_SHA", pipeline.sha.get(..8).unwrap_or(&pipeline.sha)),
        public("CI_JOB_ID", job.id.to_string()),
        public("CI_JOB_NAME", &job.name),
        public("CI_JOB_NAME_SLUG", slug(&job.name)),
        public("CI_JOB_STAGE", &job.stage),
        public("CI_JOB_URL", format!("{site}/{path}/-/jobs/{}", job.id)),
        public("CI_PIPELINE_ID", pipeline.id.to_string()),
        public("CI_PIPELINE_IID", pipeline.iid.to_string()),
        public("CI_PIPELINE_SOURCE", &pipeline.source),
        public("CI_PIPELINE_URL", format!("{site}/{path}/-/pipelines/{}", pipeline.id)),
        public(if reference.tag { "CI_COMMIT_TAG" } else { "CI_COMMIT_BRANCH" }, reference.name),
    ]);
    list
}

fn host_and_port<'a>(protocol: &str, authority: &'a str) -> (&'a str, &'a str) {
    let standard = if protocol == "https" { "443" } else { "80" };
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (authority, standard),
    }
}

/// Lower case, at most 63 bytes, only letters, digits and `-`: safe in host names.
fn slug(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = text.chars().map(safe).take(63).collect();
    text.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_jobs_expect() {
        assert_eq!((ref_name("refs/heads/a/b").name, ref_name("refs/heads/a/b").tag), ("a/b", false));
        assert_eq!((ref_name("refs/tags/v1").name, ref_name("refs/tags/v1").tag), ("v1", true));
        assert_eq!(slug("Feature/Über_1"), "feature--ber-1");
        assert_eq!(host_and_port("http", "site.example:8080"), ("site.example", "8080"));
        assert_eq!(host_and_port("https", "site.example"), ("site.example", "443"));
        assert_eq!(host_and_port("https", "[::1]"), ("[::1]", "443"));
    }
}
