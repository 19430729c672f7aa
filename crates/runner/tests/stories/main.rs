//! Stories of jobs: a site that speaks the runner protocol, a runner, real sandboxes.

mod artifacts;
mod interruptions;
mod isolation;
mod logs;
mod repository;
mod scripts;
mod site;
mod watched;
