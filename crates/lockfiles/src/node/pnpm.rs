//! `pnpm-lock.yaml`, lockfileVersion 5 to 9 (pnpm documentation, "Lockfile format").
//!
//! A package's key was `/name/1.0.0_peers` until 5, `/name@1.0.0(peers)` in 6, and is `name@1.0.0` since 9,
//! where `snapshots` has who requires what. A file may have several documents.

use std::collections::HashMap;

use cofferdam_types::Result;

use super::{Facts, add, platforms, split_id};
use crate::{
    File, address, digest,
    list::List,
    reach::{Graph, Way},
    tree::{self, Node},
};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let documents = tree::yaml(file)?;
    let mut known = false;
    for document in &documents {
        let Some(version) = document.str("lockfileVersion") else { continue };
        let major = version.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        if !(5..=9).contains(&major) {
            let line = document.get("lockfileVersion").map_or(1, |n| n.line);
            return Err(file.error(
                line,
                format!("lockfileVersion {version}; known are 5 to 9"),
                "write the file anew with a pnpm of version 6 to 10",
            ));
        }
        known = true;
        Lock::new(document, major).list(list);
    }
    if known { Ok(()) } else { Err(file.malformed(1, "the key `lockfileVersion` is missing")) }
}

struct Lock<'a> {
    document: &'a Node,
    major: u32,
    packages: &'a [(String, u32, Node)],
    index: HashMap<&'a str, usize>,
}

/// A key without the peers in brackets.
fn bare(key: &str) -> &str {
    key.split_once('(').map_or(key, |(before, _)| before)
}

impl<'a> Lock<'a> {
    fn new(document: &'a Node, major: u32) -> Self {
        let packages = document.map("packages");
        let index = packages.iter().enumerate().map(|(n, (key, ..))| (bare(key), n)).collect();
        Self { document, major, packages, index }
    }

    /// Name and version (or address) of a package's key.
    fn parts(&self, key: &'a str) -> Option<(&'a str, &'a str)> {
        let key = bare(key);
        if self.major > 5 {
            return split_id(key.strip_prefix('/').unwrap_or(key));
        }
        // A key without the first slash begins with a registry's host.
        let (before, version) = key.rsplit_once('/')?;
        let version = version.split_once('_').map_or(version, |(version, _)| version);
        let (above, last) = before.rsplit_once('/').unwrap_or(("", before));
        let scope = above.rsplit_once('/').map_or(above, |(_, scope)| scope);
        let length = if scope.starts_with('@') { scope.len() + 1 + last.len() } else { last.len() };
        Some((&before[before.len() - length..], version))
    }

    /// The entry that a dependency means.
    fn target(&self, name: &str, dependency: &Node) -> Option<usize> {
        let version = dependency.text().or_else(|| dependency.str("version"))?;
        let full = match self.major {
            5 => format!("/{name}/{version}"),
            6 => format!("/{name}@{version}"),
            _ => format!("{name}@{version}"),
        };
        [full.as_str(), version].iter().find_map(|key| self.index.get(bare(key)).copied())
    }

    fn graph(&self) -> Graph {
        // The last entry is the project.
        let project = self.packages.len();
        let mut graph = Graph::new(project + 1);
        graph.start(project);
        let own = [
            ("dependencies", Way::Always),
            ("optionalDependencies", Way::Optional),
            ("devDependencies", Way::Dev),
            ("configDependencies", Way::Dev),
            ("packageManagerDependencies", Way::Dev),
        ];
        let importers = self.document.map("importers").iter().map(|(_, _, node)| node);
        for importer in importers.chain([self.document]) {
            for (key, way) in own {
                for (name, _, dependency) in importer.map(key) {
                    if let Some(target) = self.target(name, dependency) {
                        graph.edge(project, target, way);
                    }
                }
            }
        }
        for (key, _, entry) in self.packages.iter().chain(self.document.map("snapshots")) {
            let Some(from) = self.index.get(bare(key)).copied() else { continue };
            for (key, way) in own.iter().take(2) {
                for (name, _, dependency) in entry.map(key) {
                    if let Some(target) = self.target(name, dependency) {
                        graph.edge(from, target, *way);
                    }
                }
            }
        }
        graph.settle();
        graph
    }

    fn list(&self, list: &mut List) {
        let graph = self.graph();
        let name = |key: &'a str, entry: &'a Node| entry.str("name").or_else(|| Some(self.parts(key)?.0));
        let names: Vec<Option<&str>> = self.packages.iter().map(|(key, _, entry)| name(key, entry)).collect();
        for (number, (key, line, entry)) in self.packages.iter().enumerate() {
            let resolution = entry.get("resolution");
            let fact = |name: &str| resolution.and_then(|r| r.str(name));
            let Some((in_key, reference)) = self.parts(key) else {
                list.note(*line, format!("the key `{key}` is not understood; write the file anew with pnpm"));
                continue;
            };
            let name = entry.str("name").unwrap_or(in_key);
            if let (Some(repository), Some(commit)) = (fact("repo"), fact("commit")) {
                let repository = address::git(repository).map_or(repository.to_owned(), |(place, _)| place);
                list.git(&repository, Some(commit), name, *line);
                continue;
            }
            let in_project =
                fact("directory").is_some() || ["file:", "link:"].iter().any(|s| reference.starts_with(s));
            if in_project || key.starts_with("file:") {
                continue;
            }
            let (dev, optional) = graph.flags(number);
            let facts = Facts {
                resolved: fact("tarball").filter(|t| address::is_absolute(t)),
                digests: digest::of_integrity(fact("integrity").unwrap_or_default()),
                asked_by: graph.asked_by(number, |n| names.get(n).copied().flatten()),
                platforms: platforms(entry),
                dev: dev || entry.is_true("dev"),
                optional: optional || entry.is_true("optional"),
            };
            add(list, name, entry.str("version").unwrap_or(reference), facts, *line);
        }
    }
}
