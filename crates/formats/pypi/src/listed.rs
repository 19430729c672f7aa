//! The files that a project page of ours lists. Pure: text in, list out.

use cofferdam_format_kit::{ListedFile, path_segments};
use cofferdam_types::{
    Error, Result,
    platform::{ANY, platform},
};

use crate::{
    coords::{self, Filename, Kind, normalise, shown},
    index::{FileEntry, ProjectPage},
};

/// Digests that are worth telling, strongest first.
const ALGORITHMS: [&str; 3] = ["sha512", "sha256", "sha1"];

/// Reads a page in its JSON form (simple repository API).
pub(crate) fn files(name: &str, page: &[u8]) -> Result<Vec<ListedFile>> {
    let key = normalise(name)?;
    let wrong = |why: String| {
        let text = format!("what was read as the page of `{key}` {why}");
        Error::invalid("index-document", text).hint("ask for it again, in its JSON form")
    };
    let page: ProjectPage =
        serde_json::from_slice(page).map_err(|error| wrong(format!("is no project page: {error}")))?;
    if normalise(&page.name).ok().as_ref() != Some(&key) {
        return Err(wrong(format!("is of `{}`", shown(&page.name))));
    }
    let mut files: Vec<ListedFile> = page.files.iter().filter_map(|entry| listed(&key, entry)).collect();
    files.sort_by(|a, b| coords::compare_versions(&a.version, &b.version).then_with(|| a.path.cmp(&b.path)));
    Ok(files)
}

fn listed(key: &str, entry: &FileEntry) -> Option<ListedFile> {
    let name = Filename::parse(&entry.filename, key).ok()?;
    // Our pages stand two folders down; an address of another shape is none of ours.
    let path = entry.url.split(['#', '?']).next()?.strip_prefix("../../")?;
    if path_segments(path).ok()?.join("/") != name.path() {
        return None;
    }
    let digest = |name: &&str| Some(format!("{name}:{}", entry.hashes.get(*name)?.to_ascii_lowercase()));
    Some(ListedFile {
        version: coords::stored_version(&name.version),
        path: path.to_owned(),
        digests: ALGORITHMS.iter().filter_map(digest).collect(),
        size: entry.size,
        yanked: entry.yanked.reason().is_some(),
        platforms: if name.kind == Kind::Wheel { platforms(&name.text) } else { Vec::new() },
    })
}

/// The platforms of a wheel: its last tag, which may be several joined by dots (platform compatibility tags).
fn platforms(wheel: &str) -> Vec<String> {
    let tag = wheel.strip_suffix(".whl").and_then(|stem| stem.rsplit('-').next()).unwrap_or_default();
    let mut all: Vec<String> = tag.split('.').flat_map(of_tag).collect();
    if all.iter().any(|p| p == ANY) {
        return Vec::new();
    }
    all.sort();
    all.dedup();
    all
}

fn of_tag(tag: &str) -> Vec<String> {
    if tag == "win32" {
        return vec![platform("windows", "x86")];
    }
    let (system, rest) = tag.split_once('_').unwrap_or((tag, ""));
    // `manylinux2014` and `manylinux_2_17` have the same system; the numbers are of its C library.
    let system = system.trim_end_matches(|c: char| c.is_ascii_digit());
    let processor = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    match (system, processor) {
        ("macosx", "universal2") => vec![platform(system, "x86_64"), platform(system, "arm64")],
        ("macosx", "intel" | "universal" | "fat" | "fat3" | "fat32" | "fat64") => vec![platform(system, ANY)],
        _ => vec![platform(system, processor)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheel_tags_are_platforms_in_our_spelling() {
        for (tag, expected) in [
            ("any", &[][..]),
            ("linux_armv7l", &["linux-armv7"]),
            ("manylinux1_i686", &["linux-x86"]),
            ("manylinux_2_17_x86_64.manylinux2014_x86_64", &["linux-x86_64"]),
            ("musllinux_1_2_aarch64", &["linux-musl-aarch64"]),
            ("macosx_11_0_arm64", &["macos-aarch64"]),
            ("macosx_10_9_universal2", &["macos-aarch64", "macos-x86_64"]),
            ("macosx_10_6_intel", &["macos-any"]),
            ("win32", &["windows-x86"]),
            ("win_amd64", &["windows-x86_64"]),
            ("win_arm64", &["windows-aarch64"]),
        ] {
            assert_eq!(platforms(&format!("a-1.0-cp312-cp312-{tag}.whl")), expected, "{tag}");
        }
    }
}
