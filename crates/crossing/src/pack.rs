//! Writing a transfer: what the other side lacks, and nothing else.
//!
//! The base is what the receiver has *proved* to hold, by receipts; what was only sent may have been lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use cofferdam_format_kit::{Draft, DraftFile, FileRef, ReleaseState, View as _};
use cofferdam_git::Oid;
use cofferdam_store::{RepositoryRow, TransferItemRow, TransferRow};
use cofferdam_transfer::{
    DEFAULT_VOLUME_BYTES, Door, HeaderDraft, Profile, Record, Sealed, Summary, Writer, Writing, stream_name,
};
use cofferdam_types::{Error, PackageUrl, RecordingId, Result, Sha256, SiteName, TransferId};
use serde_json::json;

use crate::{
    Crossing, Meter,
    collection::{CollectionItem, statements_of},
    delta::{Delta, DeltaLevel},
    log, wants,
};

/// A transfer is fresh for this long.
const FRESH: Duration = Duration::from_secs(90 * 24 * 3600);

/// What is to be packed.
#[derive(Clone, Debug)]
pub struct PackRequest {
    /// The sites that it is for.
    pub destinations: Vec<SiteName>,
    /// Recordings whose collections travel.
    pub recordings: Vec<RecordingId>,
    /// Git projects that travel, by path.
    pub projects: Vec<String>,
    /// The folder (the medium) into which the transfer's folder is written.
    pub into: PathBuf,
    /// Send everything again, even what the receiver holds.
    pub full: bool,
    /// Build on what was sent, although no receipt proves that it arrived: for one-way doors.
    pub assume_received: bool,
    /// How it must look for the door.
    pub door: DoorChoice,
    /// How far below whole blobs deltas go.
    pub delta: DeltaLevel,
    /// Begin a new epoch: after a rotation of the root.
    pub new_epoch: bool,
    /// Only say what would be written.
    pub dry_run: bool,
}

/// The door of a destination.
#[derive(Clone, Debug)]
pub enum DoorChoice {
    /// Encrypted to the destinations' keys, in volumes of this many bytes, with parity in thousandths.
    Sealed {
        /// Bytes of a volume.
        volume_size: u64,
        /// Thousandths of parity.
        parity_permille: u32,
    },
    /// Flat files within a profile.
    Inspectable(Profile),
}

impl Default for DoorChoice {
    fn default() -> Self {
        Self::Sealed { volume_size: DEFAULT_VOLUME_BYTES, parity_permille: 50 }
    }
}

/// A written transfer.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Packed {
    /// Its number at this site; 0 for a dry run.
    pub id: TransferId,
    /// The folder.
    pub path: PathBuf,
    /// Its identity.
    pub header_sha256: Sha256,
    /// How its bytes lie on the medium.
    pub suite: String,
    /// Volumes, and parity volumes.
    pub volumes: (u32, u32),
    /// Bytes of all its files.
    pub bytes: u64,
    /// Blobs that it carries.
    pub blobs: u64,
    /// Bytes of those blobs before packing.
    pub blob_bytes: u64,
    /// Blobs that the other side holds.
    pub held: u64,
    /// Bytes that did not have to travel again.
    pub held_bytes: u64,
    /// Blobs that travel as a recipe.
    pub deltas: u64,
    /// Bytes of those blobs, and of what travels for them.
    pub delta_bytes: (u64, u64),
    /// The recipient's receipt that the base was computed from.
    pub receipt: Option<Sha256>,
    /// Releases described.
    pub releases: usize,
}

/// What goes into one transfer, before any byte is written.
struct Plan {
    repositories: BTreeMap<String, RepositoryRow>,
    releases: Vec<(RepositoryRow, Draft)>,
    statements: Vec<String>,
    git: Vec<GitPart>,
    blobs: BTreeMap<Sha256, u64>,
    held: BTreeMap<Sha256, u64>,
    names: BTreeMap<Sha256, String>,
    deltas: Vec<Delta>,
    receipt: Option<Sha256>,
}

struct GitPart {
    project: String,
    refs: BTreeMap<String, String>,
    bundle: Sha256,
}

impl Crossing {
    /// Writes a transfer.
    ///
    /// # Errors
    /// `Invalid` (`no-medium`) when there is no folder to write into;
    /// `NotFound` for an unknown recording or project; `Conflict` for a recording that was not
    /// rehearsed; `PolicyRefused` by the door's profile; `NoSpace`; nothing that looks like a transfer is
    /// left behind then.
    pub async fn pack(&self, request: PackRequest, actor: &str, meter: &Meter) -> Result<Packed> {
        if !request.dry_run {
            // Before minutes of planning. Not made here: it may be the mount point of a medium that is not in.
            check_medium(&request.into)?;
        }
        let mut destinations = request.destinations.clone();
        destinations.sort();
        destinations.dedup();
        let stream = stream_name(&self.0.site, &destinations)?;
        let (door, suite) = self.door(&request, &destinations).await?;
        let mut plan = self.plan(&request, &stream, actor).await?;
        // A full transfer builds on nothing, recipes included.
        if suite == "sealed-1" && !request.full {
            plan.deltas =
                self.plan_deltas(&plan.releases, &plan.blobs, &stream, request.delta, meter).await?;
            for delta in &plan.deltas {
                plan.blobs.remove(&delta.line.sha256);
                plan.held.insert(delta.line.base, delta.base_size);
            }
        }
        let (epoch, seq, prev) = self.position(&stream, request.new_epoch).await?;
        let now = self.clock().now();
        let draft = HeaderDraft {
            source: self.0.site.clone(),
            destinations,
            epoch,
            seq,
            prev,
            created: now,
            not_after: now.plus(FRESH),
            tool: self.0.tool.clone(),
            receipt: plan.receipt,
            claims: BTreeMap::new(),
            roots: self.own_roots().await?,
        };
        if request.dry_run {
            return Ok(packed(TransferId(0), suite, &plan, None));
        }
        let (plan, summary) = self.write(request.into.clone(), draft, door, plan, meter.clone()).await?;
        let row = TransferRow {
            id: TransferId(0),
            direction: "sent".into(),
            stream,
            source: self.0.site.to_string(),
            epoch,
            seq,
            header_sha256: summary.header_sha256,
            digest: summary.header_sha256,
            state: "sent".into(),
            bytes: summary.bytes,
            blobs: (plan.blobs.len() + plan.deltas.len()) as u64,
            created: now,
            at: now,
            actor: actor.into(),
            published: None,
            suite: suite.into(),
            folder: summary.path.display().to_string(),
            outcome: String::new(),
        };
        match self.keep_sent(&row, &plan, actor).await {
            Ok(id) => Ok(packed(id, suite, &plan, Some(summary))),
            Err(error) => {
                // The position is not ours: a transfer that the site does not know must not travel.
                let _ = tokio::fs::remove_dir_all(&summary.path).await;
                Err(error)
            }
        }
    }

    async fn door(&self, request: &PackRequest, destinations: &[SiteName]) -> Result<(Door, &'static str)> {
        match &request.door {
            DoorChoice::Inspectable(profile) => Ok((Door::Inspectable(profile.clone()), "inspectable-1")),
            DoorChoice::Sealed { volume_size, parity_permille } => {
                let mut recipients = vec![self.0.sealing.recipient()];
                for site in destinations {
                    recipients.extend(self.recipients_for(site).await?);
                }
                let sealed =
                    Sealed { recipients, volume_size: *volume_size, parity_permille: *parity_permille };
                Ok((Door::Sealed(sealed), "sealed-1"))
            }
        }
    }

    async fn plan(&self, request: &PackRequest, stream: &str, actor: &str) -> Result<Plan> {
        let mut plan = Plan {
            repositories: BTreeMap::new(),
            releases: Vec::new(),
            statements: Vec::new(),
            git: Vec::new(),
            blobs: BTreeMap::new(),
            held: BTreeMap::new(),
            names: BTreeMap::new(),
            deltas: Vec::new(),
            receipt: None,
        };
        let mut wanted: BTreeMap<(String, String, String), BTreeSet<String>> = BTreeMap::new();
        for id in &request.recordings {
            let row = self.recording(*id).await?;
            if row.statement.is_none() && row.state != "listed" {
                return Err(Error::conflict(
                    "not-rehearsed",
                    format!(
                        "the recording `{}` was not rehearsed, so nobody knows whether it is complete",
                        row.name
                    ),
                )
                .hint(format!("run `cofferdam rehearse {}` first", row.name)));
            }
            plan.statements.extend(statements_of(self, &row).await?);
            let collection = self.collection(*id).await?;
            plan.statements.extend(self.joined(*id).await?.statement(self, &collection)?);
            for CollectionItem { repository, package, version, files, .. } in collection.items {
                let paths = files.into_iter().map(|f| f.path);
                wanted.entry((repository, package, version)).or_default().extend(paths);
            }
        }
        for ((repository, package, version), paths) in wanted {
            self.plan_release(&mut plan, &repository, &package, &version, &paths).await?;
        }
        let assume = request.assume_received;
        for project in &request.projects {
            let have =
                if request.full { Vec::new() } else { self.held_commits(stream, project, assume).await? };
            self.plan_git(&mut plan, project, &have).await?;
        }
        if !request.full {
            // Before the snapshot of what is held is taken.
            if assume && !request.dry_run {
                self.assume_received(stream, actor).await?;
            }
            let mut tx = self.db().read().await?;
            let receipt = tx.carry().last_receipt(stream).await?;
            plan.receipt = receipt.map(|text| Sha256::of(text.as_bytes()));
            let held: BTreeSet<Sha256> =
                tx.carry().held("sent", stream).await?.into_iter().map(|(sha256, _)| sha256).collect();
            let (here, new) = plan.blobs.into_iter().partition(|(sha256, _)| held.contains(sha256));
            (plan.held, plan.blobs) = (here, new);
        }
        Ok(plan)
    }

    async fn plan_release(
        &self,
        plan: &mut Plan,
        repository: &str,
        package: &str,
        version: &str,
        paths: &BTreeSet<String>,
    ) -> Result<()> {
        let registry = &self.0.registry;
        let row = registry.repository(&mut registry.db().read().await?, repository).await?;
        let found = registry.view(&row).await?.package(package).await?;
        let gone = || Error::not_found(format!("{package} {version} is no longer in `{repository}`"));
        let found = found.ok_or_else(gone)?;
        let release = found.releases.into_iter().find(|r| r.version == version).ok_or_else(gone)?;
        // A file brings the metadata that belongs to it (`x.whl` brings `x.whl.metadata`).
        let travels = |file: &FileRef| {
            paths.iter().any(|p| {
                file.path == *p || file.path.strip_prefix(p.as_str()).is_some_and(|r| r.starts_with('.'))
            })
        };
        let files: Vec<DraftFile> = release
            .files
            .into_iter()
            .filter(travels)
            .map(|f| DraftFile { path: f.path, role: f.role, digests: f.digests, meta: f.meta })
            .collect();
        plan.blobs.extend(files.iter().map(|f| (f.digests.sha256, f.digests.size)));
        plan.names.extend(files.iter().map(|f| (f.digests.sha256, f.path.clone())));
        let pointers = found.pointers.into_iter().filter(|p| p.version == version).map(|p| p.name).collect();
        let draft = Draft {
            package: found.key,
            display: found.display,
            version: release.version,
            meta: release.meta,
            files,
            pointers,
            published: Some(release.published),
            yanked: (release.state == ReleaseState::Yanked).then_some(release.yank_reason),
        };
        plan.repositories.insert(row.name.clone(), row.clone());
        plan.releases.push((row, draft));
        Ok(())
    }

    async fn plan_git(&self, plan: &mut Plan, path: &str, have: &[Oid]) -> Result<()> {
        let mut tx = self.db().read().await?;
        let id = self.0.projects.find(&mut tx, path).await?;
        drop(tx);
        let id = id.ok_or_else(|| Error::not_found(format!("there is no project `{path}` at this site")))?;
        let all = self.0.git.list_refs(id).await?;
        let names: Vec<String> = all
            .iter()
            .map(|(n, _)| n.clone())
            .filter(|n| n.starts_with("refs/heads/") || n.starts_with("refs/tags/"))
            .collect();
        if names.is_empty() {
            return Err(Error::conflict("empty-project", format!("the project `{path}` has no branch yet"))
                .hint("push to it first"));
        }
        let folder = tempfile::tempdir().map_err(|e| Error::io("making room for a git bundle", e))?;
        let file = folder.path().join("bundle");
        let mut refs = self.0.git.bundle(id, &names, have, &file).await?;
        if !file.exists() {
            if refs.iter().all(|(_, oid)| have.contains(oid)) {
                return Ok(());
            }
            // A reference went back to an old commit: there is nothing new to carry but its name.
            refs = self.0.git.bundle(id, &names, &[], &file).await?;
        }
        let body = file_stream(&file).await?;
        let digests = self.0.registry.blobs().put(body, u64::MAX).await?;
        plan.blobs.insert(digests.sha256, digests.size);
        plan.names.insert(digests.sha256, format!("{}.bundle", path.replace('/', "-")));
        let refs = refs.into_iter().map(|(name, oid)| (name, oid.to_string())).collect();
        plan.git.push(GitPart { project: path.into(), refs, bundle: digests.sha256 });
        Ok(())
    }

    /// The tips of a project that the receiver holds.
    async fn held_commits(&self, stream: &str, project: &str, assume: bool) -> Result<Vec<Oid>> {
        let sent = self.db().read().await?.carry().sent_git(stream, project).await?;
        // References follow the publication: only what is published is history over there.
        let there = |outcome: &str| outcome == "published" || (assume && outcome.is_empty());
        let mut commits = Vec::new();
        for (_, value) in sent.iter().filter(|(outcome, _)| there(outcome)) {
            let refs = value["refs"].as_object().into_iter().flatten();
            commits.extend(refs.filter_map(|(_, oid)| oid.as_str()?.parse::<Oid>().ok()));
        }
        commits.sort();
        commits.dedup();
        Ok(commits)
    }

    /// The next position of a stream to its destinations.
    async fn position(&self, stream: &str, new_epoch: bool) -> Result<(u32, u64, Option<Sha256>)> {
        let sent = self.db().read().await?.crossing().stream("sent", stream).await?;
        Ok(match sent.last() {
            None => (1, 1, None),
            Some(last) if new_epoch => (last.epoch.saturating_add(1), 1, Some(last.header_sha256)),
            Some(last) => (last.epoch, last.seq + 1, Some(last.header_sha256)),
        })
    }

    async fn write(
        &self,
        into: PathBuf,
        draft: HeaderDraft,
        door: Door,
        plan: Plan,
        meter: Meter,
    ) -> Result<(Plan, Summary)> {
        let (blobs, key) = (self.0.registry.blobs().clone(), self.0.key.clone());
        let runtime = tokio::runtime::Handle::current();
        crate::receive::blocking(move || {
            let mut writer = Writer::create(&into, draft, door)?;
            for record in records(&plan)? {
                writer.add_record(record)?;
            }
            for (sha256, size) in &plan.held {
                writer.add_required(*sha256, *size)?;
            }
            let payloads: BTreeMap<Sha256, &Delta> =
                plan.deltas.iter().map(|d| (d.line.payload, d)).collect();
            let total =
                plan.blobs.values().sum::<u64>() + payloads.values().map(|d| d.payload_size()).sum::<u64>();
            let held = plan.held.values().sum();
            let mut done = 0;
            for delta in &plan.deltas {
                writer.add_recipe(delta.line.clone())?;
            }
            for (sha256, delta) in payloads {
                writer.add_blob(sha256, delta.payload_size(), "delta", delta.open()?)?;
                done += delta.payload_size();
            }
            for (sha256, size) in &plan.blobs {
                let file = runtime.block_on(blobs.file(sha256))?;
                let name = plan.names.get(sha256).map_or("blob", String::as_str);
                writer.add_blob(*sha256, *size, name, file)?;
                done += size;
                meter.at("packing", done, total, held);
            }
            let summary = writer.finish(&[&key], &Finishing(&meter))?;
            Ok((plan, summary))
        })
        .await
    }

    async fn keep_sent(&self, row: &TransferRow, plan: &Plan, actor: &str) -> Result<TransferId> {
        let mut tx = self.db().write().await?;
        let id = tx.crossing().insert_transfer(row).await?;
        let items = sent_items(self, plan)?;
        tx.crossing().insert_items(id, &items).await?;
        wants::packed(&mut tx, row, id, &items).await?;
        let deltas = plan.deltas.iter().map(|delta| (delta.line.sha256, delta.line.size));
        let carried = plan.blobs.iter().map(|(sha256, size)| (*sha256, *size)).chain(deltas);
        tx.crossing().insert_blobs(id, carried).await?;
        let detail = json!({
            "stream": row.stream, "epoch": row.epoch, "seq": row.seq, "header": row.header_sha256,
            "bytes": row.bytes, "blobs": row.blobs, "releases": plan.releases.len(), "held": plan.held.len(),
            "suite": row.suite, "deltas": plan.deltas.len(), "receipt": plan.receipt, "folder": row.folder,
        });
        log(&mut tx, actor, "transfer.pack", &format!("transfer:{id}"), detail, row.at).await?;
        tx.commit().await?;
        Ok(id)
    }
}

/// Tells the meter about the parity pass.
struct Finishing<'a>(&'a Meter);

impl Writing for Finishing<'_> {
    fn parity(&self, done: u64, total: u64) {
        self.0.at("parity", done, total, 0);
    }
}

fn check_medium(into: &Path) -> Result<()> {
    let bad = |what: &str| {
        Error::invalid("no-medium", format!("{} {what}, as the machine of this site sees it", into.display()))
            .hint("mount the medium, or make the folder, and give its path on the machine of the site")
    };
    match std::fs::metadata(into) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(bad("is not a folder")),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Err(bad("may not be looked at")),
        Err(_) => Err(bad("does not exist")),
    }
}

fn packed(id: TransferId, suite: &str, plan: &Plan, summary: Option<Summary>) -> Packed {
    let whole: u64 = plan.deltas.iter().map(|d| d.line.size).sum();
    let carried: u64 = plan.deltas.iter().map(Delta::payload_size).sum();
    let header = summary.as_ref().map(|s| &s.header);
    Packed {
        id,
        volumes: header.map_or((0, 0), |h| (h.volumes(), h.parity_volumes())),
        suite: suite.to_owned(),
        header_sha256: summary.as_ref().map_or(Sha256([0; 32]), |s| s.header_sha256),
        bytes: summary.as_ref().map_or(plan.blobs.values().sum::<u64>() + carried, |s| s.bytes),
        path: summary.map(|s| s.path).unwrap_or_default(),
        blobs: plan.blobs.len() as u64,
        blob_bytes: plan.blobs.values().sum(),
        held: plan.held.len() as u64,
        held_bytes: plan.held.values().sum(),
        deltas: plan.deltas.len() as u64,
        delta_bytes: (whole, carried),
        receipt: plan.receipt,
        releases: plan.releases.len(),
    }
}

fn records(plan: &Plan) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for row in plan.repositories.values() {
        let (name, format, role) = (row.name.clone(), row.format.clone(), row.kind.clone());
        records.push(Record::Repository { name, format, role });
    }
    for (row, draft) in &plan.releases {
        let blobs =
            draft.files.iter().map(|f| f.digests.sha256).collect::<BTreeSet<_>>().into_iter().collect();
        records.push(Record::Artifact { value: claim(row, draft)?, blobs });
    }
    for git in &plan.git {
        records.push(Record::Git {
            project: git.project.clone(),
            refs: git.refs.clone(),
            bundle: git.bundle,
        });
    }
    for statement in &plan.statements {
        let envelope = cofferdam_trust::Envelope::from_json(statement.as_bytes())?;
        records.push(Record::Statement { envelope });
    }
    Ok(records)
}

/// What an artifact record says: the repository and the draft, as the receiver's format admits it.
fn claim(row: &RepositoryRow, draft: &Draft) -> Result<serde_json::Value> {
    let draft = serde_json::to_value(draft).map_err(|e| Error::internal("a claim", e))?;
    Ok(json!({ "repository": row.name, "draft": draft }))
}

fn sent_items(crossing: &Crossing, plan: &Plan) -> Result<Vec<TransferItemRow>> {
    let mut items = Vec::new();
    for (row, draft) in &plan.releases {
        let purl_type = crossing.0.registry.format(&row.format)?.purl_type();
        items.push(TransferItemRow {
            n: items.len() as u64,
            kind: "release".into(),
            repository: row.name.clone(),
            format: row.format.clone(),
            package: draft.package.clone(),
            version: draft.version.clone(),
            purl: PackageUrl::new(purl_type, &draft.package, &draft.version).to_string(),
            size: draft.files.iter().map(|f| f.digests.size).sum(),
            value: claim(row, draft)?.into(),
            verdict: "ok".into(),
        });
    }
    for git in &plan.git {
        items.push(TransferItemRow {
            n: items.len() as u64,
            kind: "git".into(),
            repository: git.project.clone(),
            format: String::new(),
            package: String::new(),
            version: String::new(),
            purl: String::new(),
            size: plan.blobs.get(&git.bundle).or_else(|| plan.held.get(&git.bundle)).copied().unwrap_or(0),
            value: json!({ "refs": git.refs, "bundle": git.bundle }).into(),
            verdict: "ok".into(),
        });
    }
    Ok(items)
}

async fn file_stream(path: &Path) -> Result<cofferdam_blobs::ByteStream> {
    use futures::StreamExt as _;
    let file = tokio::fs::File::open(path).await.map_err(|e| Error::io("reading a git bundle", e))?;
    Ok(futures::stream::try_unfold(file, |mut file| async move {
        use tokio::io::AsyncReadExt as _;
        let mut buffer = bytes::BytesMut::with_capacity(256 * 1024);
        let n = file.read_buf(&mut buffer).await.map_err(|e| Error::io("reading a git bundle", e))?;
        Ok((n > 0).then(|| (buffer.freeze(), file)))
    })
    .boxed())
}
