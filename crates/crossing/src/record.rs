//! A build's recording and its rehearsal.
//!
//! A recording is a session of the registries: the sandbox gets a token that makes the site ask
//! upstream and keep what comes. The rehearsal runs the same command with a token that does not.
//! When it passes, the site signs a statement of it, which travels with the transfer.

use std::time::Duration;

use cofferdam_access::NewToken;
use cofferdam_format_kit::joined::{Keys, PlacedKey};
use cofferdam_store::{RecordingRow, TokenOwner};
use cofferdam_trust::{Statement, Subject};
use cofferdam_types::{Error, ErrorKind, RecordingId, Result, Secret};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    Collection, Crossing, Mention, Missing, Observed,
    collection::{Connections, MENTIONS, RECORDED, REHEARSED},
    log,
};

/// The predicate of the rehearsal statement.
pub const RECORDING_PREDICATE: &str = "https://cofferdam.dev/rehearsal/v1";

/// A build may take this long at the most; its tokens end then.
const LONGEST_BUILD: Duration = Duration::from_secs(24 * 3600);

/// Bytes of what a machine says of a build, at most: as a statement it must fit into a line of a manifest.
const MAX_PAPER: usize = 8 << 20;

/// A recording that was begun.
#[derive(Debug)]
pub struct StartedRecording {
    /// Its number.
    pub id: RecordingId,
    /// The token for the recorded command.
    pub record: Secret<String>,
    /// The token for its rehearsals.
    pub replay: Secret<String>,
}

/// The outcome of a rehearsal.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Rehearsed {
    /// Whether the command succeeded with upstream shut, from what was collected.
    pub complete: bool,
    /// The command's exit code.
    pub exit_code: i64,
    /// What it asked for in vain.
    pub missing: Vec<Missing>,
    /// Connections whose bytes went to anything but the site.
    pub outside: u64,
    /// The signed statement, as DSSE JSON, when it is complete.
    pub statement: Option<String>,
}

/// How a recording ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Ended {
    /// The command's exit code.
    pub exit_code: i64,
    /// What its machine says.
    pub observed: Observed,
    /// What the lock files of its folder name.
    pub mentions: Vec<Mention>,
    /// Whether nothing was run: what it holds was listed.
    pub listed: bool,
    /// Keys of signed notes that the machine's own clients are set up with (`go env GOSUMDB`).
    pub note_keys: Vec<String>,
    /// Keys of package archives that they are set up with: apt's.
    pub archive_keys: Vec<PlacedKey>,
    /// Keys of container images: those of `policy.json`.
    pub image_keys: Vec<PlacedKey>,
}

/// A paper as it is kept.
pub(crate) fn paper(says: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(says).map_err(|e| Error::internal("a recording's paper", e))?;
    if text.len() > MAX_PAPER {
        let text =
            format!("what the machine says of the build has {} bytes, more than {MAX_PAPER}", text.len());
        return Err(Error::new(ErrorKind::TooLarge, "paper-too-large", text));
    }
    Ok(text)
}

impl Crossing {
    /// Begins a recording.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn start_recording(&self, name: &str, command: &str, actor: &str) -> Result<StartedRecording> {
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        let id = tx.crossing().insert_recording(name, command, actor, now).await?;
        let new = |scopes| NewToken {
            name: "recording",
            owner: TokenOwner::Recording(id),
            scopes,
            lifetime: Some(LONGEST_BUILD),
        };
        let (_, record) = self.0.access.create_token_in(&mut tx, new("record")).await?;
        let (_, replay) = self.0.access.create_token_in(&mut tx, new("replay")).await?;
        let detail = json!({ "name": name, "command": command });
        log(&mut tx, actor, "recording.start", &format!("recording:{id}"), detail, now).await?;
        tx.commit().await?;
        Ok(StartedRecording { id, record, replay })
    }

    /// Ends a recording with the command's exit code, and keeps what its machine says of it.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording; `TooLarge` when the machine says too much; `VerificationFailed` when
    /// a proof of upstream's does not hold: the recording has ended, and is not rehearsed nor packed with that item;
    /// `not-kept` when something that the build was given could not be kept: the recording has ended, as failed.
    pub async fn end_recording(&self, id: RecordingId, ended: Ended, actor: &str) -> Result<Collection> {
        let Ended { exit_code, observed, mentions, listed, note_keys, archive_keys, image_keys } = ended;
        let brought = Keys { notes: note_keys, archives: archive_keys, images: image_keys };
        let (observed, mentions) = (paper(&observed)?, paper(&mentions)?);
        let settled = self.0.registry.settle(id).await;
        let state = match (exit_code, listed) {
            _ if settled.is_err() => "failed",
            (0, true) => "listed",
            (0, false) => "recorded",
            _ => "failed",
        };
        let now = self.clock().now();
        let mut tx = self.db().write().await?;
        tx.crossing().end_recording(id, state, exit_code, now).await?;
        tx.collections().put_paper(id, RECORDED, &observed).await?;
        tx.collections().put_paper(id, MENTIONS, &mentions).await?;
        tx.commit().await?;
        let joined = self.join_recording(id, &brought).await?;
        let collection = self.described_collection(id).await?;
        let (files, bytes) = collection.totals();
        let detail = json!({
            "exit_code": exit_code, "collection": collection.digest()?, "files": files, "bytes": bytes,
            "missing": collection.missing.len(), "found_by_running": collection.found_by_running(),
            "proofs": joined.totals(),
        });
        let mut tx = self.db().write().await?;
        log(&mut tx, actor, "recording.end", &format!("recording:{id}"), detail, now).await?;
        tx.commit().await?;
        settled?;
        joined.refuse_wrong(&collection)?;
        Ok(collection)
    }

    /// Ends a rehearsal with the command's exit code; signs the statement when it passed.
    ///
    /// The site may hold more than this recording collected (from other recordings): a rehearsal that used any of that
    /// is incomplete, and what it used is named as missing. So is one from which bytes went to the outside.
    ///
    /// A rehearsal that passed may still have asked for things that are nowhere (a client that probes for an optional
    /// file): they are named, and do not make it incomplete.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording; `TooLarge` when the machine says too much.
    pub async fn end_rehearsal(
        &self,
        id: RecordingId,
        exit_code: i64,
        observed: Observed,
        actor: &str,
    ) -> Result<Rehearsed> {
        let says = paper(&observed)?;
        let collection = self.collection(id).await?;
        self.joined(id).await?.refuse_wrong(&collection)?;
        let rehearsal = self.rehearsal(id).await?;
        let row = self.recording(id).await?;
        let beside = rehearsal.not_in(&collection);
        let network = observed.network.as_ref().map(Connections::of).transpose()?;
        let outside = network.as_ref().map_or(0, |seen| seen.outside);
        let complete = exit_code == 0 && beside.is_empty() && outside == 0;
        let now = self.clock().now();
        let statement = if complete {
            let network = match &network {
                Some(seen) => json!({
                    "how": "no route; every connection ended at the recorder, which only answered from the collection",
                    "log": seen.sha256, "outside": seen.outside, "refused": seen.refused,
                }),
                None => {
                    json!({ "how": "no route; only the site could be reached, and it did not ask upstream" })
                }
            };
            let predicate = json!({
                "command": row.command, "site": self.0.site, "recording": id, "platform": observed.platform,
                "rehearsed": now, "exitCode": exit_code, "network": network,
                "inputs": observed.inputs, "result": observed.result,
                "used": rehearsal.items.iter().map(|i| &i.purl).collect::<Vec<_>>(),
                "askedInVain": rehearsal.missing,
            });
            let subject = Subject::sha256(format!("collection:{}", row.name), collection.digest()?);
            Some(self.signed(&Statement::new(vec![subject], RECORDING_PREDICATE, predicate))?)
        } else {
            None
        };
        let state = if complete { "rehearsed" } else { "incomplete" };
        let mut tx = self.db().write().await?;
        tx.crossing().end_rehearsal(id, state, exit_code, statement.as_deref(), now).await?;
        tx.collections().put_paper(id, REHEARSED, &says).await?;
        let mut missing = rehearsal.missing;
        missing.extend(beside);
        let detail =
            json!({ "exit_code": exit_code, "complete": complete, "missing": missing, "outside": outside });
        log(&mut tx, actor, "recording.rehearse", &format!("recording:{id}"), detail, now).await?;
        tx.commit().await?;
        Ok(Rehearsed { complete, exit_code, missing, outside, statement })
    }

    /// A recording.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn recording(&self, id: RecordingId) -> Result<RecordingRow> {
        let found = self.db().read().await?.crossing().recording(id).await?;
        found.ok_or_else(|| Error::not_found(format!("there is no recording {id}")))
    }
}
