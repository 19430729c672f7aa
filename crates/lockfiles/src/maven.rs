//! `pom.xml`: what is literally declared (Maven documentation, "POM Reference").
//!
//! What those need in turn, and what a parent or a profile of the machine adds, only `mvn` decides; a note
//! says so. Properties of the file itself are put in.

use std::collections::HashMap;

use cofferdam_types::Result;

use crate::{
    Ecosystem, File, Listed, Version,
    list::List,
    tree::{self, Element},
};

/// Rounds of properties in properties.
const ROUNDS: usize = 8;
/// Bytes of a value.
const MAX_VALUE: usize = 1024;

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let root = tree::xml(file)?;
    if root.name != "project" {
        return Err(
            file.malformed(root.line, format!("the outermost element is `{:.40}`, not `project`", root.name))
        );
    }
    let mut pom = Pom { properties: properties(&root), managed: HashMap::new(), list };
    let profiles = root.list("profiles").iter();
    let sections: Vec<&Element> = std::iter::once(&root).chain(profiles).collect();
    for section in &sections {
        for managed in section.get("dependencyManagement").map_or(&[][..], |m| m.list("dependencies")) {
            pom.manage(managed);
        }
        for managed in section
            .get("build")
            .and_then(|b| b.get("pluginManagement"))
            .map_or(&[][..], |m| m.list("plugins"))
        {
            pom.manage(managed);
        }
    }
    if let Some(parent) = root.get("parent") {
        // A parent at a path of the project is the project's own when its file is there; that is not seen here.
        pom.add(parent, "parent", parent.str("relativePath").is_some());
    }
    for section in &sections {
        for module in section.list("modules") {
            let path = module.text.as_str();
            let target = if path.ends_with(".xml") { path.to_owned() } else { format!("{path}/pom.xml") };
            pom.list.include(&target, module.line);
        }
        pom.section(section);
    }
    list.note(
        1,
        "what these artifacts need in turn is not in this file; record a build with `mvn`, which decides it",
    );
    Ok(())
}

fn properties(root: &Element) -> HashMap<String, String> {
    let mut all: HashMap<String, String> =
        root.list("properties").iter().map(|p| (p.name.clone(), p.text.clone())).collect();
    let parent = |name: &str| root.get("parent").and_then(|p| p.str(name));
    for name in ["groupId", "artifactId", "version"] {
        if let Some(value) = root.str(name).or_else(|| parent(name)) {
            for prefix in ["project.", "pom."] {
                all.insert(format!("{prefix}{name}"), value.to_owned());
            }
        }
        if let Some(value) = parent(name) {
            all.insert(format!("project.parent.{name}"), value.to_owned());
        }
    }
    all
}

struct Pom<'a> {
    properties: HashMap<String, String>,
    managed: HashMap<String, String>,
    list: &'a mut List,
}

impl Pom<'_> {
    /// A text with its properties put in.
    fn value(&self, text: &str) -> std::result::Result<String, String> {
        let mut text = text.to_owned();
        for _ in 0..ROUNDS {
            let Some(at) = text.find("${") else { return Ok(text) };
            let end = text[at..].find('}').map(|end| at + end).ok_or_else(|| text.clone())?;
            let name = &text[at + 2..end];
            let value =
                self.properties.get(name).filter(|v| v.len() <= MAX_VALUE).ok_or_else(|| name.to_owned())?;
            text = format!("{}{value}{}", &text[..at], &text[end + 1..]);
            if text.len() > MAX_VALUE {
                break;
            }
        }
        if text.contains("${") || text.len() > MAX_VALUE {
            Err(text.chars().take(60).collect())
        } else {
            Ok(text)
        }
    }

    fn name(&self, element: &Element) -> std::result::Result<String, String> {
        let group = element.str("groupId").unwrap_or(if element.name == "plugin" {
            "org.apache.maven.plugins"
        } else {
            ""
        });
        let artifact = element.str("artifactId").unwrap_or_default();
        Ok(format!("{}:{}", self.value(group)?, self.value(artifact)?))
    }

    fn manage(&mut self, element: &Element) {
        if element.str("scope") == Some("import") {
            self.add(element, "dependencyManagement", false);
        }
        let value = element.str("version").and_then(|v| self.value(v).ok());
        if let (Ok(name), Some(version)) = (self.name(element), value) {
            self.managed.entry(name).or_insert(version);
        }
    }

    fn section(&mut self, section: &Element) {
        for dependency in section.list("dependencies") {
            self.add(dependency, "", false);
        }
        let Some(build) = section.get("build") else { return };
        for extension in build.list("extensions") {
            self.add(extension, "build extension", false);
        }
        for plugin in build.list("plugins") {
            self.add(plugin, "build", false);
            for dependency in plugin.list("dependencies") {
                let asker = plugin.str("artifactId").unwrap_or_default();
                self.add(dependency, asker, false);
            }
        }
    }

    fn add(&mut self, element: &Element, asked_by: &str, optional: bool) {
        let line = element.line;
        let name = match self.name(element) {
            Ok(name) if !name.starts_with(':') && !name.ends_with(':') => name,
            Ok(_) => return self.list.note(line, "a declaration without a group or an artifact; correct it"),
            Err(property) => return self.unknown(line, &property),
        };
        if element.str("scope") == Some("system") {
            return;
        }
        let version = match element.str("version").map(|v| self.value(v)) {
            Some(Ok(version)) => version_of(&version),
            Some(Err(property)) => return self.unknown(line, &property),
            None => match self.managed.get(&name) {
                Some(version) => version_of(version),
                None => {
                    self.list.note(
                        line,
                        format!("the version of {name} is not in this file; record a build with `mvn`"),
                    );
                    Version::Any
                }
            },
        };
        let mut item = Listed::new(Ecosystem::Maven, name, version, line);
        item.dev = element.str("scope") == Some("test");
        item.optional = optional || element.str("optional") == Some("true");
        item.asked_by.extend((!asked_by.is_empty()).then(|| asked_by.to_owned()));
        self.list.add(item);
    }

    fn unknown(&mut self, line: u32, property: &str) {
        self.list
            .note(line, format!("the property `{property}` is not in this file; record a build with `mvn`"));
    }
}

fn version_of(text: &str) -> Version {
    let text = text.trim();
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(one) if !one.contains([',', '[', '(']) => Version::Exact(one.to_owned()),
        _ if text.starts_with(['[', '(']) => Version::Range(text.to_owned()),
        _ => Version::Exact(text.to_owned()),
    }
}
