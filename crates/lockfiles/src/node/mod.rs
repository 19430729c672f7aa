//! JavaScript's lock files, and what they have in common: addresses of tarballs, platforms.

pub(crate) mod bun;
pub(crate) mod npm;
pub(crate) mod pnpm;
mod yaml_yarn;
pub(crate) mod yarn;

use cofferdam_types::platform::pairs;

use crate::{Ecosystem, Listed, Version, address, list::List, tree::Node};

/// `name@reference`, where a name may begin with `@`.
pub(crate) fn split_id(id: &str) -> Option<(&str, &str)> {
    let at = id.char_indices().skip(1).find(|(_, c)| *c == '@').map(|(at, _)| at)?;
    Some((&id[..at], &id[at + 1..]))
}

/// The registry of a tarball's address: what stands before `/<name>/-/`. None when the address is of
/// another shape, so that no registry is known to have it.
fn registry_of<'a>(url: &'a str, name: &str) -> Option<&'a str> {
    let (before, _) = url.split_once("/-/")?;
    let written = [name.to_owned(), name.replace('/', "%2f"), name.replace('/', "%2F")];
    written.iter().find_map(|name| before.strip_suffix(name.as_str())?.strip_suffix('/'))
}

/// What an entry is made of, beside its name and version.
#[derive(Default)]
struct Facts<'a> {
    /// An address, a git repository or a path, as written.
    resolved: Option<&'a str>,
    digests: Vec<String>,
    asked_by: Vec<String>,
    platforms: Vec<String>,
    dev: bool,
    optional: bool,
}

/// Adds an entry, as the package, repository or file that it is. What lies in the project is not added.
fn add(list: &mut List, name: &str, version: &str, facts: Facts, line: u32) {
    let resolved = facts.resolved.unwrap_or_default();
    if let Some((repository, reference)) = address::git(resolved) {
        return list.git(&repository, reference.as_deref(), name, line);
    }
    let registry = registry_of(resolved, name);
    if address::is_absolute(resolved) && registry.is_none() {
        return list.url(resolved, facts.digests, name, line);
    }
    if ["file:", "link:", "portal:", "workspace:", "./", "../", "/"]
        .iter()
        .any(|scheme| resolved.starts_with(scheme))
    {
        return;
    }
    let mut item = Listed::new(Ecosystem::Npm, name, Version::Exact(version.to_owned()), line);
    item.digests = facts.digests;
    item.asked_by = facts.asked_by;
    item.platforms = facts.platforms;
    item.dev = facts.dev;
    item.optional = facts.optional;
    match registry {
        Some(registry) => list.add_from(item, registry),
        None => list.add(item),
    }
}

/// `os`, `cpu` and `libc` of an entry as platforms.
fn platforms(node: &Node) -> Vec<String> {
    pairs(&node.texts("os"), &node.texts("cpu"), &node.texts("libc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tarball_under_its_own_name_is_the_registrys() {
        let of = |url| registry_of(url, "@a/b");
        assert_eq!(of("https://r.example/x/@a/b/-/b-1.0.0.tgz"), Some("https://r.example/x"));
        assert_eq!(of("https://r.example/@a%2fb/-/b-1.0.0.tgz"), Some("https://r.example"));
        assert_eq!(of("https://r.example/@a/c/-/c-1.0.0.tgz"), None);
        assert_eq!(of("https://r.example/b-1.0.0.tgz"), None);
    }

    #[test]
    fn an_id_is_split_after_its_scope() {
        assert_eq!(split_id("@a/b@1@2"), Some(("@a/b", "1@2")));
        assert_eq!(split_id("@a/b"), None);
    }
}
