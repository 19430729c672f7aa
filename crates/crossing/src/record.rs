//! A build's recording and its rehearsal.
//!
//! A recording is a session of the registries: the sandbox gets a token that makes the site ask
//! upstream and keep what comes. The rehearsal runs the same command with a token that does not.
//! When it passes, the site signs a statement of it, which travels with the transfer.

use std::time::Duration;

use cofferdam_access::NewToken;
use cofferdam_store::{RecordingRow, TokenOwner};
use cofferdam_trust::{Statement, Subject, sign_statement};
use cofferdam_types::{Error, RecordingId, Result, Secret};
use serde_json::json;

use crate::{Collection, Crossing, Missing, log};

/// The predicate of the rehearsal statement.
pub const RECORDING_PREDICATE: &str = "https://cofferdam.dev/rehearsal/v1";

/// A build may take this long at the most; its tokens end then.
const LONGEST_BUILD: Duration = Duration::from_secs(24 * 3600);

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
    /// The signed statement, as DSSE JSON, when it is complete.
    pub statement: Option<String>,
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

    /// Ends a recording with the command's exit code.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording.
    pub async fn end_recording(&self, id: RecordingId, exit_code: i64, actor: &str) -> Result<Collection> {
        let collection = self.collection(id).await?;
        let state = if exit_code == 0 { "recorded" } else { "failed" };
        let now = self.clock().now();
        let (files, bytes) = collection.totals();
        let mut tx = self.db().write().await?;
        tx.crossing().end_recording(id, state, exit_code, now).await?;
        let detail = json!({
            "exit_code": exit_code, "collection": collection.digest()?, "files": files, "bytes": bytes,
            "missing": collection.missing.len(),
        });
        log(&mut tx, actor, "recording.end", &format!("recording:{id}"), detail, now).await?;
        tx.commit().await?;
        Ok(collection)
    }

    /// Ends a rehearsal with the command's exit code; signs the statement when it passed.
    ///
    /// The site may hold more than this recording collected (from other recordings): a rehearsal that
    /// used any of that is incomplete, and what it used is named as missing.
    ///
    /// A rehearsal that passed may still have asked for things that are nowhere (a client that
    /// probes for an optional file): they are named, and do not make it incomplete.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording.
    pub async fn end_rehearsal(&self, id: RecordingId, exit_code: i64, actor: &str) -> Result<Rehearsed> {
        let collection = self.collection(id).await?;
        let rehearsal = self.rehearsal(id).await?;
        let row = self.recording(id).await?;
        let outside = rehearsal.not_in(&collection);
        let complete = exit_code == 0 && outside.is_empty();
        let now = self.clock().now();
        let statement = if complete {
            let predicate = json!({
                "command": row.command, "site": self.0.site, "recording": id,
                "rehearsed": now, "exitCode": exit_code, "outsideConnections": 0,
                "network": "no route; the site was the only reachable address, and it did not ask upstream",
                "used": rehearsal.items.iter().map(|i| &i.purl).collect::<Vec<_>>(),
                "askedInVain": rehearsal.missing,
            });
            let subject = Subject::sha256(format!("collection:{}", row.name), collection.digest()?);
            let statement = Statement::new(vec![subject], RECORDING_PREDICATE, predicate);
            let envelope = sign_statement(&statement, &[&self.0.key])?;
            Some(String::from_utf8(envelope.to_json()?).map_err(|e| Error::internal("a statement", e))?)
        } else {
            None
        };
        let state = if complete { "rehearsed" } else { "incomplete" };
        let mut tx = self.db().write().await?;
        tx.crossing().end_rehearsal(id, state, exit_code, statement.as_deref(), now).await?;
        let mut missing = rehearsal.missing;
        missing.extend(outside);
        let detail = json!({ "exit_code": exit_code, "complete": complete, "missing": missing });
        log(&mut tx, actor, "recording.rehearse", &format!("recording:{id}"), detail, now).await?;
        tx.commit().await?;
        Ok(Rehearsed { complete, exit_code, missing, statement })
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
