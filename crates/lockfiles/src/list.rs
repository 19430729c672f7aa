//! The list that a reader fills: bounds, merging of equal entries, the default registry of a file.
//!
//! What leaves here is safe to show and to send: names are short, without spaces and control characters,
//! and no address has credentials.

use std::collections::BTreeMap;

use cofferdam_types::{Result, printable};

use crate::{Ecosystem, File, Kind, Listed, Note, Reading, Version, address};

/// Entries of one file at the most.
pub const MAX_ITEMS: usize = 200_000;
/// Notes of one file at the most; the last one then says how many more there were.
pub const MAX_NOTES: usize = 500;
/// Names in `asked_by` at the most.
const MAX_ASKED_BY: usize = 32;
/// Bytes of a name, of an address, and of a range or condition.
const MAX_NAME: usize = 512;
const MAX_ADDRESS: usize = 2048;
const MAX_WORDS: usize = 4096;
/// Files that one file may include.
const MAX_INCLUDES: usize = 1000;

pub(crate) struct List {
    folder: Vec<String>,
    entries: Vec<Entry>,
    notes: Vec<Note>,
    unsaid: usize,
    includes: Vec<String>,
}

struct Entry {
    item: Listed,
    registry: Option<String>,
}

impl List {
    pub fn new(path: &str) -> Self {
        let mut folder: Vec<String> = path.split('/').map(str::to_owned).collect();
        folder.pop();
        Self { folder, entries: Vec::new(), notes: Vec::new(), unsaid: 0, includes: Vec::new() }
    }

    /// Something that is there and cannot be listed, and what to do.
    pub fn note(&mut self, line: u32, text: impl Into<String>) {
        if self.notes.len() >= MAX_NOTES {
            self.unsaid += 1;
            return;
        }
        let text: String = text.into().chars().take(600).collect();
        self.notes.push(Note { line: line.max(1), text: printable(text) });
    }

    /// An entry of the ecosystem's usual registry, or with its own `source`.
    pub fn add(&mut self, item: Listed) {
        self.push(item, None);
    }

    /// An entry that names its registry, which may be the file's default one.
    pub fn add_from(&mut self, item: Listed, registry: &str) {
        self.push(item, Some(address::clean(registry).trim_end_matches('/').to_owned()));
    }

    /// A git repository, for the package that it makes.
    pub fn git(&mut self, repository: &str, reference: Option<&str>, asked_by: &str, line: u32) {
        let version =
            reference.filter(|r| !r.is_empty()).map_or(Version::Any, |r| Version::Exact(r.to_owned()));
        let mut item = Listed::new(Ecosystem::Git, address::clean(repository), version, line);
        item.asked_by.extend((!asked_by.is_empty()).then(|| asked_by.to_owned()));
        self.add(item);
    }

    /// One file by its address, for the package that it is.
    pub fn url(&mut self, url: &str, digests: Vec<String>, asked_by: &str, line: u32) {
        let mut item = Listed::new(Ecosystem::Url, address::clean(url), Version::Any, line);
        item.digests = digests;
        item.asked_by.extend((!asked_by.is_empty()).then(|| asked_by.to_owned()));
        self.add(item);
    }

    fn push(&mut self, mut item: Listed, registry: Option<String>) {
        // One above the bound is kept, so that the end sees that it was passed.
        if self.entries.len() > MAX_ITEMS {
            return;
        }
        if let Err(why) = check(&item, registry.as_deref()) {
            let what = item.ecosystem;
            self.note(item.line, format!("an entry of {what} is left out: {why}; correct it or remove it"));
            return;
        }
        item.line = item.line.max(1);
        item.source = item.source.map(|s| address::clean(&s));
        self.entries.push(Entry { item, registry });
    }

    /// Another file, by its path as seen from this one.
    pub fn include(&mut self, target: &str, line: u32) {
        if target.starts_with('/') {
            self.note(
                line,
                format!("`{target}` is outside the project and was not read; copy it into the project"),
            );
            return;
        }
        self.include_below(self.folder.clone(), target, line);
    }

    /// Another file, by its path as seen from the project's own folder.
    pub fn include_from_root(&mut self, target: &str, line: u32) {
        self.include_below(Vec::new(), target.trim_start_matches('/'), line);
    }

    fn include_below(&mut self, mut path: Vec<String>, target: &str, line: u32) {
        for segment in target.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    if path.pop().is_none_or(|s| s == "..") {
                        self.note(
                            line,
                            format!(
                                "`{target}` is outside the project and was not read; copy it into the project"
                            ),
                        );
                        return;
                    }
                }
                name => path.push(name.to_owned()),
            }
        }
        let path = path.join("/");
        if path.is_empty() || path.len() > MAX_WORDS || path.contains(char::is_control) {
            self.note(line, "it includes a file whose path cannot be one; correct it");
        } else if self.includes.len() >= MAX_INCLUDES {
            self.note(line, format!("more than {MAX_INCLUDES} included files; this one was not read"));
        } else {
            self.includes.push(path);
        }
    }

    /// The reading: registries decided, entries sorted, equal ones merged.
    pub fn finish(mut self, file: File, kind: Kind) -> Result<Reading> {
        if self.entries.len() > MAX_ITEMS {
            return Err(file.error(
                1,
                format!("more than {MAX_ITEMS} entries"),
                "split the project, or write what is needed into cofferdam.want",
            ));
        }
        self.settle_registries();
        let mut items: Vec<Listed> = self.entries.into_iter().map(|entry| entry.item).collect();
        items.sort_by(|a, b| key(a).cmp(&key(b)).then(a.line.cmp(&b.line)));
        let mut merged: Vec<Listed> = Vec::with_capacity(items.len());
        for item in items {
            match merged.last_mut() {
                Some(last) if key(last) == key(&item) => merge(last, item),
                _ => merged.push(item),
            }
        }
        merged.iter_mut().for_each(tidy);
        self.notes.sort();
        self.notes.dedup();
        if self.unsaid > 0 {
            let text = format!("{} more notes of this file are not shown", self.unsaid);
            let line = self.notes.last().map_or(1, |note| note.line);
            self.notes.push(Note { line, text });
        }
        self.includes.sort();
        self.includes.dedup();
        Ok(Reading { kind, items: merged, notes: self.notes, includes: self.includes })
    }

    /// The registry that most entries of an ecosystem name is its default one; the others are said.
    fn settle_registries(&mut self) {
        let mut counts: BTreeMap<(Ecosystem, &str), (usize, u32)> = BTreeMap::new();
        for Entry { item, registry } in &self.entries {
            if let Some(registry) = registry {
                let count = counts.entry((item.ecosystem, registry)).or_insert((0, item.line));
                *count = (count.0 + 1, count.1.min(item.line));
            }
        }
        let mut defaults: BTreeMap<Ecosystem, (usize, u32, String)> = BTreeMap::new();
        for ((ecosystem, registry), (count, line)) in &counts {
            let best = defaults.entry(*ecosystem).or_insert((0, 0, String::new()));
            if *count > best.0 || (*count == best.0 && *line < best.1) {
                *best = (*count, *line, (*registry).to_owned());
            }
        }
        let mut others: BTreeMap<Ecosystem, Vec<(u32, String)>> = BTreeMap::new();
        for ((ecosystem, registry), (count, line)) in &counts {
            if defaults.get(ecosystem).is_some_and(|(_, _, default)| default != registry) {
                others.entry(*ecosystem).or_default().push((*line, format!("{registry} ({count})")));
            }
        }
        for Entry { item, registry } in &mut self.entries {
            let default = defaults.get(&item.ecosystem).map(|(_, _, name)| name);
            item.source = item.source.take().or(registry.take().filter(|r| Some(r) != default));
        }
        for (ecosystem, mut places) in others {
            places.sort();
            let line = places.first().map_or(1, |(line, _)| *line);
            let shown: Vec<String> = places.iter().take(5).map(|(_, text)| text.clone()).collect();
            let default = defaults.get(&ecosystem).map_or("", |(_, _, name)| name.as_str());
            let shown = shown.join(", ");
            self.note(
                line,
                format!(
                    "{ecosystem} comes from {} registries; {default} is taken for the default one, and the site \
                     needs a mirror for: {shown}",
                    places.len() + 1
                ),
            );
        }
    }
}

fn key(item: &Listed) -> (Ecosystem, &str, &Version, &Option<String>) {
    (item.ecosystem, &item.name, &item.version, &item.source)
}

/// Whether it may be shown and sent.
fn check(item: &Listed, registry: Option<&str>) -> std::result::Result<(), &'static str> {
    let is_address = matches!(item.ecosystem, Ecosystem::Git | Ecosystem::Url);
    let bad = |text: &str| text.chars().any(|c| c.is_control() || c.is_whitespace());
    if item.name.is_empty() || bad(&item.name) {
        return Err("its name is empty or has spaces or control characters");
    }
    if item.name.len() > if is_address { MAX_ADDRESS } else { MAX_NAME } {
        return Err("its name is too long");
    }
    let version = match &item.version {
        Version::Exact(version) if version.is_empty() || bad(version) || version.len() > MAX_NAME => {
            return Err("its version is empty, too long, or has spaces or control characters");
        }
        Version::Range(range) => range,
        _ => "",
    };
    let words = [Some(version), item.markers.as_deref(), item.source.as_deref(), registry];
    if words.iter().flatten().any(|w| w.len() > MAX_WORDS || w.contains(char::is_control)) {
        return Err("its range, its condition or its source is too long or has control characters");
    }
    Ok(())
}

/// Joins two entries of the same thing: what either needs is needed.
fn merge(into: &mut Listed, other: Listed) {
    // No platform is every platform.
    if into.platforms.is_empty() || other.platforms.is_empty() {
        into.platforms.clear();
    } else {
        into.platforms.extend(other.platforms);
    }
    into.markers = match (into.markers.take(), other.markers) {
        (Some(a), Some(b)) if a == b => Some(a),
        (Some(a), Some(b)) if a.len() + b.len() < MAX_WORDS => {
            if a.split(" or ").any(|part| part == format!("({b})")) {
                Some(a)
            } else if a.starts_with('(') {
                Some(format!("{a} or ({b})"))
            } else {
                Some(format!("({a}) or ({b})"))
            }
        }
        _ => None,
    };
    into.digests.extend(other.digests);
    into.asked_by.extend(other.asked_by);
    into.dev &= other.dev;
    into.optional &= other.optional;
    into.line = into.line.min(other.line);
}

fn tidy(item: &mut Listed) {
    for texts in [&mut item.digests, &mut item.asked_by, &mut item.platforms] {
        texts.sort();
        texts.dedup();
    }
    item.asked_by
        .retain(|name| !name.is_empty() && name.len() <= MAX_NAME && !name.contains(char::is_control));
    item.asked_by.truncate(MAX_ASKED_BY);
}
