//! What of a collection each destination has not got yet, as far as its receipts prove.
//!
//! Tells only: what travels is planned by `pack`, from the same receipts.

use std::collections::{BTreeSet, HashSet};

use cofferdam_format_kit::View as _;
use cofferdam_types::{PackageUrl, RecordingId, Result, Sha256};
use serde::Serialize;

use super::CollectionItem;
use crate::Crossing;

/// What a destination has not got yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct News {
    /// The stream to it: source and destinations.
    pub stream: String,
    /// Package URLs of releases of which it lacks a file.
    pub purls: Vec<String>,
    /// Other releases of the same packages of which it proved to hold a file.
    pub there: Vec<String>,
    /// The files that it lacks.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Crossing {
    /// What of a recording's collection each stream's receivers have not proved to hold.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording.
    pub async fn news(&self, id: RecordingId) -> Result<Vec<News>> {
        let collection = self.collection(id).await?;
        let mut out = Vec::new();
        for stream in self.sent_streams().await? {
            let held = self.db().read().await?.carry().held("sent", &stream).await?;
            let held: HashSet<Sha256> = held.into_iter().map(|(sha256, _)| sha256).collect();
            let mut news = News { stream, purls: Vec::new(), there: Vec::new(), files: 0, bytes: 0 };
            for item in &collection.items {
                let before = news.files;
                for file in item.files.iter().filter(|file| !held.contains(&file.sha256)) {
                    (news.files, news.bytes) = (news.files + 1, news.bytes + file.size);
                }
                if news.files > before {
                    news.purls.push(item.purl.clone());
                    news.there.extend(self.older(item, &held).await?);
                }
            }
            news.there.sort();
            news.there.dedup();
            out.push(news);
        }
        Ok(out)
    }

    /// The other releases of an item's package that are held, by package URL.
    async fn older(&self, item: &CollectionItem, held: &HashSet<Sha256>) -> Result<Vec<String>> {
        let registry = &self.0.registry;
        let found = registry.db().read().await?.registry().repository(&item.repository).await?;
        let (Some(row), Some((package, _))) = (found, item.purl.rsplit_once('@')) else {
            return Ok(Vec::new());
        };
        let Some(view) = registry.view(&row).await?.package(&item.package).await? else {
            return Ok(Vec::new());
        };
        let releases = view.releases.iter().filter(|release| release.version != item.version);
        let held = releases.filter(|release| release.files.iter().any(|file| held.contains(&file.sha256)));
        // The version is escaped as in every package URL of ours.
        let purl = |version: &str| {
            let whole = PackageUrl::new("", "", version);
            format!("{package}@{}", whole.as_str().rsplit('@').next().unwrap_or_default())
        };
        Ok(held.map(|release| purl(&release.version)).collect())
    }

    async fn sent_streams(&self) -> Result<BTreeSet<String>> {
        let (mut streams, mut before) = (BTreeSet::new(), i64::MAX);
        loop {
            let page = self.db().read().await?.crossing().transfers(before, 500).await?;
            let Some(last) = page.last().map(|row| row.id.0) else { return Ok(streams) };
            streams.extend(page.into_iter().filter(|row| row.direction == "sent").map(|row| row.stream));
            before = last;
        }
    }
}
