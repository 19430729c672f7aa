//! What has arrived of a large file, kept in a folder so that a download goes on after a restart.
//!
//! Beside the bytes stands the SHA-256 of every whole block of them. Only blocks that still have their digest
//! are gone on from: neither a power failure nor a hand in the folder can put foreign bytes into a body. The
//! file itself is the lock: two downloads of one address never share it, and the second keeps nothing.
//! The folder has a bound: what is oldest goes first, and what a download is using stays.
//! A fault of the folder must never fail a download.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use cofferdam_types::{Clock, Sha256, Sha256Hasher, Timestamp, address::address_without_secrets};
use http::{HeaderMap, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use url::Url;

/// Bodies of fewer bytes are not worth keeping.
pub const LARGE: u64 = 8 << 20;

/// Bytes of one block with its own digest; what is beyond the last whole block is fetched again.
const BLOCK: u64 = 4 << 20;

/// Bytes of a digest.
const SUM: usize = 32;

/// Nobody comes back for an older one.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Bytes of the whole folder at the most: 32 GiB.
const MOST: u64 = 32 << 30;

/// Characters of a tag, quotes included, from which on it is taken for one that no other file has.
const LONG_TAG: usize = 18;

/// The folder.
pub struct Partials {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    most: u64,
    in_use: InUse,
}

/// Whole lengths of the bodies that downloads are keeping, by name.
type InUse = Arc<Mutex<HashMap<String, u64>>>;

impl Partials {
    pub fn new(folder: PathBuf, clock: Arc<dyn Clock>) -> Self {
        let partials = Self { folder, clock, most: MOST, in_use: InUse::default() };
        partials.sweep();
        partials
    }

    /// With another bound on the bytes of the folder.
    pub fn at_most(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// The partial of an answer with the status 200 and this proof; none for a small one, for one of unknown
    /// length, while another download has it, and where there is no room beside those that are in use.
    pub async fn of(&self, url: &Url, headers: &HeaderMap, len: u64) -> Option<Partial> {
        if len < LARGE {
            return None;
        }
        self.sweep();
        let name = name(url, headers, len);
        let place = self.reserve(name.clone(), len)?;
        let path = self.folder.join(name);
        let opened = tokio::task::spawn_blocking(move || Partial::open(&path, len, place)).await;
        opened.unwrap_or_else(|e| Err(io::Error::other(e))).unwrap_or_else(|error| {
            tracing::warn!(%error, "what arrives of a large file cannot be kept for later");
            None
        })
    }

    /// Makes room for a body, and holds it until the place is dropped. Bodies in use count with their whole
    /// length, so that they cannot grow past the bound.
    fn reserve(&self, name: String, len: u64) -> Option<Place> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = in_use.values().fold(len, |sum, len| sum.saturating_add(*len));
        if taken > self.most || in_use.contains_key(&name) {
            return None;
        }
        let left = self.left_behind(|stem| stem == name || in_use.contains_key(stem));
        let mut sum = left.iter().fold(taken, |sum, (_, size, _)| sum.saturating_add(*size));
        for (_, size, path) in left {
            if sum <= self.most {
                break;
            }
            let _ = fs::remove_file(path.with_extension("sums"));
            match fs::remove_file(&path) {
                Ok(()) => sum = sum.saturating_sub(size),
                Err(error) => tracing::warn!(%error, "a partial download cannot be removed"),
            }
        }
        if sum > self.most {
            return None;
        }
        in_use.insert(name.clone(), len);
        Some(Place { name, in_use: Arc::clone(&self.in_use) })
    }

    /// What lies there and is not spared, oldest first: when it was written, its bytes, its path.
    fn left_behind(&self, spared: impl Fn(&str) -> bool) -> Vec<(Duration, u64, PathBuf)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let parts = entries.filter(|path| path.extension().is_some_and(|e| e == "part"));
        let mut all: Vec<_> = parts
            .filter(|path| !path.file_stem().and_then(|s| s.to_str()).is_some_and(&spared))
            .filter_map(|path| {
                let known = fs::metadata(&path).ok()?;
                let since = known.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                Some((since, known.len(), path))
            })
            .collect();
        all.sort();
        all
    }

    /// Removes what nobody came back for.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let now = self.clock.now();
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|m| m.modified()).ok();
            let since = modified.and_then(|m| m.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            let ours = entry.path().extension().is_some_and(|e| e == "part" || e == "sums");
            if ours && now.since(Timestamp(0).plus(since)) > OLDEST {
                // If it cannot be removed now, it can the next time.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The name of what belongs together: an address, and what proves that two answers of it are one.
///
/// A signed link has another signature each time. A long strong tag names its file wherever that stands, so
/// the signature counts only beside a short tag or a date.
fn name(url: &Url, headers: &HeaderMap, len: u64) -> String {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let tag = text(header::ETAG);
    let address = if tag.len() >= LONG_TAG { address_without_secrets(url.as_str()) } else { url.to_string() };
    let (date, encoding, kind) =
        (text(header::LAST_MODIFIED), text(header::CONTENT_ENCODING), text(header::CONTENT_TYPE));
    let date = if tag.is_empty() { date } else { "" };
    Sha256::of(format!("{address}\n{tag}\n{date}\n{encoding}\n{kind}\n{len}\n").as_bytes()).to_hex()
}

/// Room in the folder, until it is dropped.
struct Place {
    name: String,
    in_use: InUse,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// What has arrived of one body.
pub struct Partial {
    path: PathBuf,
    _place: Place,
    part: tokio::fs::File,
    sums: tokio::fs::File,
    held: u64,
    block: Sha256Hasher,
    in_block: u64,
}

impl Partial {
    fn open(path: &Path, len: u64, place: Place) -> io::Result<Option<Self>> {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = |end: &str| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            options.open(path.with_extension(end))
        };
        let mut part = file("part")?;
        if let Err(error) = part.try_lock() {
            return if matches!(error, fs::TryLockError::WouldBlock) { Ok(None) } else { Err(error.into()) };
        }
        let mut sums = file("sums")?;
        let blocks = sound_blocks(&mut part, &mut sums, len)?;
        let held = blocks * BLOCK;
        part.set_len(held)?;
        sums.set_len(blocks * SUM as u64)?;
        sums.seek(SeekFrom::End(0))?;
        part.rewind()?;
        Ok(Some(Self {
            path: path.to_owned(),
            _place: place,
            part: part.into(),
            sums: sums.into(),
            held,
            block: Sha256Hasher::default(),
            in_block: 0,
        }))
    }

    /// Bytes that are there from an earlier time. They are to be read before anything is kept.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The next bytes that are there; `left` of [`Partial::held`] are not read yet.
    pub async fn read(&mut self, left: u64) -> io::Result<Bytes> {
        let mut chunk = vec![0; usize::try_from(left.min(256 << 10)).unwrap_or_default()];
        let read = self.part.read(&mut chunk).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        chunk.truncate(read);
        Ok(chunk.into())
    }

    /// Keeps the bytes that came next.
    pub async fn keep(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = usize::try_from(BLOCK - self.in_block).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.part.write_all(now).await?;
            self.block.update(now);
            self.in_block += now.len() as u64;
            if self.in_block == BLOCK {
                // The digest goes out after its bytes: a kill in between costs the block and nothing else.
                self.part.flush().await?;
                let sum = std::mem::take(&mut self.block).finish();
                self.sums.write_all(&sum.0).await?;
                self.sums.flush().await?;
                self.in_block = 0;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Removes it: the body is whole, or it cannot be gone on with.
    pub async fn remove(self) {
        for end in ["sums", "part"] {
            // What stays behind is removed when it is old.
            let _ = tokio::fs::remove_file(self.path.with_extension(end)).await;
        }
    }
}

/// How many blocks from the beginning have the digest that was written beside them.
fn sound_blocks(part: &mut File, sums: &mut File, len: u64) -> io::Result<u64> {
    let mut known = Vec::new();
    sums.take((len / BLOCK) * SUM as u64).read_to_end(&mut known)?;
    let mut buffer = vec![0; usize::try_from(BLOCK).unwrap_or_default()];
    let mut blocks = 0;
    for sum in known.chunks_exact(SUM) {
        match part.read_exact(&mut buffer) {
            Ok(()) if Sha256::of(&buffer).0 == sum => blocks += 1,
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(blocks)
}
