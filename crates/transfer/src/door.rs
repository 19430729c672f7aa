//! The door: how a transfer must look for the station that lets it through.
//!
//! Names of flat files are chosen here, for every scanner and file system: no path, no reserved name,
//! no two that differ in case only.

use std::collections::HashSet;

use cofferdam_trust::age::Recipient;
use cofferdam_types::{Error, ErrorKind, Result, Sha256};
use serde::{Deserialize, Serialize};

use crate::limits::{DEFAULT_VOLUME_BYTES, MAX_FILES};

/// How a transfer leaves.
#[derive(Clone, Debug)]
pub enum Door {
    /// Encrypted to the receiving site, cut into volumes, with parity.
    Sealed(Sealed),
    /// Flat files that any scanner can read, within the limits of the station.
    Inspectable(Profile),
}

/// The choices of a sealed transfer.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// Whose keys open it; at least one.
    pub recipients: Vec<Recipient>,
    /// Bytes of a volume.
    pub volume_size: u64,
    /// Parity in thousandths of the payload; 0 for none.
    pub parity_permille: u32,
}

impl Sealed {
    /// Five per cent of parity and volumes that any file system takes.
    #[must_use]
    pub const fn to(recipients: Vec<Recipient>) -> Self {
        Self { recipients, volume_size: DEFAULT_VOLUME_BYTES, parity_permille: 50 }
    }
}

/// What a station with scanners lets through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Profile {
    /// Files, at most.
    pub max_files: u64,
    /// Bytes of one file, at most.
    pub max_file_bytes: u64,
    /// Bytes of all files, at most.
    pub max_total_bytes: u64,
    /// Length of a name, at most (40 to 200 bytes).
    pub max_name: usize,
    /// Extensions that may pass, in lower case without the dot; all when empty.
    pub extensions: Vec<String>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            max_files: MAX_FILES,
            max_file_bytes: DEFAULT_VOLUME_BYTES,
            max_total_bytes: u64::MAX,
            max_name: 120,
            extensions: Vec::new(),
        }
    }
}

/// Names that some file system or program takes for a device.
const RESERVED: &[&str] =
    &["con", "prn", "aux", "nul", "com", "lpt", "autorun.inf", "desktop.ini", "thumbs.db"];

/// Whether `name` may name a flat file: 1 to 200 bytes of letters, digits and `._+-@`, no dot in front
/// or at the end, and no device's name.
#[must_use]
pub fn is_flat_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._+-@".contains(&b);
    let lower = name.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    let device = RESERVED.contains(&lower.as_str())
        || RESERVED.contains(&stem)
        || RESERVED.iter().any(|r| r.len() == 3 && stem.strip_prefix(r).is_some_and(|n| n.len() == 1));
    (1..=200).contains(&name.len())
        && name.bytes().all(good)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.')
        && !device
}

/// Chooses names, and holds a transfer to a profile.
#[derive(Debug)]
pub struct Names {
    profile: Profile,
    taken: HashSet<String>,
    bytes: u64,
}

impl Names {
    pub fn new(profile: Profile) -> Self {
        Self { profile, taken: HashSet::new(), bytes: 0 }
    }

    /// The name of a blob's flat file: its own where that can be, else with eight digits of its digest.
    pub fn choose(&mut self, wish: &str, sha256: &Sha256, size: u64) -> Result<String> {
        let short = &sha256.to_hex()[..8];
        let base = wish.rsplit('/').next().unwrap_or_default();
        let clean: String = base
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._+-@".contains(c) { c } else { '_' })
            .collect();
        let clean = clean.trim_start_matches(['.', '-']).trim_end_matches('.').to_owned();
        let room = self.profile.max_name.clamp(40, 200);
        let plain = clean.len() <= room && clean == base && is_flat_name(&clean);
        let name = if plain && !self.taken.contains(&clean.to_ascii_lowercase()) {
            clean
        } else {
            let keep = clean.len().saturating_sub(room - 9);
            format!("{short}-{}", &clean[keep..])
        };
        self.admit(&name, size)?;
        if !is_flat_name(&name) || !self.taken.insert(name.to_ascii_lowercase()) {
            return Err(Error::conflict("door-name", format!("no free name for `{wish}` at this door")));
        }
        Ok(name)
    }

    fn admit(&mut self, name: &str, size: u64) -> Result<()> {
        let p = &self.profile;
        self.bytes = self.bytes.saturating_add(size);
        let refuse = |what: String, hint: &str| {
            Err(Error::new(
                ErrorKind::PolicyRefused,
                "door-profile",
                format!("the door's profile refuses {what}"),
            )
            .hint(hint))
        };
        if size > p.max_file_bytes {
            let what = format!("`{name}`: it has {size} bytes, and {} are allowed", p.max_file_bytes);
            return refuse(
                what,
                "send it as a sealed transfer, or through a door that lets larger files through",
            );
        }
        if self.taken.len() as u64 >= p.max_files || self.bytes > p.max_total_bytes {
            let what = format!("more than {} files or {} bytes", p.max_files, p.max_total_bytes);
            return refuse(what, "pack fewer recordings at a time");
        }
        let extension = name.rsplit_once('.').map_or("", |(_, e)| e).to_ascii_lowercase();
        if !p.extensions.is_empty() && !p.extensions.contains(&extension) {
            return refuse(
                format!("`{name}`: only these extensions pass: {}", p.extensions.join(", ")),
                "ask for the extension to be allowed at the door, or send it as a sealed transfer",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_its_own_name_and_extension_wherever_that_is_safe() {
        let mut names = Names::new(Profile::default());
        let mut choose = |wish: &str| names.choose(wish, &Sha256::of(wish.as_bytes()), 1).unwrap();
        assert_eq!(choose("packages/ab/Django-5.1.2-py3-none-any.whl"), "Django-5.1.2-py3-none-any.whl");
        assert_eq!(choose("lodash-4.17.21.tgz"), "lodash-4.17.21.tgz");
        for odd in [
            "LODASH-4.17.21.tgz",
            "con.tgz",
            "COM1.txt",
            "../../etc/passwd\n",
            ".hidden",
            "",
            "ümlaut.tgz",
            "a.",
        ] {
            let name = choose(odd);
            assert!(is_flat_name(&name) && name.as_bytes()[8] == b'-', "{odd:?} became {name}");
        }
        let long = choose(&format!("{}.tar.gz", "x".repeat(400)));
        assert!(long.len() <= 120 && long.ends_with(".tar.gz"), "{long}");
    }

    #[test]
    fn a_profile_says_what_it_refuses_and_why() {
        let profile = Profile {
            max_files: 1,
            max_file_bytes: 10,
            extensions: vec!["whl".into()],
            ..Profile::default()
        };
        let mut names = Names::new(profile);
        let digest = Sha256::of(b"");
        for (wish, size) in [("a.exe", 1), ("a.whl", 11)] {
            let error = names.choose(wish, &digest, size).unwrap_err();
            assert_eq!((error.code(), error.message().contains(wish)), ("door-profile", true));
        }
        names.choose("a.whl", &digest, 10).unwrap();
        assert_eq!(names.choose("b.whl", &digest, 10).unwrap_err().code(), "door-profile");
    }
}
