//! Two people, then one switch.

use async_trait::async_trait;
use cofferdam_access::{Decision, Verdict, approval};
use cofferdam_format_kit::{Change, DoorExt as _, Draft, RepositoryKind};
use cofferdam_git::Oid;
use cofferdam_registry::{Cause, Commit, Pages};
use cofferdam_store::{TransferItemRow, TransferRow, Tx};
use cofferdam_types::{Error, PersonId, ProjectId, RepositoryName, Result, Sha256, TransferId};
use serde_json::json;

use crate::{Crossing, log, wants::Unfilled};

/// The kind of question that a transfer's approval is.
pub const SUBJECT_KIND: &str = "transfer.publish";

/// Items that are held at once.
const PAGE: usize = 500;

/// What a publication made visible.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Published {
    /// The transfer.
    pub id: TransferId,
    /// Each repository and its new generation.
    pub generations: Vec<(String, Option<u64>)>,
    /// Git projects whose references were set.
    pub projects: Vec<String>,
    /// References that had gone another way here, and where what arrived stands instead.
    pub beside: Vec<(String, String)>,
}

impl Crossing {
    /// Votes on a transfer. `digest` is what the voter was shown.
    ///
    /// # Errors
    /// `PolicyRefused` with the reason (own request, voted already, changed, closed); `NotFound`.
    pub async fn vote(
        &self,
        id: TransferId,
        by: (PersonId, &str),
        verdict: Verdict,
        reason: &str,
        digest: &Sha256,
    ) -> Result<Decision> {
        let row = self.transfer(id).await?;
        let now = self.clock().now();
        let subject = format!("transfer:{id}");
        let mut tx = self.db().write().await?;
        let question = tx.access().approval_of(SUBJECT_KIND, &subject).await?;
        let question = question.ok_or_else(|| nothing_to_approve(&row))?;
        let decided = approval::vote(&mut tx, question.id, by, verdict, reason, digest, now).await;
        if matches!(decided, Ok(Decision::Rejected)) {
            tx.crossing().set_transfer_state(id, "quarantined", "rejected", None).await?;
            tx.carry().set_outcome(id, "rejected").await?;
        }
        tx.commit().await?;
        decided
    }

    /// Makes an approved transfer visible: every repository of it in one transaction.
    ///
    /// # Errors
    /// `AwaitingApproval` until two people have approved; `PolicyRefused` when it was rejected;
    /// `Conflict` when it was published before, or contradicts what is here.
    pub async fn publish(&self, id: TransferId, actor: &str) -> Result<Published> {
        let row = self.transfer(id).await?;
        if row.state == "published" {
            return Err(Error::conflict("published-already", format!("transfer {id} was published before")));
        }
        let git = self.git_items(id).await?;
        self.check_git_base(&git).await?;
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        approval::take(&mut tx, SUBJECT_KIND, &format!("transfer:{id}"), &row.digest, now).await?;
        if !tx.crossing().set_transfer_state(id, "quarantined", "published", Some(now)).await? {
            return Err(Error::conflict(
                "transfer-state",
                format!("transfer {id} is {} and cannot be published", row.state),
            ));
        }
        let generations = self.commit_all(&mut tx, &row, actor).await?;
        let projects = self.create_projects(&mut tx, &git, actor).await?;
        tx.carry().set_outcome(id, "published").await?;
        let detail = json!({ "header": row.header_sha256, "digest": row.digest, "generations": generations });
        log(&mut tx, actor, "transfer.publish", &format!("transfer:{id}"), detail, now).await?;
        // The objects come in before the switch, the references after it: a reader of the project
        // sees the old history or the new one.
        tx.commit().await?;
        let beside = self.set_references(&projects).await?;
        Ok(Published { id, generations, projects: projects.into_iter().map(|p| p.path).collect(), beside })
    }

    /// Sets again the references of published transfers, in case a crash came between the switch
    /// and them. Called when the site starts; doing it twice changes nothing.
    ///
    /// # Errors
    /// `Internal` when the database or git fails.
    pub async fn resume(&self) -> Result<()> {
        let recent = self.db().read().await?.crossing().transfers(i64::MAX, 1).await?;
        let Some(row) = recent.into_iter().find(|r| r.direction == "received" && r.state == "published")
        else {
            return Ok(());
        };
        let mut parts = Vec::new();
        let mut tx = self.db().read().await?;
        for item in self.git_items(row.id).await? {
            if let Some(project) = self.0.projects.find(&mut tx, &item.repository).await?
                && self.0.git.list_refs(project).await?.is_empty()
            {
                parts.push(GitPart::new(project, &item)?);
            }
        }
        drop(tx);
        self.set_references(&parts).await.map(drop)
    }

    /// A bundle that builds on earlier commits needs them here: that is known before anything moves.
    async fn check_git_base(&self, git: &[TransferItemRow]) -> Result<()> {
        for item in git {
            let part = GitPart::new(ProjectId(0), item)?;
            let needed = self.prerequisites(&part.bundle).await?;
            if needed.is_empty() {
                continue;
            }
            let project = self.0.projects.find(&mut self.db().read().await?, &part.path).await?;
            for commit in needed {
                let here = match project {
                    Some(project) => self.0.git.resolve(project, &commit).await?.is_some(),
                    None => false,
                };
                if !here {
                    return Err(Error::new(
                        cofferdam_types::ErrorKind::MissingVolume,
                        "base-missing",
                        format!("the history of `{}` builds on the commit {commit}, which is not here", part.path),
                    )
                    .hint("publish the transfers before this one, or have a full one packed: `cofferdam pack --full`"));
                }
            }
        }
        Ok(())
    }

    /// The commits that a bundle builds on (gitformat-bundle: lines that begin with `-`).
    async fn prerequisites(&self, bundle: &Sha256) -> Result<Vec<String>> {
        const HEADER: u64 = 8 << 20;
        self.0
            .registry
            .door()
            .inspect(bundle, |file| {
                use std::io::{BufRead as _, BufReader, Read as _};
                let mut out = Vec::new();
                for line in BufReader::new(file.take(HEADER)).split(b'\n') {
                    let line = line.map_err(|e| Error::io("reading a git bundle", e))?;
                    if line.is_empty() {
                        break;
                    }
                    if let Some(rest) = line.strip_prefix(b"-") {
                        let text = String::from_utf8_lossy(rest);
                        out.extend(text.split_whitespace().next().map(str::to_owned));
                    }
                }
                Ok(out)
            })
            .await
    }

    pub(crate) async fn items(&self, id: TransferId) -> Result<Vec<TransferItemRow>> {
        let mut tx = self.db().read().await?;
        let mut all: Vec<TransferItemRow> = Vec::new();
        loop {
            let page = tx.crossing().items(id, after(&all), PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// The histories that a transfer may show. What a station took out, or inspection refused, stays out.
    async fn git_items(&self, id: TransferId) -> Result<Vec<TransferItemRow>> {
        let mut tx = self.db().read().await?;
        let (mut sound, mut from) = (Vec::new(), 0);
        loop {
            let page = tx.crossing().items_of(id, "git", from, PAGE).await?;
            if page.is_empty() {
                return Ok(sound);
            }
            from = after(&page);
            sound.extend(page.into_iter().filter(|item| item.verdict == "ok"));
        }
    }

    async fn commit_all(
        &self,
        tx: &mut Tx,
        row: &TransferRow,
        actor: &str,
    ) -> Result<Vec<(String, Option<u64>)>> {
        let registry = &self.0.registry;
        let name = format!("{}/{}", row.stream, row.seq);
        let mut wants = Unfilled::of(tx, self.0.site.as_str()).await?;
        let mut generations = Vec::new();
        for (repository, format) in tx.crossing().repositories_of(row.id).await? {
            let place = match tx.registry().repository(&repository).await? {
                Some(place) => place,
                None => {
                    let slug: RepositoryName = repository.parse().map_err(|e| {
                        Error::verification("repository-name", "the transfer names an unusable repository")
                            .with_source(e)
                    })?;
                    registry.create(tx, actor, &slug, &format, RepositoryKind::Mirror, &[]).await?
                }
            };
            if place.format != format {
                return Err(Error::conflict(
                    "repository-format",
                    format!(
                        "`{repository}` is a {} repository here and a {format} repository in the transfer",
                        place.format
                    ),
                ));
            }
            let mut releases = Releases { id: row.id, repository: &repository, from: 0, wants: &mut wants };
            let commit = Commit { actor, cause: Cause::Transfer(&name) };
            let done = registry.commit_pages_in(tx, &place, &mut releases, commit).await?;
            generations.push((repository, done.generation));
        }
        wants.move_on(tx, "filled", row.id).await?;
        Ok(generations)
    }

    async fn create_projects(
        &self,
        tx: &mut Tx,
        git: &[TransferItemRow],
        actor: &str,
    ) -> Result<Vec<GitPart>> {
        let mut parts = Vec::new();
        for item in git {
            let project = match self.0.projects.find(tx, &item.repository).await? {
                Some(project) => project,
                None => self.0.projects.create(tx, &item.repository, actor).await?,
            };
            parts.push(GitPart::new(project, item)?);
        }
        Ok(parts)
    }

    async fn set_references(&self, parts: &[GitPart]) -> Result<Vec<(String, String)>> {
        let mut beside = Vec::new();
        for part in parts {
            let folder = tempfile::tempdir().map_err(|e| Error::io("making room for a git bundle", e))?;
            let file = folder.path().join("bundle");
            let mut bundle = self.0.registry.blobs().file(&part.bundle).await?;
            let copy = file.clone();
            let copied = tokio::task::spawn_blocking(move || {
                std::fs::File::create(copy).and_then(|mut out| std::io::copy(&mut bundle, &mut out))
            });
            copied
                .await
                .map_err(|e| Error::internal("copying a git bundle", e))?
                .map_err(|e| Error::io("copying a git bundle", e))?;
            let aside = self.0.git.unbundle(part.project, &file, &part.refs).await?;
            beside.extend(aside.into_iter().map(|name| (part.path.clone(), name)));
        }
        Ok(beside)
    }
}

/// The position behind the items that were read.
fn after(items: &[TransferItemRow]) -> u64 {
    items.last().map_or(0, |item| item.n + 1)
}

/// The releases of a transfer for one repository, page by page in their order.
struct Releases<'a> {
    id: TransferId,
    repository: &'a str,
    from: u64,
    wants: &'a mut Unfilled,
}

#[async_trait]
impl Pages for Releases<'_> {
    async fn next(&mut self, tx: &mut Tx) -> Result<Vec<Change>> {
        let items = tx.crossing().releases_of(self.id, self.repository, self.from, PAGE).await?;
        self.from = self.from.max(after(&items));
        let mut changes = Vec::with_capacity(items.len());
        for item in items {
            self.wants.meet(&item);
            let Claim { draft, .. } = item.value.read()?;
            changes.push(Change::Release(draft));
        }
        Ok(changes)
    }
}

/// What an item of a release says.
#[derive(serde::Deserialize)]
pub(crate) struct Claim {
    /// The release.
    pub(crate) draft: Draft,
    /// What upstream's proofs said of it together with the others.
    #[serde(default)]
    pub(crate) joined: Vec<String>,
    /// What it is, by a package URL, as it says itself or as an index beside it does.
    #[serde(default)]
    pub(crate) known_as: Option<String>,
}

struct GitPart {
    project: ProjectId,
    path: String,
    refs: Vec<(String, Oid)>,
    bundle: Sha256,
}

impl GitPart {
    fn new(project: ProjectId, item: &TransferItemRow) -> Result<Self> {
        let unreadable =
            || Error::verification("claim", format!("the git part of `{}` cannot be read", item.repository));
        let value: serde_json::Value = item.value.read()?;
        let refs = value["refs"].as_object().ok_or_else(unreadable)?;
        let mut parsed = Vec::new();
        for (name, oid) in refs {
            let oid: Oid = oid.as_str().ok_or_else(unreadable)?.parse().map_err(|_| unreadable())?;
            parsed.push((name.clone(), oid));
        }
        let bundle = value["bundle"].as_str().and_then(|t| t.parse().ok()).ok_or_else(unreadable)?;
        Ok(Self { project, path: item.repository.clone(), refs: parsed, bundle })
    }
}

fn nothing_to_approve(row: &TransferRow) -> Error {
    Error::conflict(
        "nothing-to-approve",
        format!("transfer {} is {}: there is nothing to approve", row.id, row.state),
    )
}
