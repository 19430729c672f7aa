//! Writes artifact archives: finds the declared files below the project folder and streams them.
//!
//! Runs after every process of the job is gone, so the tree no longer changes, but a job wrote it:
//! links are stored as links and never followed, so nothing of the host gets into an archive.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cofferdam_types::{Error, ErrorKind, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use walkdir::WalkDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::glob::Glob;

/// Bounds of one archive.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes before compression.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
}

/// What was put into an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

/// One thing below the project folder: its path there and where it is on the host.
#[derive(Clone, Debug)]
pub struct Found {
    name: String,
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Link,
}

/// The files that `paths` select and `exclude` does not, in a stable order; and for every pattern of
/// `paths` that selects nothing, the pattern.
///
/// # Errors
/// `Invalid` for a pattern that leads out of the project folder, `TooLarge` when more is selected than
/// `bounds` allows.
pub fn find(
    project: &Path,
    paths: &[String],
    exclude: &[String],
    bounds: Bounds,
) -> Result<(Vec<Found>, Vec<String>)> {
    let wanted = globs(paths)?;
    let spared = globs(exclude)?;
    let mut used = vec![false; wanted.len()];
    let mut found = Vec::new();
    for entry in
        WalkDir::new(project).follow_links(false).follow_root_links(false).min_depth(1).sort_by_file_name()
    {
        // A folder that the job made unreadable is left out, as every other reader would.
        let Ok(entry) = entry else { continue };
        let Some(name) = entry.path().strip_prefix(project).ok().and_then(Path::to_str) else { continue };
        let mut selected = false;
        for (glob, used) in wanted.iter().zip(&mut used) {
            if glob.covers(name) {
                selected = true;
                *used = true;
            }
        }
        if !selected || spared.iter().any(|glob| glob.matches(name)) {
            continue;
        }
        let kind = match entry.file_type() {
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_symlink() => Kind::Link,
            kind if kind.is_file() => Kind::File,
            _ => continue,
        };
        if found.len() as u64 >= bounds.entries {
            return Err(too_large(format!("more than {} files", bounds.entries)));
        }
        found.push(Found { name: name.to_owned(), path: entry.path().to_path_buf(), kind });
    }
    let unused = paths.iter().zip(used).filter(|(_, used)| !used).map(|(path, _)| path.clone()).collect();
    Ok((found, unused))
}

/// Writes a zip archive. Times are left out, so that the same files make the same archive.
///
/// # Errors
/// `TooLarge` beyond `bounds`, `NoSpace` when the disk is full.
pub fn zip(found: &[Found], to: File, bounds: Bounds) -> Result<Written> {
    let mut zip = ZipWriter::new(BufWriter::new(to));
    let mut written = Written { entries: 0, bytes: 0 };
    for one in found {
        let options = SimpleFileOptions::default();
        match one.kind {
            Kind::Folder => {
                zip.add_directory(&one.name, options.unix_permissions(0o755)).map_err(packing)?;
            }
            Kind::Link => {
                let target = one.path.read_link().map_err(|e| Error::io("reading a link", e))?;
                zip.add_symlink(&one.name, target.to_string_lossy(), options).map_err(packing)?;
            }
            Kind::File => {
                let file = open(&one.path)?;
                let about = file.metadata().map_err(|e| Error::io("reading a file's size", e))?;
                let mode = if about.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
                let options = options.unix_permissions(mode).large_file(about.len() > 0xFFFF_0000);
                zip.start_file(&one.name, options).map_err(packing)?;
                written.bytes += copy(file, &mut zip, bounds.bytes - written.bytes, bounds.bytes)?;
            }
        }
        written.entries += 1;
    }
    let mut inner = zip.finish().map_err(packing)?;
    inner.flush().map_err(|e| Error::io("writing an archive", e))?;
    Ok(written)
}

/// Writes the files, one after the other, as one gzip stream: the form of text reports.
///
/// # Errors
/// As [`zip`].
pub fn gzip(found: &[Found], to: File, bounds: Bounds) -> Result<Written> {
    let mut gzip = GzEncoder::new(BufWriter::new(to), Compression::default());
    let written = concatenate(found, &mut gzip, bounds)?;
    let done = gzip.finish().and_then(|mut inner| inner.flush());
    done.map_err(|e| Error::io("writing a report", e))?;
    Ok(written)
}

/// Writes the files as they are, one after the other.
///
/// # Errors
/// As [`zip`].
pub fn raw(found: &[Found], to: File, bounds: Bounds) -> Result<Written> {
    let mut out = BufWriter::new(to);
    let written = concatenate(found, &mut out, bounds)?;
    out.flush().map_err(|e| Error::io("writing a report", e))?;
    Ok(written)
}

fn concatenate(found: &[Found], to: &mut impl Write, bounds: Bounds) -> Result<Written> {
    let mut written = Written { entries: 0, bytes: 0 };
    for one in found.iter().filter(|one| one.kind == Kind::File) {
        written.bytes += copy(open(&one.path)?, to, bounds.bytes - written.bytes, bounds.bytes)?;
        written.entries += 1;
    }
    Ok(written)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| {
        let name = path.file_name().unwrap_or_default().display().to_string();
        Error::invalid("artifact-unreadable", format!("the artifact {name} cannot be read: {e}"))
            .hint("let the job give itself permission to read it")
    })
}

/// Copies at most `left` bytes; one more is an error that names the whole bound.
fn copy(from: File, to: &mut impl Write, left: u64, bound: u64) -> Result<u64> {
    let copied = io::copy(&mut BufReader::new(from).take(left.saturating_add(1)), to)
        .map_err(|e| Error::io("writing an archive", e))?;
    if copied > left {
        return Err(too_large(format!("more than {bound} bytes")));
    }
    Ok(copied)
}

fn globs(patterns: &[String]) -> Result<Vec<Glob>> {
    let compile = |pattern: &String| {
        Glob::new(pattern).ok_or_else(|| {
            Error::invalid("artifact-path", format!("the artifact path {pattern:?} leads out of the project"))
                .hint("paths are relative to the project folder and have no \"..\"")
        })
    };
    patterns.iter().map(compile).collect()
}

fn too_large(what: String) -> Error {
    Error::new(ErrorKind::TooLarge, "artifacts-too-large", format!("the artifacts have {what}"))
        .hint("narrow artifacts:paths, or raise the runner's bound")
}

fn packing(error: zip::result::ZipError) -> Error {
    match error {
        zip::result::ZipError::Io(error) => Error::io("writing an archive", error),
        other => Error::internal("writing an archive", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 100, entries: 10 };

    fn project() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("out")).unwrap();
        std::fs::write(folder.path().join("out/a.txt"), "alpha\n").unwrap();
        std::fs::write(folder.path().join("out/b.log"), "beta\n").unwrap();
        folder
    }

    fn names(found: &[Found]) -> Vec<&str> {
        found.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn what_is_selected_and_not_excluded_is_found() {
        let project = project();
        let (found, unused) =
            find(project.path(), &["out/".into(), "none/".into()], &["**/*.log".into()], BOUNDS).unwrap();
        assert_eq!(names(&found), ["out", "out/a.txt"]);
        assert_eq!(unused, ["none/"]);
    }

    #[test]
    fn a_link_to_the_host_brings_no_file_of_the_host() {
        let project = project();
        let secret = tempfile::tempdir().unwrap();
        std::fs::write(secret.path().join("key"), "private").unwrap();
        std::os::unix::fs::symlink(secret.path(), project.path().join("out/link")).unwrap();
        let patterns = ["out/link/key".into(), "out/link".into()];
        let (found, _) = find(project.path(), &patterns, &[], BOUNDS).unwrap();
        assert_eq!(names(&found), ["out/link"]);
        assert_eq!(found[0].kind, Kind::Link);
    }

    #[test]
    fn too_many_bytes_are_told_with_the_bound() {
        let project = project();
        std::fs::write(project.path().join("out/big"), vec![0; 101]).unwrap();
        let (found, _) = find(project.path(), &["out".into()], &[], BOUNDS).unwrap();
        let error = zip(&found, tempfile::tempfile().unwrap(), BOUNDS).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.message().contains("100 bytes"), "{error}");
    }
}
