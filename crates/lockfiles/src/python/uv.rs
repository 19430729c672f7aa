//! `uv.lock` (uv documentation, "Lockfile"): packages, their sources, who requires them, and which are needed
//! only for developing.

use std::collections::HashMap;

use cofferdam_types::Result;

use super::{digests, elsewhere, listed, name_of};
use crate::{
    File, Version,
    list::List,
    reach::{Graph, Way},
    tree,
};

/// Versions of one name that are looked at for one dependency.
const MAX_VERSIONS: usize = 8;

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::toml(file)?;
    if root.get("version").is_none() {
        return Err(file.malformed(1, "the key `version` is missing"));
    }
    let packages = root.list("package");
    let facts = |key: &str| packages.iter().map(|p| p.str(key)).collect::<Vec<_>>();
    let (names, versions) = (facts("name"), facts("version"));
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        if let Some(name) = name.and_then(name_of) {
            by_name.entry(name).or_default().push(index);
        }
    }
    let mut graph = Graph::new(packages.len());
    for (index, package) in packages.iter().enumerate() {
        let source = package.get("source");
        let is_own =
            source.is_some_and(|s| ["editable", "virtual", "directory"].iter().any(|k| s.get(k).is_some()));
        let mut edges = |nodes: &[tree::Node], way: Way| {
            for dependency in nodes {
                let name = dependency.str("name").and_then(name_of);
                let version = dependency.str("version");
                let targets = name.and_then(|n| by_name.get(&n)).map_or(&[][..], Vec::as_slice);
                // A name with several versions is told apart by the version.
                let same = |t: &&usize| version.is_none() || versions.get(**t).copied().flatten() == version;
                for target in targets.iter().take(MAX_VERSIONS).filter(same) {
                    graph.edge(index, *target, way);
                }
            }
        };
        edges(package.list("dependencies"), Way::Always);
        for (_, _, extra) in package.map("optional-dependencies") {
            edges(extra.items(), Way::Optional);
        }
        for (_, _, group) in package.map("dev-dependencies").iter().chain(package.map("dependency-groups")) {
            edges(group.items(), Way::Dev);
        }
        if is_own {
            graph.start(index);
        }
    }
    graph.settle();
    for (index, package) in packages.iter().enumerate() {
        let (Some(name), line) = (package.str("name"), package.get("name").map_or(package.line, |n| n.line))
        else {
            return Err(file.malformed(package.line, "a package without a name"));
        };
        let files = package.list("wheels").iter().chain(package.get("sdist"));
        let digests = digests(files);
        let source = package.get("source");
        let registry = source.and_then(|s| s.str("registry"));
        if let Some(source) = source.filter(|_| registry.is_none()) {
            if !elsewhere(list, name, source, digests, line) {
                list.note(
                    line,
                    format!("`{name}` comes from a source that is not known here; name it in cofferdam.want"),
                );
            }
            continue;
        }
        let Some(version) = package.str("version") else { continue };
        let Some(mut item) = listed(list, name, Version::Exact(version.to_owned()), line) else { continue };
        item.digests = digests;
        item.asked_by = graph.asked_by(index, |n| names.get(n).copied().flatten());
        (item.dev, item.optional) = graph.flags(index);
        let conditions = package.texts("resolution-markers").join(" or ");
        item.markers = Some(conditions).filter(|m| !m.is_empty());
        match registry {
            Some(registry) if registry.contains("://") => list.add_from(item, registry),
            Some(_) => {
                list.note(line, format!("`{name}` comes from a folder of files; name it in cofferdam.want"))
            }
            None => list.add(item),
        }
    }
    Ok(())
}
