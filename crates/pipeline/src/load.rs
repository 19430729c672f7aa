//! From files to one tree: includes, deep merge, `!reference`, `extends`, `default`.
//! Must never read anything but through [`Source`].

use crate::config::{Config, Inherit};
use crate::diagnostic::{Diagnostic, Place};
use crate::keywords::{check, nearest};
use crate::yaml::{self, MAX_NODES, Node, Value};
use crate::{glob, job};
use std::collections::HashMap;

/// Where files come from: one commit of one project.
pub trait Source {
    /// The text of a file, `None` when there is none. The path has no leading slash.
    fn read(&self, path: &str) -> Option<String>;
    /// All paths, for `include` with a pattern.
    fn list(&self) -> Vec<String> {
        Vec::new()
    }
}

const MAX_INCLUDES: usize = 150;
const MAX_EXTENDS: usize = 10;
const MAX_REFERENCES: usize = 10;

/// Keys of the top that are no jobs.
const GLOBAL: &[&str] = &[
    "stages",
    "default",
    "variables",
    "workflow",
    "include",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
    "spec",
    "types",
];

struct Loader<'a> {
    source: &'a dyn Source,
    includes: usize,
    nodes: usize,
    problems: Vec<Diagnostic>,
    /// Jobs whose `extends` is resolved, with how deep it went: each is merged once, however many
    /// paths lead to it.
    extended: HashMap<String, (Node, usize)>,
    /// Values of the jobs after `extends` and `default`.
    values: usize,
}

/// Loads a definition.
///
/// # Errors
/// All mistakes that can be found at once, each with its place.
pub fn load(source: &dyn Source, path: &str) -> Result<Config, Vec<Diagnostic>> {
    let mut loader =
        Loader { source, includes: 0, nodes: 0, problems: Vec::new(), extended: HashMap::new(), values: 0 };
    let start = Place { file: path.to_owned(), line: 1, column: 1 };
    let Some(tree) = loader.file(path, &start, &mut Vec::new()) else { return Err(loader.problems) };
    if tree.map().is_none() {
        return Err(vec![Diagnostic::new(
            &tree.place,
            "the top of the file must be a mapping of keywords and jobs",
        )]);
    }
    let tree = loader.resolve(&tree, &tree, 0);
    let jobs = loader.jobs(&tree);
    let config = job::config(&tree, jobs, &mut loader.problems);
    if loader.problems.is_empty() {
        return Ok(config);
    }
    let mut problems = loader.problems;
    problems.sort_by_key(|p| (p.place.file.clone(), p.place.line, p.place.column));
    problems.dedup();
    Err(problems)
}

impl Loader<'_> {
    fn say(&mut self, place: &Place, message: impl Into<String>) {
        self.problems.push(Diagnostic::new(place, message));
    }

    fn file(&mut self, path: &str, from: &Place, above: &mut Vec<String>) -> Option<Node> {
        if above.iter().any(|file| file == path) {
            self.say(from, format!("`{path}` includes itself"));
            return None;
        }
        let Some(text) = self.source.read(path) else {
            self.say(from, format!("the file `{path}` does not exist in this commit"));
            return None;
        };
        let tree = match yaml::parse(path, &text) {
            Ok(tree) => tree,
            Err(problems) => {
                self.problems.extend(problems);
                return None;
            }
        };
        above.push(path.to_owned());
        let mut base: Option<Node> = None;
        for (file, place) in tree.get("include").map(|node| self.include(node)).unwrap_or_default() {
            self.includes += 1;
            if self.includes > MAX_INCLUDES {
                self.say(&place, format!("more than {MAX_INCLUDES} includes"));
                break;
            }
            if let Some(node) = self.file(&file, &place, above) {
                base = Some(base.map_or_else(|| node.clone(), |base| merge(&base, &node)));
            }
        }
        above.pop();
        Some(base.map_or_else(|| tree.clone(), |base| merge(&base, &tree)))
    }

    fn include(&mut self, node: &Node) -> Vec<(String, Place)> {
        let items = node.list().unwrap_or(std::slice::from_ref(node));
        let mut files = Vec::new();
        for item in items {
            let path = match &item.value {
                Value::Map(_) => {
                    check(item, "include", &mut self.problems);
                    item.get("local").and_then(Node::text)
                }
                _ => item.text(),
            };
            match path {
                Some(path) if path.contains("://") => {
                    self.say(
                        &item.place,
                        "`include:remote` is known but not supported: a pipeline reads only its own project",
                    );
                }
                Some(path) if path.contains('*') => {
                    let pattern = path.trim_start_matches('/');
                    let all = self.source.list();
                    let found =
                        all.into_iter().filter(|file| glob::matches(pattern, std::slice::from_ref(file)));
                    files.extend(found.map(|file| (file, item.place.clone())));
                }
                Some(path) => files.push((path.trim_start_matches('/').to_owned(), item.place.clone())),
                None if item.map().is_some_and(|map| !map.is_empty()) => {}
                None => self.say(&item.place, "an include is a path or a mapping with `local`"),
            }
        }
        files
    }

    fn resolve(&mut self, node: &Node, root: &Node, depth: usize) -> Node {
        if node.tag.as_deref() == Some("reference") {
            return self.reference(node, root, depth);
        }
        self.nodes += 1;
        let value = match &node.value {
            Value::List(items) => {
                Value::List(items.iter().map(|item| self.resolve(item, root, depth)).collect())
            }
            Value::Map(entries) => Value::Map(
                entries
                    .iter()
                    .map(|(k, p, v)| (k.clone(), p.clone(), self.resolve(v, root, depth)))
                    .collect(),
            ),
            scalar => scalar.clone(),
        };
        Node { value, place: node.place.clone(), tag: node.tag.clone() }
    }

    fn reference(&mut self, node: &Node, root: &Node, depth: usize) -> Node {
        let empty = Node { value: Value::Scalar(String::new(), true), place: node.place.clone(), tag: None };
        if depth >= MAX_REFERENCES || self.nodes > MAX_NODES {
            self.say(
                &node.place,
                format!("`!reference` goes deeper than {MAX_REFERENCES} levels or in a circle"),
            );
            return empty;
        }
        let path: Vec<&str> = node.list().unwrap_or_default().iter().filter_map(Node::text).collect();
        let found = path.iter().try_fold(root, |node, key| node.get(key));
        match found {
            Some(found) if !path.is_empty() => self.resolve(found, root, depth + 1),
            _ => {
                self.say(&node.place, format!("`!reference [{}]` points to nothing", path.join(", ")));
                empty
            }
        }
    }

    /// Every job that runs, with `extends` and `default` applied.
    fn jobs(&mut self, tree: &Node) -> Vec<(String, Place, Node)> {
        let default = self.default(tree);
        let entries = tree.map().unwrap_or_default();
        let all: HashMap<&str, &Node> = entries
            .iter()
            .filter(|(name, ..)| !GLOBAL.contains(&name.as_str()))
            .map(|(name, _, node)| (name.as_str(), node))
            .collect();
        let mut jobs = Vec::new();
        for (name, place, node) in entries {
            if !all.contains_key(name.as_str()) || name.starts_with('.') {
                continue;
            }
            if node.map().is_none() {
                let mut problem = Diagnostic::new(place, format!("`{name}` is neither a keyword nor a job"));
                problem.hint = nearest(name, GLOBAL.iter().copied());
                self.problems.push(problem);
                continue;
            }
            let (node, _) = self.extend(node, &all, &mut vec![name.clone()]);
            let node = fill(node, &default, &mut self.problems);
            self.values += count(&node);
            if self.values > MAX_NODES {
                let text = format!(
                    "the jobs hold more than {MAX_NODES} values, `extends` and `default` counted in full"
                );
                self.say(place, text);
                return Vec::new();
            }
            jobs.push((name.clone(), place.clone(), node));
        }
        jobs
    }

    fn default(&mut self, tree: &Node) -> Vec<(String, Place, Node)> {
        let mut default = Vec::new();
        if let Some(node) = tree.get("default") {
            check(node, "default", &mut self.problems);
            default.extend(node.map().unwrap_or_default().iter().cloned());
        }
        for (name, place, node) in tree.map().unwrap_or_default() {
            if !matches!(name.as_str(), "image" | "services" | "cache" | "before_script" | "after_script") {
                continue;
            }
            if default.iter().any(|(known, ..)| known == name) {
                self.say(
                    place,
                    format!("`{name}` stands at the top and in `default`: keep the one in `default`"),
                );
            } else {
                default.push((name.clone(), place.clone(), node.clone()));
            }
        }
        default
    }

    /// A job with its bases merged below it, and how many levels that went down. `path` is the chain
    /// that led here, the job's own name last.
    fn extend(&mut self, node: &Node, all: &HashMap<&str, &Node>, path: &mut Vec<String>) -> (Node, usize) {
        let Some(extends) = node.get("extends") else { return (node.clone(), 0) };
        let mut base: Option<Node> = None;
        let mut depth = 0;
        for item in extends.list().unwrap_or(std::slice::from_ref(extends)) {
            let Some((found, below)) = self.base(item, all, path) else { continue };
            depth = depth.max(below + 1);
            base = Some(base.map_or_else(|| found.clone(), |base| merge(&base, &found)));
        }
        if depth > MAX_EXTENDS {
            self.say(&extends.place, format!("`extends` goes deeper than {MAX_EXTENDS} levels"));
            return (node.clone(), 0);
        }
        let merged = base.map_or_else(|| node.clone(), |base| merge(&base, node));
        if let Some(name) = path.last() {
            self.extended.insert(name.clone(), (merged.clone(), depth));
        }
        (merged, depth)
    }

    /// One base of a job, resolved.
    fn base(
        &mut self,
        item: &Node,
        all: &HashMap<&str, &Node>,
        path: &mut Vec<String>,
    ) -> Option<(Node, usize)> {
        let name = item.text().unwrap_or_default();
        let Some(found) = all.get(name).filter(|found| found.map().is_some()) else {
            let mut problem =
                Diagnostic::new(&item.place, format!("`extends` names `{name}`, which is no job"));
            problem.hint = nearest(name, all.keys().copied());
            self.problems.push(problem);
            return None;
        };
        if path.iter().any(|seen| seen == name) {
            self.say(&item.place, format!("`extends` goes in a circle: {} -> {name}", path.join(" -> ")));
            return None;
        }
        if let Some(known) = self.extended.get(name) {
            return Some(known.clone());
        }
        path.push(name.to_owned());
        let resolved = self.extend(found, all, path);
        path.pop();
        Some(resolved)
    }
}

/// The values in a tree, itself included.
fn count(node: &Node) -> usize {
    match &node.value {
        Value::Map(entries) => 1 + entries.iter().map(|(_, _, inner)| count(inner)).sum::<usize>(),
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// `top` over `base`: mappings are joined, everything else is replaced.
fn merge(base: &Node, top: &Node) -> Node {
    let (Some(below), Some(above)) = (base.map(), top.map()) else { return top.clone() };
    let mut entries = below.to_vec();
    for (name, place, node) in above {
        match entries.iter_mut().find(|(known, ..)| known == name) {
            Some(entry) => *entry = (name.clone(), place.clone(), merge(&entry.2, node)),
            None => entries.push((name.clone(), place.clone(), node.clone())),
        }
    }
    Node { value: Value::Map(entries), place: top.place.clone(), tag: top.tag.clone() }
}

/// Gives a job the defaults for keys it does not have, as far as `inherit` lets it.
fn fill(mut job: Node, default: &[(String, Place, Node)], problems: &mut Vec<Diagnostic>) -> Node {
    let inherit = job.get("inherit").map(|node| {
        check(node, "inherit", problems);
        job::inherit(node.get("default"), problems)
    });
    let inherit = inherit.unwrap_or(Inherit::All);
    if let Value::Map(entries) = &mut job.value {
        for entry in default {
            if inherit.takes(&entry.0) && !entries.iter().any(|(name, ..)| *name == entry.0) {
                entries.push(entry.clone());
            }
        }
    }
    job
}
