//! Rows beside a recording: what its machine says of it, and what people decided about its items.

use cofferdam_types::{RecordingId, Result, Timestamp};

use crate::{
    Row, Tx,
    sql::{args, statements},
};

statements! {
    PUT_PAPER = "INSERT INTO recording_paper (recording_id, kind, body) VALUES ($1, $2, $3)
        ON CONFLICT (recording_id, kind) DO UPDATE SET body = $3";
    PAPER = "SELECT body FROM recording_paper WHERE recording_id = $1 AND kind = $2";
    PUT_RULE = "INSERT INTO collection_rule (recording_id, purl, kind, reason, actor, at) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (recording_id, purl) DO UPDATE SET kind = $3, reason = $4, actor = $5, at = $6";
    DROP_RULE = "DELETE FROM collection_rule WHERE recording_id = $1 AND purl = $2";
    RULES = "SELECT purl, kind, reason, actor, at FROM collection_rule WHERE recording_id = $1 ORDER BY purl";
    RULE = "SELECT purl, kind, reason, actor, at FROM collection_rule WHERE recording_id = $1 AND purl = $2";
}

/// What people decided about an item of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRow {
    /// The item's package URL.
    pub purl: String,
    /// `exclude` or `pin`.
    pub kind: String,
    /// Why, in their words.
    pub reason: String,
    /// Who.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

/// Rows beside recordings.
pub struct CollectionRows<'t>(pub(crate) &'t mut Tx);

impl CollectionRows<'_> {
    /// Keeps what a recording's machine says, in place of what it said before.
    ///
    /// # Errors
    /// `Internal` when the database fails; so for every method here.
    pub async fn put_paper(&mut self, id: RecordingId, kind: &str, body: &str) -> Result<()> {
        self.0.execute(PUT_PAPER, args![id, kind, body]).await.map(drop)
    }

    /// What a recording's machine said.
    pub async fn paper(&mut self, id: RecordingId, kind: &str) -> Result<Option<String>> {
        self.0.optional(PAPER, args![id, kind]).await?.map(|row| row.text("body")).transpose()
    }

    /// Decides about an item, in place of what was decided before.
    pub async fn put_rule(&mut self, id: RecordingId, rule: &RuleRow) -> Result<()> {
        let values = args![id, &rule.purl, &rule.kind, &rule.reason, &rule.actor, rule.at];
        self.0.execute(PUT_RULE, values).await.map(drop)
    }

    /// Takes a decision back; `false` when there was none.
    pub async fn drop_rule(&mut self, id: RecordingId, purl: &str) -> Result<bool> {
        Ok(self.0.execute(DROP_RULE, args![id, purl]).await? > 0)
    }

    /// Every decision about a recording's items, by package URL.
    pub async fn rules(&mut self, id: RecordingId) -> Result<Vec<RuleRow>> {
        self.0.all(RULES, args![id]).await?.iter().map(rule).collect()
    }

    /// The decision about one item of a recording.
    pub async fn rule(&mut self, id: RecordingId, purl: &str) -> Result<Option<RuleRow>> {
        self.0.optional(RULE, args![id, purl]).await?.as_ref().map(rule).transpose()
    }
}

fn rule(row: &Row) -> Result<RuleRow> {
    Ok(RuleRow {
        purl: row.text("purl")?,
        kind: row.text("kind")?,
        reason: row.text("reason")?,
        actor: row.text("actor")?,
        at: row.time("at")?,
    })
}
