//! Accepts every TCP connection that leaves the sandbox, learns where it was going, asks the
//! watcher, and resets, relays or hands over.
//!
//! The listener is never left waiting: a connection that cannot be looked at, because too many are
//! already, is decided at once without its first bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::first_bytes::{self, Claim, MAX_LOOK};
use super::owner::Table;
use super::{Attempt, Decision, Shared, Transport, Verdict};
use crate::door;

/// How long first bytes are waited for: a client that is going to speak first has done it by then.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks at an incomplete beginning.
const AGAIN: Duration = Duration::from_millis(1);
/// Connections at all; more wait in the queue until one of these has been decided.
const MAX_TASKS: usize = super::MAX_OPEN + 4 * super::MAX_LOOKING;

/// Serves until the end; then decides about what had arrived, and lets open ones finish.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, mut ended: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = tasks.join_next() => continue,
            accepted = door::accept(&listener), if tasks.len() < MAX_TASKS => accepted,
            _ = ended.wait_for(|ended| *ended) => break,
        };
        let Some(stream) = accepted else { break };
        tasks.spawn(one(stream, Arc::clone(&shared)));
    }
    drop(listener);
    let _ = tokio::time::timeout(door::DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
}

async fn one(stream: TcpStream, shared: Arc<Shared>) {
    let (Ok(client), Ok(dialled)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let name = shared.names.name(dialled.ip());
    let mut attempt = shared.attempt(Transport::Tcp, name.as_deref(), dialled.ip(), dialled.port());
    if dialled.ip().is_loopback() {
        // Somebody inside has found the listener's own address.
        identify(&mut attempt, &shared, client, dialled).await;
        shared.note(&attempt, Decision::Refused);
        return reset(&stream);
    }
    let verdict = match shared.watcher.decide_early(&attempt) {
        Some(verdict) => {
            identify(&mut attempt, &shared, client, dialled).await;
            verdict
        }
        None => {
            claim(&mut attempt, &stream, &shared).await;
            identify(&mut attempt, &shared, client, dialled).await;
            shared.watcher.decide(&attempt)
        }
    };
    carry_out(verdict, attempt, stream, &shared).await;
}

async fn carry_out(verdict: Verdict, attempt: Attempt, stream: TcpStream, shared: &Shared) {
    if verdict == Verdict::Refuse {
        shared.note(&attempt, Decision::Refused);
        return reset(&stream);
    }
    let Ok(_open) = Arc::clone(&shared.open).try_acquire_owned() else {
        shared.note(&attempt, Decision::Overload);
        return reset(&stream);
    };
    match verdict {
        Verdict::Relay(target) => match door::connect(&target, &shared.traffic).await {
            Ok(outside) => {
                shared.note(&attempt, Decision::Relayed);
                if let Err(error) = door::both_ways(stream, outside, &shared.traffic).await {
                    tracing::debug!(%error, ?target, "a relayed connection ended early");
                }
            }
            Err(error) => {
                tracing::debug!(%error, ?target, "the target of a relay cannot be reached");
                shared.note(&attempt, Decision::Unreachable);
                reset(&stream);
            }
        },
        Verdict::Take | Verdict::Refuse => {
            shared.note(&attempt, Decision::Taken);
            shared.watcher.take(attempt, stream).await;
        }
    }
}

/// The client sees at once that it was refused, whatever it has sent.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

async fn identify(attempt: &mut Attempt, shared: &Shared, client: SocketAddr, dialled: SocketAddr) {
    attempt.process = match shared.recorder.known(attempt) {
        Some(process) => process,
        None => shared.owners.find(Table::Tcp, client, dialled).await,
    };
}

/// Looks at the first bytes without taking them.
async fn claim(attempt: &mut Attempt, stream: &TcpStream, shared: &Shared) {
    let Ok(_looking) = shared.looking.try_acquire() else { return };
    let Claim { tls, server_name, http_host, http_target } = first_claim(stream).await;
    (attempt.tls, attempt.tls_server_name) = (tls, server_name);
    (attempt.http_host, attempt.http_target) = (http_host, http_target);
}

async fn first_claim(stream: &TcpStream) -> Claim {
    let until = Instant::now() + LOOK;
    let mut buffer = Vec::new();
    let mut best = Claim::default();
    loop {
        let Ok(Ok(())) = tokio::time::timeout_at(until, stream.readable()).await else { return best };
        buffer.resize(MAX_LOOK, 0);
        let Ok(Ok(length)) = tokio::time::timeout_at(until, stream.peek(&mut buffer)).await else {
            return best;
        };
        let (claim, complete) = first_bytes::look(buffer.get(..length).unwrap_or_default());
        best = claim;
        if complete || length == 0 || Instant::now() >= until {
            return best;
        }
        tokio::time::sleep(AGAIN).await;
    }
}
