//! Unpacks the artifacts of earlier jobs into the project folder.
//!
//! Both sides are hostile: the archive was made by another job, and the folder comes from a
//! repository that may hold links. Nothing may be written outside the folder, through a link, or
//! beyond the bounds; a bad archive fails the job and is never partly trusted.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use cofferdam_types::{Error, ErrorKind, Result};
use zip::ZipArchive;

use crate::archive::Bounds;

/// Longest target of a link in an archive, in bytes.
const MAX_LINK: u64 = 4096;

/// Unpacks `archive` into `project` and returns the number of files.
///
/// # Errors
/// `Invalid` for an archive with entries that lead out, `TooLarge` beyond `bounds`.
pub fn unzip(archive: File, project: &Path, bounds: Bounds) -> Result<u64> {
    let mut zip = ZipArchive::new(io::BufReader::new(archive)).map_err(broken)?;
    if zip.len() as u64 > bounds.entries {
        return Err(too_large(format!("more than {} files", bounds.entries)));
    }
    check_all(&mut zip)?;
    let mut left = bounds.bytes;
    let mut files = 0;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(broken)?;
        let name = safe_name(&entry.name().map_err(broken)?)?;
        if name.as_os_str().is_empty() {
            continue;
        }
        let target = project.join(&name);
        if entry.is_dir() {
            make_folders(project, &name)?;
        } else if entry.is_symlink() {
            let points_to = link_target(&mut entry, &name)?;
            place(project, &name)?;
            symlink(&points_to, &target).map_err(|e| Error::io("making a link", e))?;
        } else {
            place(project, &name)?;
            let mode = if entry.unix_mode().unwrap_or(0) & 0o111 == 0 { 0o644 } else { 0o755 };
            left -= write(&mut entry, &target, mode, left, bounds.bytes)?;
            files += 1;
        }
    }
    Ok(files)
}

/// Looks at every name before anything is written.
fn check_all(zip: &mut ZipArchive<impl Read + Seek>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(broken)?;
        let name = safe_name(&entry.name().map_err(broken)?)?;
        if entry.is_symlink() {
            link_target(&mut entry, &name)?;
        }
        if let Some(twice) = seen.replace(name) {
            return Err(bad(format!("it holds {} twice", twice.display())));
        }
    }
    Ok(())
}

/// The entry's path below the project.
fn safe_name(name: &str) -> Result<PathBuf> {
    let leads_out = || bad(format!("its entry {name:?} leads out of the project"));
    if name.contains(['\\', '\0']) {
        return Err(leads_out());
    }
    let mut path = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            _ => return Err(leads_out()),
        }
    }
    if path.components().next().is_some_and(|first| first.as_os_str() == ".git") {
        return Err(bad(format!("its entry {name:?} would change the repository")));
    }
    Ok(path)
}

/// A link's target, if it stays in the project.
fn link_target(entry: &mut impl Read, name: &Path) -> Result<PathBuf> {
    let mut text = String::new();
    entry
        .take(MAX_LINK + 1)
        .read_to_string(&mut text)
        .map_err(|e| bad(format!("a link is unreadable: {e}")))?;
    let leads_out = || bad(format!("its link {} leads out of the project", name.display()));
    if text.is_empty() || text.len() as u64 > MAX_LINK || text.contains('\0') {
        return Err(leads_out());
    }
    let mut depth = name.components().count() - 1;
    for part in Path::new(&text).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => depth = depth.checked_sub(1).ok_or_else(leads_out)?,
            _ => return Err(leads_out()),
        }
    }
    Ok(PathBuf::from(text))
}

/// Makes the folders of `name`, refusing to pass a link.
fn make_folders(project: &Path, name: &Path) -> Result<()> {
    let mut path = project.to_path_buf();
    for part in name.components() {
        path.push(part);
        match path.symlink_metadata() {
            Ok(about) if about.is_dir() => {}
            Ok(_) => {
                return Err(bad(format!(
                    "its entry {} passes a link or a file of the project",
                    name.display()
                )));
            }
            Err(_) => fs::create_dir(&path).map_err(|e| Error::io("making a folder for artifacts", e))?,
        }
    }
    Ok(())
}

/// Makes room for the file or link `name`: its folders exist and nothing is in its place.
fn place(project: &Path, name: &Path) -> Result<()> {
    make_folders(project, name.parent().unwrap_or(Path::new("")))?;
    let target = project.join(name);
    match target.symlink_metadata() {
        Ok(about) if about.is_dir() => {
            Err(bad(format!("its entry {} is a folder of the project", name.display())))
        }
        Ok(_) => fs::remove_file(&target).map_err(|e| Error::io("replacing a file by an artifact", e)),
        Err(_) => Ok(()),
    }
}

fn write(entry: &mut impl Read, target: &Path, mode: u32, left: u64, bound: u64) -> Result<u64> {
    // `create_new` does not follow a link in the last place.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)
        .map_err(|e| Error::io("writing an artifact", e))?;
    let copied =
        io::copy(&mut entry.take(left.saturating_add(1)), &mut file).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                bad(format!("a file in it is damaged: {e}"))
            }
            _ => Error::io("writing an artifact", e),
        })?;
    if copied > left {
        return Err(too_large(format!("more than {bound} bytes")));
    }
    file.set_permissions(fs::Permissions::from_mode(mode))
        .map_err(|e| Error::io("writing an artifact", e))?;
    Ok(copied)
}

fn bad(why: String) -> Error {
    Error::invalid("artifact-archive", format!("the artifact archive is refused: {why}"))
        .hint("look at the job that made it; run it again to replace the archive")
}

fn broken(error: zip::result::ZipError) -> Error {
    bad(format!("it is no readable zip file: {error}"))
}

fn too_large(what: String) -> Error {
    Error::new(ErrorKind::TooLarge, "artifacts-too-large", format!("the artifact archive has {what}"))
        .hint("raise the runner's bound, or let the earlier job keep less")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1000, entries: 10 };

    enum Entry {
        File(&'static str, &'static [u8]),
        Link(&'static str, &'static str),
    }

    fn archive(entries: &[Entry]) -> File {
        let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
        for entry in entries {
            match entry {
                Entry::File(name, bytes) => {
                    zip.start_file(*name, SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
                    zip.write_all(bytes).unwrap();
                }
                Entry::Link(name, to) => {
                    zip.add_symlink(*name, *to, SimpleFileOptions::default()).unwrap();
                }
            }
        }
        zip.finish().unwrap()
    }

    fn refused(entries: &[Entry], why: &str) {
        let outer = tempfile::tempdir().unwrap();
        let project = outer.path().join("project");
        fs::create_dir(&project).unwrap();
        symlink("/tmp", project.join("link")).unwrap();
        let error = unzip(archive(entries), &project, BOUNDS).unwrap_err();
        assert!(error.message().contains(why), "{error}");
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1, "nothing is beside the project");
        assert!(!project.join("first").exists(), "nothing of a refused archive is written");
    }

    #[test]
    fn files_folders_links_and_modes_come_out() {
        let project = tempfile::tempdir().unwrap();
        fs::write(project.path().join("old"), "old").unwrap();
        let entries = [
            Entry::File("dist/run", b"#!/bin/sh\n"),
            Entry::Link("dist/latest", "run"),
            Entry::File("old", b"new"),
        ];
        assert_eq!(unzip(archive(&entries), project.path(), BOUNDS).unwrap(), 2);
        assert_eq!(fs::read_to_string(project.path().join("dist/latest")).unwrap(), "#!/bin/sh\n");
        assert_eq!(fs::read_to_string(project.path().join("old")).unwrap(), "new");
        let mode = fs::metadata(project.path().join("dist/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn path_tricks_are_refused_before_anything_is_written() {
        let first = || Entry::File("first", b"x");
        refused(&[first(), Entry::File("../outside", b"x")], "leads out");
        refused(&[first(), Entry::File("/etc/outside", b"x")], "leads out");
        refused(&[first(), Entry::File("a\\..\\b", b"x")], "leads out");
        refused(&[first(), Entry::File(".git/hooks/post-checkout", b"x")], "would change the repository");
        refused(&[first(), Entry::Link("out", "/etc")], "leads out");
        refused(&[first(), Entry::Link("deep/out", "../../etc")], "leads out");
        refused(&[first(), Entry::File("./first", b"x")], "twice");
    }

    #[test]
    fn links_of_the_project_and_of_the_archive_are_not_passed() {
        refused(&[Entry::File("link/outside", b"x")], "passes a link");
        refused(&[Entry::Link("here", "."), Entry::File("here/file", b"x")], "passes a link");
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        refused(&[Entry::File("bomb", &[0; 2000])], "more than 1000 bytes");
    }
}
