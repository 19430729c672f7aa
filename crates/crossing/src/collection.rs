//! What a recording was given, as a readable list that can be compared and signed.

use cofferdam_store::ServedRow;
use cofferdam_types::{Error, RecordingId, Result, Sha256};
use serde::{Deserialize, Serialize};

use crate::Crossing;

/// Everything that a recorded build used. Sorted, so that the same build gives the same text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// The recording's name.
    pub name: String,
    /// Releases, by repository, package and version.
    pub items: Vec<CollectionItem>,
    /// What was asked for and not found.
    pub missing: Vec<Missing>,
}

/// One release of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Collection {
    fn from_served(name: String, rows: Vec<ServedRow>) -> Self {
        let mut collection = Self { name, items: Vec::new(), missing: Vec::new() };
        for row in rows {
            match row.sha256 {
                Some(sha256) if row.outcome == "served" => collection.add(row, sha256),
                _ => {
                    let ServedRow { repository, path, times, .. } = row;
                    collection.missing.push(Missing { repository, path, times });
                }
            }
        }
        let key = |i: &CollectionItem| (i.repository.clone(), i.package.clone(), i.version.clone());
        collection.items.sort_by_key(key);
        collection
    }

    fn add(&mut self, row: ServedRow, sha256: Sha256) {
        let file = CollectedFile { path: row.path, sha256, size: row.size };
        let same = |i: &&mut CollectionItem| {
            i.repository == row.repository && i.package == row.package && i.version == row.version
        };
        if let Some(item) = self.items.iter_mut().find(same) {
            item.files.push(file);
        } else {
            self.items.push(CollectionItem {
                repository: row.repository,
                package: row.package,
                version: row.version,
                purl: row.purl,
                files: vec![file],
            });
        }
    }

    /// The collection's identity: SHA-256 of its items as JSON. What was missing is no part of it.
    ///
    /// # Errors
    /// Never for values that came from the database.
    pub fn digest(&self) -> Result<Sha256> {
        let text = serde_json::to_vec(&self.items).map_err(|e| Error::internal("a collection's text", e))?;
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

    /// How many files and bytes it holds.
    #[must_use]
    pub fn totals(&self) -> (usize, u64) {
        let files = self.items.iter().flat_map(|i| &i.files);
        files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.size))
    }
}

impl Crossing {
    /// What a recording was given.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording.
    pub async fn collection(&self, id: RecordingId) -> Result<Collection> {
        self.session_collection(id, "recording").await
    }

    /// What a recording's rehearsal was given, and what it asked for in vain.
    ///
    /// # Errors
    /// `NotFound` when there is no such recording.
    pub async fn rehearsal(&self, id: RecordingId) -> Result<Collection> {
        self.session_collection(id, "rehearsal").await
    }

    async fn session_collection(&self, id: RecordingId, kind: &str) -> Result<Collection> {
        let mut tx = self.db().read().await?;
        let row = tx.crossing().recording(id).await?;
        let row = row.ok_or_else(|| Error::not_found(format!("there is no recording {id}")))?;
        let served = tx.served().list(kind, id.0).await?;
        Ok(Collection::from_served(row.name, served))
    }
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
        };
        Collection { name: "berth".into(), items: vec![item], missing: Vec::new() }
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
}
