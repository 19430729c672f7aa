//! Many blobs made durable together: one wait for the disk instead of one for each.
//!
//! The order is that of a single `put` (bytes durable, then named, then the name durable); only the waits
//! are shared. Must never name a file whose bytes are not on the disk.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
};

use cofferdam_types::{Digests, Error, Result, Sha256};

use crate::{
    Batch, MultiHasher,
    local::{LocalBlobs, Temporary, TemporaryPath, sync_folder},
};

/// From so many files on, one sync of the file system is cheaper than one for each file.
const MANY: usize = 8;
const CHUNK: usize = 256 * 1024;

/// A batch on the local disk.
pub struct LocalBatch {
    blobs: LocalBlobs,
    taken: Vec<Taken>,
    buffer: Vec<u8>,
}

/// A blob of the batch.
struct Taken {
    temporary: TemporaryPath,
    path: PathBuf,
    /// Only while there are fewer than [`MANY`]: a process may not hold a file open for each of thousands.
    file: Option<File>,
}

/// A blob whose bytes are written and not yet durable, and the path that it will have.
pub(crate) struct Waiting<'a> {
    pub temporary: &'a TemporaryPath,
    pub path: PathBuf,
    /// The first [`MANY`] have theirs.
    pub file: Option<&'a File>,
}

/// Steps 2 to 4 of the crate's first lines, with few waits for all together.
pub(crate) fn commit(waiting: &[Waiting<'_>]) -> Result<()> {
    let failed = |e| Error::io("keeping blobs", e);
    make_durable(waiting).map_err(failed)?;
    let mut folders = BTreeSet::new();
    for Waiting { temporary, path, .. } in waiting {
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        if !folder.exists() {
            fs::create_dir_all(&folder).map_err(failed)?;
            folders.extend(folder.parent().map(PathBuf::from));
        }
        fs::rename(&temporary.0, path).map_err(failed)?;
        folders.insert(folder);
    }
    if folders.len() < MANY {
        return folders.iter().try_for_each(|folder| sync_folder(folder));
    }
    match folders.first() {
        Some(folder) => {
            let file = File::open(folder).map_err(failed)?;
            rustix::fs::syncfs(&file).map_err(|e| failed(e.into()))
        }
        None => Ok(()),
    }
}

fn make_durable(waiting: &[Waiting<'_>]) -> std::io::Result<()> {
    if waiting.len() < MANY {
        return waiting.iter().filter_map(|w| w.file).try_for_each(File::sync_data);
    }
    match waiting.first().and_then(|w| w.file) {
        Some(file) => Ok(rustix::fs::syncfs(file)?),
        None => Ok(()),
    }
}

impl LocalBatch {
    pub fn new(blobs: LocalBlobs) -> Self {
        Self { blobs, taken: Vec::new(), buffer: vec![0; CHUNK] }
    }
}

impl Batch for LocalBatch {
    fn put(&mut self, sha256: &Sha256, size: u64, bytes: &mut dyn Read) -> Result<Digests> {
        let mut temporary = self.blobs.temporary()?;
        let mut hasher = MultiHasher::default();
        loop {
            let n = match bytes.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io(format!("reading blob {sha256}"), e)),
            };
            hasher.update(&self.buffer[..n]);
            if hasher.size() > size {
                break;
            }
            temporary.file.write_all(&self.buffer[..n]).map_err(|e| Error::io("writing a blob", e))?;
        }
        let digests = hasher.finish();
        if digests.sha256 != *sha256 || digests.size != size {
            let text = format!("the bytes that came for blob {sha256} are others");
            return Err(Error::verification("blob-mismatch", text));
        }
        let path = self.blobs.path(sha256);
        // The same bytes may lie there from a batch that a crash cut short: these here are known to be right.
        temporary
            .file
            .set_permissions(fs::Permissions::from_mode(0o444))
            .map_err(|e| Error::io("keeping a blob", e))?;
        let Temporary { file, path: temporary } = temporary;
        let file = (self.taken.len() < MANY - 1).then_some(file);
        self.taken.push(Taken { temporary, path, file });
        Ok(digests)
    }

    fn commit(&mut self) -> Result<()> {
        let taken = std::mem::take(&mut self.taken);
        let waiting = taken.iter().map(|Taken { temporary, path, file }| Waiting {
            temporary,
            path: path.clone(),
            file: file.as_ref(),
        });
        commit(&waiting.collect::<Vec<_>>())
    }
}
