//! JSON, YAML and TOML as one tree that knows its lines, bounded in depth and nodes; XML beside it.
//!
//! Readers ask the tree leniently: a key of another shape than expected is a key that is not there. The tree
//! itself is strict: what is no JSON is an error with its line.

mod json;
mod toml;
mod xml;
mod yaml;

use cofferdam_types::Result;

use crate::File;

pub(crate) use xml::Element;

/// Nodes of one file at the most, aliases of YAML counted in full.
pub const MAX_NODES: usize = 1_000_000;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 100;

/// A value with the line where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub value: Value,
    pub line: u32,
}

/// The three shapes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Text as written (numbers too: a version `1.10` is no number), and whether it stood without quotes.
    Scalar(String, bool),
    List(Vec<Node>),
    /// Keys, the lines of the keys, values.
    Map(Vec<(String, u32, Node)>),
}

impl Node {
    /// The value under a key; of a key that is written twice, the last.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().rfind(|(name, ..)| name == key).map(|(_, _, node)| node)
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[(String, u32, Self)] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, plain) if !(*plain && matches!(text.as_str(), "" | "~" | "null")) => {
                Some(text)
            }
            _ => None,
        }
    }

    /// The text under a key.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// Whether there is an unquoted `true` under a key.
    pub fn is_true(&self, key: &str) -> bool {
        matches!(self.get(key).map(|n| &n.value), Some(Value::Scalar(text, true)) if text == "true")
    }

    /// The texts under a key: of a list each, of a scalar its one.
    pub fn texts(&self, key: &str) -> Vec<&str> {
        match self.get(key) {
            Some(node) if node.text().is_some() => node.text().into_iter().collect(),
            Some(node) => node.items().iter().filter_map(Self::text).collect(),
            None => Vec::new(),
        }
    }

    /// The keys below a key.
    pub fn keys(&self, key: &str) -> Vec<&str> {
        self.get(key).map_or(&[][..], Self::entries).iter().map(|(name, ..)| name.as_str()).collect()
    }

    /// Items of a list below a key.
    pub fn list(&self, key: &str) -> &[Self] {
        self.get(key).map_or(&[], Self::items)
    }

    /// Entries of a mapping below a key.
    pub fn map(&self, key: &str) -> &[(String, u32, Self)] {
        self.get(key).map_or(&[], Self::entries)
    }

    pub fn is_map(&self) -> bool {
        matches!(self.value, Value::Map(_))
    }
}

/// Why a file is no tree.
pub(crate) struct Fault {
    pub line: u32,
    pub why: String,
}

impl Fault {
    fn new(line: u32, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }
    fn too_deep(line: u32) -> Self {
        Self::new(line, format!("nested deeper than {MAX_DEPTH} levels"))
    }
    fn too_many(line: u32) -> Self {
        Self::new(line, format!("more than {MAX_NODES} values"))
    }
}

fn told<T>(file: File, result: std::result::Result<T, Fault>) -> Result<T> {
    result.map_err(|fault| file.malformed(fault.line, fault.why))
}

/// JSON; comments and trailing commas are let pass, as in `bun.lock`.
pub(crate) fn json(file: File) -> Result<Node> {
    told(file, json::parse(file.text))
}

/// TOML.
pub(crate) fn toml(file: File) -> Result<Node> {
    told(file, toml::parse(file.text))
}

/// Every document of a YAML file.
pub(crate) fn yaml(file: File) -> Result<Vec<Node>> {
    told(file, yaml::parse(file.text))
}

/// XML: its outermost element.
pub(crate) fn xml(file: File) -> Result<Element> {
    told(file, xml::parse(file.text))
}
