//! What the stories about watched networks share: a watcher made of a closure, and its log.

use std::sync::Arc;

use cofferdam_sandbox::{
    Attempt, Network, NetworkLog, Noted, Outcome, Sandbox, SandboxSpec, SiteDoor, Stdio, TakeFuture,
    Transport, Verdict, Watcher,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Decides by a closure; takes by greeting after reading everything up to the first blank line.
pub struct By<F>(pub F);

impl<F: Fn(&Attempt) -> Verdict + Send + Sync + 'static> Watcher for By<F> {
    fn decide(&self, attempt: &Attempt) -> Verdict {
        (self.0)(attempt)
    }

    fn take(&self, attempt: Attempt, mut stream: TcpStream) -> TakeFuture {
        Box::pin(async move {
            let (mut got, mut byte) = (Vec::new(), [0]);
            while !got.ends_with(b"\n\n") && stream.read(&mut byte).await.unwrap_or(0) == 1 {
                got.push(byte[0]);
            }
            let answer = format!("{} {} {}", attempt.host(), attempt.port, String::from_utf8_lossy(&got));
            let _ = stream.write_all(answer.as_bytes()).await;
        })
    }
}

pub fn watched(watcher: impl Watcher, doors: Vec<SiteDoor>) -> Network {
    Network::Watched { doors, watcher: Arc::new(watcher) }
}

/// Whether this machine can watch, and has the client; says so by name when not.
pub fn can_watch(story: &str, client: &str) -> bool {
    let there = std::process::Command::new(client).arg("--version").output().is_ok();
    if !there {
        println!("skipped: {story}: no {client}");
        return false;
    }
    let check = cofferdam_sandbox::probe().into_iter().find(|check| check.name == "watched network");
    let ok = check.as_ref().is_some_and(|check| check.ok);
    if !ok {
        println!("skipped: {story}: {check:?}");
    }
    ok && crate::common::possible(story)
}

/// Runs to the end: the outcome, what was printed, and what was attempted.
pub async fn observe(mut spec: SandboxSpec) -> (Outcome, String, String, NetworkLog) {
    spec.stdout = Stdio::Piped;
    spec.stderr = Stdio::Piped;
    spec.env.push(("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()));
    let mut running = Sandbox::spawn(spec).await.expect("the sandbox starts");
    let (mut stdout, mut stderr) = (running.stdout.take().unwrap(), running.stderr.take().unwrap());
    let (mut out, mut err) = (String::new(), String::new());
    let (outcome, ..) =
        tokio::join!(running.wait(), stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
    (outcome.expect("the sandbox is supervised"), out, err, running.network_log().expect("it is watched"))
}

/// The only line of a transport.
pub fn only(log: &NetworkLog, transport: Transport) -> &Noted {
    let lines: Vec<_> = log.lines.iter().filter(|line| line.attempt.transport == transport).collect();
    assert_eq!(lines.len(), 1, "{log:#?}");
    lines[0]
}
