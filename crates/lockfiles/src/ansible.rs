//! Ansible's `requirements.yml`: collections and roles (Ansible documentation, "Galaxy User Guide").
//!
//! A role of the Galaxy has the marker `role`: it is fetched in another way than a collection.

use cofferdam_types::Result;

use crate::{
    Ecosystem, File, Listed, Version, address, helm,
    list::List,
    tree::{self, Node},
};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let documents = tree::yaml(file)?;
    let root = documents.first().ok_or_else(|| file.malformed(1, "it is empty"))?;
    if root.get("dependencies").is_some() {
        // Helm 2 had a file of this name.
        helm::chart(root, list);
        return Ok(());
    }
    // A file that is only a list is one of roles.
    let roles = if root.is_map() { root.list("roles") } else { root.items() };
    if root.is_map() && root.get("roles").is_none() && root.get("collections").is_none() {
        return Err(file.malformed(1, "neither `collections` nor `roles` is there"));
    }
    root.list("collections").iter().for_each(|entry| collection(entry, list));
    roles.iter().for_each(|entry| role(entry, list));
    Ok(())
}

fn version_of(text: Option<&str>) -> Version {
    let text = text.unwrap_or_default().trim();
    let exact = text.strip_prefix("==").unwrap_or(text);
    match exact {
        "" | "*" => Version::Any,
        exact if exact.starts_with(['<', '>', '!', '=', '~', '^']) || exact.contains([',', '*']) => {
            Version::Range(exact.to_owned())
        }
        exact => Version::Exact(exact.to_owned()),
    }
}

fn collection(entry: &Node, list: &mut List) {
    let line = entry.line;
    if let Some(text) = entry.text() {
        // A colon of an address is no separator.
        let (name, version) = if text.contains("://") {
            (text, None)
        } else {
            text.split_once(':').map_or((text, None), |(n, v)| (n, Some(v)))
        };
        return placed(list, name, name, version, entry, line);
    }
    let (name, source) = (entry.str("name").unwrap_or_default(), entry.str("source"));
    let place = if matches!(entry.str("type"), Some("git" | "url")) { source.unwrap_or(name) } else { name };
    placed(list, name, place, entry.str("version"), entry, line);
}

fn placed(list: &mut List, name: &str, place: &str, version: Option<&str>, entry: &Node, line: u32) {
    let kind = entry.str("type").unwrap_or_default();
    if matches!(kind, "file" | "dir" | "subdirs") {
        return;
    }
    let repository = address::git(place).or_else(|| (kind == "git").then(|| (address::clean(place), None)));
    if let Some((repository, reference)) = repository {
        return list.git(&repository, version.or(reference.as_deref()), "", line);
    }
    if address::is_absolute(place) {
        return list.url(place, Vec::new(), "", line);
    }
    if name.split('.').filter(|part| !part.is_empty()).count() != 2 {
        list.note(line, "a collection that is no `namespace.name`; correct it");
        return;
    }
    let item = Listed::new(Ecosystem::Galaxy, name, version_of(version), line);
    match entry.str("source").filter(|s| address::is_absolute(s)) {
        Some(server) => {
            let mut item = item;
            item.source = Some(server.to_owned());
            list.add(item);
        }
        None => list.add(item),
    }
}

fn role(entry: &Node, list: &mut List) {
    let line = entry.line;
    if let Some(path) = entry.str("include") {
        return list.include(path, line);
    }
    // The short form is `source,version,name`.
    let short: Vec<&str> = entry.text().map(|t| t.split(',').map(str::trim).collect()).unwrap_or_default();
    let written = short.first().copied().or_else(|| entry.str("src")).or_else(|| entry.str("name"));
    let Some(place) = written else {
        list.note(line, "a role without a name or source; correct it");
        return;
    };
    let version = short.get(1).copied().or_else(|| entry.str("version")).filter(|v| !v.is_empty());
    let name = short.get(2).copied().or_else(|| entry.str("name")).unwrap_or_default();
    let is_git = entry.str("scm") == Some("git") || place.starts_with("git+");
    let repository = address::git(place).or_else(|| is_git.then(|| (address::clean(place), None)));
    if let Some((repository, reference)) = repository {
        return list.git(&repository, version.or(reference.as_deref()), name, line);
    }
    if address::is_absolute(place) {
        return list.url(place, Vec::new(), name, line);
    }
    let mut item = Listed::new(Ecosystem::Galaxy, place, version_of(version), line);
    item.markers = Some("role".into());
    list.add(item);
}
