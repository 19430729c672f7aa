//! Damage: where it is, what it touches, and its repair from parity and patches.
//!
//! Whole copies of what was damaged go into a folder of the caller's, which is then read together with the
//! medium. That folder may be the medium itself, so nothing in it is touched before every copy has the SHA-256
//! that was signed; and nothing else of the medium may ever be written.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use cofferdam_parity::{CheckReader, Damage, Geometry, Layout, ReadAt, WriteAt, find_damage};
use cofferdam_types::{Error, ErrorKind, Result};

use crate::{
    header::FileEntry,
    limits::MAX_README_BYTES,
    medium,
    name::{self, Name, README},
    parity::{Data, Spare},
    patch, readme,
    refusal::{Refusal, from_error},
    staging::Staging,
    survey::{FileState, Progress, Survey},
    volume::{failed, write_file},
};

/// A damaged stretch of one file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stretch {
    /// The file.
    pub file: String,
    /// First byte in it.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// The damage of a transfer.
pub struct Harm {
    /// Damaged or missing stretches, in the order of manifest and payload.
    pub stretches: Vec<Stretch>,
    /// The same as ranges of the data stream (manifest, then payload): what a repair request asks for.
    pub ranges: Vec<(u64, u64)>,
    /// Whether parity and patches can mend all of it.
    pub repairable: bool,
    damage: Damage,
}

/// What a repair did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Repaired {
    /// The folder with whole copies: give it together with the medium.
    pub folder: PathBuf,
    /// The files that were mended.
    pub files: Vec<String>,
    /// Bytes that were rebuilt.
    pub bytes: u64,
}

impl Survey {
    /// Where the bytes of a file stand in the data stream; `None` for files that parity does not cover.
    pub(crate) fn span_of(&self, name: &str) -> Option<Range<u64>> {
        let entry = self.entry(name)?;
        let manifest = self.entry(self.header.manifest_name())?.size;
        match Name::parse(name)? {
            Name::Manifest => Some(0..manifest),
            Name::Volume(n) => {
                let start = manifest + u64::from(n - 1) * self.header.payload.volume_size;
                Some(start..start + entry.size)
            }
            _ => None,
        }
    }

    /// Manifest and payload as they are, without the files that do not touch `within`.
    fn data(&self, within: &Range<u64>) -> Data {
        let touches = |span: Range<u64>| span.start < within.end && within.start < span.end;
        let near = |name: &str| self.span_of(name).is_some_and(&touches);
        let name = self.header.manifest_name();
        let pick = |name: &str, state: &FileState| state.folder().filter(|_| near(name));
        Data {
            manifest: self.as_it_is(name).filter(|_| near(name)),
            manifest_size: self.entry(name).map_or(0, |f| f.size),
            payload: self.parts(self.header.volumes(), name::volume, &pick),
        }
    }

    fn spare(&self, there: bool) -> Spare {
        let pick = |_: &str, state: &FileState| state.folder().filter(|_| there);
        Spare(self.parts(self.header.parity_volumes(), name::parity, &pick))
    }

    fn geometry(&self) -> Result<(Geometry, Layout), Refusal> {
        let Some(geometry) = self.header.parity else {
            return Err(Refusal::failed("no-parity", "this transfer carries nothing to repair it from")
                .hint("copy the damaged files again from the sending site"));
        };
        let layout = geometry.check().map_err(|e| from_error(&e, name::HEADER))?;
        Ok((geometry, layout))
    }

    /// Compares everything with the checks and says what is damaged, and whether it can be mended.
    ///
    /// # Errors
    /// `no-parity`; `unreadable` for trouble that is not damage.
    pub fn harm(&self, progress: &dyn Progress) -> Result<Harm, Refusal> {
        let (geometry, layout) = self.geometry()?;
        let (data, spare) = (self.data(&(0..u64::MAX)), self.spare(true));
        let checks: Box<dyn ReadAt> = match self.as_it_is(name::CHECKS) {
            Some(file) => Box::new(file),
            None => Box::new(Vec::<u8>::new()),
        };
        let total = geometry.data_len.saturating_add(layout.parity_len());
        let done = AtomicU64::new(0);
        let hear =
            |n: u64| progress.bytes(done.fetch_add(n, Ordering::Relaxed).saturating_add(n).min(total), total);
        let reader = CheckReader::new(checks.as_ref());
        let found = find_damage(&geometry, &data, &spare, &reader, threads(), &hear);
        let mut damage = found.map_err(|e| Refusal::io("the medium", &e))?;
        self.forgive_whole(&layout, &mut damage);
        let left = self.left_after_patches(&layout, &damage)?;
        let repairable = can_rebuild(&geometry, &layout, &left, &damage);
        let ranges: Vec<Range<u64>> = damage
            .data
            .ranges()
            .map(|r| layout.data_bytes(r.start).start..layout.data_bytes(r.end - 1).end)
            .collect();
        let stretches = ranges.iter().flat_map(|r| self.stretches(r)).collect();
        let ranges = ranges.iter().map(|r| (r.start, r.end - r.start)).collect();
        Ok(Harm { stretches, ranges, repairable, damage })
    }

    /// A file whose SHA-256 holds is not damaged, whatever the checks say, and even when there are none.
    fn forgive_whole(&self, layout: &Layout, damage: &mut Damage) {
        let mut broken = Damage::none(layout);
        for (file, _) in self.faults() {
            if let Some(span) = self.span_of(&file.name).filter(|span| !span.is_empty()) {
                broken.lose_data(layout, span);
            }
            if let Some(Name::Parity(n)) = Name::parse(&file.name) {
                let start = u64::from(n - 1) * self.header.payload.volume_size;
                broken.lose_parity(layout, start..start.saturating_add(file.size));
            }
        }
        damage.data.retain(|slice| broken.data.contains(slice));
        damage.parity.retain(|slice| broken.parity.contains(slice));
    }

    fn stretches(&self, range: &Range<u64>) -> Vec<Stretch> {
        let files = self.header.files.iter().filter_map(|f| Some((f, self.span_of(&f.name)?)));
        let cut = |(file, span): (&FileEntry, Range<u64>)| {
            let (from, to) = (span.start.max(range.start), span.end.min(range.end));
            (from < to).then(|| Stretch {
                file: file.name.clone(),
                offset: from - span.start,
                len: to - from,
            })
        };
        files.filter_map(cut).collect()
    }

    fn left_after_patches(&self, layout: &Layout, damage: &Damage) -> Result<Damage, Refusal> {
        let patches = self.patches()?;
        let mut left = damage.clone();
        for slice in damage.data.ranges().flatten() {
            if patches.iter().any(|p| p.covers(&layout.data_bytes(slice))) {
                left.data.remove(slice);
            }
        }
        Ok(left)
    }

    /// Mends damaged and missing files into `into/<the transfer's name>`, from patches and parity. That folder
    /// may be one of those that are read: only whole files are renamed into it.
    ///
    /// # Errors
    /// `unrepairable` when too much is lost; `repair-failed` when a mended file is not the one that was
    /// signed; `NoSpace`. Nothing was changed then.
    pub fn repair(&self, into: &Path, progress: &dyn Progress) -> Result<Repaired> {
        let harm = self.harm(progress)?;
        if !harm.repairable {
            let lost: u64 = harm.ranges.iter().map(|r| r.1).sum();
            let text = format!("{lost} bytes are lost, more than the transfer's parity can rebuild");
            return Err(Error::new(ErrorKind::MissingVolume, "unrepairable", text)
                .hint("write a repair request: `cofferdam repair --request FILE`; the sender answers it with what is lost"));
        }
        let staging = Staging::create(into, &self.medium.name, "mending")?;
        patch::copy(self, staging.path(), name::HEADER)?;
        let files = self.mend(staging.path(), &harm)?;
        let folder = staging.place([name::HEADER].into_iter().chain(files.iter().map(String::as_str)))?;
        let bytes = harm.ranges.iter().map(|r| r.1).sum();
        Ok(Repaired { folder, files, bytes })
    }

    fn mend(&self, folder: &Path, harm: &Harm) -> Result<Vec<String>> {
        let (geometry, layout) = self.geometry()?;
        let sheets = self.sheets(folder, &layout, harm)?;
        let left = self.apply_patches(&layout, harm, &sheets)?;
        let (data, spare) = (self.data(&(0..u64::MAX)), self.spare(true));
        let both = Patched { data: &data, sheets: &sheets };
        let unrepaired =
            cofferdam_parity::repair(&geometry, &both, &spare, &left, &sheets, threads(), &|_| ())
                .map_err(|e| failed("a repaired file", e))?;
        if !unrepaired.data.is_empty() {
            return Err(Error::verification(
                "repair-failed",
                "the parity did not rebuild what it should have",
            ));
        }
        let mut files = self.mend_readme(folder)?;
        for sheet in &sheets.0 {
            sheet.file.sync_all().map_err(|e| failed(&sheet.entry.name, e))?;
            let file =
                File::open(folder.join(&sheet.entry.name)).map_err(|e| failed(&sheet.entry.name, e))?;
            let found = medium::hash(file, &sheet.entry.name, sheet.entry.size, &mut |_| ())?;
            if found != (sheet.entry.size, sheet.entry.sha256) {
                let text = format!("{} was rebuilt and is not the file that was signed", sheet.entry.name);
                return Err(
                    Error::verification("repair-failed", text).hint("ask the sender for the whole transfer")
                );
            }
            files.push(sheet.entry.name.clone());
        }
        Ok(files)
    }

    /// New files for what is not whole, with all bytes that are still good.
    fn sheets(&self, folder: &Path, layout: &Layout, harm: &Harm) -> Result<Sheets> {
        let mut sheets = Vec::new();
        for (entry, state) in self.faults() {
            let Some(span) = self.span_of(&entry.name) else { continue };
            let at = |e| failed(&entry.name, e);
            let path = folder.join(&entry.name);
            let file = File::options().read(true).write(true).create_new(true).open(path).map_err(at)?;
            file.set_len(entry.size).map_err(at)?;
            if matches!(state, FileState::Damaged { .. })
                && let Some(old) = self.as_it_is(&entry.name)
            {
                copy_good(&old, &file, &span, layout, harm).map_err(at)?;
            }
            sheets.push(Sheet { span, file, entry: entry.clone() });
        }
        Ok(Sheets(sheets))
    }

    fn apply_patches(&self, layout: &Layout, harm: &Harm, sheets: &Sheets) -> Result<Damage> {
        let patches = self.patches()?;
        let mut left = harm.damage.clone();
        for slice in harm.damage.data.ranges().flatten() {
            let bytes = layout.data_bytes(slice);
            if let Some(patch) = patches.iter().find(|p| p.covers(&bytes)) {
                let mut buffer = vec![0; usize::try_from(bytes.end - bytes.start).unwrap_or(0)];
                patch.read(bytes.start, &mut buffer).map_err(|e| Error::io("reading a patch", e))?;
                sheets.write_at(bytes.start, &buffer).map_err(|e| failed("a repaired file", e))?;
                left.data.remove(slice);
            }
        }
        Ok(left)
    }

    /// The README is always the same text: it needs no parity.
    fn mend_readme(&self, folder: &Path) -> Result<Vec<String>> {
        if self.faults().all(|(file, _)| file.name != README) {
            return Ok(Vec::new());
        }
        let text = readme::text(self.header.suite);
        let known = self
            .header
            .file(README)
            .is_some_and(|f| f.size == text.len() as u64 && f.size <= MAX_README_BYTES);
        if !known {
            return Ok(Vec::new());
        }
        write_file(folder, README, text.as_bytes())?;
        Ok(vec![README.to_owned()])
    }
}

/// Whether each group has no more lost data slices than parity slices that are whole.
fn can_rebuild(geometry: &Geometry, layout: &Layout, left: &Damage, all: &Damage) -> bool {
    if left.data.is_empty() {
        return true;
    }
    if geometry.groups == 0 {
        return false;
    }
    let mut lost = std::collections::BTreeMap::<u64, u32>::new();
    for slice in left.data.ranges().flatten() {
        *lost.entry(slice % geometry.groups).or_default() += 1;
    }
    let _ = layout;
    lost.iter().all(|(group, lost)| {
        let whole = (0..u64::from(geometry.parity_per_group))
            .filter(|row| !all.parity.contains(row * geometry.groups + group))
            .count();
        *lost as usize <= whole
    })
}

/// Copies what is not damaged of an old file, slice by slice.
fn copy_good(old: &File, new: &File, span: &Range<u64>, layout: &Layout, harm: &Harm) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 18];
    for slice in layout.data_slices_touching(span.clone()) {
        if harm.damage.data.contains(slice) {
            continue;
        }
        let bytes = layout.data_bytes(slice);
        let (from, to) = (bytes.start.max(span.start), bytes.end.min(span.end));
        let n = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
        old.read_exact_at(&mut buffer[..n], from - span.start)?;
        new.write_all_at(&buffer[..n], from - span.start)?;
    }
    Ok(())
}

struct Sheet {
    span: Range<u64>,
    file: File,
    entry: FileEntry,
}

/// Mended files, addressed as the data stream. What falls outside of them is whole on the medium.
struct Sheets(Vec<Sheet>);

impl WriteAt for Sheets {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        for sheet in &self.0 {
            let (from, to) = (sheet.span.start.max(offset), sheet.span.end.min(end));
            if from < to {
                let part = usize::try_from(from - offset).map_err(io::Error::other)?
                    ..usize::try_from(to - offset).map_err(io::Error::other)?;
                sheet.file.write_all_at(&bytes[part], from - sheet.span.start)?;
            }
        }
        Ok(())
    }
}

/// The data stream with mended files in front of the medium's.
struct Patched<'a> {
    data: &'a Data,
    sheets: &'a Sheets,
}

impl ReadAt for Patched<'_> {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        let mut at = offset;
        while at < end {
            let own = self.sheets.0.iter().find(|s| s.span.contains(&at));
            let next = self.sheets.0.iter().map(|s| s.span.start).filter(|start| *start > at).min();
            let to = own.map_or(next.unwrap_or(end), |s| s.span.end).min(end);
            let part = usize::try_from(at - offset).map_err(io::Error::other)?
                ..usize::try_from(to - offset).map_err(io::Error::other)?;
            match own {
                Some(sheet) => sheet.file.read_exact_at(&mut out[part], at - sheet.span.start)?,
                None => self.data.read_at(at, &mut out[part])?,
            }
            at = to;
        }
        Ok(())
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(8)
}

/// Adds the first damaged place of `file` to its refusal, when the checks can tell.
pub fn locate(survey: &Survey, file: &FileEntry, refusal: Refusal) -> Refusal {
    let (Some(span), Ok((geometry, layout))) = (survey.span_of(&file.name), survey.geometry()) else {
        return refusal;
    };
    let Some(checks) = survey.as_it_is(name::CHECKS) else { return refusal };
    // A slice at either end of the file reaches into its neighbours.
    let slice = u64::from(geometry.slice);
    let near = span.start.saturating_sub(slice)..span.end.saturating_add(slice);
    let (data, spare) = (survey.data(&near), survey.spare(false));
    let found = find_damage(&geometry, &data, &spare, &CheckReader::new(&checks), threads(), &|_| ());
    let Ok(damage) = found else { return refusal };
    let inside = layout.data_slices_touching(span.clone());
    let Some(first) = inside.into_iter().find(|slice| damage.data.contains(*slice)) else { return refusal };
    let bytes = layout.data_bytes(first);
    let (from, to) = (bytes.start.max(span.start) - span.start, bytes.end.min(span.end) - span.start);
    let message = format!("{}; the first damage is in bytes {from}..{to}", refusal.message);
    Refusal {
        message,
        ..refusal.offset(from).hint(
        "copy it again; or mend it from the transfer's own parity: `cofferdam receive --repair`, `cofferdam repair --into DIR`",
    )
    }
}
