//! A hidden folder beside a transfer's own: files are made in it and renamed when they are whole.
//!
//! What a crash leaves is hidden, and the next run removes it. Nothing here may touch a file under a
//! transfer's own name but by replacing it with a whole one: that folder may be the medium itself.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use cofferdam_types::{Error, Result};

use crate::volume::failed;

/// Files on their way into `into/<a transfer's name>`. Dropping it removes what was not placed.
pub struct Staging {
    hidden: PathBuf,
    folder: PathBuf,
    // Held so that nobody takes the hidden folder for one left by a crash.
    _lock: File,
}

impl Staging {
    /// Makes `into/.<name>.<suffix>`, removing one that a crash left.
    ///
    /// # Errors
    /// `Conflict` (`transfer-busy`) while another process has it; `NoSpace`.
    pub fn create(into: &Path, name: &str, suffix: &str) -> Result<Self> {
        fs::create_dir_all(into).map_err(|e| failed("the folder", e))?;
        let hidden = into.join(format!(".{name}.{suffix}"));
        let lock = hidden_folder(&hidden)?;
        Ok(Self { hidden, folder: into.join(name), _lock: lock })
    }

    /// Where the files are made.
    pub fn path(&self) -> &Path {
        &self.hidden
    }

    /// Renames these files, whole and durable by now, into the transfer's folder, and makes the names
    /// durable. Files of the same names are replaced, others stay.
    pub fn place<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<PathBuf> {
        fs::create_dir_all(&self.folder).map_err(|e| failed("the folder", e))?;
        for name in names {
            fs::rename(self.hidden.join(name), self.folder.join(name)).map_err(|e| failed(name, e))?;
        }
        let into = self.folder.parent().unwrap_or(&self.folder);
        for folder in [&self.folder, into] {
            File::open(folder).and_then(|dir| dir.sync_all()).map_err(|e| failed("the folder", e))?;
        }
        Ok(self.folder.clone())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.hidden);
    }
}

/// Makes and locks a hidden folder; one that nobody holds is what a crash left.
pub fn hidden_folder(folder: &Path) -> Result<File> {
    let at = |e| Error::io("making the folder of a transfer", e);
    if let Ok(left) = File::open(folder) {
        left.try_lock().map_err(|_| {
            Error::conflict("transfer-busy", "this transfer is being written by another process")
        })?;
        fs::remove_dir_all(folder).map_err(at)?;
    }
    fs::create_dir(folder).map_err(at)?;
    let lock = File::open(folder).map_err(at)?;
    lock.try_lock().map_err(|e| Error::io("locking the folder of a transfer", e.into()))?;
    Ok(lock)
}
