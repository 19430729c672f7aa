//! `Cargo.lock`, versions 1 to 4. Packages without a source are the project's own.

use std::collections::HashMap;

use cofferdam_types::Result;

use crate::{
    Ecosystem, File, Listed, Version, digest,
    list::List,
    reach::{Graph, Way},
    tree::{self, Node},
};

/// Versions of one name that are looked at for one dependency.
const MAX_VERSIONS: usize = 8;

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::toml(file)?;
    if root.get("package").is_none() && root.get("version").is_none() && root.get("root").is_none() {
        return Err(file.malformed(1, "the tables `package` are missing"));
    }
    let packages: Vec<&Node> = root.list("package").iter().chain(root.get("root")).collect();
    // In version 1 the checksums stood together, under `checksum name version (source)`.
    let old: HashMap<&str, &str> = root
        .map("metadata")
        .iter()
        .filter_map(|(key, _, value)| Some((key.strip_prefix("checksum ")?, value.text()?)))
        .collect();
    let names: Vec<&str> = packages.iter().map(|p| p.str("name").unwrap_or_default()).collect();
    let graph = graph(&packages, &names);
    for (number, package) in packages.iter().enumerate() {
        let (Some(name), Some(version)) = (package.str("name"), package.str("version")) else {
            return Err(file.malformed(package.line, "a package without a name or version"));
        };
        let line = package.get("name").map_or(package.line, |n| n.line);
        let Some(source) = package.str("source") else { continue };
        if let Some(git) = source.strip_prefix("git+") {
            let (place, commit) = git.split_once('#').map_or((git, None), |(p, c)| (p, Some(c)));
            // The query says which branch or tag was asked for; the commit is what was found.
            list.git(place.split('?').next().unwrap_or(place), commit, name, line);
            continue;
        }
        let mut item = Listed::new(Ecosystem::Cargo, name, Version::Exact(version.to_owned()), line);
        let checksum = package
            .str("checksum")
            .or_else(|| old.get(format!("{name} {version} ({source})").as_str()).copied());
        item.digests.extend(checksum.and_then(|hex| digest::of_hex("sha256", hex)));
        item.asked_by = graph.asked_by(number, |n| names.get(n).copied());
        match source.split_once('+') {
            Some(("registry" | "sparse", registry)) => list.add_from(item, registry),
            _ => list.note(
                line,
                format!("`{name}` comes from a source that is not known here; name it in cofferdam.want"),
            ),
        }
    }
    Ok(())
}

fn graph<'a>(packages: &[&'a Node], names: &[&'a str]) -> Graph {
    let versions: Vec<Option<&str>> = packages.iter().map(|p| p.str("version")).collect();
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (number, name) in names.iter().enumerate() {
        by_name.entry(name).or_default().push(number);
    }
    let mut graph = Graph::new(packages.len());
    for (from, package) in packages.iter().enumerate() {
        for dependency in package.texts("dependencies") {
            // `name`, `name version`, or `name version (source)`: as much as tells it apart.
            let mut words = dependency.split(' ');
            let (name, version) = (words.next().unwrap_or_default(), words.next());
            let targets = by_name.get(name).map_or(&[][..], Vec::as_slice).iter().take(MAX_VERSIONS);
            for to in targets {
                if version.is_none() || versions.get(*to).copied().flatten() == version {
                    graph.edge(from, *to, Way::Always);
                }
            }
        }
    }
    graph
}
