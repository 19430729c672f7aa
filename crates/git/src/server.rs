//! The folder of repositories and the environment of every git process.
//!
//! ```text
//! <root>
//!   <project id>.git   one bare repository per project
//!   config             the only configuration git reads
//!   hooks              the two hooks of every push, see `receive.rs`
//!   home               git's HOME: empty
//!   work               one folder per push or bundle in progress
//! ```
//!
//! A person's or the machine's git configuration must never have an effect here.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use cofferdam_types::{Error, ErrorKind, ProjectId, Result};
use tokio::process::Command;

use crate::{check_ref_name, process, receive};

/// The oldest git that fsyncs refs and keeps a push in quarantine as this crate needs it (2022).
const FLOOR: (u32, u32) = (2, 36);

/// How long a command that only looks something up may take.
pub(crate) const SHORT: Duration = Duration::from_secs(60);

/// The names of messages in git-fsck(1) that old but harmless histories trip over.
pub(crate) const FSCK_LENIENT: &[&str] = &["badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode"];

/// Git hosting through the git program of this machine.
#[derive(Clone, Debug)]
pub struct GitBinary(pub(crate) Arc<Server>);

/// The state behind [`GitBinary`]: the program, its folder, and who is pushing.
#[derive(Debug)]
pub(crate) struct Server {
    program: PathBuf,
    version: (u32, u32),
    root: PathBuf,
    path: std::ffi::OsString,
    /// Pushes in progress by project: while there are none, a quarantine folder is a leftover.
    pub(crate) pushes: Mutex<HashMap<ProjectId, usize>>,
}

impl GitBinary {
    /// Finds git on the process's `PATH` and makes `root` ready.
    ///
    /// # Errors
    /// `Unavailable` with an installation hint when there is no git or it is older than 2.36;
    /// `Unavailable` when the folder's file system does not let hooks run; `NoSpace` or `Internal`
    /// when the folder cannot be written.
    pub async fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, &std::env::var_os("PATH").unwrap_or_default()).await
    }

    async fn open_with(root: &Path, path: &std::ffi::OsStr) -> Result<Self> {
        let program = find(path)?;
        let version = version(&program).await?;
        if version < FLOOR {
            let (major, minor) = version;
            return Err(missing(format!(
                "git {major}.{minor} at {} is too old: {}.{} or newer is needed",
                program.display(),
                FLOOR.0,
                FLOOR.1
            )));
        }
        fs::create_dir_all(root).map_err(|e| Error::io("making the git folder", e))?;
        let root = root.canonicalize().map_err(|e| Error::io("opening the git folder", e))?;
        let pushes = Mutex::default();
        let git = Server { program, version, root, path: path.to_owned(), pushes };
        git.furnish().map_err(|e| Error::io("preparing the git folder", e))?;
        receive::prove_hooks_run(&git.hooks()).await?;
        Ok(Self(Arc::new(git)))
    }

    /// Major and minor version of the git in use.
    #[must_use]
    pub fn version(&self) -> (u32, u32) {
        self.0.version
    }

    /// Where the git in use is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.0.program
    }
}

impl Server {
    fn furnish(&self) -> io::Result<()> {
        for folder in ["hooks", "home", "work"] {
            fs::create_dir_all(self.root.join(folder))?;
        }
        write_whole(&self.root.join("config"), &self.configuration(), 0o600)?;
        for (name, script) in receive::HOOKS {
            write_whole(&self.hooks().join(name), script, 0o700)?;
        }
        self.sweep_work()
    }

    /// Removes the work folders of processes that are no longer there.
    fn sweep_work(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.work())? {
            let entry = entry?;
            let name = entry.file_name();
            let owner = name.to_str().and_then(|n| n.split('-').next()?.parse::<u32>().ok());
            let alive = owner.is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists());
            if !alive {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    fn configuration(&self) -> String {
        let hooks = quoted(&self.hooks());
        let lenient = |section: &str| -> String {
            FSCK_LENIENT.iter().fold(format!("[{section} \"fsck\"]\n"), |t, id| format!("{t}\t{id} = warn\n"))
        };
        format!(
            "# Written by cofferdam at every start.\n\
             [safe]\n\tdirectory = *\n\
             [core]\n\thooksPath = {hooks}\n\tfsync = all\n\tlogAllRefUpdates = false\n\
             [init]\n\tdefaultBranch = main\n\
             [transfer]\n\tfsckObjects = true\n\thideRefs = refs/cofferdam/\n\tunpackLimit = 1\n\
             [receive]\n\tautogc = false\n\tdenyDeleteCurrent = refuse\n\thideRefs = refs/pipelines/\n\
             [uploadpack]\n\tallowFilter = true\n\tallowAnySHA1InWant = true\n\
             [gc]\n\tautoDetach = false\n\
             [protocol]\n\tallow = never\n\
             {}{}",
            lenient("receive"),
            lenient("fetch")
        )
    }

    fn hooks(&self) -> PathBuf {
        self.root.join("hooks")
    }

    fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    fn repository(&self, project: ProjectId) -> PathBuf {
        self.root.join(format!("{project}.git"))
    }

    /// The folder of a project's repository; `NotFound` when there is none.
    pub(crate) fn existing(&self, project: ProjectId) -> Result<PathBuf> {
        let folder = self.repository(project);
        if folder.join("HEAD").is_file() {
            return Ok(folder);
        }
        Err(Error::not_found(format!("project {project} has no git repository")))
    }

    /// A private folder on the file system of the repositories, removed when dropped.
    pub(crate) fn scratch(&self) -> Result<tempfile::TempDir> {
        let prefix = format!("{}-", std::process::id());
        tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(self.work())
            .map_err(|e| Error::io("making a work folder", e))
    }

    /// `git` with nothing of this process's surroundings but the search path.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.root.join("home"))
            .env("XDG_CONFIG_HOME", self.root.join("home"))
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.root.join("config"))
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_DEFAULT_HASH", "sha1")
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that git's helpers and hooks end with it.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// `git --git-dir=<the project's repository>`.
    pub(crate) fn in_project(&self, project: ProjectId) -> Result<Command> {
        let folder = self.existing(project)?;
        let mut command = self.command();
        command.arg("--git-dir").arg(folder);
        Ok(command)
    }

    pub(crate) async fn init(&self, project: ProjectId, default_branch: &str) -> Result<()> {
        check_ref_name(&format!("refs/heads/{default_branch}"))?;
        let folder = self.repository(project);
        if folder.join("HEAD").is_file() {
            return Ok(());
        }
        // Made aside and moved into place, so that a crash leaves no half repository.
        let scratch = self.scratch()?;
        let new = scratch.path().join("new.git");
        let mut command = self.command();
        command.args(["init", "--quiet", "--bare", "--template=", "--initial-branch", default_branch, "--"]);
        command.arg(&new);
        process::run(command, None, 1 << 16, SHORT).await?.ok("git init")?;
        match fs::rename(&new, &folder) {
            Ok(()) => {}
            // Somebody else was faster: theirs is as good.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
            Err(e) => return Err(Error::io("placing a new repository", e)),
        }
        sync_dir(&self.root).map_err(|e| Error::io("placing a new repository", e))
    }

    pub(crate) async fn delete(&self, project: ProjectId) -> Result<()> {
        let scratch = self.scratch()?;
        match fs::rename(self.repository(project), scratch.path().join("old.git")) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io("removing a repository", e)),
        }
        tokio::task::spawn_blocking(move || scratch.close())
            .await
            .map_err(|e| Error::internal("removing a repository", e))?
            .map_err(|e| Error::io("removing a repository", e))
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync_dir(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Replaces a file by rename: another process of ours may be reading the old one.
fn write_whole(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder)?.into_temp_path();
    if mode & 0o111 == 0 {
        fs::write(&file, text)?;
    } else {
        // By another process: a script that is open for writing cannot be executed, and a child that any thread
        // of ours forks at this moment would hold our handle open until it has become another program.
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", "cat > \"$0\""])
            .arg(&file)
            .env_clear()
            .stdin(std::process::Stdio::piped())
            .spawn()?;
        let written =
            shell.stdin.take().map_or(Ok(()), |mut input| io::Write::write_all(&mut input, text.as_bytes()));
        if !shell.wait()?.success() {
            return Err(io::Error::other(format!("the shell could not write {}", path.display())));
        }
        written?;
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
    file.persist(path).map_err(|e| e.error)
}

/// A path as a value of git-config(1), and as an entry of `GIT_ALTERNATE_OBJECT_DIRECTORIES`.
pub(crate) fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""))
}

fn find(path: &std::ffi::OsStr) -> Result<PathBuf> {
    let runs =
        |file: &PathBuf| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join("git"))
        .find(runs)
        .ok_or_else(|| missing("git was not found on the PATH".into()))
}

async fn version(program: &Path) -> Result<(u32, u32)> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let out = process::run(command, None, 4096, SHORT).await?.ok("git --version")?;
    let text = String::from_utf8_lossy(&out);
    parse_version(&text)
        .ok_or_else(|| missing(format!("{} says no version a git would say", program.display())))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("git version ")?.split(['.', ' ']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn missing(message: String) -> Error {
    Error::new(ErrorKind::Unavailable, "git-missing", message)
        .hint("install git 2.36 or newer (package `git` of your distribution) and start again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_build_are_read() {
        assert_eq!(parse_version("git version 2.39.5\n"), Some((2, 39)));
        assert_eq!(parse_version("git version 2.50.1 (Apple Git-155)\n"), Some((2, 50)));
        assert_eq!(parse_version("git version 3.0.GIT"), Some((3, 0)));
        assert_eq!(parse_version("not git"), None);
    }

    #[tokio::test]
    async fn a_machine_without_git_is_told_what_to_install() {
        let root = tempfile::tempdir().expect("folder");
        let error =
            GitBinary::open_with(root.path(), root.path().as_os_str()).await.expect_err("no git there");
        assert_eq!(error.code(), "git-missing");
        assert!(error.advice().is_some_and(|hint| hint.contains("install git")));
    }
}
