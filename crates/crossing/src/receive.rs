//! Receiving a transfer: verified, quarantined, every byte inspected again; nothing visible yet.
//!
//! The order is that of the specification: names and signatures, then the position in the stream, then every
//! file, then the blobs into the store (where no row names them), then the formats' own inspection. One
//! transaction at the end makes the transfer known. A crash before it leaves unnamed blobs and the marks of
//! what is here already, so that the same command goes on where it was; so does a set of discs that are read
//! one after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicU64},
};

use cofferdam_access::approval;
use cofferdam_format_kit::{Draft, Format};
use cofferdam_store::{TransferItemRow, TransferRow};
use cofferdam_transfer::{
    Contents, DoorFinding, FileState, Freshness, Record, Sequence, StreamState, Survey, Totals, Trust,
    classify, freshness, receipt::Outcome,
};
use cofferdam_types::{Error, ErrorKind, PackageUrl, PersonId, Result, Sha256, SiteName, TransferId};
use serde_json::json;
use tokio::runtime::Handle;

use crate::{
    Crossing, SUBJECT_KIND,
    ingest::{Ingest, Trouble},
    log,
};

/// How the verdict of an item begins of which a station changed or took out a file. No error code of a format
/// holds a space, so no refusal of inspection looks like it.
pub(crate) const DOOR_VERDICT: &str = "at the door: ";
/// Left free on the disk of the blobs, bytes.
const RESERVE: u64 = 64 << 20;

/// Hears how a reception is going. `()` hears nothing.
pub trait Progress: Send + Sync + 'static {
    /// `done` of `total` bytes were verified.
    fn verifying(&self, done: u64, total: u64) {
        let _ = (done, total);
    }

    /// `done` of `total` bytes are in quarantine; `held` bytes of them were here before.
    fn storing(&self, done: u64, total: u64, held: u64) {
        let _ = (done, total, held);
    }

    /// `done` of `total` blobs were rebuilt from what is here.
    fn rebuilding(&self, done: u64, total: u64) {
        let _ = (done, total);
    }

    /// `done` lines of the manifest were inspected; how many there are is known at its end only.
    fn inspecting(&self, done: u64) {
        let _ = done;
    }
}

impl Progress for () {}

/// What is to be received.
#[derive(Clone, Debug, Default)]
pub struct ReceiveRequest {
    /// The folders of one transfer, as this machine sees them.
    pub folders: Vec<PathBuf>,
    /// Why a transfer that is no longer fresh is taken all the same.
    pub accept_expired: Option<String>,
    /// Why a transfer that builds on nothing is taken although earlier ones have not arrived: those can never be
    /// taken after it.
    pub accept_gap: Option<String>,
    /// Mend what is damaged or missing from parity; without it, damage refuses the transfer.
    pub repair: bool,
}

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
    /// Blobs that were rebuilt from what was here.
    pub rebuilt: u64,
    /// Bytes on the medium.
    pub bytes: u64,
    /// The approval that was asked for, when it is sound.
    pub approval: Option<i64>,
    /// What the approvers approve.
    pub digest: Sha256,
    /// Files that were mended from parity or an answer.
    pub mended: Vec<String>,
    /// Flat files that a station changed or removed.
    pub door: Vec<(String, String)>,
    /// Whether it had been received before, and nothing was done again.
    pub again: bool,
}

struct Hears<'a>(&'a (dyn Fn(u64, u64) + Sync));

impl cofferdam_transfer::Progress for Hears<'_> {
    fn bytes(&self, done: u64, total: u64) {
        (self.0)(done, total);
    }
}

/// Who receives, and what for.
struct Reception {
    request: ReceiveRequest,
    by: (PersonId, String),
    mended: Vec<String>,
}

impl Crossing {
    /// Receives a transfer and asks for its approval in the name of `by`. Volumes may come in several calls.
    ///
    /// # Errors
    /// `VerificationFailed` as the transfer format says, and for a replayed, forked or expired transfer;
    /// `MissingVolume` with the names of what is still needed: what came is kept; `Conflict` for one that is
    /// out of order; `NoSpace`. Nothing is visible in any of these cases.
    pub async fn receive<P: Progress>(
        &self,
        request: ReceiveRequest,
        by: (PersonId, &str),
        progress: Arc<P>,
    ) -> Result<Received> {
        let source = source_of(&request.folders)?;
        let trust = self.trust_in(&source).await?;
        let (folders, believed) = (request.folders.clone(), trust.clone());
        let survey = blocking(move || Ok(Survey::open(&borrowed(&folders), &believed)?)).await?;
        if let Some(again) = self.check_sequence(&survey, request.accept_gap.is_some()).await? {
            // What a crash after the transaction left.
            let _ = tokio::fs::remove_dir_all(self.stage(&survey.header_sha256)).await;
            return self.received_before(again).await;
        }
        self.check_time(&survey, &request).await?;
        std::fs::create_dir_all(&self.0.staging).map_err(|e| Error::io("making the staging folder", e))?;
        // Before hours of hashing; what is staged from an earlier call is counted once the manifest is open.
        if self.db().read().await?.carry().staged_groups(&survey.header_sha256).await?.is_empty() {
            self.check_space(&survey.header.totals, 0)?;
        }
        let mut reception = Reception { request, by: (by.0, by.1.to_owned()), mended: Vec::new() };
        let survey = self.gather(survey, trust, &mut reception, Arc::clone(&progress)).await?;
        let contents = self.open_contents(survey, Arc::clone(&progress)).await?;
        self.check_required(&contents).await?;
        let contents = Arc::new(contents);
        self.quarantine(&contents, Arc::clone(&progress)).await?;
        self.rebuild(&contents, progress.as_ref()).await?;
        let mut items = self.inspect(&contents, progress.as_ref()).await?;
        self.join_received(&contents.header().source, &mut items).await?;
        let received = self.keep_received(&contents, items, &reception).await?;
        // The row is there: what was staged for it is not needed any more.
        let _ = tokio::fs::remove_dir_all(self.stage(&contents.survey.header_sha256)).await;
        Ok(received)
    }

    /// The folder in which mended files and parts of packs wait.
    pub(crate) fn stage(&self, header: &Sha256) -> PathBuf {
        self.0.staging.join(&header.to_hex()[..16])
    }

    async fn received_before(&self, id: TransferId) -> Result<Received> {
        let row = self.transfer(id).await?;
        let items = self.items(id).await?;
        let refused: Vec<_> =
            items.iter().filter(|i| i.verdict != "ok").map(|i| (i.purl.clone(), i.verdict.clone())).collect();
        Ok(Received {
            id,
            source: row.source,
            stream: row.stream,
            seq: row.seq,
            sound: row.state != "refused",
            refused,
            releases: items.iter().filter(|i| i.kind == "release").count(),
            blobs: row.blobs,
            rebuilt: 0,
            bytes: row.bytes,
            approval: None,
            digest: row.digest,
            mended: Vec::new(),
            door: Vec::new(),
            again: true,
        })
    }

    /// The number of the same transfer, if it was received before; an error when its position is wrong.
    async fn check_sequence(&self, survey: &Survey, leap: bool) -> Result<Option<TransferId>> {
        let header = &survey.header;
        let mut tx = self.db().read().await?;
        if let Some(reason) = tx.carry().frozen(&header.stream).await? {
            return Err(Error::verification(
                "stream-frozen",
                format!("nothing is taken from `{}`: {reason}", header.stream),
            )
            .hint("find out with the sender why, then `cofferdam stream thaw`"));
        }
        let rows = tx.crossing().stream("received", &header.stream).await?;
        drop(tx);
        let mut state = StreamState { epoch: header.epoch, ..StreamState::default() };
        for row in &rows {
            state.known.insert((row.epoch, row.seq), row.header_sha256);
            (state.epoch, state.last_seq, state.last_header) = (row.epoch, row.seq, Some(row.header_sha256));
        }
        let here = rows.last().map(|row| (row.epoch, row.seq));
        if self.last_in_ledger(&header.stream)? > here {
            self.freeze(
                &header.stream,
                "this site's database is older than its ledger of transfers: it was restored from a backup",
            )
            .await?;
            return Err(Error::verification(
                "state-restored",
                format!("the database forgot transfers of `{}` that the ledger knows: it was restored from a backup", header.stream),
            )
            .hint("have a full transfer packed (`cofferdam pack --full`), then `cofferdam stream thaw`"));
        }
        let name = format!("transfer {} of the stream `{}`", header.seq, header.stream);
        // Each new epoch needs a new version of the root, which comes with it or was believed by hand before: one
        // far ahead would shut out all honest ones.
        let newest = match survey.roots.last() {
            Some((root, _)) => root.version,
            None => self.root_of(&header.source).await?.map_or(1, |root| root.version),
        };
        if u64::from(header.epoch) > newest.max(1) {
            return Err(Error::verification(
                "epoch-without-rotation",
                format!("{name} begins a new epoch without a new root document"),
            )
            .hint("a stream starts anew only with a rotation of the sender's root; ask the sender"));
        }
        match classify(header, survey.header_sha256, &state) {
            Sequence::Next => Ok(None),
            Sequence::AlreadyImported => {
                Ok(rows.iter().find(|row| row.header_sha256 == survey.header_sha256).map(|row| row.id))
            }
            // A transfer that builds on nothing needs none of those before it. A person has to say so: one that is
            // far ahead would shut out all honest ones.
            Sequence::Gap { .. } if leap && header.base.is_none() => Ok(None),
            Sequence::Gap { missing } => Err(Error::conflict(
                "gap",
                format!(
                    "{name} comes after transfers that have not arrived: {} to {}",
                    missing.start(),
                    missing.end()
                ),
            )
            .hint(
                "receive the missing ones first; or have a full one packed (`cofferdam pack --full`) and take it with \
                 `cofferdam receive --accept-gap REASON`",
            )),
            Sequence::Equivocation => {
                self.freeze(
                    &header.stream,
                    &format!("the sender signed two histories at position {}", header.seq),
                )
                .await?;
                Err(Error::verification(
                    "equivocation",
                    format!("{name} differs from the one that was received at that position: the sender signed two histories"),
                )
                .hint("nothing more is taken from this sender until people have found out why: `cofferdam stream thaw`"))
            }
            Sequence::Rollback => Err(Error::verification(
                "rollback",
                format!("{name} is older than what was received, and was never seen here"),
            )),
        }
    }

    /// Fresh, and vouched for by a root document that is, by the later of this clock and the last signed date.
    async fn check_time(&self, survey: &Survey, request: &ReceiveRequest) -> Result<()> {
        let now = self.now_at_least().await?;
        if request.accept_expired.is_some() {
            return Ok(());
        }
        if let Freshness::Expired(by) = freshness(&survey.header, now) {
            return Err(Error::verification(
                "expired",
                format!(
                    "the transfer was fresh until {}, {} days ago",
                    survey.header.not_after,
                    by.as_secs() / 86_400
                ),
            )
            .hint(
                "ask for a new one; or take it all the same: `cofferdam receive --accept-expired REASON`",
            ));
        }
        // Only the newest is asked: those on the way to it may hand over after their time (TUF 5.3.10).
        let newest = match survey.roots.last() {
            Some((root, _)) => Some(root.clone()),
            None => self.root_of(&survey.header.source).await?,
        };
        match newest.filter(|root| root.expired(now)) {
            None => Ok(()),
            Some(root) => Err(Error::verification(
                "root-expired",
                format!(
                    "root document {} of `{}`, which says whose signatures count, was good until {}",
                    root.version, survey.header.source, root.expires
                ),
            )
            .hint(
                "have the next one signed there (`cofferdam key root --after`): the next transfer brings it; or take this \
                 one all the same: `cofferdam receive --accept-expired REASON`",
            )),
        }
    }

    /// Whether what is still to be written fits, `staged` bytes of it being here from an earlier call.
    fn check_space(&self, totals: &Totals, staged: u64) -> Result<()> {
        let whole = totals.expanded_bytes.saturating_add(totals.rebuilt_bytes);
        let needed = whole.saturating_sub(staged).saturating_add(RESERVE);
        let stat =
            rustix::fs::statvfs(&self.0.staging).map_err(|e| Error::io("asking for free space", e.into()))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free >= needed {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NoSpace,
            "no-space",
            format!("the transfer needs {needed} bytes more with the reserve, and {free} are free"),
        )
        .hint("make room on the disk of the state folder, and receive it again: what is here is kept"))
    }

    /// Hashes what is on the media, together with what is staged; mends what is damaged.
    async fn gather<P: Progress>(
        &self,
        survey: Survey,
        trust: Trust,
        reception: &mut Reception,
        progress: Arc<P>,
    ) -> Result<Survey> {
        let identity = survey.header_sha256;
        let stage = self.stage(&identity);
        let name = survey.header.folder_name();
        drop(survey);
        let mut folders = reception.request.folders.clone();
        let staged = [stage.join("mended").join(&name), stage.join("parts").join(&name)];
        folders.extend(staged.into_iter().filter(|folder| folder.is_dir()));
        let repair = reception.request.repair;
        let work = move || -> Result<(Survey, Vec<String>)> {
            let hear = |done: u64, total: u64| progress.verifying(done, total);
            let look = |folders: &[PathBuf]| -> Result<Survey> {
                let mut survey = Survey::open(&borrowed(folders), &trust)?;
                // The position in the stream and the dates were judged by the header that was read before.
                if survey.header_sha256 != identity {
                    return Err(Error::verification(
                        "medium-changed",
                        "the medium has another header than a moment ago",
                    )
                    .hint("receive it again, with nobody else writing to the medium"));
                }
                survey.hash(&Hears(&hear))?;
                Ok(survey)
            };
            let survey = look(&folders)?;
            if !repair {
                // Volumes that are only missing may come with the next medium; damage refuses.
                if survey.faults().any(|(_, state)| matches!(state, FileState::Damaged { .. })) {
                    survey.require_whole()?;
                }
                return Ok((survey, Vec::new()));
            }
            // Damage to what is spare needs no mending.
            if survey.is_readable() {
                return Ok((survey, Vec::new()));
            }
            let mended = survey.repair(&stage.join("mended"), &())?;
            folders.push(mended.folder);
            let survey = look(&folders)?;
            survey.require_present()?;
            Ok((survey, mended.files))
        };
        let survey;
        (survey, reception.mended) = blocking(work).await?;
        Ok(survey)
    }

    async fn open_contents<P: Progress>(&self, survey: Survey, progress: Arc<P>) -> Result<Contents> {
        let key = self.0.sealing.clone();
        blocking(move || {
            let hear = |done: u64, total: u64| progress.verifying(done, total);
            Ok(survey.contents(Some(key), &Hears(&hear))?)
        })
        .await
    }

    /// What the sender knows us to hold must be here, and whole.
    async fn check_required(&self, contents: &Contents) -> Result<()> {
        let blobs = self.0.registry.blobs();
        let mut missing = Vec::new();
        for (sha256, size) in contents.required() {
            if blobs.size(sha256).await? != Some(*size) || !blobs.verify(sha256).await? {
                missing.push(sha256.to_string());
            }
        }
        let Some(first) = missing.first() else { return Ok(()) };
        let text = format!(
            "the transfer builds on {} blobs that this site does not hold, such as {first}",
            missing.len()
        );
        Err(Error::new(ErrorKind::MissingVolume, "base-missing", text)
            .hint("have a full transfer packed: `cofferdam pack --full`"))
    }

    /// Every carried blob into the store, group by group; groups that are here already are not read again.
    async fn quarantine<P: Progress>(&self, contents: &Arc<Contents>, progress: Arc<P>) -> Result<()> {
        let header = contents.survey.header_sha256;
        let done: BTreeSet<u32> =
            self.db().read().await?.carry().staged_groups(&header).await?.into_iter().collect();
        let (this, contents) = (self.clone(), Arc::clone(contents));
        let runtime = Handle::current();
        blocking(move || {
            let (held, todo): (Vec<_>, Vec<_>) =
                contents.groups().into_iter().partition(|g| done.contains(&g.first));
            let bytes = |group| contents.blobs_of(group).iter().map(|b| b.size).sum::<u64>();
            let held: u64 = held.iter().map(bytes).sum();
            let totals = &contents.header().totals;
            let total = totals.expanded_bytes;
            this.check_space(totals, held)?;
            let (readable, missing) = contents.readable(&todo)?;
            let heard = |done: u64, total: u64| progress.storing(done, total, held);
            let ingest = Ingest {
                blobs: this.0.registry.blobs().as_ref(),
                db: this.db(),
                runtime,
                header,
                now: this.clock().now(),
                done: AtomicU64::new(held),
                total,
                heard: &heard,
                open: Mutex::new(Vec::new()),
            };
            contents.read(&readable, &ingest).map_err(|trouble: Trouble| trouble.0)?;
            let Some(first) = missing.first() else { return Ok(()) };
            contents.stash(&todo, &this.stage(&header).join("parts"))?;
            let text = match missing.len() {
                1 => format!("{first} is still missing; everything else is in quarantine"),
                n => {
                    format!("{n} volumes are still missing, {first} first; everything else is in quarantine")
                }
            };
            Err(Error::new(ErrorKind::MissingVolume, "missing-volume", text).hint(
                "insert the medium that holds it and receive its folder: what is here is not read again",
            ))
        })
        .await
    }

    /// Lets every format look at its own bytes again. A refused item does not stop the others: people see all
    /// that is wrong at once.
    async fn inspect<P: Progress>(
        &self,
        contents: &Arc<Contents>,
        progress: &P,
    ) -> Result<Vec<TransferItemRow>> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(64);
        let reading = Arc::clone(contents);
        let reader = tokio::task::spawn_blocking(move || {
            reading.records::<Trouble>(|record| {
                let gone = |_| Trouble(Error::internal("the inspection ended", "nobody reads"));
                sender.blocking_send(record).map_err(gone)
            })
        });
        let (mut formats, mut items, mut done) = (BTreeMap::new(), Vec::new(), 0);
        while let Some(record) = receiver.recv().await {
            if let Record::Repository { name, format, .. } = &record {
                formats.insert(name.clone(), format.clone());
            }
            let n = items.len() as u64;
            items.extend(self.inspect_record(n, record, &formats, &contents.door).await?);
            done += 1;
            progress.inspecting(done);
        }
        let read = reader.await.map_err(|e| Error::internal("reading the manifest panicked", e))?;
        read.map_err(|trouble| trouble.0)?;
        Ok(items)
    }

    async fn inspect_record(
        &self,
        n: u64,
        record: Record,
        formats: &BTreeMap<String, String>,
        door: &[DoorFinding],
    ) -> Result<Option<TransferItemRow>> {
        let lost = |blobs: &[Sha256]| {
            let finding = door.iter().find(|f| blobs.contains(&f.sha256))?;
            Some(format!("{DOOR_VERDICT}{} was {}", finding.name, finding.fate))
        };
        Ok(Some(match record {
            Record::Artifact { value, blobs } => match lost(&blobs) {
                Some(verdict) => self.claimed(n, value, formats, verdict)?.0,
                None => self.inspect_release(n, value, &blobs, formats).await?,
            },
            Record::Git { project, refs, bundle } => {
                let size = self.0.registry.blobs().size(&bundle).await?.unwrap_or(0);
                let value = json!({ "refs": refs, "bundle": bundle });
                let verdict = lost(&[bundle]).unwrap_or_else(|| "ok".into());
                TransferItemRow {
                    kind: "git".into(),
                    repository: project,
                    size,
                    value: value.into(),
                    verdict,
                    ..blank(n)
                }
            }
            Record::Statement { envelope } => {
                let text = envelope.to_json()?;
                let value: serde_json::Value =
                    serde_json::from_slice(&text).map_err(|e| Error::internal("a statement", e))?;
                TransferItemRow { kind: "statement".into(), value: value.into(), ..blank(n) }
            }
            _ => return Ok(None),
        }))
    }

    /// The row of a release as it is claimed, and the claim.
    fn claimed(
        &self,
        n: u64,
        value: serde_json::Value,
        formats: &BTreeMap<String, String>,
        verdict: String,
    ) -> Result<(TransferItemRow, Draft)> {
        let unreadable = || Error::verification("claim", "an artifact of the transfer cannot be read");
        let repository = value["repository"].as_str().ok_or_else(unreadable)?.to_owned();
        let claim: Draft = serde_json::from_value(value["draft"].clone()).map_err(|_| unreadable())?;
        let name = formats.get(&repository).ok_or_else(unreadable)?;
        let format = self.known_format(name)?;
        let item = TransferItemRow {
            kind: "release".into(),
            repository,
            format: name.clone(),
            package: claim.package.clone(),
            version: claim.version.clone(),
            purl: PackageUrl::new(format.purl_type(), &claim.package, &claim.version).to_string(),
            size: claim.files.iter().map(|f| f.digests.size).sum(),
            value: value.into(),
            verdict,
            ..blank(n)
        };
        Ok((item, claim))
    }

    fn known_format(&self, name: &str) -> Result<Arc<dyn Format>> {
        self.0.registry.format(name).cloned().map_err(|e| {
            Error::verification(
                e.code(),
                format!("the transfer brings a repository of an unknown kind: {}", e.message()),
            )
            .hint("update Cofferdam on this site, or ask the sender to leave the repository out")
        })
    }

    async fn inspect_release(
        &self,
        n: u64,
        value: serde_json::Value,
        blobs: &[Sha256],
        formats: &BTreeMap<String, String>,
    ) -> Result<TransferItemRow> {
        let (mut item, claim) = self.claimed(n, value, formats, "ok".into())?;
        // A release is made of what its line names, and of nothing else that happens to lie in the store.
        if let Some(file) = claim.files.iter().find(|f| !blobs.contains(&f.digests.sha256)) {
            let text = format!("{} of {} is none of the blobs that came for it", file.path, item.purl);
            item.verdict = format!("claim: {text}");
            return Ok(item);
        }
        let format = self.0.registry.format(&item.format)?.clone();
        match format.admit(&claim, &self.0.registry.door()).await {
            Ok(draft) => {
                let draft =
                    serde_json::to_value(&draft).map_err(|e| Error::internal("an admitted release", e))?;
                item.value = json!({ "draft": draft }).into();
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
        contents: &Contents,
        items: Vec<TransferItemRow>,
        reception: &Reception,
    ) -> Result<Received> {
        let (header, identity) = (contents.header(), contents.survey.header_sha256);
        let now = self.clock().now();
        let refused: Vec<(String, String)> =
            items.iter().filter(|i| i.verdict != "ok").map(|i| (i.purl.clone(), i.verdict.clone())).collect();
        // What a station took out is left out; anything else that is wrong stops the whole transfer.
        let sound = refused.iter().all(|(_, verdict)| verdict.starts_with(DOOR_VERDICT));
        let verdicts: Vec<_> = items.iter().map(|i| (&i.purl, &i.verdict)).collect();
        let verdicts = serde_json::to_vec(&verdicts).map_err(|e| Error::internal("verdicts", e))?;
        let digest = Sha256::of(format!("{identity}\n{}\n", Sha256::of(&verdicts)).as_bytes());
        let outcome = if sound { Outcome::Quarantined } else { Outcome::Refused };
        let row = TransferRow {
            id: TransferId(0),
            direction: "received".into(),
            stream: header.stream.clone(),
            source: header.source.to_string(),
            epoch: header.epoch,
            seq: header.seq,
            header_sha256: identity,
            digest,
            state: outcome.as_str().into(),
            bytes: header.bytes(),
            blobs: contents.blobs().len() as u64,
            created: header.created,
            at: now,
            actor: reception.by.1.clone(),
            published: None,
            suite: header.suite.as_str().into(),
            folder: reception.request.folders.first().map(|f| f.display().to_string()).unwrap_or_default(),
            outcome: outcome.as_str().into(),
        };
        let by = (reception.by.0, reception.by.1.as_str());
        let mut tx = self.db().write().await?;
        let id = tx.crossing().insert_transfer(&row).await?;
        let lost: BTreeSet<Sha256> = contents.door.iter().map(|f| f.sha256).collect();
        let whole = contents.blobs().iter().filter(|b| !lost.contains(&b.sha256)).map(|b| (b.sha256, b.size));
        let rebuilt = contents.recipes().iter().map(|recipe| (recipe.sha256, recipe.size));
        tx.crossing().insert_blobs(id, whole.chain(rebuilt)).await?;
        tx.crossing().insert_items(id, &items).await?;
        tx.carry().unstage(&identity).await?;
        tx.carry().raise_time_floor(header.created).await?;
        for (root, json) in &contents.survey.roots {
            let text = String::from_utf8_lossy(json);
            tx.carry().add_root(header.source.as_str(), root.version, &text, by.1, now).await?;
        }
        let subject = format!("transfer:{id}");
        let detail = json!({
            "stream": row.stream, "epoch": row.epoch, "seq": row.seq, "header": identity, "digest": digest,
            "signers": contents.survey.signers.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "roots": contents.survey.roots.iter().map(|(root, _)| root.version).collect::<Vec<_>>(),
            "blobs": row.blobs, "bytes": row.bytes, "items": items.len(), "refused": refused,
            "mended": reception.mended, "folders": reception.request.folders, "door": contents.door,
            "acceptedExpired": reception.request.accept_expired,
            "acceptedGap": reception.request.accept_gap,
        });
        log(&mut tx, by.1, "transfer.receive", &subject, detail, now).await?;
        let approval = if sound {
            Some(approval::ask(&mut tx, SUBJECT_KIND, &subject, &digest, by, now).await?)
        } else {
            None
        };
        tx.commit().await?;
        self.enter_in_ledger(header, &identity)?;
        Ok(Received {
            id,
            source: row.source,
            stream: row.stream,
            seq: row.seq,
            sound,
            refused,
            releases: items.iter().filter(|i| i.kind == "release").count(),
            blobs: row.blobs,
            rebuilt: header.totals.rebuilt,
            bytes: row.bytes,
            approval,
            digest,
            mended: reception.mended.clone(),
            door: contents.door.iter().map(|f| (f.name.clone(), f.fate.to_owned())).collect(),
            again: false,
        })
    }
}

/// The source that the folder's name gives; the header must agree with the name.
pub(crate) fn source_of(folders: &[PathBuf]) -> Result<SiteName> {
    let name = folders.first().and_then(|f| f.file_name()).map(|n| n.to_string_lossy().into_owned());
    let source =
        name.as_deref().and_then(|n| n.strip_prefix("CT1-")).and_then(|n| n.split('+').next()?.parse().ok());
    source.ok_or_else(|| {
        Error::verification("not-a-transfer", "the folder's name is not that of a finished transfer")
            .hint("give the folder that starts with `CT1-`; one that starts with a dot was never finished")
    })
}

fn borrowed(folders: &[PathBuf]) -> Vec<&Path> {
    folders.iter().map(PathBuf::as_path).collect()
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal("a crossing's thread panicked", e))?
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
        value: serde_json::Value::Null.into(),
        verdict: "ok".into(),
    }
}
