//! What advisories say of a recording's items, kept beside it: the machine that read the feeds compares, the site keeps what it
//! was told with the data's names and ages, and says of every item that nobody compared that it is not judged.
//!
//! Nothing here compares versions or reads a feed, and nothing is ever called safe.

use std::collections::BTreeSet;

use cofferdam_types::{RecordingId, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Crossing, log, record::paper};

/// The kind of the paper.
const JUDGED: &str = "judged";

/// What advisories say of one recording's items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Judgement {
    /// When the site was told. None: nobody has compared anything.
    pub at: Option<Timestamp>,
    /// Who told it.
    pub by: String,
    /// The data that it was made with.
    pub feeds: Vec<FeedRead>,
    /// Updates that left an advisory's range, worst first.
    pub security: Vec<SecurityFix>,
    /// Items that an advisory is about, worst first.
    pub affected: Vec<Affected>,
    /// Items that could not be compared, with reasons.
    pub not_judged: Vec<NotJudged>,
    /// Package URLs of all items that were looked at.
    pub judged: Vec<String>,
}

/// A feed that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FeedRead {
    /// Its address or path.
    pub feed: String,
    /// Advisories that count.
    pub advisories: u64,
    /// When the newest of its advisories was changed, as it says: how old the data is at least.
    pub newest: String,
    /// Records that could not be read.
    pub unread: u64,
}

/// An advisory, as people are told of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Advisory {
    /// Its id.
    pub id: String,
    /// What else it is called.
    pub aliases: Vec<String>,
    /// In a line.
    pub summary: String,
    /// The word for how bad it is.
    pub severity: String,
    /// The CVSS 3 base score, where there is one.
    pub score: Option<f64>,
    /// The vector as the advisory writes it.
    pub vector: Option<String>,
    /// The feed that it is from.
    pub source: String,
}

/// An item that an advisory is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Affected {
    /// The item's package URL.
    pub purl: String,
    /// The release that it was judged as, where it was recorded by address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Whether only its description was fetched (`go.mod`, a POM), which clients do of many that they do not use.
    pub describes: bool,
    /// The advisory.
    #[serde(flatten)]
    pub advisory: Advisory,
    /// Fixed versions above this one, oldest first.
    pub fixed: Vec<String>,
    /// The oldest fixed version that is in no other range.
    pub fix: Option<String>,
}

/// An update that left an advisory's range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityFix {
    /// The package URL without a version.
    pub package: String,
    /// The version before.
    pub from: String,
    /// The versions now.
    pub to: Vec<String>,
    /// The advisory.
    #[serde(flatten)]
    pub advisory: Advisory,
}

/// An item that was not judged, or not by all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NotJudged {
    /// Its package URL.
    pub purl: String,
    /// Why: a reason each.
    pub why: Vec<String>,
}

impl Judgement {
    /// What holds of a collection as it is now: what was taken out is not told, and what came after is not judged.
    fn of(mut self, name: &str, purls: &BTreeSet<&str>) -> Self {
        let judged: BTreeSet<String> = std::mem::take(&mut self.judged).into_iter().collect();
        self.affected.retain(|one| purls.contains(one.purl.as_str()));
        self.not_judged.retain(|one| purls.contains(one.purl.as_str()));
        let why = if self.at.is_some() {
            "it was not there when the others were compared with advisories"
        } else {
            "nobody has compared it with advisories"
        };
        let why = format!("{why}: `cofferdam collect {name} --advisories FEED`");
        let new = purls.iter().filter(|purl| !judged.contains(**purl));
        self.not_judged
            .extend(new.map(|purl| NotJudged { purl: (*purl).to_owned(), why: vec![why.clone()] }));
        self.judged = judged.into_iter().filter(|purl| purls.contains(purl.as_str())).collect();
        self
    }
}

impl Crossing {
    /// Keeps what advisories say of a recording's items, in place of what they said before.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording; `TooLarge` for more than a paper may have.
    pub async fn keep_judgement(&self, id: RecordingId, mut told: Judgement, actor: &str) -> Result<()> {
        self.recording(id).await?;
        let now = self.clock().now();
        (told.at, told.by) = (Some(now), actor.to_owned());
        let text = paper(&told)?;
        let feeds: Vec<&str> = told.feeds.iter().map(|feed| feed.feed.as_str()).collect();
        let detail = json!({
            "feeds": feeds, "affected": told.affected.len(), "security": told.security.len(),
            "not_judged": told.not_judged.len(), "judged": told.judged.len(),
        });
        let mut tx = self.db().write().await?;
        tx.collections().put_paper(id, JUDGED, &text).await?;
        log(&mut tx, actor, "recording.judge", &format!("recording:{id}"), detail, now).await?;
        tx.commit().await
    }

    /// What advisories say of a recording's items as they are now. Every item is affected, or not judged, or in `judged` alone.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording.
    pub async fn judgement(&self, id: RecordingId) -> Result<Judgement> {
        let collection = self.collection(id).await?;
        let told: Judgement = self.paper(id, JUDGED).await?.unwrap_or_default();
        let purls = collection.items.iter().map(|item| item.purl.as_str()).collect();
        Ok(told.of(&collection.name, &purls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_compared_is_not_judged_and_what_was_taken_out_is_not_told() {
        let purls = BTreeSet::from(["pkg:npm/a@1", "pkg:npm/b@1"]);
        let none = Judgement::default().of("boat", &purls);
        assert_eq!(none.not_judged.len(), 2);
        assert!(none.not_judged[0].why[0].contains("collect boat --advisories"), "{none:?}");
        let about = |purl: &str| Affected { purl: purl.into(), ..Affected::default() };
        let told = Judgement {
            at: Some(Timestamp(1)),
            affected: vec![about("pkg:npm/gone@1"), about("pkg:npm/a@1")],
            judged: vec!["pkg:npm/a@1".into(), "pkg:npm/gone@1".into()],
            ..Judgement::default()
        };
        let now = told.of("boat", &purls);
        assert_eq!(now.affected, [about("pkg:npm/a@1")]);
        assert_eq!(now.not_judged.iter().map(|n| n.purl.as_str()).collect::<Vec<_>>(), ["pkg:npm/b@1"]);
        assert_eq!(now.judged, ["pkg:npm/a@1"]);
    }
}
