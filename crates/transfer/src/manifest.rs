//! The manifest: JSON lines, each in its one canonical spelling, and the closure over them.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Read},
};

use cofferdam_trust::Envelope;
use cofferdam_types::{Sha256, Sha256Hasher};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Header,
    frame::{FRAME_HEADER, PACK_MAGIC},
    limits::{MAX_BLOBS, MAX_FRAME_BYTES, MAX_LINE_BYTES, MAX_PACK_BYTES},
    refusal::Refusal,
};

/// One line of the manifest. First all that is described, then `requires`, then `blob`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Record {
    /// A repository that artifacts belong to.
    Repository {
        /// Its name; once in a transfer.
        name: String,
        /// Its package format.
        format: String,
        /// What sort of repository the caller calls it.
        role: String,
    },
    /// Something published: opaque here.
    Artifact {
        /// What the caller wants to know about it.
        value: Value,
        /// Every blob it needs.
        blobs: Vec<Sha256>,
    },
    /// A git project.
    Git {
        /// Its name; once in a transfer.
        project: String,
        /// Full reference name to object id.
        refs: std::collections::BTreeMap<String, String>,
        /// The bundle.
        bundle: Sha256,
    },
    /// A signed statement, carried as it is and not verified here.
    Statement {
        /// The envelope.
        envelope: Envelope,
    },
    /// A blob that the receiver is assumed to hold.
    Requires {
        /// Its identity.
        sha256: Sha256,
        /// Its length in bytes.
        size: u64,
    },
    /// A blob that is carried.
    Blob(BlobMeta),
}

/// A carried blob and where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobMeta {
    /// Its identity.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
    /// Its frames in order; none for the empty blob.
    pub frames: Vec<FrameRef>,
}

/// Where one frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameRef {
    /// Number of the pack, from 1.
    pub pack: u32,
    /// First byte of the frame in the pack file.
    pub offset: u64,
    /// Length of the frame, its 44 header bytes included.
    pub len: u32,
}

/// What is kept of a manifest in memory.
#[derive(Debug, Default)]
pub struct Index {
    pub blobs: Vec<BlobMeta>,
    pub required: Vec<(Sha256, u64)>,
    pub expanded: u64,
    wanted: HashSet<Sha256>,
    held: HashMap<Sha256, ()>,
    seen: HashSet<Sha256>,
    next: (u32, u64),
}

impl Record {
    /// The line without its newline.
    pub(crate) fn line(&self) -> Result<String, Refusal> {
        serde_json::to_string(self).map_err(|e| bad(format!("a record cannot be written: {e}")))
    }

    pub(crate) fn parse(line: &str) -> Result<Self, Refusal> {
        let record: Self =
            serde_json::from_str(line).map_err(|e| bad(format!("a line is no known record: {e}")))?;
        // One spelling only: repeated keys, spaces and odd escapes die here.
        if record.line()? != line {
            return Err(bad("a line is not in its canonical spelling"));
        }
        Ok(record)
    }
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::invalid("bad-manifest", message).at(crate::header::MANIFEST)
}

impl Index {
    /// Takes the next record; order, duplicates and places are checked as it comes.
    pub fn take(&mut self, record: Record) -> Result<(), Refusal> {
        if !matches!(record, Record::Requires { .. } | Record::Blob(_)) {
            return self.describe(&record);
        }
        if self.held.len() as u64 >= MAX_BLOBS {
            return Err(Refusal::too_large(format!("the manifest names more than {MAX_BLOBS} blobs")));
        }
        let sha256 = match record {
            Record::Requires { sha256, size } => {
                let late =
                    !self.blobs.is_empty() || self.required.last().is_some_and(|last| last.0 >= sha256);
                if late {
                    return Err(bad("`requires` lines are not in ascending order before the blobs"));
                }
                self.required.push((sha256, size));
                sha256
            }
            Record::Blob(blob) => {
                self.place(&blob)?;
                let sha256 = blob.sha256;
                self.expanded = self.expanded.checked_add(blob.size).ok_or_else(|| bad("sizes overflow"))?;
                self.blobs.push(blob);
                sha256
            }
            _ => return Ok(()),
        };
        if self.held.insert(sha256, ()).is_some() {
            return Err(bad(format!("blob {sha256} is listed twice")));
        }
        Ok(())
    }

    fn describe(&mut self, record: &Record) -> Result<(), Refusal> {
        if !self.held.is_empty() {
            return Err(bad("a description comes after the list of blobs"));
        }
        let identity = match record {
            Record::Repository { name, .. } => format!("repository\n{name}"),
            Record::Git { project, .. } => format!("git\n{project}"),
            other => other.line()?,
        };
        if !self.seen.insert(Sha256::of(identity.as_bytes())) {
            return Err(bad("the same thing is described twice"));
        }
        match record {
            Record::Artifact { blobs, .. } => self.wanted.extend(blobs),
            Record::Git { bundle, .. } => {
                self.wanted.insert(*bundle);
            }
            _ => {}
        }
        Ok(())
    }

    /// Frames follow each other without a gap or an overlap through all packs.
    fn place(&mut self, blob: &BlobMeta) -> Result<(), Refusal> {
        let start = PACK_MAGIC.len() as u64;
        if (blob.size).div_ceil(MAX_FRAME_BYTES as u64) != blob.frames.len() as u64 {
            return Err(bad(format!("blob {} does not have the frames its size needs", blob.sha256)));
        }
        for frame in &blob.frames {
            let follows = (frame.pack, frame.offset) == self.next;
            let opens = (frame.pack, frame.offset) == (self.next.0 + 1, start);
            let end = frame.offset.saturating_add(u64::from(frame.len));
            if !(follows || opens) || (frame.len as usize) <= FRAME_HEADER || end > MAX_PACK_BYTES {
                return Err(bad(format!("the frames of blob {} are not where they must be", blob.sha256)));
            }
            self.next = (frame.pack, end);
        }
        Ok(())
    }

    /// After the last record: all that is needed is there, and nothing else is.
    pub fn close(&self) -> Result<(), Refusal> {
        if let Some(missing) = self.wanted.iter().find(|d| !self.held.contains_key(*d)) {
            return Err(Refusal::invalid("not-closed", format!("blob {missing} is needed and not there"))
                .at(crate::header::MANIFEST));
        }
        if let Some(extra) = self.held.keys().find(|d| !self.wanted.contains(*d)) {
            return Err(Refusal::invalid("not-closed", format!("nothing needs blob {extra}"))
                .at(crate::header::MANIFEST));
        }
        Ok(())
    }

    pub fn packs(&self) -> u32 {
        self.next.0
    }
}

/// Reads all lines, with the header's ceilings enforced while unpacking.
pub fn read(
    file: impl Read,
    header: &Header,
    each: &mut dyn FnMut(Record) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let damaged = |e: std::io::Error| bad(format!("it does not decompress: {e}"));
    let mut decoder = zstd::Decoder::new(file).map_err(damaged)?;
    decoder.window_log_max(27).map_err(damaged)?;
    let limit = header.manifest.plain_size;
    let mut input = BufReader::new(decoder.take(limit.saturating_add(1)));
    let (mut hasher, mut total, mut line) = (Sha256Hasher::default(), 0u64, Vec::new());
    loop {
        line.clear();
        let n = (&mut input).take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line).map_err(damaged)?;
        if n == 0 {
            break;
        }
        total += n as u64;
        if total > limit || n > MAX_LINE_BYTES {
            return Err(Refusal::too_large(
                "the manifest unpacks to more than its header or a line's limit allows",
            )
            .at(crate::header::MANIFEST));
        }
        hasher.update(&line);
        let text = line.strip_suffix(b"\n").ok_or_else(|| bad("its last line has no end"))?;
        each(Record::parse(std::str::from_utf8(text).map_err(|_| bad("a line is not UTF-8"))?)?)?;
    }
    if total != limit || hasher.finish() != header.manifest.plain_sha256 {
        return Err(Refusal::failed("digest-mismatch", "its unpacked text is not what was signed")
            .at(crate::header::MANIFEST));
    }
    Ok(())
}
