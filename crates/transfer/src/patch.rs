//! A patch: the answer to a repair request. Nothing but the lost bytes, and where they belong.
//!
//! Layout: `CT1PATCH`, length of the list (8 bytes, little-endian), the list as JSON
//! (`{"transfer":…,"ranges":[[offset,len],…]}`), then the bytes of the ranges one after the other. A patch is
//! not signed: what it mends must have the SHA-256 that was.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use cofferdam_parity::ReadAt as _;
use cofferdam_types::{Error, Result, Sha256};
use serde::{Deserialize, Serialize};

use crate::{
    limits::MAX_PATCH_LIST,
    name,
    parity::Data,
    refusal::Refusal,
    staging::Staging,
    survey::Survey,
    volume::{HashFile, failed},
};

const MAGIC: &[u8; 8] = b"CT1PATCH";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    transfer: Sha256,
    ranges: Vec<(u64, u64)>,
}

/// An opened patch.
pub struct Patch {
    file: File,
    /// Ranges of the data stream, ascending, and where each starts in the file.
    ranges: Vec<(Range<u64>, u64)>,
}

pub fn open(file: File, name: &str, transfer: &Sha256) -> Result<Patch, Refusal> {
    let bad = |why: &str| Refusal::invalid("bad-patch", why).at(name);
    let io = |e: io::Error| match e.kind() {
        io::ErrorKind::UnexpectedEof => bad("it is cut short"),
        _ => Refusal::io(name, &e),
    };
    let mut head = [0; 16];
    file.read_exact_at(&mut head, 0).map_err(io)?;
    let mut length = [0; 8];
    length.copy_from_slice(&head[8..]);
    let length = u64::from_le_bytes(length);
    if head[..8] != *MAGIC || length > MAX_PATCH_LIST {
        return Err(bad("it is no patch"));
    }
    let mut json = Vec::new();
    let mut input = &file;
    io::Seek::seek(&mut input, io::SeekFrom::Start(16)).map_err(io)?;
    input.take(length).read_to_end(&mut json).map_err(io)?;
    let list: List = serde_json::from_slice(&json).map_err(|_| bad("its list cannot be read"))?;
    if list.transfer != *transfer {
        return Err(bad("it mends another transfer"));
    }
    let (mut at, mut last, mut ranges) = (16 + length, 0, Vec::new());
    for (offset, len) in list.ranges {
        let end = offset.checked_add(len).filter(|_| offset >= last && len > 0);
        let end = end.ok_or_else(|| bad("its ranges are not in ascending order"))?;
        ranges.push((offset..end, at));
        at = at.checked_add(len).ok_or_else(|| bad("its ranges overflow"))?;
        last = end;
    }
    if file.metadata().map_err(io)?.len() != at {
        return Err(bad("it does not hold the bytes that it lists"));
    }
    Ok(Patch { file, ranges })
}

impl Patch {
    fn find(&self, bytes: &Range<u64>) -> Option<&(Range<u64>, u64)> {
        let at = self.ranges.partition_point(|(range, _)| range.end <= bytes.start);
        self.ranges.get(at).filter(|(range, _)| range.start <= bytes.start && bytes.end <= range.end)
    }

    /// How many bytes of the data stream from `offset` on are here.
    pub fn reach(&self, offset: u64) -> u64 {
        self.find(&(offset..offset)).map_or(0, |(range, _)| range.end.saturating_sub(offset))
    }

    /// Where the first range after `offset` begins.
    pub fn next(&self, offset: u64) -> Option<u64> {
        let at = self.ranges.partition_point(|(range, _)| range.start <= offset);
        self.ranges.get(at).map(|(range, _)| range.start)
    }

    pub fn covers(&self, bytes: &Range<u64>) -> bool {
        self.find(bytes).is_some()
    }

    pub fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let wanted = offset..offset + out.len() as u64;
        let (range, at) = self.find(&wanted).ok_or(io::ErrorKind::NotFound)?;
        self.file.read_exact_at(out, at + (offset - range.start))
    }
}

/// Answers a repair request from a whole copy of the transfer: writes `into/<name>/` with the header and one
/// patch that holds `ranges`, and nothing else.
///
/// # Errors
/// `missing-file` or damage when the copy is not whole there; `Conflict` when the answer exists.
pub fn answer(survey: &Survey, ranges: &[(u64, u64)], into: &Path) -> Result<(PathBuf, u64)> {
    let header = &survey.header;
    let manifest = header.manifest_name();
    let data = Data {
        manifest: survey.whole(manifest).ok(),
        manifest_size: header.file(manifest).map_or(0, |f| f.size),
        payload: survey.volumes(),
    };
    let end = header.parity.map_or(0, |g| g.data_len);
    let sound = ranges.windows(2).all(|p| p[0].0.saturating_add(p[0].1) <= p[1].0)
        && ranges.iter().all(|(offset, len)| *len > 0 && offset.checked_add(*len).is_some_and(|e| e <= end));
    if !sound || ranges.is_empty() {
        let text = "the request asks for bytes that the transfer does not have";
        return Err(Error::verification("bad-request", text));
    }
    let folder = into.join(header.folder_name());
    std::fs::create_dir(&folder).map_err(|e| failed("an answer", e))?;
    let written = (|| -> Result<u64> {
        let copied = copy(survey, &folder, name::HEADER)?;
        Ok(copied
            + write(&folder, 1, &survey.header_sha256, ranges, &|offset, out| data.read_at(offset, out))?)
    })();
    if written.is_err() {
        let _ = std::fs::remove_dir_all(&folder);
    }
    Ok((folder, written?))
}

/// Copies the header and the manifest, and keeps `ranges` of the data stream in one more patch.
pub fn stash(
    survey: &Survey,
    ranges: &[(u64, u64)],
    read: &dyn Fn(u64, &mut [u8]) -> io::Result<()>,
    into: &Path,
) -> Result<PathBuf> {
    let folder = into.join(survey.header.folder_name());
    // A file that is cut short would keep every later medium from being read.
    let staging = Staging::create(into, &survey.header.folder_name(), "stashing")?;
    let mut names: Vec<String> = [name::HEADER, survey.header.manifest_name()].map(str::to_owned).into();
    names.retain(|name| !folder.join(name).exists());
    for name in &names {
        copy(survey, staging.path(), name)?;
    }
    if !ranges.is_empty() {
        let free = (1..).find(|n| !folder.join(name::patch(*n)).exists()).unwrap_or(1);
        write(staging.path(), free, &survey.header_sha256, ranges, read)?;
        names.push(name::patch(free));
    }
    staging.place(names.iter().map(String::as_str))
}

/// The patches that a stash holds.
pub fn stashed(survey: &Survey, into: &Path) -> Result<Vec<Patch>> {
    let folder = into.join(survey.header.folder_name());
    let mut patches = Vec::new();
    for name in (1..).map(name::patch) {
        match File::open(folder.join(&name)) {
            Ok(file) => patches.push(open(file, &name, &survey.header_sha256)?),
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            Err(e) => return Err(Error::io("reading a stash", e)),
        }
    }
    Ok(patches)
}

/// A copy of a file of the medium, durable when it returns; its length.
pub fn copy(survey: &Survey, folder: &Path, name: &str) -> Result<u64> {
    let mut copy = HashFile::create(folder, name)?;
    io::copy(&mut survey.medium.any(name)?, &mut copy).map_err(|e| failed(name, e))?;
    Ok(copy.close()?.size)
}

fn write(
    folder: &Path,
    number: u32,
    transfer: &Sha256,
    ranges: &[(u64, u64)],
    read: &dyn Fn(u64, &mut [u8]) -> io::Result<()>,
) -> Result<u64> {
    let list = List { transfer: *transfer, ranges: ranges.to_vec() };
    let json = serde_json::to_vec(&list).map_err(|e| Error::internal("a patch", e))?;
    let name = name::patch(number);
    let mut out = HashFile::create(folder, &name)?;
    let head = [MAGIC.as_slice(), &(json.len() as u64).to_le_bytes(), &json].concat();
    out.write_all(&head).map_err(|e| failed(&name, e))?;
    let mut buffer = vec![0; 1 << 20];
    for (offset, len) in ranges {
        let mut at = 0;
        while at < *len {
            let n = usize::try_from((len - at).min(1 << 20)).unwrap_or(1 << 20);
            read(offset + at, &mut buffer[..n])
                .map_err(|e| Error::io("reading a copy of the transfer", e))?;
            out.write_all(&buffer[..n]).map_err(|e| failed(&name, e))?;
            at += n as u64;
        }
    }
    Ok(out.close()?.size)
}
