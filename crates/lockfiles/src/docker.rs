//! `Dockerfile` and `Containerfile`: images of `FROM`, `COPY --from`, `RUN --mount` and `# syntax`, and files
//! of `ADD` (Dockerfile reference).
//!
//! Defaults of `ARG` are put in; a stage is no image. What `RUN` fetches only a recorded build shows.

use std::collections::HashSet;

use cofferdam_types::Result;

use crate::{
    File, address, digest,
    image::{self, Variables, substitute},
    list::List,
};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let instructions = instructions(file.text);
    let mut reader =
        Reader { list, globals: Variables::new(), stage: None, stages: HashSet::new(), count: 0, runs: None };
    if let Some((line, name)) = directives(file.text) {
        reader.image(&name, None, line);
    }
    for (line, text) in &instructions {
        reader.instruction(text, *line);
    }
    if reader.count == 0 {
        return Err(file.malformed(1, "there is no `FROM`"));
    }
    if let Some(line) = reader.runs {
        list.note(line, "what `RUN` fetches is not in this file; record the build");
    }
    Ok(())
}

/// `# syntax=image` in the first comments.
fn directives(text: &str) -> Option<(u32, String)> {
    let comments = (1..).zip(text.lines()).map_while(|(n, line)| Some((n, line.trim().strip_prefix('#')?)));
    let mut found = comments.filter_map(|(number, comment)| {
        let (key, value) = comment.split_once('=')?;
        key.trim().eq_ignore_ascii_case("syntax").then(|| (number, value.trim().to_owned()))
    });
    found.next()
}

/// Instructions with their lines: continued lines joined, comments and the bodies of here-documents gone.
fn instructions(text: &str) -> Vec<(u32, String)> {
    let has_backtick = text.lines().map_while(|l| l.trim().strip_prefix('#')).any(|c| {
        c.split_once('=').is_some_and(|(k, v)| k.trim().eq_ignore_ascii_case("escape") && v.trim() == "`")
    });
    let escape = if has_backtick { '`' } else { '\\' };
    let mut out: Vec<(u32, String)> = Vec::new();
    let mut open: Option<(u32, String)> = None;
    let mut ends: std::collections::VecDeque<String> = std::collections::VecDeque::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(end) = ends.front() {
            if line.trim_start_matches('\t') == end {
                ends.pop_front();
            }
            continue;
        }
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let (begin, mut whole) = open.take().unwrap_or((number, String::new()));
        if let Some(part) = trimmed.strip_suffix(escape) {
            whole.push_str(part);
            whole.push(' ');
            open = Some((begin, whole));
            continue;
        }
        whole.push_str(trimmed);
        ends.extend(here_documents(&whole));
        out.push((begin, whole));
    }
    out.extend(open);
    out
}

/// The words that end the here-documents of an instruction.
fn here_documents(text: &str) -> Vec<String> {
    let verb = text.split_ascii_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !matches!(verb.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    let word = |part: &str| {
        let part = part.strip_prefix('-').unwrap_or(part).trim_start_matches(['"', '\'']);
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(part.len());
        let starts_well = part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts_well.then(|| part[..end].to_owned())
    };
    text.split("<<").skip(1).take(16).filter_map(word).collect()
}

struct Reader<'a> {
    list: &'a mut List,
    /// Arguments before the first stage.
    globals: Variables,
    /// Those of the current stage.
    stage: Option<Variables>,
    stages: HashSet<String>,
    count: usize,
    runs: Option<u32>,
}

impl Reader<'_> {
    fn instruction(&mut self, text: &str, line: u32) {
        let mut words = text.split_ascii_whitespace();
        let mut verb = words.next().unwrap_or_default().to_ascii_uppercase();
        if verb == "ONBUILD" {
            verb = words.next().unwrap_or_default().to_ascii_uppercase();
        }
        let (flags, rest): (Vec<&str>, Vec<&str>) = words.partition(|w| w.starts_with("--"));
        let flag = |name: &str| {
            flags.iter().find_map(|f| f.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
        };
        match verb.as_str() {
            "ARG" => rest.iter().for_each(|word| self.argument(word)),
            "ENV" => rest.iter().filter(|w| w.contains('=')).for_each(|word| self.argument(word)),
            "FROM" => self.from(&rest, flag("platform"), line),
            "COPY" => {
                if let Some(from) = flag("from") {
                    self.image(from, None, line);
                }
            }
            "ADD" => self.add(&rest, flag("checksum"), line),
            "RUN" => {
                self.runs = self.runs.or(Some(line));
                for mount in flags.iter().filter_map(|f| f.strip_prefix("--mount=")) {
                    if let Some(from) = mount.split(',').find_map(|part| part.strip_prefix("from=")) {
                        self.image(from, None, line);
                    }
                }
            }
            _ => {}
        }
    }

    fn known(&self) -> &Variables {
        self.stage.as_ref().unwrap_or(&self.globals)
    }

    fn argument(&mut self, word: &str) {
        let (name, value) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
        let known = self.known();
        let value = match value {
            Some(value) => {
                substitute(value.trim_matches(['"', '\'']), |n| known.get(n).map(String::as_str)).ok()
            }
            // In a stage, the bare name takes over the value from before the first stage.
            None => self.globals.get(name).cloned(),
        };
        if let Some(value) = value {
            self.stage.as_mut().unwrap_or(&mut self.globals).insert(name.to_owned(), value);
        }
    }

    fn from(&mut self, rest: &[&str], platform: Option<&str>, line: u32) {
        self.count += 1;
        self.stage = None;
        if let Some(image) = rest.first() {
            self.image(image, platform, line);
        }
        if let [_, word, name, ..] = rest
            && word.eq_ignore_ascii_case("as")
        {
            self.stages.insert(name.to_ascii_lowercase());
        }
        self.stage = Some(Variables::new());
    }

    fn image(&mut self, written: &str, platform: Option<&str>, line: u32) {
        let known = self.known();
        let reference = match substitute(written.trim_matches(['"', '\'']), |n| {
            known.get(n).map(String::as_str)
        }) {
            Ok(reference) => reference,
            Err(name) => {
                self.list.note(line, format!("the image `{written}` has the argument `{name}`, which has no default; give it one, or name the image in cofferdam.want"));
                return;
            }
        };
        let is_number = reference.parse::<usize>().is_ok_and(|n| n < self.count.max(1));
        if reference == "scratch" || is_number || self.stages.contains(&reference.to_ascii_lowercase()) {
            return;
        }
        match image::listed(&reference, line) {
            Ok(mut item) => {
                let known = self.known();
                let platform =
                    platform.and_then(|p| substitute(p, |n| known.get(n).map(String::as_str)).ok());
                item.platforms.extend(platform.and_then(|p| image::platform_of(&p)));
                self.list.add(item);
            }
            Err(why) => self.list.note(line, format!("{why}; correct it")),
        }
    }

    fn add(&mut self, rest: &[&str], checksum: Option<&str>, line: u32) {
        let known = self.known();
        let places: Vec<_> =
            rest.iter().map(|word| (*word, substitute(word, |n| known.get(n).map(String::as_str)))).collect();
        for (written, place) in places {
            match place {
                Ok(place) => {
                    if let Some((repository, reference)) = address::git(&place) {
                        self.list.git(&repository, reference.as_deref(), "", line);
                    } else if address::is_absolute(&place) {
                        self.list.url(
                            &place,
                            checksum.and_then(digest::of_pair).into_iter().collect(),
                            "",
                            line,
                        );
                    }
                }
                Err(name) if address::is_absolute(written) => {
                    self.list.note(line, format!("`{written}` has the argument `{name}`, which has no default; give it one, or name the file in cofferdam.want"));
                }
                Err(_) => {}
            }
        }
    }
}
