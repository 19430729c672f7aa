//! `.gitlab-ci.yml`, read plainly: images, services and what is included. Rules are not evaluated: what any
//! job may need is listed.

use cofferdam_types::Result;

use crate::{
    File, address,
    image::{self, Variables, substitute},
    list::List,
    tree::{self, Node},
};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let documents = tree::yaml(file)?;
    // A file of `spec:` headers has its jobs in the second document.
    for root in &documents {
        if !root.is_map() {
            return Err(file.malformed(root.line, "it is no mapping of jobs"));
        }
        let globals = Scope::of(root, None);
        images(list, root, "", &globals);
        for (job, _, node) in root.entries() {
            if job == "include" {
                includes(list, node, &globals);
            } else if node.is_map() && !matches!(job.as_str(), "variables" | "spec" | "workflow" | "image") {
                images(list, node, job, &Scope::of(node, Some(&globals)));
            }
        }
    }
    Ok(())
}

/// Variables of a place, and those above it.
struct Scope<'a> {
    own: Variables,
    above: Option<&'a Self>,
}

impl<'a> Scope<'a> {
    /// A variable that needs another which is not known stays unknown.
    fn of(node: &Node, above: Option<&'a Self>) -> Self {
        let mut scope = Self { own: Variables::new(), above };
        for (name, _, value) in node.map("variables") {
            let value = value.text().or_else(|| value.str("value"));
            if let Some(value) = value.and_then(|v| substitute(v, |n| scope.get(n)).ok()) {
                scope.own.insert(name.clone(), value);
            }
        }
        scope
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.own.get(name).map(String::as_str).or_else(|| self.above?.get(name))
    }
}

fn images(list: &mut List, node: &Node, job: &str, variables: &Scope) {
    let services = node.get("services").map_or(&[][..], Node::items);
    for image in node.get("image").into_iter().chain(services) {
        let Some(name) = image.text().or_else(|| image.str("name")) else { continue };
        let item = substitute(name, |n| variables.get(n))
            .map_err(|v| format!("the image `{name}` has the variable `{v}`, which is not in this file"))
            .and_then(|reference| image::listed(&reference, image.line));
        match item {
            Ok(mut item) => {
                let platform = image.get("docker").and_then(|d| d.str("platform"));
                item.platforms.extend(platform.and_then(image::platform_of));
                item.asked_by.extend((!job.is_empty()).then(|| job.to_owned()));
                list.add(item);
            }
            Err(why) => list.note(
                image.line,
                format!("{why}; name it in cofferdam.want when it is not the project's own"),
            ),
        }
    }
}

fn includes(list: &mut List, node: &Node, variables: &Scope) {
    let one = std::slice::from_ref(node);
    let entries = if node.items().is_empty() { one } else { node.items() };
    for entry in entries {
        let line = entry.line;
        let local = |list: &mut List, path: &str| match substitute(path, |n| variables.get(n)) {
            Ok(path) if address::is_absolute(&path) => remote(list, &path, line),
            Ok(path) if path.contains('*') => {
                list.note(line, format!("it includes every file that matches `{path}`; read them too"));
            }
            Ok(path) => list.include_from_root(&path, line),
            Err(name) => list.note(
                line,
                format!("it includes `{path}`, whose variable `{name}` is not in this file; write it out"),
            ),
        };
        if let Some(path) = entry.text() {
            local(list, path);
        }
        for path in entry.texts("local") {
            local(list, path);
        }
        for url in entry.texts("remote") {
            remote(list, url, line);
        }
        for (key, what) in [
            ("project", "a file of the project"),
            ("template", "the template"),
            ("component", "the component"),
        ] {
            if let Some(name) = entry.str(key) {
                list.note(line, format!("it includes {what} `{name}`, which was not read; copy it into the project and include it as `local`"));
            }
        }
    }
}

fn remote(list: &mut List, url: &str, line: u32) {
    let shown = address::clean(url);
    list.note(line, format!("it includes {shown}, which was not read: what that file needs is not listed; copy it into the project"));
    if address::is_absolute(url) {
        list.url(url, Vec::new(), "include", line);
    }
}
