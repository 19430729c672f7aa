//! What a project's lock files and its `cofferdam.want` name.
//!
//! Reads files of the folder as git sees it; runs nothing. A file that cannot be read is told and stops nothing.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use cofferdam_crossing::Mention;
use cofferdam_lockfiles::{Ecosystem, Kind, Listed, MAX_TEXT, Reading, kind_of, read, read_as};
use cofferdam_types::{Error, Result};

use super::sources::files_of;

/// Mentions that are told to a site, at most.
const MOST: usize = 50_000;
/// Folders that tools fill: their lock files are of other projects.
const FILLED: [&str; 6] = ["node_modules", ".venv", "venv", "target", "vendor", ".git"];

/// What a folder's files name.
#[derive(Default)]
pub struct Mentions {
    /// For the site: where each package is named.
    pub list: Vec<Mention>,
    /// The files that were read, with their kinds, by path.
    pub files: Vec<(String, Kind)>,
    /// What could not be read or listed, in words.
    pub notes: Vec<String>,
    /// Everything listed, with the file.
    pub listed: Vec<(String, Listed)>,
}

impl Mentions {
    /// The paths of the files that were read.
    pub fn paths(&self) -> Vec<&str> {
        self.files.iter().map(|(path, _)| path.as_str()).collect()
    }

    fn add(&mut self, path: &str, reading: Reading) {
        self.files.push((path.to_owned(), reading.kind));
        self.notes
            .extend(reading.notes.into_iter().map(|note| format!("{path}:{}: {}", note.line, note.text)));
        for item in reading.items {
            if self.list.len() < MOST {
                self.list.push(Mention {
                    ecosystem: item.ecosystem.to_string(),
                    name: item.name.clone(),
                    version: item.version.exact().unwrap_or_default().to_owned(),
                    digests: item.digests.clone(),
                    place: format!("{path}:{}", item.line),
                    address: archive_of(&item),
                });
            }
            self.listed.push((path.to_owned(), item));
        }
    }
}

/// The address of a package's archive, of those lock files that say it: of the others the source is a registry.
fn archive_of(item: &Listed) -> String {
    let of = item.source.as_ref().filter(|_| item.ecosystem == Ecosystem::Composer);
    of.cloned().unwrap_or_default()
}

/// Reads every lock file and list of wants of a folder.
///
/// # Errors
/// `Invalid` when the folder is none.
pub fn mentions_of(folder: &Path) -> Result<Mentions> {
    let filled = |path: &Path| path.components().any(|c| FILLED.iter().any(|f| c.as_os_str() == *f));
    let mut files = files_of(folder)?;
    files.retain(|path| !filled(path));
    files.sort();
    let known = files.into_iter().filter(|path| kind_of(&path.to_string_lossy()).is_some());
    let mut mentions = Mentions::default();
    follow(folder, known.map(|path| (path, None)).collect(), &mut mentions);
    Ok(mentions)
}

/// Reads one file, whatever it is called; its mistakes are errors.
///
/// # Errors
/// `Invalid` with file, line and reason.
pub fn mentions_in(file: &Path) -> Result<Mentions> {
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let folder = file.parent().unwrap_or(Path::new("."));
    let reading = read(&name, &text_of(file)?)?;
    let includes = included(&reading);
    let mut mentions = Mentions::default();
    mentions.add(&name, reading);
    follow(folder, includes, &mut mentions);
    Ok(mentions)
}

/// Reads files and what they include; each once.
fn follow(folder: &Path, mut open: Vec<(PathBuf, Option<Kind>)>, mentions: &mut Mentions) {
    let mut seen: BTreeSet<PathBuf> = mentions.files.iter().map(|(path, _)| path.into()).collect();
    open.reverse();
    while let Some((path, kind)) = open.pop() {
        // Nothing outside of the folder is read, whatever a file includes.
        let inside = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !inside || !seen.insert(path.clone()) {
            continue;
        }
        let name = path.to_string_lossy().into_owned();
        let reading = text_of(&folder.join(&path)).and_then(|text| match kind {
            Some(kind) => read_as(kind, &name, &text),
            None => read(&name, &text),
        });
        match reading {
            Ok(reading) => {
                open.extend(included(&reading));
                mentions.add(&name, reading);
            }
            Err(error) => mentions.notes.push(error.message().to_owned()),
        }
    }
}

fn included(reading: &Reading) -> Vec<(PathBuf, Option<Kind>)> {
    reading.includes.iter().map(|path| (PathBuf::from(path), Some(reading.kind))).collect()
}

fn text_of(path: &Path) -> Result<String> {
    let failed = |e| Error::io(format!("reading {}", path.display()), e);
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_TEXT as u64 {
        let text = format!("{} has {size} bytes, more than {MAX_TEXT}", path.display());
        return Err(Error::invalid("lock-file", text));
    }
    Ok(String::from_utf8_lossy(&std::fs::read(path).map_err(failed)?).into_owned())
}
