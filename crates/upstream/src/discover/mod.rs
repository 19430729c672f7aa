//! Which registries this person's clients use, asked from the clients themselves.
//!
//! | client | asked | file |
//! |---|---|---|
//! | pip | pip's own configuration code, then pip's own default | `pip.rs` |
//! | npm | `npm config get`, and the person's `.npmrc` for the token | `npm.rs` |
//! | Cargo | `config.toml`, `credentials.toml`, `CARGO_*`; the default from `crates-index` | `cargo.rs` |
//!
//! Only the person's own settings count, never a project's: clients are run in the folder that the
//! caller names (normally `/`). It must never open a socket, and never put a secret into a message.

mod address;
mod ask;
mod cargo;
mod npm;
mod pip;

use std::path::{Path, PathBuf};

use cofferdam_types::{Error, Result, Secret};
use url::Url;

/// One registry that a client uses.
#[derive(Clone, Debug)]
pub struct Found {
    /// The format that speaks to it: `pypi`, `npm` or `cargo`.
    pub format: &'static str,
    /// Its root, always with a trailing slash and without credentials.
    pub root: Url,
    /// Where that was read, in words for a person: `pip config`, `npm's own default`.
    pub source: String,
    /// The whole value of the `Authorization` header for the root's origin.
    pub credentials: Option<Secret<String>>,
    /// A PEM file of certificates to trust beside the system's.
    pub ca_bundle: Option<PathBuf>,
    /// A proxy that the client was told of; may hold a password.
    pub proxy: Option<Secret<String>>,
}

/// An address that the site's operator set; it wins over the client's configuration.
#[derive(Clone, Debug)]
pub struct Override {
    /// The format: `pypi`, `npm` or `cargo`.
    pub format: String,
    /// The registry's address; a user and password in it become credentials. `sparse+` is allowed.
    pub root: String,
    /// The whole value of the `Authorization` header.
    pub credentials: Option<Secret<String>>,
    /// A PEM file of certificates to trust beside the system's.
    pub ca_bundle: Option<PathBuf>,
}

/// What [`discover()`] learned.
#[derive(Debug, Default)]
pub struct Discovery {
    /// At most one registry per format.
    pub found: Vec<Found>,
    /// What the person's configuration says and Cofferdam does not do, in sentences.
    pub warnings: Vec<String>,
    /// The formats without a registry, and why.
    pub errors: Vec<(&'static str, Error)>,
}

impl Discovery {
    /// The registry of a format.
    #[must_use]
    pub fn of(&self, format: &str) -> Option<&Found> {
        self.found.iter().find(|found| found.format == format)
    }
}

/// What a client is asked with.
struct Person<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    home: &'a Path,
    cwd: &'a Path,
}

/// Asks one client; what the person should know besides goes to the sentences.
type Find = fn(&Person<'_>, &mut Vec<String>) -> Result<Found>;

impl Person<'_> {
    /// A variable that is set and not empty.
    fn var(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// The first of some variables that is set, as a path.
    fn path(&self, names: &[&str]) -> Option<PathBuf> {
        names.iter().find_map(|name| self.var(name)).map(PathBuf::from)
    }
}

/// Asks every client that Cofferdam knows. Blocks while clients run (bounded: 30 s each); call it off
/// the async threads. `env` reads the environment, `home` is the person's home, `cwd` the folder
/// that clients are run in.
#[must_use]
pub fn discover(
    env: &dyn Fn(&str) -> Option<String>,
    home: &Path,
    cwd: &Path,
    overrides: &[Override],
) -> Discovery {
    let person = Person { env, home, cwd };
    let mut out = Discovery::default();
    let clients: [(&'static str, Find); 3] =
        [("pypi", pip::find), ("npm", npm::find), ("cargo", cargo::find)];
    for (format, find) in clients {
        let set = overrides.iter().find(|o| o.format == format);
        let found = match set {
            Some(set) => overridden(format, set),
            None => find(&person, &mut out.warnings),
        };
        match found {
            Ok(found) => out.found.push(found),
            Err(error) => out.errors.push((format, error)),
        }
    }
    out
}

fn overridden(format: &'static str, set: &Override) -> Result<Found> {
    let source = "cofferdam.toml".to_owned();
    let (root, inline) = address::parse(&set.root, &source)?;
    Ok(Found {
        format,
        root,
        source,
        credentials: set.credentials.clone().or(inline),
        ca_bundle: set.ca_bundle.clone(),
        proxy: None,
    })
}
