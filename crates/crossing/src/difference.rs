//! What a transfer would change, before anybody approves: what comes, what is new about it, and what proves it.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use cofferdam_format_kit::{Draft, DraftFile, Traits, View as _};
use cofferdam_store::TransferItemRow;
use cofferdam_types::{Result, Sha256, TransferId};
use serde::Serialize;
use serde_json::Value;

use crate::{Crossing, Proof, collection::Proofs, publish::Claim};

/// What a transfer would change.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Difference {
    /// Releases of packages that are not here yet.
    pub added: Vec<DifferenceLine>,
    /// Releases of packages that are here in other versions.
    pub updated: Vec<DifferenceLine>,
    /// Releases that are here already.
    pub known: Vec<DifferenceLine>,
    /// Git projects, with their references.
    pub projects: Vec<(String, Value)>,
    /// Bytes of releases by repository, and how many releases.
    pub sizes: BTreeMap<String, (u64, u64)>,
    /// What people should look at first, in words.
    pub notable: Vec<String>,
    /// What the rehearsals that travelled with it proved.
    pub rehearsals: Vec<Rehearsal>,
    /// Signed statements that travelled with it.
    pub statements: usize,
}

/// One release in a difference.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DifferenceLine {
    /// Where it goes.
    pub repository: String,
    /// The package's key.
    pub package: String,
    /// The version that comes.
    pub version: String,
    /// The newest version that is here.
    pub from: Option<String>,
    /// Bytes of its files.
    pub size: u64,
    /// `ok`, or why inspection refused it.
    pub verdict: String,
    /// Its package URL: the key of its evidence.
    pub purl: String,
    /// What it says of itself.
    pub traits: Traits,
    /// What differs from the version that is here: `licence`, `maintainer`, `install script`, with the new value.
    pub new: Vec<(String, String)>,
    /// Which of the rehearsals used it, from 0.
    pub rehearsals: Vec<usize>,
    /// Its files.
    pub files: Vec<EvidenceFile>,
    /// Who asked for it.
    pub wanted: Vec<Asker>,
    /// Whether its package is to be seen here now, in this version or another.
    pub here: bool,
}

/// A file of a release.
#[derive(Clone, Debug, Serialize)]
pub struct EvidenceFile {
    /// Its path in the repository.
    pub path: String,
    /// Its digest: what is at the site, or will be.
    pub sha256: Sha256,
    /// Its size.
    pub size: u64,
}

/// Who asked for a release.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Asker {
    /// At which site.
    pub site: String,
    /// Who, or `clients` that asked in vain.
    pub by: String,
    /// How often.
    pub asked: u64,
    /// Why, in their words.
    pub note: String,
}

/// A rehearsal, as its signed statement says.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Rehearsal {
    /// The command.
    pub command: String,
    /// The site that signed.
    pub site: String,
    /// When.
    pub at: String,
    /// The recording's name.
    pub recording: String,
    /// Its number at the site that signed.
    pub number: i64,
    /// The digest of what it collected.
    pub collection: String,
    /// The command's exit code.
    pub exit_code: i64,
    /// How it was shut off, in words.
    pub network: String,
    /// How many things were asked for in vain.
    pub in_vain: usize,
    /// Connections to the outside.
    pub outside: u64,
    /// Package URLs that the build used.
    pub used: Vec<String>,
    /// On what it ran, as `linux-x86_64`.
    pub platform: String,
    /// What of it was compared with the medium, and holds.
    pub proof: Proof,
}

impl Crossing {
    /// What a transfer would change, against what the site shows now.
    ///
    /// # Errors
    /// `NotFound` when there is no such transfer.
    pub async fn difference(&self, id: TransferId) -> Result<Difference> {
        let transfer = self.transfer(id).await?;
        let mut out = Difference::default();
        let items = self.items(id).await?;
        out.statements = items.iter().filter(|i| i.kind == "statement").count();
        for (statement, proof) in Proofs::read(self, &transfer, &items).await?.all(self).await? {
            out.rehearsals.push(rehearsal(statement, proof));
        }
        let evidence = Evidence { used: used(&out.rehearsals), wants: self.askers().await? };
        let mut seen = Seen::new();
        for item in items {
            match item.kind.as_str() {
                "git" => {
                    let mut value: Value = item.value.read()?;
                    out.projects.push((item.repository, value["refs"].take()));
                }
                "release" => self.line(&mut out, item, &evidence, &mut seen).await?,
                _ => {}
            }
        }
        Ok(out)
    }

    async fn line(
        &self,
        out: &mut Difference,
        item: TransferItemRow,
        evidence: &Evidence,
        seen: &mut Seen,
    ) -> Result<()> {
        let here = self.seen_here(seen, &item.repository, &item.package).await?;
        let sums = out.sizes.entry(item.repository.clone()).or_default();
        *sums = (sums.0 + item.size, sums.1 + 1);
        // One that cannot be read says nothing of itself.
        let (draft, joined, known_as) = match item.value.read() {
            Ok(Claim { draft, joined, known_as }) => (Some(draft), joined, known_as),
            Err(_) => (None, Vec::new(), None),
        };
        let mut traits = draft.as_ref().map(|draft| self.traits_of(&item.format, draft)).unwrap_or_default();
        traits.proofs.extend(joined);
        traits.known_as = known_as;
        let mut line = DifferenceLine {
            rehearsals: evidence.used.get(&item.purl).cloned().unwrap_or_default(),
            files: draft.map(files).unwrap_or_default(),
            wanted: evidence.askers(&item),
            here: here.is_some(),
            repository: item.repository,
            package: item.package,
            version: item.version,
            size: item.size,
            verdict: item.verdict,
            purl: item.purl,
            traits,
            ..DifferenceLine::default()
        };
        let Some(Here { versions, newest }) = here else {
            for script in &line.traits.scripts {
                out.notable.push(format!(
                    "{} {} is new and runs `{script}` when it is installed",
                    line.package, line.version
                ));
            }
            out.added.push(line);
            return Ok(());
        };
        if versions.contains(&line.version) {
            out.known.push(line);
            return Ok(());
        }
        line.from = versions.last().cloned();
        line.new = newly(newest, &line.traits);
        let from = line.from.as_deref().unwrap_or("");
        for (what, value) in &line.new {
            out.notable.push(format!("{} {from} → {}: new {what} {value}", line.package, line.version));
        }
        out.updated.push(line);
        Ok(())
    }

    /// Who asked for what: by format and package, the version and the asker.
    async fn askers(&self) -> Result<Askers> {
        let mut out = Askers::new();
        for want in self.wants().await? {
            let asker = Asker { site: want.site, by: want.actor, asked: want.asked, note: want.note };
            out.entry((want.format, want.package)).or_default().push((want.version, asker));
        }
        Ok(out)
    }

    fn traits_of(&self, format: &str, draft: &Draft) -> Traits {
        let Ok(format) = self.0.registry.format(format) else { return Traits::default() };
        let files: Vec<(&str, &Value)> = draft.files.iter().map(|f| (f.role.as_str(), &f.meta)).collect();
        format.traits(&draft.meta, &files)
    }

    /// [`Self::newest_here`], asked once for all releases of the package in the transfer.
    async fn seen_here<'s>(
        &self,
        seen: &'s mut Seen,
        repository: &str,
        package: &str,
    ) -> Result<Option<&'s Here>> {
        let here = match seen.entry((repository.to_owned(), package.to_owned())) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(self.newest_here(repository, package).await?),
        };
        Ok(here.as_ref())
    }

    /// What a repository shows of a package; `None` when it shows nothing.
    async fn newest_here(&self, repository: &str, package: &str) -> Result<Option<Here>> {
        let registry = &self.0.registry;
        let found = registry.db().read().await?.registry().repository(repository).await?;
        let Some(row) = found else { return Ok(None) };
        let Some(found) = registry.view(&row).await?.package(package).await? else { return Ok(None) };
        let newest = match found.releases.last() {
            Some(newest) => {
                let files: Vec<(&str, &Value)> =
                    newest.files.iter().map(|f| (f.role.as_str(), &f.meta)).collect();
                registry.format(&row.format)?.traits(&newest.meta, &files)
            }
            None => Traits::default(),
        };
        Ok(Some(Here { versions: found.releases.into_iter().map(|r| r.version).collect(), newest }))
    }
}

/// What the site shows of a package.
struct Here {
    versions: Vec<String>,
    /// What its newest release says of itself.
    newest: Traits,
}

/// By repository and package.
type Seen = HashMap<(String, String), Option<Here>>;

type Askers = HashMap<(String, String), Vec<(String, Asker)>>;

/// What speaks for the releases of a transfer.
struct Evidence {
    /// Rehearsals by package URL.
    used: HashMap<String, Vec<usize>>,
    wants: Askers,
}

impl Evidence {
    fn askers(&self, item: &TransferItemRow) -> Vec<Asker> {
        let all = self.wants.get(&(item.format.clone(), item.package.clone())).into_iter().flatten();
        all.filter(|(version, _)| version.is_empty() || *version == item.version)
            .map(|(_, asker)| asker.clone())
            .collect()
    }
}

fn used(rehearsals: &[Rehearsal]) -> HashMap<String, Vec<usize>> {
    let mut out: HashMap<String, Vec<usize>> = HashMap::new();
    for (n, rehearsal) in rehearsals.iter().enumerate() {
        for purl in &rehearsal.used {
            let all = out.entry(purl.clone()).or_default();
            if all.last() != Some(&n) {
                all.push(n);
            }
        }
    }
    out
}

fn files(draft: Draft) -> Vec<EvidenceFile> {
    let file = |f: DraftFile| EvidenceFile { path: f.path, sha256: f.digests.sha256, size: f.digests.size };
    draft.files.into_iter().map(file).collect()
}

/// What one release says that the one before it did not.
fn newly(before: &Traits, after: &Traits) -> Vec<(String, String)> {
    let lists = [
        ("licence", &before.licences, &after.licences),
        ("maintainer", &before.people, &after.people),
        ("install script", &before.scripts, &after.scripts),
    ];
    let mut out = Vec::new();
    for (what, old, new) in lists {
        out.extend(
            new.iter().filter(|value| !old.contains(value)).map(|value| (what.to_owned(), value.clone())),
        );
    }
    out
}

/// A rehearsal statement's content, and what is proved of it.
fn rehearsal(statement: &Value, proof: Proof) -> Rehearsal {
    let says = &statement["predicate"];
    let text = |name: &str| says[name].as_str().unwrap_or_default().to_owned();
    Rehearsal {
        command: text("command"),
        site: text("site"),
        at: text("rehearsed"),
        recording: statement["subject"][0]["name"]
            .as_str()
            .and_then(|name| name.strip_prefix("collection:"))
            .unwrap_or_default()
            .to_owned(),
        number: says["recording"].as_i64().unwrap_or(0),
        collection: statement["subject"][0]["digest"]["sha256"].as_str().unwrap_or_default().to_owned(),
        exit_code: says["exitCode"].as_i64().unwrap_or(0),
        network: says["network"]["how"].as_str().unwrap_or_default().to_owned(),
        in_vain: says["askedInVain"].as_array().map_or(0, Vec::len),
        outside: says["network"]["outside"].as_u64().unwrap_or(0),
        used: says["used"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|u| u.as_str().map(str::to_owned))
            .collect(),
        platform: text("platform"),
        proof,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_version_before_did_not_say_is_new() {
        let traits = |licences: &[&str], people: &[&str], scripts: &[&str]| Traits {
            licences: licences.iter().map(ToString::to_string).collect(),
            people: people.iter().map(ToString::to_string).collect(),
            scripts: scripts.iter().map(ToString::to_string).collect(),
            ..Traits::default()
        };
        let before = traits(&["MIT"], &["ann"], &[]);
        let after = traits(&["MIT"], &["ann", "eve"], &["postinstall"]);
        let told = newly(&before, &after);
        assert_eq!(
            told,
            [("maintainer".into(), "eve".into()), ("install script".into(), "postinstall".into())]
        );
        assert!(newly(&before, &before).is_empty());
    }
}
