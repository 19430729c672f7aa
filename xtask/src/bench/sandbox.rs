//! What it costs to start a sandbox: the sandbox crate's own example measures and prints it.

use crate::{Outcome, cargo, run as run_command};

pub(super) fn run() -> Outcome {
    run_command(cargo().args([
        "run",
        "--quiet",
        "--release",
        "-p",
        "cofferdam-sandbox",
        "--example",
        "start_cost",
    ]))
}
