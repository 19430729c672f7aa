//! The planner of a site: a commit's own pipeline file, read through git.
//!
//! Loading is pure and asks for files by name, so it runs again with every file that it missed the
//! time before, until it misses none.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use cofferdam_git::{GitService, Oid};
use cofferdam_pipeline::{Config, Context, Diagnostic, Origin, Source, evaluate, load, render};
use cofferdam_types::{ErrorKind, Result};

use crate::{
    planning::{PIPELINE_FILE, Planned, Planner, Wanted},
    variables::{project_facts, ref_name},
};

/// A pipeline file may have at most this many bytes, and so may every file that it includes.
pub const MAX_FILE: u64 = 1 << 20;
/// Files that one pipeline may include.
const MAX_FILES: usize = 150;

/// Plans from the files of a commit.
pub(crate) struct PipelineFiles {
    pub git: Arc<dyn GitService>,
    /// The site's address.
    pub site: String,
}

/// What is known of a commit by now, and what was asked for and is not.
#[derive(Default)]
struct Files {
    known: BTreeMap<String, Option<String>>,
    missed: RefCell<BTreeSet<String>>,
    /// Every path of the commit. Listing a large tree takes its time, and few definitions ask for it.
    list: Option<Vec<String>>,
    list_missed: Cell<bool>,
}

impl Source for Files {
    fn read(&self, path: &str) -> Option<String> {
        let found = self.known.get(path);
        if found.is_none() {
            self.missed.borrow_mut().insert(path.to_owned());
        }
        found.cloned().flatten()
    }

    fn list(&self) -> Vec<String> {
        self.list_missed.set(self.list.is_none());
        self.list.clone().unwrap_or_default()
    }
}

#[async_trait]
impl Planner for PipelineFiles {
    async fn plan(&self, wanted: &Wanted<'_>) -> Result<Option<Planned>> {
        let commit: Oid = wanted.sha.parse()?;
        let mut files = Files::default();
        let config = loop {
            let loaded = load(&files, PIPELINE_FILE);
            let missed = std::mem::take(&mut *files.missed.borrow_mut());
            let list_missed = files.list_missed.take();
            if (missed.is_empty() && !list_missed) || files.known.len() > MAX_FILES {
                break loaded;
            }
            if list_missed {
                files.list = Some(self.list(wanted, &commit).await?);
            }
            for path in missed {
                let text = match self.git.read_file(wanted.project.id, &commit, &path, MAX_FILE).await {
                    Ok(bytes) => bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
                    Err(error) if error.kind() == ErrorKind::TooLarge => {
                        return Ok(Some(wrong(format!("{path}: {error}"))));
                    }
                    Err(error) => return Err(error),
                };
                if text.is_none() && path == PIPELINE_FILE {
                    return Ok(None);
                }
                files.known.insert(path, text);
            }
        };
        match config {
            Ok(config) => self.evaluate(wanted, &commit, &config, files.list).await,
            Err(mistakes) => Ok(Some(wrong(shown(&mistakes, &files)))),
        }
    }
}

impl PipelineFiles {
    async fn list(&self, wanted: &Wanted<'_>, commit: &Oid) -> Result<Vec<String>> {
        let tree = self.git.list_tree(wanted.project.id, commit).await?;
        Ok(tree.into_iter().map(|entry| entry.path).collect())
    }

    async fn evaluate(
        &self,
        wanted: &Wanted<'_>,
        commit: &Oid,
        config: &Config,
        mut files: Option<Vec<String>>,
    ) -> Result<Option<Planned>> {
        let before: Oid = wanted.before.parse()?;
        // A commit that a forced push took away cannot be compared with: then `changes` holds.
        let changed_paths = match before.is_zero() || !config.rules().any(|rule| rule.changes.is_some()) {
            true => None,
            false => self.git.changed_paths(wanted.project.id, &before, commit).await.ok(),
        };
        if files.is_none() && config.rules().any(|rule| rule.exists.is_some()) {
            files = Some(self.list(wanted, commit).await?);
        }
        let reference = ref_name(wanted.git_ref);
        let facts = project_facts(&self.site, wanted.project).into_iter();
        let context = Context {
            ref_name: reference.name.to_owned(),
            is_tag: reference.tag,
            sha: wanted.sha.to_owned(),
            source: wanted.source.to_owned(),
            default_branch: wanted.project.default_branch.clone(),
            changed_paths,
            files,
            variables: facts.map(|v| (v.key, v.value, Origin::Predefined)).collect(),
        };
        Ok(match evaluate(config, &context) {
            cofferdam_pipeline::Planned::Plan(plan) => {
                Some(Planned { jobs: plan.jobs, error: String::new() })
            }
            cofferdam_pipeline::Planned::NotCreated(reason) => {
                tracing::debug!(project = wanted.project.path(), sha = wanted.sha, "no pipeline: {reason}");
                None
            }
        })
    }
}

fn wrong(error: String) -> Planned {
    Planned { jobs: Vec::new(), error }
}

fn shown(mistakes: &[Diagnostic], files: &Files) -> String {
    render(mistakes, &|path| files.known.get(path).cloned().flatten())
}
