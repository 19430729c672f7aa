//! Runs a command in a sealed sandbox with the current folder writable at `/build`.
//!
//! `cargo run -p cofferdam-sandbox --example inside -- CMD [ARGS]`; for looking around by hand.

use cofferdam_sandbox::{Exit, Mount, Sandbox, SandboxSpec, Stdio};
use cofferdam_types::Error;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let here = std::env::current_dir().map_err(|error| Error::io("finding the current folder", error))?;
    let mut spec = SandboxSpec::new(std::env::args_os().skip(1));
    let home = std::env::home_dir();
    spec.env = vec![("HOME".into(), "/tmp".into()), ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
    spec.workdir = "/build".into();
    spec.mounts = vec![Mount { source: here, target: "/build".into(), writable: true }];
    spec.hide = home.into_iter().collect();
    (spec.stdin, spec.stdout, spec.stderr) = (Stdio::Inherit, Stdio::Inherit, Stdio::Inherit);
    let outcome = Sandbox::spawn(spec).await?.wait().await?;
    std::process::exit(match outcome.status {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
        Exit::TimedOut | Exit::Killed => 137,
    })
}
