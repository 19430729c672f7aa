//! What a transfer would change, before anybody approves: what comes, what is new about it, and what proves it.

use std::collections::{BTreeMap, HashSet};

use cofferdam_format_kit::{Traits, View as _};
use cofferdam_store::{Json, TransferItemRow};
use cofferdam_types::{Result, TransferId};
use serde::Serialize;
use serde_json::Value;

use crate::{Crossing, publish::Claim};

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
    /// What differs from the version that is here: `licence`, `maintainer`, `script`, with the new value.
    pub new: Vec<(String, String)>,
    /// Whether a rehearsal used it.
    pub rehearsed: bool,
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
    /// Connections to the outside.
    pub outside: u64,
    /// Package URLs that the build used.
    pub used: Vec<String>,
}

impl Crossing {
    /// What a transfer would change, against what the site shows now.
    ///
    /// # Errors
    /// `NotFound` when there is no such transfer.
    pub async fn difference(&self, id: TransferId) -> Result<Difference> {
        self.transfer(id).await?;
        let mut out = Difference::default();
        let items = self.items(id).await?;
        for item in items.iter().filter(|i| i.kind == "statement") {
            out.statements += 1;
            out.rehearsals.extend(rehearsal(&item.value.read()?));
        }
        let used: HashSet<String> = out.rehearsals.iter().flat_map(|r| r.used.iter().cloned()).collect();
        for item in items {
            match item.kind.as_str() {
                "git" => {
                    let mut value: Value = item.value.read()?;
                    out.projects.push((item.repository, value["refs"].take()));
                }
                "release" => self.line(&mut out, item, &used).await?,
                _ => {}
            }
        }
        Ok(out)
    }

    async fn line(&self, out: &mut Difference, item: TransferItemRow, used: &HashSet<String>) -> Result<()> {
        let here = self.newest_here(&item.repository, &item.package).await?;
        let sums = out.sizes.entry(item.repository.clone()).or_default();
        *sums = (sums.0 + item.size, sums.1 + 1);
        let traits = self.traits_of(&item.format, &item.value);
        let mut line = DifferenceLine {
            rehearsed: used.contains(&item.purl),
            repository: item.repository,
            package: item.package,
            version: item.version,
            size: item.size,
            verdict: item.verdict,
            purl: item.purl,
            traits,
            ..DifferenceLine::default()
        };
        let Some((versions, before)) = here else {
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
        line.new = newly(&before, &line.traits);
        let from = line.from.as_deref().unwrap_or("");
        for (what, value) in &line.new {
            out.notable.push(format!("{} {from} → {}: new {what} {value}", line.package, line.version));
        }
        out.updated.push(line);
        Ok(())
    }

    fn traits_of(&self, format: &str, claim: &Json) -> Traits {
        let (Ok(format), Ok(Claim { draft })) = (self.0.registry.format(format), claim.read()) else {
            return Traits::default();
        };
        let files: Vec<(&str, &Value)> = draft.files.iter().map(|f| (f.role.as_str(), &f.meta)).collect();
        format.traits(&draft.meta, &files)
    }

    /// The versions of a package that are here, and what the newest of them says of itself.
    async fn newest_here(&self, repository: &str, package: &str) -> Result<Option<(Vec<String>, Traits)>> {
        let registry = &self.0.registry;
        let found = registry.db().read().await?.registry().repository(repository).await?;
        let Some(row) = found else { return Ok(None) };
        let Some(found) = registry.view(&row).await?.package(package).await? else { return Ok(None) };
        let traits = match found.releases.last() {
            Some(newest) => {
                let files: Vec<(&str, &Value)> =
                    newest.files.iter().map(|f| (f.role.as_str(), &f.meta)).collect();
                registry.format(&row.format)?.traits(&newest.meta, &files)
            }
            None => Traits::default(),
        };
        Ok(Some((found.releases.into_iter().map(|r| r.version).collect(), traits)))
    }
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

/// A rehearsal statement's content; its signature was kept with the transfer's own.
fn rehearsal(envelope: &Value) -> Option<Rehearsal> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let payload = STANDARD.decode(envelope["payload"].as_str()?).ok()?;
    let statement: Value = serde_json::from_slice(&payload).ok()?;
    if statement["predicateType"] != crate::RECORDING_PREDICATE {
        return None;
    }
    let says = &statement["predicate"];
    let text = |name: &str| says[name].as_str().unwrap_or_default().to_owned();
    Some(Rehearsal {
        command: text("command"),
        site: text("site"),
        at: text("rehearsed"),
        outside: says["outsideConnections"].as_u64().unwrap_or(0),
        used: says["used"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|u| u.as_str().map(str::to_owned))
            .collect(),
    })
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
