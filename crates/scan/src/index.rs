//! Advisories by package, and the evaluation that the OSV schema prescribes ("Evaluation").
//!
//! A range that cannot be compared never counts as "not affected": the release is then not judged by that advisory.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use cofferdam_versions::{Scheme, precedence};
use serde::Serialize;

use crate::{
    address::Reading,
    record::{self, Record},
    severity::Severity,
    subject::{self, Subject},
};

/// The longest summary that is kept, in characters.
const SUMMARY: usize = 300;

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Index {
    advisories: Vec<Advisory>,
    ids: HashSet<Box<str>>,
    /// The feeds, by what they are called.
    sources: Vec<String>,
    packages: HashMap<String, Vec<Entry>>,
    ecosystems: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Advisory {
    id: Box<str>,
    aliases: Box<[Box<str>]>,
    summary: Box<str>,
    severity: Severity,
    source: u32,
}

/// What one advisory says of one package.
#[derive(Debug)]
struct Entry {
    advisory: u32,
    /// A severity of this package's own.
    severity: Option<Box<Severity>>,
    /// Affected versions, one a line: one piece of memory instead of many.
    versions: Box<str>,
    ranges: Box<[Range]>,
}

#[derive(Debug)]
struct Range {
    kind: Kind,
    events: Box<[(Point, Box<str>)]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Semver,
    Ecosystem,
    /// Commits, or a kind that this program does not know.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Introduced,
    Fixed,
    LastAffected,
    Limit,
}

/// What the feeds say of one release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Advisories whose ranges or lists it is in, worst first.
    pub findings: Vec<Finding>,
    /// Why it is not judged, or not by all: a reason each. Empty when everything could be evaluated.
    pub not_judged: Vec<String>,
    /// The release that it was judged as, by package URL. None when it was not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Whether only the release's description was there (`go.mod`, a POM), which clients read of many that they do not use.
    pub describes: bool,
}

/// One advisory about one release. Advisories that are aliases of each other are one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The advisory.
    pub id: String,
    /// What else it is called, sorted.
    pub aliases: Vec<String>,
    /// In a line.
    pub summary: String,
    /// How bad it is.
    pub severity: Severity,
    /// The feed that it is from.
    pub source: String,
    /// Fixed versions above this one, oldest first.
    pub fixed: Vec<String>,
    /// The first of all fixed versions that no advisory found here is about.
    pub fix: Option<String>,
}

impl Finding {
    /// Whether another finding is about the same weakness.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        let names = |f: &'_ Self| -> BTreeSet<String> { f.aliases.iter().chain([&f.id]).cloned().collect() };
        !names(self).is_disjoint(&names(other))
    }
}

/// What became of a record.
pub(crate) enum Added {
    Kept,
    Withdrawn,
    Again,
    /// It names no package that could be looked up.
    Nowhere,
}

impl Index {
    /// What is added from now on is from this feed.
    pub(crate) fn begin(&mut self, source: &str) {
        self.sources.push(source.to_owned());
    }

    pub(crate) fn add(&mut self, record: Record) -> Added {
        if record.withdrawn.is_some() {
            return Added::Withdrawn;
        }
        if self.ids.contains(record.id.as_str()) {
            return Added::Again;
        }
        let number = u32::try_from(self.advisories.len()).unwrap_or(u32::MAX);
        let mut ecosystems = BTreeSet::new();
        for affected in record.affected.into_iter().flatten() {
            let Some((ecosystem, name)) = affected.package.as_ref().and_then(place) else { continue };
            let entry = entry(number, affected);
            let of_package = self.packages.entry(key(&ecosystem, &name)).or_default();
            of_package.push(entry);
            ecosystems.insert(ecosystem);
        }
        if ecosystems.is_empty() {
            return Added::Nowhere;
        }
        for ecosystem in ecosystems {
            *self.ecosystems.entry(ecosystem).or_default() += 1;
        }
        let id: Box<str> = record.id.into();
        self.ids.insert(id.clone());
        let source = u32::try_from(self.sources.len().saturating_sub(1)).unwrap_or(u32::MAX);
        self.advisories.push(Advisory {
            id,
            source,
            aliases: record.aliases.into_iter().flatten().map(Box::from).collect(),
            summary: one_line(record.summary.as_deref().unwrap_or_default()).into(),
            severity: Severity::of(
                record.severity.as_deref().unwrap_or_default(),
                record.database_specific.as_ref(),
            ),
        });
        Added::Kept
    }

    /// How many advisories there are, by ecosystem.
    #[must_use]
    pub fn ecosystems(&self) -> &BTreeMap<String, u64> {
        &self.ecosystems
    }

    /// How many advisories there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.advisories.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.advisories.is_empty()
    }

    /// Judges what was recorded by its address, as the package that its path names.
    #[must_use]
    pub fn judge_address(&self, address: &str) -> Verdict {
        match self.subject_at(address) {
            Ok((subject, describes)) => Verdict { describes, ..self.judge_subject(&subject) },
            Err(why) => Verdict { not_judged: vec![why], ..Verdict::default() },
        }
    }

    /// The release that an address is about, of all that it may be the one that any advisory names; and whether what it
    /// answers only describes it.
    ///
    /// # Errors
    /// Why it is about none, for people.
    pub fn subject_at(&self, address: &str) -> Result<(Subject, bool), String> {
        let Reading { mut subjects, describes } = Reading::of(address)?;
        let named = |s: &Subject| self.packages.contains_key(&key(s.ecosystem, &s.name));
        let at = subjects.iter().position(named).unwrap_or(0);
        Ok((subjects.swap_remove(at), describes))
    }

    /// Judges a release by its package URL.
    #[must_use]
    pub fn judge(&self, purl: &str) -> Verdict {
        match Subject::from_purl(purl) {
            Ok(subject) => self.judge_subject(&subject),
            Err(why) => Verdict { not_judged: vec![why], ..Verdict::default() },
        }
    }

    /// Judges a release.
    #[must_use]
    pub fn judge_subject(&self, subject: &Subject) -> Verdict {
        let mut verdict = Verdict::default();
        if !self.ecosystems.contains_key(subject.ecosystem) {
            verdict.not_judged.push(format!("no feed here has advisories of {}", subject.ecosystem));
            return verdict;
        }
        verdict.release = Some(subject.purl());
        let Some(entries) = self.packages.get(&key(subject.ecosystem, &subject.name)) else { return verdict };
        for entry in entries {
            let Some(advisory) = self.advisories.get(entry.advisory as usize) else { continue };
            match entry.affects(subject.ecosystem, &subject.version) {
                Ok(true) => {
                    let source = self.sources.get(advisory.source as usize).cloned().unwrap_or_default();
                    verdict.add(Finding { source, ..finding(advisory, entry, subject) });
                }
                Ok(false) => {}
                Err(why) => verdict.not_judged.push(format!("{}: {why}", advisory.id)),
            }
        }
        verdict.not_judged.dedup();
        self.choose_fixes(&mut verdict, subject, entries);
        verdict.findings.sort_by(|a, b| b.severity.rank().cmp(&a.severity.rank()).then(a.id.cmp(&b.id)));
        verdict
    }

    /// The oldest fixed version that is in none of the ranges: leaving one for another helps nobody.
    fn choose_fixes(&self, verdict: &mut Verdict, subject: &Subject, entries: &[Entry]) {
        let mut all: Vec<&String> = verdict.findings.iter().flat_map(|f| &f.fixed).collect();
        sort_versions(subject.ecosystem, &mut all);
        let clean =
            |version: &&&String| entries.iter().all(|e| e.affects(subject.ecosystem, version) == Ok(false));
        let fix = all.iter().find(clean).map(|v| (**v).clone());
        for finding in &mut verdict.findings {
            // Without one for all, the first that this one names.
            finding.fix = if finding.fixed.is_empty() {
                None
            } else {
                fix.clone().or_else(|| finding.fixed.first().cloned())
            };
        }
    }
}

impl Verdict {
    fn add(&mut self, new: Finding) {
        let Some(same) = self.findings.iter_mut().find(|f| f.same(&new)) else {
            self.findings.push(new);
            return;
        };
        same.aliases.extend(new.aliases);
        if new.id != same.id {
            same.aliases.push(new.id);
        }
        same.aliases.sort();
        same.aliases.dedup();
        let own = same.id.clone();
        same.aliases.retain(|alias| *alias != own);
        if new.severity.rank() > same.severity.rank() {
            same.severity = new.severity;
        }
        if same.summary.is_empty() {
            same.summary = new.summary;
        }
        for version in new.fixed {
            if !same.fixed.contains(&version) {
                same.fixed.push(version);
            }
        }
    }
}

impl Entry {
    /// Whether a version is in the list or in one of the ranges; why that is not known.
    fn affects(&self, ecosystem: &str, version: &str) -> Result<bool, String> {
        if self.versions.split('\n').any(|v| !v.is_empty() && v == version) {
            return Ok(true);
        }
        let (mut compared, mut trouble) = (!self.versions.is_empty(), None);
        for range in &self.ranges {
            match range.has(ecosystem, version) {
                Some(Ok(true)) => return Ok(true),
                Some(Ok(false)) => compared = true,
                Some(Err(why)) => trouble = Some(why),
                None => {}
            }
        }
        match trouble {
            Some(why) => Err(why),
            None if compared => Ok(false),
            None => Err("it names neither versions nor a range that can be compared".into()),
        }
    }

    fn fixed_above(&self, ecosystem: &str, version: &str) -> Vec<String> {
        let mut all: Vec<&Box<str>> = Vec::new();
        for range in &self.ranges {
            let Some(scheme) = range.scheme(ecosystem) else {
                // Without an order, what an advisory calls fixed is all that can be told.
                let fixed =
                    range.events.iter().filter(|(p, _)| *p == Point::Fixed && range.kind != Kind::Other);
                all.extend(fixed.map(|(_, v)| v));
                continue;
            };
            let above = |v: &str| precedence(scheme, v, version) == Some(Ordering::Greater);
            all.extend(range.events.iter().filter(|(p, v)| *p == Point::Fixed && above(v)).map(|(_, v)| v));
        }
        let mut all: Vec<String> = all.into_iter().map(|v| v.to_string()).collect();
        let mut by_order: Vec<&String> = all.iter().collect();
        sort_versions(ecosystem, &mut by_order);
        all = by_order.into_iter().cloned().collect();
        all.dedup();
        all
    }
}

impl Range {
    /// By which order it is compared, when there is one here.
    fn scheme(&self, ecosystem: &str) -> Option<Scheme> {
        match self.kind {
            Kind::Semver => Some(Scheme::Semver),
            Kind::Ecosystem => subject::scheme(ecosystem),
            Kind::Other => None,
        }
    }

    /// Whether a version lies in it; none for a range of another kind than versions.
    fn has(&self, ecosystem: &str, version: &str) -> Option<Result<bool, String>> {
        if self.kind == Kind::Other {
            return None;
        }
        let Some(scheme) = self.scheme(ecosystem) else {
            return Some(Err(format!("the order of {ecosystem}'s versions is not known here")));
        };
        Some(self.evaluate(scheme, version))
    }

    fn evaluate(&self, scheme: Scheme, version: &str) -> Result<bool, String> {
        let not = |v: &str| format!("`{v:.80}` is no version that can be compared");
        precedence(scheme, version, version).ok_or_else(|| not(version))?;
        let compare = |v: &str| precedence(scheme, version, v).ok_or_else(|| not(v));
        let (mut events, mut limits) = (Vec::new(), Vec::new());
        for (point, v) in &self.events {
            match point {
                Point::Limit => limits.push(v.as_ref() == "*" || compare(v)?.is_lt()),
                // "0" is below everything, pre-releases too.
                Point::Introduced if v.as_ref() == "0" => {
                    events.push((Point::Introduced, None, Ordering::Greater))
                }
                point => events.push((*point, Some(v.as_ref()), compare(v)?)),
            }
        }
        if !limits.is_empty() && !limits.contains(&true) {
            return Ok(false);
        }
        // Sorted by version; what is equal stays in the file's order, which the schema leaves open.
        events.sort_by(|a, b| match (a.1, b.1) {
            (None, None) => Ordering::Equal,
            (None, _) => Ordering::Less,
            (_, None) => Ordering::Greater,
            (Some(a), Some(b)) => precedence(scheme, a, b).unwrap_or(Ordering::Equal),
        });
        let mut inside = false;
        for (point, _, order) in events {
            match point {
                Point::Introduced if order.is_ge() => inside = true,
                Point::Fixed if order.is_ge() => inside = false,
                Point::LastAffected if order.is_gt() => inside = false,
                _ => {}
            }
        }
        Ok(inside)
    }
}

fn finding(advisory: &Advisory, entry: &Entry, subject: &Subject) -> Finding {
    let mut aliases: Vec<String> = advisory.aliases.iter().map(|a| a.to_string()).collect();
    aliases.sort();
    Finding {
        id: advisory.id.to_string(),
        aliases,
        summary: advisory.summary.to_string(),
        source: String::new(),
        severity: entry.severity.as_deref().unwrap_or(&advisory.severity).clone(),
        fixed: entry.fixed_above(subject.ecosystem, &subject.version),
        fix: None,
    }
}

/// Ecosystem and normal name of an affected package; the package URL where the names are left out.
fn place(package: &record::Package) -> Option<(String, String)> {
    // The release of a distribution and the address of a repository follow a colon.
    let ecosystem = package.ecosystem.split(':').next().unwrap_or_default();
    if ecosystem.is_empty() || package.name.is_empty() {
        let (ecosystem, name, _) = subject::parts(package.purl.as_deref()?).ok()?;
        return Some((ecosystem.to_owned(), name));
    }
    Some((ecosystem.to_owned(), subject::normal(ecosystem, &package.name)))
}

fn entry(advisory: u32, affected: record::Affected) -> Entry {
    let point = |event: record::Event| {
        let record::Event { introduced, fixed, last_affected, limit } = event;
        let of = |point: Point, v: Option<String>| v.map(|v| (point, Box::from(v)));
        // Each object has one; the schema does not allow more, and what is there anyway counts.
        [
            of(Point::Introduced, introduced),
            of(Point::Fixed, fixed),
            of(Point::LastAffected, last_affected),
            of(Point::Limit, limit),
        ]
        .into_iter()
        .flatten()
    };
    let range = |range: record::Range| Range {
        kind: match range.kind.as_str() {
            "SEMVER" => Kind::Semver,
            "ECOSYSTEM" => Kind::Ecosystem,
            _ => Kind::Other,
        },
        events: range.events.into_iter().flat_map(point).collect(),
    };
    let severity = affected.severity.filter(|s| !s.is_empty());
    Entry {
        advisory,
        severity: severity.map(|s| Box::new(Severity::of(&s, None))),
        versions: affected.versions.unwrap_or_default().join("\n").into(),
        ranges: affected.ranges.into_iter().flatten().map(range).collect(),
    }
}

fn sort_versions(ecosystem: &str, all: &mut [&String]) {
    if let Some(scheme) = subject::scheme(ecosystem) {
        all.sort_by(|a, b| cofferdam_versions::compare(scheme, a, b));
    }
}

/// A text of others as one line for people: bounded, without control characters.
fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(SUMMARY).collect::<String>().trim().to_owned()
}

fn key(ecosystem: &str, name: &str) -> String {
    format!("{ecosystem}\n{name}")
}
