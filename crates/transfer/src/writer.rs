//! Writing a transfer: under a hidden name, synced, then renamed in one step.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use cofferdam_trust::{SigningKey, Statement, Subject, sign_statement};
use cofferdam_types::{Error, ErrorKind, Result, Sha256, Sha256Hasher, SiteName, Timestamp};

use crate::{
    frame,
    header::{
        FileEntry, HEADER, Header, MANIFEST, ManifestEntry, PREDICATE_TYPE, README, SUITE, Totals,
        folder_name, pack_name, stream_name,
    },
    limits::{
        MAX_FRAME_BYTES, MAX_HEADER_BYTES, MAX_LINE_BYTES, MAX_MANIFEST_BYTES, MAX_PACK_BYTES, MAX_PACKS,
    },
    manifest::{BlobMeta, FrameRef, Index, Record},
    readme::README_TEXT,
};

/// What the caller decides about a transfer.
#[derive(Clone, Debug)]
pub struct HeaderDraft {
    /// This site.
    pub source: SiteName,
    /// Sites it is for, in any order.
    pub destinations: Vec<SiteName>,
    /// See [`Header::epoch`].
    pub epoch: u32,
    /// See [`Header::seq`].
    pub seq: u64,
    /// See [`Header::prev`].
    pub prev: Option<Sha256>,
    /// Now.
    pub created: Timestamp,
    /// When it stops being fresh.
    pub not_after: Timestamp,
    /// Name and version of the writing program.
    pub tool: String,
    /// Digests of statements it relies on.
    pub claims: BTreeMap<String, Sha256>,
}

/// A finished transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The folder.
    pub path: PathBuf,
    /// SHA-256 of the signed payload: the next transfer's `prev`.
    pub header_sha256: Sha256,
    /// Bytes of all files.
    pub bytes: u64,
    /// Blobs carried and their unpacked bytes.
    pub totals: Totals,
    /// Packs written.
    pub packs: u32,
}

/// Writes one transfer. Dropping it before [`Writer::finish`] removes what was written.
pub struct Writer {
    parent: PathBuf,
    folder: PathBuf,
    header: Header,
    records: zstd::Encoder<'static, HashFile>,
    plain: Sha256Hasher,
    plain_size: u64,
    described: Index,
    blobs: Vec<BlobMeta>,
    required: BTreeMap<Sha256, u64>,
    carried: std::collections::HashSet<Sha256>,
    pack: Option<HashFile>,
    pack_plain: u64,
    packs: Vec<FileEntry>,
    spoiled: bool,
    // Held so that nobody takes the hidden folder for one left by a crash.
    _lock: File,
}

struct HashFile {
    name: String,
    file: BufWriter<File>,
    hasher: Sha256Hasher,
    size: u64,
}

impl HashFile {
    fn create(folder: &Path, name: &str) -> Result<Self> {
        let file = File::create_new(folder.join(name)).map_err(|e| failed(name, e))?;
        let (file, hasher) = (BufWriter::with_capacity(1 << 20, file), Sha256Hasher::default());
        Ok(Self { name: name.to_owned(), file, hasher, size: 0 })
    }

    fn close(self) -> Result<FileEntry> {
        let file = self.file.into_inner().map_err(|e| failed(&self.name, e.into_error()))?;
        file.sync_all().map_err(|e| failed(&self.name, e))?;
        Ok(FileEntry { name: self.name, size: self.size, sha256: self.hasher.finish() })
    }
}

impl Write for HashFile {
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

fn failed(what: &str, error: io::Error) -> Error {
    Error::io(format!("writing {what} of a transfer"), error)
}

fn too_large(what: &str) -> Error {
    Error::new(ErrorKind::TooLarge, "too-large", format!("the transfer would have {what}")).hint("split it")
}

/// The statement that is signed.
pub fn statement(header: &Header) -> Result<Statement> {
    let subject = Subject::sha256("manifest.jsonl", header.manifest.plain_sha256);
    let predicate = serde_json::to_value(header).map_err(|e| Error::internal("writing a header", e))?;
    Ok(Statement::new(vec![subject], PREDICATE_TYPE, predicate))
}

impl Writer {
    /// Starts a transfer in `parent`, which must exist. A hidden folder that a crash left is removed.
    ///
    /// # Errors
    /// `Invalid` for a draft that cannot be; `Conflict` (`transfer-exists`, `transfer-busy`).
    pub fn create(parent: &Path, draft: HeaderDraft) -> Result<Self> {
        let mut destinations = draft.destinations;
        destinations.sort();
        let stream = stream_name(&draft.source, &destinations)?;
        if draft.seq == 0 || draft.not_after < draft.created {
            return Err(Error::invalid(
                "bad-draft",
                "a transfer's seq starts at 1, and it ends after it began",
            ));
        }
        let name = folder_name(&stream, draft.epoch, draft.seq);
        if parent.join(&name).symlink_metadata().is_ok() {
            return Err(Error::conflict("transfer-exists", format!("{name} is already there")));
        }
        let folder = parent.join(format!(".{name}.partial"));
        let lock = hidden_folder(&folder)?;
        let header = Header {
            format_version: 1,
            suite: SUITE.to_owned(),
            stream,
            source: draft.source,
            destinations,
            epoch: draft.epoch,
            seq: draft.seq,
            prev: draft.prev,
            created: Timestamp(draft.created.0.div_euclid(1000) * 1000),
            not_after: Timestamp(draft.not_after.0.div_euclid(1000) * 1000),
            files: Vec::new(),
            manifest: ManifestEntry { sha256: Sha256([0; 32]), plain_sha256: Sha256([0; 32]), plain_size: 0 },
            packs: 0,
            totals: Totals::default(),
            tool: draft.tool,
            claims: draft.claims,
        };
        let file = HashFile::create(&folder, MANIFEST)?;
        let records = zstd::Encoder::new(file, 3).map_err(|e| failed(MANIFEST, e))?;
        Ok(Self {
            parent: parent.to_owned(),
            folder,
            header,
            records,
            plain: Sha256Hasher::default(),
            plain_size: 0,
            described: Index::default(),
            blobs: Vec::new(),
            required: BTreeMap::new(),
            carried: std::collections::HashSet::new(),
            pack: None,
            pack_plain: 0,
            packs: Vec::new(),
            spoiled: false,
            _lock: lock,
        })
    }

    /// Adds a description. `Requires` and `Blob` lines are made by the writer itself.
    ///
    /// # Errors
    /// `Invalid` when it is described twice or does not read back as written.
    pub fn add_record(&mut self, record: Record) -> Result<()> {
        if matches!(record, Record::Requires { .. } | Record::Blob(_)) {
            return Err(Error::invalid("bad-record", "blobs are added with add_blob and add_required"));
        }
        // What the receiver would refuse must not leave: a float that reads back otherwise, say.
        Record::parse(&record.line()?)?;
        self.described.take(record.clone())?;
        self.line(&record)
    }

    /// Names a blob that the receiver is assumed to hold.
    ///
    /// # Errors
    /// `Conflict` (`duplicate-blob`).
    pub fn add_required(&mut self, sha256: Sha256, size: u64) -> Result<()> {
        if self.carried.contains(&sha256) || self.required.insert(sha256, size).is_some() {
            return Err(duplicate(sha256));
        }
        Ok(())
    }

    /// Carries a blob, hashing it while it is read.
    ///
    /// # Errors
    /// `Conflict` (`duplicate-blob`); `VerificationFailed` (`blob-mismatch`) when the bytes are not
    /// those of `sha256` and `size`, after which the transfer can only be dropped.
    pub fn add_blob(&mut self, sha256: Sha256, size: u64, bytes: impl Read) -> Result<()> {
        if self.required.contains_key(&sha256) || !self.carried.insert(sha256) {
            return Err(duplicate(sha256));
        }
        self.spoiled = true;
        let mut bytes = bytes.take(size.saturating_add(1));
        let (mut hasher, mut total, mut frames) = (Sha256Hasher::default(), 0u64, Vec::new());
        loop {
            let mut raw = Vec::new();
            let mut part = (&mut bytes).take(MAX_FRAME_BYTES as u64);
            part.read_to_end(&mut raw).map_err(|e| Error::io(format!("reading blob {sha256}"), e))?;
            if raw.is_empty() {
                break;
            }
            hasher.update(&raw);
            total += raw.len() as u64;
            frames.push(self.frame(&raw)?);
        }
        if total != size || hasher.finish() != sha256 {
            let text = format!("the bytes given for blob {sha256} of {size} bytes are others");
            return Err(Error::verification("blob-mismatch", text));
        }
        self.blobs.push(BlobMeta { sha256, size, frames });
        self.spoiled = false;
        Ok(())
    }

    fn frame(&mut self, raw: &[u8]) -> Result<FrameRef> {
        let bytes = frame::encode(raw).map_err(|e| Error::internal("packing a frame", e))?;
        let len = u32::try_from(bytes.len()).map_err(|e| Error::internal("packing a frame", e))?;
        // The frame counts with its raw length: neither file nor plaintext of a pack passes the limit.
        let room = frame::FRAME_HEADER as u64 + raw.len() as u64;
        let full =
            |pack: &HashFile, plain: u64| plain + room > MAX_PACK_BYTES || pack.size + room > MAX_PACK_BYTES;
        if self.pack.as_ref().is_some_and(|pack| full(pack, self.pack_plain)) {
            self.close_pack()?;
        }
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX).saturating_add(1);
        if number > MAX_PACKS {
            return Err(too_large("too many packs"));
        }
        let name = pack_name(number);
        if self.pack.is_none() {
            let mut pack = HashFile::create(&self.folder, &name)?;
            pack.write_all(frame::PACK_MAGIC).map_err(|e| failed(&name, e))?;
            self.pack = Some(pack);
        }
        let Some(pack) = &mut self.pack else { return Err(too_large("no open pack")) };
        let offset = pack.size;
        pack.write_all(&bytes).map_err(|e| failed(&name, e))?;
        self.pack_plain += raw.len() as u64;
        Ok(FrameRef { pack: number, offset, len })
    }

    fn close_pack(&mut self) -> Result<()> {
        self.pack_plain = 0;
        if let Some(pack) = self.pack.take() {
            self.packs.push(pack.close()?);
        }
        Ok(())
    }

    fn line(&mut self, record: &Record) -> Result<()> {
        let line = record.line()? + "\n";
        self.plain_size += line.len() as u64;
        if line.len() > MAX_LINE_BYTES || self.plain_size > MAX_MANIFEST_BYTES {
            return Err(too_large("too long a manifest, or too long a line in it"));
        }
        self.plain.update(line.as_bytes());
        self.records.write_all(line.as_bytes()).map_err(|e| failed(MANIFEST, e))
    }

    /// Checks the closure, signs, syncs and renames: only now is there a transfer.
    ///
    /// # Errors
    /// `Invalid` (`not-closed`) when a needed blob is neither carried nor required, or one is not needed.
    pub fn finish(mut self, keys: &[&SigningKey]) -> Result<Summary> {
        if self.spoiled || keys.is_empty() {
            return Err(Error::invalid(
                "unfinished",
                "a blob was not added whole, or there is no key to sign with",
            ));
        }
        self.close_pack()?;
        for (sha256, size) in std::mem::take(&mut self.required) {
            self.last(Record::Requires { sha256, size })?;
        }
        for blob in std::mem::take(&mut self.blobs) {
            self.last(Record::Blob(blob))?;
        }
        self.described.close()?;
        let summary = self.seal(keys)?;
        let at = |e| Error::io("renaming a finished transfer", e);
        fs::rename(&self.folder, &summary.path).map_err(at)?;
        self.folder = PathBuf::new();
        File::open(&self.parent).and_then(|dir| dir.sync_all()).map_err(at)?;
        Ok(summary)
    }

    fn last(&mut self, record: Record) -> Result<()> {
        self.line(&record)?;
        Ok(self.described.take(record)?)
    }

    fn seal(&mut self, keys: &[&SigningKey]) -> Result<Summary> {
        let mut readme = HashFile::create(&self.folder, README)?;
        readme.write_all(README_TEXT.as_bytes()).map_err(|e| failed(README, e))?;
        self.records.do_finish().map_err(|e| failed(MANIFEST, e))?;
        let records = self.records.get_mut();
        records.flush().and_then(|()| records.file.get_ref().sync_all()).map_err(|e| failed(MANIFEST, e))?;
        let sha256 = records.hasher.clone().finish();
        let manifest = FileEntry { name: MANIFEST.to_owned(), size: records.size, sha256 };
        let plain_sha256 = self.plain.clone().finish();
        let header = &mut self.header;
        header.manifest = ManifestEntry { sha256, plain_sha256, plain_size: self.plain_size };
        header.packs = self.described.packs();
        let (blobs, expanded_bytes) = (self.described.blobs.len() as u64, self.described.expanded);
        header.totals = Totals { blobs, expanded_bytes };
        header.files = vec![readme.close()?, manifest];
        header.files.append(&mut self.packs);
        let said = statement(header)?;
        let header_sha256 = Sha256::of(&said.to_json()?);
        let json = sign_statement(&said, keys)?.to_json()?;
        if json.len() as u64 > MAX_HEADER_BYTES {
            return Err(too_large("too long a header"));
        }
        let mut file = HashFile::create(&self.folder, HEADER)?;
        file.write_all(&json).map_err(|e| failed(HEADER, e))?;
        file.close()?;
        File::open(&self.folder).and_then(|dir| dir.sync_all()).map_err(|e| failed("the folder", e))?;
        let bytes = header.files.iter().map(|f| f.size).sum::<u64>() + json.len() as u64;
        let path = self.parent.join(header.folder_name());
        Ok(Summary { path, header_sha256, bytes, totals: header.totals, packs: header.packs })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn duplicate(sha256: Sha256) -> Error {
    Error::conflict("duplicate-blob", format!("blob {sha256} was added before"))
}

/// Makes and locks the hidden folder; one that nobody holds is what a crash left.
fn hidden_folder(folder: &Path) -> Result<File> {
    let at = |e| Error::io("making the folder of a transfer", e);
    if let Ok(left) = File::open(folder) {
        left.try_lock().map_err(|_| {
            Error::conflict("transfer-busy", "this transfer is being written by another process")
        })?;
        fs::remove_dir_all(folder).map_err(at)?;
    }
    fs::create_dir(folder).map_err(at)?;
    let lock = File::open(folder).map_err(at)?;
    lock.try_lock().map_err(|e| Error::io("locking the folder of a transfer", e.into()))?;
    Ok(lock)
}
