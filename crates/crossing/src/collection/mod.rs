//! What a recording was given, as a readable list that can be compared, decided upon, merged and signed.
//!
//! A collection says what travels and why; it never holds bytes, and reading one fetches nothing.

mod decide;
mod file;
mod judgement;
mod mentions;
mod news;
mod proof;

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_format_kit::View as _;
use cofferdam_store::{RecordingRow, RuleRow, ServedRow};
use cofferdam_types::{Error, RecordingId, Result, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Crossing;
pub use file::FILE_END;
pub use judgement::{Advisory, Affected, FeedRead, Judgement, NotJudged, SecurityFix};
pub use mentions::Mention;
use mentions::Mentions;
pub use news::News;
pub(crate) use proof::{Believed, Connections, Proofs, statements_of};
pub use proof::{COLLECTION_PREDICATE, NETWORK_PREDICATE, Proof};

/// The kinds of papers beside a recording.
pub(crate) const MENTIONS: &str = "mentions";
pub(crate) const RECORDED: &str = "recorded";
pub(crate) const REHEARSED: &str = "rehearsed";
pub(crate) const JOINED: &str = "joined";

/// Everything that recorded builds used. Sorted, so that the same builds give the same text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// The recordings that it is made of.
    pub recordings: Vec<RecordingOf>,
    /// Releases, by repository, package and version.
    pub items: Vec<CollectionItem>,
    /// What people took out.
    pub excluded: Vec<Excluded>,
    /// What was asked for and not found.
    pub missing: Vec<Missing>,
    /// What lock files name and no build used, such as packages for other platforms.
    pub unused: Vec<Mention>,
}

/// A recording that a collection is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordingOf {
    /// Its name.
    pub name: String,
    /// The command.
    pub command: String,
    /// On what it ran, as `linux-x86_64`; empty when nobody said.
    pub platform: String,
    /// Its state.
    pub state: String,
}

/// One release of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CollectionItem {
    /// The repository that has it.
    pub repository: String,
    /// The package's key.
    pub package: String,
    /// The version.
    pub version: String,
    /// The package URL.
    pub purl: String,
    /// The files that were used.
    pub files: Vec<CollectedFile>,
    /// The upstream registry that it came from; empty where that is not known.
    pub source: String,
    /// The address that it is the answer to, for what was recorded by address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What that is, by a package URL, as the file says itself, an index beside it, or a lock file: no part of its identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_as: Option<String>,
    /// Licences, as the release itself writes them.
    pub licences: Vec<String>,
    /// Upstream's own proofs that were kept with it, in words: signatures, attestations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<String>,
    /// Which clients and programs asked for it, and for which package they ran.
    pub asked_by: Vec<String>,
    /// Where lock files and lists of wants name it. None: it was found only by running.
    pub mentioned: Vec<String>,
    /// Why it is to stay at this version, when people said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// The recordings that used it, when the collection is made of several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
}

/// An item that people took out of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Excluded {
    /// Its package URL.
    pub purl: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// A file of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectedFile {
    /// Its path below the repository.
    pub path: String,
    /// Its bytes.
    pub sha256: Sha256,
    /// Their number.
    pub size: u64,
}

/// Something that was asked for in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The repository that was asked.
    pub repository: String,
    /// The path below it.
    pub path: String,
    /// How often.
    pub times: u64,
}

/// What the machine that ran a build says of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// On what it ran, as `linux-x86_64`.
    pub platform: String,
    /// The folder before the command.
    pub inputs: Option<Tree>,
    /// What the command made or changed in it.
    pub result: Option<Tree>,
    /// The network log: requests below `addresses`, connections and questions below `connections`. None when the
    /// machine could not watch.
    pub network: Option<Value>,
}

/// A folder in one digest: SHA-256 over a line `<sha256>  <path>` of each file, sorted by path, as `sha256sum` writes
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The digest.
    pub sha256: Sha256,
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What identifies an item: what it is called and its bytes, and nothing that people say about it.
#[derive(Serialize)]
struct Identity<'a> {
    repository: &'a str,
    package: &'a str,
    version: &'a str,
    purl: &'a str,
    files: &'a [CollectedFile],
}

impl CollectionItem {
    /// Whether no lock file names it: it was found only by running.
    #[must_use]
    pub fn found_by_running(&self) -> bool {
        self.mentioned.is_empty()
    }

    /// What people call it: what it is known as, else its own package URL.
    #[must_use]
    pub fn called(&self) -> &str {
        self.known_as.as_deref().unwrap_or(&self.purl)
    }

    fn identity(&self) -> Identity<'_> {
        let Self { repository, package, version, purl, files, .. } = self;
        Identity { repository, package, version, purl, files }
    }
}

type Key = (String, String, String);

impl Collection {
    fn from_served(name: String, rows: Vec<ServedRow>, rules: Vec<RuleRow>) -> Self {
        let mut collection = Self { name, ..Self::default() };
        let mut items = BTreeMap::new();
        for row in rows {
            match row.sha256 {
                Some(sha256) if row.outcome == "served" => add(&mut items, row, sha256),
                _ => {
                    let ServedRow { repository, path, times, .. } = row;
                    collection.missing.push(Missing { repository, path, times });
                }
            }
        }
        collection.items = items.into_values().collect();
        for RuleRow { purl, kind, reason, actor, .. } in rules {
            if kind == "exclude" {
                collection.items.retain(|item| item.purl != purl);
                collection.excluded.push(Excluded { purl, reason, by: actor });
            } else if let Some(item) = collection.items.iter_mut().find(|item| item.purl == purl) {
                item.pinned = Some(reason);
            }
        }
        collection
    }

    /// Several collections as one: builds of several projects, or of one on several platforms.
    ///
    /// # Errors
    /// `Conflict` when two of them hold other bytes under one path of a repository.
    pub fn merged(name: &str, parts: Vec<Self>) -> Result<Self> {
        let mut out = Self { name: name.to_owned(), ..Self::default() };
        let mut items: BTreeMap<Key, CollectionItem> = BTreeMap::new();
        for part in parts {
            for mut item in part.items {
                if item.used_by.is_empty() {
                    item.used_by = vec![part.name.clone()];
                }
                let key = (item.repository.clone(), item.package.clone(), item.version.clone());
                match items.get_mut(&key) {
                    Some(same) => join(same, item)?,
                    None => drop(items.insert(key, item)),
                }
            }
            out.recordings.extend(part.recordings);
            out.excluded.extend(part.excluded);
            out.missing.extend(part.missing);
            out.unused.extend(part.unused);
        }
        out.excluded.sort();
        out.excluded.dedup();
        // What one of the builds used is not taken out of all of them, nor unused.
        let used: BTreeSet<&String> = items.values().map(|item| &item.purl).collect();
        out.excluded.retain(|gone| !used.contains(&gone.purl));
        out.unused.sort();
        out.unused.dedup();
        let named: BTreeSet<&String> = items.values().flat_map(|item| &item.mentioned).collect();
        out.unused.retain(|mention| !named.contains(&mention.place));
        out.items = items.into_values().collect();
        Ok(out)
    }

    /// The collection's identity: SHA-256 of its items' names and files as JSON. What was missing is no part of it, nor
    /// what people say about an item.
    ///
    /// # Errors
    /// Never for values that came from the database.
    pub fn digest(&self) -> Result<Sha256> {
        let identities: Vec<Identity<'_>> = self.items.iter().map(CollectionItem::identity).collect();
        let text = serde_json::to_vec(&identities).map_err(|e| Error::internal("a collection's text", e))?;
        Ok(Sha256::of(&text))
    }

    /// The files of this one that another does not hold. The metadata beside a held file
    /// (`x.whl.metadata` beside `x.whl`) travels with it and counts as held.
    #[must_use]
    pub fn not_in(&self, other: &Self) -> Vec<Missing> {
        let held: std::collections::BTreeMap<(&str, &str), Sha256> =
            other.files().map(|(repository, path, sha256)| ((repository, path), sha256)).collect();
        let beside = |repository: &str, path: &str| {
            path.match_indices('.').any(|(at, _)| held.contains_key(&(repository, &path[..at])))
        };
        self.files()
            .filter(|(r, path, sha256)| held.get(&(*r, *path)) != Some(sha256) && !beside(r, path))
            .map(|(repository, path, _)| Missing {
                repository: repository.into(),
                path: path.into(),
                times: 1,
            })
            .collect()
    }

    fn files(&self) -> impl Iterator<Item = (&str, &str, Sha256)> {
        self.items
            .iter()
            .flat_map(|i| i.files.iter().map(|f| (i.repository.as_str(), f.path.as_str(), f.sha256)))
    }

    /// How many of its items no lock file names.
    #[must_use]
    pub fn found_by_running(&self) -> usize {
        self.items.iter().filter(|item| item.found_by_running()).count()
    }

    /// How many files and bytes it holds.
    #[must_use]
    pub fn totals(&self) -> (usize, u64) {
        let files = self.items.iter().flat_map(|i| &i.files);
        files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.size))
    }
}

/// Adds a file that was served to the release that it belongs to.
fn add(items: &mut BTreeMap<Key, CollectionItem>, row: ServedRow, sha256: Sha256) {
    let file = CollectedFile { path: row.path, sha256, size: row.size };
    let key = (row.repository.clone(), row.package.clone(), row.version.clone());
    let item = items.entry(key).or_insert_with(|| CollectionItem {
        repository: row.repository,
        package: row.package,
        version: row.version,
        purl: row.purl,
        source: row.source,
        ..CollectionItem::default()
    });
    item.files.push(file);
    more(&mut item.asked_by, row.askers);
}

/// Puts what another collection says of the same release to it.
fn join(item: &mut CollectionItem, other: CollectionItem) -> Result<()> {
    for file in other.files {
        match item.files.iter().find(|f| f.path == file.path) {
            Some(same) if same.sha256 != file.sha256 => {
                let (path, here, there) = (file.path, item.used_by.join(", "), other.used_by.join(", "));
                let text = format!("{path} has other bytes in {there} than in {here}");
                return Err(Error::conflict("other-bytes", text)
                    .hint("record the older one again, so that both builds use the same file"));
            }
            Some(_) => {}
            None => item.files.push(file),
        }
    }
    item.files.sort_by(|a, b| a.path.cmp(&b.path));
    more(&mut item.licences, other.licences);
    more(&mut item.proofs, other.proofs);
    more(&mut item.asked_by, other.asked_by);
    more(&mut item.mentioned, other.mentioned);
    more(&mut item.used_by, other.used_by);
    item.pinned = item.pinned.take().or(other.pinned);
    item.known_as = item.known_as.take().or(other.known_as);
    Ok(())
}

fn more(all: &mut Vec<String>, new: Vec<String>) {
    all.extend(new);
    all.sort();
    all.dedup();
}

impl Crossing {
    /// What a recording was given: names and files.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording.
    pub async fn collection(&self, id: RecordingId) -> Result<Collection> {
        self.session_collection(id, "recording").await
    }

    /// The same with all that is known of each item: licences, where lock files name it, its address.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording.
    pub async fn described_collection(&self, id: RecordingId) -> Result<Collection> {
        let mut collection = self.collection(id).await?;
        self.describe(&mut collection.items).await?;
        self.joined(id).await?.describe(&mut collection.items);
        let all: Vec<Mention> = self.paper(id, MENTIONS).await?.unwrap_or_default();
        let mentions = Mentions::new(&all);
        for item in &mut collection.items {
            item.known_as = item.known_as.take().or_else(|| mentions.name_of(item));
            item.mentioned = mentions.of(kind_of(&item.purl), item);
        }
        let used: BTreeSet<&String> = collection.items.iter().flat_map(|item| &item.mentioned).collect();
        collection.unused = all.into_iter().filter(|mention| !used.contains(&mention.place)).collect();
        collection.unused.sort();
        Ok(collection)
    }

    /// What the releases say of themselves.
    async fn describe(&self, items: &mut [CollectionItem]) -> Result<()> {
        let registry = &self.0.registry;
        for items in items.chunk_by_mut(|a, b| a.repository == b.repository) {
            let Some(name) = items.first().map(|item| item.repository.clone()) else { continue };
            let found = registry.db().read().await?.registry().repository(&name).await?;
            let Some(row) = found else { continue };
            let (view, format) = (registry.view(&row).await?, registry.format(&row.format)?);
            for items in items.chunk_by_mut(|a, b| a.package == b.package) {
                let Some(package) = items.first().map(|item| item.package.clone()) else { continue };
                let Some(found) = view.package(&package).await? else { continue };
                for item in items {
                    let release = found.releases.iter().find(|r| r.version == item.version);
                    let Some(release) = release else { continue };
                    let files: Vec<(&str, &Value)> =
                        release.files.iter().map(|f| (f.role.as_str(), &f.meta)).collect();
                    let traits = format.traits(&release.meta, &files);
                    (item.licences, item.address) = (traits.licences, traits.address);
                    item.proofs = traits.proofs;
                }
            }
        }
        Ok(())
    }

    /// What a recording's rehearsal was given, and what it asked for in vain.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording.
    pub async fn rehearsal(&self, id: RecordingId) -> Result<Collection> {
        self.session_collection(id, "rehearsal").await
    }

    async fn session_collection(&self, id: RecordingId, kind: &str) -> Result<Collection> {
        let RecordingRow { name, command, state, .. } = self.recording(id).await?;
        let machine: Observed = self.paper(id, RECORDED).await?.unwrap_or_default();
        let mut tx = self.db().read().await?;
        let served = tx.served().list(kind, id.0).await?;
        let rules = tx.collections().rules(id).await?;
        let mut collection = Collection::from_served(name.clone(), served, rules);
        collection.recordings = vec![RecordingOf { name, command, platform: machine.platform, state }];
        Ok(collection)
    }

    /// What the machine said of a recording and of its rehearsal.
    ///
    /// # Errors
    /// `Internal` when the database fails.
    pub async fn observed(&self, id: RecordingId) -> Result<(Option<Observed>, Option<Observed>)> {
        Ok((self.paper(id, RECORDED).await?, self.paper(id, REHEARSED).await?))
    }

    /// A paper beside a recording, read.
    pub(crate) async fn paper<T: serde::de::DeserializeOwned>(
        &self,
        id: RecordingId,
        kind: &str,
    ) -> Result<Option<T>> {
        let text = self.db().read().await?.collections().paper(id, kind).await?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|e| Error::internal("a recording's paper", e))
    }
}

/// The type of a package URL.
fn kind_of(purl: &str) -> &str {
    purl.strip_prefix("pkg:").and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(paths: &[&str]) -> Collection {
        let file =
            |p: &&str| CollectedFile { path: (*p).to_owned(), sha256: Sha256::of(p.as_bytes()), size: 1 };
        let item = CollectionItem {
            repository: "pypi-mirror".into(),
            package: "flask".into(),
            version: "3.0".into(),
            purl: "pkg:pypi/flask@3.0".into(),
            files: paths.iter().map(file).collect(),
            ..CollectionItem::default()
        };
        Collection { name: "berth".into(), items: vec![item], ..Collection::default() }
    }

    #[test]
    fn what_another_recording_collected_is_missing_from_this_one() {
        let recorded = collection(&["files/flask/flask-3.0.whl"]);
        let beside = collection(&["files/flask/flask-3.0.whl", "files/flask/flask-3.0.whl.metadata"]);
        assert_eq!(beside.not_in(&recorded), [], "a file brings the metadata that belongs to it");
        let more = collection(&["files/flask/flask-3.0.whl", "files/flask/flask-3.0.tar.gz"]);
        let missing: Vec<_> = more.not_in(&recorded).into_iter().map(|m| m.path).collect();
        assert_eq!(missing, ["files/flask/flask-3.0.tar.gz"]);
        let mut changed = collection(&["files/flask/flask-3.0.whl"]);
        changed.items[0].files[0].sha256 = Sha256::of(b"other bytes");
        assert_eq!(changed.not_in(&recorded).len(), 1, "the same path with other bytes is another file");
    }

    #[test]
    fn builds_on_two_platforms_are_one_collection_and_two_truths_about_a_file_are_none() {
        let on = |name: &str, paths: &[&str]| Collection { name: name.into(), ..collection(paths) };
        let mut linux = on("linux", &["flask.whl"]);
        linux.unused = vec![Mention { place: "uv.lock:7".into(), ..Mention::default() }];
        linux.excluded = vec![Excluded { purl: "pkg:pypi/flask@3.0".into(), ..Excluded::default() }];
        let mut mac = on("mac", &["flask-mac.whl"]);
        mac.items[0].mentioned = vec!["uv.lock:7".into()];
        let both = Collection::merged("both", vec![linux.clone(), mac]).unwrap();
        let paths: Vec<_> = both.items[0].files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!((both.items.len(), paths), (1, vec!["flask-mac.whl", "flask.whl"]));
        assert_eq!(both.items[0].used_by, ["linux", "mac"]);
        assert!(both.unused.is_empty(), "one of them uses it");
        assert!(both.excluded.is_empty(), "one of them uses it");
        let mut other = on("other", &["flask.whl"]);
        other.items[0].files[0].sha256 = Sha256::of(b"other");
        let error = Collection::merged("both", vec![linux, other]).unwrap_err();
        assert_eq!(error.code(), "other-bytes");
    }
}
