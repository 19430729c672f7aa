//! The command line, and what it means.

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Parser;
use cofferdam_station::{Engine, Station};
use cofferdam_transfer::{Authority, Trust};
use cofferdam_trust::{Envelope, SigningKey, VerifyingKey, root::Root};
use cofferdam_types::{Error, Result};

/// A file with a root and its signatures is never longer, bytes; the root itself is bounded by its reader.
const MAX_ROOT_FILE_BYTES: u64 = 1 << 20;

/// Verifies a Cofferdam transfer: signatures, and every byte of every file. Imports nothing, writes nothing to
/// the medium, and has no network code.
///
/// Exit codes: 0 sound, 2 wrong use, 3 not what was signed, 4 refused by a rule, 6 files are missing, 8 no space, 1 anything else.
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
            None => Authority::Keys { keys: self.sender_keys()?, threshold: self.threshold },
        };
        Ok(Trust { authority, this_site })
    }

    /// Without a key nobody is believed, which is for the check itself to say; more signatures than there are
    /// keys to make them is a mistake on this command line.
    fn sender_keys(&self) -> Result<Vec<VerifyingKey>> {
        let keys = parse_keys(&self.keys)?;
        let distinct = keys.iter().collect::<BTreeSet<_>>().len();
        if self.threshold == 0 || self.threshold > distinct.max(1) {
            let text = format!("`--threshold {}` with {distinct} different key(s)", self.threshold);
            return Err(Error::invalid("bad-threshold", text)
                .hint("demand at least one signature, and give a `--key` for each"));
        }
        Ok(keys)
    }

    /// What a statement needs, all of it looked at; `None` when none is asked for.
    ///
    /// # Errors
    /// `Invalid` (`bad-station`, `statement-not-written`), and of the key file.
    pub fn signing(&self) -> Result<Option<Signing>> {
        let (Some(folder), Some(key)) = (&self.statement, &self.station_key) else { return Ok(None) };
        let station = Station {
            station: self.station.clone().unwrap_or_default(),
            person: self.person.clone().unwrap_or_default(),
            engines: self.engines.clone(),
        };
        station.check()?;
        if !folder.is_dir() {
            let text = format!("{} is no folder for the statement", folder.display());
            return Err(Error::invalid("statement-not-written", text).hint("name an existing folder"));
        }
        Ok(Some(Signing { station, folder: folder.clone(), key: SigningKey::read(key)? }))
    }
}

/// Who signs what was seen, and where that is written.
pub struct Signing {
    /// Name, person and scanners, checked.
    pub station: Station,
    /// An existing folder.
    pub folder: PathBuf,
    /// The station's key.
    pub key: SigningKey,
}

fn read_root(path: &Path, fingerprint: Option<&str>) -> Result<Root> {
    let shown = path.display();
    let unreadable = |e| Error::invalid("bad-root", format!("{shown} cannot be read: {e}"));
    let mut bytes = Vec::new();
    // What is named may be a pipe: it has no length, and no end either.
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_ROOT_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_ROOT_FILE_BYTES {
        return Err(Error::invalid("bad-root", format!("{shown} is too long for a root document")));
    }
    let envelope = Envelope::from_json(&bytes)?;
    let Some(text) = fingerprint else {
        // The person who named the file answers for it; its own signatures must hold all the same.
        return Root::self_signed(&envelope);
    };
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let parsed = plain.to_lowercase().parse();
    Root::first(&envelope, parsed.map_err(|e| Error::invalid("bad-fingerprint", format!("{e}")))?)
}
