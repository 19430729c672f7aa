//! What is on the media: which files are whole, damaged or missing. Nothing is decrypted here, nothing
//! but the header is parsed, and nothing is written.

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use cofferdam_trust::KeyId;
use cofferdam_types::{ErrorKind, Sha256};

use crate::{
    header::{FileEntry, Header, Suite},
    medium::{self, Medium},
    name::{self, Name},
    patch::{self, Patch},
    refusal::Refusal,
    trust::{Believed, Trust, read_header},
    volume::Parts,
};

/// Hears how far hashing has come; called from several threads. `()` hears nothing.
pub trait Progress: Sync {
    /// `done` of `total` bytes have been read.
    fn bytes(&self, done: u64, total: u64) {
        let _ = (done, total);
    }
}

impl Progress for () {}

/// How one file of the header's list is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Nobody has looked yet.
    Unread,
    /// As it was signed, in this folder.
    Whole {
        /// Number of the folder, from 0.
        folder: usize,
    },
    /// In no folder.
    Missing,
    /// There, with other bytes.
    Damaged {
        /// Number of the folder, from 0.
        folder: usize,
        /// Bytes that are there; one past the signed size stands for "more".
        size: u64,
    },
}

impl FileState {
    /// The folder that has it, whole or damaged.
    pub(crate) const fn folder(&self) -> Option<usize> {
        match self {
            Self::Whole { folder } | Self::Damaged { folder, .. } => Some(*folder),
            Self::Unread | Self::Missing => None,
        }
    }
}

/// A transfer whose header is believed.
pub struct Survey {
    /// The signed header.
    pub header: Header,
    /// SHA-256 of the signed payload: the identity of the transfer.
    pub header_sha256: Sha256,
    /// Who signed.
    pub signers: Vec<KeyId>,
    /// Root documents newer than the site's: version and envelope.
    pub roots: Vec<(cofferdam_trust::root::Root, Vec<u8>)>,
    /// How each of [`Header::files`] is, in that order.
    pub states: Vec<FileState>,
    pub(crate) medium: Arc<Medium>,
    /// Where in [`Header::files`] a name stands: there may be a hundred thousand.
    numbers: HashMap<String, usize>,
}

impl Survey {
    /// Opens the folders of one transfer and decides about its header: names, signatures, destination,
    /// limits. No other content is read, whatever the size of the transfer.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn open(folders: &[&Path], trust: &Trust) -> Result<Self, Refusal> {
        let medium = Medium::open(folders)?;
        let Believed { header, header_sha256, signers, roots } = read_header(&medium, trust)?;
        let numbers: HashMap<String, usize> =
            header.files.iter().enumerate().map(|(number, file)| (file.name.clone(), number)).collect();
        let listed = |name: &str| match Name::parse(name) {
            Some(Name::Header | Name::Patch(_) | Name::Station) => true,
            Some(Name::Files) => header.suite == Suite::Inspectable,
            _ => numbers.contains_key(name),
        };
        if let Some(extra) = medium.names.keys().find(|name| !listed(name)) {
            let text = "the signed header does not list this file";
            return Err(Refusal::invalid("unexpected-file", text).at(extra));
        }
        let states = vec![FileState::Unread; header.files.len()];
        Ok(Self { header, header_sha256, signers, roots, states, medium: Arc::new(medium), numbers })
    }

    /// What the header says of a file.
    pub(crate) fn entry(&self, name: &str) -> Option<&FileEntry> {
        self.header.files.get(*self.numbers.get(name)?)
    }

    /// How a file is; `None` when the header does not list it.
    pub(crate) fn state(&self, name: &str) -> Option<&FileState> {
        self.states.get(*self.numbers.get(name)?)
    }

    /// Hashes every file that was not found whole before, several at a time.
    ///
    /// # Errors
    /// `unreadable` when no folder's copy can be read; links and devices are refused.
    pub fn hash(&mut self, progress: &dyn Progress) -> Result<(), Refusal> {
        let todo: Vec<usize> =
            (0..self.states.len()).filter(|n| !matches!(self.states[*n], FileState::Whole { .. })).collect();
        let files = &self.header.files;
        let total = todo.iter().fold(0u64, |sum, n| sum.saturating_add(files[*n].size));
        let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
        let (found, trouble) = (Mutex::new(Vec::new()), Mutex::new(None));
        let work = || {
            while let Some(n) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                let step = &|bytes: u64| {
                    progress.bytes(
                        done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes).min(total),
                        total,
                    );
                };
                match state_of(&self.medium, &files[*n], step) {
                    Ok(state) => {
                        found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((*n, state))
                    }
                    Err(refusal) => {
                        trouble
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .get_or_insert(refusal);
                        next.store(usize::MAX / 2, Ordering::Relaxed);
                    }
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8).min(todo.len());
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        if let Some(refusal) = trouble.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Err(refusal);
        }
        for (n, state) in found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            self.states[n] = state;
        }
        Ok(())
    }

    /// Every file that is not whole, with its state.
    pub fn faults(&self) -> impl Iterator<Item = (&FileEntry, &FileState)> {
        self.header
            .files
            .iter()
            .zip(&self.states)
            .filter(|(_, state)| !matches!(state, FileState::Whole { .. }))
    }

    /// Whether all that reading needs is whole: manifest and volumes. Parity and checks are spare.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.faults().all(|(file, _)| is_spare(&file.name))
    }

    /// The refusal for the first fault, damage before what is only missing. Spare files that are missing
    /// are no fault; a damaged one is.
    ///
    /// # Errors
    /// `size-mismatch` or `digest-mismatch` with the place, `missing-file`.
    pub fn require_whole(&self) -> Result<(), Refusal> {
        for (file, state) in self.faults() {
            let FileState::Damaged { size, .. } = state else { continue };
            let what = match size.cmp(&file.size) {
                std::cmp::Ordering::Less => format!("it has {size} of {} bytes", file.size),
                std::cmp::Ordering::Greater => format!("it has more than its {} bytes", file.size),
                std::cmp::Ordering::Equal => "its bytes are not those that were signed".to_owned(),
            };
            let code = if *size == file.size { "digest-mismatch" } else { "size-mismatch" };
            return Err(crate::repair::locate(self, file, Refusal::failed(code, what).at(&file.name)));
        }
        self.require_present()
    }

    /// The refusal for the first missing file that reading needs. What nobody has hashed counts as missing.
    ///
    /// # Errors
    /// `missing-file`, saying how many are missing.
    pub fn require_present(&self) -> Result<(), Refusal> {
        let missing: Vec<&str> = self
            .faults()
            .filter(|(file, state)| !matches!(state, FileState::Damaged { .. }) && !is_spare(&file.name))
            .map(|(file, _)| file.name.as_str())
            .collect();
        let Some(first) = missing.first() else { return Ok(()) };
        let text = match missing.len() {
            1 => "the file is missing".to_owned(),
            n => format!("the file is missing, and {} more", n - 1),
        };
        Err(Refusal::new(ErrorKind::MissingVolume, "missing-file", text).at(first))
    }

    /// Opens a file that was found whole.
    pub(crate) fn whole(&self, name: &str) -> Result<File, Refusal> {
        match self.state(name) {
            Some(FileState::Whole { folder }) => self.medium.file(*folder, name),
            Some(FileState::Damaged { .. }) => {
                Err(Refusal::failed("digest-mismatch", "its bytes are not those that were signed").at(name))
            }
            _ => Err(medium::missing(name)),
        }
    }

    /// Opens a file, whole or damaged.
    pub(crate) fn as_it_is(&self, name: &str) -> Option<File> {
        match self.state(name)? {
            FileState::Whole { folder } | FileState::Damaged { folder, .. } => {
                self.medium.file(*folder, name).ok()
            }
            _ => None,
        }
    }

    /// The whole volumes as one stream; what is in no volume here may be in a patch.
    pub(crate) fn payload(&self) -> Result<Payload, Refusal> {
        let shift = self.header.file(self.header.manifest_name()).map_or(0, |f| f.size);
        Ok(Payload { parts: self.volumes(), patches: self.patches()?, shift })
    }

    /// The whole volumes as one stream.
    pub(crate) fn volumes(&self) -> Parts {
        let whole = |_: &str, state: &FileState| match state {
            FileState::Whole { folder } => Some(*folder),
            _ => None,
        };
        self.parts(self.header.volumes(), name::volume, &whole)
    }

    /// The volumes or parity volumes as one stream, each from the folder that `pick` tells, or absent.
    pub(crate) fn parts(
        &self,
        count: u32,
        name: fn(u32) -> String,
        pick: &dyn Fn(&str, &FileState) -> Option<usize>,
    ) -> Parts {
        let folder = |n: u32| {
            let name = name(n);
            self.state(&name).and_then(|state| pick(&name, state))
        };
        let folders: Vec<Option<usize>> = (1..=count).map(folder).collect();
        let (medium, here) = (Arc::clone(&self.medium), folders.iter().map(Option::is_some).collect());
        Parts::new(self.header.payload.volume_size, here, move |n| {
            let folder = folders.get(n).copied().flatten().ok_or(std::io::ErrorKind::NotFound)?;
            let number = u32::try_from(n + 1).map_err(std::io::Error::other)?;
            medium.file(folder, &name(number)).map_err(|refusal| match refusal.code {
                "missing-file" => std::io::ErrorKind::NotFound.into(),
                _ => std::io::Error::other(refusal.to_string()),
            })
        })
    }

    pub(crate) fn patches(&self) -> Result<Vec<Patch>, Refusal> {
        let names = self.medium.names.keys().filter(|n| matches!(Name::parse(n), Some(Name::Patch(_))));
        let mut patches = Vec::new();
        for name in names {
            for folder in self.medium.names.get(name).into_iter().flatten() {
                patches.push(patch::open(self.medium.file(*folder, name)?, name, &self.header_sha256)?);
            }
        }
        Ok(patches)
    }
}

/// The payload as far as it is here.
pub(crate) struct Payload {
    parts: Parts,
    patches: Vec<Patch>,
    /// Where the payload starts in the data stream, in which patches count.
    pub shift: u64,
}

impl Payload {
    /// Fills `out`; `NotFound` when a byte of it is in no volume and no patch.
    pub fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let mut at = 0;
        while at < out.len() {
            let here = offset + at as u64;
            let left = (out.len() - at) as u64;
            let n = match self.parts.reach(here) {
                0 => self.patches.iter().map(|p| p.reach(here + self.shift)).max().unwrap_or(0),
                n => n,
            };
            let n = usize::try_from(n.min(left)).unwrap_or(usize::MAX);
            let part = &mut out[at..at + n];
            if n == 0 {
                return Err(std::io::ErrorKind::NotFound.into());
            }
            match self.parts.reach(here) {
                0 => {
                    let patch = self.patches.iter().max_by_key(|p| p.reach(here + self.shift));
                    patch.ok_or(std::io::ErrorKind::NotFound)?.read(here + self.shift, part)?;
                }
                _ => self.parts.read_at(here, part)?,
            }
            at += n;
        }
        Ok(())
    }

    /// Whether all of `from..to` is here.
    pub fn here(&self, from: u64, to: u64) -> bool {
        let mut at = from;
        while at < to {
            match self.reach(at) {
                0 => return false,
                n => at = at.saturating_add(n),
            }
        }
        true
    }

    /// Adds to `ranges` the stretches of `from..to` that are here and in none of the patches `kept`, as offset
    /// and length in the data stream.
    pub fn stretches(&self, from: u64, to: u64, kept: &[Patch], ranges: &mut Vec<(u64, u64)>) {
        let reach = |patches: &[Patch], at| patches.iter().map(|p| p.reach(at)).max().unwrap_or(0);
        let next =
            |patches: &[Patch], at| patches.iter().filter_map(|p| p.next(at)).min().unwrap_or(u64::MAX);
        let (mut at, end) = (from + self.shift, to + self.shift);
        while at < end {
            let held = reach(kept, at);
            let n = self.reach(at - self.shift);
            if held > 0 {
                at = at.saturating_add(held);
            } else if n > 0 {
                let until = at.saturating_add(n).min(next(kept, at)).min(end);
                match ranges.last_mut() {
                    Some((offset, len)) if *offset + *len == at => *len += until - at,
                    _ => ranges.push((at, until - at)),
                }
                at = until;
            } else {
                let part = self.parts.next_part(at - self.shift).saturating_add(self.shift);
                at = part.min(next(&self.patches, at));
            }
        }
    }

    /// How many bytes from `at` on lie in one volume or one patch.
    fn reach(&self, at: u64) -> u64 {
        let patched = self.patches.iter().map(|p| p.reach(at + self.shift)).max().unwrap_or(0);
        self.parts.reach(at).max(patched)
    }
}

/// Files without which a transfer can be read all the same.
pub(crate) fn is_spare(name: &str) -> bool {
    matches!(Name::parse(name), Some(Name::Parity(_) | Name::Checks | Name::Readme | Name::Root(_)))
}

fn state_of(medium: &Medium, entry: &FileEntry, step: &dyn Fn(u64)) -> Result<FileState, Refusal> {
    let mut state = FileState::Missing;
    for folder in medium.names.get(&entry.name).into_iter().flatten() {
        let file = medium.file(*folder, &entry.name)?;
        let hashed = medium::hash(file, &entry.name, entry.size, &mut |n| step(n));
        match hashed {
            Ok((size, sha256)) if size == entry.size && sha256 == entry.sha256 => {
                return Ok(FileState::Whole { folder: *folder });
            }
            // The first copy counts: what is left of an earlier attempt comes behind the medium's own.
            _ if state != FileState::Missing => {}
            Ok((size, _)) => state = FileState::Damaged { folder: *folder, size },
            // A sector that cannot be read is damage like any other.
            Err(refusal) => {
                let size = refusal.offset.unwrap_or(0);
                state = FileState::Damaged { folder: *folder, size };
            }
        }
    }
    Ok(state)
}
