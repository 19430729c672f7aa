//! The definition with types, before any rule was looked at. Data only.

use crate::diagnostic::Place;
use crate::plan::{AllowFailure, Artifacts, Image, Need, Retry, When};
use crate::rules::Rule;
use serde_json::Value;

/// A whole definition.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Stages in order, `.pre` first and `.post` last.
    pub stages: Vec<String>,
    /// `variables:` at the top.
    pub variables: Vec<VariableDef>,
    /// `workflow:rules`; `None` when every pipeline is wanted.
    pub workflow: Option<Vec<Rule>>,
    /// Jobs in the order written, without hidden ones.
    pub jobs: Vec<Job>,
}

impl Config {
    /// Every rule there is, of the workflow and of the jobs: what an evaluation may have to know.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let of_jobs = self.jobs.iter().filter_map(|job| job.rules.as_ref());
        self.workflow.iter().chain(of_jobs).flatten()
    }
}

/// A variable as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableDef {
    /// Name.
    pub key: String,
    /// Value.
    pub value: String,
    /// Are references in it replaced?
    pub expand: bool,
}

/// What a job takes from the top of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Inherit {
    /// Everything.
    #[default]
    All,
    /// Nothing.
    None,
    /// Only these.
    Only(Vec<String>),
}

impl Inherit {
    /// Does it take this one?
    pub fn takes(&self, name: &str) -> bool {
        match self {
            Inherit::All => true,
            Inherit::None => false,
            Inherit::Only(names) => names.iter().any(|known| known == name),
        }
    }
}

/// Copies of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parallel {
    /// So many.
    Count(usize),
    /// One for each combination of variables.
    Matrix(Vec<Vec<(String, String)>>),
}

/// A job as written, `extends` and `default` applied.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// Name.
    pub name: String,
    /// Where it is written.
    pub place: Place,
    /// Stage.
    pub stage: String,
    /// `before_script` and `script`.
    pub script: Vec<String>,
    /// `after_script`.
    pub after_script: Vec<String>,
    /// `variables:`.
    pub variables: Vec<VariableDef>,
    /// Which of the top's variables it takes.
    pub inherit_variables: Inherit,
    /// `rules:`; `None` when it has none.
    pub rules: Option<Vec<Rule>>,
    /// `needs:`.
    pub needs: Option<Vec<Need>>,
    /// `dependencies:`.
    pub dependencies: Option<Vec<String>>,
    /// `artifacts:`.
    pub artifacts: Option<Artifacts>,
    /// `cache:` as written.
    pub cache: Option<Value>,
    /// `image:`.
    pub image: Option<Image>,
    /// `services:`.
    pub services: Vec<Image>,
    /// `tags:`.
    pub tags: Vec<String>,
    /// `timeout:` in seconds.
    pub timeout: Option<u64>,
    /// `retry:`.
    pub retry: Retry,
    /// `allow_failure:`; `None` when not written, because the default depends on `when`.
    pub allow_failure: Option<AllowFailure>,
    /// `interruptible:`.
    pub interruptible: bool,
    /// `resource_group:`.
    pub resource_group: Option<String>,
    /// `environment:` as written.
    pub environment: Option<Value>,
    /// `parallel:`.
    pub parallel: Option<Parallel>,
    /// `when:`.
    pub when: When,
    /// `coverage:`.
    pub coverage: Option<String>,
}
