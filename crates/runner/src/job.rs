//! One job from its folder to its final state.
//!
//! Every program of the job, git included, runs in a sandbox; the runner itself only writes the log,
//! unpacks and packs archives. Whatever happens, the site hears an end and the folder is removed.

use std::time::Duration;

use cofferdam_runner_api::JobState;
use cofferdam_sandbox::{Exit, Limits, Network, Running, Sandbox, SandboxSpec, Stdio, Target};
use cofferdam_types::{Error, ErrorKind, Result};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::archive::{self, Bounds};
use crate::client::{Coordinator, State};
use crate::config::RunnerConfig;
use crate::env::Environment;
use crate::folder::JobFolder;
use crate::greeting::{NOT_HEARD, greeting};
use crate::log::{Log, Sender, Signals, backoff};
use crate::mask::Masker;
use crate::protocol::{self, Artifact, Job, Step};
use crate::watched::Watched;
use crate::{extract, script};

/// For a job whose site names no bound.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);
/// More is an error of somebody's arithmetic.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);
/// `after_script` gets this long; GitLab's value.
const AFTER_SCRIPT: Duration = Duration::from_secs(300);
const UPLOAD_TRIES: u32 = 5;
const END_TRIES: u32 = 10;

/// Why a job did not succeed.
#[derive(Debug)]
enum Failure {
    /// The script returned this code.
    Script(i32),
    /// The job's time is over.
    TimedOut(Duration),
    /// The site wants the script stopped.
    Canceled,
    /// The site does not want the job any more.
    Aborted,
    /// The runner is being stopped.
    Stopping,
    /// Something around the script failed.
    System(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::System(error)
    }
}

/// What one job needs while it runs.
struct Work<'a> {
    config: &'a RunnerConfig,
    coordinator: &'a Coordinator,
    job: &'a Job,
    folder: &'a JobFolder,
    signals: Signals,
    shutdown: CancellationToken,
    timeout: Duration,
    deadline: Instant,
    log: Log,
    /// What a job dials beside its door is answered from recorded addresses.
    watched: Option<Watched>,
}

/// Runs `job` and tells the site how it ended.
///
/// # Errors
/// Only when the site could not be told; what goes wrong in a job is the job's end.
pub async fn run_job(
    config: &RunnerConfig,
    coordinator: &Coordinator,
    job: Job,
    shutdown: CancellationToken,
) -> Result<()> {
    let work_dir = config.work_dir.clone();
    let id = job.id;
    let folder = match blocking(move || JobFolder::new(&work_dir, id)).await {
        Ok(folder) => folder,
        Err(error) => return without_log(coordinator, &job, &error).await,
    };
    let told = in_folder(config, coordinator, &job, &folder, shutdown).await;
    if config.keep_folders {
        tracing::info!(job = id, folder = %folder.keep().display(), "the job's folder is kept");
    } else if let Err(error) = blocking(move || folder.remove()).await {
        tracing::warn!(job = id, error = %error.internal_chain(), "a job's folder is not fully removed");
    }
    told
}

async fn in_folder(
    config: &RunnerConfig,
    coordinator: &Coordinator,
    job: &Job,
    folder: &JobFolder,
    shutdown: CancellationToken,
) -> Result<()> {
    let env = Environment::new(job, &config.env);
    let mut masked = env.as_ref().map(|env| env.masked.clone()).unwrap_or_default();
    masked.extend([job.token.clone(), config.token.expose().clone()]);
    let path = folder.path("out").join("log");
    let log = match Log::create(&path, Masker::new(masked), config.limits.log, config.clock.clone()).await {
        Ok(log) => log,
        Err(error) => return without_log(coordinator, job, &error).await,
    };
    let signals = Signals::default();
    let progress = log.watch();
    let mut sender =
        Sender::new(coordinator.clone(), job.clone(), path, progress, signals.clone(), config.heartbeat);
    let timeout = protocol::seconds(job.runner_info.timeout).unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT);
    let deadline = Instant::now() + timeout;
    let door = match config.site_door.clone().filter(|door| matches!(door.to, Target::Tcp(_))) {
        Some(door) => {
            let (door, heard) = greeting(door, &job.token).await;
            if !heard {
                tracing::warn!(job = job.id, "{NOT_HEARD}");
            }
            Some(door)
        }
        None => None,
    };
    let watched = match door.map(|door| Watched::new(door, &job.token)).transpose() {
        Ok(watched) => watched,
        Err(error) => return without_log(coordinator, job, &error).await,
    };
    let work = Work { config, coordinator, job, folder, signals, shutdown, timeout, deadline, log, watched };
    let (sent, state) = tokio::join!(sender.follow(), work.run(env));
    if let Err(error) = sent {
        tracing::warn!(job = job.id, error = %error.internal_chain(), "the log is not complete at the site");
    }
    match state {
        Ok(state) => sender.finish(&state).await,
        Err(error) => without_log(coordinator, job, &error).await,
    }
}

/// Tells the end of a job whose log could not be kept, e.g. because the runner's disk is full.
async fn without_log(coordinator: &Coordinator, job: &Job, why: &Error) -> Result<()> {
    tracing::error!(job = job.id, error = %why.internal_chain(), "the runner cannot keep a job's log");
    let mut state = State::new(JobState::Failed);
    state.failure_reason = Some("runner_system_failure");
    let mut tried = 0;
    loop {
        tried += 1;
        match coordinator.update(job, &state).await {
            Ok(_) => return Ok(()),
            Err(error) if tried >= END_TRIES => return Err(error),
            Err(_) => tokio::time::sleep(backoff(tried)).await,
        }
    }
}

impl Work<'_> {
    async fn run(mut self, env: Result<Environment>) -> Result<State> {
        let result = match env {
            Ok(env) => self.all(&env).await,
            Err(error) => Err(error.into()),
        };
        let (text, failure_reason, exit_code) = verdict(&result);
        self.log.line(&text).await?;
        let state = if result.is_ok() { JobState::Success } else { JobState::Failed };
        Ok(State { state, failure_reason, exit_code, output: Some(self.log.close().await?) })
    }

    async fn all(&mut self, env: &Environment) -> Result<(), Failure> {
        let version = env!("CARGO_PKG_VERSION");
        self.log.line(&format!("Running with cofferdam-runner {version} on {}", self.config.name)).await?;
        self.prepare(env).await?;
        let mut result = self.steps(env, |step| step.name != "after_script", Ok(())).await;
        if !matches!(
            result,
            Err(Failure::TimedOut(_) | Failure::Aborted | Failure::Stopping | Failure::System(_))
        ) {
            result = self.steps(env, |step| step.name == "after_script", result).await;
        }
        if matches!(result, Err(Failure::Aborted | Failure::Stopping)) {
            return result;
        }
        let uploaded = self.upload(env, result.is_ok()).await;
        match (result, uploaded) {
            (Ok(()), Err(error)) => Err(error),
            (result, _) => result,
        }
    }

    /// Folder, sources and the artifacts of earlier jobs.
    async fn prepare(&mut self, env: &Environment) -> Result<(), Failure> {
        self.folder.fill(env)?;
        if !matches!(env.get("GIT_STRATEGY"), Some("none" | "empty"))
            && !self.job.git_info.repo_url.is_empty()
        {
            self.log.begin("get_sources", "Getting source from Git repository").await?;
            self.sources(env).await?;
            self.log.end("get_sources").await?;
        }
        if self.job.dependencies.iter().any(protocol::has_archive) {
            self.log.begin("download_artifacts", "Downloading artifacts").await?;
            for one in self.job.dependencies.iter().filter(|one| protocol::has_archive(one)) {
                let files = self.download(env, one.id, &one.token).await?;
                self.log.line(&format!("{files} files from {} (job {})", one.name, one.id)).await?;
            }
            self.log.end("download_artifacts").await?;
        }
        Ok(())
    }

    async fn sources(&mut self, env: &Environment) -> Result<(), Failure> {
        let sources = script::sources(&self.job.git_info, &env.project_dir)?;
        let extra: Vec<(&str, &str)> =
            sources.env.iter().map(|(name, value)| (*name, value.expose().as_str())).collect();
        let path = self.folder.script("get_sources", &sources.script)?;
        match self.shell(&path, env.for_process(&extra), self.deadline).await {
            Err(Failure::Script(code)) => Err(Error::new(
                ErrorKind::Unavailable,
                "job-sources",
                format!("git could not get the sources: exit code {code}"),
            )
            .into()),
            other => other,
        }
    }

    async fn download(&mut self, env: &Environment, id: i64, token: &str) -> Result<u64, Failure> {
        let path = self.folder.path("out").join(format!("dependency-{id}"));
        let mut file = File::create(&path).await.map_err(|e| Error::io("storing artifacts", e))?;
        let token = if token.is_empty() { &self.job.token } else { token };
        self.coordinator.download(id, token, &mut file, self.config.limits.artifacts).await?;
        let project = self.project(env)?;
        let bounds = self.bounds();
        let files = blocking(move || {
            let archive = std::fs::File::open(&path).map_err(|e| Error::io("reading artifacts", e))?;
            let files = extract::unzip(archive, &project, bounds);
            let _ = std::fs::remove_file(&path);
            files
        });
        Ok(files.await?)
    }

    /// Runs those steps that `which` selects and that apply to the result so far.
    async fn steps(
        &mut self,
        env: &Environment,
        which: impl Fn(&Step) -> bool,
        before: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut result = before;
        for step in self.job.steps.iter().filter(|step| which(step)) {
            if !protocol::applies(&step.when, result.is_ok()) || step.script.is_empty() {
                continue;
            }
            let ran = self.step(env, step, &result).await;
            match ran {
                Err(Failure::Script(code)) if step.allow_failure => {
                    self.log.line(&format!("WARNING: {} failed: exit code {code}", step.name)).await?;
                }
                Err(Failure::TimedOut(bound)) if step.allow_failure && Instant::now() < self.deadline => {
                    let bound = bound.as_secs();
                    self.log
                        .line(&format!("WARNING: {} took longer than {bound} seconds", step.name))
                        .await?;
                }
                Err(failure) if result.is_ok() => result = Err(failure),
                _ => {}
            }
            if self.signals.abort.is_cancelled() {
                return Err(Failure::Aborted);
            }
        }
        result
    }

    async fn step(
        &mut self,
        env: &Environment,
        step: &Step,
        so_far: &Result<(), Failure>,
    ) -> Result<(), Failure> {
        let after = step.name == "after_script";
        let section = if after { "after_script".to_owned() } else { format!("step_{}", step.name) };
        let headline =
            if after { "Running after_script".to_owned() } else { format!("Executing {}", section) };
        self.log.begin(&section, &headline).await?;
        let status = match so_far {
            Ok(()) if after => "success",
            Ok(()) => "running",
            Err(Failure::Canceled) => "canceled",
            Err(_) => "failed",
        };
        let bound = match protocol::seconds(step.timeout) {
            None if after => AFTER_SCRIPT,
            None => self.timeout,
            Some(bound) => bound.min(self.timeout),
        };
        let bound = if after { bound.min(AFTER_SCRIPT) } else { bound };
        let deadline = self.deadline.min(Instant::now() + bound);
        let path = self.folder.script(&section, &script::step(&step.script, &env.project_dir))?;
        // What stops a script must not stop the after_script that tidies up behind it.
        let signals = self.signals.clone();
        if after {
            self.signals.stop = CancellationToken::new();
        }
        let ran = self.shell(&path, env.for_process(&[("CI_JOB_STATUS", status)]), deadline).await;
        self.signals = signals;
        self.log.end(&section).await?;
        ran
    }

    /// Runs the script at `path` (inside) in a sandbox, its output going to the log.
    async fn shell(
        &mut self,
        path: &str,
        env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let limits = &self.config.limits;
        let wall = deadline.saturating_duration_since(Instant::now());
        let mut spec = SandboxSpec::new(script::command(path));
        spec.env = env;
        spec.workdir = crate::env::BUILDS.into();
        spec.mounts = self.config.mounts.clone();
        spec.mounts.extend(self.folder.mounts());
        spec.hide = self.config.hide.clone();
        spec.hide.push(self.config.work_dir.clone());
        spec.stdout = Stdio::Piped;
        spec.stderr = Stdio::Null;
        spec.hostname = format!("job-{}", self.job.id);
        spec.limits = Limits {
            wall: Some(wall),
            max_processes: Some(limits.processes),
            max_memory: limits.memory,
            max_file_size: Some(limits.file_size),
        };
        let mut running = match &self.watched {
            None => {
                // A door to something else than a TCP address, or none.
                spec.network =
                    self.config.site_door.clone().map_or(Network::None, |door| Network::Site(vec![door]));
                Sandbox::spawn(spec).await?
            }
            Some(watched) => {
                let (running, unwatched) = watched.start(spec, &self.folder.path("trust")).await?;
                if let Some(why) = unwatched {
                    self.log.line(&why).await?;
                }
                running
            }
        };
        self.pump(&mut running).await?;
        let outcome = running.wait().await?;
        if let Some(watched) = &self.watched {
            for line in watched.seen(&mut running).await?.text().lines() {
                self.log.line(line.trim()).await?;
            }
        }
        match outcome.status {
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => Err(Failure::Script(code)),
            Exit::Signal(signal) => Err(Failure::Script(128 + signal)),
            Exit::TimedOut => Err(Failure::TimedOut(wall.min(self.timeout))),
            Exit::Killed if self.signals.abort.is_cancelled() => Err(Failure::Aborted),
            Exit::Killed if self.shutdown.is_cancelled() => Err(Failure::Stopping),
            Exit::Killed if self.signals.stop.is_cancelled() => Err(Failure::Canceled),
            Exit::Killed => Err(Error::new(
                ErrorKind::Unavailable,
                "sandbox-killed",
                "the sandbox was killed from outside, perhaps for want of memory",
            )
            .into()),
        }
    }

    /// Copies output to the log until nothing is left inside; kills when told to.
    async fn pump(&mut self, running: &mut Running) -> Result<()> {
        let Some(mut output) = running.stdout.take() else { return Ok(()) };
        let mut buffer = vec![0; 16 << 10];
        let mut killed = false;
        loop {
            let interrupted = async {
                tokio::select! {
                    () = self.signals.abort.cancelled() => {}
                    () = self.signals.stop.cancelled() => {}
                    () = self.shutdown.cancelled() => {}
                }
            };
            tokio::select! {
                biased;
                () = interrupted, if !killed => {
                    running.kill();
                    killed = true;
                }
                read = output.read(&mut buffer) => match read {
                    Ok(0) => return Ok(()),
                    Ok(size) => self.log.write(&buffer[..size]).await?,
                    Err(error) => return Err(Error::io("reading a job's output", error)),
                },
            }
        }
    }

    async fn upload(&mut self, env: &Environment, success: bool) -> Result<(), Failure> {
        let specs: Vec<&Artifact> =
            self.job.artifacts.iter().filter(|spec| protocol::applies(&spec.when, success)).collect();
        if specs.is_empty() {
            return Ok(());
        }
        self.log.begin("upload_artifacts", "Uploading artifacts").await?;
        let mut result = Ok(());
        for (index, spec) in specs.into_iter().enumerate() {
            if let Err(error) = self.upload_one(env, index, spec).await {
                self.log.line(&format!("ERROR: {}: {error}", protocol::kind(spec))).await?;
                result = Err(error.into());
            }
        }
        self.log.end("upload_artifacts").await?;
        result
    }

    async fn upload_one(&mut self, env: &Environment, index: usize, spec: &Artifact) -> Result<()> {
        let project = self.project(env)?;
        let path = self.folder.path("out").join(format!("artifact-{index}"));
        let (to, wanted, bounds) = (path.clone(), spec.clone(), self.bounds());
        let packed = blocking(move || {
            let (found, unused) = archive::find(&project, &wanted.paths, &wanted.exclude, bounds)?;
            if found.is_empty() {
                return Ok((None, unused));
            }
            let file = std::fs::File::create(&to).map_err(|e| Error::io("making an archive", e))?;
            let written = match protocol::format(&wanted) {
                "zip" => archive::zip(&found, file, bounds)?,
                "gzip" => archive::gzip(&found, file, bounds)?,
                "raw" => archive::raw(&found, file, bounds)?,
                other => {
                    return Err(Error::invalid(
                        "artifact-format",
                        format!("there is no artifact format {other:?}"),
                    ));
                }
            };
            Ok((Some(written), unused))
        });
        let (written, unused) = packed.await?;
        for pattern in unused {
            self.log.line(&format!("WARNING: {pattern}: no matching files")).await?;
        }
        let Some(written) = written else { return Ok(()) };
        let name = protocol::file_name(spec);
        self.log.line(&format!("{name}: {} entries, {} bytes", written.entries, written.bytes)).await?;
        let mut tried = 0;
        loop {
            tried += 1;
            match self.coordinator.upload(self.job, spec, &path, &name).await {
                Err(error) if error.kind() == ErrorKind::Unavailable && tried < UPLOAD_TRIES => {
                    tracing::debug!(job = self.job.id, error = %error.internal_chain(), "uploading");
                    tokio::time::sleep(backoff(tried)).await;
                }
                other => return other,
            }
        }
    }

    fn project(&self, env: &Environment) -> Result<std::path::PathBuf> {
        self.folder.project(env).ok_or_else(|| {
            Error::invalid("job-project", "the project folder is gone, or a link is in its place")
                .hint("artifacts are taken from the folder that the job started in")
        })
    }

    fn bounds(&self) -> Bounds {
        Bounds { bytes: self.config.limits.artifacts, entries: self.config.limits.artifact_files }
    }
}

/// The log's last line, and the end in the protocol's words.
fn verdict(result: &Result<(), Failure>) -> (String, Option<&'static str>, Option<i32>) {
    let failed = |why: &str| format!("\u{1b}[31;1mERROR: Job failed{why}\u{1b}[0;m");
    match result {
        Ok(()) => ("\u{1b}[32;1mJob succeeded\u{1b}[0;m".to_owned(), None, Some(0)),
        Err(Failure::Script(code)) => {
            (failed(&format!(": exit code {code}")), Some("script_failure"), Some(*code))
        }
        Err(Failure::TimedOut(bound)) => (
            failed(&format!(": execution took longer than {} seconds", bound.as_secs())),
            Some("job_execution_timeout"),
            None,
        ),
        Err(Failure::Canceled | Failure::Aborted) => (failed(": canceled"), Some("job_canceled"), None),
        Err(Failure::Stopping) => {
            (failed(" (system failure): the runner is being stopped"), Some("runner_system_failure"), None)
        }
        Err(Failure::System(error)) => {
            let hint = error.advice().map(|hint| format!(" ({hint})")).unwrap_or_default();
            tracing::warn!(error = %error.internal_chain(), "a job failed around its script");
            (failed(&format!(" (system failure): {error}{hint}")), Some("runner_system_failure"), None)
        }
    }
}

/// Work on files, away from the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal("working on a job's files", e))?
}
