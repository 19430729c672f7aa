//! `pdm.lock`, formats 3 and 4.

use std::collections::HashMap;

use cofferdam_types::Result;

use super::{digests, elsewhere, listed, name_of};
use crate::{File, Version, list::List, reach::Askers, tree};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::toml(file)?;
    let Some(metadata) = root.get("metadata") else {
        return Err(file.malformed(1, "the table `metadata` is missing"));
    };
    // Until format 4.3 all files stood together, under `name version`.
    let mut old: HashMap<&str, &tree::Node> =
        metadata.map("files").iter().map(|(key, _, files)| (key.as_str(), files)).collect();
    let mut askers = Askers::default();
    for package in root.list("package") {
        for name in package.texts("dependencies").into_iter().filter_map(name_of) {
            askers.add(name, package.str("name").unwrap_or_default());
        }
    }
    for package in root.list("package") {
        let Some(name) = package.str("name") else {
            return Err(file.malformed(package.line, "a package without a name"));
        };
        let line = package.get("name").map_or(package.line, |n| n.line);
        let version = package.str("version").unwrap_or_default();
        // Taken, not copied: one name may stand here often.
        let own = old.remove(format!("{name} {version}").as_str());
        let files = package.list("files").iter().chain(own.map_or(&[][..], |n| n.items()));
        let digests = digests(files);
        let is_elsewhere = ["git", "url", "path"].iter().any(|key| package.get(key).is_some());
        if is_elsewhere {
            elsewhere(list, name, package, digests, line);
            continue;
        }
        if version.is_empty() {
            return Err(file.malformed(line, "a package without a version"));
        }
        let Some(mut item) = listed(list, name, Version::Exact(version.to_owned()), line) else { continue };
        item.digests = digests;
        item.asked_by = askers.of(&item.name);
        // A package with extras is written once more, and then requires itself.
        item.asked_by.retain(|asker| asker != name);
        let groups = package.texts("groups");
        item.dev = !groups.is_empty() && !groups.contains(&"default");
        item.markers = package.str("marker").map(str::to_owned);
        list.add(item);
    }
    Ok(())
}
