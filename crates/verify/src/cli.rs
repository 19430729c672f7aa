//! The command line, and what it means.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use cofferdam_station::Engine;
use cofferdam_transfer::{Authority, Trust};
use cofferdam_trust::{Envelope, VerifyingKey, root::Root};
use cofferdam_types::{Error, Result};

/// A root document is never longer, bytes.
const MAX_ROOT_BYTES: u64 = 1 << 20;

/// Verifies a Cofferdam transfer: signatures, and every byte of every file. Imports nothing, writes nothing to
/// the medium, and has no network code.
///
/// Exit codes: 0 sound, 2 wrong use, 3 not what was signed, 6 files are missing, 8 no space, 1 anything else.
#[derive(Debug, Parser)]
#[command(name = "cofferdam-verify", version)]
pub struct Cli {
    /// The transfer's folder `CT1-...`; all of them, in any order, when it lies on several media
    #[arg(required_unless_present = "make_station_key")]
    pub folders: Vec<PathBuf>,

    /// A sender's public key that is believed (`cofferdam-ed25519:...`); repeat for several
    #[arg(long = "key", value_name = "KEY", conflicts_with = "root")]
    pub keys: Vec<String>,

    /// How many of these keys must have signed
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "root")]
    pub threshold: usize,

    /// A root document instead of keys: its roles collector and releaser must have signed. It is believed like a
    /// key: take it from somebody you trust, never from the medium
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,

    /// The root document's fingerprint, as somebody you trust told you: 64 hexadecimal digits
    #[arg(long, value_name = "SHA256", requires = "root")]
    pub root_fingerprint: Option<String>,

    /// Refuse what is not for this site
    #[arg(long = "for", value_name = "SITE")]
    pub destination: Option<String>,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,

    /// Sign what was seen, and write the statement into this folder
    #[arg(long, value_name = "DIR", requires_all = ["station", "person", "station_key"])]
    pub statement: Option<PathBuf>,

    /// This station's name, for the statement
    #[arg(long, value_name = "NAME", requires = "statement")]
    pub station: Option<String>,

    /// Your name, for the statement
    #[arg(long, value_name = "NAME", requires = "statement")]
    pub person: Option<String>,

    /// This station's private key, for the statement
    #[arg(long, value_name = "FILE", requires = "statement")]
    pub station_key: Option<PathBuf>,

    /// A scanner that looked at the files, for the statement: NAME,VERSION,DATE OF ITS DATA,VERDICT
    #[arg(long = "engine", value_name = "FACTS", requires = "statement", value_parser = engine)]
    pub engines: Vec<Engine>,

    /// Public key of another station: what it said about this transfer is verified and shown
    #[arg(long = "believe-station", value_name = "KEY")]
    pub stations: Vec<String>,

    /// Make this station's key as a new private file, print its public half, and do nothing else
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub make_station_key: Option<PathBuf>,
}

fn engine(text: &str) -> std::result::Result<Engine, String> {
    let parts: Vec<&str> = text.splitn(4, ',').map(str::trim).collect();
    let [name, version, data_date, verdict] = parts.as_slice() else {
        return Err("four facts are needed: NAME,VERSION,DATE OF ITS DATA,VERDICT".to_owned());
    };
    let owned = |text: &str| text.to_owned();
    Ok(Engine {
        name: owned(name),
        version: owned(version),
        data_date: owned(data_date),
        verdict: owned(verdict),
    })
}

/// Public keys from the command line.
///
/// # Errors
/// `Invalid` (`bad-public-key`).
pub fn parse_keys(texts: &[String]) -> Result<Vec<VerifyingKey>> {
    texts.iter().map(|text| text.parse()).collect()
}

impl Cli {
    /// Whom the person believes.
    ///
    /// # Errors
    /// `Invalid` for keys, root, fingerprint or site that are none; `VerificationFailed` (`root-fingerprint`).
    pub fn trust(&self) -> Result<Trust> {
        let site = |text: &String| text.parse().map_err(|e| Error::invalid("site-name", format!("{e}")));
        let this_site = self.destination.as_ref().map(site).transpose()?;
        let authority = match &self.root {
            Some(path) => Authority::Root(Box::new(read_root(path, self.root_fingerprint.as_deref())?)),
            None => Authority::Keys { keys: parse_keys(&self.keys)?, threshold: self.threshold },
        };
        Ok(Trust { authority, this_site })
    }
}

fn read_root(path: &Path, fingerprint: Option<&str>) -> Result<Root> {
    let shown = path.display();
    let unreadable = |e| Error::invalid("bad-root", format!("{shown} cannot be read: {e}"));
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_ROOT_BYTES {
        return Err(Error::invalid("bad-root", format!("{shown} is too long for a root document")));
    }
    let envelope = Envelope::from_json(&fs::read(path).map_err(unreadable)?)?;
    let fingerprint = match fingerprint {
        Some(text) => {
            let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            plain.to_lowercase().parse().map_err(|e| Error::invalid("bad-fingerprint", format!("{e}")))?
        }
        // The person who named the file answers for it; its own signatures must hold all the same.
        None => Root::read_unverified(&envelope)?.fingerprint()?,
    };
    Root::first(&envelope, fingerprint)
}
