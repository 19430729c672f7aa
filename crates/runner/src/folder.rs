//! The private folder of one job on the host: `builds`, `home`, `tmp`, `control`, `out`.
//!
//! The job can write to the first three and read `control`; `out` is the runner's own. Whatever the
//! job wrote is read again only through checks for links, and nothing is left behind.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use cofferdam_sandbox::Mount;
use cofferdam_types::{Error, ErrorKind, Result};
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::env::{BUILDS, Environment, HOME};

/// Where `control` appears inside.
pub const CONTROL: &str = "/job";
const PREFIX: &str = "job-";
const MAX_HOME_FILES: usize = 256;
const MAX_HOME_BYTES: usize = 4 << 20;

/// One job's folder. Dropping it removes it as far as possible; [`JobFolder::remove`] does it thoroughly.
#[derive(Debug)]
pub struct JobFolder {
    folder: TempDir,
}

/// Makes the folder that holds job folders, and removes what a killed runner left there.
///
/// # Errors
/// Those of the file system.
pub fn prepare(work_dir: &Path) -> Result<()> {
    let failed = |e| Error::io(format!("preparing the runner's folder {}", work_dir.display()), e);
    DirBuilder::new().recursive(true).mode(0o700).create(work_dir).map_err(failed)?;
    fs::set_permissions(work_dir, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    for entry in fs::read_dir(work_dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let left = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if left && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

impl JobFolder {
    /// Makes the folder of job `id` below `work_dir`.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn new(work_dir: &Path, id: i64) -> Result<Self> {
        let failed = |e| Error::io("making a job's folder", e);
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{id}-"))
            .tempdir_in(work_dir)
            .map_err(failed)?;
        for name in ["builds", "home", "tmp", "control", "out"] {
            fs::create_dir(folder.path().join(name)).map_err(failed)?;
        }
        Ok(Self { folder })
    }

    /// Puts the project folder, file variables and home files in place. To be called before anything
    /// of the job runs, when no link can be in the way.
    ///
    /// # Errors
    /// `Invalid` for a home file that leads out of the home.
    pub fn fill(&self, env: &Environment) -> Result<()> {
        let project = self.outside(&env.project_dir);
        fs::create_dir_all(&project).map_err(|e| Error::io("making the project folder", e))?;
        let private = self.outside(&format!("{}.tmp", env.project_dir));
        fs::create_dir_all(&private).map_err(|e| Error::io("making a folder for file variables", e))?;
        for (name, text) in &env.files {
            write_private(&private.join(name), text)?;
        }
        for (name, text) in home_files(env)? {
            write_private(&self.path("home").join(name), &text)?;
        }
        Ok(())
    }

    /// One of the parts.
    pub fn path(&self, part: &str) -> PathBuf {
        self.folder.path().join(part)
    }

    /// What the job sees of it.
    pub fn mounts(&self) -> Vec<Mount> {
        [("builds", BUILDS, true), ("home", HOME, true), ("tmp", "/tmp", true), ("control", CONTROL, false)]
            .map(|(part, target, writable)| Mount {
                source: self.path(part),
                target: target.into(),
                writable,
            })
            .into()
    }

    /// Puts a script where the job can read it and returns its path inside.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn script(&self, name: &str, text: &str) -> Result<String> {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = name.get(..name.len().min(100)).unwrap_or("step").to_owned();
        let path = self.path("control").join(&name);
        fs::write(path, text).map_err(|e| Error::io("writing a job's script", e))?;
        Ok(format!("{CONTROL}/{name}"))
    }

    /// The project folder on the host, unless the job replaced it or a folder above it by a link.
    pub fn project(&self, env: &Environment) -> Option<PathBuf> {
        let mut path = self.path("builds");
        let below = env.project_dir.strip_prefix(BUILDS)?.trim_start_matches('/');
        for part in below.split('/') {
            path.push(part);
            if !path.symlink_metadata().ok()?.is_dir() {
                return None;
            }
        }
        Some(path)
    }

    /// Removes everything, also folders that the job made unreadable.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(self) -> Result<()> {
        let path = self.folder.keep();
        remove_tree(&path).map_err(|e| Error::io("removing a job's folder", e))
    }

    /// Leaves everything for a person to look at.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    fn outside(&self, inside: &str) -> PathBuf {
        self.path("builds").join(inside.strip_prefix(BUILDS).unwrap_or(inside).trim_start_matches('/'))
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    // A folder without permissions is opened on the way down, before it is listed.
    for entry in WalkDir::new(path).follow_links(false).follow_root_links(false) {
        let Ok(entry) = entry else { continue };
        if entry.file_type().is_dir() {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700))?;
        }
    }
    fs::remove_dir_all(path)
}

fn home_files(env: &Environment) -> Result<Vec<(PathBuf, String)>> {
    let Some(json) = &env.home_files else { return Ok(Vec::new()) };
    let wrong =
        |why: String| Error::invalid("job-home-files", format!("the files for the job's home: {why}"));
    let files: Vec<(String, String)> =
        serde_json::from_str(json).map_err(|e| wrong("not a list of pairs".into()).with_source(e))?;
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    if files.len() > MAX_HOME_FILES || bytes > MAX_HOME_BYTES {
        let message =
            format!("the job's home gets more than {MAX_HOME_FILES} files or {MAX_HOME_BYTES} bytes");
        return Err(Error::new(ErrorKind::TooLarge, "job-home-files", message));
    }
    for (name, _) in &files {
        let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || name.is_empty() || name.ends_with('/') || name.contains('\0') {
            return Err(wrong(format!("{name:?} is no path below the home")));
        }
    }
    Ok(files.into_iter().map(|(name, text)| (name.into(), text)).collect())
}

/// Writes a file that is its owner's alone, with the folders above it, in place of what was there.
///
/// # Errors
/// Those of the file system.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    let failed = |e| Error::io("writing a private file", e);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut file: File = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn environment(home: &str) -> Environment {
        let job = json!({ "id": 1, "token": "t", "variables": [
            { "key": "COFFERDAM_HOME_FILES", "value": home, "raw": true },
            { "key": "CI_PROJECT_PATH", "value": "group/tool" },
            { "key": "KEY", "value": "k", "file": true },
        ]});
        Environment::new(&serde_json::from_value(job).unwrap(), &[]).unwrap()
    }

    #[test]
    fn a_home_file_cannot_lead_out_of_the_home() {
        let work = tempfile::tempdir().unwrap();
        for name in ["../x", "/etc/x", "a/../../x", "", "a/"] {
            let folder = JobFolder::new(work.path(), 1).unwrap();
            let error = folder.fill(&environment(&json!([[name, "x"]]).to_string())).unwrap_err();
            assert_eq!(error.code(), "job-home-files", "{name}");
            assert_eq!(fs::read_dir(folder.path("home")).unwrap().count(), 0);
        }
    }

    #[test]
    fn home_files_and_file_variables_are_private() {
        let work = tempfile::tempdir().unwrap();
        let folder = JobFolder::new(work.path(), 1).unwrap();
        folder.fill(&environment(r#"[[".config/pip/pip.conf", "[global]\n"]]"#)).unwrap();
        let config = folder.path("home/.config/pip/pip.conf");
        assert_eq!(fs::read_to_string(&config).unwrap(), "[global]\n");
        assert_eq!(fs::metadata(config).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(folder.path("builds/group/tool.tmp/KEY")).unwrap(), "k");
    }

    #[test]
    fn a_project_that_became_a_link_is_not_entered() {
        let work = tempfile::tempdir().unwrap();
        let folder = JobFolder::new(work.path(), 1).unwrap();
        let env = environment("[]");
        folder.fill(&env).unwrap();
        assert!(folder.project(&env).is_some());
        fs::rename(folder.path("builds/group"), folder.path("builds/elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path("builds/group")).unwrap();
        assert!(folder.project(&env).is_none());
    }

    #[test]
    fn what_a_killed_runner_left_is_removed_at_the_next_start() {
        let work = tempfile::tempdir().unwrap();
        let kept = JobFolder::new(work.path(), 7).unwrap().keep();
        let closed = kept.join("builds/closed");
        fs::create_dir_all(closed.join("deep")).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        fs::write(work.path().join("other"), "stays").unwrap();
        prepare(work.path()).unwrap();
        assert_eq!(fs::read_dir(work.path()).unwrap().count(), 1);
    }
}
