//! Volumes: the payload cut at any byte, written and hashed as it comes; and read again across cuts.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufWriter},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use cofferdam_types::{Error, Result, Sha256Hasher};

use crate::{handles::Handles, header::FileEntry, name};

/// Volumes that become durable at once, at most.
const MAX_SYNCS: usize = 4;
/// Bytes after which a volume that is still written is made durable as far as it is: the disk has nothing left to
/// do when the last byte comes.
const SYNC_EACH: u64 = 64 << 20;

/// A file of a transfer that is hashed while it is written.
pub struct HashFile {
    name: String,
    file: BufWriter<File>,
    hasher: Sha256Hasher,
    size: u64,
}

impl HashFile {
    pub fn create(folder: &Path, name: &str) -> Result<Self> {
        let file = File::create_new(folder.join(name)).map_err(|e| failed(name, e))?;
        let (file, hasher) = (BufWriter::with_capacity(1 << 18, file), Sha256Hasher::default());
        Ok(Self { name: name.to_owned(), file, hasher, size: 0 })
    }

    /// Flushes, makes durable, and tells what the header says of it.
    pub fn close(self) -> Result<FileEntry> {
        let (entry, file) = self.flushed()?;
        file.sync_data().map_err(|e| failed(&entry.name, e))?;
        Ok(entry)
    }

    /// Flushes; the caller makes it durable.
    fn flushed(self) -> Result<(FileEntry, File)> {
        let file = self.file.into_inner().map_err(|e| failed(&self.name, e.into_error()))?;
        Ok((FileEntry { name: self.name, size: self.size, sha256: self.hasher.finish() }, file))
    }
}

/// Writes a whole file, durable when it returns.
pub fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<FileEntry> {
    let mut file = HashFile::create(folder, name)?;
    io::Write::write_all(&mut file, bytes).map_err(|e| failed(name, e))?;
    file.close()
}

/// Files that become durable while others are written.
#[derive(Default)]
pub struct Syncs(VecDeque<JoinHandle<Result<()>>>);

impl Syncs {
    fn add(&mut self, name: String, file: File) -> Result<()> {
        if self.0.len() >= MAX_SYNCS {
            self.one()?;
        }
        self.0.push_back(std::thread::spawn(move || file.sync_data().map_err(|e| failed(&name, e))));
        Ok(())
    }

    fn one(&mut self) -> Result<()> {
        let Some(sync) = self.0.pop_front() else { return Ok(()) };
        sync.join().map_err(|_| Error::internal("syncing a volume", "its thread panicked"))?
    }

    /// Waits until all of them are durable.
    pub fn wait(mut self) -> Result<()> {
        while !self.0.is_empty() {
            self.one()?;
        }
        Ok(())
    }
}

impl io::Write for HashFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

pub fn failed(what: &str, error: io::Error) -> Error {
    Error::io(format!("writing {what} of a transfer"), error)
}

/// Appends to volumes of one size.
pub struct Cutter {
    folder: PathBuf,
    each: u64,
    name: fn(u32) -> String,
    open: Option<HashFile>,
    done: Vec<FileEntry>,
    syncs: Syncs,
    size: u64,
    /// Bytes of the open volume that nobody has been asked to make durable.
    fresh: u64,
}

impl Cutter {
    pub fn new(folder: &Path, each: u64, name: fn(u32) -> String) -> Self {
        Self {
            folder: folder.to_owned(),
            each,
            name,
            open: None,
            done: Vec::new(),
            syncs: Syncs::default(),
            size: 0,
            fresh: 0,
        }
    }

    /// Bytes so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What the header says of the volumes; they are durable when the second part has been waited for.
    pub fn finish(mut self) -> Result<(Vec<FileEntry>, Syncs)> {
        self.close()?;
        Ok((self.done, self.syncs))
    }

    fn close(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            let (entry, file) = open.flushed()?;
            self.syncs.add(entry.name.clone(), file)?;
            self.done.push(entry);
        }
        self.fresh = 0;
        Ok(())
    }

    fn sync_so_far(&mut self) -> Result<()> {
        self.fresh = 0;
        let Some(open) = &self.open else { return Ok(()) };
        let file = open.file.get_ref().try_clone().map_err(|e| failed(&open.name, e))?;
        self.syncs.add(open.name.clone(), file)
    }
}

impl io::Write for Cutter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let at = self.size % self.each;
        if at == 0 {
            self.close().map_err(io::Error::other)?;
            let number = u32::try_from(self.size / self.each + 1).map_err(io::Error::other)?;
            let name = (self.name)(number);
            self.open = Some(HashFile::create(&self.folder, &name).map_err(io::Error::other)?);
        }
        let room = usize::try_from(self.each - at).unwrap_or(usize::MAX).min(bytes.len());
        let Some(open) = &mut self.open else { return Err(io::Error::other("no open volume")) };
        open.write_all(&bytes[..room])?;
        self.size += room as u64;
        self.fresh += room as u64;
        if self.fresh >= SYNC_EACH {
            self.sync_so_far().map_err(io::Error::other)?;
        }
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), io::Write::flush)
    }
}

/// Files of one size (the last may be shorter) read as one stream. A part may be absent.
pub struct Parts {
    each: u64,
    /// Which of the parts, counted from 0, are here.
    here: Vec<bool>,
    handles: Handles,
}

impl Parts {
    /// `open` is given the number, from 0, of a part that is `here`.
    pub fn new(
        each: u64,
        here: Vec<bool>,
        open: impl Fn(usize) -> io::Result<File> + Send + Sync + 'static,
    ) -> Self {
        Self { each, here, handles: Handles::new(open) }
    }

    /// What a writer has just written.
    pub fn written(folder: &Path, each: u64, name: fn(u32) -> String, count: u32) -> Self {
        let folder = folder.to_owned();
        let open = move |n| File::open(folder.join(name(u32::try_from(n + 1).map_err(io::Error::other)?)));
        Self::new(each, vec![true; count as usize], open)
    }

    /// Fills `out` from `offset` on. An absent or short part is `NotFound`.
    pub fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let absent = || io::Error::new(io::ErrorKind::NotFound, "this part of the transfer is not here");
        while !out.is_empty() {
            let number = usize::try_from(offset.checked_div(self.each).ok_or_else(absent)?)
                .map_err(io::Error::other)?;
            if self.here.get(number) != Some(&true) {
                return Err(absent());
            }
            let file = self.handles.get(number)?;
            let at = offset % self.each;
            let n = usize::try_from(self.each - at).unwrap_or(usize::MAX).min(out.len());
            let (now, rest) = out.split_at_mut(n);
            file.read_exact_at(now, at)
                .map_err(|e| if e.kind() == io::ErrorKind::UnexpectedEof { absent() } else { e })?;
            offset += n as u64;
            out = rest;
        }
        Ok(())
    }

    /// How many bytes from `offset` on lie in one part that is here; 0 when it is not.
    pub fn reach(&self, offset: u64) -> u64 {
        let number = offset.checked_div(self.each).and_then(|n| usize::try_from(n).ok());
        match number.and_then(|n| self.here.get(n)) {
            Some(true) => self.each - offset % self.each,
            _ => 0,
        }
    }

    /// Where the part after the one with `offset` begins.
    pub const fn next_part(&self, offset: u64) -> u64 {
        match offset.checked_div(self.each) {
            Some(n) => (n + 1).saturating_mul(self.each),
            None => u64::MAX,
        }
    }

    /// The name and offset inside its volume of a payload offset.
    pub fn place(each: u64, offset: u64) -> (String, u64) {
        let number = u32::try_from(offset.checked_div(each).unwrap_or(0) + 1).unwrap_or(u32::MAX);
        (name::volume(number), offset.checked_rem(each).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_stream_cut_anywhere_reads_back_as_one_and_a_missing_part_is_told() {
        let home = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let mut cutter = Cutter::new(home.path(), 65_537, name::volume);
        for piece in bytes.chunks(10_007) {
            cutter.write_all(piece).unwrap();
        }
        let (files, syncs) = cutter.finish().unwrap();
        syncs.wait().unwrap();
        assert_eq!(files.len(), bytes.len().div_ceil(65_537));
        assert_eq!(files.iter().map(|f| f.size).sum::<u64>(), bytes.len() as u64);
        let parts = Parts::written(home.path(), 65_537, name::volume, files.len() as u32);
        let mut out = vec![0; 200_000];
        parts.read_at(60_000, &mut out).unwrap();
        assert!(out == bytes[60_000..260_000]);
        assert!(parts.read_at(bytes.len() as u64 - 3, &mut [0; 4]).is_err());

        let first = home.path().join(name::volume(1));
        let hole = Parts::new(65_537, vec![true, false], move |_| File::open(&first));
        assert!(hole.read_at(0, &mut [0; 65_537]).is_ok());
        assert_eq!(hole.read_at(65_536, &mut [0; 2]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
