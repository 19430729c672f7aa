//! Recipes carried out: blobs that did not travel whole, rebuilt from what is here.
//!
//! A recipe is bounded in memory, output and work, by the same limits that the sender planned with. Its result
//! counts only when it has the SHA-256 that was signed.

use std::io::Read as _;

use cofferdam_blobs::Batch;
use cofferdam_delta::Limits;
use cofferdam_transfer::{Contents, RecipeLine};
use cofferdam_types::{Error, ErrorKind, Result, Sha256};

use crate::{Crossing, Progress, receive::blocking};

/// What carrying out one recipe may use: sender and receiver agree on it.
pub(crate) const LIMITS: Limits = Limits { memory: 160 << 20, output: 256 << 20, work: 8 << 30 };
/// Bases and results up to this size, bytes: both are held in memory.
pub(crate) const MAX_DELTA: u64 = 64 << 20;

impl Crossing {
    pub(crate) async fn rebuild<P: Progress>(&self, contents: &Contents, progress: &P) -> Result<()> {
        let blobs = self.0.registry.blobs();
        let total = contents.recipes().len() as u64;
        for (n, line) in (0u64..).zip(contents.recipes()) {
            progress.rebuilding(n, total);
            let known = self.db().read().await?.registry().blob(&line.sha256).await?.is_some();
            if known && blobs.size(&line.sha256).await? == Some(line.size) {
                continue;
            }
            let base = self.read_whole(&line.base).await?;
            let payload = self.read_whole(&line.payload).await?;
            let (line, batch) = (line.clone(), blobs.batch()?);
            let digests = blocking(move || execute(&line, &base, &payload, batch)).await?;
            let now = self.clock().now();
            let mut tx = self.db().write().await?;
            tx.registry().put_blobs([&digests], now).await?;
            tx.commit().await?;
        }
        progress.rebuilding(total, total);
        Ok(())
    }

    pub(crate) async fn read_whole(&self, sha256: &Sha256) -> Result<Vec<u8>> {
        let file = self.0.registry.blobs().file(sha256).await?;
        let sha256 = *sha256;
        blocking(move || {
            let mut bytes = Vec::new();
            let read = file.take(2 * MAX_DELTA + 1).read_to_end(&mut bytes);
            read.map_err(|e| Error::io(format!("reading blob {sha256}"), e))?;
            if bytes.len() as u64 > 2 * MAX_DELTA {
                let text = format!("blob {sha256} is too large for a recipe");
                return Err(Error::new(ErrorKind::VerificationFailed, "recipe-too-large", text));
            }
            Ok(bytes)
        })
        .await
    }
}

fn execute(
    line: &RecipeLine,
    base: &[u8],
    payload: &[u8],
    mut batch: Box<dyn Batch>,
) -> Result<cofferdam_types::Digests> {
    let mut out = Vec::new();
    line.recipe.execute(base, payload, &LIMITS, &mut out).map_err(|e| refused(line, e))?;
    let digests = batch.put(&line.sha256, line.size, &mut out.as_slice())?;
    batch.commit()?;
    Ok(digests)
}

/// A recipe that cannot be carried out within its limits came with the transfer: that did not pass the check.
fn refused(line: &RecipeLine, error: Error) -> Error {
    if !matches!(error.kind(), ErrorKind::Invalid | ErrorKind::TooLarge) {
        return error;
    }
    let text = format!("blob {} cannot be rebuilt: {}", line.sha256, error.message());
    Error::verification(error.code(), text)
        .hint("do not use this transfer; ask the sender to send the blob whole")
}
