//! What stations on the way laid beside a transfer: found and read whole, neither parsed nor believed.
//!
//! Such a file is not in the signed header, for it came later. Whoever reads it verifies it: this module
//! must never let it decide anything.

use std::{io::Read as _, path::Path};

use cofferdam_types::Sha256;

use crate::{medium::Medium, name::Name, refusal::Refusal, survey::Survey};

/// A station's statement, bytes.
pub const MAX_STATION_BYTES: u64 = 1 << 20;
/// Statements on one transfer.
const MAX_STATIONS: usize = 64;

/// The only name a statement may have in a transfer: from the SHA-256 of its whole file.
#[must_use]
pub fn station_name(sha256: &Sha256) -> String {
    format!("station-{}.dsse.json", &sha256.to_hex()[..16])
}

/// Whether a file of this name is a station's statement.
#[must_use]
pub fn is_station_name(name: &str) -> bool {
    Name::parse(name) == Some(Name::Station)
}

impl Survey {
    /// Names of stations' statements that lie beside the transfer, ascending; none of them is read.
    pub fn stations(&self) -> impl Iterator<Item = &str> {
        self.medium.names.keys().map(String::as_str).filter(|name| is_station_name(name))
    }
}

/// Every station's statement in the folders of one transfer: name and bytes, ascending by name.
///
/// # Errors
/// As [`crate::Survey::open`] for the folders and their names; `too-large`, `unreadable`.
pub fn station_files(folders: &[&Path]) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
    let medium = Medium::open(folders)?;
    let names: Vec<&String> = medium.names.keys().filter(|name| is_station_name(name)).collect();
    if names.len() > MAX_STATIONS {
        return Err(Refusal::too_large(format!("it has more than {MAX_STATIONS} stations' statements")));
    }
    let read = |name: &&String| {
        let mut bytes = Vec::new();
        let mut input = medium.any(name)?.take(MAX_STATION_BYTES + 1);
        input.read_to_end(&mut bytes).map_err(|e| Refusal::io(name, &e))?;
        if bytes.len() as u64 > MAX_STATION_BYTES {
            return Err(Refusal::too_large(format!("it has more than {MAX_STATION_BYTES} bytes")).at(name));
        }
        Ok(((*name).clone(), bytes))
    };
    names.iter().map(read).collect()
}
