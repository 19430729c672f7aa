//! What advisories say of collections: affected items, updates that leave an advisory's range, and destinations that
//! still have what such an update replaces.

use std::collections::BTreeMap;

use cofferdam_crossing::{Collection, CollectionItem};
use cofferdam_scan::{Finding, Index, Rating};
use serde_json::{Value, json};

/// What feeds say of one collection.
pub struct Judged {
    /// Items that an advisory is about, worst first.
    pub affected: Vec<Value>,
    /// Items that are not judged, with the reasons.
    pub not_judged: Vec<Value>,
}

/// Judges every item.
pub fn judge(index: &Index, collection: &Collection) -> Judged {
    let (mut affected, mut not_judged) = (Vec::new(), Vec::new());
    for item in &collection.items {
        let verdict = index.judge(item.called());
        affected.extend(verdict.findings.into_iter().map(|finding| {
            let mut value = value_of(&finding);
            (value["purl"], value["fixed"], value["fix"]) =
                (json!(item.called()), json!(finding.fixed), json!(finding.fix));
            (finding.severity.rank(), value)
        }));
        if !verdict.not_judged.is_empty() {
            not_judged.push(json!({ "purl": item.called(), "why": verdict.not_judged }));
        }
    }
    Judged { affected: sorted(affected), not_judged }
}

/// Updates that leave an advisory's range, worst first.
pub fn security(index: &Index, before: &Collection, after: &Collection) -> Vec<Value> {
    let (old, new) = (by_package(before), by_package(after));
    let mut fixes = Vec::new();
    for (package, items) in &old {
        let Some(now) = new.get(package) else { continue };
        let to: Vec<&str> = now.iter().map(|item| version_of(item)).collect();
        let still = findings(index, now.iter().map(|item| item.called()));
        for item in items.iter().filter(|item| !to.contains(&version_of(item))) {
            for finding in left(index, item.called(), still.as_deref()) {
                let mut value = value_of(&finding);
                (value["package"], value["from"], value["to"]) =
                    (json!(package), json!(version_of(item)), json!(to));
                fixes.push((finding.severity.rank(), value));
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
            let still = findings(index, [new.as_str()]);
            for old in there.iter().filter(|old| package_of(old) == package_of(new)) {
                for finding in left(index, old, still.as_deref()) {
                    let mut value = value_of(&finding);
                    (value["has"], value["lacks"]) = (json!(old), json!(new));
                    fixes.push((finding.severity.rank(), value));
                }
            }
        }
        one["security"] = json!(sorted(fixes));
    }
}

/// Findings about releases; none when one of them is not judged whole, for then nothing can be said to be fixed.
fn findings<'a>(index: &Index, purls: impl IntoIterator<Item = &'a str>) -> Option<Vec<Finding>> {
    let mut all = Vec::new();
    for purl in purls {
        let verdict = index.judge(purl);
        if !verdict.not_judged.is_empty() {
            return None;
        }
        all.extend(verdict.findings);
    }
    Some(all)
}

/// What is said of a release and no longer of those that took its place.
fn left(index: &Index, old: &str, still: Option<&[Finding]>) -> Vec<Finding> {
    let Some(still) = still else { return Vec::new() };
    index.judge(old).findings.into_iter().filter(|f| !still.iter().any(|s| s.same(f))).collect()
}

fn value_of(finding: &Finding) -> Value {
    json!({
        "id": finding.id, "aliases": finding.aliases, "summary": finding.summary,
        "severity": finding.severity.rating, "score": finding.severity.score_tenths.map(|t| f64::from(t) / 10.0),
        "vector": finding.severity.vector,
    })
}

fn sorted(mut all: Vec<((Rating, u8), Value)>) -> Vec<Value> {
    all.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    all.into_iter().map(|(_, value)| value).collect()
}

/// A package URL without its version.
pub fn package_of(purl: &str) -> &str {
    purl.rsplit_once('@').map_or(purl, |(package, _)| package)
}

/// The version by which people know an item.
fn version_of(item: &CollectionItem) -> &str {
    let known = item.known_as.as_deref().and_then(|purl| purl.rsplit_once('@'));
    known.map_or(item.version.as_str(), |(_, version)| version)
}

fn by_package(collection: &Collection) -> BTreeMap<&str, Vec<&CollectionItem>> {
    let mut out: BTreeMap<&str, Vec<&CollectionItem>> = BTreeMap::new();
    for item in &collection.items {
        out.entry(package_of(item.called())).or_default().push(item);
    }
    out
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

/// Affected items and what is not judged, in lines.
pub fn affected_lines(value: &Value) -> String {
    let list = |key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut out = String::new();
    for one in list("affected") {
        let fix =
            one["fix"].as_str().map_or("no fixed version is named".into(), |fix| format!("fixed in {fix}"));
        let summary = text(&one["summary"]);
        out.push_str(&format!("  affected: {}: {}: {summary} ({fix})\n", text(&one["purl"]), named(&one)));
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
