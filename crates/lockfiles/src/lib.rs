//! What a project says that it needs: lock files, image references and our own want list.
//!
//! Text in, list out: start at [`read`]. Which facts are taken from which file stands in this crate's
//! `README.md`; each reader is one file here, named after its tool or its ecosystem.
//!
//! | what | where |
//! |---|---|
//! | the words: [`Ecosystem`], [`Version`], [`Listed`], [`Reading`] | `model` |
//! | which file is what | `kind` |
//! | bounds, merging of equal entries, the default registry of a file | `list` |
//! | JSON, YAML, TOML and XML as one bounded tree with line numbers | `tree` |
//! | who requires what, what is only for developing | `reach` |
//! | addresses, digests, image references | `address`, `digest`, `image` |
//!
//! This crate is pure: it must never touch a file, a socket or the environment, never run what it reads
//! (a `Gemfile.lock` is text), and never panic, hang or grow without bound on a hostile file. It knows no
//! host of any registry. What a file does not say it does not guess: it leaves a [`Note`].

mod address;
mod ansible;
mod cargo;
mod compose;
mod composer;
mod digest;
mod docker;
mod gem;
mod gitlab;
mod gitmodules;
mod go;
mod gradle;
mod helm;
mod image;
mod kind;
mod list;
mod maven;
mod model;
mod node;
mod nuget;
mod python;
mod reach;
mod terraform;
mod tree;
mod want;

use cofferdam_types::{Error, Result};

pub use kind::{Kind, kind_of};
pub use list::{MAX_ITEMS, MAX_NOTES};
pub use model::{Ecosystem, Listed, Note, ParseEcosystemError, Reading, Version};
pub use tree::{MAX_DEPTH, MAX_NODES};

use list::List;

/// Bytes of a file at the most.
pub const MAX_TEXT: usize = 16 << 20;

/// A file that is being read: its name is for errors and for the paths of what it includes.
#[derive(Clone, Copy)]
pub(crate) struct File<'a> {
    pub path: &'a str,
    pub text: &'a str,
}

impl File<'_> {
    /// A refusal: where, why, what to do.
    pub fn error(&self, line: u32, why: impl std::fmt::Display, todo: &str) -> Error {
        let path: String = self.path.chars().take(200).collect();
        Error::invalid("lock-file", format!("{path}, line {}: {why}", line.max(1))).hint(todo)
    }

    /// A refusal of a file that is not of the format its name promises.
    pub fn malformed(&self, line: u32, why: impl std::fmt::Display) -> Error {
        self.error(line, why, "write the file anew with the tool that made it, then try again")
    }

    /// Lines with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (u32, &str)> {
        (1..).zip(self.text.lines())
    }
}

/// Reads a file by its name or, where that says nothing, its first lines.
///
/// # Errors
/// `lock-file` when it is of no known kind, is malformed, or passes a bound; with file, line, why and what to
/// do next.
pub fn read(path: &str, text: &str) -> Result<Reading> {
    let Some(kind) = kind_of(path).or_else(|| kind::by_content(path, text)) else {
        return Err(File { path, text }.error(
            1,
            "neither its name nor its first lines say what it is",
            "give the file the name that its tool gives it, or write what is needed into cofferdam.want",
        ));
    };
    read_as(kind, path, text)
}

/// Reads a file of a known kind, whatever its name: what another file includes.
///
/// # Errors
/// As [`read`].
pub fn read_as(kind: Kind, path: &str, text: &str) -> Result<Reading> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = File { path, text };
    if text.len() > MAX_TEXT {
        return Err(file.error(
            1,
            format!("{} bytes, more than {MAX_TEXT}", text.len()),
            "split the project, or write what is needed into cofferdam.want",
        ));
    }
    let mut list = List::new(path);
    let to = &mut list;
    match kind {
        Kind::Requirements => python::requirements::read(file, to)?,
        Kind::UvLock => python::uv::read(file, to)?,
        Kind::PoetryLock => python::poetry::read(file, to)?,
        Kind::PdmLock => python::pdm::read(file, to)?,
        Kind::PipfileLock => python::pipenv::read(file, to)?,
        Kind::Pylock => python::pylock::read(file, to)?,
        Kind::NpmLock => node::npm::read(file, to)?,
        Kind::PnpmLock => node::pnpm::read(file, to)?,
        Kind::YarnLock => node::yarn::read(file, to)?,
        Kind::BunLock => node::bun::read(file, to)?,
        Kind::CargoLock => cargo::read(file, to)?,
        Kind::GoSum => go::read_sum(file, to)?,
        Kind::GoMod => go::read_mod(file, to)?,
        Kind::Pom => maven::read(file, to)?,
        Kind::GradleLock => gradle::read_lock(file, to)?,
        Kind::GradleWrapper => gradle::read_wrapper(file, to)?,
        Kind::Dockerfile => docker::read(file, to)?,
        Kind::Compose => compose::read(file, to)?,
        Kind::GitlabCi => gitlab::read(file, to)?,
        Kind::HelmChart => helm::read_chart(file, to)?,
        Kind::HelmValues => helm::read_values(file, to)?,
        Kind::TerraformLock => terraform::read(file, to)?,
        Kind::AnsibleRequirements => ansible::read(file, to)?,
        Kind::GemfileLock => gem::read(file, to)?,
        Kind::ComposerLock => composer::read(file, to)?,
        Kind::NugetLock => nuget::read(file, to)?,
        Kind::Gitmodules => gitmodules::read(file, to)?,
        Kind::Want => want::read(file, to)?,
    }
    list.finish(file, kind)
}
