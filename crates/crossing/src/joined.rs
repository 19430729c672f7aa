//! Upstream's proofs that join several files: a module's archive and the checksum database's answer for it, a package and
//! the signed list of its archive, an image and its signature.
//!
//! The formats check them; here they are asked, when a recording ends and again over the files of a transfer, and a
//! release whose proof does not hold is refused. What was found when recorded travels as a signed statement, with the
//! keys that upstream signed with, but it decides nothing on the other side: there, all is found again from the bytes.

use std::collections::{BTreeMap, HashMap};

use cofferdam_format_kit::{
    View as _,
    joined::{Finding, Joined, Keys, Origin, PlacedKey, Together, UpstreamKeys, Verdict},
};
use cofferdam_store::TransferItemRow;
use cofferdam_trust::{Envelope, Statement, Subject};
use cofferdam_types::{Error, RecordingId, Result, SiteName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Collection, CollectionItem, Crossing,
    collection::{Believed, JOINED},
    publish::Claim,
};

/// The predicate of the statement with what upstream's proofs said when recorded.
pub const UPSTREAM_PREDICATE: &str = "https://cofferdam.dev/upstream-proofs/v1";

/// Bytes of findings in a statement or a paper at the most; beyond them only their numbers are kept.
const MOST_FINDINGS: usize = 4 << 20;

/// What the proofs said of a recording's files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct JoinedPaper {
    /// The keys of signed notes that upstream signed with.
    keys: Vec<String>,
    /// Those of package archives.
    #[serde(rename = "archiveKeys")]
    archive_keys: Vec<PlacedKey>,
    /// Those of container images.
    #[serde(rename = "imageKeys")]
    image_keys: Vec<PlacedKey>,
    /// By repository.
    findings: BTreeMap<String, Vec<Finding>>,
    /// What files are, by repository and path: no part of any statement.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<String, BTreeMap<String, String>>,
}

impl JoinedPaper {
    fn add(&mut self, repository: &str, joined: Joined) {
        let mut keys = Keys {
            notes: std::mem::take(&mut self.keys),
            archives: std::mem::take(&mut self.archive_keys),
            images: std::mem::take(&mut self.image_keys),
        };
        keys.add(joined.keys);
        (self.keys, self.archive_keys, self.image_keys) = (keys.notes, keys.archives, keys.images);
        if !joined.names.is_empty() {
            let names = joined.names.into_iter().map(|named| (named.path, named.purl));
            self.names.entry(repository.to_owned()).or_default().extend(names);
        }
        if !joined.findings.is_empty() {
            self.findings.entry(repository.to_owned()).or_default().extend(joined.findings);
        }
    }

    fn all(&self) -> impl Iterator<Item = (&str, &Finding)> {
        self.findings.iter().flat_map(|(repository, all)| all.iter().map(|f| (repository.as_str(), f)))
    }

    /// How many hold, were not checked, and do not hold.
    pub(crate) fn totals(&self) -> Value {
        let count = |verdict| self.all().filter(|(_, f)| f.verdict == verdict).count();
        json!({
            "hold": count(Verdict::Holds), "unchecked": count(Verdict::Unchecked), "wrong": count(Verdict::Wrong),
        })
    }

    /// Puts what was found to the items, and what they are.
    pub(crate) fn describe(&self, items: &mut [CollectionItem]) {
        let found: HashMap<(&str, &str), &Finding> =
            self.all().map(|(repository, f)| ((repository, f.path.as_str()), f)).collect();
        for item in items {
            let CollectionItem { repository, files, proofs, known_as, .. } = item;
            let names = self.names.get(repository);
            *known_as = names.and_then(|all| files.iter().find_map(|f| all.get(&f.path)).cloned());
            let own = files.iter().filter_map(|f| found.get(&(repository.as_str(), f.path.as_str())));
            proofs.extend(own.map(|f| sentence(f)));
        }
    }

    /// Refuses a collection that holds a file whose proof does not hold.
    ///
    /// # Errors
    /// `VerificationFailed` (`upstream-proof`), with the first such file.
    pub(crate) fn refuse_wrong(&self, collection: &Collection) -> Result<()> {
        for (repository, finding) in self.all().filter(|(_, f)| f.verdict == Verdict::Wrong) {
            let holds = |item: &&CollectionItem| {
                item.repository == repository && item.files.iter().any(|f| f.path == finding.path)
            };
            let Some(item) = collection.items.iter().find(holds) else { continue };
            let name = item.address.as_deref().unwrap_or(&item.purl);
            let text = format!("{name} is not what upstream's own proof says: {}", finding.text);
            return Err(Error::verification("upstream-proof", text).hint(format!(
                "compare with another network; nothing of this recording can be packed with it: record it again, or \
                 `cofferdam collect NAME --exclude '{}' --reason WHY`",
                item.purl
            )));
        }
        Ok(())
    }

    /// The statement that travels, if there is anything to say.
    pub(crate) fn statement(&self, crossing: &Crossing, collection: &Collection) -> Result<Option<String>> {
        self.refuse_wrong(collection)?;
        if self.findings.is_empty() {
            return Ok(None);
        }
        let subject = Subject::sha256(format!("collection:{}", collection.name), collection.digest()?);
        let mut predicate = json!({ "keys": self.keys, "totals": self.totals(), "findings": self.findings });
        for (name, keys) in [("archiveKeys", &self.archive_keys), ("imageKeys", &self.image_keys)] {
            if !keys.is_empty() {
                predicate[name] = json!(keys);
            }
        }
        crossing.signed(&Statement::new(vec![subject], UPSTREAM_PREDICATE, predicate)).map(Some)
    }
}

/// What people read of a finding.
fn sentence(finding: &Finding) -> String {
    match finding.verdict {
        Verdict::Wrong => format!("DOES NOT HOLD: {}", finding.text),
        Verdict::Holds | Verdict::Unchecked => finding.text.clone(),
    }
}

impl Crossing {
    /// What was found when a recording ended.
    pub(crate) async fn joined(&self, id: RecordingId) -> Result<JoinedPaper> {
        Ok(self.paper(id, JOINED).await?.unwrap_or_default())
    }

    /// Asks the formats about all files of a recording, with this site's keys and those of its machine, and keeps
    /// what they find.
    pub(crate) async fn join_recording(&self, id: RecordingId, brought: &Keys) -> Result<JoinedPaper> {
        let keys = self.0.upstream_keys.clone().and(UpstreamKeys::of(brought, Origin::Recording));
        let mut paper = JoinedPaper::default();
        let items = self.collection(id).await?.items;
        for items in items.chunk_by(|a, b| a.repository == b.repository) {
            let Some(name) = items.first().map(|item| item.repository.as_str()) else { continue };
            let registry = &self.0.registry;
            let found = registry.db().read().await?.registry().repository(name).await?;
            let Some(row) = found else { continue };
            let format = registry.format(&row.format)?;
            if !format.joins() {
                continue;
            }
            let view = registry.view(&row).await?;
            let mut files = Vec::new();
            for file in items.iter().flat_map(|item| &item.files) {
                let Some(meta) = view.file(&file.path).await?.map(|f| f.meta) else { continue };
                files.push(Together { path: file.path.clone(), sha256: file.sha256, size: file.size, meta });
            }
            paper.add(name, format.join(&files, &keys, &registry.door()).await?);
        }
        let mut text =
            serde_json::to_string(&paper).map_err(|e| Error::internal("a recording's proofs", e))?;
        if text.len() > MOST_FINDINGS {
            // What was refused must stay known; what merely holds is found again inside.
            for all in paper.findings.values_mut() {
                all.retain(|f| f.verdict == Verdict::Wrong);
                all.truncate(1000);
            }
            paper.findings.retain(|_, all| !all.is_empty());
            paper.names.clear();
            text = serde_json::to_string(&paper).map_err(|e| Error::internal("a recording's proofs", e))?;
        }
        let mut tx = self.db().write().await?;
        tx.collections().put_paper(id, JOINED, &text).await?;
        tx.commit().await?;
        Ok(paper)
    }

    /// Asks the formats again about all files that a transfer brought. A release whose proof does not hold is refused;
    /// of the others, what was found stands with the item.
    pub(crate) async fn join_received(&self, source: &SiteName, items: &mut [TransferItemRow]) -> Result<()> {
        let believed = Believed::about_site(self, source).await?;
        let brought = carried_keys(&believed, items);
        let keys = self.0.upstream_keys.clone().and(UpstreamKeys::of(&brought, Origin::Recording));
        let mut repositories: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for (at, item) in items.iter().enumerate().filter(|(_, i)| i.kind == "release" && i.verdict == "ok") {
            let key = (item.repository.clone(), item.format.clone());
            repositories.entry(key).or_default().push(at);
        }
        for ((_, name), these) in repositories {
            let format = self.0.registry.format(&name)?;
            if !format.joins() {
                continue;
            }
            let (mut files, mut owners) = (Vec::new(), HashMap::new());
            for at in these {
                let Some(Claim { draft, .. }) = items.get(at).map(|i| i.value.read()).transpose()? else {
                    continue;
                };
                for file in draft.files {
                    owners.insert(file.path.clone(), at);
                    let (sha256, size) = (file.digests.sha256, file.digests.size);
                    files.push(Together { path: file.path, sha256, size, meta: file.meta });
                }
            }
            let joined = format.join(&files, &keys, &self.0.registry.door()).await?;
            for named in joined.names {
                let Some(item) = owners.get(&named.path).and_then(|at| items.get_mut(*at)) else { continue };
                let mut value: Value = item.value.read()?;
                value["known_as"] = named.purl.into();
                item.value = value.into();
            }
            for finding in joined.findings {
                let Some(item) = owners.get(&finding.path).and_then(|at| items.get_mut(*at)) else {
                    continue;
                };
                note(item, &finding)?;
            }
        }
        Ok(())
    }
}

/// Writes a finding down with its item.
fn note(item: &mut TransferItemRow, finding: &Finding) -> Result<()> {
    if finding.verdict == Verdict::Wrong {
        item.verdict = format!("{}: {}", finding.kind, finding.text);
    }
    let mut value: Value = item.value.read()?;
    match value["joined"].as_array_mut() {
        Some(all) => all.push(sentence(finding).into()),
        None => value["joined"] = json!([sentence(finding)]),
    }
    item.value = value.into();
    Ok(())
}

/// The keys in the statements that came along, of those whose signature holds.
fn carried_keys(believed: &Believed, items: &[TransferItemRow]) -> Keys {
    let mut keys = Keys::default();
    for item in items.iter().filter(|item| item.kind == "statement") {
        let Ok(envelope) = item.value.read::<Envelope>() else { continue };
        let Ok(payload) = envelope.unverified_payload() else { continue };
        let Ok(statement) = serde_json::from_slice::<Value>(&payload) else { continue };
        if statement["predicateType"] != UPSTREAM_PREDICATE || !believed.signed(&envelope) {
            continue;
        }
        let said = &statement["predicate"];
        keys.add(Keys {
            notes: listed(&said["keys"]),
            archives: listed(&said["archiveKeys"]),
            images: listed(&said["imageKeys"]),
        });
    }
    keys
}

/// A list's values of one kind; what is of another is left out.
fn listed<T: serde::de::DeserializeOwned>(list: &Value) -> Vec<T> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|value| serde_json::from_value(value.clone()).ok()).collect()
}
