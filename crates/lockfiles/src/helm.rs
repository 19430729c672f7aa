//! Helm: dependencies of `Chart.yaml`, `Chart.lock` and Helm 2's files, and images of `values.yaml`.
//!
//! Values are a convention, not a format: what looks like an image is listed, and what a template puts
//! together is not seen.

use cofferdam_types::Result;

use crate::{
    Ecosystem, File, Listed, Version, image,
    list::List,
    tree::{self, Node},
};

pub(crate) fn read_chart(file: File, list: &mut List) -> Result<()> {
    let documents = tree::yaml(file)?;
    let root =
        documents.first().filter(|d| d.is_map()).ok_or_else(|| file.malformed(1, "it is no mapping"))?;
    chart(root, list);
    Ok(())
}

/// The dependencies of a chart.
pub(crate) fn chart(root: &Node, list: &mut List) {
    for dependency in root.list("dependencies") {
        let line = dependency.line;
        let Some(name) = dependency.str("name") else {
            list.note(line, "a dependency without a name; correct it");
            continue;
        };
        let repository = dependency.str("repository").unwrap_or_default();
        if repository.starts_with("file:") {
            continue;
        }
        if !repository.contains("://") {
            list.note(
                line,
                format!(
                    "the chart `{name}` comes from a repository without an address; write the address out"
                ),
            );
        }
        let mut item = Listed::new(Ecosystem::Helm, name, version_of(dependency.str("version")), line);
        // There is no default registry: every chart says where it is.
        item.source = Some(repository.to_owned()).filter(|r| r.contains("://"));
        item.optional = dependency.get("condition").is_some() || dependency.get("tags").is_some();
        list.add(item);
    }
}

fn version_of(text: Option<&str>) -> Version {
    let text = text.unwrap_or_default().trim();
    let bare = text.strip_prefix('v').unwrap_or(text);
    let is_exact = bare.split(['-', '+']).next().is_some_and(|core| {
        core.split('.').count() == 3
            && core.split('.').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    }) && !text.contains([' ', '|', ',']);
    match text {
        "" | "*" => Version::Any,
        text if is_exact => Version::Exact(text.to_owned()),
        text => Version::Range(text.to_owned()),
    }
}

pub(crate) fn read_values(file: File, list: &mut List) -> Result<()> {
    for document in &tree::yaml(file)? {
        walk(document, "", list);
    }
    Ok(())
}

/// Looks through every mapping. The depth is bounded by the tree.
fn walk(node: &Node, key: &str, list: &mut List) {
    for item in node.items() {
        walk(item, key, list);
    }
    if let Some(image) = node.get("image")
        && let Some(reference) = image.text()
    {
        add(list, reference, node.str("tag"), None, image.line);
    }
    let beside = ["tag", "digest", "registry", "pullPolicy", "imagePullPolicy"];
    let is_image =
        key.to_ascii_lowercase().ends_with("image") || beside.iter().any(|k| node.get(k).is_some());
    if let Some(repository) = node.get("repository").filter(|_| is_image)
        && let Some(text) = repository.text()
    {
        let registry = node.str("registry").filter(|r| !r.is_empty());
        let name = registry.map_or(text.to_owned(), |r| format!("{}/{text}", r.trim_end_matches('/')));
        add(list, &name, node.str("tag"), node.str("digest"), repository.line);
    }
    for (key, _, child) in node.entries() {
        walk(child, key, list);
    }
}

fn add(list: &mut List, name: &str, tag: Option<&str>, digest: Option<&str>, line: u32) {
    if name.is_empty() || name.contains("{{") || name.contains("://") {
        return;
    }
    let tag = tag.filter(|t| !t.is_empty() && !t.contains("{{"));
    let digest = digest.filter(|d| !d.is_empty()).map_or(String::new(), |d| format!("@{d}"));
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    let written = match tag {
        Some(tag) if !has_tag => format!("{name}:{tag}{digest}"),
        _ => format!("{name}{digest}"),
    };
    match image::listed(&written, line) {
        Ok(mut item) => {
            if tag.is_none() && !has_tag && digest.is_empty() {
                // A chart's own version stands for a tag that is not there.
                item.version = Version::Any;
                list.note(
                    line,
                    format!("the image {name} has no tag here; name it with its tag in cofferdam.want"),
                );
            }
            list.add(item);
        }
        Err(why) => list.note(line, format!("{why}; correct it, or name the image in cofferdam.want")),
    }
}
