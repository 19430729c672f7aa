//! `Pipfile.lock`, format 6 (Pipenv documentation, "Pipfile & Pipfile.lock"). It does not say who requires what.

use std::collections::HashMap;

use cofferdam_types::Result;

use super::{listed, version_of};
use crate::{
    File, digest,
    list::List,
    tree::{self, Node},
};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::json(file)?;
    let Some(meta) = root.get("_meta") else {
        return Err(file.malformed(1, "the key `_meta` is missing"));
    };
    let sources: Vec<(&str, &str)> =
        meta.list("sources").iter().filter_map(|s| Some((s.str("name")?, s.str("url")?))).collect();
    let usual = sources.first().map(|(_, url)| *url);
    let named: HashMap<&str, &str> = sources.into_iter().collect();
    for (category, _, packages) in root.entries().iter().filter(|(key, ..)| key != "_meta") {
        for (name, line, package) in packages.entries() {
            let registry = package.str("index").and_then(|index| named.get(index).copied()).or(usual);
            // A category other than `default` and `develop` is one of the project's own.
            add(list, (name, package, *line), registry, category == "develop");
        }
    }
    Ok(())
}

fn add(list: &mut List, (name, package, line): (&str, &Node, u32), registry: Option<&str>, dev: bool) {
    let digests: Vec<String> = package.texts("hashes").into_iter().filter_map(digest::of_pair).collect();
    if let Some(git) = package.str("git") {
        return list.git(git.trim_start_matches("git+"), package.str("ref"), name, line);
    }
    if let Some(url) = package.str("file").filter(|url| crate::address::is_absolute(url)) {
        return list.url(url, digests, name, line);
    }
    let Some(version) = package.str("version") else {
        let in_project = ["path", "file"].iter().any(|key| package.get(key).is_some());
        if !in_project {
            list.note(line, format!("`{name}` has no version and is left out; name it in cofferdam.want"));
        }
        return;
    };
    let Some(mut item) = listed(list, name, version_of(version), line) else { return };
    item.digests = digests;
    item.markers = package.str("markers").map(str::to_owned);
    item.dev = dev;
    match registry {
        Some(registry) => list.add_from(item, registry),
        None => list.add(item),
    }
}
