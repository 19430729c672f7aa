//! The register of media: which serial number carries which transfer, who has it, and its fate. Every move is an
//! entry of the audit log: the chain of custody.

use cofferdam_store::{AuditEntryRow, MediumRow};
use cofferdam_types::{Error, Result, Timestamp, TransferId};
use serde_json::json;

use crate::{Crossing, log};

const CUSTODY: &str = "medium.custody";
/// Entries of one medium that are shown at most: the newest.
pub const MOST_MOVES: usize = 1000;

/// Where a medium can be in its life.
pub const MEDIUM_STATES: [&str; 6] = ["written", "handed-over", "received", "returned", "destroyed", "lost"];

/// A change in the register.
#[derive(Clone, Debug, Default)]
pub struct MediumChange {
    /// Its serial number.
    pub serial: String,
    /// The transfer on it; as before when it is not given.
    pub transfer: Option<TransferId>,
    /// What is written on it; as before when it is not given.
    pub label: Option<String>,
    /// The files on it; as before when they are not given.
    pub files: Option<Vec<String>>,
    /// Who has it now.
    pub holder: String,
    /// One of [`MEDIUM_STATES`].
    pub state: String,
}

/// An entry of a medium's chain of custody, as the audit log has it.
#[derive(Clone, Debug)]
pub struct Custody {
    /// Its position in the log.
    pub index: u64,
    /// When.
    pub at: Timestamp,
    /// Who wrote it down.
    pub actor: String,
    /// The transfer on the medium from then on.
    pub transfer: TransferId,
    /// Who had it from then on.
    pub holder: String,
    /// Where it was from then on.
    pub state: String,
}

impl Crossing {
    /// Registers a medium, or says where it is now.
    ///
    /// # Errors
    /// `Invalid` for an unknown state or a serial number that is none; `NotFound` for an unknown transfer or
    /// a new medium without one; `Conflict` for a medium that was destroyed.
    pub async fn put_medium(&self, change: MediumChange, actor: &str) -> Result<MediumRow> {
        let serial = change.serial.trim().to_owned();
        if serial.is_empty() || serial.len() > 100 || serial.chars().any(char::is_control) {
            return Err(Error::invalid("serial", "a serial number has 1 to 100 characters"));
        }
        if !MEDIUM_STATES.contains(&change.state.as_str()) {
            return Err(Error::invalid("medium-state", format!("a medium cannot be `{}`", change.state))
                .hint(format!("states are {}", MEDIUM_STATES.join(", "))));
        }
        let mut tx = self.db().write().await?;
        let before = tx.carry().medium(&serial).await?;
        if before.as_ref().is_some_and(|m| m.state == "destroyed") {
            return Err(Error::conflict("medium-destroyed", format!("the medium {serial} was destroyed"))
                .hint("a new medium needs a serial number of its own"));
        }
        let transfer = change.transfer.or(before.as_ref().map(|m| m.transfer)).ok_or_else(|| {
            Error::not_found(format!("the medium {serial} is not in the register"))
                .hint("say which transfer is on it")
        })?;
        if tx.crossing().transfer(transfer).await?.is_none() {
            return Err(Error::not_found(format!("there is no transfer {transfer} at this site")));
        }
        let old = |part: fn(&MediumRow) -> String| before.as_ref().map(part).unwrap_or_default();
        let now = self.clock().now();
        let row = MediumRow {
            transfer,
            label: change.label.unwrap_or_else(|| old(|m| m.label.clone())),
            files: change.files.map_or_else(|| old(|m| m.files.clone()), |files| files.join("\n")),
            holder: change.holder,
            state: change.state,
            at: now,
            actor: actor.into(),
            serial,
        };
        tx.carry().put_medium(&row).await?;
        let detail = json!({
            "transfer": transfer, "holder": row.holder, "state": row.state, "files": row.files.lines().count(),
            "before": before.map(|m| json!({ "holder": m.holder, "state": m.state })),
        });
        log(&mut tx, actor, CUSTODY, &format!("medium:{}", row.serial), detail, now).await?;
        tx.commit().await?;
        Ok(row)
    }

    /// Every medium, by serial number.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn media(&self) -> Result<Vec<MediumRow>> {
        self.db().read().await?.carry().media().await
    }

    /// A medium.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn medium(&self, serial: &str) -> Result<MediumRow> {
        let found = self.db().read().await?.carry().medium(serial).await?;
        found.ok_or_else(|| Error::not_found(format!("the medium {serial} is not in the register")))
    }

    /// The chain of custody of a medium, oldest first: its newest [`MOST_MOVES`] entries.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn custody(&self, serial: &str) -> Result<Vec<Custody>> {
        let target = format!("medium:{serial}");
        let rows = self.db().read().await?.audit().by_target(&target, MOST_MOVES).await?;
        Ok(rows.into_iter().filter(|row| row.action == CUSTODY).map(custody).collect())
    }
}

fn custody(row: AuditEntryRow) -> Custody {
    let body: serde_json::Value = serde_json::from_str(&row.body).unwrap_or_default();
    let detail = &body["detail"];
    let text = |name: &str| detail[name].as_str().unwrap_or_default().to_owned();
    Custody {
        index: row.index,
        at: row.at,
        actor: row.actor,
        transfer: TransferId(detail["transfer"].as_i64().unwrap_or_default()),
        holder: text("holder"),
        state: text("state"),
    }
}
