//! Receiving a transfer: verified, quarantined, every byte inspected again; nothing visible yet.
//!
//! The order is that of the specification: signatures and every file first, then the sequence, then
//! the blobs into the store (where no row names them), then the formats' own inspection. One
//! transaction at the end makes the transfer known; a crash before it leaves unnamed blobs only.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use bytes::Bytes;
use cofferdam_blobs::Blobs;
use cofferdam_format_kit::Draft;
use cofferdam_store::{TransferItemRow, TransferRow};
use cofferdam_transfer::{Record, Refusal, Sequence, StreamState, Trust, Verified, classify};
use cofferdam_trust::VerifyingKey;
use cofferdam_types::{Digests, Error, ErrorKind, PackageUrl, PersonId, Result, Sha256, TransferId};
use futures::StreamExt as _;
use serde_json::json;
use tokio::{runtime::Handle, sync::mpsc};

use crate::{Crossing, SUBJECT_KIND, log};

/// Hears how a reception is going. `()` hears nothing.
pub trait Progress: Send + Sync + 'static {
    /// `done` of `total` bytes were verified.
    fn verifying(&self, done: u64, total: u64) {
        let _ = (done, total);
    }

    /// `done` of `total` blobs are in quarantine.
    fn storing(&self, done: u64, total: u64) {
        let _ = (done, total);
    }

    /// `done` of `total` releases were inspected.
    fn inspecting(&self, done: u64, total: u64) {
        let _ = (done, total);
    }
}

impl Progress for () {}

/// A transfer in quarantine.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Received {
    /// Its number at this site.
    pub id: TransferId,
    /// The site that wrote it.
    pub source: String,
    /// The stream and position.
    pub stream: String,
    /// The position in the stream.
    pub seq: u64,
    /// Whether every item passed inspection.
    pub sound: bool,
    /// Items that did not, and why.
    pub refused: Vec<(String, String)>,
    /// Releases in it.
    pub releases: usize,
    /// Blobs that it carried.
    pub blobs: u64,
    /// Bytes on the medium.
    pub bytes: u64,
    /// The approval that was asked for, when it is sound.
    pub approval: Option<i64>,
    /// What the approvers approve.
    pub digest: Sha256,
}

struct Hears<P>(Arc<P>);

impl<P: Progress> cofferdam_transfer::Progress for Hears<P> {
    fn bytes(&self, done: u64, total: u64) {
        self.0.verifying(done, total);
    }
}

impl Crossing {
    /// Whose transfers this site believes.
    ///
    /// # Errors
    /// `Conflict` when no key is trusted yet.
    pub async fn trust(&self) -> Result<Trust> {
        let rows = self.db().read().await?.crossing().trusted().await?;
        let keys: Vec<VerifyingKey> = rows.iter().filter_map(|(_, key)| key.parse().ok()).collect();
        if keys.is_empty() {
            return Err(Error::conflict("no-trusted-key", "this site does not believe any other site yet")
                .hint("compare the sender's key by phone or on paper, then `cofferdam key trust SITE KEY`"));
        }
        Ok(Trust { keys, threshold: 1, this_site: self.0.site.clone() })
    }

    /// Receives a transfer folder and asks for its approval in the name of `by`.
    ///
    /// # Errors
    /// `VerificationFailed`, `Invalid`, `MissingVolume` and `TooLarge` as the transfer format says;
    /// `Conflict` for a replayed, forked or out-of-order transfer; `NoSpace`. Nothing is imported then.
    pub async fn receive<P: Progress>(
        &self,
        folder: &Path,
        by: (PersonId, &str),
        progress: Arc<P>,
    ) -> Result<Received> {
        let trust = self.trust().await?;
        let verified = self.verify(folder, trust, Arc::clone(&progress)).await?;
        self.check_signer(&verified).await?;
        self.check_sequence(&verified).await?;
        self.check_required(&verified).await?;
        let verified = Arc::new(verified);
        let (carried, records) = self.quarantine(&verified, Arc::clone(&progress)).await?;
        self.remember(&carried).await?;
        let items = self.inspect(records, progress.as_ref()).await?;
        self.keep_received(&verified, &carried, items, by).await
    }

    async fn verify<P: Progress>(&self, folder: &Path, trust: Trust, progress: Arc<P>) -> Result<Verified> {
        let folder = folder.to_owned();
        let work = move || cofferdam_transfer::verify(&folder, &trust, &Hears(progress));
        let done =
            tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal("verifying panicked", e))?;
        Ok(done?)
    }

    /// A trusted key is trusted for its own site only: one sender cannot speak for another.
    async fn check_signer(&self, verified: &Verified) -> Result<()> {
        let rows = self.db().read().await?.crossing().trusted().await?;
        let source = verified.header.source.as_str();
        let own: Vec<_> = rows
            .iter()
            .filter(|(site, _)| site == source)
            .filter_map(|(_, key)| key.parse::<VerifyingKey>().ok())
            .map(|key| key.id())
            .collect();
        if verified.signers.iter().any(|id| own.contains(id)) {
            return Ok(());
        }
        Err(Error::verification(
            "wrong-signer",
            format!(
                "the transfer says that it comes from `{source}`, but no key trusted for that site signed it"
            ),
        ))
    }

    async fn check_sequence(&self, verified: &Verified) -> Result<()> {
        let header = &verified.header;
        let rows = self.db().read().await?.crossing().stream("received", &header.stream).await?;
        let mut state = StreamState { epoch: header.epoch, ..StreamState::default() };
        for row in rows {
            state.known.insert((row.epoch, row.seq), row.header_sha256);
            (state.epoch, state.last_seq, state.last_header) = (row.epoch, row.seq, Some(row.header_sha256));
        }
        let name = format!("transfer {} of the stream `{}`", header.seq, header.stream);
        let refuse = |code, message: String, hint: &str| Err(Error::conflict(code, message).hint(hint));
        match classify(header, verified.header_sha256, &state) {
            Sequence::Next => Ok(()),
            Sequence::AlreadyImported => refuse(
                "already-received",
                format!("{name} was received before; nothing was done again"),
                "`cofferdam transfers` shows where it stands",
            ),
            Sequence::Gap { missing } => refuse(
                "gap",
                format!("{name} comes after transfers that have not arrived: {} to {}", missing.start(), missing.end()),
                "receive the missing ones first, or have a full transfer packed with `cofferdam pack --full`",
            ),
            Sequence::Equivocation => Err(Error::verification(
                "equivocation",
                format!("{name} differs from the one that was received at that position: the sender signed two histories"),
            )
            .hint("receive nothing more from this sender until people have found out why")),
            Sequence::Rollback => Err(Error::verification(
                "rollback",
                format!("{name} is older than what was received, and was never seen here"),
            )),
        }
    }

    /// What the sender believes us to hold must be here, and whole.
    async fn check_required(&self, verified: &Verified) -> Result<()> {
        let blobs = self.0.registry.blobs();
        let mut missing = Vec::new();
        for (sha256, size) in verified.required() {
            if blobs.size(sha256).await? != Some(*size) || !blobs.verify(sha256).await? {
                missing.push(sha256.to_string());
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::MissingVolume,
            "base-missing",
            format!(
                "the transfer builds on {} blobs that this site does not hold, such as {}",
                missing.len(),
                missing[0]
            ),
        )
        .hint("have a full transfer packed: `cofferdam pack --full`"))
    }

    /// Every carried blob into the store, and every record.
    async fn quarantine<P: Progress>(
        &self,
        verified: &Arc<Verified>,
        progress: Arc<P>,
    ) -> Result<(Vec<Digests>, Vec<Record>)> {
        let (verified, blobs) = (Arc::clone(verified), Arc::clone(self.0.registry.blobs()));
        let runtime = Handle::current();
        let work = move || -> std::result::Result<_, Trouble> {
            let total = verified.blob_list().len() as u64;
            let mut carried = Vec::new();
            verified.blobs::<Trouble>(|meta, reader| {
                let digests = store(&runtime, &blobs, meta.size, reader)?;
                if digests.sha256 != meta.sha256 {
                    return Err(Error::verification(
                        "blob-digest",
                        format!("{} has other bytes", meta.sha256),
                    )
                    .into());
                }
                carried.push(digests);
                progress.storing(carried.len() as u64, total);
                Ok(())
            })?;
            let mut records = Vec::new();
            verified.records::<Trouble>(|record| {
                records.push(record);
                Ok(())
            })?;
            Ok((carried, records))
        };
        let done =
            tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal("receiving panicked", e))?;
        done.map_err(|trouble| trouble.0)
    }

    /// Remembers the digests of what came, for the formats' inspection. A blob's row makes it visible
    /// to nobody: only a file's row does.
    async fn remember(&self, carried: &[Digests]) -> Result<()> {
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        for digests in carried {
            tx.registry().put_blob(digests, now).await?;
        }
        tx.commit().await
    }

    /// Lets every format look at its own bytes again. A refused item does not stop the others: people
    /// see all that is wrong at once.
    async fn inspect<P: Progress>(&self, records: Vec<Record>, progress: &P) -> Result<Vec<TransferItemRow>> {
        let formats: std::collections::BTreeMap<String, String> = records
            .iter()
            .filter_map(|r| match r {
                Record::Repository { name, format, .. } => Some((name.clone(), format.clone())),
                _ => None,
            })
            .collect();
        let total = records.iter().filter(|r| matches!(r, Record::Artifact { .. })).count() as u64;
        let (mut items, mut done) = (Vec::new(), 0);
        for record in records {
            let n = items.len() as u64;
            match record {
                Record::Artifact { value, .. } => {
                    items.push(self.inspect_release(n, value, &formats).await?);
                    done += 1;
                    progress.inspecting(done, total);
                }
                Record::Git { project, refs, bundle } => {
                    let size = self.0.registry.blobs().size(&bundle).await?.unwrap_or(0);
                    let value = json!({ "refs": refs, "bundle": bundle });
                    items.push(TransferItemRow {
                        kind: "git".into(),
                        repository: project,
                        size,
                        value,
                        ..blank(n)
                    });
                }
                Record::Statement { envelope } => {
                    let text = envelope.to_json()?;
                    let value =
                        serde_json::from_slice(&text).map_err(|e| Error::internal("a statement", e))?;
                    items.push(TransferItemRow { kind: "statement".into(), value, ..blank(n) });
                }
                _ => {}
            }
        }
        Ok(items)
    }

    async fn inspect_release(
        &self,
        n: u64,
        value: serde_json::Value,
        formats: &std::collections::BTreeMap<String, String>,
    ) -> Result<TransferItemRow> {
        let unreadable = || Error::verification("claim", "an artifact of the transfer cannot be read");
        let repository = value["repository"].as_str().ok_or_else(unreadable)?.to_owned();
        let claim: Draft = serde_json::from_value(value["draft"].clone()).map_err(|_| unreadable())?;
        let name = formats.get(&repository).ok_or_else(unreadable)?;
        let format = self.0.registry.format(name)?.clone();
        let mut item = TransferItemRow {
            kind: "release".into(),
            repository,
            format: name.clone(),
            package: claim.package.clone(),
            version: claim.version.clone(),
            purl: PackageUrl::new(format.purl_type(), &claim.package, &claim.version).to_string(),
            size: claim.files.iter().map(|f| f.digests.size).sum(),
            value,
            ..blank(n)
        };
        match format.admit(&claim, &self.0.registry.door()).await {
            Ok(draft) => {
                let draft =
                    serde_json::to_value(&draft).map_err(|e| Error::internal("an admitted release", e))?;
                item.value = json!({ "draft": draft });
            }
            Err(error) if error.kind() == ErrorKind::Internal || error.kind() == ErrorKind::NoSpace => {
                return Err(error);
            }
            Err(error) => item.verdict = format!("{}: {}", error.code(), error.message()),
        }
        Ok(item)
    }

    async fn keep_received(
        &self,
        verified: &Verified,
        carried: &[Digests],
        items: Vec<TransferItemRow>,
        by: (PersonId, &str),
    ) -> Result<Received> {
        let header = &verified.header;
        let now = self.clock().now();
        let refused: Vec<(String, String)> =
            items.iter().filter(|i| i.verdict != "ok").map(|i| (i.purl.clone(), i.verdict.clone())).collect();
        let verdicts: Vec<_> = items.iter().map(|i| (&i.purl, &i.verdict)).collect();
        let verdicts = serde_json::to_vec(&verdicts).map_err(|e| Error::internal("verdicts", e))?;
        let digest =
            Sha256::of(format!("{}\n{}\n", verified.header_sha256, Sha256::of(&verdicts)).as_bytes());
        let state = if refused.is_empty() { "quarantined" } else { "refused" };
        let row = TransferRow {
            id: TransferId(0),
            direction: "received".into(),
            stream: header.stream.clone(),
            source: header.source.to_string(),
            epoch: header.epoch,
            seq: header.seq,
            header_sha256: verified.header_sha256,
            digest,
            state: state.into(),
            bytes: header.files.iter().map(|f| f.size).sum(),
            blobs: carried.len() as u64,
            created: header.created,
            at: now,
            actor: by.1.into(),
            published: None,
        };
        let mut tx = self.db().write().await?;
        let id = tx.crossing().insert_transfer(&row).await?;
        for digests in carried {
            tx.crossing().insert_blob(id, &digests.sha256, digests.size).await?;
        }
        for item in &items {
            tx.crossing().insert_item(id, item).await?;
        }
        let subject = format!("transfer:{id}");
        let detail = json!({
            "stream": row.stream, "epoch": row.epoch, "seq": row.seq, "header": row.header_sha256, "digest": digest,
            "signers": verified.signers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "blobs": row.blobs, "bytes": row.bytes, "items": items.len(), "refused": refused,
        });
        log(&mut tx, by.1, "transfer.receive", &subject, detail, now).await?;
        let approval = if refused.is_empty() {
            Some(cofferdam_access::approval::ask(&mut tx, SUBJECT_KIND, &subject, &digest, by, now).await?)
        } else {
            None
        };
        tx.commit().await?;
        let releases = items.iter().filter(|i| i.kind == "release").count();
        Ok(Received {
            id,
            source: row.source,
            stream: row.stream,
            seq: row.seq,
            sound: refused.is_empty(),
            refused,
            releases,
            blobs: row.blobs,
            bytes: row.bytes,
            approval,
            digest,
        })
    }
}

fn blank(n: u64) -> TransferItemRow {
    TransferItemRow {
        n,
        kind: String::new(),
        repository: String::new(),
        format: String::new(),
        package: String::new(),
        version: String::new(),
        purl: String::new(),
        size: 0,
        value: serde_json::Value::Null,
        verdict: "ok".into(),
    }
}

/// Either kind of trouble inside the blocking part.
struct Trouble(Error);

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.into())
    }
}

/// Streams one blob of a transfer into the store, from a blocking task.
fn store(
    runtime: &Handle,
    blobs: &Arc<dyn Blobs>,
    size: u64,
    reader: &mut dyn std::io::Read,
) -> Result<Digests> {
    let (sender, receiver) = mpsc::channel::<Result<Bytes>>(4);
    let body =
        futures::stream::unfold(
            receiver,
            |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
        );
    let blobs = Arc::clone(blobs);
    let put = runtime.spawn(async move { blobs.put(body.boxed(), size).await });
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                if sender.blocking_send(Ok(Bytes::copy_from_slice(&buffer[..n]))).is_err() {
                    break;
                }
            }
            Err(error) => {
                let error = Error::verification("transfer-damaged", "a blob of the transfer is damaged")
                    .with_source(error);
                let _ = sender.blocking_send(Err(error));
                break;
            }
        }
    }
    drop(sender);
    runtime.block_on(put).map_err(|e| Error::internal("storing a blob panicked", e))?
}

/// Distinct repositories of a transfer's releases.
pub(crate) fn repositories(items: &[TransferItemRow]) -> BTreeSet<(String, String)> {
    items.iter().filter(|i| i.kind == "release").map(|i| (i.repository.clone(), i.format.clone())).collect()
}
