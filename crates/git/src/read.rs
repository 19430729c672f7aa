//! Reading: references, files, changes. Everything but a resolution is by object id, so that an
//! answer cannot change between two questions about the same commit.

use cofferdam_types::{Error, ErrorKind, ProjectId, Result, Timestamp};

use crate::{
    Oid,
    oid::shown,
    process::run,
    server::{SHORT, Server},
};

/// Bytes of names, or of a page of history, that one answer may have.
const MAX_ANSWER: usize = 64 << 20;
/// Bytes around a file in git's answer: its kind and size, and two line ends.
const AROUND_FILE: usize = 64;
/// The empty tree, which every repository knows without storing it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// A commit, for people. Text that is no UTF-8 is shown with replacements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// Its id.
    pub oid: Oid,
    /// Who wrote it.
    pub author: String,
    /// When, as its author said.
    pub at: Timestamp,
    /// Its first line.
    pub subject: String,
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Its path.
    pub path: String,
    /// Its size in bytes; 0 for a submodule.
    pub size: u64,
}

impl Server {
    pub(crate) async fn read_file(
        &self,
        project: ProjectId,
        commit: &Oid,
        path: &str,
        max: u64,
    ) -> Result<Option<Vec<u8>>> {
        if !is_tree_path(path) {
            return Ok(None);
        }
        let asked = format!("{commit}:{path}\n").into_bytes();
        let mut command = self.in_project(project)?;
        command.args(["cat-file", "--batch=%(objecttype) %(objectsize)"]);
        let room = usize::try_from(max).unwrap_or(usize::MAX).saturating_add(AROUND_FILE);
        let mut answer = match run(command, Some(asked.clone()), room, SHORT).await {
            Ok(out) => out.ok("git cat-file")?,
            // Then only its size is of interest.
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                let mut command = self.in_project(project)?;
                command.args(["cat-file", "--batch-check=%(objecttype) %(objectsize)"]);
                run(command, Some(asked), 1 << 16, SHORT).await?.ok("git cat-file")?
            }
            Err(error) => return Err(error),
        };
        let Some(head) = answer.iter().position(|b| *b == b'\n') else { return Ok(None) };
        let body = answer.split_off(head + 1);
        let Some(size) = blob_size(&answer) else { return Ok(None) };
        if size > max {
            let message = format!("`{}` has {size} bytes; {max} are allowed here", shown(path));
            return Err(Error::new(ErrorKind::TooLarge, "git-file-too-large", message));
        }
        match body.strip_suffix(b"\n") {
            Some(file) if file.len() as u64 == size => Ok(Some(file.to_vec())),
            _ => Err(Error::internal("git cat-file", "a file of another length than it said")),
        }
    }

    pub(crate) async fn list_refs(&self, project: ProjectId) -> Result<Vec<(String, Oid)>> {
        let mut command = self.in_project(project)?;
        command.args(["for-each-ref", "--format=%(objectname) %(refname)"]);
        let out = run(command, None, MAX_ANSWER, SHORT).await?.ok("git for-each-ref")?;
        let pair = |line: &str| {
            let (oid, name) = line.split_once(' ')?;
            Some((name.to_owned(), oid.parse().ok()?))
        };
        Ok(String::from_utf8_lossy(&out).lines().filter_map(pair).collect())
    }

    pub(crate) async fn log(&self, project: ProjectId, from: &Oid, limit: usize) -> Result<Vec<CommitInfo>> {
        let mut command = self.in_project(project)?;
        command
            .args(["log", "-z", "--no-show-signature", "--no-decorate", "--encoding=UTF-8"])
            .arg("--format=tformat:%H%x00%an%x00%at%x00%s")
            .arg(format!("--max-count={limit}"))
            .args([from.as_str(), "--"]);
        let out = run(command, None, MAX_ANSWER, SHORT).await?.ok("git log")?;
        let text = String::from_utf8_lossy(&out);
        let fields: Vec<&str> = text.split('\0').collect();
        fields.chunks_exact(4).map(commit).collect()
    }

    pub(crate) async fn changed_paths(
        &self,
        project: ProjectId,
        old: &Oid,
        new: &Oid,
    ) -> Result<Vec<String>> {
        let old = if old.is_zero() { EMPTY_TREE } else { old.as_str() };
        let mut command = self.in_project(project)?;
        command.args(["diff-tree", "-r", "-z", "--name-only", "--no-renames", old, new.as_str(), "--"]);
        let out = run(command, None, MAX_ANSWER, SHORT).await?.ok("git diff-tree")?;
        let text = String::from_utf8_lossy(&out);
        Ok(text.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
    }

    pub(crate) async fn list_tree(&self, project: ProjectId, commit: &Oid) -> Result<Vec<TreeEntry>> {
        let mut command = self.in_project(project)?;
        command.args(["ls-tree", "-r", "-z", "--long", "--full-tree", commit.as_str()]);
        let out = run(command, None, MAX_ANSWER, SHORT).await?.ok("git ls-tree")?;
        let entry = |line: &str| {
            let (facts, path) = line.split_once('\t')?;
            let size = facts.split_whitespace().nth(3)?.parse().unwrap_or(0);
            Some(TreeEntry { path: path.to_owned(), size })
        };
        Ok(String::from_utf8_lossy(&out).split('\0').filter_map(entry).collect())
    }
}

/// The size in `blob <size> LF`; nothing for other kinds and for what is missing.
fn blob_size(head: &[u8]) -> Option<u64> {
    std::str::from_utf8(head).ok()?.strip_prefix("blob ")?.trim_end().parse().ok()
}

/// Whether git would read this as a path from the root of a tree, and as one line.
fn is_tree_path(path: &str) -> bool {
    let odd = |part: &str| matches!(part, "" | "." | "..");
    path.len() <= 4096 && !path.contains(['\0', '\n', '\r']) && !path.split('/').any(odd)
}

fn commit(fields: &[&str]) -> Result<CommitInfo> {
    Ok(CommitInfo {
        oid: fields[0].parse()?,
        author: fields[1].to_owned(),
        at: Timestamp::from_seconds(fields[2].parse().unwrap_or(0)),
        subject: fields[3].to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_git_would_read_differently_are_none() {
        for good in ["a", ".gitlab-ci.yml", "a b/ü", "-x", "a:b"] {
            assert!(is_tree_path(good), "{good}");
        }
        for wrong in ["", "/a", "a/", "../a", "./a", "a//b", "a\nb"] {
            assert!(!is_tree_path(wrong), "{wrong:?}");
        }
    }
}
