//! Blobs that can be read and are not durable yet.
//!
//! For whoever answers a client first and commits behind the answer. Must never outlive the process: what was not
//! kept is removed at the next start with everything else in `tmp/`.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cofferdam_types::{Digests, Sha256};

use crate::local::Temporary;

/// Bytes that were taken, hashed and written, and not yet made durable.
#[derive(Debug)]
pub struct Staged {
    digests: Digests,
    temporary: Temporary,
    /// Dropped with the blob, however that ends.
    _shown: Shown,
}

impl Staged {
    pub(crate) fn new(digests: Digests, temporary: Temporary, shelf: &Arc<Shelf>) -> Self {
        let shown = Shown::new(shelf, digests.sha256, temporary.path.0.clone());
        Self { digests, temporary, _shown: shown }
    }

    /// All digests of the bytes.
    #[must_use]
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    pub(crate) fn temporary(&self) -> &Temporary {
        &self.temporary
    }
}

/// Where the staged blobs of one store lie, by digest. The same bytes may be staged twice.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<HashMap<Sha256, Vec<PathBuf>>>);

impl Shelf {
    /// One file with these bytes, if any is staged.
    pub fn find(&self, sha256: &Sha256) -> Option<PathBuf> {
        self.lock().get(sha256)?.first().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sha256, Vec<PathBuf>>> {
        // No holder of it can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place on the shelf for as long as this lives.
#[derive(Debug)]
struct Shown {
    shelf: Arc<Shelf>,
    sha256: Sha256,
    path: PathBuf,
}

impl Shown {
    fn new(shelf: &Arc<Shelf>, sha256: Sha256, path: PathBuf) -> Self {
        shelf.lock().entry(sha256).or_default().push(path.clone());
        Self { shelf: Arc::clone(shelf), sha256, path }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut shelf = self.shelf.lock();
        if let Some(paths) = shelf.get_mut(&self.sha256) {
            paths.retain(|path| *path != self.path);
            if paths.is_empty() {
                shelf.remove(&self.sha256);
            }
        }
    }
}
