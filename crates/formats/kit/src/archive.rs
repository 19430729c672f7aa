//! Bounded reading of archives: what formats use to look inside an upload.
//!
//! Nothing is ever unpacked to disk. Sizes, counts, depths and names are bounded, because every
//! byte comes from outside.

use std::{
    fs::File,
    io::{BufReader, Read},
};

use cofferdam_types::{Error, ErrorKind, Result};
use flate2::read::GzDecoder;

/// Bounds for looking into an archive.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Entries at the most.
    pub entries: usize,
    /// Expanded bytes at the most, all entries together.
    pub expanded: u64,
    /// Bytes of one wanted member at the most.
    pub member: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 200_000, expanded: 16 << 30, member: 16 << 20 }
    }
}

/// Refuses a member name that leads out of the archive or could be misread on another system.
///
/// # Errors
/// `Invalid` (`archive-path`).
pub fn check_member_name(name: &str) -> Result<()> {
    let bad = name.starts_with('/')
        || name.contains('\\')
        || name.chars().any(char::is_control)
        || name.split('/').any(|part| part == "..")
        || name.as_bytes().get(1) == Some(&b':');
    if bad {
        let shown: String =
            name.chars().take(120).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        return Err(Error::invalid(
            "archive-path",
            format!("the archive holds `{shown}`, a path that leads out of it"),
        )
        .hint("build the package again with a current tool; nothing of this upload was kept"));
    }
    Ok(())
}

/// Looks through a zip file: every name is checked, and the members for which `want` says yes are
/// handed to `take` with their bytes.
///
/// # Errors
/// `Invalid` when it is no zip, or names, sizes or counts are out of bounds.
pub fn scan_zip(
    file: File,
    bounds: Bounds,
    mut want: impl FnMut(&str) -> bool,
    mut take: impl FnMut(&str, Vec<u8>) -> Result<()>,
) -> Result<()> {
    let broken = |error: zip::result::ZipError| {
        Error::invalid("archive-broken", format!("the file is not a whole zip archive: {error}"))
    };
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    if archive.len() > bounds.entries {
        return Err(too_many(bounds));
    }
    let mut expanded = 0u64;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        check_member_name(&name)?;
        expanded = expanded.saturating_add(entry.size());
        if expanded > bounds.expanded {
            return Err(too_big(bounds));
        }
        if !entry.is_dir() && want(&name) {
            let bytes = read_member(entry, &name, bounds)?;
            take(&name, bytes)?;
        }
    }
    Ok(())
}

/// Looks through a gzip-compressed tar file in the same way, reading it to its end so that a
/// truncated or overlong stream is found. Links and devices are refused unless `links` allows
/// symbolic and hard links (they are never followed).
///
/// # Errors
/// `Invalid` when it is no tar.gz, is truncated, or is out of bounds.
pub fn scan_tar_gz(
    file: File,
    bounds: Bounds,
    links: bool,
    mut want: impl FnMut(&str) -> bool,
    mut take: impl FnMut(&str, Vec<u8>) -> Result<()>,
) -> Result<()> {
    let broken = |error: std::io::Error| {
        Error::invalid(
            "archive-broken",
            format!("the file is not a whole gzip-compressed tar archive: {error}"),
        )
    };
    let limited = GzDecoder::new(BufReader::new(file)).take(bounds.expanded + 1);
    let mut archive = tar::Archive::new(limited);
    let mut count = 0usize;
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        count += 1;
        if count > bounds.entries {
            return Err(too_many(bounds));
        }
        let name = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| Error::invalid("archive-path", "the archive holds a name that is not UTF-8"))?;
        check_member_name(&name)?;
        let kind = entry.header().entry_type();
        let plain = kind.is_file() || kind.is_dir() || kind.is_contiguous();
        let link = links && (kind.is_symlink() || kind.is_hard_link());
        let header = kind.is_pax_global_extensions() || kind.is_pax_local_extensions();
        if !(plain || link || header) {
            return Err(Error::invalid(
                "archive-member",
                format!("the archive holds `{name}`, which is neither a file nor a folder"),
            ));
        }
        if kind.is_file() && want(&name) {
            let bytes = read_member(entry, &name, bounds)?;
            take(&name, bytes)?;
        }
    }
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(broken)?;
    if rest.limit() == 0 { Err(too_big(bounds)) } else { Ok(()) }
}

fn read_member(entry: impl Read, name: &str, bounds: Bounds) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(bounds.member + 1).read_to_end(&mut bytes).map_err(|error| {
        Error::invalid("archive-broken", format!("`{name}` in the archive cannot be read: {error}"))
    })?;
    if bytes.len() as u64 > bounds.member {
        return Err(Error::new(
            ErrorKind::TooLarge,
            "archive-member-too-large",
            format!("`{name}` in the archive is larger than {} bytes", bounds.member),
        ));
    }
    Ok(bytes)
}

fn too_many(bounds: Bounds) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        "archive-too-many",
        format!("the archive holds more than {} entries", bounds.entries),
    )
}

fn too_big(bounds: Bounds) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        "archive-too-large",
        format!("the archive expands to more than {} bytes", bounds.expanded),
    )
}
