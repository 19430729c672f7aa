//! `package-lock.json` and `npm-shrinkwrap.json`, lockfileVersion 1 to 3 (npm documentation,
//! "package-lock.json").
//!
//! What lies inside another package's tarball (`inBundle`) is not listed: nobody fetches it.

use std::collections::HashMap;

use cofferdam_types::Result;

use super::{Facts, add, platforms};
use crate::{
    File, address, digest,
    list::List,
    reach::{Askers, Graph, Way},
    tree::{self, Node},
};

/// Folders above a package that are looked through for what it requires; real trees have about ten.
const MAX_NESTING: usize = 16;
/// Bytes of such a place, or of a name.
const MAX_PLACE: usize = 512;
/// Places of one file that are looked at; real files need some hundred thousand.
const MAX_LOOKS: usize = 2_000_000;

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::json(file)?;
    if let Some(packages) = root.get("packages") {
        by_place(packages, list);
    } else if root.get("lockfileVersion").is_some() || root.get("dependencies").is_some() {
        let mut askers = Askers::default();
        collect_askers(root.map("dependencies"), &mut askers);
        nested(root.map("dependencies"), &askers, list);
    } else {
        return Err(file.malformed(1, "neither `packages` nor `dependencies` is there"));
    }
    Ok(())
}

/// Versions 2 and 3: a flat map by the place in `node_modules`.
fn by_place(packages: &Node, list: &mut List) {
    let places = packages.entries();
    let index: HashMap<&str, usize> =
        places.iter().enumerate().map(|(n, (key, ..))| (key.as_str(), n)).collect();
    let mut room = MAX_LOOKS;
    let mut graph = Graph::new(places.len());
    for (number, (place, _, entry)) in places.iter().enumerate() {
        let mut keys = vec!["dependencies", "optionalDependencies", "peerDependencies"];
        if !place.contains("node_modules/") {
            keys.push("devDependencies");
        }
        for name in keys.into_iter().flat_map(|key| entry.keys(key)) {
            if let Some(target) = found(&index, place, name, &mut room) {
                graph.edge(number, target, Way::Always);
            }
        }
    }
    let names: Vec<&str> = places.iter().map(|(place, _, entry)| name_at(place, entry)).collect();
    for (number, (place, line, entry)) in places.iter().enumerate() {
        let Some((_, from_place)) = place.rsplit_once("node_modules/") else { continue };
        if entry.is_true("link") || entry.is_true("inBundle") {
            continue;
        }
        let name = entry.str("name").unwrap_or(from_place);
        let Some(version) = entry.str("version") else {
            list.note(
                *line,
                format!("`{name}` has no version; run `npm install` once and take the new file"),
            );
            continue;
        };
        let facts = Facts {
            resolved: entry.str("resolved"),
            digests: digest::of_integrity(entry.str("integrity").unwrap_or_default()),
            asked_by: graph.asked_by(number, |n| names.get(n).copied()),
            platforms: platforms(entry),
            dev: entry.is_true("dev"),
            optional: entry.is_true("optional") || entry.is_true("devOptional"),
        };
        add(list, name, version, facts, *line);
    }
}

fn name_at<'a>(place: &'a str, entry: &'a Node) -> &'a str {
    let of_place = || place.rsplit_once("node_modules/").map_or(place, |(_, name)| name);
    entry.str("name").unwrap_or_else(of_place)
}

/// Where Node finds a package: beside the asker's own `node_modules`, then in every folder above.
fn found(index: &HashMap<&str, usize>, place: &str, name: &str, room: &mut usize) -> Option<usize> {
    if place.len().max(name.len()) > MAX_PLACE || *room == 0 {
        return None;
    }
    let mut folder = place;
    for _ in 0..MAX_NESTING {
        *room = room.saturating_sub(1);
        let path = if folder.is_empty() {
            format!("node_modules/{name}")
        } else {
            format!("{folder}/node_modules/{name}")
        };
        if let Some(number) = index.get(path.as_str()) {
            return Some(*number);
        }
        if folder.is_empty() {
            return None;
        }
        folder = folder.rsplit_once("node_modules/").map_or("", |(above, _)| above.trim_end_matches('/'));
    }
    None
}

/// Version 1: a tree. Its depth is bounded by the reader of JSON.
fn nested(entries: &[(String, u32, Node)], askers: &Askers, list: &mut List) {
    for (key, line, entry) in entries {
        nested(entry.map("dependencies"), askers, list);
        if entry.is_true("bundled") {
            continue;
        }
        let Some(version) = entry.str("version") else {
            list.note(*line, format!("`{key}` has no version; run `npm install` once and take the new file"));
            continue;
        };
        let alias = version.strip_prefix("npm:").and_then(super::split_id);
        let (name, version) = alias.unwrap_or((key, version));
        // A version that is an address is where the package comes from.
        let is_place =
            address::git(version).is_some() || address::is_absolute(version) || version.starts_with("file:");
        let facts = Facts {
            resolved: if is_place { Some(version) } else { entry.str("resolved") },
            digests: digest::of_integrity(entry.str("integrity").unwrap_or_default()),
            asked_by: askers.of(key),
            platforms: Vec::new(),
            dev: entry.is_true("dev"),
            optional: entry.is_true("optional"),
        };
        add(list, name, version, facts, *line);
    }
}

fn collect_askers<'a>(entries: &'a [(String, u32, Node)], askers: &mut Askers<'a>) {
    for (key, _, entry) in entries {
        for name in entry.keys("requires") {
            askers.add(name.to_owned(), key);
        }
        collect_askers(entry.map("dependencies"), askers);
    }
}
