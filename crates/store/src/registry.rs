//! Rows of the registry: blobs, repositories, generations, packages, releases, files, pointers and
//! rendered documents. What may be committed is decided in the `registry` crate.

use cofferdam_types::{Digests, PackageId, RepositoryId, Result, Sha256, Timestamp};

use crate::{
    Row, Tx,
    sql::{args, statements},
};

statements! {
    BLOB = "SELECT sha256, size, sha512, sha1, md5, blake2b_256 FROM blob WHERE sha256 = $1";

    INSERT_REPOSITORY = "INSERT INTO repository (id, name, format, kind, generation, root, created)
        VALUES ($1, $2, $3, $4, 0, $5, $6)";
    REPOSITORY = "SELECT id, name, format, kind, generation, root FROM repository WHERE name = $1";
    REPOSITORY_BY_ID = "SELECT id, name, format, kind, generation, root FROM repository WHERE id = $1";
    REPOSITORIES = "SELECT id, name, format, kind, generation, root FROM repository WHERE name > $1 ORDER BY name LIMIT $2";
    ADD_MEMBER = "INSERT INTO repository_member (group_id, member_id, position) VALUES ($1, $2, $3)";
    MEMBERS = "SELECT r.id, r.name, r.format, r.kind, r.generation, r.root FROM repository_member m
        JOIN repository r ON r.id = m.member_id WHERE m.group_id = $1 ORDER BY m.position";
    GROUPS_OF = "SELECT r.id, r.name, r.format, r.kind, r.generation, r.root FROM repository_member m
        JOIN repository r ON r.id = m.group_id WHERE m.member_id = $1 ORDER BY r.id";

    /// The row lock makes generations of one repository come one after the other.
    NEXT_GENERATION = "UPDATE repository SET generation = generation + 1 WHERE id = $1 RETURNING generation, root";
    PREVIOUS_GENERATION = "UPDATE repository SET generation = generation - 1 WHERE id = $1";
    SET_ROOT = "UPDATE repository SET root = $2 WHERE id = $1";
    INSERT_GENERATION = "INSERT INTO generation (repository_id, n, root, changes, cause, actor, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    GENERATIONS = "SELECT n, root, cause, actor, at FROM generation WHERE repository_id = $1 AND n < $2 ORDER BY n DESC LIMIT $3";

    PACKAGE = "SELECT id, key, display FROM package WHERE repository_id = $1 AND key = $2";
    PACKAGES = "SELECT p.id, p.key, p.display FROM package p WHERE p.repository_id = $1 AND p.key > $2
        AND EXISTS (SELECT 1 FROM release r WHERE r.package_id = p.id AND r.removed IS NULL) ORDER BY p.key LIMIT $3";
    SEARCH = "SELECT p.id, p.key, p.display FROM package p WHERE p.repository_id = $1
        AND (p.key LIKE $2 ESCAPE '!' OR LOWER(p.display) LIKE $2 ESCAPE '!')
        AND EXISTS (SELECT 1 FROM release r WHERE r.package_id = p.id AND r.removed IS NULL)
        ORDER BY LENGTH(p.key), p.key LIMIT $3";
    COUNTS = "SELECT (SELECT COUNT(DISTINCT package_id) FROM release WHERE repository_id = $1 AND removed IS NULL) AS packages,
        (SELECT COUNT(*) FROM release WHERE repository_id = $1 AND removed IS NULL) AS releases,
        (SELECT COUNT(*) FROM file WHERE repository_id = $1 AND removed IS NULL) AS files,
        (SELECT CAST(COALESCE(SUM(b.size), 0) AS BIGINT) FROM file f JOIN blob b ON b.sha256 = f.sha256
            WHERE f.repository_id = $1 AND f.removed IS NULL) AS bytes";

    HAS_RELEASE = "SELECT 1 AS yes FROM release WHERE package_id = $1 AND removed IS NULL LIMIT 1";
    RELEASE = "SELECT version, state, yank_reason, meta, published, purl FROM release WHERE package_id = $1 AND version = $2 AND removed IS NULL";
    REMOVE_RELEASE = "UPDATE release SET removed = $3 WHERE package_id = $1 AND version = $2 AND removed IS NULL";

    FILE = "SELECT f.version, f.path, f.role, f.meta, f.at, b.sha256, b.size, b.sha512, b.sha1, b.md5, b.blake2b_256, p.key, p.id AS package_id
        FROM file f JOIN blob b ON b.sha256 = f.sha256 JOIN package p ON p.id = f.package_id
        WHERE f.repository_id = $1 AND f.path = $2 AND f.removed IS NULL";
    FILES_BELOW = "SELECT f.version, f.path, f.role, f.meta, f.at, b.sha256, b.size, b.sha512, b.sha1, b.md5, b.blake2b_256, p.key, p.id AS package_id
        FROM file f JOIN blob b ON b.sha256 = f.sha256 JOIN package p ON p.id = f.package_id
        JOIN release r ON r.package_id = f.package_id AND r.version = f.version AND r.removed IS NULL
        WHERE f.repository_id = $1 AND f.path > $2 AND f.path < $3 AND f.removed IS NULL ORDER BY r.published, f.path";
    REMOVE_FILES = "UPDATE file SET removed = $3 WHERE package_id = $1 AND version = $2 AND removed IS NULL";
    BLOB_REFERENCED = "SELECT 1 AS yes FROM file WHERE sha256 = $1 UNION ALL SELECT 1 FROM artifact WHERE sha256 = $1 LIMIT 1";

    REMOVE_POINTERS_TO = "UPDATE pointer SET removed = $3 WHERE package_id = $1 AND version = $2 AND removed IS NULL";

    DOCUMENT = "SELECT path, media_type, sha256, size FROM document WHERE repository_id = $1 AND path = $2";
    DOCUMENT_BODY = "SELECT body FROM document WHERE repository_id = $1 AND path = $2 AND sha256 = $3";
}

/// A stored blob's digests.
pub type BlobRow = Digests;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryRow {
    /// Its id.
    pub id: RepositoryId,
    /// Its name in URLs.
    pub name: String,
    /// Its format's name.
    pub format: String,
    /// `hosted`, `mirror` or `group`.
    pub kind: String,
    /// The newest generation's number; 0 before the first commit.
    pub generation: u64,
    /// The newest generation's root digest.
    pub root: Sha256,
}

/// A generation.
#[derive(Clone, Debug)]
pub struct GenerationRow {
    /// Its number.
    pub n: u64,
    /// Its root digest: SHA-256 over the previous root and this generation's changes.
    pub root: Sha256,
    /// What caused it, such as `publish` or `transfer 7`.
    pub cause: String,
    /// Who.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

/// A package.
#[derive(Clone, Debug)]
pub struct PackageRow {
    /// Its id.
    pub id: PackageId,
    /// Its normalised name.
    pub key: String,
    /// Its name as written.
    pub display: String,
}

/// A release.
#[derive(Clone, Debug)]
pub struct ReleaseRow {
    /// The version.
    pub version: String,
    /// `admitted` or `yanked`.
    pub state: String,
    /// Why it was yanked.
    pub yank_reason: String,
    /// The format's metadata as JSON.
    pub meta: serde_json::Value,
    /// When it was published.
    pub published: Timestamp,
    /// Its package URL.
    pub purl: String,
}

/// A file with its digests.
#[derive(Clone, Debug)]
pub struct FileRow {
    /// The package it belongs to.
    pub package_id: PackageId,
    /// That package's key.
    pub package: String,
    /// The version it belongs to.
    pub version: String,
    /// Its path.
    pub path: String,
    /// Its role.
    pub role: String,
    /// The format's metadata as JSON.
    pub meta: serde_json::Value,
    /// When it was committed.
    pub at: Timestamp,
    /// Its digests.
    pub digests: Digests,
}

/// A rendered document without its body.
#[derive(Clone, Debug)]
pub struct DocumentRow {
    /// Its path.
    pub path: String,
    /// Its media type.
    pub media_type: String,
    /// The digest of its text.
    pub sha256: Sha256,
    /// The size of its text in bytes.
    pub size: u64,
}

/// A release to be inserted.
#[derive(Clone, Debug)]
pub struct NewRelease<'a> {
    /// Its package.
    pub package_id: PackageId,
    /// The version.
    pub version: &'a str,
    /// `admitted` or `yanked`.
    pub state: &'a str,
    /// Why it is yanked.
    pub yank_reason: &'a str,
    /// The format's metadata.
    pub meta: &'a serde_json::Value,
    /// When it was published.
    pub published: Timestamp,
    /// Its package URL.
    pub purl: String,
}

/// A file to be inserted.
#[derive(Clone, Debug)]
pub struct NewFile<'a> {
    /// Its package.
    pub package_id: PackageId,
    /// The version it belongs to.
    pub version: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Its role.
    pub role: &'a str,
    /// Its bytes.
    pub sha256: Sha256,
    /// The format's metadata.
    pub meta: &'a serde_json::Value,
    /// When it is committed.
    pub at: Timestamp,
}

/// A document to be stored.
#[derive(Clone, Debug)]
pub struct NewDocument {
    /// Its path.
    pub path: String,
    /// The package that it belongs to; empty for the repository's own.
    pub package: String,
    /// Its media type.
    pub media_type: String,
    /// The digest of its text.
    pub sha256: Sha256,
    /// The size of its text.
    pub size: u64,
    /// Its text, gzip-compressed.
    pub gzip: Vec<u8>,
}

/// Rows of the registry.
pub struct RegistryRows<'t>(pub(crate) &'t mut Tx);

impl RegistryRows<'_> {
    /// A blob's digests.
    pub async fn blob(&mut self, sha256: &Sha256) -> Result<Option<BlobRow>> {
        self.0.optional(BLOB, args![sha256]).await?.map(|row| digests(&row)).transpose()
    }

    /// Whether any file of any repository and generation, or any job's artifact, has these bytes.
    pub async fn blob_referenced(&mut self, sha256: &Sha256) -> Result<bool> {
        Ok(self.0.optional(BLOB_REFERENCED, args![sha256]).await?.is_some())
    }

    /// Creates a repository.
    ///
    /// # Errors
    /// `Conflict` when there is one of that name.
    pub async fn create(
        &mut self,
        name: &str,
        format: &str,
        kind: &str,
        root: Sha256,
        now: Timestamp,
    ) -> Result<RepositoryId> {
        let id = self.0.next_id("repository").await?;
        self.0.execute(INSERT_REPOSITORY, args![id, name, format, kind, root, now]).await?;
        Ok(RepositoryId(id))
    }

    /// A repository by name.
    pub async fn repository(&mut self, name: &str) -> Result<Option<RepositoryRow>> {
        self.0.optional(REPOSITORY, args![name]).await?.map(|row| repository(&row)).transpose()
    }

    /// A repository by id.
    pub async fn repository_by_id(&mut self, id: RepositoryId) -> Result<Option<RepositoryRow>> {
        self.0.optional(REPOSITORY_BY_ID, args![id]).await?.map(|row| repository(&row)).transpose()
    }

    /// A page of repositories by name.
    pub async fn repositories(&mut self, after: &str, limit: usize) -> Result<Vec<RepositoryRow>> {
        self.0.all(REPOSITORIES, args![after, limit]).await?.iter().map(repository).collect()
    }

    /// Makes a repository a member of a group.
    pub async fn add_member(
        &mut self,
        group: RepositoryId,
        member: RepositoryId,
        position: usize,
    ) -> Result<()> {
        self.0.execute(ADD_MEMBER, args![group, member, position]).await.map(drop)
    }

    /// A group's members in order.
    pub async fn members(&mut self, group: RepositoryId) -> Result<Vec<RepositoryRow>> {
        self.0.all(MEMBERS, args![group]).await?.iter().map(repository).collect()
    }

    /// The groups that a repository is a member of.
    pub async fn groups_of(&mut self, member: RepositoryId) -> Result<Vec<RepositoryRow>> {
        self.0.all(GROUPS_OF, args![member]).await?.iter().map(repository).collect()
    }

    /// Takes the next generation number of a repository, and the previous root.
    pub async fn next_generation(&mut self, id: RepositoryId) -> Result<(u64, Sha256)> {
        let row = self.0.one(NEXT_GENERATION, args![id]).await?;
        Ok((row.size("generation")?, row.sha256("root")?))
    }

    /// Gives the number back that [`Self::next_generation`] took in this transaction: nothing changed.
    pub async fn previous_generation(&mut self, id: RepositoryId) -> Result<()> {
        self.0.execute(PREVIOUS_GENERATION, args![id]).await.map(drop)
    }

    /// Records a generation; `changes` is its list of changes as JSON.
    pub async fn insert_generation(
        &mut self,
        id: RepositoryId,
        row: &GenerationRow,
        changes: &str,
    ) -> Result<()> {
        self.0.execute(SET_ROOT, args![id, row.root]).await?;
        let values = args![id, row.n, row.root, changes, &row.cause, &row.actor, row.at];
        self.0.execute(INSERT_GENERATION, values).await.map(drop)
    }

    /// Generations before number `before`, newest first.
    pub async fn generations(
        &mut self,
        id: RepositoryId,
        before: u64,
        limit: usize,
    ) -> Result<Vec<GenerationRow>> {
        let rows = self.0.all(GENERATIONS, args![id, before, limit]).await?;
        rows.iter()
            .map(|row| {
                Ok(GenerationRow {
                    n: row.size("n")?,
                    root: row.sha256("root")?,
                    cause: row.text("cause")?,
                    actor: row.text("actor")?,
                    at: row.time("at")?,
                })
            })
            .collect()
    }

    /// A package by key.
    pub async fn package(&mut self, repository: RepositoryId, key: &str) -> Result<Option<PackageRow>> {
        self.0.optional(PACKAGE, args![repository, key]).await?.map(|row| package(&row)).transpose()
    }

    /// A page of packages that have a release, by key.
    pub async fn packages(
        &mut self,
        repository: RepositoryId,
        after: &str,
        limit: usize,
    ) -> Result<Vec<PackageRow>> {
        self.0.all(PACKAGES, args![repository, after, limit]).await?.iter().map(package).collect()
    }

    /// Packages whose name contains `text` (lower case), shortest name first.
    pub async fn search(
        &mut self,
        repository: RepositoryId,
        text: &str,
        limit: usize,
    ) -> Result<Vec<PackageRow>> {
        let escaped: String = text
            .chars()
            .flat_map(|c| {
                let escape = matches!(c, '%' | '_' | '!').then_some('!');
                escape.into_iter().chain(c.to_lowercase())
            })
            .collect();
        let pattern = format!("%{escaped}%");
        self.0.all(SEARCH, args![repository, pattern, limit]).await?.iter().map(package).collect()
    }

    /// How much a repository shows: packages, releases, files, bytes.
    pub async fn counts(&mut self, repository: RepositoryId) -> Result<[u64; 4]> {
        let row = self.0.one(COUNTS, args![repository]).await?;
        Ok([row.size("packages")?, row.size("releases")?, row.size("files")?, row.size("bytes")?])
    }

    /// Whether a package shows any release.
    pub async fn has_release(&mut self, package: PackageId) -> Result<bool> {
        Ok(self.0.optional(HAS_RELEASE, args![package]).await?.is_some())
    }

    /// One release.
    pub async fn release(&mut self, package: PackageId, version: &str) -> Result<Option<ReleaseRow>> {
        self.0.optional(RELEASE, args![package, version]).await?.map(|row| release(&row)).transpose()
    }

    /// Ends a release row (and with `files`, its files and pointers) in a generation; `false` when
    /// there was none.
    pub async fn remove_release(
        &mut self,
        package: PackageId,
        version: &str,
        generation: u64,
        files: bool,
    ) -> Result<bool> {
        let found = self.0.execute(REMOVE_RELEASE, args![package, version, generation]).await? > 0;
        if files {
            self.0.execute(REMOVE_FILES, args![package, version, generation]).await?;
            self.0.execute(REMOVE_POINTERS_TO, args![package, version, generation]).await?;
        }
        Ok(found)
    }

    /// A file by path.
    pub async fn file(&mut self, repository: RepositoryId, path: &str) -> Result<Option<FileRow>> {
        self.0.optional(FILE, args![repository, path]).await?.map(|row| file(&row)).transpose()
    }

    /// Files whose path begins with `prefix`, which ends in a slash: those of the releases published
    /// first before others.
    pub async fn files_below(&mut self, repository: RepositoryId, prefix: &str) -> Result<Vec<FileRow>> {
        let end = crate::sql::after_folder(prefix);
        self.0.all(FILES_BELOW, args![repository, prefix, end]).await?.iter().map(file).collect()
    }

    /// A document's facts.
    pub async fn document(&mut self, repository: RepositoryId, path: &str) -> Result<Option<DocumentRow>> {
        let row = self.0.optional(DOCUMENT, args![repository, path]).await?;
        row.map(|row| {
            Ok(DocumentRow {
                path: row.text("path")?,
                media_type: row.text("media_type")?,
                sha256: row.sha256("sha256")?,
                size: row.size("size")?,
            })
        })
        .transpose()
    }

    /// A document's gzip-compressed text, if it is still the one of that digest.
    pub async fn document_gzip(
        &mut self,
        repository: RepositoryId,
        path: &str,
        sha256: &Sha256,
    ) -> Result<Option<Vec<u8>>> {
        let row = self.0.optional(DOCUMENT_BODY, args![repository, path, sha256]).await?;
        row.map(|row| row.bytes("body")).transpose()
    }
}

pub(crate) fn digests(row: &Row) -> Result<Digests> {
    Ok(Digests {
        sha256: row.sha256("sha256")?,
        size: row.size("size")?,
        sha512: row.text("sha512")?,
        sha1: row.text("sha1")?,
        md5: row.text("md5")?,
        blake2b_256: row.text("blake2b_256")?,
    })
}

fn repository(row: &Row) -> Result<RepositoryRow> {
    Ok(RepositoryRow {
        id: RepositoryId(row.int("id")?),
        name: row.text("name")?,
        format: row.text("format")?,
        kind: row.text("kind")?,
        generation: row.size("generation")?,
        root: row.sha256("root")?,
    })
}

pub(crate) fn package(row: &Row) -> Result<PackageRow> {
    Ok(PackageRow { id: PackageId(row.int("id")?), key: row.text("key")?, display: row.text("display")? })
}

pub(crate) fn release(row: &Row) -> Result<ReleaseRow> {
    Ok(ReleaseRow {
        version: row.text("version")?,
        state: row.text("state")?,
        yank_reason: row.text("yank_reason")?,
        meta: row.json("meta")?,
        published: row.time("published")?,
        purl: row.text("purl")?,
    })
}

pub(crate) fn file(row: &Row) -> Result<FileRow> {
    Ok(FileRow {
        package_id: PackageId(row.int("package_id")?),
        package: row.text("key")?,
        version: row.text("version")?,
        path: row.text("path")?,
        role: row.text("role")?,
        meta: row.json("meta")?,
        at: row.time("at")?,
        digests: digests(row)?,
    })
}
