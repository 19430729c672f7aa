//! Reading with the digest checked: nobody gets a complete body that the disk has changed.

use bytes::Bytes;
use cofferdam_types::{Error, Result, Sha256, Sha256Hasher};
use futures::{Stream, StreamExt as _};

/// Passes a whole blob's chunks on, one behind, so that the last one is handed out only when the
/// digest of all of them is right.
pub(crate) fn verified(
    chunks: impl Stream<Item = Result<Bytes>> + Send + Unpin + 'static,
    sha256: Sha256,
) -> impl Stream<Item = Result<Bytes>> + Send {
    struct State<S> {
        chunks: S,
        hasher: Option<Sha256Hasher>,
        held: Option<Bytes>,
    }
    let state = State { chunks, hasher: Some(Sha256Hasher::default()), held: None };
    futures::stream::unfold(state, move |mut state| async move {
        loop {
            let hasher = state.hasher.as_mut()?;
            match state.chunks.next().await {
                Some(Ok(chunk)) => {
                    hasher.update(&chunk);
                    if let Some(ready) = state.held.replace(chunk) {
                        return Some((Ok(ready), state));
                    }
                }
                Some(Err(error)) => {
                    state.hasher = None;
                    return Some((Err(error), state));
                }
                None => {
                    let found = state.hasher.take()?.finish();
                    if found != sha256 {
                        return Some((Err(damaged(&sha256)), state));
                    }
                    return state.held.take().map(|last| (Ok(last), state));
                }
            }
        }
    })
}

fn damaged(sha256: &Sha256) -> Error {
    Error::verification("blob-damaged", format!("the stored bytes of {sha256} were changed by the disk"))
        .hint("check the disk, then restore this blob from a backup or receive it again")
}
