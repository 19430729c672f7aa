//! The checks of a received folder, in their fixed order, and the reading that follows them.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    path::Path,
};

use cofferdam_trust::{Envelope, KeyId, STATEMENT_PAYLOAD_TYPE, STATEMENT_TYPE, Statement, VerifyingKey};
use cofferdam_types::{ErrorKind, Sha256, Sha256Hasher, SiteName};

use crate::{
    frame,
    header::{
        FileEntry, HEADER, Header, MANIFEST, PREDICATE_FAMILY, PREDICATE_TYPE, README, SUITE, pack_name,
        stream_name,
    },
    limits::{MAX_HEADER_BYTES, MAX_MANIFEST_BYTES, MAX_PACK_BYTES, MAX_PACKS, MAX_README_BYTES},
    manifest::{self, BlobMeta, Index, Record},
    medium::Medium,
    refusal::{Refusal, from_error},
};

/// Whom this site believes, and who it is.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Keys that may sign transfers.
    pub keys: Vec<VerifyingKey>,
    /// How many distinct ones must have signed; at least 1.
    pub threshold: usize,
    /// This site: it must be among the destinations.
    pub this_site: SiteName,
}

/// Hears how far hashing has come. `()` hears nothing.
pub trait Progress {
    /// `done` of `total` bytes have been read.
    fn bytes(&self, done: u64, total: u64) {
        let _ = (done, total);
    }
}

impl Progress for () {}

/// A transfer whose signatures, files and manifest hold.
pub struct Verified {
    /// The signed header.
    pub header: Header,
    /// SHA-256 of the signed payload: the identity of the transfer.
    pub header_sha256: Sha256,
    /// Who signed.
    pub signers: Vec<KeyId>,
    medium: Medium,
    index: Index,
}

/// Verifies a folder, reading it only. The order is that of the specification.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify(dir: &Path, trust: &Trust, progress: &dyn Progress) -> Result<Verified, Refusal> {
    let (medium, names) = Medium::open(dir)?;
    let (header, header_sha256, signers) = read_header(&medium, trust)?;
    check_header(&header, &medium.name)?;
    for file in &header.files {
        if !names.contains(&file.name) {
            return Err(
                Refusal::new(ErrorKind::MissingVolume, "missing-file", "the file is missing").at(&file.name)
            );
        }
    }
    if let Some(extra) = names.iter().find(|n| *n != HEADER && !header.files.iter().any(|f| f.name == **n)) {
        return Err(
            Refusal::invalid("unexpected-file", "the signed header does not list this file").at(extra)
        );
    }
    check_files(&medium, &header, progress)?;
    let index = read_index(&medium, &header)?;
    Ok(Verified { header, header_sha256, signers, medium, index })
}

fn read_header(medium: &Medium, trust: &Trust) -> Result<(Header, Sha256, Vec<KeyId>), Refusal> {
    let bad = |why: String| Refusal::invalid("bad-header", why).at(HEADER);
    let mut json = Vec::new();
    let mut input = medium.file(HEADER)?.take(MAX_HEADER_BYTES + 1);
    input.read_to_end(&mut json).map_err(|e| Refusal::io(HEADER, &e))?;
    if json.len() as u64 > MAX_HEADER_BYTES {
        return Err(Refusal::too_large(format!("it has more than {MAX_HEADER_BYTES} bytes")).at(HEADER));
    }
    let ours = |e| from_error(&e, HEADER);
    let envelope = Envelope::from_json(&json).map_err(ours)?;
    // One spelling of the envelope: no byte of the file is free to change.
    if envelope.to_json().map_err(ours)? != json {
        return Err(bad("the envelope is not in its canonical spelling".to_owned()));
    }
    let verified = cofferdam_trust::verify(&envelope, &trust.keys, trust.threshold).map_err(ours)?;
    let statement: Statement =
        serde_json::from_slice(&verified.payload).map_err(|e| bad(format!("it is no statement: {e}")))?;
    if verified.payload_type != STATEMENT_PAYLOAD_TYPE || statement.kind != STATEMENT_TYPE {
        return Err(bad("it is no in-toto statement of version 1".to_owned()));
    }
    if statement.predicate_type != PREDICATE_TYPE {
        let newer = statement.predicate_type.starts_with(PREDICATE_FAMILY);
        return Err(if newer { unsupported("format version") } else { bad("it is no transfer".to_owned()) });
    }
    if statement.predicate["formatVersion"] != 1 {
        return Err(unsupported("format version"));
    }
    if statement.predicate["suite"] != SUITE {
        return Err(unsupported("suite"));
    }
    let header: Header =
        serde_json::from_value(statement.predicate).map_err(|e| bad(format!("a field is wrong: {e}")))?;
    if crate::writer::statement(&header).and_then(|s| s.to_json()).map_err(ours)? != verified.payload {
        return Err(bad("the signed text is not in its canonical spelling".to_owned()));
    }
    if !header.destinations.contains(&trust.this_site) {
        let text = format!("it is for {:?}, not for {}", header.destinations, trust.this_site);
        return Err(Refusal::failed("other-destination", text)
            .at(HEADER)
            .hint("carry it to the site it is for"));
    }
    Ok((header, Sha256::of(&verified.payload), verified.signers))
}

fn unsupported(what: &str) -> Refusal {
    Refusal::invalid("unsupported-version", format!("this program does not know the transfer's {what}"))
        .at(HEADER)
        .hint("update Cofferdam on this site, or ask for a transfer of format 1, suite clear-1")
}

/// What the header says must fit itself, the folder's name and the limits.
fn check_header(header: &Header, folder: &str) -> Result<(), Refusal> {
    let bad = |why: &str| Refusal::invalid("bad-header", why).at(HEADER);
    let stream = stream_name(&header.source, &header.destinations).map_err(|e| from_error(&e, HEADER))?;
    if header.stream != stream || header.seq == 0 {
        return Err(bad("its stream or position is not well-formed"));
    }
    if header.folder_name() != folder {
        let text = format!("the folder is named {folder}; the header belongs to {}", header.folder_name());
        return Err(Refusal::failed("wrong-folder", text)
            .at(HEADER)
            .hint("give the folder its own name back"));
    }
    if header.packs > MAX_PACKS {
        return Err(Refusal::too_large(format!("it has more than {MAX_PACKS} packs")).at(HEADER));
    }
    let fixed = [README.to_owned(), MANIFEST.to_owned()];
    let expected = fixed.into_iter().chain((1..=header.packs).map(pack_name));
    if !expected.eq(header.files.iter().map(|f| f.name.clone())) {
        return Err(bad("its list of files is not README.txt, the manifest and the packs in order"));
    }
    for file in &header.files {
        let limit = if file.name == README { MAX_README_BYTES } else { MAX_PACK_BYTES };
        if file.size > limit && file.name != MANIFEST {
            return Err(Refusal::too_large(format!("it may have {limit} bytes")).at(&file.name));
        }
    }
    let manifest = &header.files[1];
    if header.manifest.plain_size > MAX_MANIFEST_BYTES || manifest.size > MAX_MANIFEST_BYTES {
        return Err(Refusal::too_large(format!("it may have {MAX_MANIFEST_BYTES} bytes")).at(MANIFEST));
    }
    if manifest.sha256 != header.manifest.sha256 {
        return Err(bad("it gives two digests for the manifest"));
    }
    Ok(())
}

fn check_files(medium: &Medium, header: &Header, progress: &dyn Progress) -> Result<(), Refusal> {
    let total = header.files.iter().fold(0u64, |sum, f| sum.saturating_add(f.size));
    let mut done = 0;
    for file in &header.files {
        let (size, sha256) = medium.hash(&file.name, file.size, &mut |n| {
            done += n;
            progress.bytes(done, total);
        })?;
        if size == file.size && sha256 == file.sha256 {
            continue;
        }
        let what = match size.cmp(&file.size) {
            std::cmp::Ordering::Less => format!("it has {size} of {} bytes", file.size),
            std::cmp::Ordering::Greater => format!("it has more than its {} bytes", file.size),
            std::cmp::Ordering::Equal => "its bytes are not those that were signed".to_owned(),
        };
        let code = if size == file.size { "digest-mismatch" } else { "size-mismatch" };
        let refusal = Refusal::failed(code, what).at(&file.name);
        return Err(if file.name.ends_with(".ctp") {
            locate(medium, header, file, refusal)
        } else {
            refusal
        });
    }
    Ok(())
}

/// Finds the first damaged frame of a pack. Places come from the signed manifest, which has been
/// hashed by now, never from the damaged pack.
fn locate(medium: &Medium, header: &Header, file: &FileEntry, refusal: Refusal) -> Refusal {
    let (Ok(index), Ok(pack)) = (read_index(medium, header), medium.file(&file.name)) else { return refusal };
    let mut magic = [0; 8];
    if pack.read_exact_at(&mut magic, 0).is_err() || magic != *frame::PACK_MAGIC {
        let message = format!("{}; the damage is in the first 8 bytes", refusal.message);
        return Refusal { message, ..refusal.offset(0) };
    }
    for blob in &index.blobs {
        for part in blob.frames.iter().filter(|f| pack_name(f.pack) == file.name) {
            let mut bytes = vec![0; part.len as usize];
            let read = pack.read_exact_at(&mut bytes, part.offset);
            if read.is_ok() && frame::decode(&bytes).is_ok() {
                continue;
            }
            let end = part.offset + u64::from(part.len);
            let message = format!(
                "{}; the first damage is in bytes {}..{end} and touches blob {}",
                refusal.message, part.offset, blob.sha256
            );
            return Refusal { message, ..refusal.offset(part.offset) };
        }
    }
    refusal
}

fn read_index(medium: &Medium, header: &Header) -> Result<Index, Refusal> {
    let mut index = Index::default();
    let input = medium.file(MANIFEST)?.take(header.files[1].size);
    manifest::read(input, header, &mut |record| {
        index.take(record)?;
        let (blobs, bytes) = (index.blobs.len() as u64, index.expanded);
        if blobs > header.totals.blobs || bytes > header.totals.expanded_bytes {
            return Err(Refusal::too_large("it lists more than its header declares").at(MANIFEST));
        }
        Ok(())
    })?;
    index.close()?;
    let exact = index.blobs.len() as u64 == header.totals.blobs
        && index.expanded == header.totals.expanded_bytes
        && index.packs() == header.packs;
    if !exact {
        return Err(Refusal::invalid("bad-manifest", "its totals are not those of the header").at(MANIFEST));
    }
    Ok(index)
}

impl Verified {
    /// Blobs that the receiver must hold already: identity and bytes.
    #[must_use]
    pub fn required(&self) -> &[(Sha256, u64)] {
        &self.index.required
    }

    /// The carried blobs, in the order of the packs.
    #[must_use]
    pub fn blob_list(&self) -> &[BlobMeta] {
        &self.index.blobs
    }

    /// Streams the descriptions: everything but the `requires` and `blob` lines. The manifest is read
    /// and hashed again: what was handed out counts only when this returns `Ok`.
    ///
    /// # Errors
    /// The callback's own, or a refusal when the medium changed since it was verified.
    pub fn records<E: From<Refusal>>(&self, mut each: impl FnMut(Record) -> Result<(), E>) -> Result<(), E> {
        let input = self.medium.file(MANIFEST)?.take(self.header.files[1].size);
        let mut own = None;
        let read = manifest::read(input, &self.header, &mut |record| {
            if own.is_none() && !matches!(record, Record::Requires { .. } | Record::Blob(_)) {
                own = each(record).err();
            }
            Ok(())
        });
        read?;
        own.map_or(Ok(()), Err)
    }

    /// Streams every blob through `each`. Its reader checks each frame and, before it reports the end,
    /// the blob's SHA-256: damage comes as an `InvalidData` error and never as a short blob. What the
    /// callback leaves unread is read and checked here. At most one frame is in memory.
    ///
    /// # Errors
    /// The callback's own, or a refusal naming the damaged pack; discard that blob then.
    pub fn blobs<E: From<Refusal>>(
        &self,
        mut each: impl FnMut(&BlobMeta, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut open = None;
        for blob in &self.index.blobs {
            let mut reader = BlobReader::new(&self.medium, blob, open.take());
            let own = each(blob, &mut reader);
            if own.is_ok() && reader.refusal.is_none() {
                let _ = io::copy(&mut reader, &mut io::sink());
            }
            if let Some(refusal) = reader.refusal {
                return Err(refusal.into());
            }
            own?;
            open = reader.open;
        }
        Ok(())
    }
}

struct BlobReader<'a> {
    medium: &'a Medium,
    blob: &'a BlobMeta,
    open: Option<(u32, File)>,
    next: usize,
    raw: Vec<u8>,
    at: usize,
    given: u64,
    hasher: Option<Sha256Hasher>,
    refusal: Option<Refusal>,
}

impl<'a> BlobReader<'a> {
    fn new(medium: &'a Medium, blob: &'a BlobMeta, open: Option<(u32, File)>) -> Self {
        let hasher = Some(Sha256Hasher::default());
        Self { medium, blob, open, next: 0, raw: Vec::new(), at: 0, given: 0, hasher, refusal: None }
    }

    fn fill(&mut self) -> Result<(), Refusal> {
        let Some(part) = self.blob.frames.get(self.next) else {
            let digest = self.hasher.take().map(Sha256Hasher::finish);
            // `None`: the end was checked and reported before.
            if digest.is_some_and(|d| d != self.blob.sha256 || self.given != self.blob.size) {
                let text = format!("the bytes stored for blob {} are others", self.blob.sha256);
                return Err(Refusal::failed("blob-mismatch", text));
            }
            return Ok(());
        };
        let name = pack_name(part.pack);
        let file = match self.open.take() {
            Some((number, file)) if number == part.pack => file,
            _ => self.medium.file(&name)?,
        };
        let mut bytes = vec![0; part.len as usize];
        file.read_exact_at(&mut bytes, part.offset)
            .map_err(|e| Refusal::io(&name, &e).offset(part.offset))?;
        self.open = Some((part.pack, file));
        let damaged = |why| Refusal::failed("frame-damaged", why).at(&name).offset(part.offset);
        self.raw = frame::decode(&bytes).map_err(damaged)?;
        (self.at, self.next) = (0, self.next + 1);
        self.given += self.raw.len() as u64;
        if self.raw.is_empty() || self.given > self.blob.size {
            return Err(damaged("the frame does not have the length its blob needs"));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.raw);
        }
        Ok(())
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let spoiled = |r: &Refusal| io::Error::new(io::ErrorKind::InvalidData, r.clone());
        if let Some(refusal) = &self.refusal {
            return Err(spoiled(refusal));
        }
        if self.at == self.raw.len() && !out.is_empty() {
            (self.raw, self.at) = (Vec::new(), 0);
            if let Err(refusal) = self.fill() {
                self.raw = Vec::new();
                let error = spoiled(&refusal);
                self.refusal = Some(refusal);
                return Err(error);
            }
        }
        let n = out.len().min(self.raw.len() - self.at);
        out[..n].copy_from_slice(&self.raw[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}
