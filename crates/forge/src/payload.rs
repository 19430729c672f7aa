//! A job as its runner gets it.

use cofferdam_pipeline::{Origin, PlannedJob};
use cofferdam_runner_api::{
    ArtifactsFile, Credential, Dependency, GitInfo, JobFeatures, JobInfo, JobResponse, RunnerInfo, Variable,
};
use cofferdam_store::{JobRow, PipelineRow, ProjectRow, Tx};
use cofferdam_types::{Error, Result, Secret};

use crate::{
    Forge,
    machine::plan_of,
    needs, parts,
    planning::kept_ref,
    setup::{HOME_FILES, setup},
    variables::{predefined, public, ref_name, secret},
};

/// The user name that goes with a job's token.
const TOKEN_USER: &str = "gitlab-ci-token";
/// Commits that are fetched when the job does not say (`GIT_DEPTH`).
const DEPTH: u32 = 20;
/// The reasons of failure that we know; a runner maps others to older ones.
const REASONS: &[&str] = &[
    "unknown_failure",
    "script_failure",
    "api_failure",
    "stuck_or_timeout_failure",
    "runner_system_failure",
    "missing_dependency_failure",
    "runner_unsupported",
    "job_execution_timeout",
    "unmet_prerequisites",
    "image_pull_failure",
    "runner_provisioning_timeout",
];

impl Forge {
    /// Everything that a runner needs for a job, whose token is `token`.
    pub(crate) async fn payload(
        &self,
        tx: &mut Tx,
        job: &JobRow,
        pipeline: &PipelineRow,
        token: &Secret<String>,
    ) -> Result<JobResponse> {
        let token = token.expose().as_str();
        let gone = || Error::not_found(format!("the project of job {} is gone", job.id));
        let project = tx.forge().project(job.project).await?.ok_or_else(gone)?;
        let plan = plan_of(job)?;
        let variables = self.variables(&project, pipeline, job, &plan, token)?;
        let depth = depth(&variables);
        Ok(JobResponse {
            id: job.id.0,
            token: token.to_owned(),
            allow_git_fetch: true,
            job_info: info(&project, pipeline, job),
            git_info: git_info(self.public_url(), &project, pipeline, token, depth),
            runner_info: RunnerInfo { timeout: job.timeout },
            variables,
            steps: parts::steps(&plan, job.timeout),
            hooks: Vec::new(),
            image: parts::image(&plan),
            services: parts::services(&plan),
            artifacts: parts::artifacts(&plan),
            cache: parts::caches(&plan),
            credentials: vec![Credential {
                kind: "registry".into(),
                url: authority(self.public_url()).into(),
                username: TOKEN_USER.into(),
                password: token.to_owned(),
            }],
            dependencies: dependencies(tx, job, token).await?,
            features: JobFeatures {
                trace_sections: true,
                token_mask_prefixes: vec![cofferdam_trust::token::PREFIX.into()],
                failure_reasons: REASONS.iter().map(|&reason| reason.into()).collect(),
            },
        })
    }

    /// Predefined first, then the site's, then the file's: of two with one name the last wins.
    fn variables(
        &self,
        project: &ProjectRow,
        pipeline: &PipelineRow,
        job: &JobRow,
        plan: &PlannedJob,
        token: &str,
    ) -> Result<Vec<Variable>> {
        let mut list = predefined(self.public_url(), project, pipeline, job);
        list.push(secret("CI_JOB_TOKEN", token));
        list.push(public("CI_REGISTRY_USER", TOKEN_USER));
        list.push(secret("CI_REGISTRY_PASSWORD", token));
        list.push(secret("CI_REPOSITORY_URL", clone_url(self.public_url(), project, token)));
        let client = setup(self.registry(), self.job_repositories(), token)?;
        // Only what holds the token is a secret: masking a plain `1` would hide every 1 of the log.
        let kind = |value: &str| if value.contains(token) { secret } else { public };
        list.extend(client.env.into_iter().map(|(key, value)| kind(&value)(&key, value)));
        if !client.home_files.is_empty() {
            // Not masked: no log holds the whole of it, and a mask has to be one line.
            list.push(Variable { masked: false, ..secret(HOME_FILES, client.home_files) });
        }
        let own = plan.variables.iter().filter(|v| v.origin != Origin::Predefined);
        list.extend(own.map(|v| Variable { raw: v.raw, ..public(&v.key, &v.value) }));
        Ok(list)
    }
}

fn info(project: &ProjectRow, pipeline: &PipelineRow, job: &JobRow) -> JobInfo {
    let waited = job.started.zip(job.queued).map_or(0.0, |(from, to)| from.since(to).as_secs_f64());
    JobInfo {
        name: job.name.clone(),
        stage: job.stage.clone(),
        pipeline_id: pipeline.id.0,
        project_id: project.id.0,
        project_name: project.name.clone(),
        project_full_path: project.path(),
        time_in_queue_seconds: waited,
        project_jobs_running_on_instance_runners_count: "0".into(),
    }
}

fn git_info(site: &str, project: &ProjectRow, pipeline: &PipelineRow, token: &str, depth: u32) -> GitInfo {
    let reference = ref_name(&pipeline.git_ref);
    let kept = kept_ref(pipeline);
    let mut refspecs = vec![format!("+{kept}:{kept}")];
    let (name, tag) = (reference.name, reference.tag);
    match (depth, tag) {
        (0, _) => {
            refspecs.extend(["+refs/heads/*:refs/remotes/origin/*".into(), "+refs/tags/*:refs/tags/*".into()])
        }
        (_, true) => refspecs.push(format!("+refs/tags/{name}:refs/tags/{name}")),
        (_, false) => refspecs.push(format!("+refs/heads/{name}:refs/remotes/origin/{name}")),
    }
    GitInfo {
        repo_url: clone_url(site, project, token),
        repo_object_format: "sha1".into(),
        ref_name: name.into(),
        sha: pipeline.sha.clone(),
        before_sha: pipeline.before_sha.clone(),
        ref_type: if tag { "tag" } else { "branch" }.into(),
        refspecs,
        depth,
        protected: Some(name == project.default_branch && !tag),
    }
}

async fn dependencies(tx: &mut Tx, job: &JobRow, token: &str) -> Result<Vec<Dependency>> {
    let jobs = tx.forge().jobs(job.pipeline).await?;
    let mut list = Vec::new();
    for source in needs::sources(job, &jobs)? {
        let artifacts = tx.forge().artifacts(source.id).await?;
        let archive = artifacts.into_iter().find(|a| a.kind == "archive");
        list.push(Dependency {
            id: source.id.0,
            token: token.to_owned(),
            name: source.name.clone(),
            artifacts_file: archive.map(|a| ArtifactsFile { filename: a.name, size: a.size }),
        });
    }
    Ok(list)
}

/// `GIT_DEPTH`, of which the last one counts.
fn depth(variables: &[Variable]) -> u32 {
    let last = variables.iter().rev().find(|v| v.key == "GIT_DEPTH");
    last.and_then(|v| v.value.trim().parse().ok()).unwrap_or(DEPTH)
}

fn authority(site: &str) -> &str {
    let rest = site.split_once("://").map_or(site, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn clone_url(site: &str, project: &ProjectRow, token: &str) -> String {
    let (protocol, rest) = site.split_once("://").unwrap_or(("http", site));
    format!("{protocol}://{TOKEN_USER}:{token}@{rest}/{}.git", project.path())
}
