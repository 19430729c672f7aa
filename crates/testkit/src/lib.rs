//! Private worlds for tests: databases, clocks, folders, real clients.
//!
//! Every helper gives the test something of its own (a folder, a port, a database) and takes it
//! away again. Nothing here may sleep, use a fixed port, or read the user's home.

mod clock;
mod git;
mod postgres;

pub use clock::TestClock;
pub use git::{GitAnswer, GitAsked, GitBackend};
pub use postgres::postgres;
