//! Rows of a crossing's paperwork: what is wanted, and the register of media. What they mean is in the `crossing`
//! crate, which alone may decide when a want or a medium moves on.

use cofferdam_types::{Result, Timestamp, TransferId};

use crate::{
    CarryRows, Row,
    sql::{args, statements},
};

statements! {
    WANT = "INSERT INTO want (id, site, format, package, version, asked, note, actor, state, first_at, last_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $9)
        ON CONFLICT (site, format, package, version) DO UPDATE SET asked = want.asked + $6, last_at = $9,
        note = CASE WHEN $7 = '' THEN want.note ELSE $7 END,
        transfer_id = CASE WHEN want.state = 'filled' THEN 0 ELSE want.transfer_id END,
        state = CASE WHEN want.state = 'filled' THEN 'open' ELSE want.state END";
    /// Older than what is known: nothing changes. No newer than the receipt that says it is there: it is not missed again.
    WANT_ELSEWHERE = "INSERT INTO want (id, site, format, package, version, asked, note, actor, state, first_at, last_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'open', $9, $9)
        ON CONFLICT (site, format, package, version) DO UPDATE SET
        asked = CASE WHEN $9 < want.last_at THEN want.asked ELSE $6 END,
        note = CASE WHEN $9 < want.last_at OR $7 = '' THEN want.note ELSE $7 END,
        transfer_id = CASE WHEN want.state = 'filled' AND $9 > want.last_at AND NOT EXISTS (SELECT 1 FROM receipt r
            WHERE r.transfer_id = want.transfer_id AND r.site = want.site AND r.direction = 'taken' AND r.at >= $9)
            THEN 0 ELSE want.transfer_id END,
        state = CASE WHEN want.state = 'filled' AND $9 > want.last_at AND NOT EXISTS (SELECT 1 FROM receipt r
            WHERE r.transfer_id = want.transfer_id AND r.site = want.site AND r.direction = 'taken' AND r.at >= $9)
            THEN 'open' ELSE want.state END,
        last_at = CASE WHEN $9 > want.last_at THEN $9 ELSE want.last_at END";
    WANTS = "SELECT id, site, format, package, version, asked, note, actor, state, first_at, last_at, transfer_id FROM want
        WHERE id > $1 ORDER BY id LIMIT $2";
    NEWEST_WANTS = "SELECT id, site, format, package, version, asked, note, actor, state, first_at, last_at, transfer_id FROM want
        WHERE id < $1 AND (state = $2 OR $2 = '') AND (site = $3 OR $3 = '') ORDER BY id DESC LIMIT $4";
    OPEN_WANTS = "SELECT id, site, format, package, version, asked, note, actor, state, first_at, last_at, transfer_id FROM want
        WHERE site = $1 AND state IN ('open', 'sent') ORDER BY id LIMIT $2";
    UNFILLED_WANTS = "SELECT id, site, format, package, version, asked, note, actor, state, first_at, last_at, transfer_id FROM want
        WHERE site = $1 AND state <> 'filled' AND id > $2 ORDER BY id LIMIT $3";
    MOVE_WANTS = "UPDATE want SET state = $1, transfer_id = $2 WHERE id IN ($3)";
    ARRIVED_WANTS = "UPDATE want SET state = 'filled' WHERE site = $1 AND transfer_id = $2 AND state = 'packed'";
    REOPEN_WANTS = "UPDATE want SET state = 'open', transfer_id = 0 WHERE site = $1 AND transfer_id = $2 AND state = 'packed'";

    PUT_MEDIUM = "INSERT INTO medium (serial, transfer_id, label, files, holder, state, at, actor) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (serial) DO UPDATE SET transfer_id = $2, label = $3, files = $4, holder = $5, state = $6, at = $7, actor = $8";
    MEDIUM = "SELECT serial, transfer_id, label, files, holder, state, at, actor FROM medium WHERE serial = $1";
    MEDIA = "SELECT serial, transfer_id, label, files, holder, state, at, actor FROM medium ORDER BY serial";
    MEDIA_PAGE = "SELECT serial, transfer_id, label, files, holder, state, at, actor FROM medium
        WHERE serial > $1 AND (state = $2 OR $2 = '') AND (transfer_id = $3 OR $3 = 0) ORDER BY serial LIMIT $4";
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
    /// `open`; `sent` to the connected site; `packed` for the site that wants it; `filled`.
    pub state: String,
    /// When it was first asked for.
    pub first: Timestamp,
    /// When it was last asked for.
    pub last: Timestamp,
    /// The transfer that carries it, once it is packed or filled.
    pub transfer: Option<TransferId>,
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

impl CarryRows<'_> {
    /// Notes a want. One that is known is counted, and is open again when it had been filled.
    ///
    /// # Errors
    /// `Internal` when the database fails; so for every method here.
    pub async fn want(&mut self, w: NewWant<'_>, now: Timestamp) -> Result<()> {
        self.put_want(WANT, w, now).await
    }

    /// Notes another site's want, which counts for itself how often it was asked for: as it stood there `at` that time.
    /// One that was filled is open again only when the site asks later than it asked before, and later than it said by a
    /// receipt that it has it.
    pub async fn want_elsewhere(&mut self, w: NewWant<'_>, at: Timestamp) -> Result<()> {
        self.put_want(WANT_ELSEWHERE, w, at).await
    }

    async fn put_want(&mut self, sql: &'static str, w: NewWant<'_>, at: Timestamp) -> Result<()> {
        let id = self.0.next_id("want").await?;
        let values = args![id, w.site, w.format, w.package, w.version, w.asked, w.note, w.actor, at];
        self.0.execute(sql, values).await.map(drop)
    }

    /// What a site wants and has not got, oldest first.
    pub async fn open_wants(&mut self, site: &str, limit: usize) -> Result<Vec<WantRow>> {
        self.0.all(OPEN_WANTS, args![site, limit]).await?.iter().map(want).collect()
    }

    /// A page of wants after an id.
    pub async fn wants(&mut self, after: i64, limit: usize) -> Result<Vec<WantRow>> {
        self.0.all(WANTS, args![after, limit]).await?.iter().map(want).collect()
    }

    /// Wants before an id, newest first: of one state and one site, or of any where the word is empty.
    pub async fn newest_wants(
        &mut self,
        before: i64,
        state: &str,
        site: &str,
        limit: usize,
    ) -> Result<Vec<WantRow>> {
        self.0.all(NEWEST_WANTS, args![before, state, site, limit]).await?.iter().map(want).collect()
    }

    /// A page of what a site wants and has not got, sent or packed or not, after an id.
    pub async fn unfilled_wants(&mut self, site: &str, after: i64, limit: usize) -> Result<Vec<WantRow>> {
        self.0.all(UNFILLED_WANTS, args![site, after, limit]).await?.iter().map(want).collect()
    }

    /// What was wanted is `packed` into a transfer, or `filled` by it; or `sent` on, by none yet (0). How many wants
    /// that are.
    pub async fn move_wants(&mut self, wants: &[i64], state: &str, transfer: TransferId) -> Result<u64> {
        let wants = wants.iter().map(|id| (*id).into()).collect();
        self.0.execute_in(MOVE_WANTS, &[state.into(), transfer.0.into()], wants).await
    }

    /// The site has what was packed for it into `transfer`.
    pub async fn arrived_wants(&mut self, site: &str, transfer: TransferId) -> Result<u64> {
        self.0.execute(ARRIVED_WANTS, args![site, transfer.0]).await
    }

    /// The site has not got what was packed for it into `transfer`, and will not get it by that.
    pub async fn reopen_wants(&mut self, site: &str, transfer: TransferId) -> Result<u64> {
        self.0.execute(REOPEN_WANTS, args![site, transfer.0]).await
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

    /// A page of media after a serial number: in one state and with one transfer, or any where it is empty or `None`.
    pub async fn media_page(
        &mut self,
        after: &str,
        state: &str,
        transfer: Option<TransferId>,
        limit: usize,
    ) -> Result<Vec<MediumRow>> {
        let transfer = transfer.map_or(0, |id| id.0);
        self.0.all(MEDIA_PAGE, args![after, state, transfer, limit]).await?.iter().map(medium).collect()
    }
}

fn want(row: &Row) -> Result<WantRow> {
    let transfer = row.int("transfer_id")?;
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
        transfer: (transfer != 0).then_some(TransferId(transfer)),
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
