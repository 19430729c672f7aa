//! Rows of what a crossing needs to carry: other sites, receptions in progress, receipts, wants, media.
//! What they mean is in the `crossing` crate.

use cofferdam_types::{Result, Sha256, Timestamp, TransferId};

use crate::{
    Row, Tx,
    sql::{args, statements},
};

statements! {
    FLOOR = "SELECT at FROM time_floor WHERE name = $1";
    RAISE_FLOOR = "INSERT INTO time_floor (name, at) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET at = $2 WHERE time_floor.at < $2";

    ADD_RECIPIENT = "INSERT INTO site_recipient (site, recipient, added, actor) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    RECIPIENTS = "SELECT site, recipient FROM site_recipient ORDER BY site, recipient";
    ADD_ROOT = "INSERT INTO site_root (site, version, envelope, added, actor) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    ROOTS = "SELECT version, envelope FROM site_root WHERE site = $1 ORDER BY version";

    STAGE_GROUP = "INSERT INTO staged_group (header_sha256, first_pack) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    STAGED_GROUPS = "SELECT first_pack FROM staged_group WHERE header_sha256 = $1 ORDER BY first_pack";
    UNSTAGE = "DELETE FROM staged_group WHERE header_sha256 = $1";

    FREEZE = "INSERT INTO frozen_stream (stream, reason, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    FROZEN = "SELECT reason FROM frozen_stream WHERE stream = $1";
    FROZEN_STREAMS = "SELECT stream, reason, at FROM frozen_stream ORDER BY stream";
    THAW = "DELETE FROM frozen_stream WHERE stream = $1";

    INSERT_RECEIPT = "INSERT INTO receipt (id, direction, site, transfer_id, outcome, envelope, at, actor) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    RECEIPTS = "SELECT id, direction, site, transfer_id, outcome, envelope, at, actor FROM receipt WHERE transfer_id = $1 ORDER BY id";
    SET_OUTCOME = "UPDATE transfer SET outcome = $2 WHERE id = $1";

    WANT = "INSERT INTO want (id, site, format, package, version, asked, note, actor, state, first_at, last_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $9)
        ON CONFLICT (site, format, package, version) DO UPDATE SET asked = want.asked + $6, last_at = $9,
        note = CASE WHEN $7 = '' THEN want.note ELSE $7 END,
        state = CASE WHEN want.state = 'filled' THEN 'open' ELSE want.state END";
    SET_ASKED = "UPDATE want SET asked = $5 WHERE site = $1 AND format = $2 AND package = $3 AND version = $4";
    WANTS = "SELECT id, site, format, package, version, asked, note, actor, state, first_at, last_at FROM want WHERE id > $1 ORDER BY id LIMIT $2";
    OPEN_WANTS = "SELECT id, site, format, package, version, asked, note, actor, state, first_at, last_at FROM want
        WHERE site = $1 AND state IN ('open', 'sent') ORDER BY id LIMIT $2";
    SET_WANT = "UPDATE want SET state = $2 WHERE id = $1";
    UNFILLED_WANTS = "SELECT id, site, format, package, version, asked, note, actor, state, first_at, last_at FROM want
        WHERE site = $1 AND state <> 'filled' AND id > $2 ORDER BY id LIMIT $3";
    FILL_WANTS = "UPDATE want SET state = 'filled' WHERE id IN ($1)";

    PUT_MEDIUM = "INSERT INTO medium (serial, transfer_id, label, files, holder, state, at, actor) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (serial) DO UPDATE SET transfer_id = $2, label = $3, files = $4, holder = $5, state = $6, at = $7, actor = $8";
    MEDIUM = "SELECT serial, transfer_id, label, files, holder, state, at, actor FROM medium WHERE serial = $1";
    MEDIA = "SELECT serial, transfer_id, label, files, holder, state, at, actor FROM medium ORDER BY serial";

    HELD = "SELECT DISTINCT b.sha256 AS sha256, b.size AS size FROM transfer_blob b JOIN transfer t ON t.id = b.transfer_id
        WHERE t.direction = $1 AND t.stream = $2 AND t.outcome IN ('quarantined', 'published') ORDER BY 1";
    SENT_GIT = "SELECT t.outcome AS outcome, i.value AS value FROM transfer_item i JOIN transfer t ON t.id = i.transfer_id
        WHERE t.direction = 'sent' AND t.stream = $1 AND i.kind = 'git' AND i.repository = $2";
    LAST_RECEIPT = "SELECT r.envelope AS envelope FROM receipt r JOIN transfer t ON t.id = r.transfer_id
        WHERE t.direction = 'sent' AND t.stream = $1 AND r.envelope <> '' ORDER BY r.id DESC LIMIT 1";
    HELD_RELEASES = "SELECT i.value AS value FROM transfer_item i JOIN transfer t ON t.id = i.transfer_id
        WHERE t.direction = 'sent' AND t.stream = $1 AND t.outcome IN ('quarantined', 'published')
        AND i.kind = 'release' AND i.repository = $2 AND i.package = $3 ORDER BY t.id DESC, i.n DESC LIMIT 20";
}

/// A receipt that was given or taken.
#[derive(Clone, Debug)]
pub struct ReceiptRow {
    /// Its id at this site.
    pub id: i64,
    /// `given` or `taken`.
    pub direction: String,
    /// The site that signed it.
    pub site: String,
    /// The transfer it is about.
    pub transfer: TransferId,
    /// What became of the transfer.
    pub outcome: String,
    /// The signed statement as DSSE JSON; empty for one that came in its compact form.
    pub envelope: String,
    /// When it was signed.
    pub at: Timestamp,
    /// Who did so.
    pub actor: String,
}

/// Something that was asked for and is not here.
#[derive(Clone, Debug)]
pub struct WantRow {
    /// Its id at this site.
    pub id: i64,
    /// The site that wants it.
    pub site: String,
    /// Package format.
    pub format: String,
    /// Package, or the path that was asked for.
    pub package: String,
    /// Version; empty for any.
    pub version: String,
    /// How often it was asked for.
    pub asked: u64,
    /// Why.
    pub note: String,
    /// Who asked first.
    pub actor: String,
    /// `open`, `sent` or `filled`.
    pub state: String,
    /// When it was first asked for.
    pub first: Timestamp,
    /// When it was last asked for.
    pub last: Timestamp,
}

/// Something that is asked for now.
#[derive(Clone, Copy, Debug)]
pub struct NewWant<'a> {
    /// The site that wants it.
    pub site: &'a str,
    /// Package format.
    pub format: &'a str,
    /// Package.
    pub package: &'a str,
    /// Version; empty for any.
    pub version: &'a str,
    /// How often it was asked for.
    pub asked: u64,
    /// Why.
    pub note: &'a str,
    /// Who asks.
    pub actor: &'a str,
}

/// A medium.
#[derive(Clone, Debug)]
pub struct MediumRow {
    /// Its serial number.
    pub serial: String,
    /// The transfer on it.
    pub transfer: TransferId,
    /// What is written on it.
    pub label: String,
    /// The files on it, one a line.
    pub files: String,
    /// Who has it.
    pub holder: String,
    /// `written`, `handed-over`, `received`, `returned`, `destroyed` or `lost`.
    pub state: String,
    /// Since when.
    pub at: Timestamp,
    /// Who said so.
    pub actor: String,
}

/// Rows of what is carried.
pub struct CarryRows<'t>(pub(crate) &'t mut Tx);

impl CarryRows<'_> {
    /// The time behind which this site never goes back.
    ///
    /// # Errors
    /// `Internal` when the database fails; so for every method here.
    pub async fn time_floor(&mut self) -> Result<Option<Timestamp>> {
        self.0.optional(FLOOR, args!["headers"]).await?.map(|row| row.time("at")).transpose()
    }

    /// Raises it; it never sinks.
    pub async fn raise_time_floor(&mut self, at: Timestamp) -> Result<()> {
        self.0.execute(RAISE_FLOOR, args!["headers", at]).await.map(drop)
    }

    /// Seals transfers for a site to this recipient.
    pub async fn add_recipient(
        &mut self,
        site: &str,
        recipient: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.0.execute(ADD_RECIPIENT, args![site, recipient, now, actor]).await.map(drop)
    }

    /// Every other site's recipients: `(site, recipient)`.
    pub async fn recipients(&mut self) -> Result<Vec<(String, String)>> {
        let rows = self.0.all(RECIPIENTS, args![]).await?;
        rows.iter().map(|row| Ok((row.text("site")?, row.text("recipient")?))).collect()
    }

    /// Keeps a root that was believed.
    pub async fn add_root(
        &mut self,
        site: &str,
        version: u64,
        envelope: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.0.execute(ADD_ROOT, args![site, version, envelope, now, actor]).await.map(drop)
    }

    /// The roots of a site, oldest first: version and envelope.
    pub async fn roots(&mut self, site: &str) -> Result<Vec<(u64, String)>> {
        let rows = self.0.all(ROOTS, args![site]).await?;
        rows.iter().map(|row| Ok((row.size("version")?, row.text("envelope")?))).collect()
    }

    /// Remembers that the blobs of a group are here.
    pub async fn stage_group(&mut self, header: &Sha256, first_pack: u32) -> Result<()> {
        self.0.execute(STAGE_GROUP, args![header, first_pack]).await.map(drop)
    }

    /// The groups that are here, ascending.
    pub async fn staged_groups(&mut self, header: &Sha256) -> Result<Vec<u32>> {
        let rows = self.0.all(STAGED_GROUPS, args![header]).await?;
        rows.iter().map(|row| Ok(u32::try_from(row.int("first_pack")?).unwrap_or(u32::MAX))).collect()
    }

    /// Forgets a reception in progress.
    pub async fn unstage(&mut self, header: &Sha256) -> Result<()> {
        self.0.execute(UNSTAGE, args![header]).await.map(drop)
    }

    /// Takes nothing more from a stream.
    pub async fn freeze(&mut self, stream: &str, reason: &str, now: Timestamp) -> Result<()> {
        self.0.execute(FREEZE, args![stream, reason, now]).await.map(drop)
    }

    /// Why nothing is taken from a stream, if so.
    pub async fn frozen(&mut self, stream: &str) -> Result<Option<String>> {
        self.0.optional(FROZEN, args![stream]).await?.map(|row| row.text("reason")).transpose()
    }

    /// Every frozen stream: name, reason, since when.
    pub async fn frozen_streams(&mut self) -> Result<Vec<(String, String, Timestamp)>> {
        let rows = self.0.all(FROZEN_STREAMS, args![]).await?;
        rows.iter().map(|row| Ok((row.text("stream")?, row.text("reason")?, row.time("at")?))).collect()
    }

    /// Takes from a stream again; `false` when it was not frozen.
    pub async fn thaw(&mut self, stream: &str) -> Result<bool> {
        Ok(self.0.execute(THAW, args![stream]).await? > 0)
    }

    /// Adds a receipt; its id is ignored and the new one returned.
    pub async fn insert_receipt(&mut self, r: &ReceiptRow) -> Result<i64> {
        let id = self.0.next_id("receipt").await?;
        let values = args![id, &r.direction, &r.site, r.transfer.0, &r.outcome, &r.envelope, r.at, &r.actor];
        self.0.execute(INSERT_RECEIPT, values).await?;
        Ok(id)
    }

    /// The receipts about a transfer, oldest first.
    pub async fn receipts(&mut self, transfer: TransferId) -> Result<Vec<ReceiptRow>> {
        self.0.all(RECEIPTS, args![transfer.0]).await?.iter().map(receipt).collect()
    }

    /// The newest receipt about a stream that came as a signed statement.
    pub async fn last_receipt(&mut self, stream: &str) -> Result<Option<String>> {
        self.0.optional(LAST_RECEIPT, args![stream]).await?.map(|row| row.text("envelope")).transpose()
    }

    /// What the receiver says of a sent transfer, or we of a received one.
    pub async fn set_outcome(&mut self, transfer: TransferId, outcome: &str) -> Result<()> {
        self.0.execute(SET_OUTCOME, args![transfer.0, outcome]).await.map(drop)
    }

    /// Notes a want. One that is known is counted, and is open again when it had been filled.
    pub async fn want(&mut self, w: NewWant<'_>, now: Timestamp) -> Result<()> {
        let id = self.0.next_id("want").await?;
        let values = args![id, w.site, w.format, w.package, w.version, w.asked, w.note, w.actor, now];
        self.0.execute(WANT, values).await.map(drop)
    }

    /// Notes another site's want, which counts for itself how often it was asked for.
    pub async fn want_elsewhere(&mut self, w: NewWant<'_>, now: Timestamp) -> Result<()> {
        self.want(NewWant { asked: 0, ..w }, now).await?;
        self.0.execute(SET_ASKED, args![w.site, w.format, w.package, w.version, w.asked]).await.map(drop)
    }

    /// What a site wants and has not got, oldest first.
    pub async fn open_wants(&mut self, site: &str, limit: usize) -> Result<Vec<WantRow>> {
        self.0.all(OPEN_WANTS, args![site, limit]).await?.iter().map(want).collect()
    }

    /// A page of wants after an id.
    pub async fn wants(&mut self, after: i64, limit: usize) -> Result<Vec<WantRow>> {
        self.0.all(WANTS, args![after, limit]).await?.iter().map(want).collect()
    }

    /// Moves a want on.
    pub async fn set_want(&mut self, id: i64, state: &str) -> Result<()> {
        self.0.execute(SET_WANT, args![id, state]).await.map(drop)
    }

    /// A page of what a site wants and was not given, after an id.
    pub async fn unfilled_wants(&mut self, site: &str, after: i64, limit: usize) -> Result<Vec<WantRow>> {
        self.0.all(UNFILLED_WANTS, args![site, after, limit]).await?.iter().map(want).collect()
    }

    /// What was wanted is here.
    pub async fn fill_wants(&mut self, wants: &[i64]) -> Result<()> {
        let wants = wants.iter().map(|id| (*id).into()).collect();
        self.0.execute_in(FILL_WANTS, &[], wants).await.map(drop)
    }

    /// Registers a medium, or where it is now.
    pub async fn put_medium(&mut self, m: &MediumRow) -> Result<()> {
        let values = args![&m.serial, m.transfer.0, &m.label, &m.files, &m.holder, &m.state, m.at, &m.actor];
        self.0.execute(PUT_MEDIUM, values).await.map(drop)
    }

    /// A medium.
    pub async fn medium(&mut self, serial: &str) -> Result<Option<MediumRow>> {
        self.0.optional(MEDIUM, args![serial]).await?.map(|row| medium(&row)).transpose()
    }

    /// Every medium.
    pub async fn media(&mut self) -> Result<Vec<MediumRow>> {
        self.0.all(MEDIA, args![]).await?.iter().map(medium).collect()
    }

    /// Blobs of a stream whose arrival is proved (`sent`) or was confirmed (`received`), ascending.
    pub async fn held(&mut self, direction: &str, stream: &str) -> Result<Vec<(Sha256, u64)>> {
        let rows = self.0.all(HELD, args![direction, stream]).await?;
        rows.iter().map(|row| Ok((row.sha256("sha256")?, row.size("size")?))).collect()
    }

    /// The claims of a package's releases that the receiver has proved to hold, newest first.
    pub async fn held_releases(
        &mut self,
        stream: &str,
        repository: &str,
        package: &str,
    ) -> Result<Vec<serde_json::Value>> {
        let rows = self.0.all(HELD_RELEASES, args![stream, repository, package]).await?;
        rows.iter().map(|row| row.json("value")).collect()
    }

    /// The references of a project's bundles that were sent, each with what became of its transfer.
    pub async fn sent_git(
        &mut self,
        stream: &str,
        project: &str,
    ) -> Result<Vec<(String, serde_json::Value)>> {
        let rows = self.0.all(SENT_GIT, args![stream, project]).await?;
        rows.iter().map(|row| Ok((row.text("outcome")?, row.json("value")?))).collect()
    }
}

fn receipt(row: &Row) -> Result<ReceiptRow> {
    Ok(ReceiptRow {
        id: row.int("id")?,
        direction: row.text("direction")?,
        site: row.text("site")?,
        transfer: TransferId(row.int("transfer_id")?),
        outcome: row.text("outcome")?,
        envelope: row.text("envelope")?,
        at: row.time("at")?,
        actor: row.text("actor")?,
    })
}

fn want(row: &Row) -> Result<WantRow> {
    Ok(WantRow {
        id: row.int("id")?,
        site: row.text("site")?,
        format: row.text("format")?,
        package: row.text("package")?,
        version: row.text("version")?,
        asked: row.size("asked")?,
        note: row.text("note")?,
        actor: row.text("actor")?,
        state: row.text("state")?,
        first: row.time("first_at")?,
        last: row.time("last_at")?,
    })
}

fn medium(row: &Row) -> Result<MediumRow> {
    Ok(MediumRow {
        serial: row.text("serial")?,
        transfer: TransferId(row.int("transfer_id")?),
        label: row.text("label")?,
        files: row.text("files")?,
        holder: row.text("holder")?,
        state: row.text("state")?,
        at: row.time("at")?,
        actor: row.text("actor")?,
    })
}
