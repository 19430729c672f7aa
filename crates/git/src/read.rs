//! Reading: references, files, changes.

use cofferdam_types::{Error, ErrorKind, ProjectId, Result, Timestamp};

use crate::{GitBinary, Oid};

/// A commit, for people.
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
    /// Its size in bytes.
    pub size: u64,
}

pub(crate) async fn resolve(git: &GitBinary, project: ProjectId, revision: &str) -> Result<Option<Oid>> {
    if revision.is_empty()
        || revision.starts_with('-')
        || revision.chars().any(|c| c.is_control() || c == ' ')
    {
        return Ok(None);
    }
    let mut command = git.within(project, ["rev-parse", "--quiet", "--verify", "--end-of-options"]);
    command.arg(format!("{revision}^{{commit}}"));
    match git.text(&command).await {
        // Some versions repeat the marker in front of the answer.
        Ok(text) => Ok(text.lines().last().and_then(|line| line.trim().parse().ok())),
        Err(_) => Ok(None),
    }
}

pub(crate) async fn read_file(
    git: &GitBinary,
    project: ProjectId,
    commit: &Oid,
    path: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>> {
    let object = format!("{commit}:{path}");
    let mut kind = git.within(project, ["cat-file", "-s"]);
    kind.arg(&object);
    let Ok(size) = git.text(&kind).await else { return Ok(None) };
    let size: u64 = size.trim().parse().map_err(|e| Error::internal("the size of a git object", e))?;
    if size > limit {
        return Err(Error::new(
            ErrorKind::TooLarge,
            "git-file-too-large",
            format!("`{path}` has {size} bytes; {limit} are allowed here"),
        ));
    }
    let mut command = git.within(project, ["cat-file", "blob"]);
    command.arg(&object);
    Ok(git.output(&command).await.ok())
}

pub(crate) async fn list_refs(git: &GitBinary, project: ProjectId) -> Result<Vec<(String, Oid)>> {
    let command = git.within(project, ["for-each-ref", "--format=%(objectname) %(refname)"]);
    let text = git.text(&command).await?;
    let pairs = text.lines().filter_map(|line| {
        let (oid, name) = line.split_once(' ')?;
        Some((name.to_owned(), oid.parse().ok()?))
    });
    Ok(pairs.collect())
}

pub(crate) async fn log(
    git: &GitBinary,
    project: ProjectId,
    commit: &Oid,
    limit: usize,
) -> Result<Vec<CommitInfo>> {
    let mut command = git.within(project, ["log", "--format=%H%x00%an%x00%at%x00%s"]);
    command.arg(format!("--max-count={limit}")).arg(commit.as_str()).arg("--");
    let text = git.text(&command).await?;
    let commits = text.lines().filter_map(|line| {
        let mut fields = line.split('\0');
        Some(CommitInfo {
            oid: fields.next()?.parse().ok()?,
            author: fields.next()?.to_owned(),
            at: Timestamp::from_seconds(fields.next()?.parse().ok()?),
            subject: fields.next()?.to_owned(),
        })
    });
    Ok(commits.collect())
}

pub(crate) async fn changed_paths(
    git: &GitBinary,
    project: ProjectId,
    old: &Oid,
    new: &Oid,
) -> Result<Vec<String>> {
    let mut command = git.within(project, ["diff-tree", "-r", "-z", "--name-only", "--no-renames"]);
    command.arg(old.as_str()).arg(new.as_str()).arg("--");
    let text = git.text(&command).await?;
    Ok(text.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect())
}

pub(crate) async fn list_tree(git: &GitBinary, project: ProjectId, commit: &Oid) -> Result<Vec<TreeEntry>> {
    let mut command = git.within(project, ["ls-tree", "-r", "-z", "--long", "--full-tree"]);
    command.arg(commit.as_str());
    let text = git.text(&command).await?;
    let entries = text.split('\0').filter_map(|line| {
        let (facts, path) = line.split_once('\t')?;
        let size = facts.split_whitespace().nth(3)?.parse().unwrap_or(0);
        Some(TreeEntry { path: path.to_owned(), size })
    });
    Ok(entries.collect())
}
