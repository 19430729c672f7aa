//! A site's state folder.
//!
//! ```text
//! cofferdam.toml   configuration
//! keys/site.key    the site's signing key (0600; never leaves)
//! keys/site.age    the site's key for what is sealed to it (0600; never leaves; `age -i` reads it)
//! ledger           every transfer that was taken in, one a line
//! partial/         what has arrived of large downloads; removed when they are whole, or after 7 days
//! staging/         transfers that are being received; empty when nothing is
//! site.db          the database, when it is SQLite
//! blobs/           bytes by digest
//! git/             repositories by project number
//! runner/          the built-in runner's work; empty when it is idle
//! ```

use std::path::{Path, PathBuf};

use cofferdam_trust::{SigningKey, age::SealingKey};
use cofferdam_types::{Error, Result};

use crate::config::Config;

/// Paths in a state folder.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    /// The folder that was named, or the usual one of this account.
    ///
    /// # Errors
    /// `Invalid` when neither is known.
    pub fn find(named: Option<&Path>) -> Result<Self> {
        if let Some(path) = named {
            return Ok(Self(
                std::path::absolute(path).map_err(|e| Error::io("finding the state folder", e))?,
            ));
        }
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let usual = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")));
        usual.map(|p| Self(p.join("cofferdam"))).ok_or_else(|| {
            Error::invalid("home", "no state folder is known")
                .hint("name one with --home DIR or COFFERDAM_HOME")
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.0.join("cofferdam.toml")
    }

    /// The configuration.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn config(&self) -> Result<Config> {
        Config::load(&self.config_file())
    }

    /// The signing key's file.
    pub fn key_file(&self) -> PathBuf {
        self.0.join("keys/site.key")
    }

    /// The signing key.
    ///
    /// # Errors
    /// `Invalid` or `Internal` when it cannot be read.
    pub fn key(&self) -> Result<SigningKey> {
        SigningKey::read(&self.key_file())
    }

    /// The file of the key for what is sealed to this site.
    pub fn sealing_file(&self) -> PathBuf {
        self.0.join("keys/site.age")
    }

    /// The key for what is sealed to this site; made where a site of an earlier version has none.
    ///
    /// # Errors
    /// `Invalid` or `Internal` when it cannot be read or made.
    pub fn sealing_key(&self) -> Result<SealingKey> {
        if !self.sealing_file().exists() {
            SealingKey::generate()?.write_new(&self.sealing_file())?;
        }
        SealingKey::read(&self.sealing_file())
    }

    /// The ledger of transfers.
    pub fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    /// The folder of receptions in progress.
    pub fn staging(&self) -> PathBuf {
        self.0.join("staging")
    }

    /// The folder of downloads that are not whole yet.
    pub fn partial(&self) -> PathBuf {
        self.0.join("partial")
    }

    /// The SQLite file.
    pub fn database(&self) -> PathBuf {
        self.0.join("site.db")
    }

    /// The folder of blobs.
    pub fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// The folder of git repositories.
    pub fn git(&self) -> PathBuf {
        self.0.join("git")
    }

    /// The built-in runner's folder.
    pub fn runner(&self) -> PathBuf {
        self.0.join("runner")
    }
}
