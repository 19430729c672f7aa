//! XML as a tree of elements with their text: enough for `pom.xml`.
//!
//! Attributes, namespaces' prefixes and comments are dropped. A document type is refused: it could define
//! entities, and no file that we read needs one.

use quick_xml::{Reader, events::Event};

use super::{Fault, MAX_DEPTH, MAX_NODES};

/// An element.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Element {
    /// Its name without a prefix.
    pub name: String,
    /// Its own text, trimmed.
    pub text: String,
    /// Where it begins.
    pub line: u32,
    /// What is in it.
    pub children: Vec<Self>,
}

impl Element {
    /// The first child of a name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|c| c.name == name)
    }

    /// A child's text, when it has any.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name).map(|c| c.text.as_str()).filter(|t| !t.is_empty())
    }

    /// The children of a child.
    pub fn list(&self, name: &str) -> &[Self] {
        self.get(name).map_or(&[], |c| &c.children)
    }
}

pub(super) fn parse(text: &str) -> Result<Element, Fault> {
    let mut reader = Reader::from_str(text);
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    // The stack begins with what holds the outermost element.
    let mut stack = vec![Element::default()];
    let mut nodes = 0;
    loop {
        let line = lines.to(reader.buffer_position());
        let event = reader.read_event();
        let event = event.map_err(|e| Fault::new(line, format!("not valid XML: {e}")))?;
        match event {
            Event::Start(start) => {
                count(&mut nodes, line)?;
                if stack.len() >= MAX_DEPTH {
                    return Err(Fault::too_deep(line));
                }
                stack.push(named(start.local_name().as_ref(), line));
            }
            Event::Empty(start) => {
                count(&mut nodes, line)?;
                let child = named(start.local_name().as_ref(), line);
                push(&mut stack, child);
            }
            Event::End(_) => {
                let mut done = stack.pop().unwrap_or_default();
                done.text = done.text.trim().to_owned();
                push(&mut stack, done);
            }
            Event::Text(bytes) => say(&mut stack, &bytes),
            Event::CData(bytes) => say(&mut stack, &bytes),
            Event::GeneralRef(name) => say(&mut stack, entity(&name)),
            Event::DocType(_) => return Err(Fault::new(line, "a document type, which may define entities")),
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    let [root] = stack.as_mut_slice() else {
        return Err(Fault::new(lines.line, "not valid XML: it ends too early"));
    };
    if root.children.is_empty() {
        return Err(Fault::new(1, "not valid XML: it has no element"));
    }
    Ok(root.children.swap_remove(0))
}

fn count(nodes: &mut usize, line: u32) -> Result<(), Fault> {
    *nodes += 1;
    if *nodes > MAX_NODES { Err(Fault::too_many(line)) } else { Ok(()) }
}

fn named(name: &str, line: u32) -> Element {
    Element { name: name.to_owned(), line, ..Element::default() }
}

fn push(stack: &mut [Element], child: Element) {
    if let Some(parent) = stack.last_mut() {
        parent.children.push(child);
    }
}

fn say(stack: &mut [Element], text: &str) {
    if let Some(element) = stack.last_mut() {
        element.text.push_str(text);
    }
}

fn entity(name: &str) -> &'static str {
    match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        // No coordinate has one; the entry is then left out for its control character.
        _ => "\u{1}",
    }
}

/// Counts lines forward.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl Lines<'_> {
    fn to(&mut self, position: u64) -> u32 {
        let end = usize::try_from(position).unwrap_or(usize::MAX).min(self.text.len());
        let more = self.text.get(self.at..end).unwrap_or_default().iter().filter(|b| **b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        self.at = self.at.max(end);
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_have_text_children_and_lines() {
        let root = parse("<?xml version='1.0'?>\n<a xmlns='x'><!-- c -->\n<n:b> x &lt; y </n:b>\n<c/></a>")
            .ok()
            .unwrap();
        assert_eq!((root.name.as_str(), root.line), ("a", 2));
        let b = root.get("b").unwrap();
        assert_eq!((b.text.as_str(), b.line), ("x < y", 3));
        assert_eq!(root.children.len(), 2);
    }

    #[test]
    fn entities_of_its_own_and_broken_ends_are_refused() {
        for text in
            ["<!DOCTYPE a [<!ENTITY x 'y'>]><a/>", "<a>", "</a>", "<a></b>", "", "x", &"<a>".repeat(100_000)]
        {
            assert!(parse(text).is_err(), "{text:.30}");
        }
    }
}
