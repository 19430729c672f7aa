//! Rows of recordings, transfers and trusted keys. What they mean is in the `crossing` crate.

use cofferdam_types::{Error, RecordingId, Result, Sha256, Timestamp, TransferId};

use crate::{
    Row, Tx,
    sql::{args, statements},
};

statements! {
    INSERT_RECORDING = "INSERT INTO recording (id, name, command, actor, state, started) VALUES ($1, $2, $3, $4, 'open', $5)";
    RECORDING = "SELECT id, name, command, actor, state, started, ended, exit_code, rehearsed, rehearsal_exit_code, statement
        FROM recording WHERE id = $1";
    RECORDING_BY_NAME = "SELECT id, name, command, actor, state, started, ended, exit_code, rehearsed, rehearsal_exit_code, statement
        FROM recording WHERE name = $1 ORDER BY id DESC LIMIT 1";
    RECORDINGS = "SELECT id, name, command, actor, state, started, ended, exit_code, rehearsed, rehearsal_exit_code, statement
        FROM recording WHERE id < $1 ORDER BY id DESC LIMIT $2";
    END_RECORDING = "UPDATE recording SET state = $2, ended = $3, exit_code = $4 WHERE id = $1";
    UNREHEARSE = "UPDATE recording SET state = 'recorded', statement = NULL
        WHERE id = $1 AND state IN ('rehearsed', 'incomplete')";
    END_REHEARSAL = "UPDATE recording SET state = $2, rehearsed = $3, rehearsal_exit_code = $4, statement = $5 WHERE id = $1";

    INSERT_TRANSFER = "INSERT INTO transfer (id, direction, stream, source, epoch, seq, header_sha256, digest, state, bytes, blobs, created, at, actor, suite, folder, outcome)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    TRANSFER = "SELECT id, direction, stream, source, epoch, seq, header_sha256, digest, state, bytes, blobs, created, at, actor, published, suite, folder, outcome
        FROM transfer WHERE id = $1";
    TRANSFERS = "SELECT id, direction, stream, source, epoch, seq, header_sha256, digest, state, bytes, blobs, created, at, actor, published, suite, folder, outcome
        FROM transfer WHERE id < $1 ORDER BY id DESC LIMIT $2";
    STREAM = "SELECT id, direction, stream, source, epoch, seq, header_sha256, digest, state, bytes, blobs, created, at, actor, published, suite, folder, outcome
        FROM transfer WHERE direction = $1 AND stream = $2 ORDER BY epoch, seq";
    SET_STATE = "UPDATE transfer SET state = $2, published = $3 WHERE id = $1 AND state = $4";
    INSERT_ITEM = "INSERT INTO transfer_item (transfer_id, n, kind, repository, format, package, version, purl, size, value, verdict)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    ITEMS = "SELECT n, kind, repository, format, package, version, purl, size, value, verdict FROM transfer_item
        WHERE transfer_id = $1 AND n >= $2 ORDER BY n LIMIT $3";
    ITEMS_OF = "SELECT n, kind, repository, format, package, version, purl, size, value, verdict FROM transfer_item
        WHERE transfer_id = $1 AND kind = $2 AND n >= $3 ORDER BY n LIMIT $4";
    REPOSITORIES_OF = "SELECT DISTINCT repository, format FROM transfer_item
        WHERE transfer_id = $1 AND kind = 'release' AND verdict = 'ok' ORDER BY repository, format";
    RELEASES_OF = "SELECT n, kind, repository, format, package, version, purl, size, value, verdict FROM transfer_item
        WHERE transfer_id = $1 AND kind = 'release' AND verdict = 'ok' AND repository = $2 AND n >= $3 ORDER BY n LIMIT $4";
    INSERT_BLOB = "INSERT INTO transfer_blob (transfer_id, sha256, size) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    TRUST = "INSERT INTO trusted_key (site, key, added, actor) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    TRUSTED = "SELECT site, key FROM trusted_key ORDER BY site, key";
    DISTRUST = "DELETE FROM trusted_key WHERE site = $1 AND key = $2";
}

/// A recorded build.
#[derive(Clone, Debug)]
pub struct RecordingRow {
    /// Its id.
    pub id: RecordingId,
    /// What people call it.
    pub name: String,
    /// The command that was recorded.
    pub command: String,
    /// Who recorded it.
    pub actor: String,
    /// `open`, `recorded`, `failed`, `rehearsed`, `incomplete` or `listed` (collected without running anything).
    pub state: String,
    /// When it began.
    pub started: Timestamp,
    /// When the command ended.
    pub ended: Option<Timestamp>,
    /// The command's exit code.
    pub exit_code: Option<i64>,
    /// When it was last rehearsed.
    pub rehearsed: Option<Timestamp>,
    /// The rehearsal's exit code.
    pub rehearsal_exit_code: Option<i64>,
    /// The signed rehearsal statement, as DSSE JSON.
    pub statement: Option<String>,
}

/// A transfer.
#[derive(Clone, Debug)]
pub struct TransferRow {
    /// Its id at this site.
    pub id: TransferId,
    /// `sent` or `received`.
    pub direction: String,
    /// The stream: source and destinations.
    pub stream: String,
    /// The site that wrote it.
    pub source: String,
    /// The stream's epoch.
    pub epoch: u32,
    /// The position in it.
    pub seq: u64,
    /// SHA-256 of its signed payload.
    pub header_sha256: Sha256,
    /// What people approve: header and verdicts together.
    pub digest: Sha256,
    /// `sent`, or `quarantined`, `refused`, `rejected`, `published`.
    pub state: String,
    /// Bytes on the medium.
    pub bytes: u64,
    /// Blobs carried.
    pub blobs: u64,
    /// When it was written.
    pub created: Timestamp,
    /// When it was sent or received here.
    pub at: Timestamp,
    /// Who sent or received it.
    pub actor: String,
    /// When it was published.
    pub published: Option<Timestamp>,
    /// How its bytes lie on the medium.
    pub suite: String,
    /// Where its folder was last seen from this site.
    pub folder: String,
    /// What the newest receipt says; empty when there is none.
    pub outcome: String,
}

/// One thing in a transfer.
#[derive(Clone, Debug, PartialEq)]
pub struct TransferItemRow {
    /// Position, from 0.
    pub n: u64,
    /// `release`, `git` or `statement`.
    pub kind: String,
    /// Repository or project.
    pub repository: String,
    /// Package format; empty for git and statements.
    pub format: String,
    /// Package key.
    pub package: String,
    /// Version.
    pub version: String,
    /// Package URL.
    pub purl: String,
    /// Bytes of its files.
    pub size: u64,
    /// The claim.
    pub value: Json,
    /// `ok`, or why it was refused.
    pub verdict: String,
}

/// JSON as it is stored: its text, which is a small part of what a parsed value takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Json(String);

impl Json {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The text as a value.
    ///
    /// # Errors
    /// `Internal` when it is not the JSON expected.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0).map_err(|e| Error::internal("a transfer's item", e))
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string())
    }
}

/// Rows of the crossing.
pub struct CrossingRows<'t>(pub(crate) &'t mut Tx);

impl CrossingRows<'_> {
    /// Begins a recording.
    ///
    /// # Errors
    /// `Internal` when the database fails; so for every method here.
    pub async fn insert_recording(
        &mut self,
        name: &str,
        command: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<RecordingId> {
        let id = self.0.next_id("recording").await?;
        self.0.execute(INSERT_RECORDING, args![id, name, command, actor, now]).await?;
        Ok(RecordingId(id))
    }

    /// A recording by id.
    pub async fn recording(&mut self, id: RecordingId) -> Result<Option<RecordingRow>> {
        self.0.optional(RECORDING, args![id]).await?.map(|row| recording(&row)).transpose()
    }

    /// The newest recording of a name.
    pub async fn recording_by_name(&mut self, name: &str) -> Result<Option<RecordingRow>> {
        self.0.optional(RECORDING_BY_NAME, args![name]).await?.map(|row| recording(&row)).transpose()
    }

    /// Recordings before `before`, newest first.
    pub async fn recordings(&mut self, before: i64, limit: usize) -> Result<Vec<RecordingRow>> {
        self.0.all(RECORDINGS, args![before, limit]).await?.iter().map(recording).collect()
    }

    /// Ends the recording itself.
    pub async fn end_recording(
        &mut self,
        id: RecordingId,
        state: &str,
        exit_code: i64,
        now: Timestamp,
    ) -> Result<()> {
        self.0.execute(END_RECORDING, args![id, state, now, exit_code]).await.map(drop)
    }

    /// What was rehearsed is only recorded again: its collection has changed.
    pub async fn unrehearse(&mut self, id: RecordingId) -> Result<()> {
        self.0.execute(UNREHEARSE, args![id]).await.map(drop)
    }

    /// Ends a rehearsal.
    pub async fn end_rehearsal(
        &mut self,
        id: RecordingId,
        state: &str,
        exit_code: i64,
        statement: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        self.0.execute(END_REHEARSAL, args![id, state, now, exit_code, statement]).await.map(drop)
    }

    /// Adds a transfer; the row's id is ignored and the new one returned.
    ///
    /// # Errors
    /// `Conflict` when the stream's position is taken.
    pub async fn insert_transfer(&mut self, t: &TransferRow) -> Result<TransferId> {
        let id = self.0.next_id("transfer").await?;
        let values = args![
            id,
            &t.direction,
            &t.stream,
            &t.source,
            t.epoch,
            t.seq,
            t.header_sha256,
            t.digest,
            &t.state,
            t.bytes,
            t.blobs,
            t.created,
            t.at,
            &t.actor,
            &t.suite,
            &t.folder,
            &t.outcome
        ];
        self.0.execute(INSERT_TRANSFER, values).await?;
        Ok(TransferId(id))
    }

    /// A transfer by id.
    pub async fn transfer(&mut self, id: TransferId) -> Result<Option<TransferRow>> {
        self.0.optional(TRANSFER, args![id]).await?.map(|row| transfer(&row)).transpose()
    }

    /// Transfers before `before`, newest first.
    pub async fn transfers(&mut self, before: i64, limit: usize) -> Result<Vec<TransferRow>> {
        self.0.all(TRANSFERS, args![before, limit]).await?.iter().map(transfer).collect()
    }

    /// Every transfer of a stream in one direction, in its order.
    pub async fn stream(&mut self, direction: &str, stream: &str) -> Result<Vec<TransferRow>> {
        self.0.all(STREAM, args![direction, stream]).await?.iter().map(transfer).collect()
    }

    /// Moves a transfer from one state to another; `false` when it was not in the first.
    pub async fn set_transfer_state(
        &mut self,
        id: TransferId,
        from: &str,
        to: &str,
        published: Option<Timestamp>,
    ) -> Result<bool> {
        Ok(self.0.execute(SET_STATE, args![id, to, published, from]).await? > 0)
    }

    /// Adds things of a transfer.
    pub async fn insert_items(&mut self, id: TransferId, items: &[TransferItemRow]) -> Result<()> {
        let row = |i: &TransferItemRow| {
            args![
                id,
                i.n,
                &i.kind,
                &i.repository,
                &i.format,
                &i.package,
                &i.version,
                &i.purl,
                i.size,
                i.value.text(),
                &i.verdict
            ]
        };
        // Page by page: the rows are copied, and there may be very many.
        for page in items.chunks(1000) {
            self.0.execute_many(INSERT_ITEM, page.iter().map(row).collect()).await?;
        }
        Ok(())
    }

    /// A page of a transfer's things.
    pub async fn items(&mut self, id: TransferId, from: u64, limit: usize) -> Result<Vec<TransferItemRow>> {
        self.0.all(ITEMS, args![id, from, limit]).await?.iter().map(item).collect()
    }

    /// A page of a transfer's things of one kind, from a position on.
    pub async fn items_of(
        &mut self,
        id: TransferId,
        kind: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<TransferItemRow>> {
        self.0.all(ITEMS_OF, args![id, kind, from, limit]).await?.iter().map(item).collect()
    }

    /// The repositories of a transfer's releases that passed inspection: name and format, by name.
    pub async fn repositories_of(&mut self, id: TransferId) -> Result<Vec<(String, String)>> {
        let rows = self.0.all(REPOSITORIES_OF, args![id]).await?;
        rows.iter().map(|row| Ok((row.text("repository")?, row.text("format")?))).collect()
    }

    /// A page of a transfer's releases of one repository that passed inspection, from a position on.
    pub async fn releases_of(
        &mut self,
        id: TransferId,
        repository: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<TransferItemRow>> {
        self.0.all(RELEASES_OF, args![id, repository, from, limit]).await?.iter().map(item).collect()
    }

    /// Notes carried blobs: digest and size each.
    pub async fn insert_blobs(
        &mut self,
        id: TransferId,
        blobs: impl IntoIterator<Item = (Sha256, u64)>,
    ) -> Result<()> {
        let rows = blobs.into_iter().map(|(sha256, size)| args![id, sha256, size]).collect();
        self.0.execute_many(INSERT_BLOB, rows).await.map(drop)
    }

    /// Believes a site's key.
    pub async fn trust(&mut self, site: &str, key: &str, actor: &str, now: Timestamp) -> Result<()> {
        self.0.execute(TRUST, args![site, key, now, actor]).await.map(drop)
    }

    /// Believes a site's key no more; whether it was believed.
    pub async fn distrust(&mut self, site: &str, key: &str) -> Result<bool> {
        Ok(self.0.execute(DISTRUST, args![site, key]).await? > 0)
    }

    /// Every believed key: `(site, key)`.
    pub async fn trusted(&mut self) -> Result<Vec<(String, String)>> {
        let rows = self.0.all(TRUSTED, args![]).await?;
        rows.iter().map(|row| Ok((row.text("site")?, row.text("key")?))).collect()
    }
}

fn recording(row: &Row) -> Result<RecordingRow> {
    Ok(RecordingRow {
        id: RecordingId(row.int("id")?),
        name: row.text("name")?,
        command: row.text("command")?,
        actor: row.text("actor")?,
        state: row.text("state")?,
        started: row.time("started")?,
        ended: row.opt_time("ended")?,
        exit_code: row.opt_int("exit_code")?,
        rehearsed: row.opt_time("rehearsed")?,
        rehearsal_exit_code: row.opt_int("rehearsal_exit_code")?,
        statement: row.opt_text("statement")?,
    })
}

fn transfer(row: &Row) -> Result<TransferRow> {
    Ok(TransferRow {
        id: TransferId(row.int("id")?),
        direction: row.text("direction")?,
        stream: row.text("stream")?,
        source: row.text("source")?,
        epoch: u32::try_from(row.int("epoch")?).unwrap_or(u32::MAX),
        seq: row.size("seq")?,
        header_sha256: row.sha256("header_sha256")?,
        digest: row.sha256("digest")?,
        state: row.text("state")?,
        bytes: row.size("bytes")?,
        blobs: row.size("blobs")?,
        created: row.time("created")?,
        at: row.time("at")?,
        actor: row.text("actor")?,
        published: row.opt_time("published")?,
        suite: row.text("suite")?,
        folder: row.text("folder")?,
        outcome: row.text("outcome")?,
    })
}

fn item(row: &Row) -> Result<TransferItemRow> {
    Ok(TransferItemRow {
        n: row.size("n")?,
        kind: row.text("kind")?,
        repository: row.text("repository")?,
        format: row.text("format")?,
        package: row.text("package")?,
        version: row.text("version")?,
        purl: row.text("purl")?,
        size: row.size("size")?,
        value: Json(row.text("value")?),
        verdict: row.text("verdict")?,
    })
}
