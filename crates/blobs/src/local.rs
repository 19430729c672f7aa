//! Blobs on local disk. The steps of a `put` are in the crate's first lines.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind as IoKind, Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cofferdam_types::{Digests, Error, ErrorKind, Result, Sha256, Sha256Hasher};
use futures::StreamExt as _;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    Batch, Blobs, ByteStream, MultiHasher, Staged,
    batch::{LocalBatch, Waiting, commit},
    staged::Shelf,
    verify::verified,
};

/// Chunks between the network and the disk: enough to keep both busy, small enough to forget.
const CHUNK: usize = 256 * 1024;
const IN_FLIGHT: usize = 8;

/// Blobs in a folder of the local disk.
#[derive(Clone, Debug)]
pub struct LocalBlobs {
    root: Arc<PathBuf>,
    next: Arc<AtomicU64>,
    staged: Arc<Shelf>,
}

impl LocalBlobs {
    /// Opens (or creates) a store and removes what a crash has left in `tmp/`.
    ///
    /// # Errors
    /// `Internal` when the folder cannot be used.
    pub fn open(root: &Path) -> Result<Self> {
        let failed = |e| Error::io(format!("opening the blob store {}", root.display()), e);
        for folder in [root.to_owned(), root.join("tmp"), root.join("sha256")] {
            fs::create_dir_all(&folder).map_err(failed)?;
        }
        for entry in fs::read_dir(root.join("tmp")).map_err(failed)? {
            fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
        }
        sync_folder(root)?;
        Ok(Self { root: Arc::new(root.to_owned()), next: Arc::default(), staged: Arc::default() })
    }

    pub(crate) fn temporary(&self) -> Result<Temporary> {
        Temporary::create(&self.root, self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn path(&self, sha256: &Sha256) -> PathBuf {
        let hex = sha256.to_hex();
        self.root.join("sha256").join(&hex[..2]).join(&hex[2..])
    }

    fn open_blob(&self, sha256: &Sha256) -> Result<File> {
        let path = self.path(sha256);
        let opened = File::open(&path).or_else(|error| match self.staged.find(sha256) {
            // It may have been kept between the two looks.
            Some(staged) => File::open(staged).or_else(|_| File::open(&path)),
            None => Err(error),
        });
        opened.map_err(|e| match e.kind() {
            IoKind::NotFound => Error::not_found(format!("there is no blob {sha256}")),
            _ => Error::io(format!("opening the blob {sha256}"), e),
        })
    }

    /// Step 1 for chunks that arrive over a channel. Runs in a blocking task.
    fn write(&self, mut chunks: mpsc::Receiver<Result<Bytes>>, limit: u64) -> Result<Staged> {
        let mut temporary = self.temporary()?;
        let mut hasher = MultiHasher::default();
        let mut whole = false;
        while let Some(chunk) = chunks.blocking_recv() {
            let chunk = chunk?;
            if chunk.is_empty() {
                whole = true;
                break;
            }
            hasher.update(&chunk);
            if hasher.size() > limit {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    "too-large",
                    format!("the body is larger than the {limit} bytes that are allowed here"),
                ));
            }
            temporary.file.write_all(&chunk).map_err(|e| Error::io("writing a blob", e))?;
        }
        if !whole {
            return Err(Error::invalid("body-broken", "the body ended before it was complete"));
        }
        Ok(Staged::new(hasher.finish(), temporary, &self.staged))
    }

    /// Steps 2 to 4, for those that are not there yet.
    fn keep_blocking(&self, staged: &[Staged]) -> Result<()> {
        let mut waiting = Vec::new();
        for one in staged {
            let path = self.path(&one.digests().sha256);
            if path.exists() {
                continue;
            }
            let Temporary { file, path: temporary } = one.temporary();
            let failed = |e| Error::io("keeping a blob", e);
            file.set_permissions(fs::Permissions::from_mode(0o444)).map_err(failed)?;
            waiting.push(Waiting { temporary, path, file: Some(file) });
        }
        commit(&waiting)
    }

    fn list_blocking(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<Sha256>> {
        let failed = |e| Error::io("listing blobs", e);
        let after = after.map(|d| d.to_hex());
        let mut found: Vec<Sha256> = Vec::new();
        for folder in sorted_names(&self.root.join("sha256")).map_err(failed)? {
            if after.as_deref().is_some_and(|a| folder.as_str() < &a[..2]) {
                continue;
            }
            for name in sorted_names(&self.root.join("sha256").join(&folder)).map_err(failed)? {
                let hex = format!("{folder}{name}");
                if after.as_deref().is_none_or(|a| hex.as_str() > a) {
                    found.extend(hex.parse::<Sha256>().ok());
                }
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

/// A file in `tmp/`, open for writing.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) file: File,
    pub(crate) path: TemporaryPath,
}

/// Where a file in `tmp/` lies: it is gone when this is dropped, unless it was renamed.
#[derive(Debug)]
pub(crate) struct TemporaryPath(pub(crate) PathBuf);

impl Temporary {
    fn create(root: &Path, number: u64) -> Result<Self> {
        let path = root.join("tmp").join(format!("{}-{number}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| Error::io("starting a blob", e))?;
        Ok(Self { file, path: TemporaryPath(path) })
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        // After the rename there is nothing of this name; before it, the bytes must not stay.
        let _ = fs::remove_file(&self.0);
    }
}

pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| Error::io("making a folder durable", e))
}

fn sorted_names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort_unstable();
    Ok(names)
}

fn chunks_of(file: File, length: u64) -> impl futures::Stream<Item = Result<Bytes>> + Send + Unpin {
    let state = Some((file, length));
    Box::pin(futures::stream::unfold(state, |state| async move {
        let (mut file, left) = state?;
        if left == 0 {
            return None;
        }
        let read = spawn_blocking(move || {
            let want = usize::try_from(left.min(CHUNK as u64)).unwrap_or(CHUNK);
            let mut buffer = BytesMut::zeroed(want);
            file.read_exact(&mut buffer).map(|()| (file, buffer.freeze()))
        });
        match read.await {
            Ok(Ok((file, bytes))) => {
                let left = left - bytes.len() as u64;
                Some((Ok(bytes), Some((file, left))))
            }
            Ok(Err(error)) => Some((Err(Error::io("reading a blob", error)), None)),
            Err(error) => Some((Err(Error::internal("reading a blob", error)), None)),
        }
    }))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.map_err(|e| Error::internal("the blob store panicked", e))?
}

#[async_trait]
impl Blobs for LocalBlobs {
    async fn put(&self, body: ByteStream, limit: u64) -> Result<Digests> {
        let staged = self.stage(body, limit).await?;
        let digests = staged.digests().clone();
        self.keep(vec![staged]).await?;
        Ok(digests)
    }

    async fn stage(&self, mut body: ByteStream, limit: u64) -> Result<Staged> {
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        let this = self.clone();
        let writer = spawn_blocking(move || this.write(receiver, limit));
        let mut failed = false;
        while let Some(chunk) = body.next().await {
            failed = chunk.is_err();
            // An empty chunk means the end to the writer, so it must not come from the body.
            let skip = matches!(&chunk, Ok(bytes) if bytes.is_empty());
            if !skip && (sender.send(chunk).await.is_err() || failed) {
                break;
            }
        }
        if !failed {
            // The writer may have refused already; its error is the answer then.
            let _ = sender.send(Ok(Bytes::new())).await;
        }
        drop(sender);
        writer.await.map_err(|e| Error::internal("the blob writer panicked", e))?
    }

    async fn keep(&self, staged: Vec<Staged>) -> Result<()> {
        if staged.is_empty() {
            return Ok(());
        }
        let this = self.clone();
        blocking(move || this.keep_blocking(&staged)).await
    }

    async fn size(&self, sha256: &Sha256) -> Result<Option<u64>> {
        let (this, sha256) = (self.clone(), *sha256);
        blocking(move || match this.open_blob(&sha256).map(|file| file.metadata()) {
            Ok(Ok(meta)) => Ok(Some(meta.len())),
            Ok(Err(e)) => Err(Error::io("asking for a blob", e)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
        .await
    }

    async fn read(&self, sha256: &Sha256, range: Option<Range<u64>>) -> Result<ByteStream> {
        let (this, digest) = (self.clone(), *sha256);
        let (file, length, whole) = blocking(move || {
            let mut file = this.open_blob(&digest)?;
            let size = file.metadata().map_err(|e| Error::io("asking for a blob", e))?.len();
            let range = range.unwrap_or(0..size);
            let whole = range == (0..size);
            let (from, to) = (range.start.min(size), range.end.min(size));
            file.seek(SeekFrom::Start(from)).map_err(|e| Error::io("reading a blob", e))?;
            Ok((file, to.saturating_sub(from), whole))
        })
        .await?;
        let chunks = chunks_of(file, length);
        Ok(if whole { verified(chunks, *sha256).boxed() } else { chunks.boxed() })
    }

    async fn file(&self, sha256: &Sha256) -> Result<File> {
        let (this, sha256) = (self.clone(), *sha256);
        blocking(move || this.open_blob(&sha256)).await
    }

    async fn verify(&self, sha256: &Sha256) -> Result<bool> {
        let (this, sha256) = (self.clone(), *sha256);
        blocking(move || {
            let mut file = this.open_blob(&sha256)?;
            let mut hasher = Sha256Hasher::default();
            let mut buffer = vec![0; CHUNK];
            loop {
                let n = file.read(&mut buffer).map_err(|e| Error::io("verifying a blob", e))?;
                if n == 0 {
                    return Ok(hasher.finish() == sha256);
                }
                hasher.update(&buffer[..n]);
            }
        })
        .await
    }

    async fn delete(&self, sha256: &Sha256) -> Result<bool> {
        let path = self.path(sha256);
        blocking(move || match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == IoKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("removing a blob", e)),
        })
        .await
    }

    async fn list(&self, after: Option<Sha256>, limit: usize) -> Result<Vec<Sha256>> {
        let this = self.clone();
        blocking(move || this.list_blocking(after, limit)).await
    }

    fn batch(&self) -> Result<Box<dyn Batch>> {
        Ok(Box::new(LocalBatch::new(self.clone())))
    }
}
