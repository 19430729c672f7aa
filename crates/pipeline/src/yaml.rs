//! YAML as an own tree that knows where everything is written.
//!
//! Bounded in depth and in nodes (aliases count in full), so a small hostile file cannot fill memory.

use crate::diagnostic::{Diagnostic, Place};
use saphyr_parser::{Event, Parser, ScalarStyle};
use std::collections::HashMap;

/// Most nodes a file may have, aliases counted as often as they are used.
pub const MAX_NODES: usize = 200_000;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 64;

/// A node with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it begins.
    pub place: Place,
    /// Its tag without the `!`, such as `reference`.
    pub tag: Option<String>,
}

/// The three shapes of YAML.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text and whether it stood without quotes, so that `null` and `true` can be told from words.
    Scalar(String, bool),
    /// A list.
    List(Vec<Node>),
    /// Keys with their places and values, in the order written.
    Map(Vec<(String, Place, Node)>),
}

impl Node {
    /// The value under a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.iter().find(|(name, ..)| name == key).map(|(_, _, node)| node)
    }
    /// The entries of a mapping.
    pub fn map(&self) -> Option<&[(String, Place, Node)]> {
        if let Value::Map(entries) = &self.value { Some(entries) } else { None }
    }
    /// The items of a list.
    pub fn list(&self) -> Option<&[Node]> {
        if let Value::List(items) = &self.value { Some(items) } else { None }
    }
    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) if !self.is_null() => Some(text),
            _ => None,
        }
    }
    /// Is it `null`, `~` or nothing, without quotes?
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, true) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
    /// An unquoted boolean.
    pub fn bool(&self) -> Option<bool> {
        match &self.value {
            Value::Scalar(text, true) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some(true),
                "false" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
    /// An unquoted whole number.
    pub fn number(&self) -> Option<i64> {
        if let Value::Scalar(text, true) = &self.value { text.parse().ok() } else { None }
    }
    /// The node as JSON, for values that are carried and not interpreted.
    pub fn json(&self) -> serde_json::Value {
        match &self.value {
            Value::List(items) => items.iter().map(Node::json).collect(),
            Value::Map(entries) => {
                serde_json::Value::Object(entries.iter().map(|(k, _, v)| (k.clone(), v.json())).collect())
            }
            Value::Scalar(text, _) => match (self.is_null(), self.bool(), self.number()) {
                (true, ..) => serde_json::Value::Null,
                (_, Some(value), _) => value.into(),
                (_, _, Some(value)) => value.into(),
                _ => text.clone().into(),
            },
        }
    }
    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(..) => 0,
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Map(entries) => entries.iter().map(|(_, _, node)| 1 + node.size()).sum(),
        }
    }
    fn height(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(..) => 0,
            Value::List(items) => items.iter().map(Node::height).max().unwrap_or(0),
            Value::Map(entries) => entries.iter().map(|(_, _, node)| node.height()).max().unwrap_or(0),
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    file: &'a str,
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    problems: Vec<Diagnostic>,
}

/// Reads one document.
///
/// # Errors
/// Every syntax error, duplicate key, unknown alias and exceeded bound, with its place.
pub fn parse(file: &str, text: &str) -> Result<Node, Vec<Diagnostic>> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        file,
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    let result = builder.document();
    match result {
        Ok(node) if builder.problems.is_empty() => Ok(node),
        Ok(_) => Err(builder.problems),
        Err(problem) => {
            builder.problems.push(problem);
            Err(builder.problems)
        }
    }
}

type Step<T> = Result<T, Diagnostic>;

impl<'a> Builder<'a> {
    fn next(&mut self) -> Step<(Event<'a>, Place)> {
        let file = self.file;
        let place =
            |line: usize, col: usize| Place { file: file.to_owned(), line: line.max(1), column: col + 1 };
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, place(span.start.line(), span.start.col()))),
            Some(Err(error)) => {
                let mark = error.marker();
                Err(Diagnostic::new(
                    &place(mark.line(), mark.col()),
                    format!("not valid YAML: {}", error.info()),
                ))
            }
            None => Ok((Event::StreamEnd, place(1, 0))),
        }
    }

    fn document(&mut self) -> Step<Node> {
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd => {
                    return Ok(Node { value: Value::Map(Vec::new()), place, tag: None });
                }
                event => {
                    let root = self.node(event, place, 0)?;
                    return self.only(root);
                }
            }
        }
    }

    fn only(&mut self, root: Node) -> Step<Node> {
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) => {
                    return Err(Diagnostic::new(
                        &place,
                        "a second YAML document (`spec:` headers) is not supported",
                    ));
                }
                _ => {}
            }
        }
    }

    fn count(&mut self, nodes: usize, place: &Place) -> Step<()> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(Diagnostic::new(
                place,
                format!("more than {MAX_NODES} nodes, aliases counted in full"),
            ));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Step<Node> {
        if depth >= MAX_DEPTH {
            return Err(Diagnostic::new(&place, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.count(1, &place)?;
        let (value, anchor, tag) = match event {
            Event::Alias(id) => return self.alias(id, &place, depth),
            Event::Scalar(text, style, anchor, tag) => {
                (Value::Scalar(text.into_owned(), style == ScalarStyle::Plain), anchor, tag)
            }
            Event::SequenceStart(anchor, tag) => (Value::List(self.items(depth)?), anchor, tag),
            Event::MappingStart(anchor, tag) => (Value::Map(self.entries(depth)?), anchor, tag),
            other => return Err(Diagnostic::new(&place, format!("unexpected YAML event {other:?}"))),
        };
        let tag = tag.map(|tag| tag.suffix.trim_start_matches('!').to_owned());
        let node = Node { value, place, tag };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), node.size(), node.height()));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, place: &Place, depth: usize) -> Step<Node> {
        let Some((_, size, height)) = self.anchors.get(&id) else {
            return Err(Diagnostic::new(place, "an alias to an anchor that is not complete yet"));
        };
        let (size, height) = (*size, *height);
        self.count(size, place)?;
        if depth + height > MAX_DEPTH {
            return Err(Diagnostic::new(place, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(self.anchors[&id].0.clone())
    }

    fn items(&mut self, depth: usize) -> Step<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            items.push(self.node(event, place, depth + 1)?);
        }
    }

    fn entries(&mut self, depth: usize) -> Step<Vec<(String, Place, Node)>> {
        let mut entries: Vec<(String, Place, Node)> = Vec::new();
        let mut merged = Vec::new();
        let mut index = HashMap::new();
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, place.clone(), depth + 1)?;
            let Value::Scalar(name, plain) = key.value else {
                return Err(Diagnostic::new(&place, "a key must be text"));
            };
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            if name == "<<" && plain {
                merged.push(node);
            } else if index.insert(name.clone(), place.clone()).is_some() {
                self.problems.push(Diagnostic::new(&place, format!("the key `{name}` is written twice")));
            } else {
                entries.push((name, place, node));
            }
        }
        for node in merged {
            self.merge(&mut entries, node)?;
        }
        Ok(entries)
    }

    /// `<<`: keys written in the mapping win, then earlier bases.
    fn merge(&mut self, entries: &mut Vec<(String, Place, Node)>, node: Node) -> Step<()> {
        let place = node.place.clone();
        match node.value {
            Value::Map(base) => {
                let known: std::collections::HashSet<String> = entries.iter().map(|e| e.0.clone()).collect();
                entries.extend(base.into_iter().filter(|(name, ..)| !known.contains(name)));
            }
            Value::List(bases) if bases.iter().all(|base| base.map().is_some()) => {
                for base in bases {
                    self.merge(entries, base)?;
                }
            }
            _ => return Err(Diagnostic::new(&place, "`<<` needs a mapping or a list of mappings")),
        }
        Ok(())
    }
}
