//! Reading a verified transfer: its descriptions, and its blobs by several threads.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use cofferdam_trust::age::{OpenReader, SealingKey};
use cofferdam_types::{Result as Done, Sha256, Sha256Hasher};

use crate::{
    header::{Header, Suite},
    limits::MAX_MANIFEST_BYTES,
    manifest::{self, BlobEntry, Index, RecipeLine, Record},
    medium, pack,
    refusal::{Refusal, from_error},
    survey::{Payload, Progress, Survey},
    trust::Trust,
    volume::Parts,
};

/// Verifies the folders of a transfer, reading only. The order is that of the specification.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify(folders: &[&Path], trust: &Trust, progress: &dyn Progress) -> Result<Survey, Refusal> {
    let mut survey = Survey::open(folders, trust)?;
    survey.hash(progress)?;
    survey.require_whole()?;
    Ok(survey)
}

/// What happened to a flat file at the door.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DoorFinding {
    /// Its name in `files`.
    pub name: String,
    /// The blob that it should be.
    pub sha256: Sha256,
    /// `changed` or `removed`.
    pub fate: &'static str,
}

/// A transfer whose manifest was read: what is in it, and the way to it.
pub struct Contents {
    /// The survey that it was made from.
    pub survey: Survey,
    /// Flat files that are not as they were signed. A reader leaves them out.
    pub door: Vec<DoorFinding>,
    index: Index,
    key: Option<SealingKey>,
}

/// One unit of reading: packs that belong together and their blobs, or one flat file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its first pack, or its file, from 0: the name under which it is remembered as done.
    pub first: u32,
    packs: u32,
    blobs: (usize, usize),
}

/// Takes blobs in; called by several threads at once.
pub trait Sink: Sync {
    /// Why it gives up.
    type Error: From<Refusal> + Send;

    /// Takes one blob. The sink **must** hash what it reads and compare with `entry`: the reader itself
    /// vouches for the length only.
    ///
    /// # Errors
    /// Whatever stops the reading; `Refusal`s by [`mismatch`].
    fn blob(&self, entry: &BlobEntry, bytes: &mut dyn Read) -> Result<(), Self::Error>;

    /// All blobs of a group were taken.
    ///
    /// # Errors
    /// Whatever stops the reading.
    fn done(&self, group: &Group) -> Result<(), Self::Error>;
}

/// The refusal of a blob whose bytes are others.
#[must_use]
pub fn mismatch(sha256: &Sha256) -> Refusal {
    Refusal::failed("blob-mismatch", format!("the bytes that came for blob {sha256} are others"))
}

impl Survey {
    /// Opens the manifest, with the site's key if it is sealed, and checks all that it says of itself. For
    /// an inspectable transfer the flat files are hashed here.
    ///
    /// # Errors
    /// `no-key`, `age-no-recipient`, or what is wrong with the manifest; `unexpected-file`.
    pub fn contents(self, key: Option<SealingKey>, progress: &dyn Progress) -> Result<Contents, Refusal> {
        let mut index = Index::default();
        read_lines(&self, key.as_ref(), &mut |record| {
            index.take(record)?;
            if index.within(&self.header.totals) {
                return Ok(());
            }
            Err(Refusal::too_large("it lists more than its header declares").at("the manifest"))
        })?;
        index.close()?;
        index.agrees(&self.header)?;
        let door = check_flat(&self, &index, progress)?;
        Ok(Contents { survey: self, door, index, key })
    }
}

fn read_lines(
    survey: &Survey,
    key: Option<&SealingKey>,
    each: &mut dyn FnMut(Record) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let header = &survey.header;
    let name = header.manifest_name();
    let file = io::BufReader::with_capacity(1 << 17, survey.whole(name)?.take(MAX_MANIFEST_BYTES));
    match header.suite {
        Suite::Inspectable => manifest::read(file, header, each),
        Suite::Sealed => {
            let Some(key) = key else {
                return Err(
                    Refusal::invalid("no-key", "the manifest is sealed and no key was given").at(name)
                );
            };
            let open = OpenReader::new(file, key).map_err(|e| from_error(&e, name))?;
            let damaged =
                |e: io::Error| Refusal::invalid("bad-manifest", format!("it does not unpack: {e}")).at(name);
            let mut lines = zstd::Decoder::new(open).map_err(damaged)?;
            lines.window_log_max(23).map_err(damaged)?;
            manifest::read(lines, header, each)
        }
    }
}

fn check_flat(survey: &Survey, index: &Index, progress: &dyn Progress) -> Result<Vec<DoorFinding>, Refusal> {
    if survey.header.suite != Suite::Inspectable {
        return Ok(Vec::new());
    }
    let there = survey.medium.flat_names()?;
    if let Some(extra) = there.iter().find(|name| index.names.binary_search(name).is_err()) {
        let shown = format!("{}/{extra}", crate::name::FILES);
        return Err(
            Refusal::invalid("unexpected-file", "the signed manifest does not list this file").at(&shown)
        );
    }
    let total = survey.header.items.map_or(0, |i| i.bytes);
    let (mut done, mut findings) = (0u64, Vec::new());
    for (entry, name) in index.blobs.iter().zip(&index.names) {
        let found = survey.medium.flat(name).and_then(|file| {
            medium::hash(file, name, entry.size, &mut |n| {
                done = done.saturating_add(n);
                progress.bytes(done.min(total), total);
            })
        });
        let fate = match found {
            Ok(found) if found == (entry.size, entry.sha256) => continue,
            Ok(_) => "changed",
            Err(refusal) if refusal.code == "missing-file" => "removed",
            Err(refusal) => return Err(refusal),
        };
        findings.push(DoorFinding { name: name.clone(), sha256: entry.sha256, fate });
    }
    Ok(findings)
}

impl Contents {
    /// The signed header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.survey.header
    }

    /// Blobs that the receiver must hold already: identity and bytes.
    #[must_use]
    pub fn required(&self) -> &[(Sha256, u64)] {
        &self.index.required
    }

    /// The carried blobs, in the order of the packs.
    #[must_use]
    pub fn blobs(&self) -> &[BlobEntry] {
        &self.index.blobs
    }

    /// The flat files of an inspectable transfer, ascending: name and blob.
    pub fn flat(&self) -> impl Iterator<Item = (&str, &BlobEntry)> {
        self.index.names.iter().map(String::as_str).zip(&self.index.blobs)
    }

    /// The blobs that are rebuilt, ascending.
    #[must_use]
    pub fn recipes(&self) -> &[RecipeLine] {
        &self.index.recipes
    }

    /// Streams the descriptions: everything but the lines about blobs. The manifest is read and hashed
    /// again: what was handed out counts only when this returns `Ok`.
    ///
    /// # Errors
    /// The callback's own, or a refusal when the medium changed since it was verified.
    pub fn records<E: From<Refusal>>(&self, mut each: impl FnMut(Record) -> Result<(), E>) -> Result<(), E> {
        let mut own = None;
        read_lines(&self.survey, self.key.as_ref(), &mut |record| {
            let described = !matches!(
                record,
                Record::Requires { .. }
                    | Record::Recipe(_)
                    | Record::Pack { .. }
                    | Record::Blob { .. }
                    | Record::File { .. }
            );
            if own.is_none() && described {
                own = each(record).err();
            }
            Ok(())
        })?;
        own.map_or(Ok(()), Err)
    }

    /// Every group, in the order of the medium.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let blobs = &self.index.blobs;
        let flat = self.survey.header.suite == Suite::Inspectable;
        let mut groups = Vec::new();
        let mut at = 0;
        while let Some(first) = blobs.get(at).map(|b| b.at) {
            let until = at + blobs[at..].iter().take_while(|b| b.at == first).count();
            let next = blobs.get(until).map_or(self.index.packs.len() as u64, |b| u64::from(b.at));
            let packs =
                if flat { 0 } else { u32::try_from(next.saturating_sub(u64::from(first))).unwrap_or(0) };
            groups.push(Group { first, packs, blobs: (at, until) });
            at = until;
        }
        groups
    }

    /// Where a group lies in the payload: first byte and length.
    #[must_use]
    pub fn span(&self, group: &Group) -> (u64, u64) {
        let from = group.first as usize;
        let packs = self.index.packs.get(from..from + group.packs as usize).unwrap_or_default();
        (packs.first().map_or(0, |p| p.offset), packs.iter().map(|p| u64::from(p.len)).sum())
    }

    /// Which of these groups can be read from what is on the media now, and the names of the volumes that
    /// the others need.
    ///
    /// # Errors
    /// When a patch is none.
    pub fn readable(&self, groups: &[Group]) -> Result<(Vec<Group>, Vec<String>), Refusal> {
        let payload = self.survey.payload()?;
        let (mut here, mut missing) = (Vec::new(), std::collections::BTreeSet::new());
        for group in groups {
            let (from, len) = self.span(group);
            if payload.here(from, from + len) {
                here.push(*group);
                continue;
            }
            let each = self.survey.header.payload.volume_size;
            let (first, last) = (from / each, (from + len - 1) / each);
            let names = (first..=last).filter_map(|n| Some(crate::name::volume(u32::try_from(n + 1).ok()?)));
            missing.extend(names.filter(|name| self.survey.whole(name).is_err()));
        }
        Ok((here, missing.into_iter().collect()))
    }

    /// Keeps what is needed to go on without these media: header, manifest, and the parts that are here of
    /// groups that are not here whole, but for those that the stash holds already.
    /// `into/<the transfer's name>` is given together with the next medium.
    ///
    /// # Errors
    /// `NoSpace`; a medium that cannot be read.
    pub fn stash(&self, groups: &[Group], into: &Path) -> Done<PathBuf> {
        let payload = self.survey.payload()?;
        let kept = crate::patch::stashed(&self.survey, into)?;
        let mut spans: Vec<_> = groups.iter().map(|group| self.span(group)).collect();
        spans.retain(|(from, len)| !payload.here(*from, from + len));
        // A patch lists its ranges in ascending order.
        spans.sort_unstable();
        let mut ranges = Vec::new();
        for (from, len) in spans {
            payload.stretches(from, from + len, &kept, &mut ranges);
        }
        let read = |offset: u64, out: &mut [u8]| payload.read_at(offset - payload.shift, out);
        crate::patch::stash(&self.survey, &ranges, &read, into)
    }

    /// The blobs of a group.
    #[must_use]
    pub fn blobs_of(&self, group: &Group) -> &[BlobEntry] {
        &self.index.blobs[group.blobs.0..group.blobs.1]
    }

    /// The blobs that bytes `from..from + len` of the payload touch.
    #[must_use]
    pub fn touched(&self, from: u64, len: u64) -> Vec<Sha256> {
        let hit = |group: &&Group| {
            let (start, length) = self.span(group);
            start < from.saturating_add(len) && from < start.saturating_add(length)
        };
        let groups = self.groups();
        groups.iter().filter(hit).flat_map(|g| self.blobs_of(g)).map(|b| b.sha256).collect()
    }

    /// Streams the blobs of these groups into `sink`, by several threads, each holding one pack. Groups of
    /// which a part is not on the media are refused.
    ///
    /// # Errors
    /// The sink's own, or a refusal that names volume and offset.
    pub fn read<S: Sink>(&self, groups: &[Group], sink: &S) -> Result<(), S::Error> {
        let payload = self.survey.payload()?;
        let (next, trouble) = (AtomicUsize::new(0), Mutex::new(None));
        let groups = &self.large_first(groups);
        let work = || {
            while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.read_group(&payload, group, sink) {
                    trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                    next.store(usize::MAX / 2, Ordering::Relaxed);
                }
            }
        };
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(8).min(groups.len());
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        trouble.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// The few groups that are a large part of all come first, or one thread would end with them alone; the others
    /// as they lie, because discs are slow at anything else.
    fn large_first(&self, groups: &[Group]) -> Vec<Group> {
        let len = |group: &Group| self.span(group).1;
        let large = groups.iter().map(len).sum::<u64>() / 16;
        let (mut first, rest): (Vec<Group>, Vec<Group>) = groups.iter().partition(|group| len(group) > large);
        first.sort_by_key(|group| std::cmp::Reverse(len(group)));
        first.extend(rest);
        first
    }

    fn read_group<S: Sink>(&self, payload: &Payload, group: &Group, sink: &S) -> Result<(), S::Error> {
        let blobs = self.blobs_of(group);
        if self.survey.header.suite == Suite::Inspectable {
            // A flat file is a group of its own; one that a station changed or removed is not done, so that the
            // right file is read when somebody brings it.
            for (entry, name) in blobs.iter().zip(&self.index.names[group.blobs.0..group.blobs.1]) {
                if self.door.iter().any(|finding| finding.name == *name) {
                    return Ok(());
                }
                sink.blob(entry, &mut self.survey.medium.flat(name)?.take(entry.size))?;
            }
        } else if let (&[entry], true) = (&blobs, group.packs > 1) {
            let mut chain = Chain::new(self, payload, group);
            let taken = sink.blob(entry, &mut chain);
            if let Some(refusal) = chain.refusal {
                return Err(refusal.into());
            }
            taken?;
        } else {
            let raw = self.unpack(payload, group.first)?;
            let mut rest = raw.as_slice();
            for entry in blobs {
                let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
                let (mut own, after) = rest.split_at_checked(size).ok_or_else(|| mismatch(&entry.sha256))?;
                sink.blob(entry, &mut own)?;
                rest = after;
            }
        }
        sink.done(group)
    }

    /// One pack, opened and unpacked.
    fn unpack(&self, payload: &Payload, number: u32) -> Result<Vec<u8>, Refusal> {
        let Some(place) = self.index.packs.get(number as usize) else { return Ok(Vec::new()) };
        let (volume, offset) = Parts::place(self.survey.header.payload.volume_size, place.offset);
        let mut sealed = vec![0; place.len as usize];
        payload.read_at(place.offset, &mut sealed).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => medium::missing(&volume),
            _ => Refusal::io(&volume, &e).offset(offset),
        })?;
        let Some(key) = &self.key else {
            return Err(Refusal::invalid("no-key", "the packs are sealed and no key was given"));
        };
        pack::open(&sealed, place.raw as usize, key)
            .map_err(|why| Refusal::failed("pack-damaged", why).at(&volume).offset(offset))
    }
}

/// A blob that fills several packs.
struct Chain<'a> {
    contents: &'a Contents,
    payload: &'a Payload,
    next: u32,
    end: u32,
    raw: Vec<u8>,
    at: usize,
    refusal: Option<Refusal>,
}

impl<'a> Chain<'a> {
    const fn new(contents: &'a Contents, payload: &'a Payload, group: &Group) -> Self {
        let (next, end) = (group.first, group.first + group.packs);
        Self { contents, payload, next, end, raw: Vec::new(), at: 0, refusal: None }
    }
}

impl Read for Chain<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.raw.len() && self.next < self.end && self.refusal.is_none() {
            self.raw = Vec::new();
            match self.contents.unpack(self.payload, self.next) {
                Ok(raw) => (self.raw, self.at) = (raw, 0),
                Err(refusal) => self.refusal = Some(refusal),
            }
            self.next += 1;
        }
        if let Some(refusal) = &self.refusal {
            return Err(io::Error::new(io::ErrorKind::InvalidData, refusal.clone()));
        }
        let n = out.len().min(self.raw.len() - self.at);
        out[..n].copy_from_slice(&self.raw[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// A sink that only checks every blob, for stations that hold the key.
pub struct CheckOnly;

impl Sink for CheckOnly {
    type Error = Refusal;

    fn blob(&self, entry: &BlobEntry, bytes: &mut dyn Read) -> Result<(), Refusal> {
        let (mut hasher, mut buffer, mut total) = (Sha256Hasher::default(), vec![0; 1 << 18], 0u64);
        loop {
            match bytes.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    hasher.update(&buffer[..n]);
                    total += n as u64;
                }
                Err(e) => return Err(Refusal::io("a blob", &e)),
            }
        }
        if total == entry.size && hasher.finish() == entry.sha256 {
            Ok(())
        } else {
            Err(mismatch(&entry.sha256))
        }
    }

    fn done(&self, _: &Group) -> Result<(), Refusal> {
        Ok(())
    }
}
