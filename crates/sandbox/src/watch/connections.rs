//! Accepts every TCP connection that leaves the sandbox, learns where it was going, asks the
//! watcher, and resets, relays or hands over.
//!
//! The listener is never left waiting: a connection that cannot be looked at, because too many are
//! already, is decided at once without its first bytes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::first_bytes::{self, Claim, MAX_LOOK};
use super::owner::Table;
use super::{Attempt, Decision, LONGEST_LOOK, LOOK, Shared, Transport, Verdict};
use crate::{door, relay};

/// Between two looks at an incomplete beginning.
const AGAIN: Duration = Duration::from_millis(1);
/// Connections at all; more wait in the queue until one of these has been decided.
const MAX_TASKS: usize = super::MAX_OPEN + 2 * super::MAX_LOOKING;

/// Serves until the end; then decides about what had arrived, and lets open ones finish.
pub async fn serve(listener: AsyncFd<OwnedFd>, shared: Arc<Shared>, mut ended: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(_) = tasks.join_next() => continue,
            accepted = accept(&listener), if tasks.len() < MAX_TASKS => accepted,
            _ = ended.wait_for(|ended| *ended) => break,
        };
        let Some(stream) = accepted else { break };
        tasks.spawn(one(stream, Arc::clone(&shared)));
    }
    // Nobody is left inside: what still waits is all, and its clients are gone, so it is decided at once.
    while let Some(stream) = waiting(&listener) {
        if tasks.len() >= MAX_TASKS {
            door::finish(std::mem::take(&mut tasks)).await;
        }
        tasks.spawn(one(stream, Arc::clone(&shared)));
    }
    drop(listener);
    door::finish(tasks).await;
}

/// A connection that waits in the queue now.
fn waiting(listener: &AsyncFd<OwnedFd>) -> Option<TcpStream> {
    loop {
        match accept_now(listener).and_then(TcpStream::from_std) {
            Ok(stream) => return Some(stream),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
            Err(_) => return None,
        }
    }
}

/// The next connection, also one that its client has already given up: who connects and resets at
/// once must not stay unseen, so the peer's address, which is gone then, is not asked for.
async fn accept(listener: &AsyncFd<OwnedFd>) -> Option<TcpStream> {
    loop {
        let mut ready = listener.readable().await.ok()?;
        match ready.try_io(accept_now) {
            Err(_) => {}
            Ok(stream) => match stream.and_then(TcpStream::from_std) {
                Ok(stream) => return Some(stream),
                Err(error) => {
                    tracing::debug!(%error, "a watched connection waits");
                    tokio::time::sleep(door::LATER).await;
                }
            },
        }
    }
}

fn accept_now(listener: &AsyncFd<OwnedFd>) -> io::Result<std::net::TcpStream> {
    let none = std::ptr::null_mut();
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no address is asked for; a new descriptor is ours alone.
    unsafe {
        match libc::accept4(listener.as_raw_fd(), none, none.cast(), flags) {
            -1 => Err(io::Error::last_os_error()),
            socket => Ok(OwnedFd::from_raw_fd(socket).into()),
        }
    }
}

async fn one(stream: TcpStream, shared: Arc<Shared>) {
    let Ok(dialled) = stream.local_addr() else { return };
    let name = shared.names.name(dialled.ip());
    let mut attempt = shared.attempt(Transport::Tcp, name.as_deref(), dialled.ip(), dialled.port());
    let Ok(client) = stream.peer_addr() else {
        return shared.note(&attempt, Decision::HungUp);
    };
    if dialled.ip().is_loopback() {
        // Somebody inside has found the listener's own address.
        attempt.process = shared.process(Table::Tcp, &attempt, client, dialled).await.0;
        shared.note(&attempt, Decision::Refused);
        return reset(&stream);
    }
    let very;
    let verdict = match shared.watcher.decide_early(&attempt) {
        Some(verdict) => {
            (attempt.process, very) = shared.process(Table::Tcp, &attempt, client, dialled).await;
            verdict
        }
        None => {
            let who = attempt.clone();
            let patience = shared.watcher.patience(&attempt).min(LONGEST_LOOK);
            let (claim, process) = tokio::join!(
                claim(&stream, &shared, patience),
                shared.process(Table::Tcp, &who, client, dialled)
            );
            (attempt.tls, attempt.tls_server_name) = (claim.tls, claim.server_name);
            (attempt.http_host, attempt.http_target) = (claim.http_host, claim.http_target);
            (attempt.process, very) = process;
            shared.watcher.decide(&attempt)
        }
    };
    let dialler = (!very).then_some((client, dialled));
    carry_out(verdict, attempt, stream, dialler, &shared).await;
}

/// `dialler` are both ends of the connection when its process is that of an earlier one.
async fn carry_out(
    verdict: Verdict,
    mut attempt: Attempt,
    stream: TcpStream,
    dialler: Option<(SocketAddr, SocketAddr)>,
    shared: &Shared,
) {
    if verdict == Verdict::Refuse {
        shared.note(&attempt, Decision::Refused);
        return reset(&stream);
    }
    let Ok(_open) = shared.open.try_acquire() else {
        shared.note(&attempt, Decision::Overload);
        return reset(&stream);
    };
    match verdict {
        Verdict::Relay(target) => match door::connect(&target, &shared.traffic).await {
            Ok(outside) => {
                shared.note(&attempt, Decision::Relayed);
                let (sent, received) = (&shared.traffic.sent, &shared.traffic.received);
                if let Err(error) = relay::both_ways(stream, &outside, sent, received).await {
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
            let very = match dialler {
                Some((client, dialled)) => shared.dialler(client, dialled).await,
                None => attempt.process.clone(),
            };
            attempt.process = very.clone().or(attempt.process);
            shared.note(&attempt, Decision::Taken);
            attempt.process = very;
            shared.watcher.take(attempt, stream).await;
        }
    }
}

/// The client sees at once that it was refused, whatever it has sent.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Looks at the first bytes without taking them. A crowd that keeps others waiting for long takes only the
/// places for that, and never those of clients that are looked at briefly.
async fn claim(stream: &TcpStream, shared: &Shared, patience: Duration) -> Claim {
    let begin = Instant::now();
    let mut best = Claim::default();
    if let Ok(_looking) = shared.looking.try_acquire() {
        let (claim, complete) = claim_until(stream, begin + patience.min(LOOK)).await;
        if complete || patience <= LOOK {
            return claim;
        }
        best = claim;
    }
    match shared.lingering.try_acquire() {
        Ok(_lingering) if patience > LOOK => claim_until(stream, begin + patience).await.0,
        _ => best,
    }
}

/// What is claimed until then, and whether waiting longer would tell nothing more.
async fn claim_until(stream: &TcpStream, until: Instant) -> (Claim, bool) {
    let mut buffer = Vec::new();
    let mut best = Claim::default();
    loop {
        let Ok(Ok(())) = tokio::time::timeout_at(until, stream.readable()).await else {
            return (best, false);
        };
        buffer.resize(MAX_LOOK, 0);
        let Ok(Ok(length)) = tokio::time::timeout_at(until, stream.peek(&mut buffer)).await else {
            return (best, false);
        };
        let (claim, complete) = first_bytes::look(buffer.get(..length).unwrap_or_default());
        best = claim;
        if complete || length == 0 {
            return (best, true);
        }
        if Instant::now() >= until {
            return (best, false);
        }
        tokio::time::sleep(AGAIN).await;
    }
}
