//! Git history as one file for the journey: write what the other side lacks, take what arrived.
//!
//! The file is a version 2 git bundle (gitformat-bundle(5)), so that stock git can read it. Taking
//! one trusts nothing: its pack is indexed with fsck into a quarantine that only borrows from the
//! repository, connectivity is checked from every new tip, and only then are objects moved and refs
//! set. Which refs move is the caller's decision, from the signed manifest; a bundle that says
//! otherwise is refused.

use std::{
    fs,
    io::{self, BufRead as _, Read as _, Seek as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

use cofferdam_types::{Error, ProjectId, Result};

use crate::{
    Oid, check_ref_name,
    oid::shown,
    process::run,
    server::{FSCK_LENIENT, Server, quoted, sync_dir},
};

/// How long writing or checking one bundle may take.
const LIMIT: Duration = Duration::from_secs(4 * 3600);
/// Bytes of a bundle's header: 20,000 refs and prerequisites with long names.
const MAX_HEADER: u64 = 8 << 20;

impl Server {
    pub(crate) async fn bundle(
        &self,
        project: ProjectId,
        refs: &[String],
        have: &[Oid],
        file: &Path,
    ) -> Result<Vec<(String, Oid)>> {
        let names: Vec<&str> = refs.iter().map(String::as_str).collect();
        for name in &names {
            check_ref_name(name)?;
        }
        let now = self.objects(project, &names).await?;
        let mut entries = Vec::new();
        for (name, target) in names.iter().zip(now) {
            let target = target.ok_or_else(|| Error::not_found(format!("there is no ref `{name}`")))?;
            entries.push(((*name).to_owned(), target));
        }
        let asked: Vec<&str> = have.iter().map(Oid::as_str).collect();
        let known: Vec<Oid> = self.objects(project, &asked).await?.into_iter().flatten().collect();
        let wants: String = refs.iter().map(|name| format!("{name}\n")).collect();
        let haves: String = known.iter().map(|oid| format!("^{oid}\n")).collect();
        let input = format!("{wants}{haves}");

        let mut command = self.in_project(project)?;
        // One thread, so that the same history and the same git make the same bytes.
        command.args(["-c", "pack.threads=1", "bundle", "create", "--quiet", "--version=2"]);
        command.arg(file).arg("--stdin");
        let out = run(command, Some(input.into_bytes()), 1 << 16, LIMIT).await?;
        if out.status.success() {
            let file = fs::File::open(file).and_then(|f| f.sync_all());
            file.map_err(|e| Error::io("writing a bundle", e))?;
            return Ok(entries);
        }
        // The other side has every object already: the refs alone say what is new.
        if out.stderr.contains("empty bundle") {
            return Ok(entries);
        }
        Err(out.failure("git bundle create"))
    }

    pub(crate) async fn unbundle(
        &self,
        project: ProjectId,
        file: &Path,
        refs: &[(String, Oid)],
    ) -> Result<Vec<String>> {
        for (name, _) in refs {
            check_ref_name(name)?;
            if !name.starts_with("refs/heads/") && !name.starts_with("refs/tags/") {
                return Err(refs_differ(format!(
                    "`{name}` cannot come from a transfer: only branches and tags can"
                )));
            }
        }
        let objects = self.existing(project)?.join("objects");
        let scratch = self.scratch()?;
        let quarantine = scratch.path().join("objects");
        fs::create_dir_all(quarantine.join("pack")).map_err(|e| Error::io("making a quarantine", e))?;
        let bundle = open_bundle(file)?;
        if let Some((name, oid)) = bundle.heads.iter().find(|head| !refs.contains(head)) {
            return Err(refs_differ(format!(
                "the bundle has `{name}` at {oid}, which the transfer's manifest does not say"
            )));
        }
        self.index(project, bundle, &quarantine, &objects).await?;
        self.check_tips(project, refs, &quarantine, &objects).await?;
        tokio::task::spawn_blocking(move || adopt(&quarantine.join("pack"), &objects.join("pack")))
            .await
            .map_err(|e| Error::internal("moving objects out of quarantine", e))?
            .map_err(|e| Error::io("moving objects out of quarantine", e))?;
        let (refs, aside) = self.without_overwriting(project, refs).await?;
        self.set_refs(project, &refs).await?;
        Ok(aside)
    }

    /// A transfer never takes away what was done here: a branch that has gone another way in the
    /// meantime, or a tag that names something else, stays, and what arrived stands beside it.
    async fn without_overwriting(
        &self,
        project: ProjectId,
        refs: &[(String, Oid)],
    ) -> Result<(Vec<(String, Oid)>, Vec<String>)> {
        let here = self.list_refs(project).await?;
        let (mut out, mut aside) = (Vec::new(), Vec::new());
        for (name, new) in refs {
            let old = here.iter().find(|(n, _)| n == name).map(|(_, oid)| oid);
            let keep = match old {
                None => false,
                Some(old) if old == new => false,
                Some(old) if name.starts_with("refs/heads/") => !self.is_ancestor(project, old, new).await?,
                Some(_) => true,
            };
            if !keep {
                out.push((name.clone(), new.clone()));
            } else if let Some((kind, rest)) = name.strip_prefix("refs/").and_then(|n| n.split_once('/')) {
                let beside = format!("refs/{kind}/transferred/{rest}");
                out.push((beside.clone(), new.clone()));
                aside.push(beside);
            }
        }
        Ok((out, aside))
    }

    async fn is_ancestor(&self, project: ProjectId, old: &Oid, new: &Oid) -> Result<bool> {
        let mut command = self.in_project(project)?;
        command.args(["merge-base", "--is-ancestor", old.as_str(), new.as_str()]);
        let out = run(command, None, 1 << 10, LIMIT).await?;
        match out.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(out.failure("git merge-base")),
        }
    }

    /// A command that writes into the quarantine and reads from both.
    fn quarantined(
        &self,
        project: ProjectId,
        quarantine: &Path,
        objects: &Path,
    ) -> Result<tokio::process::Command> {
        let mut command = self.in_project(project)?;
        command
            .env("GIT_OBJECT_DIRECTORY", quarantine)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quoted(objects));
        Ok(command)
    }

    /// Checks every object of the bundle's pack and puts it into the quarantine.
    async fn index(
        &self,
        project: ProjectId,
        bundle: OpenBundle,
        quarantine: &Path,
        objects: &Path,
    ) -> Result<()> {
        let lenient: Vec<String> = FSCK_LENIENT.iter().map(|id| format!("{id}=warn")).collect();
        let mut command = self.quarantined(project, quarantine, objects)?;
        command
            .args(["index-pack", "--stdin", "--fix-thin"])
            .arg(format!("--strict={}", lenient.join(",")))
            .arg(format!("--max-input-size={}", bundle.pack_size))
            .stdin(Stdio::from(bundle.pack));
        let out = run(command, None, 1 << 16, LIMIT).await?;
        if out.status.success() {
            return Ok(());
        }
        let reason = out.stderr.lines().find_map(|l| l.strip_prefix("fatal: ")).map(shown);
        if out.status.code() != Some(128) || reason.as_ref().is_some_and(|r| r.contains("No space")) {
            return Err(out.failure("git index-pack"));
        }
        Err(unsound(format!("the bundle's pack does not hold: {}", reason.unwrap_or_default())))
    }

    /// Every new tip and all that it reaches must be there.
    async fn check_tips(
        &self,
        project: ProjectId,
        refs: &[(String, Oid)],
        quarantine: &Path,
        objects: &Path,
    ) -> Result<()> {
        let tips: String = refs.iter().map(|(_, oid)| format!("{oid}\n")).collect();
        if tips.is_empty() {
            return Ok(());
        }
        let mut command = self.quarantined(project, quarantine, objects)?;
        command.args(["rev-list", "--objects", "--quiet", "--stdin", "--not", "--all"]);
        let out = run(command, Some(tips.into_bytes()), 1 << 16, LIMIT).await?;
        if out.status.success() {
            return Ok(());
        }
        let reason = out.stderr.lines().next().map(shown).unwrap_or_default();
        Err(unsound(format!("the history is not complete: {reason}")))
    }
}

fn unsound(message: String) -> Error {
    Error::verification("git-bundle", message).hint("nothing was changed; have a full transfer packed")
}

fn refs_differ(message: String) -> Error {
    Error::verification("git-refs", message).hint("nothing was changed")
}

/// A bundle whose header is read.
struct OpenBundle {
    /// The refs it says it has.
    heads: Vec<(String, Oid)>,
    /// The file, standing at the first byte of the pack.
    pack: fs::File,
    pack_size: u64,
}

fn open_bundle(file: &Path) -> Result<OpenBundle> {
    let fail = |e| Error::io("reading a bundle", e);
    let mut reader = io::BufReader::new(fs::File::open(file).map_err(fail)?);
    let total = reader.get_ref().metadata().map_err(fail)?.len();
    let (mut heads, mut line, mut length) = (Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        let left = MAX_HEADER.saturating_sub(length);
        let read = (&mut reader).take(left).read_until(b'\n', &mut line).map_err(fail)?;
        if length == 0 && line != b"# v2 git bundle\n" {
            return Err(unsound("the file is no git bundle of version 2".into()));
        }
        let first = length == 0;
        length += read as u64;
        match line.as_slice() {
            b"\n" => break,
            [_, .., b'\n'] if first => {}
            // A commit that the receiver must have: the check of the tips finds out.
            [b'-', .., b'\n'] => {}
            [_, .., b'\n'] => heads.push(parse_head(&line)?),
            _ => return Err(unsound(format!("the bundle's header does not end within {MAX_HEADER} bytes"))),
        }
    }
    let mut pack = reader.into_inner();
    pack.seek(io::SeekFrom::Start(length)).map_err(fail)?;
    Ok(OpenBundle { heads, pack, pack_size: total - length })
}

/// `<id> SP <ref> LF`
fn parse_head(line: &[u8]) -> Result<(String, Oid)> {
    let text = std::str::from_utf8(line).ok().and_then(|t| t.trim_end_matches('\n').split_once(' '));
    let parsed = text.and_then(|(oid, name)| Some((name.to_owned(), oid.parse().ok()?)));
    parsed.ok_or_else(|| unsound("the bundle's header names a ref that cannot be read".into()))
}

/// Moves packs into the repository; the index last, because git takes a pack for present by it.
fn adopt(from: &Path, to: &Path) -> io::Result<()> {
    let mut files: Vec<_> = fs::read_dir(from)?.collect::<io::Result<_>>()?;
    files.sort_by_key(|entry| entry.path().extension().is_some_and(|e| e == "idx"));
    for entry in &files {
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    if files.is_empty() { Ok(()) } else { sync_dir(to) }
}
