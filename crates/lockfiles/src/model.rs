//! The words of this crate: what is listed, of which ecosystem, in which version.

use std::{fmt, str::FromStr};

use cofferdam_types::PackageUrl;

use crate::Kind;

/// Where a thing that is needed comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Python packages; names in their normal form (PEP 503).
    Pypi,
    /// JavaScript packages; `@scope/name`.
    Npm,
    /// Rust crates.
    Cargo,
    /// Go modules; names are module paths as written.
    Golang,
    /// Java artifacts; `group:artifact`.
    Maven,
    /// Debian packages.
    Deb,
    /// Container images; names as written, so a short name stays short.
    Oci,
    /// Helm charts.
    Helm,
    /// Terraform and OpenTofu providers; `host/namespace/type`, because the host is part of the identity.
    Terraform,
    /// Ansible collections and roles; `namespace.name`.
    Galaxy,
    /// A git repository; the name is its address, an exact version is a commit, tag or branch.
    Git,
    /// One file; the name is its address.
    Url,
    /// Security advisories about an ecosystem, which is the name.
    Advisories,
    /// Ruby gems.
    Gem,
    /// PHP packages; `vendor/name`.
    Composer,
    /// .NET packages.
    Nuget,
}

impl Ecosystem {
    /// Every ecosystem, in the order of their declaration.
    pub const ALL: [Self; 16] = [
        Self::Pypi,
        Self::Npm,
        Self::Cargo,
        Self::Golang,
        Self::Maven,
        Self::Deb,
        Self::Oci,
        Self::Helm,
        Self::Terraform,
        Self::Galaxy,
        Self::Git,
        Self::Url,
        Self::Advisories,
        Self::Gem,
        Self::Composer,
        Self::Nuget,
    ];

    /// The word for it in files and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pypi => "pypi",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
            Self::Golang => "golang",
            Self::Maven => "maven",
            Self::Deb => "deb",
            Self::Oci => "oci",
            Self::Helm => "helm",
            Self::Terraform => "terraform",
            Self::Galaxy => "galaxy",
            Self::Git => "git",
            Self::Url => "url",
            Self::Advisories => "advisories",
            Self::Gem => "gem",
            Self::Composer => "composer",
            Self::Nuget => "nuget",
        }
    }

    /// The type of its package URLs (purl specification, types); none when it has none, or when a package URL
    /// would need facts that no file names (a Debian package's distribution).
    #[must_use]
    pub const fn purl_type(self) -> Option<&'static str> {
        match self {
            Self::Pypi
            | Self::Npm
            | Self::Cargo
            | Self::Golang
            | Self::Maven
            | Self::Oci
            | Self::Gem
            | Self::Composer
            | Self::Nuget => Some(self.as_str()),
            Self::Deb
            | Self::Helm
            | Self::Terraform
            | Self::Galaxy
            | Self::Git
            | Self::Url
            | Self::Advisories => None,
        }
    }

    /// Whether its things are packages with a name and versions, rather than addresses, images or feeds.
    #[must_use]
    pub const fn has_packages(self) -> bool {
        !matches!(self, Self::Oci | Self::Git | Self::Url | Self::Advisories)
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no ecosystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseEcosystemError;

impl fmt::Display for ParseEcosystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Ecosystem::ALL.iter().map(|e| e.as_str()).collect();
        write!(f, "no such ecosystem; known are {}", names.join(", "))
    }
}

impl std::error::Error for ParseEcosystemError {}

impl FromStr for Ecosystem {
    type Err = ParseEcosystemError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|e| e.as_str() == text).ok_or(ParseEcosystemError)
    }
}

/// Which versions are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// This one.
    Exact(String),
    /// Those that satisfy this, in the ecosystem's own language.
    Range(String),
    /// So many of the newest.
    Latest(u32),
    /// The file does not say.
    Any,
}

impl Version {
    /// The exact version.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        if let Self::Exact(version) = self { Some(version) } else { None }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(version) => f.write_str(version),
            Self::Range(range) => f.write_str(range),
            Self::Latest(count) => write!(f, "the {count} newest"),
            Self::Any => f.write_str("any"),
        }
    }
}

/// One thing that a file says is needed.
///
/// A package whose bytes come from a git repository or from one address is listed as that ([`Ecosystem::Git`],
/// [`Ecosystem::Url`]), because that is what has to be brought; `asked_by` then has the package's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it comes from.
    pub ecosystem: Ecosystem,
    /// Its name there.
    pub name: String,
    /// Which versions.
    pub version: Version,
    /// Digests of files that will do, as `algorithm:value`, sorted: `sha256:`, `sha512:`, `sha1:`, `md5:` in
    /// hex; `h1:` as Go and Terraform write it; `go.mod:h1:` of a module's `go.mod` alone (a module with no
    /// other is read, not built); `zh:` of Terraform's archives; `nuget:` of a package without its signature.
    pub digests: Vec<String>,
    /// The registry's address without credentials, when the file names one that is not simply the default
    /// one. No registry's host is known here: the one that most entries of a file name is the default.
    pub source: Option<String>,
    /// Who in the file requires it, when the file says; sorted, at most 32.
    pub asked_by: Vec<String>,
    /// Platforms that it is needed on, `linux-x86_64`; empty is all.
    pub platforms: Vec<String>,
    /// The condition under which it is needed, as written.
    pub markers: Option<String>,
    /// Only for developing.
    pub dev: bool,
    /// Only where somebody chose an extra, or nothing fails without it.
    pub optional: bool,
    /// Where it is written, from 1.
    pub line: u32,
}

impl Listed {
    pub(crate) fn new(ecosystem: Ecosystem, name: impl Into<String>, version: Version, line: u32) -> Self {
        Self {
            ecosystem,
            name: name.into(),
            version,
            digests: Vec::new(),
            source: None,
            asked_by: Vec::new(),
            platforms: Vec::new(),
            markers: None,
            dev: false,
            optional: false,
            line,
        }
    }

    /// The package URL; only of an exact version, and of an image only with its digest, which is the version
    /// there (purl specification, `oci`).
    #[must_use]
    pub fn purl(&self) -> Option<PackageUrl> {
        let kind = self.ecosystem.purl_type()?;
        let version = self.version.exact()?;
        match self.ecosystem {
            Ecosystem::Oci => {
                let name = self.name.rsplit('/').next()?;
                Some(PackageUrl::new(kind, name, self.digests.first()?))
            }
            Ecosystem::Maven => Some(PackageUrl::new(kind, &self.name.replace(':', "/"), version)),
            _ => Some(PackageUrl::new(kind, &self.name, version)),
        }
    }
}

/// Something that a file has and that cannot be listed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Where, from 1.
    pub line: u32,
    /// What was understood, and what to do.
    pub text: String,
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What sort of file it is.
    pub kind: Kind,
    /// What it lists: sorted by ecosystem, name and version, each once.
    pub items: Vec<Listed>,
    /// What it has and cannot be listed, by line.
    pub notes: Vec<Note>,
    /// Other files of the same kind that it points to, below the same folder as the path given; to be read
    /// with [`crate::read_as`] and this `kind`.
    pub includes: Vec<String>,
}
