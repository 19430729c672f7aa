//! What of a folder a build gets: the files that git tracks or would track, with those of its submodules, and the history;
//! everything, where it is no git work tree.
//!
//! Build tools ask git which version they build (`git describe`, setuptools-scm, Go's stamps), so a copy without its
//! history builds something else, or nothing. Must never copy git's own configuration or hooks, nor a credential of a
//! remote's address, nor write into the folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use cofferdam_types::{Error, Result, address::address_without_secrets};

/// A history with more bytes stays outside: 1 GiB.
const LONGEST_HISTORY: u64 = 1 << 30;

/// Git's own folder (a file in submodules and linked work trees).
pub const GIT: &str = ".git";

/// The files of a folder, by paths below it: git's view of it and of its submodules, or all.
///
/// # Errors
/// `Invalid` when it is no folder.
pub fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    match tracked(folder) {
        Some(tracked) => add_tracked(folder, Path::new(""), tracked, &mut files),
        None if folder.is_dir() => files = all_files(folder),
        None => return Err(Error::invalid("folder", format!("{} is not a folder", folder.display()))),
    }
    Ok(files)
}

/// What git tracks or would track below a folder; a submodule and a clone in it are one path. None where it is no work tree.
fn tracked(folder: &Path) -> Option<Vec<PathBuf>> {
    let listed = git(folder, &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
    Some(listed.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).collect())
}

fn add_tracked(root: &Path, at: &Path, tracked: Vec<PathBuf>, files: &mut Vec<PathBuf>) {
    for path in tracked {
        let path = at.join(path);
        let Ok(kind) = root.join(&path).symlink_metadata().map(|m| m.file_type()) else { continue };
        // A submodule that was never fetched is an empty folder: git would list the files around it.
        if !kind.is_dir() {
            files.push(path);
        } else if root.join(&path).join(GIT).exists()
            && let Some(inner) = self::tracked(&root.join(&path))
        {
            add_tracked(root, &path, inner, files);
        }
    }
}

/// Every file below a folder, whatever git says.
pub fn all_files(folder: &Path) -> Vec<PathBuf> {
    below(folder).filter(|e| !e.file_type().is_dir()).filter_map(|e| relative(&e, folder)).collect()
}

fn below(folder: &Path) -> impl Iterator<Item = walkdir::DirEntry> + use<> {
    walkdir::WalkDir::new(folder).into_iter().filter_map(std::result::Result::ok)
}

fn relative(entry: &walkdir::DirEntry, folder: &Path) -> Option<PathBuf> {
    entry.path().strip_prefix(folder).ok().map(Path::to_owned)
}

/// Files of the history that [`copy_history`] would copy, for whoever wants to know their size.
pub fn history(folder: &Path) -> impl Iterator<Item = PathBuf> {
    below(&folder.join(GIT).join("objects")).filter(|e| e.file_type().is_file()).map(|e| e.path().to_owned())
}

/// Copies files of a folder, and where it is no git work tree its empty folders.
///
/// # Errors
/// `NoSpace` and the like.
pub fn copy_files(from: &Path, to: &Path, files: &[PathBuf]) -> Result<()> {
    let failed = |e| Error::io("copying the folder to build", e);
    files.iter().try_for_each(|file| copy(&from.join(file), &to.join(file)).map_err(failed))?;
    if git(from, &["rev-parse", "--is-inside-work-tree"]).is_none() {
        for folder in below(from).filter(|e| e.file_type().is_dir()).filter_map(|e| relative(&e, from)) {
            std::fs::create_dir_all(to.join(folder)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Copies one file or link; anything else is left out.
pub fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let kind = from.symlink_metadata()?.file_type();
    if kind.is_symlink() {
        std::os::unix::fs::symlink(std::fs::read_link(from)?, to)
    } else if kind.is_file() {
        std::fs::copy(from, to).map(drop)
    } else {
        Ok(())
    }
}

/// Gives a copy of a git work tree its history: commits, tags and branches, with the index of the newest commit. `aside` is a
/// folder that does not exist, on the same file system.
///
/// A folder below a work tree, and one without a commit, has none. What cannot be cloned is said and left out: most builds
/// do without.
pub fn copy_history(from: &Path, to: &Path, aside: &Path) {
    if !from.join(GIT).exists() || git(from, &["rev-parse", "--verify", "--quiet", "HEAD"]).is_none() {
        return;
    }
    let size: u64 = history(from).filter_map(|file| file.metadata().ok()).map(|m| m.len()).sum();
    if size > LONGEST_HISTORY {
        eprintln!("note: git's history is left out, for it is large; `git describe` and the like find none");
        return;
    }
    if cloned(from, to, aside).is_none() {
        eprintln!("note: git's history could not be copied; `git describe` and the like find none");
    }
    let _ = std::fs::remove_dir_all(aside);
}

fn cloned(from: &Path, to: &Path, aside: &Path) -> Option<()> {
    let there = from.canonicalize().ok()?;
    let (there, here) = (there.to_str()?, aside.to_str()?);
    // No template: hooks of the person's are not the build's. No links: there may be another file system.
    let clone = ["clone", "--quiet", "--no-hardlinks", "--no-checkout", "--template=", "--", there, here];
    git(to, &clone)?;
    match git(from, &["remote", "get-url", "origin"]) {
        Some(url) => git(aside, &["remote", "set-url", "origin", &address_without_secrets(url.trim())])?,
        None => git(aside, &["remote", "remove", "origin"])?,
    };
    std::fs::rename(aside.join(GIT), to.join(GIT)).ok()?;
    git(to, &["read-tree", "HEAD"]).map(drop)
}

/// What git says in a folder; none when it fails.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let done = Command::new("git").args(arguments).current_dir(folder).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn does(folder: &Path, arguments: &[&str]) {
        let name = [
            "-c",
            "user.name=Dev",
            "-c",
            "user.email=dev@harbour.example",
            "-c",
            "protocol.file.allow=always",
        ];
        assert!(git(folder, &[&name[..], arguments].concat()).is_some(), "git {arguments:?}");
    }

    fn write(folder: &Path, path: &str) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    #[test]
    fn a_folder_is_copied_with_its_empty_folders() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(from.path(), "src/main.c");
        std::fs::create_dir_all(from.path().join("out/debug")).unwrap();
        copy_files(from.path(), to.path(), &files_of(from.path()).unwrap()).unwrap();
        assert!(to.path().join("src/main.c").is_file() && to.path().join("out/debug").is_dir());
    }

    #[test]
    fn a_work_tree_is_copied_as_git_sees_it_with_its_submodules_and_its_history() {
        let root = tempfile::tempdir().unwrap();
        let (hull, tug, copy) = (root.path().join("hull"), root.path().join("tug"), root.path().join("copy"));
        for folder in [&hull, &tug, &copy] {
            std::fs::create_dir(folder).unwrap();
        }
        write(&hull, "hull.c");
        does(&hull, &["init", "--quiet"]);
        does(&hull, &["add", "."]);
        does(&hull, &["commit", "--quiet", "--message", "hull"]);
        write(&tug, "tug.c");
        std::fs::write(tug.join(".gitignore"), "out/\n").unwrap();
        does(&tug, &["init", "--quiet"]);
        does(&tug, &["submodule", "--quiet", "add", hull.to_str().unwrap(), "parts/hull"]);
        does(&tug, &["add", "."]);
        does(&tug, &["commit", "--quiet", "--message", "tug"]);
        does(&tug, &["tag", "v1.2"]);
        does(&tug, &["remote", "add", "origin", "https://me:hunter2@git.example/tug.git"]);
        std::fs::write(tug.join(GIT).join("hooks/post-checkout"), "#!/bin/sh\ntouch ran\n").unwrap();
        write(&tug, "out/old.o");
        write(&tug, "new.c");

        copy_files(&tug, &copy, &files_of(&tug).unwrap()).unwrap();
        copy_history(&tug, &copy, &root.path().join("aside"));
        assert!(copy.join("parts/hull/hull.c").is_file() && copy.join("new.c").is_file());
        assert!(!copy.join("out").exists(), "what git ignores is left out");
        assert_eq!(git(&copy, &["describe", "--tags"]).unwrap().trim(), "v1.2");
        assert_eq!(git(&copy, &["status", "--porcelain"]).unwrap().trim(), "?? new.c");
        assert_eq!(
            git(&copy, &["remote", "get-url", "origin"]).unwrap().trim(),
            "https://git.example/tug.git"
        );
        assert!(!copy.join(GIT).join("hooks").exists() && !root.path().join("aside").exists());
    }

    #[test]
    fn what_has_no_commit_yet_is_copied_without_history() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        does(from.path(), &["init", "--quiet"]);
        write(from.path(), "a");
        copy_files(from.path(), to.path(), &files_of(from.path()).unwrap()).unwrap();
        copy_history(from.path(), to.path(), &to.path().join("aside"));
        assert!(to.path().join("a").is_file() && !to.path().join(GIT).exists());
    }
}
