//! Runs a command in a watched network and prints what it tried to reach, as JSON lines.
//!
//! `cargo run -p cofferdam-sandbox --example watched -- CMD [ARGS]`; everything is refused.

use std::sync::Arc;

use cofferdam_sandbox::{Exit, Network, RefuseAll, Sandbox, SandboxSpec, Stdio};
use cofferdam_types::Error;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut spec = SandboxSpec::new(std::env::args_os().skip(1));
    spec.env = vec![("HOME".into(), "/tmp".into()), ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
    spec.hide = std::env::home_dir().into_iter().collect();
    spec.network = Network::Watched { doors: Vec::new(), watcher: Arc::new(RefuseAll) };
    (spec.stdin, spec.stdout, spec.stderr) = (Stdio::Inherit, Stdio::Inherit, Stdio::Inherit);
    let mut running = Sandbox::spawn(spec).await?;
    let outcome = running.wait().await?;
    let log = running.network_log().unwrap_or_default();
    for line in &log.lines {
        let line = serde_json::to_string(line).map_err(|error| Error::internal("printing a line", error))?;
        println!("{line}");
    }
    if log.more + log.missed_packets > 0 {
        println!("{{\"more\":{},\"missed_packets\":{}}}", log.more, log.missed_packets);
    }
    std::process::exit(match outcome.status {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
        Exit::TimedOut | Exit::Killed => 137,
    })
}
