//! Gradle: `gradle.lockfile` (Gradle documentation, "Locking Versions") and the wrapper's properties.

use cofferdam_types::Result;

use crate::{Ecosystem, File, Listed, Version, digest, list::List};

/// `group:artifact:version=configuration,configuration`; `empty=` has the configurations without any.
pub(crate) fn read_lock(file: File, list: &mut List) -> Result<()> {
    for (number, line) in file.lines() {
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') || text.starts_with("empty=") {
            continue;
        }
        // The older form, a file a configuration, has no `=`.
        let (coordinates, configurations) = text.split_once('=').unwrap_or((text, ""));
        let Some((name, version)) = coordinates.rsplit_once(':').filter(|(name, _)| name.contains(':'))
        else {
            return Err(file.malformed(number, "a line needs `group:artifact:version`"));
        };
        let mut item = Listed::new(Ecosystem::Maven, name, Version::Exact(version.to_owned()), number);
        let mut names = configurations.split(',').filter(|c| !c.is_empty()).peekable();
        item.dev = names.peek().is_some() && names.all(|name| name.starts_with("test"));
        list.add(item);
    }
    Ok(())
}

/// `distributionUrl` and `distributionSha256Sum`.
pub(crate) fn read_wrapper(file: File, list: &mut List) -> Result<()> {
    let value = |name: &str| {
        file.lines().find_map(|(number, line)| {
            let (key, value) = line.trim_start().split_once(['=', ':'])?;
            // Properties write a colon as `\:`.
            (key.trim() == name).then(|| (number, value.trim().replace('\\', "")))
        })
    };
    let Some((line, url)) = value("distributionUrl") else {
        return Err(file.malformed(1, "the key `distributionUrl` is missing"));
    };
    if !crate::address::is_absolute(&url) {
        return Ok(());
    }
    let digest = value("distributionSha256Sum").and_then(|(_, hex)| digest::of_hex("sha256", &hex));
    if digest.is_none() {
        list.note(
            line,
            "the distribution has no distributionSha256Sum; add it, so that the bytes can be checked",
        );
    }
    list.url(&url, digest.into_iter().collect(), "gradle", line);
    Ok(())
}
