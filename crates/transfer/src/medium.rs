//! Reading the folders a transfer lies in: by handle, never through a link, never writing.
//!
//! A transfer may lie in several folders at once: the discs of a set, a folder of repaired files. Each
//! has the same name, and a file may lie in more than one of them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use cofferdam_types::{ErrorKind, Sha256, Sha256Hasher};
use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, open, openat};

use crate::{
    limits::{MAX_ENTRIES, MAX_FOLDER_NAME},
    name::{FILES, Name},
    refusal::Refusal,
};

/// The folders of one transfer.
pub struct Medium {
    folders: Vec<OwnedFd>,
    /// The name that all of them have.
    pub name: String,
    /// Every file, and the folders it lies in.
    pub names: BTreeMap<String, Vec<usize>>,
}

impl Medium {
    /// Opens the folders and checks all names: nothing else has been read after this.
    pub fn open(paths: &[&Path]) -> Result<Self, Refusal> {
        let Some(first) = paths.first() else {
            return Err(Refusal::invalid("not-a-transfer", "no folder was given"));
        };
        let name = file_name(first);
        let mut medium = Self { folders: Vec::new(), name: name.clone(), names: BTreeMap::new() };
        for (number, path) in paths.iter().enumerate() {
            let own = file_name(path);
            if own != name {
                return Err(Refusal::invalid(
                    "mixed-transfers",
                    format!("`{own}` and `{name}` are two transfers"),
                )
                .at(&own)
                .hint("give the folders of one transfer at a time"));
            }
            let dir = open_folder(path, &name)?;
            for found in list(&dir, &name)? {
                medium.names.entry(found).or_default().push(number);
            }
            medium.folders.push(dir);
        }
        Ok(medium)
    }

    /// Opens a file of a fixed name; a link, device, pipe or folder is refused.
    pub fn file(&self, folder: usize, name: &str) -> Result<File, Refusal> {
        let dir = self.folders.get(folder).ok_or_else(|| missing(name))?;
        open_file(dir, name, name)
    }

    /// The first folder that has the file.
    pub fn any(&self, name: &str) -> Result<File, Refusal> {
        let folder = self.names.get(name).and_then(|f| f.first()).ok_or_else(|| missing(name))?;
        self.file(*folder, name)
    }

    /// Opens a flat file of an inspectable transfer, from the first folder that has it.
    pub fn flat(&self, name: &str) -> Result<File, Refusal> {
        let shown = format!("{FILES}/{name}");
        for folder in self.names.get(FILES).into_iter().flatten() {
            let dir = self.flat_folder(*folder)?;
            match open_file(&dir, name, &shown) {
                Err(refusal) if refusal.code == "missing-file" => {}
                other => return other,
            }
        }
        Err(missing(&shown))
    }

    /// Every name in the folders of flat files; what is not a regular file is refused.
    pub fn flat_names(&self) -> Result<Vec<String>, Refusal> {
        let mut all = Vec::new();
        for folder in self.names.get(FILES).into_iter().flatten() {
            let dir = self.flat_folder(*folder)?;
            entries(&dir, FILES, &mut |name, kind| {
                if !matches!(kind, FileType::RegularFile | FileType::Unknown) {
                    return Err(not_regular(&format!("{FILES}/{name}")));
                }
                all.push(name);
                Ok(())
            })?;
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    fn flat_folder(&self, folder: usize) -> Result<OwnedFd, Refusal> {
        let dir = self.folders.get(folder).ok_or_else(|| missing(FILES))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(dir, FILES, flags, Mode::empty()).map_err(|_| not_regular(FILES))
    }
}

/// Length and SHA-256 of a file, reading one byte past `size` at most; each step is reported.
pub fn hash(file: File, name: &str, size: u64, step: &mut dyn FnMut(u64)) -> Result<(u64, Sha256), Refusal> {
    let mut input = file.take(size.saturating_add(1));
    let (mut hasher, mut buffer, mut total) = (Sha256Hasher::default(), vec![0; 1 << 18], 0);
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

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

fn open_folder(path: &Path, name: &str) -> Result<OwnedFd, Refusal> {
    let shape = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.+".contains(&b);
    let ok = name.strip_prefix("CT1-").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(shape));
    if !ok || name.len() > MAX_FOLDER_NAME {
        let text = "the folder's name is not that of a finished transfer";
        return Err(Refusal::invalid("not-a-transfer", text)
            .at(name)
            .hint("give the folder that starts with `CT1-`; one that starts with a dot was never finished"));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|e| match e {
        rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP => {
            Refusal::invalid("not-a-transfer", "it is not a folder").at(name)
        }
        e => Refusal::io(name, &e.into()),
    })
}

fn open_file(dir: &OwnedFd, name: &str, shown: &str) -> Result<File, Refusal> {
    // NONBLOCK: opening a pipe must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(dir, name, flags, Mode::empty()).map_err(|e| match e {
        rustix::io::Errno::NOENT => missing(shown),
        rustix::io::Errno::LOOP => not_regular(shown),
        e => Refusal::io(shown, &e.into()),
    })?;
    let stat = fstat(&file).map_err(|e| Refusal::io(shown, &e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_regular(shown));
    }
    Ok(file.into())
}

pub fn missing(name: &str) -> Refusal {
    Refusal::new(ErrorKind::MissingVolume, "missing-file", "the file is missing").at(name)
}

fn not_regular(name: &str) -> Refusal {
    Refusal::invalid("not-a-regular-file", "only regular files may lie in a transfer").at(name)
}

fn entries(
    dir: &OwnedFd,
    folder: &str,
    each: &mut dyn FnMut(String, FileType) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let unreadable = |e: rustix::io::Errno| Refusal::io(folder, &e.into());
    let mut count = 0usize;
    for entry in Dir::read_from(dir).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let bytes = entry.file_name().to_bytes();
        if bytes == b"." || bytes == b".." {
            continue;
        }
        count += 1;
        if count > MAX_ENTRIES {
            return Err(Refusal::too_large(format!("there are more than {MAX_ENTRIES} files")).at(folder));
        }
        let name = std::ffi::OsStr::from_bytes(bytes).to_string_lossy().into_owned();
        each(name, entry.file_type())?;
    }
    Ok(())
}

fn list(dir: &OwnedFd, folder: &str) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    entries(dir, folder, &mut |name, kind| {
        let Some(known) = Name::parse(&name) else {
            return Err(Refusal::invalid("unexpected-file", "no file of this name belongs in a transfer")
                .at(&name)
                .hint("remove what something else put there, or copy the folder again"));
        };
        let fits = match known {
            Name::Files => matches!(kind, FileType::Directory | FileType::Unknown),
            _ => matches!(kind, FileType::RegularFile | FileType::Unknown),
        };
        if !fits {
            return Err(not_regular(&name));
        }
        names.push(name);
        Ok(())
    })?;
    Ok(names)
}
