//! Recordings of builds, and what they used.

use std::collections::{BTreeMap, HashMap};

use axum::{
    Form, Router,
    extract::{OriginalUri, Path, Query},
    http::HeaderMap,
    response::{IntoResponse as _, Redirect},
    routing::{get, post},
};
use cofferdam_access::Action;
use cofferdam_crossing::{Advisory, Collection, CollectionItem, Judgement, Observed};
use cofferdam_store::RecordingRow;
use cofferdam_types::{RecordingId, Result};
use cofferdam_web::{
    Frame,
    recordings::{Advice, Judged, Missed, Recording, RecordingLine, Recordings, Used},
    values::{Fact, Size, State, When},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Answer, MANY, PAGE, Page,
    dress::{Failed, show},
    next_of, number, origin, tellable,
};
use crate::{Site, problem};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/recordings", get(list))
        .route("/recordings/{id}", get(one))
        .route("/recordings/{id}/items", post(decide))
}

fn line(row: &RecordingRow) -> RecordingLine {
    RecordingLine {
        id: row.id.0,
        name: row.name.clone(),
        command: row.command.clone(),
        actor: row.actor.clone(),
        state: State(row.state.clone()),
        started: When(row.started),
    }
}

#[derive(Deserialize)]
struct Before {
    before: Option<i64>,
}

async fn list(page: Page, Query(query): Query<Before>) -> Answer {
    page.may(Action::TransferRead)?;
    let before = query.before.unwrap_or(i64::MAX);
    let rows = page.site.registry.db().read().await?.crossing().recordings(before, PAGE).await?;
    let next = next_of(&rows, PAGE, |row| row.id.0);
    show(&Recordings { frame: page.frame(), recordings: rows.iter().map(line).collect(), next })
}

#[derive(Default, Deserialize)]
struct Only {
    #[serde(default)]
    only: String,
}

async fn one(page: Page, Path(id): Path<String>, Query(Only { only }): Query<Only>) -> Answer {
    page.may(Action::TransferRead)?;
    show(&load(&page, &id, only == "running", page.frame()).await?)
}

async fn load(page: &Page, id: &str, only_running: bool, frame: Frame) -> Result<Recording> {
    let row = page.site.crossing.recording(RecordingId(number(id)?)).await?;
    let collection = page.site.crossing.described_collection(row.id).await?;
    let judged = judged(page.site.crossing.judgement(row.id).await?);
    let (observed, _) = page.site.crossing.observed(row.id).await?;
    let observed = observed.unwrap_or_default();
    let formats = formats_of(page).await?;
    let (total, found_by_running) = (collection.items.len(), collection.found_by_running());
    let facts = facts(&row, &collection, &observed)?;
    let missing = collection.missing.into_iter().take(MANY);
    let unused = collection.unused.into_iter().take(MANY);
    Ok(Recording {
        line: line(&row),
        facts,
        judged,
        total,
        found_by_running,
        only_running,
        used: collection
            .items
            .into_iter()
            .filter(|item| !only_running || item.found_by_running())
            .take(MANY)
            .map(used)
            .collect(),
        excluded: collection.excluded.into_iter().map(|e| (e.purl, e.reason, e.by)).collect(),
        unused: unused.map(|m| (format!("{} {} {}", m.ecosystem, m.name, m.version), m.place)).collect(),
        missing: missing.map(|m| missed(&formats, m.repository, m.path, "", m.times)).collect(),
        refused: refused(&observed),
        decides: page.can(Action::Record),
        frame,
    })
}

fn facts(row: &RecordingRow, collection: &Collection, observed: &Observed) -> Result<Vec<Fact>> {
    let (files, bytes) = collection.totals();
    let mut facts = vec![
        ("Releases", collection.items.len().to_string()),
        ("Files", format!("{files}, {}", Size(bytes))),
        ("Digest", collection.digest()?.to_hex()),
    ];
    if !observed.platform.is_empty() {
        facts.push(("Platform", observed.platform.clone()));
    }
    if let Some(tree) = &observed.inputs {
        facts.push(("Built folder", format!("{} files, {}", tree.files, tree.sha256)));
    }
    if let Some(tree) = &observed.result {
        facts.push(("What it made", format!("{} files, {}, {}", tree.files, Size(tree.bytes), tree.sha256)));
    }
    let ending = |at, code: Option<i64>| {
        format!("{} UTC, exit code {}", When(at), code.map_or("unknown".into(), |c| c.to_string()))
    };
    if let Some(at) = row.ended {
        facts.push(("Ended", ending(at, row.exit_code)));
    }
    if let Some(at) = row.rehearsed {
        facts.push(("Rehearsed", ending(at, row.rehearsal_exit_code)));
    }
    Ok(facts)
}

/// What advisories say: updates that are security fixes first, then what is affected, then what nobody knows.
fn judged(told: Judgement) -> Judged {
    let advice = |advisory: Advisory, package: String, about: String, fix: String| Advice {
        tone: match advisory.severity.as_str() {
            "critical" | "high" => "bad",
            "medium" | "low" => "wait",
            _ => "plain",
        },
        severity: advisory.score.map_or(String::new(), |score| format!(" {score:.1}")),
        rating: advisory.severity,
        id: advisory.id,
        aliases: advisory.aliases,
        summary: advisory.summary,
        source: advisory.source,
        package,
        about,
        fix,
    };
    let fixes = told.security.into_iter().map(|fix| {
        let to = fix.to.join(", ");
        advice(fix.advisory, fix.package, format!("{} → {to}", fix.from), to)
    });
    let affected = told.affected.into_iter().map(|one| {
        let about = if one.describes { "only its description was fetched" } else { "" };
        let package = one.release.unwrap_or(one.purl);
        advice(one.advisory, package, about.to_owned(), one.fix.unwrap_or_default())
    });
    let mut reasons: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in &told.not_judged {
        for why in &one.why {
            reasons.entry(why.clone()).or_default().push(one.purl.clone());
        }
    }
    let mut feeds: Vec<String> = Vec::new();
    for feed in told.feeds {
        let newest = if feed.newest.is_empty() { "unknown".to_owned() } else { feed.newest };
        let unread = if feed.unread > 0 { format!(", {} not readable", feed.unread) } else { String::new() };
        feeds.push(format!("{}: {} advisories, the newest of {newest}{unread}", feed.feed, feed.advisories));
    }
    Judged {
        at: told.at.map(When),
        by: told.by,
        feeds,
        fixes: fixes.take(MANY).collect(),
        affected: affected.take(MANY).collect(),
        judged: told.judged.len(),
        not_judged: told.not_judged.len(),
        reasons: reasons
            .into_iter()
            .take(MANY)
            .map(|(why, mut purls)| {
                let many = purls.len();
                purls.truncate(20);
                (why, many, purls)
            })
            .collect(),
    }
}

/// What was refused, in a line each.
fn refused(observed: &Observed) -> Vec<String> {
    let log = observed.network.clone().unwrap_or_default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let requests = list(&log["addresses"]).into_iter().filter(|a| !a["refused"].is_null());
    let mut lines: Vec<String> = requests
        .map(|a| format!("{} {}: {}", text(&a["method"]), text(&a["url"]), text(&a["refused"])))
        .collect();
    let connections = list(&log["connections"]["lines"]).into_iter().filter(|l| l["decision"] == "refused");
    lines.extend(connections.map(|l| {
        let host = [&l["name"], &l["address"]].into_iter().map(text).find(|t| !t.is_empty());
        let by = text(&l["process"]["program"]);
        let by = if by.is_empty() { by } else { format!(" by {by}") };
        format!(
            "{} {}:{}{by}, {} times",
            text(&l["transport"]),
            host.unwrap_or_default(),
            l["port"],
            l["count"]
        )
    }));
    lines.truncate(MANY);
    lines
}

/// The format of each repository: what is wanted of it is wanted in that format.
pub(super) async fn formats_of(page: &Page) -> Result<HashMap<String, String>> {
    let all = page.site.registry.db().read().await?.registry().repositories("", MANY).await?;
    Ok(all.into_iter().map(|r| (r.name, r.format)).collect())
}

/// A miss, with what to put on the want list.
pub(super) fn missed(
    formats: &HashMap<String, String>,
    repository: String,
    path: String,
    package: &str,
    times: u64,
) -> Missed {
    let format = formats.get(&repository).cloned().unwrap_or_default();
    let package = match (package, format.as_str()) {
        ("", "web") => path.clone(),
        // The path of a document is its package in most formats; what is no name is refused with its reason.
        ("", _) => path.trim_start_matches("simple/").trim_matches('/').to_owned(),
        (name, _) => name.to_owned(),
    };
    let package = if format.is_empty() { String::new() } else { package };
    Missed { repository, path, times, format, package }
}

#[derive(Deserialize)]
struct Decision {
    purl: String,
    decision: String,
    #[serde(default)]
    reason: String,
}

async fn decide(
    page: Page,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Path(id): Path<String>,
    Form(form): Form<Decision>,
) -> Answer {
    origin::check(&headers, &uri, page.site.registry.public_url())?;
    page.may(Action::Record)?;
    let number = RecordingId(number(&id)?);
    let decision = (form.decision != "undo").then_some((form.decision.as_str(), form.reason.as_str()));
    let done = page.site.crossing.decide_item(number, form.purl.trim(), decision, &page.who.actor()).await;
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/recordings/{number}")).into_response()),
        Err(error) if tellable(&error) => {
            let shown = show(&load(&page, &id, false, page.frame_with(&error)).await?)?;
            Ok((problem::status(error.kind()), shown).into_response())
        }
        Err(error) => Err(Failed(error)),
    }
}

fn used(item: CollectionItem) -> Used {
    let size = item.files.iter().map(|f| f.size).sum();
    Used {
        purl: item.known_as.unwrap_or(item.purl),
        repository: item.repository,
        package: item.package,
        files: item.files.into_iter().map(|f| (f.path, f.sha256.to_hex())).collect(),
        size: Size(size),
        asked_by: item.asked_by,
        source: item.address.unwrap_or(item.source),
        licences: item.licences,
        proofs: item.proofs,
        named_in: Some(item.mentioned),
        pinned: item.pinned.unwrap_or_default(),
    }
}
