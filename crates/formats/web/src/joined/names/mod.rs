//! Which answers are packages of an ecosystem that is recorded by address: a gem, a chart, a module.
//!
//! A name is given only where bytes say it: the file's own metadata together with what the file is called, or another
//! answer that names the file's address. It is a help for people and for advisories, what a file or its index says of
//! itself, and never a proof. No address alone makes a name: this module must never guess, and what it cannot read
//! has none.

mod archives;
mod documents;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cofferdam_format_kit::{Door, DoorExt as _, joined::Named};
use cofferdam_types::{PackageUrl, Result};

use self::archives::Shape;
use super::{Answer, Leads, MOST_STEPS, place};

/// Answers that are looked into at the most: archives, documents.
const MOST_ARCHIVES: usize = 20_000;
const MOST_DOCUMENTS: usize = 5_000;
/// Bytes of a document at the most.
const MOST_DOCUMENT: u64 = 16 << 20;

/// A package, as an answer says it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Package {
    /// The type of its package URL.
    kind: &'static str,
    name: String,
    version: String,
}

impl Package {
    fn new(kind: &'static str, name: impl Into<String>, version: impl Into<String>) -> Option<Self> {
        let (name, version) = (name.into(), version.into());
        let plain =
            |text: &str| !text.is_empty() && text.len() <= 300 && text.bytes().all(|b| b.is_ascii_graphic());
        let sound =
            plain(&name) && plain(&version) && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        sound.then_some(Self { kind, name, version })
    }

    fn purl(&self) -> String {
        PackageUrl::new(self.kind, &self.name, &self.version).to_string()
    }
}

/// The names of these answers.
///
/// # Errors
/// Only faults of the door.
pub async fn of(answers: &[Answer<'_>], leads: &Leads, door: &dyn Door) -> Result<Vec<Named>> {
    let mut found: BTreeMap<&str, Package> = BTreeMap::new();
    // What stands beside a package and shares its address up to the file's end: `v1.0.0.mod` beside `v1.0.0.zip`.
    let mut beside: HashMap<String, Package> = HashMap::new();
    let shaped = answers.iter().filter_map(|a| Some((a, Shape::of(&a.url, &a.media_type)?)));
    for (answer, shape) in shaped.take(MOST_ARCHIVES) {
        let url = answer.url.clone();
        let seen = door.inspect(&answer.sha256, move |file| Ok(archives::package(shape, &url, file))).await?;
        let Some(package) = seen else { continue };
        beside.extend(shape.stem(&answer.url).map(|stem| (stem.to_owned(), package.clone())));
        found.insert(answer.path, package);
    }
    let by_address: BTreeMap<&str, &Answer<'_>> = answers.iter().map(|a| (a.url.as_str(), a)).collect();
    let small = |a: &&Answer<'_>| a.size <= MOST_DOCUMENT && documents::may_be_one(&a.url, &a.media_type);
    for answer in answers.iter().filter(small).take(MOST_DOCUMENTS) {
        let bytes = door.read(&answer.sha256, MOST_DOCUMENT).await?;
        for entry in documents::entries(&answer.url, &bytes) {
            let Some(file) = follow(&entry.url, &by_address, leads) else { continue };
            if entry.sha256.is_none_or(|sha256| sha256 == file.sha256) {
                found.entry(file.path).or_insert(entry.package);
            }
        }
        if let Some(image) = documents::image(&answer.url, &answer.media_type, &answer.sha256) {
            found.entry(answer.path).or_insert(image);
        }
    }
    let mut named: BTreeSet<(String, String)> =
        found.iter().map(|(path, package)| ((*path).to_owned(), package.purl())).collect();
    for answer in answers.iter().filter(|a| !found.contains_key(a.path)) {
        let whose = stems(&answer.url).find_map(|stem| beside.get(stem));
        named.extend(whose.map(|package| (answer.path.to_owned(), package.purl())));
    }
    Ok(named.into_iter().map(|(path, purl)| Named { path, purl }).collect())
}

/// The beginnings of an address under which a package beside it may be known, the longest first.
fn stems(url: &str) -> impl Iterator<Item = &str> {
    let name = url.rfind('/').map_or(0, |slash| slash + 1);
    let ends = url.char_indices().rev().take_while(move |(at, _)| *at >= name);
    let ends = ends.filter(|(_, c)| ".-".contains(*c)).flat_map(|(at, _)| [at + 1, at]);
    ends.filter_map(|end| Some((url.get(..end)?, url.get(end..)?)))
        .filter(|(_, rest)| archives::beside(rest))
        .map(|(stem, _)| stem)
}

/// The answer that an address led to.
fn follow<'a, 'b>(
    url: &str,
    answers: &BTreeMap<&str, &'a Answer<'b>>,
    leads: &Leads,
) -> Option<&'a Answer<'b>> {
    let at = place(url)?;
    let mut at = at.as_str();
    for _ in 0..=MOST_STEPS {
        if let Some(answer) = answers.get(at) {
            return Some(answer);
        }
        at = leads.step(at)?;
    }
    None
}
