//! What the binary tells a runner: where the site is, who the runner is, what its jobs may see.
//!
//! Plain data. Nothing here has a default that opens a door or shows a folder of the host.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cofferdam_sandbox::{Mount, SiteDoor};
use cofferdam_types::Secret;
use cofferdam_types::time::SharedClock;

/// Everything a runner needs to know.
#[derive(Clone)]
pub struct RunnerConfig {
    /// The site as the runner reaches it, e.g. `http://127.0.0.1:8929`. Plain `http` only on loopback.
    pub url: String,
    /// The runner's authentication token.
    pub token: Secret<String>,
    /// The name that job logs show.
    pub name: String,
    /// How many jobs run at once; at least one.
    pub concurrency: usize,
    /// The folder that holds the folders of running jobs. Created, for this user alone, and hidden from jobs.
    pub work_dir: PathBuf,
    /// How a job reaches the site: the door listens inside at the address of the site's public URL, so
    /// that the URLs in the job's variables hold there. `None` means no network at all.
    pub site_door: Option<SiteDoor>,
    /// Folders of the host that jobs see, e.g. toolchains.
    pub mounts: Vec<Mount>,
    /// Folders and files of the host that jobs must not see, e.g. homes and the site's state folder.
    pub hide: Vec<PathBuf>,
    /// What the machine's tools need in the environment, e.g. `PATH`, as seen inside. The job's own
    /// variables win over it.
    pub env: Vec<(String, String)>,
    /// Bounds for every job.
    pub limits: JobLimits,
    /// How long a silent job waits before it tells the site that it is alive and hears whether it was
    /// cancelled. GitLab Runner's value, and the default of [`RunnerConfig::new`], is 30 seconds.
    pub heartbeat: Duration,
    /// Keep job folders for looking at them.
    pub keep_folders: bool,
    /// The time shown in the log's section marks.
    pub clock: SharedClock,
}

impl RunnerConfig {
    /// A runner with one job at a time, a sealed network and nothing but the host's own programs.
    pub fn new(url: impl Into<String>, token: Secret<String>, work_dir: PathBuf, clock: SharedClock) -> Self {
        Self {
            url: url.into(),
            token,
            name: "cofferdam".to_owned(),
            concurrency: 1,
            work_dir,
            site_door: None,
            mounts: Vec::new(),
            hide: Vec::new(),
            env: Vec::new(),
            limits: JobLimits::default(),
            heartbeat: Duration::from_secs(30),
            keep_folders: false,
            clock,
        }
    }
}

impl fmt::Debug for RunnerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunnerConfig")
            .field("url", &self.url)
            .field("name", &self.name)
            .field("concurrency", &self.concurrency)
            .field("work_dir", &self.work_dir)
            .finish_non_exhaustive()
    }
}

/// Bounds of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// Processes and threads alive at once.
    pub processes: u64,
    /// Bytes of private memory per process; `None` means the runner's own bound.
    pub memory: Option<u64>,
    /// Bytes of the largest file that a job may write.
    pub file_size: u64,
    /// Bytes of log that are kept; the job goes on after that.
    pub log: u64,
    /// Bytes of one artifact archive, before compression.
    pub artifacts: u64,
    /// Files in one artifact archive.
    pub artifact_files: u64,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self {
            processes: 4096,
            memory: None,
            file_size: 8 << 30,
            log: 64 << 20,
            artifacts: 4 << 30,
            artifact_files: 100_000,
        }
    }
}
