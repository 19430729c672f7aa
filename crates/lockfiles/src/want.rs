//! `cofferdam.want`: our own file, written by people: what a project needs that no lock file names.
//!
//! It is the only strict one: a word that is not known here is an error, because nobody would see that it
//! was passed over.

use cofferdam_types::Result;

use crate::{
    Ecosystem, File, Listed, Version, address, digest, image,
    list::List,
    python,
    tree::{self, Node, Value},
};

/// Newest versions that one entry may ask for.
const MAX_LATEST: u32 = 1000;

const LISTS: [&str; 4] = ["images", "git", "urls", "advisories"];
const KEYS: [&str; 5] = ["version", "latest", "platforms", "source", "note"];

const EXAMPLE: &str = "write it like `name = \"1.2.3\"` or `name = { latest = 3 }`, then try again";

fn tables() -> impl Iterator<Item = Ecosystem> {
    Ecosystem::ALL.into_iter().filter(|e| e.has_packages())
}

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::toml(file)?;
    for (key, line, node) in root.entries() {
        if LISTS.contains(&key.as_str()) {
            if !matches!(node.value, Value::List(_)) {
                return Err(file.error(
                    *line,
                    format!("`{key}` is no list"),
                    "write it like `images = [\"…\"]`",
                ));
            }
            for entry in node.items() {
                let text = match &entry.value {
                    Value::Scalar(text, false) => text,
                    _ => {
                        return Err(file.error(
                            entry.line,
                            format!("an entry of `{key}` is no text"),
                            "put it in quotes",
                        ));
                    }
                };
                listed(file, list, key, text, entry.line)?;
            }
            continue;
        }
        let Some(ecosystem) = key.parse().ok().filter(|e: &Ecosystem| e.has_packages()) else {
            let tables: Vec<&str> = tables().map(Ecosystem::as_str).collect();
            return Err(file.error(
                *line,
                format!("the key `{key:.80}` is not known"),
                &format!("known are the lists {} and the tables {}", LISTS.join(", "), tables.join(", ")),
            ));
        };
        if !node.is_map() {
            return Err(file.error(
                *line,
                format!("`{key}` is no table"),
                &format!("write `[{key}]` above its packages"),
            ));
        }
        for (name, line, entry) in node.entries() {
            // A list has several wants of one package.
            let entries = if entry.items().is_empty() { std::slice::from_ref(entry) } else { entry.items() };
            for entry in entries {
                let item = package(file, ecosystem, name, *line, entry)?;
                list.add(item);
            }
        }
    }
    Ok(())
}

fn listed(file: File, list: &mut List, key: &str, text: &str, line: u32) -> Result<()> {
    match key {
        "images" => {
            let item = image::listed(text, line);
            list.add(item.map_err(|why| file.error(line, why, "write it like `host.example/name:tag`"))?);
        }
        "git" => {
            let (place, reference) = text.split_once('#').map_or((text, None), |(p, r)| (p, Some(r)));
            let is_place = address::git(place).is_some() || address::is_absolute(place);
            if !is_place || reference == Some("") {
                return Err(file.error(
                    line,
                    "no address of a git repository",
                    "write it like `https://git.example/a/b.git#v1`",
                ));
            }
            let place = address::git(place).map_or(place.to_owned(), |(place, _)| place);
            list.git(&place, reference, "", line);
        }
        "urls" => {
            let (place, fragment) = text.split_once('#').map_or((text, None), |(p, f)| (p, Some(f)));
            let digest = fragment.and_then(|f| f.split_once('=')).and_then(|(a, hex)| digest::of_hex(a, hex));
            if !address::is_absolute(place) || fragment.is_some() != digest.is_some() {
                return Err(file.error(
                    line,
                    "no address of a file",
                    "write it like `https://files.example/a.tar.gz` or `…#sha256=<hex>`",
                ));
            }
            list.url(place, digest.into_iter().collect(), "", line);
        }
        _ => {
            let ecosystem = text.parse::<Ecosystem>().ok().filter(|e| e.has_packages());
            let known: Vec<&str> = tables().map(Ecosystem::as_str).collect();
            let ecosystem = ecosystem.ok_or_else(|| {
                file.error(
                    line,
                    format!("`{text:.80}` has no advisories"),
                    &format!("known are {}", known.join(", ")),
                )
            })?;
            list.add(Listed::new(Ecosystem::Advisories, ecosystem.as_str(), Version::Any, line));
        }
    }
    Ok(())
}

fn package(file: File, ecosystem: Ecosystem, name: &str, line: u32, entry: &Node) -> Result<Listed> {
    let of_file = |why: String| file.error(line, why, EXAMPLE);
    let normal = if ecosystem == Ecosystem::Pypi { python::normalise(name) } else { Some(name.to_owned()) };
    let is_name = |n: &String| {
        !n.is_empty() && n.len() <= 512 && !n.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    let normal = normal
        .filter(is_name)
        .ok_or_else(|| of_file(format!("`{name:.80}` is no name of a {ecosystem} package")))?;
    let mut item = Listed::new(ecosystem, normal, Version::Any, line);
    let version = match &entry.value {
        Value::Scalar(text, false) => Some(text.as_str()),
        Value::Map(entries) => {
            for (key, line, value) in entries {
                field(file, &mut item, key, *line, value)?;
            }
            entry.str("version")
        }
        _ => return Err(of_file(format!("the version of `{name:.80}` is no text"))),
    };
    if let Some(text) = version {
        if matches!(item.version, Version::Latest(_)) {
            return Err(of_file(format!("`{name:.80}` has both `version` and `latest`")));
        }
        item.version = version_of(ecosystem, text);
        let is_version = match &item.version {
            Version::Exact(v) => !v.is_empty() && v.len() <= 256 && !v.chars().any(char::is_whitespace),
            Version::Range(v) => v.len() <= 1024 && !v.contains(char::is_control),
            _ => true,
        };
        if !is_version {
            return Err(of_file(format!("the version of `{name:.80}` cannot be one")));
        }
    }
    Ok(item)
}

fn field(file: File, item: &mut Listed, key: &str, line: u32, value: &Node) -> Result<()> {
    let wrong = |what: &str| file.error(line, format!("`{key:.80}` is no {what}"), EXAMPLE);
    let text = if let Value::Scalar(text, false) = &value.value { Some(text.as_str()) } else { None };
    match key {
        "version" => {
            text.ok_or_else(|| wrong("text"))?;
        }
        "latest" => {
            let count = value.text().filter(|_| text.is_none()).and_then(|n| n.parse().ok());
            let count = count
                .filter(|n| (1..=MAX_LATEST).contains(n))
                .ok_or_else(|| wrong("number from 1 to 1000"))?;
            item.version = Version::Latest(count);
        }
        "platforms" => {
            let words: Vec<&str> = value.items().iter().filter_map(Node::text).collect();
            let is_word =
                |w: &&str| w.len() <= 64 && w.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            if words.is_empty()
                || words.len() != value.items().len()
                || words.len() > 64
                || !words.iter().all(is_word)
            {
                return Err(wrong("list of platforms like \"linux-x86_64\""));
            }
            item.platforms = words.into_iter().map(str::to_owned).collect();
        }
        "source" => {
            let address = text.filter(|t| t.contains("://")).ok_or_else(|| wrong("address"))?;
            item.source = Some(address.to_owned());
        }
        "note" => item.asked_by.push(text.ok_or_else(|| wrong("text"))?.chars().take(400).collect()),
        _ => {
            let known = format!("known are {}", KEYS.join(", "));
            return Err(file.error(line, format!("the key `{key:.80}` is not known"), &known));
        }
    }
    Ok(())
}

/// In this file a bare version is that version, whatever the ecosystem's tools make of it. Where versions have three numbers
/// (SemVer 2, item 2), one or two are none, and mean what the tools make of them.
fn version_of(ecosystem: Ecosystem, text: &str) -> Version {
    let text = text.trim();
    if ecosystem == Ecosystem::Pypi && text.starts_with("==") {
        return python::version_of(text);
    }
    let exact = text.strip_prefix('=').filter(|t| !t.starts_with('=')).map_or(text, str::trim);
    let is_range = exact.contains(['<', '>', '^', '~', '*', ',', '|', '[', '(', ' ', '!', '='])
        || exact.split('.').any(|part| matches!(part, "x" | "X"));
    let is_part = matches!(ecosystem, Ecosystem::Npm | Ecosystem::Cargo)
        && exact.split('.').count() < 3
        && exact.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    match exact {
        "*" | "any" => Version::Any,
        _ if is_part => Version::Range(text.to_owned()),
        exact if is_range => Version::Range(exact.to_owned()),
        exact => Version::Exact(exact.to_owned()),
    }
}
