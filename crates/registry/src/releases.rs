//! Releases on their way through the gate, many at a time.
//!
//! What is there already is asked for in a few statements, every draft is judged in its order against that and what
//! the drafts before it add, and what is new is written in a few statements. The judgement is the gate's: names that
//! agree, and bytes that never change. Of a file that is here, one thing may come later: upstream's proofs, once, where it
//! has none.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use cofferdam_format_kit::{Change, Draft, DraftFile, Format, path_segments, proofs};
use cofferdam_store::{HeldFile, NewFile, NewRelease};
use cofferdam_types::{Digests, Error, PackageId, PackageUrl, Result, Sha256, Timestamp};
use serde_json::{Value, json};

use crate::gate::{Gate, immutable};

/// What is there, of all that the drafts name.
#[derive(Default)]
struct There<'a> {
    /// Id, and whether it shows a release, by key.
    packages: HashMap<&'a str, (PackageId, bool)>,
    releases: HashSet<(PackageId, &'a str)>,
    /// Bytes, package and version by path.
    files: HashMap<String, (Sha256, PackageId, Cow<'a, str>)>,
    /// Files without proofs, of those for which the drafts have some.
    unproved: HashMap<String, HeldFile>,
    /// Bytes that paths once had, and have no longer.
    removed: HashMap<String, Vec<Sha256>>,
    /// By package and name.
    pointers: HashMap<(PackageId, Cow<'a, str>), Pointing<'a>>,
}

/// A pointer's row (none when these drafts made it) and its version.
type Pointing<'a> = (Option<i64>, Cow<'a, str>);

/// What is to be written.
#[derive(Default)]
struct New<'a> {
    releases: Vec<NewRelease<'a>>,
    files: Vec<NewFile<'a>>,
    /// Files that are here and gain proofs: their rows, and what stands there from now on.
    proved: Vec<Proved<'a>>,
    blobs: Vec<&'a Digests>,
    /// Rows of pointers that move.
    moved: Vec<i64>,
    /// Where pointers are moved to.
    pointers: HashMap<(PackageId, &'a str), &'a str>,
}

/// A file that is here, with the proofs that it gained.
struct Proved<'a> {
    held: HeldFile,
    package: PackageId,
    version: &'a str,
    sha256: Sha256,
}

impl Proved<'_> {
    fn row(&self) -> NewFile<'_> {
        NewFile {
            package_id: self.package,
            version: self.version,
            path: &self.held.path,
            role: &self.held.role,
            sha256: self.sha256,
            meta: &self.held.meta,
            at: self.held.at,
        }
    }
}

impl Gate<'_> {
    /// Takes releases, in their order.
    pub(crate) async fn apply_releases(&mut self, changes: &[Change]) -> Result<()> {
        let drafts: Vec<&Draft> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Release(draft) => Some(draft),
                _ => None,
            })
            .collect();
        for draft in &drafts {
            check_names(self.format.as_ref(), draft)?;
        }
        let mut there = self.there(&drafts).await?;
        let mut new = New::default();
        for (change, draft) in changes.iter().zip(&drafts) {
            let changed = self.judge(draft, &mut there, &mut new)?;
            self.note(change, &draft.package, changed)?;
        }
        self.files += new.files.len();
        let (repository, generation) = (self.repository.id, self.generation);
        let mut rows = self.tx.registry();
        rows.insert_releases(repository, &new.releases, generation).await?;
        rows.put_blobs(new.blobs, self.now).await?;
        rows.insert_files(repository, &new.files, generation).await?;
        let ended: Vec<i64> = new.proved.iter().map(|proved| proved.held.id).collect();
        rows.end_files(&ended, generation).await?;
        let proved: Vec<NewFile<'_>> = new.proved.iter().map(Proved::row).collect();
        rows.insert_files(repository, &proved, generation).await?;
        rows.remove_pointers(&new.moved, generation).await?;
        let mut pointers: Vec<_> = new.pointers.into_iter().map(|((id, name), to)| (id, name, to)).collect();
        pointers.sort_unstable();
        rows.insert_pointers(repository, &pointers, generation).await
    }

    /// Looks up everything that the drafts name; packages that are not there are added.
    async fn there<'a>(&mut self, drafts: &[&'a Draft]) -> Result<There<'a>> {
        let repository = self.repository.id;
        let mut rows = self.tx.registry();
        let mut there = There::default();
        let keys = distinct(drafts.iter().map(|d| d.package.as_str()));
        let mut ids: HashMap<String, (PackageId, bool)> = HashMap::new();
        for (package, shown) in rows.packages_of(repository, &keys).await? {
            ids.insert(package.key, (package.id, shown));
        }
        let mut unknown: Vec<(&str, &str)> = Vec::new();
        let mut added: HashSet<&str> = HashSet::new();
        for draft in drafts {
            match ids.get(&draft.package) {
                Some(known) => drop(there.packages.insert(&draft.package, *known)),
                None if added.insert(&draft.package) => unknown.push((&draft.package, &draft.display)),
                None => {}
            }
        }
        let new = rows.insert_packages(repository, &unknown).await?;
        there.packages.extend(unknown.into_iter().zip(new).map(|((key, _), id)| (key, (id, false))));

        // What a new package has is known: nothing.
        let asked = drafts.iter().filter_map(|draft| {
            let (id, _) = ids.get(&draft.package)?;
            Some((*id, draft.version.as_str()))
        });
        let asked = distinct(asked);
        let found: HashSet<(PackageId, String)> = rows.releases_at(&asked).await?.into_iter().collect();
        there.releases =
            asked.into_iter().filter(|(id, v)| found.contains(&(*id, (*v).to_owned()))).collect();

        let paths = distinct(drafts.iter().flat_map(|d| &d.files).map(|f| f.path.as_str()));
        for (path, sha256) in rows.removed_at(repository, &paths).await? {
            there.removed.entry(path).or_default().push(sha256);
        }
        for at in rows.files_at(repository, &paths).await? {
            there.files.insert(at.path, (at.sha256, at.package, at.version.into()));
        }
        let proving = drafts.iter().flat_map(|d| &d.files).filter(|f| proofs::of(&f.meta).next().is_some());
        let proving =
            distinct(proving.map(|f| f.path.as_str()).filter(|path| there.files.contains_key(*path)));
        if !proving.is_empty() {
            for held in rows.held_at(repository, &proving).await? {
                // A row lives for a generation at least.
                if proofs::of(&held.meta).next().is_none() && held.added < self.generation {
                    there.unproved.insert(held.path.clone(), held);
                }
            }
        }
        if drafts.iter().any(|draft| !draft.pointers.is_empty()) {
            let known: Vec<PackageId> = ids.values().map(|(id, _)| *id).collect();
            for at in rows.pointers_of(&known).await? {
                there.pointers.insert((at.package, at.name.into()), (Some(at.id), at.version.into()));
            }
        }
        Ok(there)
    }

    /// Judges one draft and notes what is new of it; whether anything is.
    fn judge<'a>(&mut self, draft: &'a Draft, there: &mut There<'a>, new: &mut New<'a>) -> Result<bool> {
        let (id, shown) = there.packages.get(draft.package.as_str()).copied().ok_or_else(|| {
            Error::internal("a package was not looked up", std::io::Error::other(draft.package.clone()))
        })?;
        let mut changed = false;
        if there.releases.insert((id, &draft.version)) {
            self.names_changed |= !shown;
            there.packages.insert(&draft.package, (id, true));
            new.releases.push(self.new_release(id, draft));
            changed = true;
        }
        for file in &draft.files {
            changed |= judge_file(id, &draft.version, file, self.now, there, new)?;
        }
        for name in &draft.pointers {
            changed |= judge_pointer(id, name, &draft.version, there, new);
        }
        Ok(changed)
    }

    fn new_release<'a>(&self, package_id: PackageId, draft: &'a Draft) -> NewRelease<'a> {
        NewRelease {
            package_id,
            version: &draft.version,
            state: if draft.yanked.is_some() { "yanked" } else { "admitted" },
            yank_reason: draft.yanked.as_deref().unwrap_or_default(),
            meta: &draft.meta,
            published: draft.published.unwrap_or(self.now),
            purl: PackageUrl::new(self.format.purl_type(), &draft.package, &draft.version).to_string(),
        }
    }
}

/// The law: a path has the bytes that it got first, for ever.
fn judge_file<'a>(
    id: PackageId,
    version: &'a str,
    file: &'a DraftFile,
    now: Timestamp,
    there: &mut There<'a>,
    new: &mut New<'a>,
) -> Result<bool> {
    let sha256 = file.digests.sha256;
    if let Some(at) = there.files.get(&file.path) {
        if *at != (sha256, id, version.into()) {
            return Err(immutable(&file.path));
        }
        let gains = proofs::of(&file.meta).next().is_some();
        let Some(mut held) = gains.then(|| there.unproved.remove(&file.path)).flatten() else {
            return Ok(false);
        };
        held.meta = with_proofs(held.meta, &file.meta);
        new.proved.push(Proved { held, package: id, version, sha256 });
        return Ok(true);
    }
    if there.removed.get(&file.path).is_some_and(|once| once.iter().any(|was| *was != sha256)) {
        return Err(immutable(&file.path));
    }
    there.files.insert(file.path.clone(), (sha256, id, version.into()));
    new.blobs.push(&file.digests);
    new.files.push(NewFile {
        package_id: id,
        version,
        path: &file.path,
        role: &file.role,
        sha256,
        meta: &file.meta,
        at: now,
    });
    Ok(true)
}

/// A file's metadata with the proofs of another's, and nothing else of it.
fn with_proofs(held: Value, brought: &Value) -> Value {
    let mut meta = if held.is_object() { held } else { json!({}) };
    meta[proofs::FIELD] = brought.get(proofs::FIELD).cloned().unwrap_or_default();
    meta
}

fn judge_pointer<'a>(
    id: PackageId,
    name: &'a str,
    version: &'a str,
    there: &mut There<'a>,
    new: &mut New<'a>,
) -> bool {
    let key = (id, Cow::from(name));
    match there.pointers.get(&key) {
        Some((_, at)) if at == version => return false,
        Some((row, _)) => new.moved.extend(*row),
        None => {}
    }
    there.pointers.insert(key, (None, version.into()));
    new.pointers.insert((id, name), version);
    true
}

/// A draft's names must be what the format itself makes of them: a format that forgot to
/// normalise must not get two keys for one package past the gate.
fn check_names(format: &dyn Format, draft: &Draft) -> Result<()> {
    let key = format.package_key(&draft.display)?;
    if key != draft.package {
        return Err(Error::invalid(
            "package-key",
            format!("`{}` normalises to `{key}`, not to `{}`", draft.display, draft.package),
        ));
    }
    if draft.version.is_empty() || draft.version.len() > 200 || draft.version.chars().any(char::is_control) {
        return Err(Error::invalid(
            "version",
            format!("a version of {} is empty or unusable", draft.package),
        ));
    }
    for file in &draft.files {
        let clean = path_segments(&file.path)?.join("/");
        if clean != file.path || file.path.len() > 1000 {
            return Err(Error::invalid("file-path", format!("`{}` is not a plain relative path", file.path)));
        }
    }
    Ok(())
}

fn distinct<T: Copy + Eq + std::hash::Hash>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    all.filter(|one| seen.insert(*one)).collect()
}
