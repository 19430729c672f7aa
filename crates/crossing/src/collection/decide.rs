//! What people decide about the items of a collection: take one out, or keep it at its version, for a reason.
//!
//! A decision changes no bytes; taking something out makes the rehearsal worth nothing, so it must be rehearsed again.

use cofferdam_store::RuleRow;
use cofferdam_types::{Error, RecordingId, Result};
use serde_json::json;

use super::Collection;
use crate::{Crossing, log};

/// Bytes of a reason, at most.
const LONGEST_REASON: usize = 500;

impl Crossing {
    /// Takes an item out of a recording's collection (`exclude`), or keeps it at its version (`pin`), for a reason.
    /// Without a decision, what was decided is taken back.
    ///
    /// # Errors
    /// `NotFound` when the collection has no such item; `Invalid` for another kind or without a reason.
    pub async fn decide_item(
        &self,
        id: RecordingId,
        purl: &str,
        decision: Option<(&str, &str)>,
        actor: &str,
    ) -> Result<()> {
        let collection = self.collection(id).await?;
        let known = self.known_as(id, &collection, purl).await?;
        let purl = known.as_deref().unwrap_or(purl);
        let gone = collection.excluded.iter().any(|item| item.purl == purl);
        if !gone && !collection.items.iter().any(|item| item.purl == purl) {
            return Err(Error::not_found(format!("`{}` has no item {purl}", collection.name))
                .hint(format!("`cofferdam collect {}` lists its package URLs", collection.name)));
        }
        let rule = decision.map(|(kind, reason)| self.rule(purl, kind, reason.trim(), actor)).transpose()?;
        let excludes = rule.as_ref().is_some_and(|rule| rule.kind == "exclude");
        let mut tx = self.db().write().await?;
        match &rule {
            Some(rule) => tx.collections().put_rule(id, rule).await?,
            None => drop(tx.collections().drop_rule(id, purl).await?),
        }
        if excludes != gone {
            // The statement speaks of another collection now.
            tx.crossing().unrehearse(id).await?;
        }
        let (kind, reason) = decision.unwrap_or(("none", ""));
        let detail = json!({ "purl": purl, "decision": kind, "reason": reason });
        log(&mut tx, actor, "collection.decide", &format!("recording:{id}"), detail, self.clock().now())
            .await?;
        tx.commit().await
    }

    /// The package URL of the one item that is known as another.
    async fn known_as(&self, id: RecordingId, collection: &Collection, purl: &str) -> Result<Option<String>> {
        if collection.items.iter().any(|item| item.purl == purl) {
            return Ok(None);
        }
        let described = self.described_collection(id).await?;
        let known = described.items.into_iter().filter(|item| item.known_as.as_deref() == Some(purl));
        let known: Vec<String> = known.map(|item| item.purl).collect();
        match known.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            many => Err(Error::conflict("several-items", format!("{} items are {purl}", many.len()))
                .hint(format!("name one of them: {}", many.join(", ")))),
        }
    }

    fn rule(&self, purl: &str, kind: &str, reason: &str, actor: &str) -> Result<RuleRow> {
        let bad = |text: String| Err(Error::invalid("bad-decision", text));
        if !["exclude", "pin"].contains(&kind) {
            return bad(format!("an item is excluded or pinned; `{kind}` is neither"));
        }
        if reason.is_empty() || reason.len() > LONGEST_REASON {
            return bad(format!("to {kind} {purl}, give a reason of at most {LONGEST_REASON} bytes"));
        }
        let (purl, kind, reason) = (purl.to_owned(), kind.to_owned(), reason.to_owned());
        Ok(RuleRow { purl, kind, reason, actor: actor.to_owned(), at: self.clock().now() })
    }
}
