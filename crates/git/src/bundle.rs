//! A project's history as one file, for transfers.
//!
//! A bundle comes from outside: its objects are checked (`transfer.fsckObjects`), fetched under
//! names of ours, compared with the references that the signed manifest promises, and only then do
//! the project's own references move, all at once.

use std::path::Path;

use cofferdam_types::{Error, ProjectId, Result};
use tokio::io::AsyncWriteExt as _;

use crate::{GitBinary, Oid, check_ref_name, read};

pub(crate) async fn write(
    git: &GitBinary,
    project: ProjectId,
    refs: &[String],
    have: &[Oid],
    out: &Path,
) -> Result<Vec<(String, Oid)>> {
    let all = read::list_refs(git, project).await?;
    let wanted: Vec<(String, Oid)> = all.into_iter().filter(|(name, _)| refs.contains(name)).collect();
    let mut command = git.within(project, ["bundle", "create", "--quiet", "--version=2"]);
    command.arg(out);
    for (name, _) in &wanted {
        check_ref_name(name)?;
        command.arg(name);
    }
    for oid in have {
        command.arg(format!("^{oid}"));
    }
    git.output(&command).await?;
    Ok(wanted)
}

pub(crate) async fn read(
    git: &GitBinary,
    project: ProjectId,
    bundle: &Path,
    refs: &[(String, Oid)],
) -> Result<()> {
    let broken = |e: Error| {
        Error::verification(
            "git-bundle",
            "the git part of the transfer is broken or builds on commits that are not here",
        )
        .hint("have a full transfer packed: `cofferdam pack --full`")
        .with_source(std::io::Error::other(e.internal_chain()))
    };
    let mut command =
        git.within(project, ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--end-of-options"]);
    command.arg(bundle).arg("+refs/*:refs/incoming/*");
    git.output(&command).await.map_err(broken)?;
    let done = promised(git, project, refs).await;
    let mut lines = String::new();
    if done.is_ok() {
        for (name, oid) in refs {
            lines.push_str(&format!("update {name} {oid}\n"));
        }
    }
    for (name, _) in read::list_refs(git, project).await? {
        if name.starts_with("refs/incoming/") {
            lines.push_str(&format!("delete {name}\n"));
        }
    }
    update(git, project, &lines).await?;
    done
}

/// Whether exactly the promised references arrived.
async fn promised(git: &GitBinary, project: ProjectId, refs: &[(String, Oid)]) -> Result<()> {
    let mut arrived = Vec::new();
    for (name, oid) in read::list_refs(git, project).await? {
        if let Some(rest) = name.strip_prefix("refs/incoming/") {
            arrived.push((format!("refs/{rest}"), oid));
        }
    }
    let mut expected = refs.to_vec();
    arrived.sort();
    expected.sort();
    for (name, _) in &expected {
        check_ref_name(name)?;
    }
    if arrived == expected {
        return Ok(());
    }
    Err(Error::verification(
        "git-refs",
        "the git part of the transfer holds other references than its manifest says",
    ))
}

/// One transaction of reference updates.
async fn update(git: &GitBinary, project: ProjectId, lines: &str) -> Result<()> {
    let invocation = git.within(project, ["update-ref", "--stdin"]);
    let failed = |e| Error::internal("updating references", e);
    let mut child = git.process(&invocation).stdin(std::process::Stdio::piped()).spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.as_bytes()).await.map_err(failed)?;
    }
    let done = child.wait_with_output().await.map_err(failed)?;
    if done.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(Error::internal("updating references", std::io::Error::other(text)))
}
