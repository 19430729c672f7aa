//! The loops that ask for jobs and run them.
//!
//! A failing site costs it one small request per pause and runner, never a storm; a refused token is
//! asked about again, because the site may be restoring a backup.

use std::sync::Arc;
use std::time::Duration;

use cofferdam_types::{Error, Result};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::client::Coordinator;
use crate::config::RunnerConfig;
use crate::folder;
use crate::job::run_job;
use crate::log::backoff;

/// A runner, not yet running.
#[derive(Debug)]
pub struct Runner {
    config: Arc<RunnerConfig>,
    coordinator: Coordinator,
}

impl Runner {
    /// Checks the configuration and makes the folder for jobs.
    ///
    /// # Errors
    /// `Invalid` for a URL over which a token must not travel, otherwise those of the file system.
    pub fn new(config: RunnerConfig) -> Result<Self> {
        let coordinator =
            Coordinator::new(&address(&config.url)?, config.token.clone(), config.name.clone())?;
        folder::prepare(&config.work_dir)?;
        let mut config = config;
        config.work_dir = config.work_dir.canonicalize().map_err(|e| {
            Error::io(format!("finding the runner's folder {}", config.work_dir.display()), e)
        })?;
        Ok(Self { config: Arc::new(config), coordinator })
    }

    /// Asks for jobs and runs them until `shutdown`. Then running jobs are stopped and reported to the
    /// site as failed because of the runner, and the call returns.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut loops = JoinSet::new();
        for _ in 0..self.config.concurrency.max(1) {
            loops.spawn(one_after_the_other(
                Arc::clone(&self.config),
                self.coordinator.clone(),
                shutdown.clone(),
            ));
        }
        while loops.join_next().await.is_some() {}
    }
}

fn address(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|e| {
        Error::invalid("runner-url", format!("{text:?} is no address of a site: {e}"))
            .hint("give it as http://127.0.0.1:PORT or https://HOST")
    })
}

async fn one_after_the_other(
    config: Arc<RunnerConfig>,
    coordinator: Coordinator,
    shutdown: CancellationToken,
) {
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        let asked = Instant::now();
        let answer = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            answer = coordinator.request() => answer,
        };
        let pause = match answer {
            Ok(Some(job)) => {
                failures = 0;
                let id = job.id;
                let (config, coordinator, stop) =
                    (Arc::clone(&config), coordinator.clone(), shutdown.clone());
                // A task of its own, so that a fault in one job does not end the loop.
                let told = tokio::spawn(async move { run_job(&config, &coordinator, job, stop).await });
                let told = told.await.unwrap_or_else(|e| Err(Error::internal("running a job", e)));
                if let Err(error) = told {
                    tracing::warn!(job = id, error = %error.internal_chain(), "the site was not told a job's end");
                }
                continue;
            }
            // A site that holds requests is asked again at once, another one ten times a second at most.
            Ok(None) => {
                failures = 0;
                backoff(1).saturating_sub(asked.elapsed())
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(error = %error.internal_chain(), failures, "asking for a job");
                backoff(failures)
            }
        };
        wait(pause, &shutdown).await;
    }
}

async fn wait(pause: Duration, shutdown: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        () = shutdown.cancelled() => {}
    }
}
