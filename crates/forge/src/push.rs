//! What follows from a push: its event, its audit entry and its pipelines, in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use cofferdam_audit::Entry;
use cofferdam_git::{PushPolicy, RefUpdate};
use cofferdam_store::{PipelineRow, ProjectRow};
use cofferdam_types::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Forge,
    planning::{Wanted, ZERO},
};

/// Pipelines that one push may make; references beyond that are noted and get none.
pub const MAX_PIPELINES: usize = 8;

/// A reference that somebody moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The whole reference.
    pub reference: String,
    /// What it named before; forty zeros when it is new.
    pub before: String,
    /// What it names now; forty zeros when it is gone.
    pub after: String,
}

impl Forge {
    /// Why a push may not move these references; `Ok` when it may. Names under `refs/pipelines/` are ours.
    ///
    /// # Errors
    /// A sentence for the person who pushes.
    pub fn check_push(&self, moved: &[Moved]) -> std::result::Result<(), String> {
        let ours =
            |m: &&Moved| !m.reference.starts_with("refs/heads/") && !m.reference.starts_with("refs/tags/");
        match moved.iter().find(ours) {
            None => Ok(()),
            Some(m) => {
                Err(format!("{} is neither a branch nor a tag; only those can be pushed", m.reference))
            }
        }
    }

    /// Records a push that git has accepted, and makes the pipelines of its branches and tags.
    ///
    /// # Errors
    /// `Internal` when the database or the repository fails; nothing was recorded then.
    pub async fn pushed(
        &self,
        project: &ProjectRow,
        actor: &str,
        moved: &[Moved],
    ) -> Result<Vec<PipelineRow>> {
        // Reading and evaluating files takes its time; the write transaction comes after it.
        let mut plans = Vec::new();
        let mut commits = Vec::new();
        for m in moved.iter().filter(|m| m.after != ZERO).take(MAX_PIPELINES) {
            // A branch names a commit, git sees to that; an annotated tag names a tag object, and a
            // pipeline is of the commit behind it.
            let commit = match m.reference.starts_with("refs/heads/") {
                true => None,
                false => self.sources().resolve(project.id, &m.after).await?,
            };
            commits.push((m, commit.unwrap_or_else(|| m.after.clone())));
        }
        for (m, commit) in &commits {
            let wanted = Wanted {
                project,
                git_ref: &m.reference,
                sha: commit,
                before: &m.before,
                source: "push",
                actor,
            };
            if let Some(planned) = self.plan(&wanted).await? {
                plans.push((wanted, planned));
            }
        }
        let now = self.now();
        let mut tx = self.db().write().await?;
        tx.forge().insert_push(project.id, actor, &json!(moved), now).await?;
        let entry = Entry {
            at: now,
            actor: actor.into(),
            action: "git.push".into(),
            target: format!("project:{}", project.path()),
            detail: json!({ "updates": moved }),
        };
        cofferdam_audit::append(&mut tx, &entry).await?;
        let mut rows = Vec::new();
        for (wanted, planned) in &plans {
            rows.push(self.insert(&mut tx, wanted, planned).await?);
        }
        // Both at once, because the pusher waits. A reference whose pipeline is not there after all
        // only keeps a commit, until the next pipeline of that number sets it.
        let keep = async {
            for row in &rows {
                self.keep_commit(row).await?;
            }
            Ok(())
        };
        let (committed, kept) = tokio::join!(tx.commit(), keep);
        committed?;
        kept?;
        self.bells().ring_queue();
        Ok(rows)
    }
}

/// The forge's half of one push.
struct Policy {
    forge: Forge,
    project: ProjectRow,
    actor: String,
}

impl Forge {
    /// What decides about a push of `actor` to a project, and hears of what was moved.
    #[must_use]
    pub fn push_policy(&self, project: &ProjectRow, actor: &str) -> Arc<dyn PushPolicy> {
        Arc::new(Policy { forge: self.clone(), project: project.clone(), actor: actor.to_owned() })
    }
}

#[async_trait]
impl PushPolicy for Policy {
    async fn before(&self, updates: &[RefUpdate]) -> std::result::Result<(), String> {
        self.forge.check_push(&moved(updates))
    }

    async fn after(&self, updates: &[RefUpdate]) {
        if let Err(error) = self.forge.pushed(&self.project, &self.actor, &moved(updates)).await {
            // The references have moved; nobody is left who could be told but the operator.
            tracing::error!(project = self.project.path(), "recording a push: {}", error.internal_chain());
        }
    }
}

fn moved(updates: &[RefUpdate]) -> Vec<Moved> {
    let one = |update: &RefUpdate| Moved {
        reference: update.name.clone(),
        before: update.old.to_string(),
        after: update.new.to_string(),
    };
    updates.iter().map(one).collect()
}
