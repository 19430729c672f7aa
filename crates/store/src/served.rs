//! What a session was given by the registries, and what it asked for in vain.

use std::collections::BTreeMap;

use cofferdam_types::{Result, Sha256, Timestamp};

use crate::{
    Row, Tx,
    sql::{args, statements},
};

statements! {
    NOTE = "INSERT INTO served (kind, session, repository, path, package, version, sha256, size, purl, outcome, at, times, source)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12)
        ON CONFLICT (kind, session, repository, path) DO UPDATE SET times = served.times + 1, outcome = $10,
            sha256 = $7, size = $8, version = $6, purl = $9, source = $12";
    NOTE_ASKER = "INSERT INTO served_by (kind, session, repository, path, asker) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    LIST = "SELECT repository, path, package, version, sha256, size, purl, outcome, at, times, source FROM served
        WHERE kind = $1 AND session = $2 ORDER BY repository, path";
    ASKERS = "SELECT repository, path, asker FROM served_by WHERE kind = $1 AND session = $2
        ORDER BY repository, path, asker";
    BELOW = "SELECT path FROM served WHERE kind = $1 AND session = $2 AND repository = $3 AND path > $4 AND path < $5
        AND outcome = 'served' ORDER BY at, path";
}

/// One thing that a session asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedRow {
    /// The repository's name.
    pub repository: String,
    /// The path below it.
    pub path: String,
    /// The package's key; empty where the path does not tell.
    pub package: String,
    /// The version; empty for indexes and misses.
    pub version: String,
    /// The bytes that were served; `None` for misses.
    pub sha256: Option<Sha256>,
    /// Their size.
    pub size: u64,
    /// The package URL; empty for misses.
    pub purl: String,
    /// `served` or `missing`.
    pub outcome: String,
    /// First asked for.
    pub at: Timestamp,
    /// How often.
    pub times: u64,
    /// Where upstream has it, without credentials; empty where that is not known.
    pub source: String,
    /// Who asked, each once; one when it is noted.
    pub askers: Vec<String>,
}

/// Rows of sessions.
pub struct ServedRows<'t>(pub(crate) &'t mut Tx);

impl ServedRows<'_> {
    /// Notes that session `session` of kind `kind` (`recording`, `job`) asked for something.
    ///
    /// # Errors
    /// `Internal` when the database fails; so for every method here.
    pub async fn note(&mut self, kind: &str, session: i64, row: &ServedRow) -> Result<()> {
        let values = args![
            kind,
            session,
            &row.repository,
            &row.path,
            &row.package,
            &row.version,
            row.sha256,
            row.size,
            &row.purl,
            &row.outcome,
            row.at,
            &row.source
        ];
        self.0.execute(NOTE, values).await?;
        for asker in &row.askers {
            self.0.execute(NOTE_ASKER, args![kind, session, &row.repository, &row.path, asker]).await?;
        }
        Ok(())
    }

    /// The paths below `prefix` (which ends in a slash) that a session was given by a repository, first
    /// given first.
    pub async fn below(
        &mut self,
        kind: &str,
        session: i64,
        repository: &str,
        prefix: &str,
    ) -> Result<Vec<String>> {
        let end = crate::sql::after_folder(prefix);
        let rows = self.0.all(BELOW, args![kind, session, repository, prefix, end]).await?;
        rows.iter().map(|row| row.text("path")).collect()
    }

    /// Everything that a session asked for, by repository and path.
    pub async fn list(&mut self, kind: &str, session: i64) -> Result<Vec<ServedRow>> {
        let mut askers: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for row in self.0.all(ASKERS, args![kind, session]).await? {
            let place = (row.text("repository")?, row.text("path")?);
            askers.entry(place).or_default().push(row.text("asker")?);
        }
        let mut rows = Vec::new();
        for row in &self.0.all(LIST, args![kind, session]).await? {
            let mut row = served(row)?;
            row.askers = askers.remove(&(row.repository.clone(), row.path.clone())).unwrap_or_default();
            rows.push(row);
        }
        Ok(rows)
    }
}

fn served(row: &Row) -> Result<ServedRow> {
    Ok(ServedRow {
        repository: row.text("repository")?,
        path: row.text("path")?,
        package: row.text("package")?,
        version: row.text("version")?,
        sha256: row.opt_text("sha256")?.and_then(|t| t.parse().ok()),
        size: row.size("size")?,
        purl: row.text("purl")?,
        outcome: row.text("outcome")?,
        at: row.time("at")?,
        times: row.size("times")?,
        source: row.text("source")?,
        askers: Vec::new(),
    })
}
