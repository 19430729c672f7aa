//! `bun.lock`, the text form (Bun documentation, "Lockfile"): JSON with comments and trailing commas, whose
//! packages are lists: `[id, registry, facts, integrity]`.

use std::collections::HashMap;

use cofferdam_types::Result;

use super::{Facts, add, platforms, split_id};
use crate::{
    File, address, digest,
    list::List,
    reach::{Graph, Way},
    tree,
};

/// Parts of a package's place that are looked through for what it requires.
const MAX_NESTING: usize = 16;
/// Bytes of such a place, or of a name.
const MAX_PLACE: usize = 512;
/// Places of one file that are looked at; real files need some hundred thousand.
const MAX_LOOKS: usize = 2_000_000;

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::json(file)?;
    if root.get("lockfileVersion").is_none() {
        return Err(file.malformed(1, "the key `lockfileVersion` is missing"));
    }
    let packages = root.map("packages");
    let index: HashMap<&str, usize> =
        packages.iter().enumerate().map(|(n, (key, ..))| (key.as_str(), n)).collect();
    let project = packages.len();
    let mut room = MAX_LOOKS;
    let mut graph = Graph::new(project + 1);
    graph.start(project);
    let ways = [
        ("dependencies", Way::Always),
        ("optionalDependencies", Way::Optional),
        ("peerDependencies", Way::Always),
        ("devDependencies", Way::Dev),
    ];
    for (_, _, workspace) in root.map("workspaces") {
        let own = workspace.str("name").unwrap_or_default();
        for (key, way) in ways {
            for name in workspace.keys(key) {
                if let Some(target) = found(&index, own, name, &mut room) {
                    graph.edge(project, target, way);
                }
            }
        }
    }
    for (from, (place, _, entry)) in packages.iter().enumerate() {
        for facts in entry.items().iter().filter(|n| n.is_map()) {
            for (key, way) in &ways[..3] {
                for name in facts.keys(key) {
                    if let Some(target) = found(&index, place, name, &mut room) {
                        graph.edge(from, target, *way);
                    }
                }
            }
        }
    }
    graph.settle();
    let ids: Vec<_> = packages
        .iter()
        .map(|(_, _, entry)| entry.items().first().and_then(tree::Node::text).and_then(split_id))
        .collect();
    for (number, (place, line, entry)) in packages.iter().enumerate() {
        let Some((name, reference)) = ids.get(number).copied().flatten() else {
            return Err(file.malformed(*line, format!("the package `{place}` has no id")));
        };
        if ["workspace:", "link:", "file:", "root:"].iter().any(|p| reference.starts_with(p)) {
            continue;
        }
        // The registry's address is there when it is not the default one, whole or without the file.
        let second = entry.items().get(1).and_then(tree::Node::text).filter(|t| address::is_absolute(t));
        let is_place = address::git(reference).is_some() || address::is_absolute(reference);
        let integrity =
            entry.items().iter().skip(2).filter_map(tree::Node::text).flat_map(digest::of_integrity);
        let facts_of = entry.items().iter().find(|n| n.is_map());
        let (dev, optional) = graph.flags(number);
        let facts = Facts {
            resolved: if is_place { Some(reference) } else { second.filter(|url| url.contains("/-/")) },
            digests: integrity.collect(),
            asked_by: graph.asked_by(number, |n| ids.get(n).copied().flatten().map(|(name, _)| name)),
            platforms: facts_of.map(platforms).unwrap_or_default(),
            dev,
            optional,
        };
        add(list, name, reference, facts, *line);
    }
    Ok(())
}

/// The entry that a name means at a place: `a/b` before `b`.
fn found(index: &HashMap<&str, usize>, place: &str, name: &str, room: &mut usize) -> Option<usize> {
    if place.len().max(name.len()) > MAX_PLACE || *room == 0 {
        return None;
    }
    let mut folder = place;
    for _ in 0..MAX_NESTING {
        *room = room.saturating_sub(1);
        if folder.is_empty() {
            break;
        }
        if let Some(number) = index.get(format!("{folder}/{name}").as_str()) {
            return Some(*number);
        }
        folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
    }
    index.get(name).copied()
}
