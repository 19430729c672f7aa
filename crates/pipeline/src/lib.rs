//! `.gitlab-ci.yml`: load, merge, rules, variables; and the pipeline state machine.
//!
//! Pure: files come through [`Source`], nothing here touches a disk, a clock or a network. A keyword
//! that would be ignored is refused instead, with its place and the nearest known one.

mod config;
mod diagnostic;
mod evaluate;
mod expr;
mod glob;
mod job;
mod keywords;
mod load;
mod plan;
mod rules;
mod state;
mod variables;
pub mod yaml;

pub use config::{Config, Inherit, Job, Parallel, VariableDef};
pub use diagnostic::{Diagnostic, Place, render};
pub use evaluate::evaluate;
pub use expr::Expression;
pub use keywords::{Support, keywords};
pub use load::{Source, load};
pub use plan::{
    AllowFailure, Artifacts, Context, Image, Need, Origin, Plan, Planned, PlannedJob, PlannedVariable, Retry,
    When,
};
pub use rules::Rule;
pub use state::{JobState, Outcome, PipelineStatus, Status, Transition, advance, finish, pipeline_status};
pub use variables::expand;
