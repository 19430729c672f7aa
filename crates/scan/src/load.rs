//! Reads feeds: one JSON file, JSON lines, a folder, or a zip archive of JSON files, each within bounds.
//!
//! One bad record spoils none of the others, and is counted and named. Nothing is written.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read, Seek as _},
    ops::Range,
    path::Path,
};

use cofferdam_types::{Error, Result};
use serde::Serialize;

use crate::{Index, index::Added, record::Record};

/// How many things that could not be read are named; the rest is counted.
const NAMED: usize = 50;

/// The longest text that may be a time, in bytes.
const LONGEST_TIME: usize = 40;

/// How much of an archive is unpacked before it is read.
const BATCH: usize = 16 << 20;

/// What a hostile feed cannot pass.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of one record.
    pub record: u64,
    /// Records and files of one feed.
    pub records: u64,
    /// Bytes of one feed, unpacked.
    pub bytes: u64,
}

impl Default for Bounds {
    /// Several times what the largest public feeds have.
    fn default() -> Self {
        Self { record: 16 << 20, records: 2_000_000, bytes: 16 << 30 }
    }
}

/// What was read of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Advisories that count.
    pub advisories: u64,
    /// When the newest of them was changed, as it says: how old the data is at least.
    pub newest: String,
    /// Advisories that their authors took back.
    pub withdrawn: u64,
    /// Advisories that another file or feed had already.
    pub again: u64,
    /// Advisories that name no package, only commits.
    pub without_package: u64,
    /// Files of a folder or archive that are no JSON, by their names.
    pub other_files: u64,
    /// What could not be read; only some of it is named.
    pub unread: u64,
    /// Where, and why.
    pub unread_named: Vec<(String, String)>,
}

impl Loaded {
    fn failed(&mut self, place: &str, why: impl ToString) {
        self.unread += 1;
        if self.unread_named.len() < NAMED {
            let why = why.to_string().chars().take(200).collect();
            self.unread_named.push((place.chars().take(200).collect(), why));
        }
    }
}

impl Index {
    /// Reads a feed; what of it counts and what could not be read.
    ///
    /// # Errors
    /// `NotFound` when there is nothing at the path; `Invalid` when it is no feed at all, or larger than the bounds.
    pub fn load(&mut self, path: &Path, bounds: &Bounds) -> Result<Loaded> {
        self.load_as(&path.display().to_string(), path, bounds)
    }

    /// The same of a feed that has another name than its file.
    ///
    /// # Errors
    /// As there.
    pub fn load_as(&mut self, name: &str, path: &Path, bounds: &Bounds) -> Result<Loaded> {
        self.begin(name);
        let mut reading = Reading { index: self, bounds, loaded: Loaded::default(), records: 0, bytes: 0 };
        if path.is_dir() {
            reading.folder(path)?;
        } else {
            reading.file(path, &path.display().to_string())?;
        }
        let loaded = reading.loaded;
        if loaded.advisories + loaded.withdrawn + loaded.again + loaded.without_package == 0 {
            let why = loaded
                .unread_named
                .first()
                .map_or(String::new(), |(place, why)| format!(" ({place}: {why})"));
            let text = format!("{} has no advisory that can be read{why}", path.display());
            return Err(Error::invalid("no-advisories", text).hint(
                "a feed is OSV records: a JSON file, JSON lines, a folder or a zip archive of JSON files",
            ));
        }
        Ok(loaded)
    }
}

struct Reading<'a> {
    index: &'a mut Index,
    bounds: &'a Bounds,
    loaded: Loaded,
    records: u64,
    bytes: u64,
}

impl Reading<'_> {
    fn folder(&mut self, folder: &Path) -> Result<()> {
        // A clone of a feed's repository has its own folders, which begin with a dot.
        let hidden =
            |e: &walkdir::DirEntry| e.depth() > 0 && e.file_name().to_string_lossy().starts_with('.');
        let walk = walkdir::WalkDir::new(folder).max_depth(32).sort_by_file_name();
        for entry in walk.into_iter().filter_entry(|e| !hidden(e)) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.loaded.failed(&folder.display().to_string(), error);
                    continue;
                }
            };
            if entry.file_type().is_dir() {
                continue;
            }
            let place = entry.path().display().to_string();
            if !entry.file_type().is_file()
                || ![".json", ".jsonl", ".ndjson", ".zip"].iter().any(|e| place.ends_with(e))
            {
                self.count(0)?;
                self.loaded.other_files += 1;
                continue;
            }
            match self.file(entry.path(), &place) {
                Err(error) if error.code() == "feed-too-large" => return Err(error),
                Err(error) => self.loaded.failed(&place, error.message()),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, place: &str) -> Result<()> {
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(format!("there is no feed at {place}")),
            _ => Error::io(format!("reading {place}"), e),
        };
        // A pipe or a device would be read without an end.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::invalid("no-advisories", format!("{place} is no file")));
        }
        let mut file = File::open(path).map_err(failed)?;
        let mut head = [0; 4];
        let is_zip = file.read_exact(&mut head).is_ok() && head == *b"PK\x03\x04";
        file.rewind().map_err(failed)?;
        if is_zip { self.zip(file, place) } else { self.json(file, place) }
    }

    /// One record, or several by lines.
    fn json(&mut self, file: File, place: &str) -> Result<()> {
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let mut text = Vec::new();
        if !place.ends_with("l") && !place.ends_with(".ndjson") {
            let failed = |e| Error::io(format!("reading {place}"), e);
            reader.by_ref().take(self.bounds.record + 1).read_to_end(&mut text).map_err(failed)?;
            let whole = text.len() as u64 <= self.bounds.record;
            // One record may be written in many lines; several have a whole one in the first.
            let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
            let lines = first.len() < text.trim_ascii_end().len()
                && serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok();
            if whole && !lines {
                self.count(text.len() as u64)?;
                self.record(&text, place);
                return Ok(());
            }
            if !whole && !lines {
                self.loaded.failed(place, "it is larger than a record may be");
                return Ok(());
            }
            reader.rewind().map_err(failed)?;
        }
        self.lines(reader, place)
    }

    fn lines(&mut self, mut reader: BufReader<File>, place: &str) -> Result<()> {
        let failed = |e| Error::io(format!("reading {place}"), e);
        let (mut text, mut number) = (Vec::new(), 0_u64);
        loop {
            text.clear();
            let read =
                reader.by_ref().take(self.bounds.record + 1).read_until(b'\n', &mut text).map_err(failed)?;
            if read == 0 {
                return Ok(());
            }
            number += 1;
            self.count(read as u64)?;
            if read as u64 > self.bounds.record {
                self.loaded.failed(
                    &format!("{place}:{number}"),
                    "the rest is left: a line is larger than a record may be",
                );
                return Ok(());
            }
            if !text.trim_ascii().is_empty() {
                self.record(&text, &format!("{place}:{number}"));
            }
        }
    }

    fn zip(&mut self, file: File, place: &str) -> Result<()> {
        let bad = |e: zip::result::ZipError| {
            Error::invalid("no-advisories", format!("{place} is no zip archive that can be read: {e}"))
        };
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(bad)?;
        if archive.len() as u64 > self.bounds.records {
            return Err(self.too_large("files"));
        }
        // Unpacking takes and gives back large pieces of memory. Between them nothing that stays is put, or the heap would
        // be full of holes: a batch is unpacked, and then read.
        let (mut text, mut batch) = (Vec::new(), Vec::new());
        for at in 0..archive.len() {
            if text.len() > BATCH {
                self.batch(&mut text, &mut batch);
            }
            let begin = text.len();
            let mut entry = match archive.by_index(at) {
                Ok(entry) => entry,
                Err(error) => {
                    self.count(0)?;
                    self.loaded.failed(&format!("{place}, entry {at}"), error);
                    continue;
                }
            };
            if entry.is_dir() {
                continue;
            }
            let within = entry.name().map_or_else(|_| format!("entry {at}"), |name| name.into_owned());
            let name = format!("{place}:{within}");
            if !within.ends_with(".json") {
                self.count(0)?;
                self.loaded.other_files += 1;
                continue;
            }
            // What the archive says of a size is its own word: the bound is on what comes out.
            let read = entry.by_ref().take(self.bounds.record + 1).read_to_end(&mut text);
            self.count((text.len() - begin) as u64)?;
            match read {
                Ok(read) if read as u64 <= self.bounds.record => {
                    batch.push((name, begin..text.len()));
                    continue;
                }
                Ok(_) => self.loaded.failed(&name, "it is larger than a record may be"),
                Err(error) => self.loaded.failed(&name, error),
            }
            text.truncate(begin);
        }
        self.batch(&mut text, &mut batch);
        Ok(())
    }

    fn batch(&mut self, text: &mut Vec<u8>, batch: &mut Vec<(String, Range<usize>)>) {
        for (name, at) in batch.drain(..) {
            self.record(text.get(at).unwrap_or_default(), &name);
        }
        text.clear();
    }

    fn record(&mut self, text: &[u8], place: &str) {
        // The parser bounds the depth itself.
        match serde_json::from_slice::<Record>(text) {
            Ok(mut record) => {
                let modified = record.modified.take().unwrap_or_default();
                // RFC 3339 in UTC, as the schema wants it: later times are greater texts.
                if modified > self.loaded.newest && modified.len() <= LONGEST_TIME {
                    self.loaded.newest = modified;
                }
                match self.index.add(record) {
                    Added::Kept => self.loaded.advisories += 1,
                    Added::Withdrawn => self.loaded.withdrawn += 1,
                    Added::Again => self.loaded.again += 1,
                    Added::Nowhere => self.loaded.without_package += 1,
                }
            }
            Err(error) => self.loaded.failed(place, error),
        }
    }

    /// Counts something that was read, before it is looked at.
    fn count(&mut self, bytes: u64) -> Result<()> {
        self.records += 1;
        self.bytes += bytes;
        if self.records > self.bounds.records {
            return Err(self.too_large("records"));
        }
        if self.bytes > self.bounds.bytes {
            return Err(self.too_large("bytes"));
        }
        Ok(())
    }

    fn too_large(&self, what: &str) -> Error {
        let Bounds { records, bytes, .. } = self.bounds;
        let text =
            format!("the feed has too many {what}: at most {records} records and {bytes} bytes are read");
        Error::invalid("feed-too-large", text).hint("take the feed of one ecosystem instead of all")
    }
}
