//! `collect --update`: recordings made anew, what changed, and what each destination has not got yet.
//!
//! What people decided about items holds for the new collection too; a pinned item that changed is told, and makes the
//! command fail. Where feeds of advisories are named, security fixes are told first.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use cofferdam_crossing::Collection;
use cofferdam_types::{Result, time::SystemClock};
use serde_json::{Value, json};

use super::{
    advisories::{Advisories, wanted},
    judge, part,
};
use crate::{
    cli::CollectArgs,
    client::Client,
    commands::{
        Context,
        known::Known,
        record::{record_build, rehearse_build},
        schedule::Schedule,
    },
    output,
    signals::stopped,
};

/// Updates once, or at a distance in time until a signal comes.
pub async fn run(context: &Context, client: &Client, arguments: &CollectArgs) -> Result<ExitCode> {
    let Some(every) = arguments.every else {
        return Ok(ExitCode::from(round(context, client, arguments).await?));
    };
    let schedule = Schedule { every, clock: &SystemClock };
    let code = schedule
        .run(stopped()?, || round(context, client, arguments), tokio::time::sleep, |line| eprintln!("{line}"))
        .await;
    Ok(ExitCode::from(code))
}

/// Records and rehearses again; all that were made here when none is named. One that fails stops none of the others.
async fn round(context: &Context, client: &Client, arguments: &CollectArgs) -> Result<u8> {
    let names = if arguments.of.is_empty() { Known::names(context)? } else { arguments.of.clone() };
    let mut feeds = Advisories::of(client, &arguments.advisories).await?;
    let (mut values, mut good) = (Vec::new(), true);
    for name in &names {
        let value = match again(context, client, name, &mut feeds).await {
            Ok(value) => value,
            Err(error) => json!({ "name": name, "complete": false, "error": error.message() }),
        };
        let holds = value["unpinned"].as_array().is_none_or(Vec::is_empty);
        good &= value["complete"] == true && holds && value["no_feed"].is_null();
        if !context.json {
            output::say(&told(&value));
        }
        values.push(value);
    }
    output::show(&json!({ "updated": values, "feeds": feeds.feeds }), context.json, |_| {
        if names.is_empty() { "nothing was recorded here yet\n".to_owned() } else { String::new() }
    });
    Ok(u8::from(!good))
}

async fn again(context: &Context, client: &Client, name: &str, feeds: &mut Advisories) -> Result<Value> {
    let known = Known::recall(context, name)?;
    let before = part(client, &known.id.to_string()).await?;
    let what = (known.folder.as_path(), known.command.as_slice());
    let recorded = record_build(context, client, name, what, None).await?;
    let (id, after) = (recorded.id, recorded.collection);
    let unpinned = keep_decisions(client, id, &before, &after).await?;
    let (rehearsed, _) = rehearse_build(context, client, name, None).await?;
    let mut news = client.get(&format!("/api/v1/recordings/{id}/news")).await?;
    let changes = Changes::between(&before, &after);
    let mut value = json!({
        "name": name, "id": id, "exit_code": recorded.built.code, "complete": rehearsed["complete"],
        "missing": rehearsed["missing"], "added": changes.added, "updated": changes.updated,
        "removed": changes.removed, "unpinned": unpinned,
    });
    // A feed that cannot be had makes the round fail, and hides nothing of what was recorded.
    if let Err(error) = feeds.more(client, &wanted(&known.folder)?).await {
        value["no_feed"] = json!([error.message(), error.advice().unwrap_or_default()].join(": "));
    }
    if feeds.any() {
        let mut judged = judge::judge(&feeds.index, &after);
        judged.security = judge::security(&feeds.index, &before, &after);
        value["security"] = json!(judged.security);
        (value["affected"], value["not_judged"]) = (json!(judged.affected), json!(judged.not_judged));
        judge::keep(client, &id.to_string(), &feeds.feeds, judged).await?;
        judge::destinations(&feeds.index, &mut news["news"]);
    }
    value["destinations"] = news["news"].take();
    Ok(value)
}

/// Decides about the new collection as about the old one; the pinned items that are not in it.
async fn keep_decisions(
    client: &Client,
    id: i64,
    before: &Collection,
    after: &Collection,
) -> Result<Vec<String>> {
    let here: BTreeSet<&str> = after.items.iter().map(|item| item.purl.as_str()).collect();
    let excluded = before.excluded.iter().map(|gone| (&gone.purl, "exclude", gone.reason.as_str()));
    let pinned = before.items.iter().filter_map(|i| Some((&i.purl, "pin", i.pinned.as_deref()?)));
    let mut unpinned = Vec::new();
    for (purl, decision, reason) in excluded.chain(pinned) {
        if here.contains(purl.as_str()) {
            let body = json!({ "purl": purl, "decision": decision, "reason": reason });
            client.post(&format!("/api/v1/recordings/{id}/items"), &body).await?;
        } else if decision == "pin" {
            unpinned.push(format!("{purl} ({reason})"));
        }
    }
    Ok(unpinned)
}

/// What differs between two collections.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    added: Vec<String>,
    /// Package, versions before, versions after.
    updated: Vec<(String, Vec<String>, Vec<String>)>,
    removed: Vec<String>,
}

impl Changes {
    fn between(before: &Collection, after: &Collection) -> Self {
        let (old, new) = (versions(before), versions(after));
        let mut changes = Self::default();
        for (package, after) in &new {
            match old.get(package) {
                None => changes.added.extend(after.iter().map(|version| format!("{package}@{version}"))),
                Some(before) if before != after => {
                    let list = |all: &BTreeSet<String>| all.iter().cloned().collect();
                    changes.updated.push((package.clone(), list(before), list(after)));
                }
                Some(_) => {}
            }
        }
        for (package, before) in old.iter().filter(|(package, _)| !new.contains_key(*package)) {
            changes.removed.extend(before.iter().map(|version| format!("{package}@{version}")));
        }
        changes
    }
}

/// The versions of each package, by package URL without version.
fn versions(collection: &Collection) -> BTreeMap<String, BTreeSet<String>> {
    let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for item in &collection.items {
        out.entry(judge::package_of(&item.purl).to_owned()).or_default().insert(item.version.clone());
    }
    out
}

fn told(value: &Value) -> String {
    let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    let name = text(&value["name"]);
    if let Some(error) = value["error"].as_str() {
        return format!("{name}: {error}\n");
    }
    let state = if value["complete"] == true { "complete" } else { "NOT complete" };
    let mut out = format!("{name}: recorded again as number {}, {state}\n", value["id"]);
    for fix in list(&value["security"]) {
        out.push_str(&judge::fix_line(&fix));
    }
    out.push_str(&judge::affected_lines(value));
    if let Some(why) = value["no_feed"].as_str() {
        out.push_str(&format!("  advisories are NOT judged: {why}\n"));
    }
    for pin in list(&value["unpinned"]) {
        out.push_str(&format!("  pinned, and not used any more: {}\n", text(&pin)));
    }
    for update in list(&value["updated"]) {
        let versions = |of: &Value| list(of).iter().map(text).collect::<Vec<_>>().join(", ");
        out.push_str(&format!(
            "  {}: {} → {}\n",
            text(&update[0]),
            versions(&update[1]),
            versions(&update[2])
        ));
    }
    for (word, key) in [("new", "added"), ("gone", "removed"), ("not here", "missing")] {
        for one in list(&value[key]) {
            let what = one.as_str().map_or_else(|| text(&one["path"]), str::to_owned);
            out.push_str(&format!("  {word}: {what}\n"));
        }
    }
    for news in list(&value["destinations"]) {
        let (many, bytes) = (list(&news["purls"]).len(), news["bytes"].as_u64().unwrap_or(0));
        let size = output::bytes(bytes);
        out.push_str(&format!("  {}: {many} releases not there yet, {size}\n", text(&news["stream"])));
        for lack in list(&news["security"]) {
            out.push_str(&judge::lacks_line(&lack));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use cofferdam_crossing::CollectionItem;

    use super::*;

    fn collection(purls: &[(&str, &str)]) -> Collection {
        let item = |(package, version): &(&str, &str)| CollectionItem {
            purl: format!("{package}@{version}"),
            version: (*version).to_owned(),
            ..CollectionItem::default()
        };
        Collection { items: purls.iter().map(item).collect(), ..Collection::default() }
    }

    #[test]
    fn what_changed_is_told_by_package() {
        let before = collection(&[("pkg:npm/%40a/b", "1"), ("pkg:npm/c", "1"), ("pkg:npm/d", "1")]);
        let after = collection(&[("pkg:npm/%40a/b", "1"), ("pkg:npm/c", "2"), ("pkg:npm/e", "1")]);
        let changes = Changes::between(&before, &after);
        assert_eq!(changes.added, ["pkg:npm/e@1"]);
        assert_eq!(changes.updated, [("pkg:npm/c".into(), vec!["1".into()], vec!["2".into()])]);
        assert_eq!(changes.removed, ["pkg:npm/d@1"]);
        assert_eq!(Changes::between(&after, &after), Changes::default());
    }
}
