//! Takes a job, runs it in a sandbox, streams its log, returns its artifacts.
//!
//! Start at [`Runner`]. It speaks the GitLab Runner protocol to the site like any other runner and has
//! no other way in: it must never read the site's state, run a program of a job outside the sandbox, or
//! trust what a job, a repository or an archive left in a folder.
//!
//! | Module | Does |
//! |---|---|
//! | `config` | what the binary decides |
//! | `runner` | the loops |
//! | `job` | one job, step by step |
//! | `protocol`, `client` | the site's messages and calls |
//! | `env`, `script`, `folder` | what a job finds inside |
//! | `greeting` | the door that says in whose name is read |
//! | `watched`, `seen` | the network beside the door, and what was done with it |
//! | `log`, `mask` | the log, without secrets, without loss |
//! | `glob`, `archive`, `extract` | artifacts out and in |

mod archive;
mod client;
mod config;
mod env;
mod extract;
mod folder;
mod glob;
mod greeting;
mod job;
mod log;
mod mask;
mod protocol;
mod runner;
mod script;
mod seen;
mod watched;

pub use cofferdam_sandbox::{Mount, SiteDoor, Target};
pub use config::{JobLimits, RunnerConfig};
pub use env::HOME_FILES;
pub use folder::write_private;
pub use greeting::{NOT_HEARD, greeting};
pub use runner::Runner;
pub use seen::Seen;
pub use watched::Watched;
