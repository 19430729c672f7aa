//! The outside half of a door: accepts on the sandbox's listening socket and relays to the target.
//!
//! It must never look at the bytes, which [`crate::relay`] moves, nor connect to anything but its target. A target that is
//! greeted hears the greeting first, whoever speaks inside.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::relay::{self, End};
use crate::spec::Target;

/// Connections open at once through one door; more wait in the sandbox's accept queue.
const MAX_CONNECTIONS: usize = 256;
/// How long relays may go on after the last process inside has ended.
pub const DRAIN: Duration = Duration::from_secs(2);
/// Before a connection is accepted that could not be, usually for want of descriptors: the queue keeps it.
pub const LATER: Duration = Duration::from_millis(20);

/// What passed all doors of a sandbox.
#[derive(Debug, Default)]
pub struct Traffic {
    pub connections: AtomicU64,
    pub refused: AtomicU64,
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

/// Serves one door until `ended` turns true; then takes what still waits in the queue and gives
/// the open relays [`DRAIN`] to finish what was in flight.
pub async fn serve(
    listener: TcpListener,
    target: Target,
    traffic: Arc<Traffic>,
    mut ended: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut relays = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = admit(&listener, &room) => accepted,
            Some(_) = relays.join_next() => continue,
            _ = ended.wait_for(|ended| *ended) => break,
        };
        let Some((stream, permit)) = accepted else { break };
        let (target, traffic) = (target.clone(), Arc::clone(&traffic));
        relays.spawn(async move {
            relay(stream, &target, &traffic).await;
            drop(permit);
        });
    }
    drop(listener);
    finish(relays).await;
}

/// Gives what is open [`DRAIN`] to finish; afterwards nothing of it is left, finished or not.
pub async fn finish(mut open: JoinSet<()>) {
    let _ = tokio::time::timeout(DRAIN, async { while open.join_next().await.is_some() {} }).await;
    open.shutdown().await;
}

async fn admit(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    Some((accept(listener).await?, permit))
}

/// The next connection; `None` when the listener is broken.
async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some(stream),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                tokio::time::sleep(LATER).await;
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "a door of a sandbox is closed");
                return None;
            }
        }
    }
}

async fn relay(inside: TcpStream, target: &Target, traffic: &Traffic) {
    let outcome = match connect(target, traffic).await {
        Ok(outside) => relay::both_ways(inside, &outside, &traffic.sent, &traffic.received).await,
        Err(error) => {
            // The client inside sees a reset, as it would from a closed port, not an empty answer.
            let _ = inside.set_zero_linger();
            Err(error)
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, ?target, "a connection through a door ended early");
    }
}

/// Connects to a target, and counts it.
pub async fn connect(target: &Target, traffic: &Traffic) -> io::Result<End> {
    traffic.connections.fetch_add(1, Ordering::Relaxed);
    let connected = match target {
        Target::Tcp(address) => dial(address, "").await,
        Target::Greeted(address, greeting) => dial(address, &greeting.0).await,
        Target::Unix(path) => UnixStream::connect(path).await.map(End::Unix),
    };
    if connected.is_err() {
        traffic.refused.fetch_add(1, Ordering::Relaxed);
    }
    connected
}

async fn dial(address: &SocketAddr, greeting: &str) -> io::Result<End> {
    let mut stream = TcpStream::connect(address).await?;
    let _ = stream.set_nodelay(true);
    stream.write_all(greeting.as_bytes()).await?;
    Ok(End::Tcp(stream))
}
