//! `composer.lock`: PHP packages. Their archives lie at forges, not in the registry: the address is each
//! entry's source.

use cofferdam_types::Result;

use crate::{
    Ecosystem, File, Listed, Version, digest,
    list::List,
    reach::Askers,
    tree::{self, Node},
};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::json(file)?;
    if root.get("packages").is_none() {
        return Err(file.malformed(1, "the key `packages` is missing"));
    }
    let mut askers = Askers::default();
    let both = [("packages", false), ("packages-dev", true)];
    for package in both.iter().flat_map(|(key, _)| root.list(key)) {
        for name in package.keys("require") {
            askers.add(name.to_ascii_lowercase(), package.str("name").unwrap_or_default());
        }
    }
    for (key, dev) in both {
        for package in root.list(key) {
            add(file, package, dev, &askers, list)?;
        }
    }
    Ok(())
}

fn add(file: File, package: &Node, dev: bool, askers: &Askers, list: &mut List) -> Result<()> {
    let (Some(name), Some(version)) = (package.str("name"), package.str("version")) else {
        return Err(file.malformed(package.line, "a package without a name or version"));
    };
    let name = name.to_ascii_lowercase();
    let line = package.get("name").map_or(package.line, |n| n.line);
    let fact = |place: &str, key: &str| package.get(place).and_then(|n| n.str(key));
    if fact("dist", "type") == Some("path") {
        return Ok(());
    }
    let Some(archive) = fact("dist", "url") else {
        if let (Some("git"), Some(url)) = (fact("source", "type"), fact("source", "url")) {
            list.git(url, fact("source", "reference"), &name, line);
        } else if package.str("type") != Some("metapackage") {
            list.note(
                line,
                format!("`{name}` has neither an archive nor a git repository; name it in cofferdam.want"),
            );
        }
        return Ok(());
    };
    let mut item = Listed::new(Ecosystem::Composer, name, Version::Exact(version.to_owned()), line);
    item.source = Some(archive.to_owned());
    item.digests.extend(fact("dist", "shasum").and_then(|hex| digest::of_hex("sha1", hex)));
    item.asked_by = askers.of(&item.name);
    item.dev = dev;
    list.add(item);
    Ok(())
}
