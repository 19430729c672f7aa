//! From "show this there" to mounts: works out, in the parent, which folders must be made, which
//! read-only folders must be rebuilt so that a mount point can exist, and in which order.
//!
//! The result is exact for the host as it was when the plan was made. Nothing is changed here, and
//! no plan ever creates anything on the host except inside a mount that the caller made writable.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use cofferdam_types::{Error, Result};

use crate::step::Step;
use crate::sys::{ATTR_NODEV, ATTR_NOSUID, ATTR_RDONLY};

/// Where the host's root is visible during set-up.
pub const HOST: &str = "/.host";
/// A folder with more entries than this cannot be rebuilt to hold a new mount point.
const MAX_REBUILT_ENTRIES: usize = 4096;

/// What a path inside is made of.
#[derive(Clone, Debug)]
enum Kind {
    /// A fresh tmpfs: anything can be created.
    Fresh { mode: u32 },
    /// The host, read-only.
    Host { source: PathBuf },
    /// Something that the caller asked for.
    Asked { source: PathBuf, writable: bool },
    /// An empty file over something that must not be read.
    Masked,
}

/// The mounts so far, the latest last.
#[derive(Debug, Default)]
pub struct Layout {
    layers: Vec<(PathBuf, Kind)>,
    /// The steps that make them.
    pub steps: Vec<Step>,
}

/// A path as the kernel takes it.
///
/// # Errors
/// `Invalid` when it holds a NUL byte.
pub fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::invalid("sandbox-path", format!("{} holds a NUL byte", path.display())))
}

/// The place of a host path during set-up.
pub fn on_host(path: &Path) -> PathBuf {
    Path::new(HOST).join(path.strip_prefix("/").unwrap_or(path))
}

impl Layout {
    /// Starts with the tmpfs that is the root.
    pub fn new() -> Self {
        Self { layers: vec![("/".into(), Kind::Fresh { mode: 0o755 })], steps: Vec::new() }
    }

    /// Mounts a fresh tmpfs.
    pub fn fresh(&mut self, target: &Path, mode: u32) -> Result<()> {
        self.prepare(target, true)?;
        self.steps.push(Step::Mount {
            kind: c"tmpfs".into(),
            target: c_path(target)?,
            flags: libc::MS_NOSUID | libc::MS_NODEV,
            data: CString::new(format!("mode={mode:o}")).unwrap_or_default(),
            optional: false,
        });
        self.layers.push((target.into(), Kind::Fresh { mode }));
        Ok(())
    }

    /// Shows an entry of the host's read-only base: link, folder or file.
    pub fn host_entry(&mut self, source: &Path, target: &Path) -> Result<()> {
        let Ok(about) = source.symlink_metadata() else { return Ok(()) };
        if about.is_symlink() {
            let Ok(points_to) = source.read_link() else { return Ok(()) };
            self.steps.push(Step::Link { path: c_path(target)?, points_to: c_path(&points_to)? });
            return Ok(());
        }
        if !about.is_dir() && !about.is_file() {
            return Ok(());
        }
        self.prepare(target, about.is_dir())?;
        self.bind(source, target, ATTR_RDONLY | ATTR_NODEV | ATTR_NOSUID)?;
        self.layers.push((target.into(), Kind::Host { source: source.into() }));
        Ok(())
    }

    /// Masks a path of the host, if it is there and not masked already.
    pub fn hide(&mut self, path: &Path) -> Result<()> {
        let Ok(path) = path.canonicalize() else { return Ok(()) };
        if path == Path::new("/") {
            return Err(Error::invalid("sandbox-hide", "the whole root cannot be hidden")
                .hint("name the folders that hold secrets"));
        }
        if matches!(self.layer(&path).1, Kind::Fresh { .. } | Kind::Masked) {
            return Ok(());
        }
        if path.is_dir() {
            let covered = self.below(&path);
            self.fresh(&path, 0o755)?;
            self.replay(covered.into_iter().filter(|(_, kind)| matches!(kind, Kind::Fresh { .. })).collect())
        } else {
            self.mask(&path)
        }
    }

    /// Shows something of the host where the caller wants it.
    pub fn ask(&mut self, source: &Path, target: &Path, writable: bool) -> Result<()> {
        let source = source.canonicalize().map_err(|error| {
            Error::invalid("sandbox-mount", format!("{} cannot be shown inside: {error}", source.display()))
                .hint("create it first, or take it out of the list of mounts")
        })?;
        let target = resolve(target)?;
        self.prepare(&target, source.is_dir())?;
        let attributes = ATTR_NOSUID | ATTR_NODEV | if writable { 0 } else { ATTR_RDONLY };
        self.bind(&source, &target, attributes)?;
        self.layers.push((target, Kind::Asked { source, writable }));
        Ok(())
    }

    /// Puts a small private file at a path, wherever the host's links lead; nothing when the host has
    /// no such file and its folder is read-only. `staged` already holds it.
    pub fn replace(&mut self, path: &Path, staged: &Path, text: &[u8]) -> Result<()> {
        let target = resolve(path)?;
        match &self.layer(&target).1 {
            Kind::Fresh { .. } => {
                if let Some(parent) = target.parent() {
                    self.prepare(parent, true)?;
                }
                self.steps.push(Step::File { path: c_path(&target)?, text: text.to_vec() });
            }
            Kind::Host { .. } if target.exists() => self.steps.push(Step::Bind {
                source: c_path(staged)?,
                target: c_path(&target)?,
                attributes: ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV,
                optional: false,
            }),
            _ => {}
        }
        Ok(())
    }

    /// The places where the caller and the private folders allow writing: the path and whether it is a folder.
    pub fn writable(&self) -> impl Iterator<Item = (&Path, bool)> {
        self.layers.iter().filter_map(|(path, kind)| match kind {
            Kind::Fresh { .. } if path != Path::new("/") => Some((path.as_path(), true)),
            Kind::Asked { source, writable: true } => Some((path.as_path(), source.is_dir())),
            _ => None,
        })
    }

    fn bind(&mut self, source: &Path, target: &Path, attributes: u64) -> Result<()> {
        let (source, target) = (c_path(&on_host(source))?, c_path(target)?);
        self.steps.push(Step::Bind { source, target, attributes, optional: false });
        Ok(())
    }

    fn mask(&mut self, path: &Path) -> Result<()> {
        self.bind(Path::new("/dev/null"), path, ATTR_RDONLY | ATTR_NOSUID)?;
        self.layers.push((path.into(), Kind::Masked));
        Ok(())
    }

    /// The topmost layer at a path: the last mounted one that contains it.
    fn layer(&self, path: &Path) -> &(PathBuf, Kind) {
        self.layers.iter().rev().find(|(at, _)| path.starts_with(at)).unwrap_or(&self.layers[0])
    }

    fn below(&self, path: &Path) -> Vec<(PathBuf, Kind)> {
        self.layers.iter().filter(|(at, _)| at.starts_with(path) && at != path).cloned().collect()
    }

    /// Makes sure that a mount point exists.
    fn prepare(&mut self, target: &Path, folder: bool) -> Result<()> {
        let (base, kind) = self.layer(target).clone();
        if base == target {
            return Ok(());
        }
        match kind {
            Kind::Fresh { .. } => self.create(&base, target, folder),
            Kind::Masked => Err(hidden_target(target)),
            Kind::Host { source } => {
                let Some(missing_in) = nearest_missing(&source, &base, target)? else { return Ok(()) };
                self.rebuild(&source, &base, &missing_in)?;
                self.prepare(target, folder)
            }
            Kind::Asked { source, writable } => match nearest_missing(&source, &base, target)? {
                None => Ok(()),
                Some(_) if writable => self.create(&base, target, folder),
                Some(_) => Err(Error::invalid(
                    "sandbox-mount",
                    format!(
                        "{} cannot be a mount point: {} is mounted read-only",
                        target.display(),
                        base.display()
                    ),
                )
                .hint("create the folder in the source, or mount it elsewhere")),
            },
        }
    }

    fn create(&mut self, base: &Path, target: &Path, folder: bool) -> Result<()> {
        let mut path = base.to_path_buf();
        let below: Vec<_> =
            target.strip_prefix(base).map(|rest| rest.components().collect()).unwrap_or_default();
        for (index, part) in below.iter().enumerate() {
            path.push(part);
            if index + 1 < below.len() || folder {
                self.steps.push(Step::Folder { path: c_path(&path)?, mode: 0o755 });
            } else {
                self.steps.push(Step::File { path: c_path(&path)?, text: Vec::new() });
            }
        }
        Ok(())
    }

    /// Replaces a read-only folder by a tmpfs with the same entries, so that more can be added.
    fn rebuild(&mut self, source: &Path, base: &Path, folder: &Path) -> Result<()> {
        let source = source.join(folder.strip_prefix(base).unwrap_or(Path::new("")));
        let entries = std::fs::read_dir(&source)
            .map_err(|error| Error::io(format!("listing {}", source.display()), error))?
            .take(MAX_REBUILT_ENTRIES + 1)
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|error| Error::io(format!("listing {}", source.display()), error))?;
        if entries.len() > MAX_REBUILT_ENTRIES {
            return Err(Error::invalid(
                "sandbox-mount",
                format!(
                    "{} has more than {MAX_REBUILT_ENTRIES} entries and no room for a mount point",
                    folder.display()
                ),
            )
            .hint("mount at the top level instead, e.g. at /build"));
        }
        let covered = self.below(folder);
        self.fresh(folder, 0o755)?;
        for entry in entries {
            self.host_entry(&entry.path(), &folder.join(entry.file_name()))?;
        }
        self.replay(covered)
    }

    /// Mounts again what a rebuilt or hidden folder has covered.
    fn replay(&mut self, covered: Vec<(PathBuf, Kind)>) -> Result<()> {
        for (target, kind) in covered {
            match kind {
                Kind::Fresh { mode } => self.fresh(&target, mode)?,
                Kind::Asked { source, writable } => self.ask(&source, &target, writable)?,
                Kind::Masked => self.mask(&target)?,
                Kind::Host { source } => self.host_entry(&source, &target)?,
            }
        }
        Ok(())
    }
}

fn hidden_target(target: &Path) -> Error {
    Error::invalid("sandbox-mount", format!("{} lies below a file that is hidden", target.display()))
}

/// The deepest existing folder above `target` when `target` does not exist below `source`.
fn nearest_missing(source: &Path, base: &Path, target: &Path) -> Result<Option<PathBuf>> {
    let (mut real, mut inside) = (source.to_path_buf(), base.to_path_buf());
    for part in target.strip_prefix(base).unwrap_or(Path::new("")).components() {
        real.push(part);
        match real.symlink_metadata() {
            Err(_) => return Ok(Some(inside)),
            Ok(about) if about.is_symlink() => {
                return Err(Error::invalid(
                    "sandbox-mount",
                    format!("the mount point {} passes the link {}", target.display(), real.display()),
                ));
            }
            Ok(_) => inside.push(part),
        }
    }
    Ok(None)
}

/// An absolute path with the host's links followed as far as it exists.
fn resolve(path: &Path) -> Result<PathBuf> {
    let plain = path.is_absolute() && !path.components().any(|part| part == Component::ParentDir);
    if !plain || path == Path::new("/") {
        return Err(Error::invalid(
            "sandbox-mount",
            format!("{} is not an absolute path below / without \"..\"", path.display()),
        ));
    }
    for known in path.ancestors() {
        if let Ok(real) = known.canonicalize() {
            return Ok(match path.strip_prefix(known) {
                Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
                _ => real,
            });
        }
        // A dangling link, e.g. into a /run that the host has not filled.
        if let (Ok(points_to), Some(parent)) = (known.read_link(), known.parent())
            && known == path
        {
            return resolve(&parent.join(points_to)).or(Ok(path.to_path_buf()));
        }
    }
    Ok(path.to_path_buf())
}
