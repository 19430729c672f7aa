//! Where a build runs: a fresh copy of the folder ([`super::sources`]) and an empty home, so that what an old build has left
//! behind cannot hide what is missing.
//!
//! It is thrown away afterwards, so it lies in memory where there is plenty ([`crate::memory`]), and on disk elsewhere.
//!
//! Must never write into the folder that it copies.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use cofferdam_crossing::Tree;
use cofferdam_types::{Error, Result, Sha256};

use super::sources::{GIT, all_files, copy, copy_files, copy_history, files_of, history};
use crate::{memory::Room, toolchain::open_folders};

/// A copy of a folder and an empty home, gone when dropped.
pub struct Workplace {
    /// What is copied.
    from: PathBuf,
    /// The files that were copied, below it.
    files: Vec<PathBuf>,
    root: tempfile::TempDir,
    /// When it lies in memory: how much of it it may take.
    room: Option<Room>,
    /// Folders that the build must not see: a site's state, with its keys.
    secret: Vec<PathBuf>,
}

impl Workplace {
    /// Copies a folder.
    ///
    /// # Errors
    /// `Invalid` when it is none; `NoSpace`.
    pub fn of(folder: &Path) -> Result<Self> {
        let files = files_of(folder)?;
        let room = Room::for_files(files.iter().map(|file| folder.join(file)).chain(history(folder)));
        let root = match &room {
            Some(room) => folders(builder().tempdir_in(room.folder()))?,
            None => folders(builder().tempdir())?,
        };
        let place = Self { from: folder.to_owned(), files, root, room, secret: Vec::new() };
        place.fill()?;
        Ok(place)
    }

    /// Copies the folder again, onto the disk, into an empty home; false when it lies there already.
    ///
    /// # Errors
    /// As [`Workplace::of`].
    pub fn leave_memory(&mut self) -> Result<bool> {
        if self.room.take().is_none() {
            return Ok(false);
        }
        open_folders(self.root.path());
        // The memory is given back before the disk is filled.
        self.root = folders(builder().tempdir())?;
        self.files = files_of(&self.from)?;
        self.fill()?;
        Ok(true)
    }

    /// Ends when the build has taken more memory with its files than it may; never on disk.
    pub async fn crowded(&self) {
        match &self.room {
            Some(room) => room.exhausted().await,
            None => std::future::pending().await,
        }
    }

    fn fill(&self) -> Result<()> {
        copy_files(&self.from, &self.work(), &self.files)?;
        copy_history(&self.from, &self.work(), &self.root.path().join("history"));
        Ok(())
    }

    /// The same, with one more folder that the build must not see.
    pub fn hiding(mut self, folder: &Path) -> Self {
        self.secret.push(folder.to_owned());
        self
    }

    /// The folder that is built.
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// The files that were copied, below the folder.
    pub fn copied(&self) -> &[PathBuf] {
        &self.files
    }

    /// The empty home.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Where the authority of the run is written.
    pub fn trust(&self) -> PathBuf {
        self.root.path().join("trust")
    }

    /// Folders that the build must not see.
    pub fn secret(&self) -> &[PathBuf] {
        &self.secret
    }

    /// Every file of the folder that is built, with its digest: bytes, or where a link leads. Git's own folders, in which
    /// every command leaves its times, are no part of it.
    ///
    /// # Errors
    /// `Internal` when a file cannot be read.
    pub fn state(&self) -> Result<State> {
        let (work, mut files) = (self.work(), BTreeMap::new());
        let of_git = |file: &PathBuf| file.components().any(|part| part == Component::Normal(GIT.as_ref()));
        for file in all_files(&work).into_iter().filter(|file| !of_git(file)) {
            let path = work.join(&file);
            let failed = |e| Error::io(format!("reading {}", file.display()), e);
            let kind = path.symlink_metadata().map_err(failed)?.file_type();
            let digest = if kind.is_symlink() {
                let to = std::fs::read_link(&path).map_err(failed)?;
                (Sha256::of(to.as_os_str().as_encoded_bytes()), 0)
            } else if kind.is_file() {
                // What a build has made unreadable for its owner is no result of it.
                let Ok(bytes) = std::fs::File::open(&path) else { continue };
                digest_of(bytes).map_err(failed)?
            } else {
                continue;
            };
            files.insert(file.to_string_lossy().into_owned(), digest);
        }
        Ok(State(files))
    }

    /// Keeps what the build left.
    ///
    /// # Errors
    /// `NoSpace` and the like.
    pub fn keep(&self, at: &Path) -> Result<()> {
        let failed = |e| Error::io(format!("keeping the build in {}", at.display()), e);
        for file in all_files(&self.work()) {
            copy(&self.work().join(&file), &at.join(&file)).map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        open_folders(self.root.path());
    }
}

fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("cofferdam-build-");
    builder
}

/// A new root with its folders.
fn folders(root: std::io::Result<tempfile::TempDir>) -> Result<tempfile::TempDir> {
    let failed = |e| Error::io("making a folder for the build", e);
    let root = root.map_err(failed)?;
    for name in ["home", "work"] {
        std::fs::create_dir(root.path().join(name)).map_err(failed)?;
    }
    Ok(root)
}

/// The files of a folder by path: digest and size.
pub struct State(BTreeMap<String, (Sha256, u64)>);

impl State {
    /// All of it in one digest.
    pub fn tree(&self) -> Tree {
        tree(self.0.iter())
    }

    /// What is here and was not, or was another, before.
    pub fn since(&self, before: &Self) -> Tree {
        tree(self.0.iter().filter(|(path, digest)| before.0.get(*path) != Some(*digest)))
    }
}

fn tree<'a>(files: impl Iterator<Item = (&'a String, &'a (Sha256, u64))>) -> Tree {
    let (mut text, mut count, mut bytes) = (String::new(), 0, 0);
    for (path, (sha256, size)) in files {
        text.push_str(&format!("{sha256}  {path}\n"));
        (count, bytes) = (count + 1, bytes + size);
    }
    Tree { sha256: Sha256::of(text.as_bytes()), files: count, bytes }
}

fn digest_of(mut file: std::fs::File) -> std::io::Result<(Sha256, u64)> {
    let mut hasher = cofferdam_types::Sha256Hasher::default();
    let size = std::io::copy(&mut file, &mut hasher)?;
    Ok((hasher.finish(), size))
}
