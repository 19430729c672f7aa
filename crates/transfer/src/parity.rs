//! Parity over manifest and payload: written last, in one more pass over what lies on the medium.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use cofferdam_parity::{Geometry, ReadAt, WriteAt, encode};
use cofferdam_types::{Error, Result};

use crate::{
    handles::Handles,
    header::{FileEntry, Header, Suite, parts},
    medium, name,
    volume::{Parts, failed},
    writer::Writing,
};

/// The manifest's file and then the payload, as one stream.
pub struct Data {
    pub manifest: Option<File>,
    pub manifest_size: u64,
    pub payload: Parts,
}

impl ReadAt for Data {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let own =
            usize::try_from(self.manifest_size.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (first, rest) = out.split_at_mut(own);
        if !first.is_empty() {
            let file = self.manifest.as_ref().ok_or(io::ErrorKind::NotFound)?;
            file.read_exact_at(first, offset)?;
        }
        if rest.is_empty() {
            return Ok(());
        }
        self.payload.read_at(offset.saturating_sub(self.manifest_size), rest)
    }
}

/// Parity volumes as one stream.
pub struct Spare(pub Parts);

impl ReadAt for Spare {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }
}

/// Files of one size that are written at any place.
struct Sheets {
    each: u64,
    files: Handles,
}

impl WriteAt for Sheets {
    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let number = usize::try_from(offset / self.each).map_err(io::Error::other)?;
            let file = self.files.get(number)?;
            let at = offset % self.each;
            let n = usize::try_from(self.each - at).unwrap_or(usize::MAX).min(bytes.len());
            file.write_all_at(&bytes[..n], at)?;
            offset += n as u64;
            bytes = &bytes[n..];
        }
        Ok(())
    }
}

/// Writes checks and parity volumes; nothing for an inspectable transfer.
pub fn write(
    folder: &Path,
    header: &Header,
    manifest: &FileEntry,
    permille: u32,
    progress: &(dyn Writing + Sync),
) -> Result<(Option<Geometry>, Vec<FileEntry>)> {
    if header.suite != Suite::Sealed {
        return Ok((None, Vec::new()));
    }
    let total = manifest.size + header.payload.size;
    let geometry = Geometry::choose(total, permille)?;
    let layout = geometry.check()?;
    let each = header.payload.volume_size;
    let count = parts(layout.parity_len(), each);
    let open = |name: &str| File::open(folder.join(name)).map_err(|e| failed(name, e));
    let written = Parts::written(folder, each, name::volume, header.volumes());
    let data = Data { manifest: Some(open(&manifest.name)?), manifest_size: manifest.size, payload: written };
    let new = |name: &str| {
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(folder.join(name))
            .map_err(|e| failed(name, e))
    };
    let names: Vec<String> = (1..=count).map(name::parity).collect();
    names.iter().try_for_each(|name| new(name).map(drop))?;
    let (home, paths) = (folder.to_owned(), names.clone());
    let again = move |n: usize| {
        let name = paths.get(n).ok_or(io::ErrorKind::NotFound)?;
        File::options().write(true).open(home.join(name))
    };
    let sheets = Sheets { each, files: Handles::new(again) };
    let checks = new(name::CHECKS)?;
    let done = AtomicU64::new(0);
    let hear =
        |n: u64| progress.parity(done.fetch_add(n, Ordering::Relaxed).saturating_add(n).min(total), total);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    encode(&geometry, &data, &sheets, &checks, threads, &hear).map_err(|e| failed("the parity", e))?;
    drop((sheets, checks));
    let mut entries = Vec::new();
    for name in std::iter::once(name::CHECKS).chain(names.iter().map(String::as_str)) {
        let file = open(name)?;
        file.sync_data().map_err(|e| failed(name, e))?;
        let size = file.metadata().map_err(|e| failed(name, e))?.len();
        let hashed = medium::hash(file, name, size, &mut |_| ()).map_err(Error::from)?;
        entries.push(FileEntry { name: name.to_owned(), size: hashed.0, sha256: hashed.1 });
    }
    Ok((Some(geometry), entries))
}
