//! Which file of a finished transfer goes onto which medium of a set.
//!
//! The rule, in numbers. A medium keeps a *reserve*: two per cent of its capacity, at least 1 MiB, at most
//! 256 MiB, never more than a quarter. A quarter of the reserve is the file system's own; the rest is for
//! what lies on every medium: header, README and root documents always, manifest and checks while they
//! fit (else on the first medium only). A file counts with what it fills: whole blocks of 2048 bytes and
//! one more for its entry. What is not reserve is filled with volumes, cut so that a whole number of them
//! fills a medium and each stays within [`DEFAULT_VOLUME_BYTES`]: old file systems take no file of 4 GiB.
//!
//! A file is never split here: cutting is the writer's work, and the header signs the cuts. This module must
//! never copy or change a byte of a transfer.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cofferdam_types::{Error, ErrorKind, Result};

use crate::{
    header::Header,
    limits::{DEFAULT_VOLUME_BYTES, MAX_FILES, MAX_VOLUME_BYTES, MIN_VOLUME_BYTES},
    name::{FILES, HEADER, Name},
};

/// The largest file that FAT32 takes.
const FAT32_FILE: u64 = u32::MAX as u64;
/// What a file fills is counted in blocks of this size (ISO 9660, UDF).
const BLOCK: u64 = 2048;
/// No set has more media.
const MAX_DISCS: usize = 50_000;

/// A kind of medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// Bytes that one of them holds; `None` when all of it goes onto one.
    pub capacity: Option<u64>,
    /// Bytes of one file, at most.
    pub max_file: u64,
}

/// One medium of a set.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Disc {
    /// From 1.
    pub number: u32,
    /// Names inside the transfer's folder, in the order of the header; flat files as `files/NAME`.
    pub files: Vec<String>,
    /// Bytes of these files, without what a file system adds.
    pub bytes: u64,
}

/// What [`lay_out`] made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LaidOut {
    /// `disc-001` and so on: each is one medium's content.
    pub discs: Vec<PathBuf>,
    /// Files that could not be linked, from and to: copy these. Empty when links are possible.
    pub to_copy: Vec<(PathBuf, PathBuf)>,
}

impl Media {
    /// `dvd`, `dvd-dl`, `bd25`, `fat32`, or a capacity such as `700MB` or `1.5GiB` (a number alone is bytes).
    /// Of media with several true capacities, the smallest counts.
    ///
    /// # Errors
    /// `Invalid` (`bad-media`).
    pub fn parse(text: &str) -> Result<Self> {
        let capacity = match text.to_ascii_lowercase().as_str() {
            // 2,295,104 sectors of a DVD+R; a DVD-R has some more.
            "dvd" => Some(4_700_372_992),
            // 4,171,712 sectors of a DVD-R DL.
            "dvd-dl" => Some(8_543_666_176),
            // 12,219,392 sectors.
            "bd25" => Some(25_025_314_816),
            "fat32" => None,
            other => Some(parse_size(other).ok_or_else(|| bad_media(text))?),
        };
        let smallest = MIN_VOLUME_BYTES.saturating_mul(2);
        if capacity.is_some_and(|c| !(smallest..=MAX_VOLUME_BYTES).contains(&c)) {
            return Err(bad_media(text));
        }
        let max_file = if capacity.is_none() { FAT32_FILE } else { u64::MAX };
        Ok(Self { capacity, max_file })
    }

    /// The size of the volumes to cut for this medium.
    #[must_use]
    pub fn volume_size(&self) -> u64 {
        self.capacity.map_or(DEFAULT_VOLUME_BYTES, volume_size)
    }
}

fn bad_media(text: &str) -> Error {
    let shown: String = text.chars().take(40).collect();
    Error::invalid("bad-media", format!("`{}` is no medium", shown.escape_debug())).hint(
        "say dvd, dvd-dl, bd25, fat32, or what one medium holds, such as 700MB or 1.5GiB; at least 128 KiB",
    )
}

/// A size of at most six decimals, without floating point: 0.1 must not become 0.09999.
fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 6 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let millionths: u64 = format!("{fraction:0<6}").parse().ok()?;
    let part = u128::from(millionths) * u128::from(unit) / 1_000_000;
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(unit)?.checked_add(u64::try_from(part).ok()?)
}

/// What stays free of volumes on a medium.
const fn reserve(capacity: u64) -> u64 {
    let share = capacity / 50;
    let share = if share < 1 << 20 { 1 << 20 } else { share };
    let share = if share > 256 << 20 { 256 << 20 } else { share };
    if share > capacity / 4 { capacity / 4 } else { share }
}

/// The part of the reserve that is for files.
const fn common_room(capacity: u64) -> u64 {
    reserve(capacity) - reserve(capacity) / 4
}

/// What a file fills.
const fn fills(bytes: u64) -> u64 {
    (bytes.div_ceil(BLOCK) + 1).saturating_mul(BLOCK)
}

/// The size of volumes of which a whole number fills a medium beside its reserve.
#[must_use]
pub fn volume_size(capacity: u64) -> u64 {
    let usable = capacity - reserve(capacity);
    let each = usable / usable.div_ceil(DEFAULT_VOLUME_BYTES).max(1);
    // Whole blocks, and room for the entry.
    (each / BLOCK).saturating_sub(1).saturating_mul(BLOCK).clamp(MIN_VOLUME_BYTES, MAX_VOLUME_BYTES)
}

/// A medium that is being filled.
struct Filling {
    room: u64,
    disc: Disc,
}

/// Deals the files of a transfer out to media, in order, each to the first medium with room.
/// `header_bytes` is the length of `header.dsse.json`; `flat` are the flat files of an inspectable
/// transfer ([`flat_files`]), empty for a sealed one.
///
/// # Errors
/// `TooLarge` (`fits-nowhere`) naming the file that no medium holds.
pub fn plan(header: &Header, header_bytes: u64, flat: &[(String, u64)], media: &Media) -> Result<Vec<Disc>> {
    let flat: Vec<(String, u64)> =
        flat.iter().map(|(name, size)| (format!("{FILES}/{name}"), *size)).collect();
    let of_header = |want: fn(&Name) -> bool| {
        let fits = move |f: &&crate::FileEntry| Name::parse(&f.name).is_some_and(|name| want(&name));
        header.files.iter().filter(fits).map(|f| (f.name.clone(), f.size)).collect::<Vec<_>>()
    };
    let mut common = vec![(HEADER.to_owned(), header_bytes)];
    common.extend(of_header(|name| matches!(name, Name::Readme | Name::Root(_))));
    let spare = of_header(|name| matches!(name, Name::Manifest | Name::Checks));
    let mut dealt = of_header(|name| matches!(name, Name::Volume(_)));
    dealt.extend(of_header(|name| matches!(name, Name::Parity(_))));
    dealt.extend(flat);
    if let Some((name, size)) = common.iter().chain(&spare).chain(&dealt).find(|f| f.1 > media.max_file) {
        return Err(fits_nowhere(name, *size, media.max_file));
    }
    let Some(capacity) = media.capacity else {
        let all: Vec<_> = common.into_iter().chain(spare).chain(dealt).collect();
        return Ok(vec![Disc {
            number: 1,
            bytes: all.iter().map(|f| f.1).sum(),
            files: all.into_iter().map(|f| f.0).collect(),
        }]);
    };
    let mut first = Vec::new();
    let mut left = common_room(capacity).saturating_sub(common.iter().map(|f| fills(f.1)).sum());
    for file in spare {
        if fills(file.1) <= left {
            left -= fills(file.1);
            common.push(file);
        } else {
            first.push(file);
        }
    }
    deal(capacity - reserve(capacity) / 4, &common, first.into_iter().chain(dealt))
}

/// First fit, in order. What every medium holds comes first on each.
fn deal(
    usable: u64,
    common: &[(String, u64)],
    files: impl Iterator<Item = (String, u64)>,
) -> Result<Vec<Disc>> {
    let fixed: u64 = common.iter().map(|f| fills(f.1)).sum();
    let Some(room) = usable.checked_sub(fixed) else {
        let (name, size) = common.iter().max_by_key(|f| f.1).cloned().unwrap_or_default();
        return Err(fits_nowhere(&name, size, usable));
    };
    let start = |number: usize| Filling {
        room,
        disc: Disc {
            number: u32::try_from(number).unwrap_or(u32::MAX),
            files: common.iter().map(|f| f.0.clone()).collect(),
            bytes: common.iter().map(|f| f.1).sum(),
        },
    };
    let mut discs = vec![start(1)];
    // The first medium that can still have room for anything: full ones are not looked at again.
    let mut open = 0;
    for (name, size) in files {
        let need = fills(size);
        if need > room || discs.len() >= MAX_DISCS {
            return Err(fits_nowhere(&name, size, room));
        }
        while discs.get(open).is_some_and(|d| d.room < 2 * BLOCK) {
            open += 1;
        }
        let fit = discs.iter().skip(open).position(|d| d.room >= need).map_or(discs.len(), |n| n + open);
        if fit == discs.len() {
            discs.push(start(fit + 1));
        }
        if let Some(disc) = discs.get_mut(fit) {
            disc.room -= need;
            disc.disc.bytes += size;
            disc.disc.files.push(name);
        }
    }
    Ok(discs.into_iter().map(|d| d.disc).collect())
}

fn fits_nowhere(name: &str, size: u64, room: u64) -> Error {
    let text = format!("{name} has {size} bytes and a medium has room for a file of {room}");
    Error::new(ErrorKind::TooLarge, "fits-nowhere", text)
        .hint("take larger media, or pack again with `--media` of this size, so that volumes are cut to fit")
}

/// Names and sizes of the flat files that a writer has just written, ascending; none for a sealed transfer.
///
/// # Errors
/// `Invalid` (`not-a-transfer`) when the folder holds what no writer puts there; `Internal`.
pub fn flat_files(folder: &Path) -> Result<Vec<(String, u64)>> {
    let failed = |e| Error::io("listing the flat files of a transfer", e);
    let entries = match fs::read_dir(folder.join(FILES)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let kind = entry.metadata().map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !kind.is_file() || !crate::door::is_flat_name(&name) || files.len() as u64 >= MAX_FILES {
            let text = format!("`{}` is no flat file of a transfer", name.escape_debug());
            return Err(Error::invalid("not-a-transfer", text));
        }
        files.push((name, kind.len()));
    }
    files.sort_unstable();
    Ok(files)
}

/// Makes `into/disc-001/<the transfer's name>/…` for each medium, with hard links: nothing is copied. Where
/// links are impossible (another file system, or one without them), the folders are made and
/// [`LaidOut::to_copy`] says what to copy.
///
/// # Errors
/// `Conflict` (`disc-exists`) when a folder `disc-…` is there already: it is left as it is; `Internal`,
/// `NoSpace`.
pub fn lay_out(transfer: &Path, plan: &[Disc], into: &Path) -> Result<LaidOut> {
    let failed = |e| Error::io("laying out the media of a transfer", e);
    let Some(name) = transfer.file_name() else {
        return Err(Error::invalid("not-a-transfer", "a transfer's folder has a name"));
    };
    let mut laid = LaidOut { discs: Vec::new(), to_copy: Vec::new() };
    fs::create_dir_all(into).map_err(failed)?;
    for disc in plan {
        let home = into.join(format!("disc-{:03}", disc.number));
        fs::create_dir(&home).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                let text = format!("there is already a `{}`", home.display());
                Error::conflict("disc-exists", text)
                    .hint("remove what an earlier run laid out, or name another folder")
            }
            _ => failed(e),
        })?;
        let folder = home.join(name);
        fs::create_dir(&folder).map_err(failed)?;
        if disc.files.iter().any(|file| file.contains('/')) {
            fs::create_dir(folder.join(FILES)).map_err(failed)?;
        }
        for file in &disc.files {
            let (from, to) = (transfer.join(file), folder.join(file));
            match fs::hard_link(&from, &to) {
                Ok(()) => {}
                Err(e) if no_links(&e) => laid.to_copy.push((from, to)),
                Err(e) => return Err(failed(e)),
            }
        }
        laid.discs.push(home);
    }
    Ok(laid)
}

fn no_links(error: &io::Error) -> bool {
    // FAT and exFAT say EPERM; 1024 links to the header of a large set say EMLINK.
    matches!(
        error.kind(),
        io::ErrorKind::CrossesDevices
            | io::ErrorKind::Unsupported
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::TooManyLinks
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_are_known_by_name_or_by_what_they_hold() {
        let capacity = |text| Media::parse(text).map(|m| m.capacity);
        assert_eq!(capacity("DVD").unwrap(), Some(4_700_372_992));
        assert_eq!(capacity("fat32").unwrap(), None);
        assert_eq!(capacity("700MB").unwrap(), Some(700_000_000));
        assert_eq!(capacity("1.5GiB").unwrap(), Some(1_610_612_736));
        assert_eq!(capacity("0.1 gb").unwrap(), Some(100_000_000));
        assert_eq!(capacity("200000").unwrap(), Some(200_000));
        for wrong in [
            "",
            "cd",
            "-1GB",
            "1e9",
            ".5GB",
            "1.GB",
            "1.1234567GB",
            "99999999999TB",
            "17TiB",
            "100KB",
            "1 0MB",
        ] {
            assert_eq!(capacity(wrong).unwrap_err().code(), "bad-media", "{wrong}");
        }
    }

    #[test]
    fn a_whole_number_of_volumes_fills_a_medium_beside_its_reserve() {
        for name in ["dvd", "dvd-dl", "bd25", "700MB", "1.44MB", "64GB", "200KB", "1TB"] {
            let media = Media::parse(name).unwrap();
            let (capacity, volume) = (media.capacity.unwrap(), media.volume_size());
            let many = (capacity - reserve(capacity)) / fills(volume);
            assert!((MIN_VOLUME_BYTES..=DEFAULT_VOLUME_BYTES).contains(&volume), "{name}: {volume}");
            assert!(many * fills(volume) + reserve(capacity) <= capacity, "{name}");
            assert!(many * fills(volume) * 100 >= capacity * 70, "{name} wastes: {many} of {volume}");
        }
    }

    #[test]
    fn first_fit_goes_by_order_and_fills_gaps() {
        let file = |name: &str, size| (name.to_owned(), size * BLOCK);
        let common = [file("h", 1)];
        let files = [file("a", 5), file("b", 5), file("c", 2), file("d", 1)];
        let discs = deal(10 * BLOCK, &common, files.into_iter()).unwrap();
        let names: Vec<_> = discs.iter().map(|d| d.files.join(" ")).collect();
        assert_eq!(names, ["h a d", "h b", "h c"]);
        let none = deal(10 * BLOCK, &common, [file("big", 8)].into_iter()).unwrap_err();
        assert!(none.code() == "fits-nowhere" && none.message().contains("big"), "{none}");
        assert_eq!(deal(BLOCK, &common, std::iter::empty()).unwrap_err().code(), "fits-nowhere");
    }
}
