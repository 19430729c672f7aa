//! Rows of the registry, many at a time: what the gate asks and writes, and what a page of packages shows.
//!
//! One row is a list of one; there is no second way. A lookup costs what it asks for, never what lies beside it: no
//! query here reads all releases or files of a package to find one.

use std::collections::BTreeMap;

use cofferdam_types::{Digests, PackageId, RepositoryId, Result, Sha256, Timestamp};

use crate::{
    FileRow, NewDocument, NewFile, NewRelease, PackageRow, RegistryRows, ReleaseRow,
    registry::{file, package, release},
    row::Value,
    sql::{args, statements},
};

statements! {
    PUT_BLOBS = "INSERT INTO blob (sha256, size, sha512, sha1, md5, blake2b_256, created)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (sha256) DO NOTHING";

    PACKAGES_OF = "SELECT p.id, p.key, p.display, CASE WHEN EXISTS
        (SELECT 1 FROM release r WHERE r.package_id = p.id AND r.removed IS NULL) THEN 1 ELSE 0 END AS shown
        FROM package p WHERE p.repository_id = $1 AND p.key IN ($2)";
    WEIGHTS = "SELECT p.key, (SELECT COUNT(*) FROM file f WHERE f.package_id = p.id) AS files
        FROM package p WHERE p.repository_id = $1 AND p.key IN ($2)";
    INSERT_PACKAGES = "INSERT INTO package (id, repository_id, key, display) VALUES ($1, $2, $3, $4)";

    RELEASES_AT = "WITH asked (package_id, version) AS (VALUES (CAST($1 AS BIGINT), CAST($2 AS TEXT)))
        SELECT r.package_id, r.version FROM asked a CROSS JOIN release r
        WHERE r.package_id = a.package_id AND r.version = a.version AND r.removed IS NULL";
    RELEASES_OF = "SELECT package_id, version, state, yank_reason, meta, published, purl FROM release
        WHERE removed IS NULL AND package_id IN ($1)";
    INSERT_RELEASES = "INSERT INTO release (id, package_id, repository_id, version, state, yank_reason, meta, published, purl, added)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

    FILES_AT = "SELECT path, sha256, package_id, version FROM file
        WHERE repository_id = $1 AND removed IS NULL AND path IN ($2)";
    HELD_AT = "SELECT id, path, role, meta, at, added FROM file
        WHERE repository_id = $1 AND removed IS NULL AND path IN ($2)";
    END_FILES = "UPDATE file SET removed = $1 WHERE id IN ($2)";
    REMOVED_AT = "SELECT path, sha256 FROM file WHERE repository_id = $1 AND removed IS NOT NULL AND path IN ($2)";
    FILES_OF = "SELECT f.version, f.path, f.role, f.meta, f.at, b.sha256, b.size, b.sha512, b.sha1, b.md5, b.blake2b_256, p.key, p.id AS package_id
        FROM file f JOIN blob b ON b.sha256 = f.sha256 JOIN package p ON p.id = f.package_id
        WHERE f.removed IS NULL AND f.package_id IN ($1)";
    INSERT_FILES = "INSERT INTO file (id, package_id, repository_id, version, path, role, sha256, meta, at, added)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

    POINTERS_OF = "SELECT id, package_id, name, version FROM pointer WHERE removed IS NULL AND package_id IN ($1)";
    REMOVE_POINTERS = "UPDATE pointer SET removed = $1 WHERE id IN ($2)";
    INSERT_POINTERS = "INSERT INTO pointer (id, package_id, repository_id, name, version, added) VALUES ($1, $2, $3, $4, $5, $6)";

    DELETE_DOCUMENTS = "DELETE FROM document WHERE repository_id = $1 AND package IN ($2)";
    PUT_DOCUMENTS = "INSERT INTO document (repository_id, path, package, media_type, sha256, size, generation, body)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (repository_id, path) DO UPDATE SET package = excluded.package, media_type = excluded.media_type,
        sha256 = excluded.sha256, size = excluded.size, generation = excluded.generation, body = excluded.body";

    ADD_CHANGES = "INSERT INTO generation_more (repository_id, n, part, changes) VALUES ($1, $2, $3, $4)";
    CHANGES = "SELECT changes FROM generation WHERE repository_id = $1 AND n = $2";
    MORE_CHANGES = "SELECT changes FROM generation_more WHERE repository_id = $1 AND n = $2 AND part >= $3 ORDER BY part LIMIT 1";
}

/// A path that a file has now.
#[derive(Clone, Debug)]
pub struct TakenPath {
    /// The path.
    pub path: String,
    /// Its bytes.
    pub sha256: Sha256,
    /// The package of the file.
    pub package: PackageId,
    /// The version of the file.
    pub version: String,
}

/// A file that is here, with what its format says of it.
#[derive(Clone, Debug)]
pub struct HeldFile {
    /// The row.
    pub id: i64,
    /// Its path.
    pub path: String,
    /// Its role.
    pub role: String,
    /// The format's metadata.
    pub meta: serde_json::Value,
    /// When it was committed.
    pub at: Timestamp,
    /// The generation that added it.
    pub added: u64,
}

/// A pointer as it stands.
#[derive(Clone, Debug)]
pub struct PointerAt {
    /// The row.
    pub id: i64,
    /// The package.
    pub package: PackageId,
    /// Its name.
    pub name: String,
    /// The version that it names.
    pub version: String,
}

fn each<T: Into<Value>>(values: impl IntoIterator<Item = T>) -> Vec<Vec<Value>> {
    values.into_iter().map(|value| vec![value.into()]).collect()
}

impl RegistryRows<'_> {
    /// Remembers digests of stored blobs; known blobs are left as they are.
    ///
    /// # Errors
    /// `Internal` when the database fails; so for every method here.
    pub async fn put_blobs(
        &mut self,
        blobs: impl IntoIterator<Item = &Digests>,
        now: Timestamp,
    ) -> Result<()> {
        // In the order of their digests: two writers who know the same blobs never wait for each other in a circle.
        let blobs: BTreeMap<&Sha256, &Digests> = blobs.into_iter().map(|d| (&d.sha256, d)).collect();
        let row = |d: &Digests| args![d.sha256, d.size, &d.sha512, &d.sha1, &d.md5, &d.blake2b_256, now];
        self.0.execute_many(PUT_BLOBS, blobs.into_values().map(row).collect()).await.map(drop)
    }

    /// The packages of these keys that are known, each with whether it shows any release.
    pub async fn packages_of(
        &mut self,
        repository: RepositoryId,
        keys: &[&str],
    ) -> Result<Vec<(PackageRow, bool)>> {
        let rows = self.0.all_of(PACKAGES_OF, &[repository.into()], each(keys.iter().copied())).await?;
        rows.iter().map(|row| Ok((package(row)?, row.flag("shown")?))).collect()
    }

    /// How many files packages have or had, at the most: what reading them whole costs. By key.
    pub async fn weights(&mut self, repository: RepositoryId, keys: &[&str]) -> Result<Vec<(String, u64)>> {
        let rows = self.0.all_of(WEIGHTS, &[repository.into()], each(keys.iter().copied())).await?;
        rows.iter().map(|row| Ok((row.text("key")?, row.size("files")?))).collect()
    }

    /// Adds packages, key and display name each; their ids in the same order.
    ///
    /// # Errors
    /// `Conflict` when a key is taken.
    pub async fn insert_packages(
        &mut self,
        repository: RepositoryId,
        packages: &[(&str, &str)],
    ) -> Result<Vec<PackageId>> {
        let ids: Vec<i64> = self.ids("package", packages.len()).await?.collect();
        let row = |(id, (key, display)): (&i64, &(&str, &str))| args![*id, repository, *key, *display];
        let rows = ids.iter().zip(packages).map(row).collect();
        self.0.execute_many(INSERT_PACKAGES, rows).await?;
        Ok(ids.into_iter().map(PackageId).collect())
    }

    /// Which of these releases, package and version each, are shown.
    pub async fn releases_at(&mut self, asked: &[(PackageId, &str)]) -> Result<Vec<(PackageId, String)>> {
        let asked = asked.iter().map(|(package, version)| args![*package, *version]).collect();
        let rows = self.0.all_of(RELEASES_AT, &[], asked).await?;
        rows.iter().map(|row| Ok((PackageId(row.int("package_id")?), row.text("version")?))).collect()
    }

    /// The releases that packages show, in no order.
    pub async fn releases_of(&mut self, packages: &[PackageId]) -> Result<Vec<(PackageId, ReleaseRow)>> {
        let rows = self.0.all_of(RELEASES_OF, &[], each(packages.iter().copied())).await?;
        rows.iter().map(|row| Ok((PackageId(row.int("package_id")?), release(row)?))).collect()
    }

    /// Adds releases in a generation.
    ///
    /// # Errors
    /// `Conflict` when one is there.
    pub async fn insert_releases(
        &mut self,
        repository: RepositoryId,
        releases: &[NewRelease<'_>],
        generation: u64,
    ) -> Result<()> {
        let ids = self.ids("release", releases.len()).await?;
        let row = |(id, r): (i64, &NewRelease<'_>)| {
            args![
                id,
                r.package_id,
                repository,
                r.version,
                r.state,
                r.yank_reason,
                r.meta,
                r.published,
                &r.purl,
                generation
            ]
        };
        self.0.execute_many(INSERT_RELEASES, ids.zip(releases).map(row).collect()).await.map(drop)
    }

    /// Which of these paths files have now.
    pub async fn files_at(&mut self, repository: RepositoryId, paths: &[&str]) -> Result<Vec<TakenPath>> {
        let rows = self.0.all_of(FILES_AT, &[repository.into()], each(paths.iter().copied())).await?;
        let taken = |row: &crate::Row| {
            Ok(TakenPath {
                path: row.text("path")?,
                sha256: row.sha256("sha256")?,
                package: PackageId(row.int("package_id")?),
                version: row.text("version")?,
            })
        };
        rows.iter().map(taken).collect()
    }

    /// The files that these paths have now, with their metadata.
    pub async fn held_at(&mut self, repository: RepositoryId, paths: &[&str]) -> Result<Vec<HeldFile>> {
        let rows = self.0.all_of(HELD_AT, &[repository.into()], each(paths.iter().copied())).await?;
        let held = |row: &crate::Row| {
            Ok(HeldFile {
                id: row.int("id")?,
                path: row.text("path")?,
                role: row.text("role")?,
                meta: row.json("meta")?,
                at: row.time("at")?,
                added: row.size("added")?,
            })
        };
        rows.iter().map(held).collect()
    }

    /// Ends files in a generation; the rows stay as history. Something is to take their paths in the same generation.
    pub async fn end_files(&mut self, rows: &[i64], generation: u64) -> Result<()> {
        let rows = rows.iter().map(|id| Value::from(*id)).collect();
        self.0.execute_in(END_FILES, &[generation.into()], rows).await.map(drop)
    }

    /// What these paths once were, in any generation, and are no longer.
    pub async fn removed_at(
        &mut self,
        repository: RepositoryId,
        paths: &[&str],
    ) -> Result<Vec<(String, Sha256)>> {
        let rows = self.0.all_of(REMOVED_AT, &[repository.into()], each(paths.iter().copied())).await?;
        rows.iter().map(|row| Ok((row.text("path")?, row.sha256("sha256")?))).collect()
    }

    /// The files that packages show, by path.
    pub async fn files_of(&mut self, packages: &[PackageId]) -> Result<Vec<FileRow>> {
        let rows = self.0.all_of(FILES_OF, &[], each(packages.iter().copied())).await?;
        let mut files = rows.iter().map(file).collect::<Result<Vec<_>>>()?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Adds files in a generation.
    ///
    /// # Errors
    /// `Conflict` when a path is taken.
    pub async fn insert_files(
        &mut self,
        repository: RepositoryId,
        files: &[NewFile<'_>],
        generation: u64,
    ) -> Result<()> {
        let ids = self.ids("file", files.len()).await?;
        let row = |(id, f): (i64, &NewFile<'_>)| {
            args![id, f.package_id, repository, f.version, f.path, f.role, f.sha256, f.meta, f.at, generation]
        };
        self.0.execute_many(INSERT_FILES, ids.zip(files).map(row).collect()).await.map(drop)
    }

    /// The pointers of packages, in no order.
    pub async fn pointers_of(&mut self, packages: &[PackageId]) -> Result<Vec<PointerAt>> {
        let rows = self.0.all_of(POINTERS_OF, &[], each(packages.iter().copied())).await?;
        let pointer = |row: &crate::Row| {
            Ok(PointerAt {
                id: row.int("id")?,
                package: PackageId(row.int("package_id")?),
                name: row.text("name")?,
                version: row.text("version")?,
            })
        };
        rows.iter().map(pointer).collect()
    }

    /// Ends pointers in a generation; the rows stay as history.
    pub async fn remove_pointers(&mut self, rows: &[i64], generation: u64) -> Result<()> {
        let rows = rows.iter().map(|id| Value::from(*id)).collect();
        self.0.execute_in(REMOVE_POINTERS, &[generation.into()], rows).await.map(drop)
    }

    /// Adds pointers in a generation: package, name and version each.
    ///
    /// # Errors
    /// `Conflict` when one of the name is there.
    pub async fn insert_pointers(
        &mut self,
        repository: RepositoryId,
        pointers: &[(PackageId, &str, &str)],
        generation: u64,
    ) -> Result<()> {
        let ids = self.ids("pointer", pointers.len()).await?;
        let row = |(id, (package, name, version)): (i64, &(PackageId, &str, &str))| {
            args![id, *package, repository, *name, *version, generation]
        };
        self.0.execute_many(INSERT_POINTERS, ids.zip(pointers).map(row).collect()).await.map(drop)
    }

    /// Stores the rendered documents of packages (empty key: the repository's own) in place of those before.
    pub async fn put_documents(
        &mut self,
        repository: RepositoryId,
        packages: &[&str],
        documents: Vec<NewDocument>,
        generation: u64,
    ) -> Result<()> {
        let keys = packages.iter().map(|key| Value::from(*key)).collect();
        self.0.execute_in(DELETE_DOCUMENTS, &[repository.into()], keys).await?;
        let row = |d: NewDocument| {
            args![repository, d.path, d.package, d.media_type, d.sha256, d.size, generation, d.gzip]
        };
        // PostgreSQL refuses one statement that stores a path twice; the later one counts.
        let by_path: BTreeMap<String, NewDocument> =
            documents.into_iter().map(|d| (d.path.clone(), d)).collect();
        self.0.execute_many(PUT_DOCUMENTS, by_path.into_values().map(row).collect()).await.map(drop)
    }

    /// Adds a part, from 1, of a generation's changes to what its own row holds.
    pub async fn add_changes(&mut self, id: RepositoryId, n: u64, part: u64, changes: &str) -> Result<()> {
        self.0.execute(ADD_CHANGES, args![id, n, part, changes]).await.map(drop)
    }

    /// A part, from 0, of a generation's changes as JSON; `None` after the last.
    pub async fn changes(&mut self, id: RepositoryId, n: u64, part: u64) -> Result<Option<String>> {
        let row = match part {
            0 => self.0.optional(CHANGES, args![id, n]).await?,
            _ => self.0.optional(MORE_CHANGES, args![id, n, part]).await?,
        };
        row.map(|row| row.text("changes")).transpose()
    }

    /// Numbers for `count` new rows.
    async fn ids(&mut self, sequence: &'static str, count: usize) -> Result<std::ops::Range<i64>> {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if count == 0 {
            return Ok(0..0);
        }
        let first = self.0.take_ids(sequence, count).await?;
        Ok(first..first + count)
    }
}
