//! The signals that end a command in an orderly way.

use std::future::Future;

use cofferdam_types::{Error, Result};

/// Ends with the first SIGINT or SIGTERM.
///
/// # Errors
/// `Internal` when signals cannot be listened for.
pub fn stopped() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |e| Error::io("listening for signals", e);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
