//! `compose.yaml`: images of services (Compose specification). An image that is built here is not fetched.

use cofferdam_types::Result;

use crate::{
    File,
    image::{self, substitute},
    list::List,
    tree::{self, Node},
};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let documents = tree::yaml(file)?;
    let root = documents.first().ok_or_else(|| file.malformed(1, "it is empty"))?;
    let includes = root.get("include");
    for entry in includes.into_iter().flat_map(Node::items) {
        let paths = if entry.is_map() { entry.texts("path") } else { entry.text().into_iter().collect() };
        for path in paths {
            include(list, path, entry.line);
        }
    }
    if root.get("services").is_none() && includes.is_none() && !root.is_map() {
        return Err(file.malformed(1, "the key `services` is missing"));
    }
    for (name, line, service) in root.map("services") {
        if let Some(path) = service.get("extends").and_then(|e| e.str("file")) {
            include(list, path, *line);
        }
        let platform = service.str("platform").and_then(image::platform_of);
        let facts = (name.as_str(), platform.as_deref(), !service.list("profiles").is_empty());
        let build = service.get("build");
        for (_, at, context) in build.map_or(&[][..], |b| b.map("additional_contexts")) {
            if let Some(reference) = context.text().and_then(|c| c.strip_prefix("docker-image://")) {
                add(list, reference, facts, *at);
            }
        }
        if build.is_some_and(|b| b.get("dockerfile_inline").is_some()) {
            list.note(
                *line,
                format!("the service `{name}` has its Dockerfile inside; put it into a file of its own"),
            );
        }
        match service.get("image") {
            Some(image) if build.is_none() => add(list, image.text().unwrap_or_default(), facts, image.line),
            _ => {}
        }
    }
    Ok(())
}

fn include(list: &mut List, path: &str, line: u32) {
    if path.contains("://") || path.starts_with("git@") {
        list.note(
            line,
            format!(
                "it includes {}, which was not read; copy it into the project",
                crate::address::clean(path)
            ),
        );
    } else if path.contains('$') {
        list.note(line, format!("it includes `{path}`, whose variable is not known here; write it out"));
    } else {
        list.include(path, line);
    }
}

fn add(
    list: &mut List,
    reference: &str,
    (asked_by, platform, optional): (&str, Option<&str>, bool),
    line: u32,
) {
    let item = substitute(reference, |_| None)
        .map_err(|name| format!("the image of `{asked_by}` has the variable `{name}`, which has no default"))
        .and_then(|reference| image::listed(&reference, line));
    match item {
        Ok(mut item) => {
            item.asked_by.push(asked_by.to_owned());
            item.platforms.extend(platform.map(str::to_owned));
            item.optional = optional;
            list.add(item);
        }
        Err(why) => list.note(line, format!("{why}; write it out, or name the image in cofferdam.want")),
    }
}
