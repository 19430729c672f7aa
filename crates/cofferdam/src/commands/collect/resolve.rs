//! `collect --from`: what lock files, lists of wants and collection files name, brought without running the build.
//!
//! Where a file names a version, its files are taken as the site's own index lists them. Where it names a range, or an
//! ecosystem that is recorded by address, the ecosystem's own client decides, in a recorded sandbox. What nobody can bring is
//! named, never left out in silence.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use cofferdam_crossing::{Collection, FILE_END, Mention, Observed};
use cofferdam_format_kit::{Format, ListedFile};
use cofferdam_lockfiles::{Ecosystem, Listed, Version};
use cofferdam_types::{Error, ImageReference, Result, Sha256, platform};
use futures::{StreamExt as _, stream};
use serde_json::json;

use super::{
    advisories::feed_of,
    fetch::{Fetch, Fetched, fetch_all},
    images, read,
    tools::{Tools, run_tools},
};
use crate::{
    cli::CollectArgs,
    client::Client,
    commands::{
        Context,
        mentions::{Mentions, mentions_in, mentions_of},
        progress::Bar,
        record::{self, Session},
    },
    output,
    site::formats,
    upstream_keys,
};

/// Indexes asked for at once.
const AT_ONCE: usize = 8;

/// Everything that was named.
#[derive(Default)]
struct Named {
    listed: Vec<(String, Listed)>,
    mentions: Vec<Mention>,
    notes: Vec<String>,
    collections: Vec<Collection>,
    tools: Tools,
}

impl Named {
    fn gather(from: &[PathBuf]) -> Result<Self> {
        let mut named = Self::default();
        for path in from {
            if path.to_string_lossy().ends_with(FILE_END) {
                named.collections.push(read(path)?);
                continue;
            }
            let (found, folder) = if path.is_dir() {
                (mentions_of(path)?, path.clone())
            } else {
                (mentions_in(path)?, path.parent().map_or_else(PathBuf::new, PathBuf::from))
            };
            named.add(found, folder);
        }
        Ok(named)
    }

    fn add(&mut self, found: Mentions, folder: PathBuf) {
        self.tools.files(&folder, &found.files, &found.listed);
        self.listed.extend(found.listed);
        self.mentions.extend(found.list);
        self.notes.extend(found.notes);
    }
}

/// `collect --from`.
pub async fn run(context: &Context, client: &Client, arguments: &CollectArgs) -> Result<ExitCode> {
    let Some(name) = &arguments.name else {
        return Err(Error::invalid("no-name", "give the collection a name").hint("--as NAME"));
    };
    let mut named = Named::gather(&arguments.from)?;
    let words = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let command = [vec!["collect".to_owned(), "--from".to_owned()], words(&arguments.from)].concat();
    let session = Session::start(client, name, &command).await?;
    let recorder = client.named(&session.record);
    let platforms = platforms(&arguments.platform);
    let (mut plan, mut left) = plan(client, &recorder, &mut named, &platforms).await?;
    plan.extend(named.collections.iter().flat_map(of_collection));
    let Fetched { files, bytes, failed } = fetch_all(&recorder, plan.into_iter().collect()).await;
    left.extend(failed);
    left.extend(run_tools(context, client, &session, named.tools).await?);
    left.sort();
    let observed = Observed { platform: platforms.join(","), ..Observed::default() };
    let body = upstream_keys::offered_with(json!({
        "exit_code": i64::from(!left.is_empty()), "listed": true, "observed": observed, "mentions": named.mentions,
    }));
    let ended = client.post(&format!("/api/v1/recordings/{}/end", session.id), &body).await?;
    let collection = record::collection(ended)?;
    if let Some(file) = &arguments.write {
        super::write(&collection, file)?;
    }
    let whole = left.is_empty();
    let value = json!({
        "id": session.id, "name": name, "releases": collection.items.len(), "fetched": files, "bytes": bytes,
        "complete": whole, "left": left, "notes": named.notes,
    });
    output::show(&value, context.json, |v| {
        let (size, releases) = (output::bytes(bytes), collection.items.len());
        let mut text = format!(
            "collected `{name}` as number {}: {releases} releases, {files} files fetched, {size}\n",
            v["id"]
        );
        for (what, why) in &left {
            text.push_str(&format!("  NOT collected: {what}: {why}\n"));
        }
        for note in &named.notes {
            text.push_str(&format!("  note: {note}\n"));
        }
        text.push_str("nothing was run, so nobody knows whether it is enough: a recorded build would\n");
        text.push_str(&format!("next: cofferdam pack --recording {name} --to SITE MEDIUM\n"));
        text
    });
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The platforms that are asked for; none is all.
fn platforms(asked: &[String]) -> Vec<String> {
    if asked.iter().any(|p| p == "all") {
        return Vec::new();
    }
    if asked.is_empty() {
        return vec![platform::platform(std::env::consts::OS, std::env::consts::ARCH)];
    }
    asked.to_vec()
}

/// The files of a collection's items, as their own addresses or paths.
fn of_collection(collection: &Collection) -> Vec<Fetch> {
    let mut all = Vec::new();
    for item in &collection.items {
        for file in &item.files {
            let path = match &item.address {
                Some(address) => web_path("web", address),
                None => Some(format!("/r/{}/{}", item.repository, encoded(&file.path))),
            };
            if let Some(path) = path {
                all.push(Fetch {
                    what: item.purl.clone(),
                    path,
                    expect: Some(file.sha256),
                    size: Some(file.size),
                    asked_by: None,
                });
            }
        }
    }
    all
}

/// What is to be fetched, and what cannot be.
async fn plan(
    client: &Client,
    recorder: &Client,
    named: &mut Named,
    platforms: &[String],
) -> Result<(BTreeSet<Fetch>, Vec<(String, String)>)> {
    let repositories: HashMap<String, String> =
        client.setups(None, "").await?.into_iter().map(|s| (s.format, s.repository)).collect();
    let web = repositories.get("web").map_or("web", String::as_str);
    let mut packages: BTreeMap<(Ecosystem, String), Vec<&Listed>> = BTreeMap::new();
    let (mut fetches, mut left, mut wanted) = (BTreeSet::new(), Vec::new(), images::Wanted::new());
    for (file, item) in &named.listed {
        let platform = |p: &String| platforms.iter().any(|asked| platform::serves(p, asked));
        if !platforms.is_empty() && !item.platforms.is_empty() && !item.platforms.iter().any(platform) {
            continue;
        }
        let what = format!("{} {} {} ({file}:{})", item.ecosystem, item.name, item.version, item.line);
        let exact = matches!(item.version, Version::Exact(_) | Version::Latest(_));
        match item.ecosystem {
            Ecosystem::Pypi | Ecosystem::Npm | Ecosystem::Cargo if exact => {
                packages.entry((item.ecosystem, item.name.clone())).or_default().push(item);
            }
            Ecosystem::Url => match web_path(web, &item.name) {
                Some(path) => {
                    fetches.insert(Fetch {
                        what,
                        path,
                        expect: sha256_of(&item.digests),
                        ..Fetch::default()
                    });
                }
                None => left.push((what, "it is no address of HTTP or HTTPS".into())),
            },
            Ecosystem::Oci => match image(item) {
                Ok(reference) => {
                    let asked = if item.platforms.is_empty() { platforms } else { &item.platforms };
                    let more = || (what, Some(BTreeSet::new()));
                    let (_, all) = wanted.entry(reference).or_insert_with(more);
                    // For all platforms once is for all of them.
                    *all = all.take().filter(|_| !asked.is_empty()).map(|mut all| {
                        all.extend(asked.iter().cloned());
                        all
                    });
                }
                Err(error) => left.push((what, error.message().to_owned())),
            },
            Ecosystem::Advisories => match feed_of(&item.name) {
                Ok(feed) => match web_path(web, &feed) {
                    Some(path) => drop(fetches.insert(Fetch { what, path, ..Fetch::default() })),
                    None => {
                        left.push((what, format!("{feed} is a folder here, and no address to collect from")))
                    }
                },
                Err(e) => left.push((what, [e.message(), e.advice().unwrap_or_default()].join(": "))),
            },
            _ => {
                if let Some(why) = named.tools.wants(&what, file, item, platforms) {
                    left.push((what, why));
                }
            }
        }
    }
    let known: HashMap<&str, Arc<dyn Format>> =
        formats().into_iter().map(|format| (format.name(), format)).collect();
    let (bar, total) = (Bar::new(), packages.len() as u64);
    let mut asked = stream::iter(packages)
        .map(|((ecosystem, name), items)| {
            let format = known.get(ecosystem.as_str()).cloned();
            let repository = repositories.get(ecosystem.as_str()).cloned();
            async move {
                let Some((format, repository)) = format.zip(repository) else {
                    let why = format!("this site has no repository of {ecosystem}");
                    return Err((format!("{ecosystem} {name}"), why));
                };
                let found = index(recorder, format.as_ref(), &repository, &name).await;
                let listed = found.map_err(|e| (format!("{ecosystem} {name}"), e.message().to_owned()))?;
                Ok(choose(format.as_ref(), &repository, (&name, &items), &listed, platforms))
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut done = 0;
    while let Some(one) = asked.next().await {
        done += 1;
        bar.stand("resolving (items)", done, total, 0);
        match one {
            Ok((files, lacking)) => {
                fetches.extend(files);
                left.extend(lacking);
            }
            Err(why) => left.push(why),
        }
    }
    bar.end();
    let (files, lacking) = images::plan(recorder, web, wanted).await;
    fetches.extend(files);
    left.extend(lacking);
    Ok((fetches, left))
}

/// The image that a file names.
fn image(item: &Listed) -> Result<ImageReference> {
    let digest = item.digests.first();
    let tag = item.version.exact().filter(|version| Some(*version) != digest.map(String::as_str));
    let (colon, at) = (tag.map(|t| format!(":{t}")), digest.map(|d| format!("@{d}")));
    ImageReference::parse(&format!("{}{}{}", item.name, colon.unwrap_or_default(), at.unwrap_or_default()))
}

/// The files of a package, as the site's index lists them.
async fn index(
    recorder: &Client,
    format: &dyn Format,
    repository: &str,
    name: &str,
) -> Result<Vec<ListedFile>> {
    let path = format.index_path(name).ok_or_else(|| Error::not_found("this format has no index"))?;
    let path = format!("/r/{repository}/{}", path.trim_start_matches('/'));
    let document = recorder.document(&path, format.index_accept()).await?;
    format.listed(name, &document)
}

type Chosen = (Vec<Fetch>, Vec<(String, String)>);

/// The files of the versions that are asked for.
fn choose(
    format: &dyn Format,
    repository: &str,
    (name, items): (&str, &[&Listed]),
    listed: &[ListedFile],
    platforms: &[String],
) -> Chosen {
    let (mut fetches, mut left) = (Vec::new(), Vec::new());
    for item in items {
        let suits = |file: &&ListedFile, asked: &[String]| {
            asked.is_empty()
                || file.platforms.is_empty()
                || file.platforms.iter().any(|p| asked.iter().any(|a| platform::serves(p, a)))
        };
        let versions = match &item.version {
            Version::Exact(version) => vec![version.clone()],
            Version::Latest(count) => newest(format, listed, *count as usize),
            _ => Vec::new(),
        };
        // npm has one file per version, which says itself where it runs: not all lock files say so, too.
        let one_file = item.ecosystem == Ecosystem::Npm;
        let asked = if one_file || item.platforms.is_empty() { platforms } else { &item.platforms };
        let before = fetches.len();
        for version in &versions {
            let same = |v: &str| v == version || format.compare_versions(v, version).is_eq();
            let these: Vec<&ListedFile> =
                listed.iter().filter(|f| same(&f.version)).filter(|f| suits(f, asked)).collect();
            // A digest of another kind than the index names says nothing; the lock file's client will check it.
            let known = |file: &&&ListedFile| file.digests.iter().any(|d| item.digests.contains(d));
            let comparable = |file: &&&ListedFile| {
                let kind = |d: &String| d.split(':').next().map(str::to_owned);
                item.digests.iter().any(|d| file.digests.iter().any(|f| kind(f) == kind(d)))
            };
            let strict = these.iter().any(|file| comparable(&file));
            for file in these.iter().filter(|file| !strict || known(file)) {
                fetches.push(Fetch {
                    what: format!("{} {name} {version}", item.ecosystem),
                    path: format!("/r/{repository}/{}", file.path.trim_start_matches('/')),
                    expect: sha256_of(&file.digests),
                    ..Fetch::default()
                });
            }
        }
        let elsewhere = |version: &String| {
            let mut these = listed.iter().filter(|file| file.version == *version).peekable();
            these.peek().is_some() && !these.any(|file| suits(&file, asked))
        };
        if one_file && !versions.is_empty() && versions.iter().all(elsewhere) {
            // npm itself leaves it out there, or refuses it.
            continue;
        }
        if fetches.len() == before {
            let what = format!("{} {name} {}", item.ecosystem, item.version);
            let why = if listed.iter().any(|f| versions.contains(&f.version)) {
                "upstream has this version, but no file for this platform with the lock file's digests"
            } else {
                "upstream has no such version"
            };
            left.push((what, why.into()));
        }
    }
    (fetches, left)
}

/// The newest versions that were not withdrawn; a pre-release only where there is nothing else.
fn newest(format: &dyn Format, listed: &[ListedFile], count: usize) -> Vec<String> {
    let mut versions: Vec<&String> = listed.iter().filter(|f| !f.yanked).map(|f| &f.version).collect();
    versions.sort_by(|a, b| format.compare_versions(b, a));
    versions.dedup();
    let plain = |v: &&&String| !v.chars().any(|c| c.is_ascii_alphabetic());
    let released: Vec<&String> = versions.iter().filter(plain).copied().collect();
    let from = if released.is_empty() { versions } else { released };
    from.into_iter().take(count).cloned().collect()
}

fn sha256_of(digests: &[String]) -> Option<Sha256> {
    digests.iter().find_map(|d| d.strip_prefix("sha256:")?.parse().ok())
}

/// Where a site keeps an address: `/r/web/https/host/path`.
pub fn web_path(repository: &str, address: &str) -> Option<String> {
    let (scheme, rest) = address.split('#').next()?.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let known = ["http", "https"].contains(&scheme.as_str()) && !rest.is_empty();
    let slash = if rest.contains('/') { "" } else { "/" };
    known.then(|| format!("/r/{repository}/{scheme}/{rest}{slash}"))
}

/// A path with what must be percent-encoded in an address.
fn encoded(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~/+@:!$&'()*,;=".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use cofferdam_format_npm::Npm;

    use super::*;

    fn listed(version: &str, platforms: &[&str]) -> ListedFile {
        ListedFile {
            version: version.into(),
            path: format!("rig/-/rig-{version}.tgz"),
            platforms: platforms.iter().map(|p| (*p).to_owned()).collect(),
            ..ListedFile::default()
        }
    }

    #[test]
    fn a_package_for_other_machines_that_its_lock_file_does_not_tell_apart_is_not_missed() {
        let index = [listed("1.0.0", &["macos-aarch64"]), listed("2.0.0", &[])];
        let of = |version: &str, platforms: &[&str], asked: &[&str]| {
            let lock = format!("# yarn lockfile v1\nrig@^1:\n  version \"{version}\"\n");
            let mut item = cofferdam_lockfiles::read("yarn.lock", &lock).unwrap().items.remove(0);
            item.platforms = platforms.iter().map(|p| (*p).to_owned()).collect();
            let asked: Vec<String> = asked.iter().map(|p| (*p).to_owned()).collect();
            let (files, left) = choose(&Npm, "npm", ("rig", &[&item]), &index, &asked);
            (files.len(), left.len())
        };
        // Yarn 1 says nothing of platforms, and Bun knows not all of them.
        assert_eq!(of("1.0.0", &[], &["linux-x86_64"]), (0, 0));
        assert_eq!(of("1.0.0", &["macos-any"], &["linux-x86_64"]), (0, 0));
        assert_eq!(of("1.0.0", &[], &["macos-aarch64"]), (1, 0));
        assert_eq!(of("1.0.0", &["any-none"], &[]), (1, 0), "all platforms are asked for");
        assert_eq!(of("2.0.0", &[], &["linux-x86_64"]), (1, 0));
        assert_eq!(of("3.0.0", &[], &["linux-x86_64"]), (0, 1), "nobody has it");
    }
}
