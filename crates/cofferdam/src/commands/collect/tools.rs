//! Ecosystems' own clients, where only they know what a file means: run in a recorded sandbox, on a copy of the folder,
//! with nothing of the project's own code.
//!
//! Every command here only resolves and downloads: none may run a project's scripts.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use cofferdam_lockfiles::{Ecosystem, Kind, Listed, Version, kind_of};
use cofferdam_types::{Error, Result};

use super::scripts::{self, quoted};
use crate::{
    client::Client,
    commands::{
        Context,
        record::{Answers, Session, run_build},
        workplace::Workplace,
    },
};

/// What clients are to bring.
#[derive(Default)]
pub struct Tools {
    /// Folders with files of these kinds: the file's own folder, below the folder that was named.
    files: BTreeSet<(PathBuf, PathBuf, Kind)>,
    /// Ranges, by ecosystem: name and range.
    ranges: BTreeMap<Ecosystem, BTreeSet<(String, String)>>,
    /// Repositories to be cloned, with the words for people.
    clones: BTreeMap<scripts::Repository, String>,
    /// Debian packages, by architecture; the empty one is every one of this machine.
    packages: BTreeMap<String, BTreeSet<scripts::Package>>,
}

impl Tools {
    /// Notes the files that a client must read itself.
    pub fn files(&mut self, folder: &Path, files: &[(String, Kind)], listed: &[(String, Listed)]) {
        for (path, kind) in files {
            // Most charts need no other.
            let idle = *kind == Kind::HelmChart
                && !listed.iter().any(|(file, item)| file == path && item.ecosystem == Ecosystem::Helm);
            if command(*kind).is_some() && !idle {
                let below = Path::new(path).parent().unwrap_or(Path::new("")).to_owned();
                self.files.insert((folder.to_owned(), below, *kind));
            }
        }
    }

    /// Takes an item of a file that no index answers, for these platforms (none is all); why it cannot be brought, when it
    /// cannot.
    pub fn wants(&mut self, what: &str, file: &str, item: &Listed, platforms: &[String]) -> Option<String> {
        let range = match (&item.version, item.ecosystem) {
            (_, Ecosystem::Galaxy) if item.markers.as_deref() == Some("role") => {
                return Some("ansible-galaxy downloads no roles: record the build that installs it".into());
            }
            // Their lock files are read by their own client.
            (_, ecosystem) if self.reads(file, ecosystem) => return None,
            (Version::Range(range), Ecosystem::Pypi | Ecosystem::Npm | Ecosystem::Cargo) => range.clone(),
            (Version::Any, Ecosystem::Pypi | Ecosystem::Npm | Ecosystem::Cargo) => String::new(),
            (_, Ecosystem::Git) => {
                let found = scripts::repository(item);
                return found.map(|it| self.clones.entry(it).or_insert_with(|| what.to_owned())).err();
            }
            (_, Ecosystem::Deb) => return self.wants_package(item, platforms).err(),
            (_, Ecosystem::Advisories) => {
                return Some("name the feed's own address below `urls`".into());
            }
            (_, other) => {
                return Some(format!("nothing here resolves {other} without running: record the build"));
            }
        };
        self.ranges.entry(item.ecosystem).or_default().insert((item.name.clone(), range));
        None
    }

    /// Whether a client is asked about the file in which an item of an ecosystem stands.
    fn reads(&self, file: &str, ecosystem: Ecosystem) -> bool {
        let below = Path::new(file).parent().unwrap_or(Path::new(""));
        let asked = |kind: Kind| self.files.iter().any(|(_, folder, of)| folder == below && *of == kind);
        let own = |kind: Kind| asked(kind) && command(kind).is_some_and(|_| kind_of(file) == Some(kind));
        match ecosystem {
            // What stands in `go.mod` is in `go.sum`, too.
            Ecosystem::Golang => asked(Kind::GoSum),
            Ecosystem::Maven => own(Kind::Pom),
            Ecosystem::Terraform => own(Kind::TerraformLock),
            Ecosystem::Galaxy => own(Kind::AnsibleRequirements),
            Ecosystem::Helm => own(Kind::HelmChart),
            Ecosystem::Composer => own(Kind::ComposerLock),
            Ecosystem::Gem => own(Kind::GemfileLock),
            Ecosystem::Nuget => own(Kind::NugetLock),
            _ => false,
        }
    }

    fn wants_package(&mut self, item: &Listed, platforms: &[String]) -> std::result::Result<(), String> {
        let package = scripts::package(item)?;
        let asked = if item.platforms.is_empty() { platforms } else { &item.platforms };
        let mut architectures: Vec<String> = asked.iter().filter_map(|p| scripts::architecture(p)).collect();
        if asked.is_empty() {
            architectures.push(String::new());
        }
        if architectures.is_empty() {
            return Err(format!("Debian has no packages for {}", asked.join(", ")));
        }
        for architecture in architectures {
            self.packages.entry(architecture).or_default().insert(package.clone());
        }
        Ok(())
    }
}

/// Runs them one after the other; what failed, and why.
pub async fn run_tools(
    context: &Context,
    client: &Client,
    session: &Session,
    tools: Tools,
) -> Result<Vec<(String, String)>> {
    let mut left = Vec::new();
    for (folder, below, kind) in &tools.files {
        let Some((program, script)) = command(*kind) else { continue };
        let what = format!("{kind} in {}", folder.join(below).display());
        let mut place = Workplace::of(folder)?.hiding(context.home()?.path());
        left.extend(run(client, session, &mut place, below, (&what, program, script)).await?);
    }
    let empty = tempfile::tempdir().map_err(|e| Error::io("making a folder", e))?;
    for (ecosystem, ranges) in &tools.ranges {
        let mut place = Workplace::of(empty.path())?.hiding(context.home()?.path());
        let Some((program, script)) = resolving(*ecosystem, ranges) else { continue };
        let what = format!(
            "{ecosystem}: {}",
            ranges.iter().map(|(n, r)| format!("{n}{r}")).collect::<Vec<_>>().join(", ")
        );
        left.extend(run(client, session, &mut place, Path::new(""), (&what, program, &script)).await?);
    }
    let mut more: Vec<(String, &str, String)> = Vec::new();
    for (repository, what) in &tools.clones {
        more.push((what.clone(), "git", scripts::clones(repository)));
    }
    let own = std::env::var_os("APT_CONFIG").and_then(|file| std::fs::read_to_string(file).ok());
    for (architecture, packages) in &tools.packages {
        let names = packages.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let of = if architecture.is_empty() { String::new() } else { format!(" ({architecture})") };
        let script = scripts::downloads(architecture, packages, own.as_deref().unwrap_or_default());
        more.push((format!("deb {names}{of}"), "apt-get", script));
    }
    for (what, program, script) in &more {
        let mut place = Workplace::of(empty.path())?.hiding(context.home()?.path());
        left.extend(run(client, session, &mut place, Path::new(""), (what, program, script)).await?);
    }
    Ok(left)
}

async fn run(
    client: &Client,
    session: &Session,
    place: &mut Workplace,
    below: &Path,
    (what, program, script): (&str, &str, &str),
) -> Result<Option<(String, String)>> {
    if !on_path(program) {
        return Ok(Some((
            what.to_owned(),
            format!("`{program}` is not on this machine, and only it resolves this"),
        )));
    }
    eprintln!("asking {program} about {what}");
    let script = format!("cd './{}'\n{script}", below.display().to_string().replace('\'', "'\\''"));
    let command = ["sh", "-ec", &script].map(str::to_owned);
    let built = run_build(client, session.record.expose(), place, &command, Answers::Live, true).await?;
    if built.code == 0 {
        return Ok(None);
    }
    let tail = built.tail();
    let last = tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Ok(Some((what.to_owned(), format!("{program} ended with {}: {last}", built.code))))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The client that reads a file of a kind, and what it is told; none where the file itself says enough.
fn command(kind: Kind) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        Kind::GoSum => ("go", "go mod download all"),
        Kind::Pom => ("mvn", "mvn -B -q dependency:go-offline"),
        Kind::TerraformLock => ("terraform", "terraform providers mirror .cofferdam-mirror"),
        Kind::AnsibleRequirements => {
            ("ansible-galaxy", "ansible-galaxy collection download -r requirements.yml -p .cofferdam-galaxy")
        }
        // Chart.lock counts where its repositories are in the person's own settings; `update` wants no such thing.
        Kind::HelmChart => (
            "helm",
            "helm repo update >/dev/null 2>&1 || true\n\
             test -f Chart.lock && helm dependency build . 2>/dev/null || helm dependency update .",
        ),
        Kind::ComposerLock => ("composer", "composer install --no-scripts --no-plugins --no-interaction"),
        Kind::GemfileLock => ("bundle", "bundle cache --no-install --all-platforms"),
        Kind::NugetLock => ("dotnet", "dotnet restore --locked-mode"),
        _ => return None,
    })
}

/// The client that chooses versions for ranges.
fn resolving(ecosystem: Ecosystem, ranges: &BTreeSet<(String, String)>) -> Option<(&'static str, String)> {
    let all = |word: &dyn Fn(&str, &str) -> String| -> String {
        ranges.iter().map(|(name, range)| quoted(&word(name, range))).collect::<Vec<_>>().join(" ")
    };
    Some(match ecosystem {
        Ecosystem::Pypi => {
            let words = all(&|name, range| format!("{name}{range}"));
            ("python3", format!("python3 -m pip download --no-input --quiet --dest wheels -- {words}"))
        }
        Ecosystem::Npm => {
            let words =
                all(&|name, range| if range.is_empty() { name.into() } else { format!("{name}@{range}") });
            ("npm", format!("npm init --yes >/dev/null\nnpm install --ignore-scripts --no-audit -- {words}"))
        }
        Ecosystem::Cargo => {
            let lines: String = ranges
                .iter()
                .map(|(name, range)| {
                    let range = if range.is_empty() { "*" } else { range };
                    format!("{name:?} = {range:?}\n")
                })
                .collect();
            let text = format!(
                "[package]\nname = \"wanted\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[lib]\npath = \"lib.rs\"\n\
                 [dependencies]\n{lines}"
            );
            ("cargo", format!("printf '%s' {} > Cargo.toml\n: > lib.rs\ncargo fetch", quoted(&text)))
        }
        _ => return None,
    })
}
