//! Pages of repositories and packages.

use askama::Template;

use crate::{
    Frame,
    values::{Size, State, When},
};

/// A repository in a list.
#[derive(Clone, Debug)]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// Its package format.
    pub format: String,
    /// `hosted`, `mirror` or `group`.
    pub kind: String,
    /// The members of a group, in order.
    pub members: Vec<String>,
    /// Its generation.
    pub generation: u64,
    /// Packages, releases, files.
    pub counts: [u64; 3],
    /// Bytes of its files.
    pub bytes: Size,
}

/// `/repositories`.
#[derive(Template)]
#[template(path = "repositories.html")]
pub struct Repositories {
    /// Around it.
    pub frame: Frame,
    /// All of them.
    pub repositories: Vec<Repository>,
}

/// How a client is told to use a repository.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Files below the home directory.
    pub files: Vec<(String, String)>,
    /// Commands to type.
    pub commands: Vec<String>,
}

/// A package in a list.
#[derive(Clone, Debug)]
pub struct PackageLine {
    /// Its key.
    pub key: String,
    /// Its name as written.
    pub display: String,
    /// Its newest version.
    pub newest: String,
    /// How many releases it has.
    pub releases: usize,
}

/// `/repositories/{name}`.
#[derive(Template)]
#[template(path = "repository.html")]
pub struct Packages {
    /// Around it.
    pub frame: Frame,
    /// The repository.
    pub repository: Repository,
    /// Its address for clients.
    pub url: String,
    /// How to use it.
    pub setup: Setup,
    /// What was searched for; empty when nothing was.
    pub query: String,
    /// A page of its packages.
    pub packages: Vec<PackageLine>,
    /// The key after which the next page begins.
    pub next: Option<String>,
}

/// A file of a release.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path below the repository.
    pub path: String,
    /// Its digest.
    pub sha256: String,
    /// Its size.
    pub size: Size,
}

/// A release.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its version.
    pub version: String,
    /// `admitted` or `yanked`.
    pub state: State,
    /// Why it was yanked.
    pub yank_reason: String,
    /// When it was published.
    pub published: When,
    /// Its files.
    pub files: Vec<File>,
}

/// `/repositories/{name}/package/{key}`.
#[derive(Template)]
#[template(path = "package.html")]
pub struct Package {
    /// Around it.
    pub frame: Frame,
    /// The repository's name.
    pub repository: String,
    /// The package's key.
    pub key: String,
    /// The package's name as written.
    pub display: String,
    /// Pointers: name and version.
    pub pointers: Vec<(String, String)>,
    /// Its releases, newest first.
    pub releases: Vec<Release>,
}
