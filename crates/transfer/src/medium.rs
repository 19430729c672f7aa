//! Reading the folder: by handle, never through a link, never writing.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use cofferdam_types::{ErrorKind, Sha256, Sha256Hasher};
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, open, openat};

use crate::{
    header::{HEADER, MANIFEST, README, pack_name},
    limits::{MAX_FOLDER_NAME, MAX_PACKS},
    refusal::Refusal,
};

pub struct Medium {
    dir: OwnedFd,
    pub name: String,
}

impl Medium {
    /// Opens the folder and checks its names: nothing else has been read after this.
    pub fn open(path: &Path) -> Result<(Self, BTreeSet<String>), Refusal> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let shape = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.+".contains(&b);
        let ok = name.strip_prefix("CT1-").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(shape));
        if !ok || name.len() > MAX_FOLDER_NAME {
            return Err(Refusal::invalid(
                "not-a-transfer",
                "the folder's name is not that of a finished transfer",
            )
            .at(&name)
            .hint("give the folder that starts with `CT1-`; one that starts with a dot was never finished"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = open(path, flags, Mode::empty()).map_err(|e| match e {
            rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => {
                Refusal::invalid("not-a-transfer", "it is not a folder").at(&name)
            }
            e => Refusal::io(&name, &e.into()),
        })?;
        let names = list(&dir, &name)?;
        Ok((Self { dir, name }, names))
    }

    /// Opens a file of a fixed name; a link, device, pipe or folder is refused.
    pub fn file(&self, name: &str) -> Result<File, Refusal> {
        // NONBLOCK: opening a pipe must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.dir, name, flags, Mode::empty()).map_err(|e| match e {
            rustix::io::Errno::NOENT => {
                Refusal::new(ErrorKind::MissingVolume, "missing-file", "the file is missing").at(name)
            }
            rustix::io::Errno::LOOP => not_regular(name),
            e => Refusal::io(name, &e.into()),
        })?;
        let stat = fstat(&file).map_err(|e| Refusal::io(name, &e.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_regular(name));
        }
        Ok(file.into())
    }

    /// Length and SHA-256 of a file, reading one byte past `size` at most; each step is reported.
    pub fn hash(&self, name: &str, size: u64, step: &mut dyn FnMut(u64)) -> Result<(u64, Sha256), Refusal> {
        let mut input = self.file(name)?.take(size.saturating_add(1));
        let (mut hasher, mut buffer, mut total) = (Sha256Hasher::default(), vec![0; 1 << 20], 0);
        loop {
            let n = match input.read(&mut buffer) {
                Ok(0) => return Ok((total, hasher.finish())),
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Refusal::io(name, &e).offset(total)),
            };
            hasher.update(&buffer[..n]);
            total += n as u64;
            step(n as u64);
        }
    }
}

fn not_regular(name: &str) -> Refusal {
    Refusal::invalid("not-a-regular-file", "only regular files may lie in a transfer").at(name)
}

fn known_name(name: &str) -> bool {
    let pack = |digits: &str| digits.parse::<u32>().is_ok_and(|n| n > 0 && pack_name(n) == name);
    [HEADER, MANIFEST, README].contains(&name)
        || name.strip_prefix('p').and_then(|n| n.strip_suffix(".ctp")).is_some_and(pack)
}

fn list(dir: &OwnedFd, folder: &str) -> Result<BTreeSet<String>, Refusal> {
    let unreadable = |e: rustix::io::Errno| Refusal::io(folder, &e.into());
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        let name = std::ffi::OsStr::from_bytes(bytes).to_string_lossy().into_owned();
        if !known_name(&name) {
            return Err(Refusal::invalid("unexpected-file", "no file of this name belongs in a transfer")
                .at(&name)
                .hint("remove what something else put there, or copy the folder again"));
        }
        if !matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
            return Err(not_regular(&name));
        }
        if names.len() >= MAX_PACKS as usize + 3 {
            return Err(Refusal::too_large(format!("there are more than {MAX_PACKS} packs")).at(folder));
        }
        names.insert(name);
    }
    Ok(names)
}
