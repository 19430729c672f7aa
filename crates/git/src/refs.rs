//! Refs: look up, move, and the branch that `HEAD` names.

use cofferdam_types::{Error, ProjectId, Result};

use crate::{
    Oid, check_ref_name,
    oid::shown,
    process::run,
    server::{SHORT, Server},
};

/// Bytes of ids that one lookup answers with.
const MAX_ANSWER: usize = 16 << 20;

impl Server {
    /// The ids that names (checked refs, or ids themselves) have now, in the same order.
    pub(crate) async fn objects(&self, project: ProjectId, names: &[&str]) -> Result<Vec<Option<Oid>>> {
        let mut command = self.in_project(project)?;
        command.args(["cat-file", "--batch-check=%(objectname)"]);
        let input = names.iter().map(|name| format!("{name}\n")).collect::<String>();
        let out = run(command, Some(input.into_bytes()), MAX_ANSWER, SHORT).await?.ok("git cat-file")?;
        let ids: Vec<_> = String::from_utf8_lossy(&out).lines().map(|line| line.parse().ok()).collect();
        if ids.len() == names.len() {
            return Ok(ids);
        }
        Err(Error::internal("git cat-file", format!("{} answers to {} questions", ids.len(), names.len())))
    }

    pub(crate) async fn resolve(&self, project: ProjectId, rev: &str) -> Result<Option<Oid>> {
        let mut candidates = Vec::new();
        if rev == "HEAD" || rev.parse::<Oid>().is_ok() {
            candidates.push(rev.to_owned());
        } else if rev.starts_with("refs/") {
            candidates.push(rev.to_owned());
            candidates.retain(|name| check_ref_name(name).is_ok());
        } else {
            candidates.extend([format!("refs/heads/{rev}"), format!("refs/tags/{rev}")]);
            candidates.retain(|name| check_ref_name(name).is_ok());
            let short =
                (7..40).contains(&rev.len()) && rev.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            candidates.extend(short.then(|| rev.to_owned()));
        }
        if candidates.is_empty() {
            return Ok(None);
        }
        // A tag object is peeled to the commit it tags.
        let commits: Vec<String> = candidates.iter().map(|name| format!("{name}^{{commit}}")).collect();
        let commits: Vec<&str> = commits.iter().map(String::as_str).collect();
        Ok(self.objects(project, &commits).await?.into_iter().flatten().next())
    }

    /// Sets refs, all or none; zero deletes.
    pub(crate) async fn set_refs(&self, project: ProjectId, refs: &[(String, Oid)]) -> Result<()> {
        let mut input = b"start\0".to_vec();
        for (name, new) in refs {
            check_ref_name(name)?;
            // An empty third field: whatever it was before.
            input.extend(format!("option no-deref\0update {name}\0{new}\0\0").into_bytes());
        }
        input.extend(b"prepare\0commit\0");
        let mut command = self.in_project(project)?;
        command.args(["update-ref", "--stdin", "-z"]);
        let out = run(command, Some(input), 1 << 20, SHORT).await?;
        if out.status.success() {
            return Ok(());
        }
        let why = out.stderr.trim().strip_prefix("fatal: ").unwrap_or_default().to_owned();
        let conflict =
            ["is at", "reference already exists", "unable to resolve reference", "exists; cannot create"];
        if conflict.iter().any(|word| why.contains(word)) {
            return Err(Error::conflict(
                "ref-moved",
                format!("a ref is not where it should be: {}", shown(&why)),
            )
            .hint("somebody else moved it; look at it again and repeat"));
        }
        if why.contains("nonexistent object") || why.contains("non-commit object") {
            return Err(Error::invalid("ref-target", format!("a ref cannot be set: {}", shown(&why))));
        }
        Err(out.failure("git update-ref"))
    }

    /// The branch that `HEAD` names. Read from the file: every push needs it.
    pub(crate) fn head_branch(&self, project: ProjectId) -> Result<String> {
        let file = self.existing(project)?.join("HEAD");
        let text = std::fs::read_to_string(file).map_err(|e| Error::io("reading HEAD", e))?;
        let branch = text.trim_end().strip_prefix("ref: refs/heads/").map(str::to_owned);
        branch.ok_or_else(|| {
            Error::internal("HEAD of a repository", format!("names no branch: {}", shown(&text)))
        })
    }
}
