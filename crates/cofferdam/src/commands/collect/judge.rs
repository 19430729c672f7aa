//! What advisories say of collections: affected items, updates that leave an advisory's range, and destinations that
//! still have what such an update replaces.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_crossing::{Advisory, Affected, Collection, CollectionItem, Judgement, NotJudged, SecurityFix};
use cofferdam_scan::{Finding, Index, Subject, Verdict};
use cofferdam_types::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::client::Client;

/// Judges every item.
pub fn judge(index: &Index, collection: &Collection) -> Judgement {
    let mut told = Judgement::default();
    let (mut affected, mut archives) = (Vec::new(), BTreeSet::new());
    for item in &collection.items {
        let (subject, describes) = subject_of(index, item);
        let Verdict { findings, not_judged, release, .. } = match subject {
            Ok(subject) => index.judge_subject(&subject),
            Err(why) => Verdict { not_judged: vec![why], ..Verdict::default() },
        };
        let release = release.filter(|_| item.address.is_some());
        for finding in findings {
            if let (Some(release), false) = (&release, describes) {
                archives.insert((release.clone(), finding.id.clone()));
            }
            let one = Affected {
                purl: item.purl.clone(),
                release: release.clone(),
                describes,
                advisory: advisory(&finding),
                fixed: finding.fixed,
                fix: finding.fix,
            };
            // What is only described comes after what is there.
            affected.push(((!describes, finding.severity.rank()), one));
        }
        if !not_judged.is_empty() {
            told.not_judged.push(NotJudged { purl: item.purl.clone(), why: not_judged });
        }
        told.judged.push(item.purl.clone());
    }
    // A description beside its archive says nothing more.
    affected.retain(|(_, one)| {
        let key = one.release.clone().map(|release| (release, one.advisory.id.clone()));
        !one.describes || key.is_none_or(|key| !archives.contains(&key))
    });
    told.affected = sorted(affected);
    told
}

/// What an item is judged as, or why it is not; and whether it only describes that release. What its bytes say it is counts
/// before what its address looks like.
fn subject_of(index: &Index, item: &CollectionItem) -> (std::result::Result<Subject, String>, bool) {
    let at = item.address.as_deref().map(|address| index.subject_at(address));
    let Some(known) = &item.known_as else {
        return match at {
            Some(Ok((subject, describes))) => (Ok(subject), describes),
            Some(Err(why)) => (Err(why), false),
            None => (Subject::from_purl(&item.purl), false),
        };
    };
    let describes = match at {
        Some(Ok((_, describes))) => describes,
        // Beside an archive of these lie checksums and signatures, which have its name.
        Some(Err(_)) => ["pkg:golang/", "pkg:maven/"].iter().any(|kind| known.starts_with(kind)),
        None => false,
    };
    (Subject::from_purl(known), describes)
}

/// A release that is there itself: as advisories know it, or why they do not, and its version for people.
struct There {
    subject: std::result::Result<Subject, String>,
    version: String,
}

/// Every item that is there itself, by package.
fn by_package(index: &Index, collection: &Collection) -> BTreeMap<String, Vec<There>> {
    let mut out: BTreeMap<String, Vec<There>> = BTreeMap::new();
    for item in &collection.items {
        let (package, there) = match subject_of(index, item) {
            // Its description alone.
            (_, true) => continue,
            (Ok(subject), false) => {
                let version = subject.version.clone();
                (package_of(&subject.purl()).to_owned(), There { subject: Ok(subject), version })
            }
            // No package's address at all.
            (Err(_), false) if item.address.is_some() && item.known_as.is_none() => continue,
            (Err(why), false) => (
                package_of(item.called()).to_owned(),
                There { subject: Err(why), version: item.version.clone() },
            ),
        };
        out.entry(package).or_default().push(there);
    }
    out
}

impl There {
    fn verdict(&self, index: &Index) -> Verdict {
        match &self.subject {
            Ok(subject) => index.judge_subject(subject),
            Err(why) => Verdict { not_judged: vec![why.clone()], ..Verdict::default() },
        }
    }
}

/// Updates that leave an advisory's range, worst first.
pub fn security(index: &Index, before: &Collection, after: &Collection) -> Vec<SecurityFix> {
    let (old, new) = (by_package(index, before), by_package(index, after));
    let mut fixes = Vec::new();
    for (package, items) in &old {
        let Some(now) = new.get(package) else { continue };
        let to: Vec<String> = now.iter().map(|item| item.version.clone()).collect();
        let still = findings(now.iter().map(|item| item.verdict(index)));
        for item in items.iter().filter(|item| !to.contains(&item.version)) {
            for finding in left(item.verdict(index), still.as_deref()) {
                let fix = SecurityFix {
                    package: package.clone(),
                    from: item.version.clone(),
                    to: to.clone(),
                    advisory: advisory(&finding),
                };
                fixes.push((finding.severity.rank(), fix));
            }
        }
    }
    sorted(fixes)
}

/// For each destination, the releases not there yet that fix what is there.
pub fn destinations(index: &Index, news: &mut Value) {
    for one in news.as_array_mut().into_iter().flatten() {
        let list = |of: &Value| -> Vec<String> {
            of.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        };
        let (purls, there) = (list(&one["purls"]), list(&one["there"]));
        let mut fixes = Vec::new();
        for new in &purls {
            let still = findings([index.judge(new)]);
            for old in there.iter().filter(|old| package_of(old) == package_of(new)) {
                for finding in left(index.judge(old), still.as_deref()) {
                    let mut value = json!(advisory(&finding));
                    (value["has"], value["lacks"]) = (json!(old), json!(new));
                    fixes.push((finding.severity.rank(), value));
                }
            }
        }
        one["security"] = json!(sorted(fixes));
    }
}

/// Findings about releases; none when one of them is not judged whole, for then nothing can be said to be fixed.
fn findings(verdicts: impl IntoIterator<Item = Verdict>) -> Option<Vec<Finding>> {
    let mut all = Vec::new();
    for verdict in verdicts {
        if !verdict.not_judged.is_empty() {
            return None;
        }
        all.extend(verdict.findings);
    }
    Some(all)
}

/// What is said of a release and no longer of those that took its place.
fn left(old: Verdict, still: Option<&[Finding]>) -> Vec<Finding> {
    let Some(still) = still else { return Vec::new() };
    old.findings.into_iter().filter(|f| !still.iter().any(|s| s.same(f))).collect()
}

fn advisory(finding: &Finding) -> Advisory {
    Advisory {
        id: finding.id.clone(),
        aliases: finding.aliases.clone(),
        summary: finding.summary.clone(),
        severity: finding.severity.rating.to_string(),
        score: finding.severity.score_tenths.map(|t| f64::from(t) / 10.0),
        vector: finding.severity.vector.as_deref().map(str::to_owned),
        source: finding.source.clone(),
    }
}

/// Worst first.
fn sorted<R: Ord + Copy, T>(mut all: Vec<(R, T)>) -> Vec<T> {
    all.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    all.into_iter().map(|(_, value)| value).collect()
}

/// A package URL without its version.
pub fn package_of(purl: &str) -> &str {
    purl.rsplit_once('@').map_or(purl, |(package, _)| package)
}

fn text(of: &Value) -> String {
    of.as_str().unwrap_or_default().to_owned()
}

/// `critical 9.8  GHSA-… (CVE-…)`.
fn named(value: &Value) -> String {
    let score = value["score"].as_f64().map_or(String::new(), |score| format!(" {score:.1}"));
    let aliases: Vec<String> = value["aliases"].as_array().into_iter().flatten().map(text).collect();
    let aliases = if aliases.is_empty() { String::new() } else { format!(" ({})", aliases.join(", ")) };
    format!("{}{score}, {}{aliases}", text(&value["severity"]), text(&value["id"]))
}

/// A security fix in a line.
pub fn fix_line(value: &Value) -> String {
    let to: Vec<String> = value["to"].as_array().into_iter().flatten().map(text).collect();
    let (package, from) = (text(&value["package"]), text(&value["from"]));
    format!(
        "  SECURITY FIX: {package}: {from} → {}: {}: {}\n",
        to.join(", "),
        named(value),
        text(&value["summary"])
    )
}

/// What a destination lacks, in a line.
pub fn lacks_line(value: &Value) -> String {
    format!(
        "    SECURITY FIX not there yet: {} for {}: {}\n",
        text(&value["lacks"]),
        text(&value["has"]),
        named(value)
    )
}

/// Keeps a judgement with its recording, for the page and for others; one who may only read, or has more
/// to say than a site keeps, is told that it was not kept.
///
/// # Errors
/// What the site answered.
pub async fn keep(client: &Client, recording: &str, feeds: &[Value], mut told: Judgement) -> Result<()> {
    let feed = |value: &Value| serde_json::from_value(value.clone());
    told.feeds = feeds
        .iter()
        .map(feed)
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Error::internal("a feed's numbers", e))?;
    match client.post(&format!("/api/v1/recordings/{recording}/judgement"), &json!(told)).await {
        Err(error) if matches!(error.kind(), ErrorKind::Forbidden | ErrorKind::TooLarge) => {
            eprintln!("what the advisories say of {recording} is not kept at the site: {}", error.message());
            Ok(())
        }
        done => done.map(drop),
    }
}

/// Affected items and what is not judged, in lines.
pub fn affected_lines(value: &Value) -> String {
    let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut out = String::new();
    for one in list("affected") {
        let fix =
            one["fix"].as_str().map_or("no fixed version is named".into(), |fix| format!("fixed in {fix}"));
        let summary = text(&one["summary"]);
        let only = if one["describes"] == true { "; only its description was fetched" } else { "" };
        let release = one["release"].as_str().or(one["purl"].as_str()).unwrap_or_default();
        out.push_str(&format!("  affected: {release}: {}: {summary} ({fix}{only})\n", named(&one)));
    }
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for one in list("not_judged") {
        for why in one["why"].as_array().into_iter().flatten() {
            *reasons.entry(text(why)).or_default() += 1;
        }
    }
    for (why, many) in reasons {
        out.push_str(&format!("  not judged: {many} releases: {why}\n"));
    }
    out
}
