//! What of this machine a build may see: the toolchains on the person's `PATH`, and not the home
//! that they live in.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use cofferdam_format_kit::ClientSetup;
use cofferdam_sandbox::{Limits, Mount, Network, SandboxSpec, SiteDoor, Stdio, Target};
use cofferdam_types::{Error, Result};

use crate::personal::Own;

/// The home of builds, inside.
pub const BUILD_HOME: &str = "/build/home";
/// Where the built folder is, inside.
pub const BUILD_WORK: &str = "/build/work";

/// Yarn 1 sends its token for scoped packages only, and then nobody knows whose recording the others belong to. It looks
/// for npm's settings in every folder above the project; npm, which would complain of this one, does not.
const YARN_1: (&str, &str) = ("/build/.npmrc", "always-auth=true\n");

/// Folders of this account's home that hold toolchains, not secrets: shown read-only inside.
const TOOLCHAINS: &[&str] = &[
    ".cargo/bin",
    ".rustup",
    ".pyenv",
    ".nvm",
    ".volta",
    ".local/bin",
    ".local/lib",
    ".local/share/uv",
    // Where pipx and the installers of Poetry and PDM put what stands in `.local/bin` as a link.
    ".local/share/pipx",
    ".local/pipx",
    ".local/share/pypoetry",
    ".local/share/pdm",
    ".asdf",
    ".sdkman",
    "go/bin",
    ".nodenv",
    ".rbenv",
];

/// Environment of this machine that a build needs to find its tools, and nothing else.
const PASSED: &[&str] =
    &["PATH", "LANG", "LC_ALL", "TZ", "TERM", "JAVA_HOME", "GOROOT", "PYENV_ROOT", "RUSTUP_HOME", "NVM_DIR"];

/// What is hidden and what is shown again.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// Folders that are empty inside.
    pub hide: Vec<PathBuf>,
    /// Folders that are shown read-only.
    pub mounts: Vec<Mount>,
    /// Environment.
    pub env: Vec<(String, String)>,
}

impl Toolchain {
    /// The toolchains of whoever runs this program. `secret` are more folders to hide (state folders).
    pub fn find(secret: &[PathBuf]) -> Self {
        let home =
            std::env::var_os("HOME").map(PathBuf::from).filter(|h| h.is_absolute() && *h != Path::new("/"));
        let mut hide: BTreeSet<PathBuf> = secret.iter().filter(|p| p.exists()).cloned().collect();
        let mut shown = BTreeSet::new();
        if let Some(home) = &home {
            hide.insert(home.clone());
            shown.extend(TOOLCHAINS.iter().map(|t| home.join(t)));
            if let Some(path) = std::env::var_os("PATH") {
                let own = std::env::split_paths(&path).filter(|p| p.starts_with(home) && p != home);
                shown.extend(own.flat_map(|bin| std::iter::once(bin.clone()).chain(behind(&bin, home))));
            }
        }
        for name in ["home", "root"].map(|n| Path::new("/").join(n)) {
            if home.as_deref().is_none_or(|h| !h.starts_with(&name)) && name.is_dir() {
                hide.insert(name);
            }
        }
        let mut env: Vec<(String, String)> =
            PASSED.iter().filter_map(|n| Some(((*n).to_owned(), std::env::var(n).ok()?))).collect();
        if let Some(home) = &home {
            let rustup = home.join(".rustup");
            if rustup.is_dir() && !env.iter().any(|(n, _)| n == "RUSTUP_HOME") {
                env.push(("RUSTUP_HOME".into(), rustup.display().to_string()));
            }
        }
        if let Some(real) = home.as_deref().and_then(pyenv_bin)
            && let Some((_, path)) = env.iter_mut().find(|(n, _)| n == "PATH")
        {
            *path = before_shims(path, &real.display().to_string());
        }
        // rustup must not try to fetch a toolchain: there is nowhere to fetch it from.
        env.push(("RUSTUP_AUTO_INSTALL".into(), "0".into()));
        let mounts = shown
            .into_iter()
            .filter(|p| p.is_dir())
            .map(|p| Mount { source: p.clone(), target: p, writable: false })
            .collect();
        Self { hide: hide.into_iter().collect(), mounts, env }
    }
}

/// What the programs of a folder on the `PATH` are nothing without, below a home: the virtual environment of Python
/// that it belongs to, or the packages that npm installed beside it.
fn behind(bin: &Path, home: &Path) -> Option<PathBuf> {
    let above = bin.parent().filter(|above| bin.ends_with("bin") && *above != home)?;
    if above.join("pyvenv.cfg").is_file() {
        return Some(above.to_owned());
    }
    Some(above.join("lib/node_modules")).filter(|packages| packages.is_dir())
}

/// A `PATH` on which a folder stands before pyenv's shims, and after what the person put before them: an active virtual
/// environment. At the front where there are no shims.
fn before_shims(path: &str, real: &str) -> String {
    let mut folders: Vec<&str> = path.split(':').collect();
    let at = folders.iter().position(|folder| folder.trim_end_matches('/').ends_with("/shims")).unwrap_or(0);
    folders.insert(at, real);
    folders.join(":")
}

/// pyenv's shims want to rewrite their own folder after every install, which is read-only inside:
/// the interpreter that they stand for comes before them on `PATH` instead.
fn pyenv_bin(home: &Path) -> Option<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map_or_else(|| home.join(".pyenv"), PathBuf::from);
    let named =
        std::env::var("PYENV_VERSION").or_else(|_| std::fs::read_to_string(root.join("version"))).ok()?;
    let bin = root.join("versions").join(named.lines().next()?.trim()).join("bin");
    bin.join("python3").exists().then_some(bin)
}

/// A command in a folder, with one door.
pub struct Build<'a> {
    /// The command.
    pub command: &'a [String],
    /// The folder that it may change.
    pub folder: &'a Path,
    /// Its empty private home.
    pub home: &'a Path,
    /// The site's socket address.
    pub site: SocketAddr,
    /// How its package clients are set up.
    pub setups: &'a [ClientSetup],
    /// What the person's own configuration says of the other clients.
    pub own: &'a Own,
    /// What to hide besides.
    pub secret: &'a [PathBuf],
}

/// The port of the site as seen inside: the same as outside, so that addresses in documents hold.
pub fn door(site: SocketAddr) -> SiteDoor {
    let listen = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), site.port());
    SiteDoor { listen, to: Target::Tcp(site) }
}

impl Build<'_> {
    /// The sandbox for it. Writes the clients' configuration files into the home.
    ///
    /// # Errors
    /// `Internal` when a file cannot be written.
    pub fn spec(&self) -> Result<SandboxSpec> {
        let toolchain = Toolchain::find(self.secret);
        let mut env = toolchain.env;
        env.push(("HOME".into(), BUILD_HOME.into()));
        env.push(("CARGO_HOME".into(), format!("{BUILD_HOME}/.cargo")));
        env.extend(self.own.env.iter().cloned());
        env.extend(self.setups.iter().flat_map(|setup| setup.env.iter().cloned()));
        // The site's own settings last: nothing of a person's leads a client of the site past it.
        for (path, text) in self.own.files.iter().chain(self.setups.iter().flat_map(|setup| &setup.files)) {
            let path = self.home.join(path);
            let folder = path.parent().unwrap_or(self.home);
            let failed = |e| Error::io("writing a client's configuration", e);
            std::fs::create_dir_all(folder).map_err(failed)?;
            std::fs::write(&path, text).map_err(failed)?;
        }
        let above = self.home.join(".npmrc-above");
        std::fs::write(&above, YARN_1.1).map_err(|e| Error::io("writing a client's configuration", e))?;
        let mut spec = SandboxSpec::new(self.command.iter().map(OsString::from));
        spec.env = env.into_iter().map(|(n, v)| (n.into(), v.into())).collect();
        spec.workdir = PathBuf::from(BUILD_WORK);
        spec.hide = toolchain.hide;
        spec.mounts = toolchain.mounts;
        for (source, target) in [(self.home, BUILD_HOME), (self.folder, BUILD_WORK)] {
            spec.mounts.push(Mount { source: source.to_owned(), target: target.into(), writable: true });
        }
        spec.mounts.push(Mount { source: above, target: YARN_1.0.into(), writable: false });
        spec.network = Network::Site(vec![door(self.site)]);
        spec.limits = Limits::default();
        (spec.stdin, spec.stdout, spec.stderr) = (Stdio::Null, Stdio::Inherit, Stdio::Inherit);
        spec.hostname = "build".into();
        Ok(spec)
    }
}

/// Makes every folder below one writable again, so that it can be removed: Go closes those of its module cache.
pub fn open_folders(root: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    // What cannot even be listed stays, as it would have done.
    for entry in walkdir::WalkDir::new(root).into_iter().filter_entry(|e| e.file_type().is_dir()) {
        let Ok(entry) = entry else { continue };
        let closed = entry.metadata().is_ok_and(|m| m.permissions().mode() & 0o700 != 0o700);
        if closed {
            let _ = std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o700));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_a_program_on_the_path_is_made_of_is_shown_with_it_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        for folder in ["tools/bin", "npm/bin", "npm/lib/node_modules", "plain/bin", "bin", "lib/node_modules"]
        {
            std::fs::create_dir_all(home.join(folder)).unwrap();
        }
        std::fs::write(home.join("tools/pyvenv.cfg"), "").unwrap();
        std::fs::write(home.join("pyvenv.cfg"), "").unwrap();
        assert_eq!(behind(&home.join("tools/bin"), home), Some(home.join("tools")));
        assert_eq!(behind(&home.join("npm/bin"), home), Some(home.join("npm/lib/node_modules")));
        for folder in ["plain/bin", "npm", "bin"] {
            assert_eq!(behind(&home.join(folder), home), None, "{folder}");
        }
    }

    #[test]
    fn an_active_virtual_environment_comes_before_the_interpreter_of_pyenv() {
        assert_eq!(
            before_shims("/v/bin:/h/.pyenv/shims:/bin", "/h/3/bin"),
            "/v/bin:/h/3/bin:/h/.pyenv/shims:/bin"
        );
        assert_eq!(before_shims("/v/bin:/bin", "/h/3/bin"), "/h/3/bin:/v/bin:/bin");
    }

    #[test]
    fn what_a_build_has_closed_can_be_removed() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("mod/cache@v1/deep");
        std::fs::create_dir_all(&inner).unwrap();
        let outer = inner.parent().unwrap();
        for folder in [inner.as_path(), outer] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o555)).unwrap();
        }
        open_folders(root.path());
        for folder in [outer, &inner] {
            assert_eq!(
                folder.metadata().unwrap().permissions().mode() & 0o777,
                0o700,
                "{}",
                folder.display()
            );
        }
    }
}
