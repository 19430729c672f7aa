//! Writing a transfer: under a hidden name, synced, then renamed in one step.
//!
//! One thread reads and hashes blobs and writes volumes; the others compress and seal packs. What is in
//! flight is bounded: memory does not grow with the transfer but for 48 bytes a blob.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use cofferdam_trust::{SigningKey, Statement, Subject, sign_statement};
use cofferdam_types::{Error, ErrorKind, Result, Sha256, Sha256Hasher, SiteName, Timestamp};

use crate::{
    door::{Door, Names},
    header::{
        FileEntry, Header, ManifestEntry, PREDICATE_TYPE, Payload, Suite, Totals, folder_name, stream_name,
    },
    limits::{
        DEFAULT_VOLUME_BYTES, MAX_HEADER_BYTES, MAX_LINE_BYTES, MAX_MANIFEST_BYTES, MAX_PACK_RAW, MAX_PACKS,
        MAX_RECIPIENTS, MAX_VOLUME_BYTES, MAX_VOLUMES, MIN_VOLUME_BYTES,
    },
    manifest::{Index, RecipeLine, Record},
    name,
    pack::SealedLines,
    parity,
    press::{EntropyByFile, Press, Pressed, Raw, system_entropy},
    readme,
    staging::hidden_folder,
    volume::{Cutter, HashFile, Syncs, failed, write_file},
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
    /// The receipt that the base was computed from.
    pub receipt: Option<Sha256>,
    /// Digests of statements it relies on.
    pub claims: BTreeMap<String, Sha256>,
    /// Root documents that the receiver may lack: version and envelope, ascending.
    pub roots: Vec<(u32, Vec<u8>)>,
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
    /// What comes out.
    pub totals: Totals,
    /// The header.
    pub header: Header,
}

/// Where the manifest's lines go.
enum Lines {
    Sealed(Box<SealedLines<HashFile>>),
    Clear(HashFile),
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Sealed(lines) => lines.write(bytes),
            Self::Clear(lines) => lines.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the bytes go.
enum Body {
    Sealed(Box<Packing>),
    Inspectable(Names),
}

/// Packs on their way into volumes.
struct Packing {
    cutter: Cutter,
    press: Press,
    pack: Raw,
    /// Length on the medium and unpacked, of each pack.
    places: Vec<(u64, u64)>,
}

impl Packing {
    /// Gives the open pack to the press, and what comes back to the volumes.
    fn submit(&mut self) -> Result<()> {
        if self.pack.ends.is_empty() {
            return Ok(());
        }
        let raw = std::mem::take(&mut self.pack);
        match self.press.put(raw)? {
            Some(pressed) => self.append(&pressed),
            None => Ok(()),
        }
    }

    fn append(&mut self, pressed: &Pressed) -> Result<()> {
        if self.places.len() as u64 >= MAX_PACKS {
            return Err(too_large("too many packs"));
        }
        self.places.push((pressed.sealed.len() as u64, pressed.raw));
        self.cutter.write_all(&pressed.sealed).map_err(|e| failed("a volume", e))
    }

    /// Reads one blob into packs; returns the number of its first pack.
    fn add(&mut self, input: &mut Checked<impl Read>) -> Result<u32> {
        let room = MAX_PACK_RAW as u64;
        let alone = input.size > room;
        if alone || self.pack.bytes.len() as u64 + input.size > room {
            self.submit()?;
        }
        let first = self.press.next();
        while !input.fill(&mut self.pack.bytes)? {
            self.pack.ends.push(self.pack.bytes.len());
            self.submit()?;
        }
        self.pack.ends.push(self.pack.bytes.len());
        // The packs of a chain hold nothing else.
        if alone {
            self.submit()?;
        }
        Ok(first)
    }

    fn finish(mut self) -> Result<Packed> {
        self.submit()?;
        while let Some(pressed) = self.press.take()? {
            self.append(&pressed)?;
        }
        let size = self.cutter.size();
        let (volumes, syncs) = self.cutter.finish()?;
        Ok(Packed { size, places: self.places, volumes, syncs })
    }
}

/// The payload when it is whole.
struct Packed {
    size: u64,
    /// Length on the medium and unpacked, of each pack.
    places: Vec<(u64, u64)>,
    volumes: Vec<FileEntry>,
    syncs: Syncs,
}

/// A blob's bytes, hashed and counted while they are read.
struct Checked<R> {
    input: R,
    sha256: Sha256,
    size: u64,
    total: u64,
    hasher: Sha256Hasher,
}

impl<R: Read> Checked<R> {
    /// Appends to a pack until it is full (`false`) or the blob is whole (`true`).
    fn fill(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        let from = out.len();
        let room = (MAX_PACK_RAW - from) as u64;
        let want = room.min(self.size - self.total);
        out.reserve(usize::try_from(want).unwrap_or(0));
        let read = (&mut self.input).take(want).read_to_end(out);
        let n = read.map_err(|e| Error::io(format!("reading blob {}", self.sha256), e))? as u64;
        self.hasher.update(&out[from..]);
        self.total += n;
        if n < want {
            return Err(self.mismatch());
        }
        Ok(self.total == self.size)
    }

    fn copy(&mut self, out: &mut File) -> Result<()> {
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let whole = self.fill(&mut buffer)?;
            out.write_all(&buffer).map_err(|e| failed("a file", e))?;
            if whole {
                return Ok(());
            }
        }
    }

    fn finish(mut self) -> Result<()> {
        let more =
            self.input.read(&mut [0]).map_err(|e| Error::io(format!("reading blob {}", self.sha256), e))?;
        if more > 0 || std::mem::take(&mut self.hasher).finish() != self.sha256 {
            return Err(self.mismatch());
        }
        Ok(())
    }

    fn mismatch(&self) -> Error {
        let text = format!("the bytes given for blob {} of {} bytes are others", self.sha256, self.size);
        Error::verification("blob-mismatch", text)
    }
}

/// A carried blob, until its line is written.
struct Carried {
    sha256: Sha256,
    size: u64,
    /// Number of its first pack.
    pack: u32,
    /// Its flat file.
    name: String,
}

/// Writes one transfer. Dropping it before [`Writer::finish`] removes what was written.
pub struct Writer {
    parent: PathBuf,
    folder: PathBuf,
    header: Header,
    lines: Option<Lines>,
    plain: Sha256Hasher,
    plain_size: u64,
    index: Index,
    body: Body,
    carried: Vec<Carried>,
    required: BTreeMap<Sha256, u64>,
    recipes: BTreeMap<Sha256, RecipeLine>,
    roots: Vec<(u32, Vec<u8>)>,
    parity_permille: u32,
    /// Volumes on their way to the disk.
    syncs: Syncs,
    spoiled: bool,
    // Held so that nobody takes the hidden folder for one left by a crash.
    _lock: File,
}

/// Hears how a writer is getting on. `()` hears nothing.
pub trait Writing {
    /// `done` of `total` bytes of parity work are done.
    fn parity(&self, done: u64, total: u64) {
        let _ = (done, total);
    }
}

impl Writing for () {}

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
    pub fn create(parent: &Path, draft: HeaderDraft, door: Door) -> Result<Self> {
        Self::create_with_entropy(parent, draft, door, &system_entropy())
    }

    /// As [`Writer::create`] with secrets of the caller's, so that the same transfer can be made again bit
    /// for bit. **For test vectors only**: whoever knows what `entropy` gives can open the transfer.
    ///
    /// # Errors
    /// As [`Writer::create`].
    pub fn create_with_entropy(
        parent: &Path,
        draft: HeaderDraft,
        door: Door,
        entropy: &EntropyByFile,
    ) -> Result<Self> {
        let header = first_header(&draft, &door)?;
        let name = folder_name(&header.stream, header.epoch, header.seq);
        if parent.join(&name).symlink_metadata().is_ok() {
            return Err(Error::conflict("transfer-exists", format!("{name} is already there"))
                .hint("it is this transfer, written before; remove the folder if it never travelled"));
        }
        let folder = parent.join(format!(".{name}.partial"));
        let lock = hidden_folder(&folder)?;
        let file = HashFile::create(&folder, header.manifest_name())?;
        let (lines, body, parity_permille) = match door {
            Door::Sealed(sealed) => {
                let lines = SealedLines::new(file, &header.recipients, entropy(0).as_mut())
                    .map_err(|e| failed("the manifest", e))?;
                let packing = Packing {
                    cutter: Cutter::new(&folder, header.payload.volume_size, name::volume),
                    press: Press::start(&header.recipients, entropy)?,
                    pack: Raw::default(),
                    places: Vec::new(),
                };
                (Lines::Sealed(Box::new(lines)), Body::Sealed(Box::new(packing)), sealed.parity_permille)
            }
            Door::Inspectable(profile) => {
                fs::create_dir(folder.join(name::FILES)).map_err(|e| failed(name::FILES, e))?;
                (Lines::Clear(file), Body::Inspectable(Names::new(profile)), 0)
            }
        };
        Ok(Self {
            parent: parent.to_owned(),
            folder,
            header,
            lines: Some(lines),
            plain: Sha256Hasher::default(),
            plain_size: 0,
            index: Index::default(),
            body,
            carried: Vec::new(),
            required: BTreeMap::new(),
            recipes: BTreeMap::new(),
            roots: draft.roots,
            parity_permille,
            syncs: Syncs::default(),
            spoiled: false,
            _lock: lock,
        })
    }

    /// Adds a description. Lines about blobs are made by the writer itself.
    ///
    /// # Errors
    /// `Invalid` when it does not read back as written.
    pub fn add_record(&mut self, record: Record) -> Result<()> {
        let described = matches!(
            record,
            Record::Repository { .. }
                | Record::Artifact { .. }
                | Record::Git { .. }
                | Record::Statement { .. }
        );
        if !described {
            let text = "blobs are added with add_blob, add_recipe and add_required";
            return Err(Error::invalid("bad-record", text));
        }
        // What the receiver would refuse must not leave: a float that reads back otherwise, say.
        Record::parse(&record.line()?)?;
        self.take(record)
    }

    /// Names a blob that the receiver holds.
    ///
    /// # Errors
    /// `Conflict` (`duplicate-blob`).
    pub fn add_required(&mut self, sha256: Sha256, size: u64) -> Result<()> {
        match self.required.insert(sha256, size) {
            Some(_) => Err(duplicate(sha256)),
            None => Ok(()),
        }
    }

    /// A blob that the receiver rebuilds; its payload is added with [`Writer::add_blob`], its base with
    /// [`Writer::add_required`].
    ///
    /// # Errors
    /// `Conflict` (`duplicate-blob`).
    pub fn add_recipe(&mut self, line: RecipeLine) -> Result<()> {
        let sha256 = line.sha256;
        match self.recipes.insert(sha256, line) {
            Some(_) => Err(duplicate(sha256)),
            None => Ok(()),
        }
    }

    /// Carries a blob, hashing it while it is read. `name` is what its file is called, for doors that
    /// show names.
    ///
    /// # Errors
    /// `VerificationFailed` (`blob-mismatch`) when the bytes are not those of `sha256` and `size`, after
    /// which the transfer can only be dropped; `PolicyRefused` (`door-profile`); `NoSpace`.
    pub fn add_blob(&mut self, sha256: Sha256, size: u64, name: &str, bytes: impl Read) -> Result<()> {
        self.spoiled = true;
        let mut input = Checked { input: bytes, sha256, size, total: 0, hasher: Sha256Hasher::default() };
        let mut carried = Carried { sha256, size, pack: 0, name: String::new() };
        match &mut self.body {
            Body::Sealed(packing) => carried.pack = packing.add(&mut input)?,
            Body::Inspectable(names) => {
                carried.name = names.choose(name, &sha256, size)?;
                let path = self.folder.join(name::FILES).join(&carried.name);
                let mut file = File::create_new(path).map_err(|e| failed(&carried.name, e))?;
                input.copy(&mut file)?;
                file.sync_data().map_err(|e| failed(&carried.name, e))?;
            }
        }
        input.finish()?;
        self.carried.push(carried);
        self.spoiled = false;
        Ok(())
    }

    fn take(&mut self, record: Record) -> Result<()> {
        let line = record.line()? + "\n";
        self.plain_size += line.len() as u64;
        if line.len() > MAX_LINE_BYTES || self.plain_size > MAX_MANIFEST_BYTES {
            return Err(too_large("too long a manifest, or too long a line in it"));
        }
        self.plain.update(line.as_bytes());
        let Some(lines) = &mut self.lines else {
            return Err(Error::invalid("unfinished", "the manifest is closed"));
        };
        lines.write_all(line.as_bytes()).map_err(|e| failed("the manifest", e))?;
        Ok(self.index.take(record)?)
    }

    /// Checks the closure, signs, syncs and renames: only now is there a transfer.
    ///
    /// # Errors
    /// `Invalid` (`not-closed`) when a needed blob is neither carried nor required, or one is not needed.
    pub fn finish(mut self, keys: &[&SigningKey], progress: &(dyn Writing + Sync)) -> Result<Summary> {
        if self.spoiled || keys.is_empty() {
            let text = "a blob was not added whole, or there is no key to sign with";
            return Err(Error::invalid("unfinished", text));
        }
        let volumes = self.write_lines()?;
        let manifest = self.close_lines()?;
        self.index.close()?;
        self.fill_header();
        let (geometry, spare) =
            parity::write(&self.folder, &self.header, &manifest, self.parity_permille, progress)?;
        self.header.parity = geometry;
        let roots = self.write_roots()?;
        // Parity was computed meanwhile; nothing is signed before its bytes are on the disk.
        std::mem::take(&mut self.syncs).wait()?;
        let readme = write_file(&self.folder, name::README, readme::text(self.header.suite).as_bytes())?;
        self.header.files = [vec![readme], roots, vec![manifest], volumes, spare].concat();
        let summary = self.seal(keys)?;
        let at = |e| Error::io("renaming a finished transfer", e);
        fs::rename(&self.folder, &summary.path).map_err(at)?;
        self.folder = PathBuf::new();
        File::open(&self.parent).and_then(|dir| dir.sync_all()).map_err(at)?;
        Ok(summary)
    }

    /// The lines about blobs; the volumes are whole after it.
    fn write_lines(&mut self) -> Result<Vec<FileEntry>> {
        for (sha256, size) in std::mem::take(&mut self.required) {
            self.take(Record::Requires { sha256, size })?;
        }
        for line in std::mem::take(&mut self.recipes).into_values() {
            self.take(Record::Recipe(line))?;
        }
        let mut carried = std::mem::take(&mut self.carried);
        let none = Body::Inspectable(Names::new(crate::door::Profile::default()));
        match std::mem::replace(&mut self.body, none) {
            Body::Sealed(packing) => {
                let Packed { size, places, volumes, syncs } = packing.finish()?;
                self.syncs = syncs;
                self.header.payload.size = size;
                self.header.payload.packs = places.len() as u64;
                self.write_packs(&carried, &places)?;
                Ok(volumes)
            }
            Body::Inspectable(_) => {
                carried.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                for Carried { sha256, size, name, .. } in carried {
                    self.take(Record::File { name, sha256, size })?;
                }
                let dir = File::open(self.folder.join(name::FILES)).and_then(|d| d.sync_all());
                dir.map_err(|e| failed(name::FILES, e))?;
                Ok(Vec::new())
            }
        }
    }

    fn write_packs(&mut self, carried: &[Carried], places: &[(u64, u64)]) -> Result<()> {
        let (mut offset, mut written, mut at) = (0, 0, 0);
        while at < carried.len() {
            let first = carried[at].pack;
            let together = carried[at..].iter().take_while(|c| c.pack == first).count();
            let until = carried.get(at + together).map_or(places.len(), |next| next.pack as usize);
            for (len, raw) in &places[written..until] {
                self.take(Record::Pack { offset, len: *len, raw: *raw })?;
                offset += len;
            }
            for Carried { sha256, size, .. } in &carried[at..at + together] {
                self.take(Record::Blob { sha256: *sha256, size: *size })?;
            }
            (written, at) = (until, at + together);
        }
        Ok(())
    }

    fn close_lines(&mut self) -> Result<FileEntry> {
        let file = match self.lines.take() {
            Some(Lines::Sealed(lines)) => lines.finish().map_err(|e| failed("the manifest", e))?,
            Some(Lines::Clear(file)) => file,
            None => return Err(Error::invalid("unfinished", "the manifest is closed")),
        };
        file.close()
    }

    fn fill_header(&mut self) {
        let (header, index) = (&mut self.header, &self.index);
        let plain_sha256 = std::mem::take(&mut self.plain).finish();
        header.manifest = ManifestEntry { plain_sha256, plain_size: self.plain_size };
        header.totals = index.totals;
        header.base = index.base();
        header.items = index.items(header.suite);
    }

    fn write_roots(&mut self) -> Result<Vec<FileEntry>> {
        let roots = std::mem::take(&mut self.roots);
        roots.iter().map(|(version, json)| write_file(&self.folder, &name::root(*version), json)).collect()
    }

    fn seal(&mut self, keys: &[&SigningKey]) -> Result<Summary> {
        let header = &self.header;
        if header.volumes() > MAX_VOLUMES || header.parity_volumes() > MAX_VOLUMES {
            return Err(too_large("too many volumes"));
        }
        let said = statement(header)?;
        let header_sha256 = Sha256::of(&said.to_json()?);
        let json = sign_statement(&said, keys)?.to_json()?;
        if json.len() as u64 > MAX_HEADER_BYTES {
            return Err(too_large("too long a header"));
        }
        write_file(&self.folder, name::HEADER, &json)?;
        File::open(&self.folder).and_then(|dir| dir.sync_all()).map_err(|e| failed("the folder", e))?;
        let bytes = header.bytes() + json.len() as u64;
        let path = self.parent.join(header.folder_name());
        Ok(Summary { path, header_sha256, bytes, totals: header.totals, header: header.clone() })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// The header as far as it is known before any byte is written.
fn first_header(draft: &HeaderDraft, door: &Door) -> Result<Header> {
    let mut destinations = draft.destinations.clone();
    destinations.sort();
    let stream = stream_name(&draft.source, &destinations)?;
    let bad = |text: &str| Err(Error::invalid("bad-draft", text));
    if draft.seq == 0 || draft.not_after < draft.created {
        return bad("a transfer's seq starts at 1, and it ends after it began");
    }
    let (suite, mut recipients, volume_size) = match door {
        Door::Sealed(sealed) => (Suite::Sealed, sealed.recipients.clone(), sealed.volume_size),
        Door::Inspectable(_) => (Suite::Inspectable, Vec::new(), DEFAULT_VOLUME_BYTES),
    };
    recipients.sort();
    recipients.dedup();
    if suite == Suite::Sealed && !(1..=MAX_RECIPIENTS).contains(&recipients.len()) {
        return bad("a sealed transfer needs 1 to 16 recipients");
    }
    if !(MIN_VOLUME_BYTES..=MAX_VOLUME_BYTES).contains(&volume_size) {
        return bad("a volume has at least 64 KiB and at most 16 TiB");
    }
    Ok(Header {
        format_version: 1,
        suite,
        stream,
        source: draft.source.clone(),
        destinations,
        epoch: draft.epoch,
        seq: draft.seq,
        prev: draft.prev,
        created: Timestamp(draft.created.0.div_euclid(1000) * 1000),
        not_after: Timestamp(draft.not_after.0.div_euclid(1000) * 1000),
        recipients,
        files: Vec::new(),
        manifest: ManifestEntry { plain_sha256: Sha256([0; 32]), plain_size: 0 },
        payload: Payload { size: 0, volume_size, packs: 0 },
        parity: None,
        items: None,
        base: None,
        receipt: draft.receipt,
        totals: Totals::default(),
        tool: draft.tool.clone(),
        claims: draft.claims.clone(),
    })
}

fn duplicate(sha256: Sha256) -> Error {
    Error::conflict("duplicate-blob", format!("blob {sha256} was added before"))
}
