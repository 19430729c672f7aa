//! What a transfer would change, before anybody approves.

use cofferdam_format_kit::View as _;
use cofferdam_types::{Result, TransferId};
use serde::Serialize;

use crate::Crossing;

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
    pub projects: Vec<(String, serde_json::Value)>,
    /// Signed statements that travelled with it (rehearsals).
    pub statements: usize,
}

/// One release in a difference.
#[derive(Clone, Debug, Serialize)]
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
}

impl Crossing {
    /// What a transfer would change, against what the site shows now.
    ///
    /// # Errors
    /// `NotFound` when there is no such transfer.
    pub async fn difference(&self, id: TransferId) -> Result<Difference> {
        self.transfer(id).await?;
        let mut out = Difference::default();
        for item in self.items(id).await? {
            match item.kind.as_str() {
                "git" => out.projects.push((item.repository, item.value["refs"].clone())),
                "statement" => out.statements += 1,
                _ => {
                    let here = self.versions_here(&item.repository, &item.package).await?;
                    let line = DifferenceLine {
                        repository: item.repository,
                        package: item.package,
                        from: here.last().cloned(),
                        size: item.size,
                        verdict: item.verdict,
                        version: item.version,
                    };
                    if here.contains(&line.version) {
                        out.known.push(line);
                    } else if here.is_empty() {
                        out.added.push(line);
                    } else {
                        out.updated.push(line);
                    }
                }
            }
        }
        Ok(out)
    }

    async fn versions_here(&self, repository: &str, package: &str) -> Result<Vec<String>> {
        let registry = &self.0.registry;
        let found = registry.db().read().await?.registry().repository(repository).await?;
        let Some(row) = found else { return Ok(Vec::new()) };
        let package = registry.view(&row).await?.package(package).await?;
        Ok(package.map(|p| p.releases.into_iter().map(|r| r.version).collect()).unwrap_or_default())
    }
}
