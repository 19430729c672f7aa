//! Package archives of Debian's kind: the signed `Release`, the indexes that it lists, and the packages that those list.
//!
//! | checked | with |
//! |---|---|
//! | the signature of `InRelease`, or of `Release` in `Release.gpg` | keys for that address: the site's, else those that the recording brought |
//! | an index (`Packages.xz`, by name or by hash) | digest and size in that `Release` |
//! | a package | name, digest and size in a `Packages` so listed |
//!
//! What came together may be of different times: an index that is older or newer than its `Release`, a package that the
//! index does not know. That is not checked, and not wrong. Wrong is a signature that a known key did not make, a file
//! that is not what its own name says (by hash), and a package with other bytes than a signed index lists under a name
//! that holds its version: such a name is never used twice. `Valid-Until` is not looked at, since what is carried is
//! older than what is served; nor are `Sources`, differences of indexes, and indexes packed otherwise than xz and gzip.

mod packages;
mod release;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cofferdam_format_kit::{
    Door, DoorExt as _,
    joined::{Finding, Joined, UpstreamKeys, Verdict},
};
use cofferdam_types::{Result, Sha256};

use self::{
    packages::{Entry, Wanted},
    release::{Release, Trust},
};
use super::{Answer, Leads, shown, without_scheme};

/// The kind of proof, and the code of a failure.
const KIND: &str = "debian-archive";
/// Indexes that are read at the most, and their bytes before unpacking.
const MOST_INDEXES: usize = 512;
const MOST_BYTES: u64 = 1 << 30;

/// An index, and what vouches for it.
struct Index {
    answer: usize,
    /// Where its packages' paths may begin.
    roots: Vec<String>,
    /// For people: which one.
    shown: String,
    trust: Trust,
}

/// What archives among these answers say of the packages among these.
///
/// # Errors
/// Only faults of the door.
pub async fn join(
    answers: &[Answer<'_>],
    leads: &Leads,
    keys: &UpstreamKeys,
    door: &dyn Door,
) -> Result<Joined> {
    let releases = release::all(answers, keys, door).await?;
    let mut joined = Joined::default();
    let mut find = |path: &str, verdict, text: String| {
        joined.findings.push(Finding { path: path.to_owned(), kind: KIND.into(), verdict, text });
    };
    for release in &releases {
        let Trust { verdict, text, .. } = &release.trust;
        let place = shown(without_scheme(&release.folder));
        let time = if *verdict == Verdict::Holds { "; until when it is valid was not looked at" } else { "" };
        find(release.path, *verdict, format!("archive {place}: {text}{time}"));
    }
    let (mut indexes, said) = indexes(answers, leads, &releases);
    for (at, (verdict, text)) in said {
        if let Some(answer) = answers.get(at) {
            find(answer.path, verdict, text);
        }
    }
    let wanted = wanted(answers, leads);
    let entries = read(answers, &mut indexes, &wanted, door).await?;
    for (at, (verdict, text)) in judge_packages(answers, &indexes, &wanted, &entries) {
        if let Some(answer) = answers.get(at) {
            find(answer.path, verdict, text);
        }
    }
    let good = releases.into_iter().filter(|r| r.trust.verdict == Verdict::Holds);
    joined.keys.archives.extend(good.filter_map(|r| r.trust.key));
    joined.keys.archives.sort();
    joined.keys.archives.dedup();
    Ok(joined)
}

type Said = BTreeMap<usize, (Verdict, String)>;

/// The indexes among these answers, and what is to be said of files that a `Release` lists.
fn indexes(answers: &[Answer<'_>], leads: &Leads, releases: &[Release<'_>]) -> (Vec<Index>, Said) {
    let mut folders: HashMap<&str, Vec<&Release<'_>>> = HashMap::new();
    for release in releases {
        folders.entry(&release.folder).or_default().push(release);
    }
    let (mut indexes, mut said) = (Vec::new(), Said::new());
    for (at, answer) in answers.iter().enumerate() {
        let mut found: Option<Listed> = None;
        for name in leads.names(answer) {
            for (folder, path) in splits(name) {
                let here = folders.get(folder).into_iter().flatten();
                let all = here.filter_map(|release| Listed::of(release, path, answer));
                found = all.chain(found.take()).min_by_key(Listed::rank);
            }
        }
        match found {
            Some(Listed::As { name, folder, trust }) => {
                let text = match trust.verdict {
                    Verdict::Holds => {
                        format!("listed as {} by its archive's Release, {}", shown(&name), trust.text)
                    }
                    _ => format!("listed as {} by its archive's Release; {}", shown(&name), trust.text),
                };
                // A false signature refuses its own file; what it lists is merely not checked.
                let verdict =
                    if trust.verdict == Verdict::Holds { Verdict::Holds } else { Verdict::Unchecked };
                said.insert(at, (verdict, text));
                if is_packages(&name) {
                    let shown = format!("{}/{}", shown(without_scheme(&folder)), shown(&name));
                    indexes.push(Index { answer: at, roots: roots(&folder, &name), shown, trust });
                }
            }
            Some(Listed::NotItsName) => {
                let text = "its address names another SHA-256 than its bytes have".to_owned();
                said.insert(at, (Verdict::Wrong, text));
            }
            Some(Listed::Otherwise) => {
                let text = "not checked: its archive's Release that came along lists other bytes, so one of the two is older";
                said.insert(at, (Verdict::Unchecked, text.to_owned()));
            }
            None => {
                // A list that nothing vouches for still says what its packages should be.
                if let Some((folder, name)) =
                    answer.url.rsplit_once('/').filter(|(_, name)| is_packages(name))
                {
                    let trust = Trust::not("no Release of it was recorded, so nobody signed".into());
                    let roots = roots(folder, name);
                    indexes.push(Index {
                        answer: at,
                        roots,
                        shown: shown(without_scheme(&answer.url)),
                        trust,
                    });
                }
            }
        }
    }
    (indexes, said)
}

/// What a `Release` says of a file.
enum Listed {
    /// It lists it so.
    As { name: String, folder: String, trust: Trust },
    /// It lists other bytes under its name.
    Otherwise,
    /// The name is another digest than its own.
    NotItsName,
}

impl Listed {
    fn of(release: &Release<'_>, path: &str, answer: &Answer<'_>) -> Option<Self> {
        let own = (answer.sha256, answer.size);
        let listed = |name: &str| Self::As {
            name: name.into(),
            folder: release.folder.clone(),
            trust: release.trust.clone(),
        };
        if let Some((folder, digest)) = path.rsplit_once("by-hash/SHA256/") {
            let digest: Sha256 = digest.parse().ok()?;
            if digest != answer.sha256 {
                return Some(Self::NotItsName);
            }
            let is = |(name, said): &(&String, &(Sha256, u64))| {
                **said == own && name.strip_prefix(folder).is_some_and(|rest| !rest.contains('/'))
            };
            return Some(
                release.listed.iter().filter(is).min().map_or(Self::Otherwise, |(name, _)| listed(name)),
            );
        }
        match release.listed.get(path)? {
            said if *said == own => Some(listed(path)),
            _ => Some(Self::Otherwise),
        }
    }

    /// The best is told: several lists of one archive may be here, each of its own time.
    fn rank(&self) -> u8 {
        match self {
            Self::NotItsName => 0,
            Self::As { trust, .. } if trust.verdict == Verdict::Holds => 1,
            Self::As { .. } => 2,
            Self::Otherwise => 3,
        }
    }
}

/// Every folder of an address, longest first, with the path below it.
fn splits(url: &str) -> impl Iterator<Item = (&str, &str)> {
    url.rmatch_indices('/').filter_map(move |(at, _)| Some((url.get(..at)?, url.get(at + 1..)?)))
}

fn is_packages(name: &str) -> bool {
    let name = name.rsplit('/').next().unwrap_or_default();
    matches!(name.strip_prefix("Packages"), Some("" | ".xz" | ".gz" | ".bz2" | ".zst"))
}

/// Where the paths in an index may begin: the archive's own folder, above `dists`; in an archive without, which is flat,
/// any folder above (sources.list(5)).
fn roots(folder: &str, name: &str) -> Vec<String> {
    if let Some((root, _)) = folder.rsplit_once("/dists/") {
        return vec![root.to_owned()];
    }
    let url = format!("{folder}/{name}");
    splits(&url)
        .map(|(root, _)| root.to_owned())
        .filter(|root| !root.ends_with('/') && !root.ends_with(':'))
        .collect()
}

/// The packages among these answers, by each of their addresses.
fn wanted(answers: &[Answer<'_>], leads: &Leads) -> Wanted {
    let mut all = Wanted::new();
    for (at, answer) in answers.iter().enumerate() {
        for name in leads.names(answer).filter(|name| name.ends_with(".deb") || name.ends_with(".udeb")) {
            all.entry(name.to_owned()).or_default().push(at);
        }
    }
    all
}

/// Reads the indexes, those that are vouched for first. By package: which index says what.
async fn read(
    answers: &[Answer<'_>],
    indexes: &mut [Index],
    wanted: &Wanted,
    door: &dyn Door,
) -> Result<HashMap<usize, Vec<(usize, Entry)>>> {
    let mut entries: HashMap<usize, Vec<(usize, Entry)>> = HashMap::new();
    if wanted.is_empty() {
        return Ok(entries);
    }
    indexes.sort_by_key(|index| (index.trust.verdict != Verdict::Holds, index.answer));
    let shared = Arc::new(wanted.clone());
    let (mut count, mut bytes) = (0, 0);
    for (at, index) in indexes.iter_mut().enumerate() {
        let Some(answer) = answers.get(index.answer) else { continue };
        count += 1;
        bytes += answer.size;
        if count > MOST_INDEXES || bytes > MOST_BYTES || answer.size > packages::LONGEST {
            index.trust =
                Trust::not("too many or too large indexes came together, so it was not read".into());
            continue;
        }
        let (roots, wanted) = (index.roots.clone(), Arc::clone(&shared));
        match door.inspect(&answer.sha256, move |file| Ok(packages::read(file, &roots, &wanted))).await? {
            Ok(found) => found.into_iter().for_each(|e| entries.entry(e.answer).or_default().push((at, e))),
            Err(why) => index.trust = Trust::not(why),
        }
    }
    Ok(entries)
}

fn judge_packages(
    answers: &[Answer<'_>],
    indexes: &[Index],
    wanted: &Wanted,
    entries: &HashMap<usize, Vec<(usize, Entry)>>,
) -> Said {
    let mut said = Said::new();
    for (url, these) in wanted {
        for at in these {
            let Some(answer) = answers.get(*at) else { continue };
            let found = entries.get(at).map_or(&[][..], Vec::as_slice);
            let judged = judge(answer, found, indexes).or_else(|| not_listed(url, indexes));
            // Under another address that leads to it, it may be listed where it is not under its own.
            let worse = |old: &(Verdict, String)| old.0 == Verdict::Unchecked;
            if let Some(judged) = judged.filter(|_| said.get(at).is_none_or(worse)) {
                said.insert(*at, judged);
            }
        }
    }
    said
}

/// What the indexes that list a package say of its bytes.
fn judge(answer: &Answer<'_>, found: &[(usize, Entry)], indexes: &[Index]) -> Option<(Verdict, String)> {
    let all = || found.iter().filter_map(|(at, entry)| Some((indexes.get(*at)?, entry)));
    let same = |entry: &Entry| entry.sha256 == answer.sha256 && entry.size == answer.size;
    let vouched = |index: &Index| index.trust.verdict == Verdict::Holds;
    if let Some((index, _)) = all().find(|(index, entry)| same(entry) && vouched(index)) {
        let text =
            format!("listed with this digest in {}, whose Release is {}", index.shown, index.trust.text);
        return Some((Verdict::Holds, text));
    }
    if let Some((index, entry)) = all().find(|(index, entry)| entry.versioned && vouched(index)) {
        let text = format!(
            "{} lists {} bytes with the SHA-256 {} under its name; these are {} with {}",
            index.shown, entry.size, entry.sha256, answer.size, answer.sha256
        );
        return Some((Verdict::Wrong, text));
    }
    if let Some((index, _)) = all().find(|(_, entry)| same(entry)) {
        let text = format!("digest compared with {}; {}", index.shown, index.trust.text);
        return Some((Verdict::Unchecked, text));
    }
    let (index, _) = all().next()?;
    let text = format!("not checked: {} lists other bytes, so one of the two is older", index.shown);
    Some((Verdict::Unchecked, text))
}

/// A package below an archive whose indexes do not list it.
fn not_listed(url: &str, indexes: &[Index]) -> Option<(Verdict, String)> {
    let below = |root: &String| url.strip_prefix(root.as_str()).is_some_and(|rest| rest.starts_with('/'));
    let index = indexes.iter().find(|index| index.roots.iter().any(below))?;
    // An index that could not be read says why.
    let why = match index.trust.verdict {
        Verdict::Holds => "is older or newer".to_owned(),
        _ => index.trust.text.clone(),
    };
    Some((Verdict::Unchecked, format!("not checked: {} does not list it: {why}", index.shown)))
}
