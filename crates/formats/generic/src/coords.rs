//! Paths, and how they are packages: the package is the folder, the version is the file's name.
//!
//! So every path is one release of one file, removing a file removes nothing else, and the
//! listing of a folder reads that folder only. Pure text work.

use cofferdam_format_kit::path_segments;
use cofferdam_types::{Error, Result};

/// The package of the files that lie in no folder. No real folder can have this name.
pub const ROOT: &str = ".";

/// Folders above one another at the most.
const MAX_DEPTH: usize = 32;

/// Bytes of a whole path at the most.
const MAX_PATH: usize = 1024;

/// A place in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path without slashes at either end; empty for the root.
    pub path: String,
    /// Whether a folder was asked for (a trailing slash).
    pub folder: bool,
}

impl Place {
    /// Reads the raw path of a request.
    ///
    /// # Errors
    /// `Invalid` (`bad-path`) for tricks, empty segments, encoded slashes, and paths out of bounds.
    pub fn read(raw: &str) -> Result<Self> {
        if raw.contains("//") {
            return Err(bad("the path has an empty segment"));
        }
        let segments = path_segments(raw)?;
        check(&segments)?;
        Ok(Self { path: segments.join("/"), folder: raw.ends_with('/') || segments.is_empty() })
    }
}

/// Checks a folder's path as it is stored: it is its own normal form.
///
/// # Errors
/// `Invalid` (`bad-path`).
pub fn key(folder: &str) -> Result<String> {
    if folder != ROOT {
        check(&folder.split('/').collect::<Vec<_>>())?;
    }
    Ok(folder.to_owned())
}

/// Folder (as a package's key) and file name of a path.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((ROOT, path))
}

/// The path of a file from its folder and name.
pub fn join(folder: &str, name: &str) -> String {
    if folder == ROOT { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folders above a path, nearest first, without the root.
pub fn above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

fn check<S: AsRef<str>>(segments: &[S]) -> Result<()> {
    let size: usize = segments.iter().map(|s| s.as_ref().len() + 1).sum();
    if segments.len() > MAX_DEPTH || size > MAX_PATH {
        return Err(bad(format!("a path has at most {MAX_DEPTH} segments and {MAX_PATH} bytes")));
    }
    for segment in segments {
        let segment = segment.as_ref();
        let outside = matches!(segment, "" | "." | "..");
        if outside || segment.contains(['/', '\\']) || segment.chars().any(char::is_control) {
            return Err(bad("a segment of the path is empty, leads elsewhere or holds a slash"));
        }
    }
    Ok(())
}

fn bad(why: impl Into<String>) -> Error {
    Error::invalid("bad-path", why).hint("use plain names between single slashes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_folder_and_a_name() {
        assert_eq!(split("tools/1.0/x.bin"), ("tools/1.0", "x.bin"));
        assert_eq!(split("x.bin"), (ROOT, "x.bin"));
        assert_eq!(join(ROOT, "x.bin"), "x.bin");
        assert_eq!(above("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(Place::read("/a%20b/").unwrap(), Place { path: "a b".into(), folder: true });
    }

    #[test]
    fn tricks_are_refused() {
        let deep = "/a".repeat(33);
        for raw in ["//", "/a//b", "/a%2fb", "/../x", "/a/%2e%2e", "/a%00", deep.as_str()] {
            assert_eq!(Place::read(raw).unwrap_err().code(), "bad-path", "{raw}");
        }
        assert!(key("a/../b").is_err() && key("").is_err());
        assert_eq!(key(ROOT).unwrap(), ROOT);
    }
}
