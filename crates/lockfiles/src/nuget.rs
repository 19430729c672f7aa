//! NuGet's `packages.lock.json`. Its `contentHash` is of a package without its signature, so it is no digest
//! of the file: it is kept as `nuget:…` in hex.

use cofferdam_types::Result;

use crate::{Ecosystem, File, Listed, Version, digest, list::List, reach::Askers, tree};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::json(file)?;
    if root.get("dependencies").is_none() || root.get("version").is_none() {
        return Err(file.malformed(1, "the keys `version` and `dependencies` are needed"));
    }
    let mut askers = Askers::default();
    let frameworks = root.map("dependencies");
    for (name, _, package) in frameworks.iter().flat_map(|(_, _, packages)| packages.entries()) {
        for needed in package.keys("dependencies") {
            askers.add(needed.to_ascii_lowercase(), name);
        }
    }
    for (name, line, package) in frameworks.iter().flat_map(|(_, _, packages)| packages.entries()) {
        if package.str("type") == Some("Project") {
            continue;
        }
        let Some(version) = package.str("resolved") else {
            return Err(file.malformed(*line, format!("`{name}` has no resolved version")));
        };
        let mut item = Listed::new(Ecosystem::Nuget, name, Version::Exact(version.to_owned()), *line);
        let hash = package.str("contentHash").and_then(digest::base64_to_hex).filter(|hex| hex.len() == 128);
        item.digests.extend(hash.map(|hex| format!("nuget:{hex}")));
        item.asked_by = askers.of(&name.to_ascii_lowercase());
        list.add(item);
    }
    Ok(())
}
