//! What the stories share: a machine that can, a shell inside, everything it printed.

use cofferdam_sandbox::{Outcome, Sandbox, SandboxSpec, Stdio, probe};
use tokio::io::AsyncReadExt;

/// Whether this machine allows sandboxes; says so by name when not.
pub fn possible(story: &str) -> bool {
    match probe().into_iter().find(|check| check.required && !check.ok) {
        None => true,
        Some(check) => {
            println!("skipped: {story}: {}: {}", check.name, check.detail);
            false
        }
    }
}

/// A sandbox around a shell script.
#[allow(dead_code, reason = "the network stories speak Python")]
pub fn shell(script: &str) -> SandboxSpec {
    SandboxSpec::new(["sh", "-c", script])
}

/// Runs to the end and collects what was printed.
pub async fn run(mut spec: SandboxSpec) -> (Outcome, String, String) {
    spec.stdout = Stdio::Piped;
    spec.stderr = Stdio::Piped;
    let mut running = Sandbox::spawn(spec).await.expect("the sandbox starts");
    let (mut stdout, mut stderr) = (running.stdout.take().unwrap(), running.stderr.take().unwrap());
    let (mut out, mut err) = (String::new(), String::new());
    let (outcome, ..) =
        tokio::join!(running.wait(), stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
    (outcome.expect("the sandbox is supervised"), out, err)
}
