//! `requirements.txt` as pip reads it (pip documentation, "Requirements File Format"), and what pip-tools and
//! uv write into it: `# via` comments become [`Listed::asked_by`].

use cofferdam_types::Result;

use super::{name_of, version_of};
use crate::{Ecosystem, File, Listed, Version, address, digest, list::List};

pub(crate) fn read(file: File, list: &mut List) -> Result<()> {
    let mut reader = Reader { list, last: None, in_via: false };
    let mut logical = String::new();
    let mut begin = 0;
    for (number, line) in file.lines() {
        let comment = line.trim_start().strip_prefix('#');
        if logical.is_empty() {
            begin = number;
        }
        match (line.trim_end().strip_suffix('\\'), comment) {
            (Some(part), None) => {
                logical.push_str(part);
                logical.push(' ');
                continue;
            }
            (_, Some(_)) => {}
            (None, None) => logical.push_str(line),
        }
        let whole = std::mem::take(&mut logical);
        reader.logical(&whole, begin);
        if let Some(comment) = comment {
            reader.comment(comment);
        }
    }
    reader.logical(&logical, begin);
    reader.flush();
    Ok(())
}

struct Reader<'a> {
    list: &'a mut List,
    /// The entry to which the comments that follow belong.
    last: Option<Listed>,
    in_via: bool,
}

impl Reader<'_> {
    fn flush(&mut self) {
        if let Some(item) = self.last.take() {
            self.list.add(item);
        }
        self.in_via = false;
    }

    /// `# via a, b`, or `# via` and then a name a line.
    fn comment(&mut self, comment: &str) {
        let text = comment.trim();
        let names = match text.strip_prefix("via") {
            Some(names) if names.is_empty() || names.starts_with(' ') => {
                self.in_via = true;
                names
            }
            _ if self.in_via => text,
            _ => return,
        };
        let names = names.split(',').map(str::trim).filter(|n| !n.is_empty());
        if let Some(item) = &mut self.last {
            item.asked_by.extend(names.map(str::to_owned));
        }
    }

    fn logical(&mut self, text: &str, line: u32) {
        // A `#` begins a comment at the line's beginning or after a space; in an address it does not.
        let at = text.match_indices('#').map(|(at, _)| at);
        let mut at = at.filter(|at| text[..*at].chars().next_back().is_none_or(char::is_whitespace));
        let (text, comment) = at.next().map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
        let text = text.trim();
        if !text.is_empty() {
            self.flush();
            if text.starts_with('-') { self.option(text, line) } else { self.requirement(text, line) }
        }
        if let Some(comment) = comment {
            self.comment(comment);
        }
    }

    fn option(&mut self, text: &str, line: u32) {
        let end = text.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(text.len());
        let (mut name, mut value) = (&text[..end], text[end..].trim_start_matches(['=', ' ', '\t']).trim());
        // `-rfile` is pip's short form.
        for short in ["-r", "-c", "-e", "-i", "-f"] {
            if let Some(rest) =
                name.strip_prefix(short).filter(|rest| !rest.is_empty() && !name.starts_with("--"))
            {
                (name, value) = (short, rest);
            }
        }
        match name {
            "-r" | "--requirement" if value.contains("://") => {
                self.list.note(
                    line,
                    format!(
                        "it includes {}, which was not read; copy the file into the project",
                        address::clean(value)
                    ),
                );
            }
            "-r" | "--requirement" => self.list.include(value, line),
            "-c" | "--constraint" => {
                let value = address::clean(value);
                self.list.note(line, format!("`{value}` narrows versions and was not read; write the versions out with pip-compile or `uv pip compile`"));
            }
            "-e" | "--editable" => self.requirement(value, line),
            "-i" | "--index-url" | "--extra-index-url" => {
                let value = address::clean(value);
                self.list.note(line, format!("it asks the index {value}; the site needs a mirror of it when its own has not all of these packages"));
            }
            "-f" | "--find-links" => {
                let value = address::clean(value);
                self.list.note(line, format!("it takes files from {value}, which cannot be listed; name them in cofferdam.want under `urls`"));
            }
            _ => {}
        }
    }

    fn requirement(&mut self, text: &str, line: u32) {
        let (text, options) = text.find(" --").map_or((text, ""), |at| text.split_at(at));
        let digests = hashes(options);
        if text.contains("${") {
            self.list.note(
                line,
                "it has a variable of the environment, whose value is not known here; write it out",
            );
            return;
        }
        // The marker of an address begins after a space: an address may have a `;`.
        let separator = if text.contains("://") { " ;" } else { ";" };
        let (what, markers) =
            text.split_once(separator).map_or((text, None), |(w, m)| (w, Some(m.trim().to_owned())));
        let what = what.trim();
        if let Some((name, url)) =
            what.split_once('@').filter(|(name, _)| name_of(name).is_some() && !name.contains(':'))
        {
            let name = name_of(name).unwrap_or_default();
            return self.direct(url.trim(), &name, digests, line);
        }
        if what.contains("://") || is_path(what) {
            return self.direct(what, "", digests, line);
        }
        let Some(name) = name_of(what) else {
            self.list.note(line, "a line that is no requirement; correct it or remove it");
            return;
        };
        let spec = what
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .map_or("", |at| &what[at..]);
        let spec = spec.trim_start();
        let spec = spec.strip_prefix('[').and_then(|s| s.split_once(']')).map_or(spec, |(_, spec)| spec);
        let version = version_of(spec);
        if matches!(&version, Version::Range(range) if !range.starts_with(['<', '>', '=', '!', '~'])) {
            self.list.note(line, format!("`{name}` is followed by what is no version; correct it"));
            return;
        }
        let mut item = Listed::new(Ecosystem::Pypi, name, version, line);
        item.digests = digests;
        item.markers = markers.filter(|m| !m.is_empty());
        self.last = Some(item);
    }

    /// `git+https://…@ref#egg=name`, a file's address, or a path.
    fn direct(&mut self, place: &str, name: &str, mut digests: Vec<String>, line: u32) {
        let (place, fragment) = place.split_once('#').unwrap_or((place, ""));
        let mut name = name.to_owned();
        for part in fragment.split('&') {
            if let Some(egg) = part.strip_prefix("egg=").filter(|_| name.is_empty()) {
                name = name_of(egg).unwrap_or_default();
            }
            digests.extend(part.split_once('=').and_then(|(algorithm, hex)| digest::of_hex(algorithm, hex)));
        }
        if let Some(repository) = place.strip_prefix("git+") {
            // The reference stands after the last `@` of the path; one before it is a user.
            let host = repository.find("//").map_or(0, |at| at + 2);
            let path = repository[host..].find('/').map_or(repository.len(), |at| host + at);
            let (head, tail) = repository.split_at(path);
            let (path, reference) = tail.rsplit_once('@').map_or((tail, None), |(p, r)| (p, Some(r)));
            self.list.git(&format!("{head}{path}"), reference, &name, line);
        } else if address::is_absolute(place) {
            self.list.url(place, digests, &name, line);
        } else if place.contains("://") && !place.starts_with("file:") {
            let place = address::clean(place);
            self.list.note(
                line,
                format!("{place} is fetched in a way that is not known here; name it in cofferdam.want"),
            );
        }
    }
}

/// A path in the project, which nobody has to bring.
fn is_path(text: &str) -> bool {
    text.starts_with(['.', '/'])
        || text.ends_with(".whl")
        || text.ends_with(".tar.gz")
        || text.ends_with(".zip")
}

/// `--hash=sha256:…`, `--hash sha256:…`
fn hashes(options: &str) -> Vec<String> {
    let mut words = options.split_ascii_whitespace();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--hash") {
            Some("") => words.next(),
            Some(value) => value.strip_prefix('='),
            None => None,
        };
        found.extend(value.and_then(digest::of_pair));
    }
    found
}
