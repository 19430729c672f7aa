//! `poetry.lock`, formats 1.0 to 2.1.

use std::collections::HashMap;

use cofferdam_types::Result;

use super::{digests, elsewhere, listed, normalise};
use crate::{File, Version, list::List, reach::Askers, tree};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::toml(file)?;
    let Some(metadata) = root.get("metadata") else {
        return Err(file.malformed(1, "the table `metadata` is missing"));
    };
    // Until format 1.1 all files stood together.
    let mut old: HashMap<&str, &tree::Node> =
        metadata.map("files").iter().map(|(name, _, files)| (name.as_str(), files)).collect();
    let mut askers = Askers::default();
    for package in root.list("package") {
        for name in package.keys("dependencies").into_iter().filter_map(normalise) {
            askers.add(name, package.str("name").unwrap_or_default());
        }
    }
    for package in root.list("package") {
        let (Some(name), Some(version)) = (package.str("name"), package.str("version")) else {
            return Err(file.malformed(package.line, "a package without a name or version"));
        };
        let line = package.get("name").map_or(package.line, |n| n.line);
        // Taken, not copied: one name may stand here often.
        let own = old.remove(name);
        let files = package.list("files").iter().chain(own.map_or(&[][..], |n| n.items()));
        let digests = digests(files);
        let source = package.get("source");
        let registry = source
            .filter(|s| matches!(s.str("type"), Some("legacy" | "explicit")))
            .and_then(|s| s.str("url"));
        if let Some(source) = source.filter(|_| registry.is_none()) {
            elsewhere(list, name, source, digests, line);
            continue;
        }
        let Some(mut item) = listed(list, name, Version::Exact(version.to_owned()), line) else { continue };
        item.digests = digests;
        item.asked_by = askers.of(&item.name);
        let groups = package.texts("groups");
        item.dev =
            package.str("category") == Some("dev") || (!groups.is_empty() && !groups.contains(&"main"));
        item.optional = package.is_true("optional");
        item.markers = package.str("markers").map(str::to_owned);
        item.source = registry.map(str::to_owned);
        list.add(item);
    }
    Ok(())
}
