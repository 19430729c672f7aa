//! `yarn.lock` of Yarn 2 and later, which is YAML (Yarn documentation, "Lexicon": descriptors and locators).
//!
//! Its checksums are of archives that Yarn makes itself, not of what a registry has, and are not listed.

use std::collections::HashMap;

use cofferdam_types::{Result, platform::pairs};

use super::{Facts, add, split_id};
use crate::{
    File, address,
    list::List,
    reach::{Graph, Way},
    tree,
};

pub(super) fn read(file: File, list: &mut List) -> Result<()> {
    let documents = tree::yaml(file)?;
    let root = documents.first().ok_or_else(|| file.malformed(1, "it is empty"))?;
    let entries: Vec<_> = root.entries().iter().filter(|(key, ..)| key != "__metadata").collect();
    let mut index = HashMap::new();
    for (number, (key, ..)) in entries.iter().enumerate() {
        index.extend(key.split(", ").map(|descriptor| (descriptor, number)));
    }
    let mut graph = Graph::new(entries.len());
    for (from, (_, _, entry)) in entries.iter().enumerate() {
        for (name, _, range) in entry.map("dependencies") {
            let range = range.text().unwrap_or_default();
            let descriptors = [format!("{name}@{range}"), format!("{name}@npm:{range}")];
            if let Some(to) = descriptors.iter().find_map(|d| index.get(d.as_str())) {
                graph.edge(from, *to, Way::Always);
            }
        }
    }
    let ids: Vec<_> =
        entries.iter().map(|(_, _, entry)| entry.str("resolution").and_then(split_id)).collect();
    let mut has_checksums = None;
    for (number, (_, line, entry)) in entries.iter().enumerate() {
        let Some((name, reference)) = ids.get(number).copied().flatten() else {
            return Err(file.malformed(*line, "an entry without a resolution"));
        };
        let (protocol, rest) = reference.split_once(':').unwrap_or(("", reference));
        let asked_by = graph.asked_by(number, |n| ids.get(n).copied().flatten().map(|(name, _)| name));
        let platforms = entry.str("conditions").map(conditions).unwrap_or_default();
        match protocol {
            // What is patched is an entry of its own.
            "workspace" | "patch" | "link" | "portal" | "file" | "virtual" => continue,
            "npm" => {
                let (version, bindings) = rest.split_once("::").unwrap_or((rest, ""));
                let url = bindings.split('&').find_map(|b| b.strip_prefix("__archiveUrl=")).map(decoded);
                let facts = Facts { resolved: url.as_deref(), asked_by, platforms, ..Facts::default() };
                has_checksums = has_checksums.or(entry.get("checksum").map(|n| n.line));
                add(list, name, version, facts, *line);
            }
            _ => {
                let resolved = reference.split("::").next();
                let known = resolved.is_some_and(|r| address::is_absolute(r) || address::git(r).is_some());
                if !known {
                    list.note(*line, format!("`{name}` comes from `{protocol}:`, which is not known here; name it in cofferdam.want"));
                    continue;
                }
                let version = entry.str("version").unwrap_or("0.0.0");
                add(list, name, version, Facts { resolved, asked_by, ..Facts::default() }, *line);
            }
        }
    }
    if let Some(line) = has_checksums {
        list.note(
            line,
            "checksums here are of Yarn's own archives; the registry's digests are checked instead",
        );
    }
    Ok(())
}

/// `os=linux & cpu=x64 & (libc=glibc | libc=musl)`
fn conditions(text: &str) -> Vec<String> {
    let all = |key: &str| -> Vec<&str> {
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, '&' | '|' | '(' | ')'));
        words.filter_map(|w| w.strip_prefix(key)?.strip_prefix('=')).take(16).collect()
    };
    pairs(&all("os"), &all("cpu"), &all("libc"))
}

/// Percent-decoding of ASCII; anything else stays as written.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split('%');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let byte =
            part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii_graphic);
        match byte {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&part[2..]);
            }
            None => {
                out.push('%');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_and_percent_signs_are_read() {
        assert_eq!(conditions("os=darwin & (cpu=x64 | cpu=arm64)"), ["macos-aarch64", "macos-x86_64"]);
        assert_eq!(decoded("https%3A%2F%2Fr.example%zz%"), "https://r.example%zz%");
    }
}
