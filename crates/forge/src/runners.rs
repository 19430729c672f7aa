//! Runners: registered by an administrator, known by a token from then on.

use cofferdam_audit::Entry;
use cofferdam_store::{RunnerRow, TokenOwner};
use cofferdam_trust::token::{self, RUNNER_PREFIX};
use cofferdam_types::{Error, Result, RunnerId, Secret};
use serde_json::json;

use crate::Forge;

/// A runner may have at most this many tags.
pub const MAX_TAGS: usize = 64;

impl Forge {
    /// Registers a runner and returns its token: the only time that it is known.
    ///
    /// # Errors
    /// `Invalid` for a tag with a space in it, or more than [`MAX_TAGS`].
    pub async fn register_runner(
        &self,
        actor: &str,
        description: &str,
        tags: &[String],
        run_untagged: bool,
    ) -> Result<(RunnerRow, Secret<String>)> {
        let good = |tag: &String| !tag.is_empty() && tag.len() <= 255 && !tag.contains(char::is_whitespace);
        if tags.len() > MAX_TAGS || !tags.iter().all(good) {
            return Err(Error::invalid(
                "tags",
                format!("a runner has at most {MAX_TAGS} tags, none with a space in it"),
            ));
        }
        if tags.is_empty() && !run_untagged {
            return Err(Error::invalid(
                "tags",
                "a runner without tags that takes no untagged jobs would never run one",
            ));
        }
        let now = self.now();
        let secret = token::generate(RUNNER_PREFIX)?;
        let mut tx = self.db().write().await?;
        let id = tx.forge().insert_runner(description, tags, run_untagged, now).await?;
        let hash = token::hash(secret.expose());
        tx.access().insert_token(&hash, "runner", TokenOwner::Runner(id), "", now, None).await?;
        let entry = Entry {
            at: now,
            actor: actor.into(),
            action: "runner.register".into(),
            target: format!("runner:{id}"),
            detail: json!({ "description": description, "tags": tags, "run_untagged": run_untagged }),
        };
        cofferdam_audit::append(&mut tx, &entry).await?;
        let row = tx.forge().runner(id).await?;
        tx.commit().await?;
        Ok((row.ok_or_else(|| gone(id))?, secret))
    }

    /// A runner by id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn runner(&self, id: RunnerId) -> Result<RunnerRow> {
        self.db().read().await?.forge().runner(id).await?.ok_or_else(|| gone(id))
    }

    /// Every runner.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn runners(&self) -> Result<Vec<RunnerRow>> {
        self.db().read().await?.forge().runners().await
    }

    /// Notes that a runner called, with what it says about itself.
    ///
    /// # Errors
    /// `NotFound` when there is no such runner.
    pub async fn runner_contact(&self, id: RunnerId, info: Option<&str>) -> Result<RunnerRow> {
        let mut tx = self.db().write().await?;
        tx.forge().runner_contact(id, info, self.now()).await?;
        let row = tx.forge().runner(id).await?.ok_or_else(|| gone(id))?;
        tx.commit().await?;
        Ok(row)
    }
}

fn gone(id: RunnerId) -> Error {
    Error::not_found(format!("there is no runner {id}"))
}
