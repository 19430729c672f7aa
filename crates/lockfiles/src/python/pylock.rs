//! `pylock.toml` (pylock.toml specification, PEP 751).

use cofferdam_types::Result;

use super::{digests, elsewhere, listed, normalise};
use crate::{File, Version, list::List, reach::Askers, tree};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::toml(file)?;
    match root.str("lock-version") {
        Some(version) if version.starts_with("1.") => {}
        Some(_) => {
            let line = root.get("lock-version").map_or(1, |n| n.line);
            return Err(file.error(
                line,
                "a lock-version other than 1",
                "write the file anew in version 1.0",
            ));
        }
        None => return Err(file.malformed(1, "the key `lock-version` is missing")),
    }
    // Tools seldom write who requires what; the specification makes it optional.
    let mut askers = Askers::default();
    for package in root.list("packages") {
        for name in package.list("dependencies").iter().filter_map(|d| d.str("name").and_then(normalise)) {
            askers.add(name, package.str("name").unwrap_or_default());
        }
    }
    for package in root.list("packages") {
        let Some(name) = package.str("name") else {
            return Err(file.malformed(package.line, "a package without a name"));
        };
        let line = package.get("name").map_or(package.line, |n| n.line);
        let digests =
            digests(package.list("wheels").iter().chain(package.get("sdist")).chain(package.get("archive")));
        let source = ["vcs", "archive", "directory"].iter().find_map(|key| package.get(key));
        if let Some(source) = source {
            if !elsewhere(list, name, source, digests, line) {
                list.note(
                    line,
                    format!("`{name}` comes from a source that is not known here; name it in cofferdam.want"),
                );
            }
            continue;
        }
        let version = package.str("version").map_or(Version::Any, |v| Version::Exact(v.to_owned()));
        let Some(mut item) = listed(list, name, version, line) else { continue };
        item.digests = digests;
        item.markers = package.str("marker").map(str::to_owned);
        item.asked_by = askers.of(&item.name);
        match package.str("index") {
            Some(index) => list.add_from(item, index),
            None => list.add(item),
        }
    }
    Ok(())
}
