//! `Gemfile.lock`: gems, git repositories, checksums, and the Bundler that is asked for.

use std::collections::HashMap;

use cofferdam_types::{Result, platform::platform};

use crate::{Ecosystem, File, Listed, Version, digest, list::List, reach::Askers};

/// A gem as it stands under `specs:`.
struct Gem<'a> {
    name: &'a str,
    version: &'a str,
    platform: Option<String>,
    remote: &'a str,
    line: u32,
}

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let (mut section, mut remote, mut revision, mut known) = ("", "", "", false);
    let mut gems: Vec<Gem> = Vec::new();
    let mut askers = Askers::default();
    let mut checksums: HashMap<(&str, &str), Vec<String>> = HashMap::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        let text = line.trim();
        let depth = line.len() - line.trim_start().len();
        if text.is_empty() {
            continue;
        }
        if depth == 0 {
            known |= matches!(text, "GEM" | "GIT" | "PATH" | "DEPENDENCIES");
            (section, remote, revision) = (text, "", "");
            continue;
        }
        match (section, depth) {
            ("GEM" | "GIT" | "PATH" | "PLUGIN SOURCE", 2) => match text.split_once(": ") {
                Some(("remote", value)) => remote = value,
                Some(("revision", value)) => revision = value,
                _ => {}
            },
            ("GEM", 4) => {
                let Some((name, full)) = spec(text) else {
                    return Err(file.malformed(number, "a gem needs a name and a version in brackets"));
                };
                let (version, platform) = version_and_platform(full);
                gems.push(Gem { name, version, platform, remote, line: number });
            }
            ("GIT", 4) => {
                let name = spec(text).map_or(text, |(name, _)| name);
                list.git(remote, Some(revision), name, number);
            }
            ("GEM" | "GIT" | "PATH", 6) => {
                if let Some(asker) = gems.last().filter(|_| section == "GEM") {
                    let name = text.split(' ').next().unwrap_or(text);
                    askers.add(name.to_owned(), asker.name);
                }
            }
            ("CHECKSUMS", _) => {
                let (gem, sums) = text.split_once(") ").map_or((text, ""), |(g, s)| (g, s));
                if let Some((name, full)) = gem.split_once(" (") {
                    let (version, _) = version_and_platform(full.trim_end_matches(')'));
                    let sums = sums
                        .split(',')
                        .filter_map(|s| s.split_once('='))
                        .filter_map(|(a, h)| digest::of_hex(a, h));
                    checksums.entry((name, version)).or_default().extend(sums.take(8));
                }
            }
            ("BUNDLED WITH", _) => {
                let mut item =
                    Listed::new(Ecosystem::Gem, "bundler", Version::Exact(text.to_owned()), number);
                item.asked_by.push("BUNDLED WITH".into());
                list.add(item);
            }
            _ => {}
        }
    }
    if !known {
        return Err(file.malformed(1, "there is no section GEM, GIT, PATH or DEPENDENCIES"));
    }
    for gem in gems {
        let mut item =
            Listed::new(Ecosystem::Gem, gem.name, Version::Exact(gem.version.to_owned()), gem.line);
        // Taken, not copied: a gem for several platforms stands here several times and is merged.
        item.digests = checksums.remove(&(gem.name, gem.version)).unwrap_or_default();
        item.asked_by = askers.of(gem.name);
        item.platforms.extend(gem.platform);
        if gem.remote.is_empty() { list.add(item) } else { list.add_from(item, gem.remote) }
    }
    Ok(())
}

/// `name (1.0)`
fn spec(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(" (")?;
    Some((name, rest.strip_suffix(')')?))
}

/// `1.15.0-x86_64-linux-gnu`: a gem's version has no hyphen.
fn version_and_platform(text: &str) -> (&str, Option<String>) {
    let Some((version, rest)) = text.split_once('-') else { return (text, None) };
    let (processor, system) = rest.split_once('-').unwrap_or((rest, ""));
    let (system, libc) = system.split_once('-').unwrap_or((system, ""));
    let word = match (system, libc) {
        ("linux", "musl") => platform("musllinux", processor),
        // `java` is a platform without a processor.
        ("", _) => platform(processor, ""),
        (system, _) => platform(system.trim_end_matches(|c: char| c.is_ascii_digit()), processor),
    };
    (version, Some(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gems_platform_is_ours() {
        let of = |text| version_and_platform(text).1;
        assert_eq!(of("1.0"), None);
        assert_eq!(of("1.0-x86_64-linux").as_deref(), Some("linux-x86_64"));
        assert_eq!(of("1.0-aarch64-linux-musl").as_deref(), Some("linux-musl-aarch64"));
        assert_eq!(of("1.0-arm64-darwin").as_deref(), Some("macos-aarch64"));
        assert_eq!(of("1.0-x64-mingw32").as_deref(), Some("windows-x86_64"));
        assert_eq!(of("1.0-java").as_deref(), Some("java-any"));
    }
}
