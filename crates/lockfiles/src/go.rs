//! `go.sum` and `go.mod` (Go modules reference).
//!
//! `go.sum` is what counts: it has every module that a build may read, with its digests. A line with
//! `/go.mod` is of that file alone, and is kept apart as `go.mod:h1:…`: a module that has no other digest is
//! read for its requirements and never built.

use std::collections::HashMap;

use cofferdam_types::Result;

use crate::{Ecosystem, File, Listed, Version, digest, list::List};

pub(crate) fn read_sum(file: File, list: &mut List) -> Result<()> {
    for (number, line) in file.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().take(4).collect();
        let (module, version, hash) = match words.as_slice() {
            [] => continue,
            [module, version, hash] => (*module, *version, *hash),
            _ => return Err(file.malformed(number, "a line needs a module, a version and a hash")),
        };
        let (version, of_mod) = version.strip_suffix("/go.mod").map_or((version, ""), |v| (v, "go.mod:"));
        let is_hash =
            hash.strip_prefix("h1:").and_then(digest::base64_to_hex).is_some_and(|hex| hex.len() == 64);
        if !is_hash {
            list.note(
                number,
                format!("the hash of `{module}` is of a kind that is not known here; it is not checked"),
            );
        }
        let mut item = Listed::new(Ecosystem::Golang, module, Version::Exact(version.to_owned()), number);
        item.digests.extend(is_hash.then(|| format!("{of_mod}{hash}")));
        list.add(item);
    }
    Ok(())
}

/// A replacement: of every version, or of one.
type Replaced<'a> = HashMap<(&'a str, Option<&'a str>), (&'a str, Option<&'a str>)>;

pub(crate) fn read_mod(file: File, list: &mut List) -> Result<()> {
    let mut block = None;
    let mut required = Vec::new();
    let mut replaced: Replaced = HashMap::new();
    for (number, line) in file.lines() {
        let text = line.split_once("//").map_or(line, |(before, _)| before).trim();
        let mut words = text.split_ascii_whitespace().map(|word| word.trim_matches(['"', '`']));
        let Some(first) = words.next() else { continue };
        if first == ")" {
            block = None;
            continue;
        }
        let mut rest: Vec<&str> = words.take(5).collect();
        let verb = match block {
            Some(verb) => {
                rest.insert(0, first);
                verb
            }
            None if rest.first() == Some(&"(") => {
                block = Some(first);
                continue;
            }
            None => first,
        };
        match (verb, rest.as_slice()) {
            ("require", [module, version, ..]) => required.push((*module, *version, number)),
            ("require", _) => return Err(file.malformed(number, "`require` needs a module and a version")),
            ("replace", [old, "=>", new @ ..]) => replace(&mut replaced, (old, None), new),
            ("replace", [old, version, "=>", new @ ..]) => replace(&mut replaced, (old, Some(version)), new),
            ("toolchain", [name, ..]) if *name != "default" => {
                list.note(number, format!("it asks for the toolchain {name}; install it, or name its archive in cofferdam.want under `urls`"));
            }
            _ => {}
        }
    }
    for (module, version, line) in required {
        let new = replaced.get(&(module, Some(version))).or_else(|| replaced.get(&(module, None)));
        let (name, version) = match new {
            // Without a version it is a folder.
            Some((_, None)) => continue,
            Some((name, Some(version))) => (*name, *version),
            None => (module, version),
        };
        let mut item = Listed::new(Ecosystem::Golang, name, Version::Exact(version.to_owned()), line);
        item.asked_by.extend((name != module).then(|| module.to_owned()));
        list.add(item);
    }
    Ok(())
}

fn replace<'a>(replaced: &mut Replaced<'a>, old: (&'a str, Option<&'a str>), new: &[&'a str]) {
    if let Some(name) = new.first() {
        replaced.insert(old, (name, new.get(1).copied()));
    }
}
