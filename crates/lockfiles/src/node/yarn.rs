//! `yarn.lock` of Yarn 1, which has a format of its own; that of later ones is YAML (`yaml_yarn`).

use std::collections::HashMap;

use cofferdam_types::Result;

use super::{Facts, add, split_id, yaml_yarn};
use crate::{
    File, address, digest,
    list::List,
    reach::{Graph, Way},
};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    if file.text.lines().any(|line| line.starts_with("__metadata:")) {
        return yaml_yarn::read(file, list);
    }
    let entries = entries(file)?;
    let mut index = HashMap::new();
    for (number, entry) in entries.iter().enumerate() {
        index.extend(entry.patterns.iter().map(|pattern| (*pattern, number)));
    }
    let mut graph = Graph::new(entries.len());
    for (from, entry) in entries.iter().enumerate() {
        for (name, range) in &entry.dependencies {
            if let Some(to) = index.get(format!("{name}@{range}").as_str()) {
                graph.edge(from, *to, Way::Always);
            }
        }
    }
    let names: Vec<Option<&str>> = entries.iter().map(Entry::name).collect();
    for (number, entry) in entries.iter().enumerate() {
        let Some(name) = entry.name() else {
            list.note(entry.line, "an entry whose pattern has no version; write the file anew with yarn");
            continue;
        };
        let Some(version) = entry.version else {
            return Err(file.malformed(entry.line, "an entry without a version"));
        };
        // What lies in the project has no address, and a name that anybody might have in a registry.
        let resolved = entry.resolved.or_else(|| entry.place_in_project()).unwrap_or_default();
        let (place, fragment) = resolved.split_once('#').unwrap_or((resolved, ""));
        let is_git = address::git(resolved).is_some();
        let mut digests = digest::of_integrity(entry.integrity.unwrap_or_default());
        digests.extend(digest::of_hex("sha1", fragment).filter(|_| !is_git));
        let facts = Facts {
            resolved: Some(if is_git { resolved } else { place }).filter(|r| !r.is_empty()),
            digests,
            asked_by: graph.asked_by(number, |n| names.get(n).copied().flatten()),
            ..Facts::default()
        };
        add(list, name, version, facts, entry.line);
    }
    Ok(())
}

#[derive(Default)]
struct Entry<'a> {
    line: u32,
    patterns: Vec<&'a str>,
    version: Option<&'a str>,
    resolved: Option<&'a str>,
    integrity: Option<&'a str>,
    dependencies: Vec<(&'a str, &'a str)>,
}

impl<'a> Entry<'a> {
    /// Its real name: of `alias@npm:name@range` the second one.
    fn name(&self) -> Option<&'a str> {
        let (name, range) = split_id(self.patterns.first()?)?;
        match range.strip_prefix("npm:") {
            Some(real) => Some(split_id(real).map_or(real, |(name, _)| name)),
            None => Some(name),
        }
    }

    /// Its path in the project, if that is what it was asked for by: `name@file:path`, `name@./path`.
    fn place_in_project(&self) -> Option<&'a str> {
        let (_, range) = split_id(self.patterns.first()?)?;
        ["file:", "link:", "./", "../", "/"].iter().any(|start| range.starts_with(start)).then_some(range)
    }
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text)
}

fn entries<'a>(file: File<'a>) -> Result<Vec<Entry<'a>>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut in_dependencies = false;
    for (number, line) in (1..).zip(file.text.lines()) {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        if depth == 0 {
            let Some(patterns) = text.strip_suffix(':') else {
                return Err(file.malformed(number, "an entry needs `:` at its end"));
            };
            let patterns = patterns.split(", ").map(unquoted).collect();
            entries.push(Entry { line: number, patterns, ..Entry::default() });
            continue;
        }
        let Some(entry) = entries.last_mut() else {
            return Err(file.malformed(number, "a value before the first entry"));
        };
        // A name in quotes may have a space after it only.
        let (key, value) = text.split_once(' ').map_or((text, ""), |(k, v)| (unquoted(k), unquoted(v)));
        match (depth, key, value) {
            (2, key, "") => in_dependencies = matches!(key, "dependencies:" | "optionalDependencies:"),
            (2, "version", value) => entry.version = Some(value),
            (2, "resolved", value) => entry.resolved = Some(value),
            (2, "integrity", value) => entry.integrity = Some(value),
            (4.., name, range) if in_dependencies => entry.dependencies.push((name, range)),
            _ => {}
        }
    }
    Ok(entries)
}
