//! YAML as the tree: every document, merge keys carried out, tags let pass.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

use super::{Fault, MAX_DEPTH, MAX_NODES, Node, Value};

type Step<T> = Result<T, Fault>;

pub(super) fn parse(text: &str) -> Step<Vec<Node>> {
    let parser = Parser::new_from_str(text);
    let mut builder = Builder { parser, anchors: HashMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, line) = builder.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => documents.push(builder.node(event, line, 0)?),
        }
    }
}

/// What an anchor stands for, with its nodes and its height.
struct Anchor {
    node: Node,
    size: usize,
    height: usize,
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
}

/// The nodes that a copy counts for; a long text counts for several.
fn size(node: &Node) -> usize {
    let of_text = |text: &str| 1 + text.len() / 32;
    match &node.value {
        Value::Scalar(text, _) => of_text(text),
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => {
            1 + entries.iter().map(|(key, _, node)| of_text(key) + size(node)).sum::<usize>()
        }
    }
}

fn height(node: &Node) -> usize {
    1 + match &node.value {
        Value::Scalar(..) => 0,
        Value::List(items) => items.iter().map(height).max().unwrap_or(0),
        Value::Map(entries) => entries.iter().map(|(_, _, node)| height(node)).max().unwrap_or(0),
    }
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Step<(Event<'a>, u32)> {
        let line = |line: usize| u32::try_from(line.max(1)).unwrap_or(u32::MAX);
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, line(span.start.line()))),
            Some(Err(e)) => Err(Fault::new(line(e.marker().line()), format!("not valid YAML: {}", e.info()))),
            None => Ok((Event::StreamEnd, 1)),
        }
    }

    fn count(&mut self, nodes: usize, line: u32) -> Step<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES { Err(Fault::too_many(line)) } else { Ok(()) }
    }

    fn node(&mut self, event: Event<'a>, line: u32, depth: usize) -> Step<Node> {
        if depth >= MAX_DEPTH {
            return Err(Fault::too_deep(line));
        }
        self.count(1, line)?;
        let (value, anchor) = match event {
            Event::Alias(id) => return self.alias(id, line, depth),
            Event::Scalar(text, style, anchor, _) => {
                (Value::Scalar(text.into_owned(), style == ScalarStyle::Plain), anchor)
            }
            Event::SequenceStart(anchor, _) => (Value::List(self.items(depth)?), anchor),
            Event::MappingStart(anchor, _) => (Value::Map(self.entries(depth)?), anchor),
            _ => return Err(Fault::new(line, "not valid YAML: a value is missing")),
        };
        let node = Node { value, line };
        if anchor > 0 {
            let size = size(&node);
            // The copy that is kept counts too.
            self.count(size, line)?;
            self.anchors.insert(anchor, Anchor { size, height: height(&node), node: node.clone() });
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, line: u32, depth: usize) -> Step<Node> {
        let Some(anchor) = self.anchors.get(&id) else {
            return Err(Fault::new(line, "an alias to an anchor that is not complete yet"));
        };
        if depth + anchor.height > MAX_DEPTH {
            return Err(Fault::too_deep(line));
        }
        self.nodes = self.nodes.saturating_add(anchor.size);
        if self.nodes > MAX_NODES {
            return Err(Fault::too_many(line));
        }
        Ok(anchor.node.clone())
    }

    fn items(&mut self, depth: usize) -> Step<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            items.push(self.node(event, line, depth + 1)?);
        }
    }

    fn entries(&mut self, depth: usize) -> Step<Vec<(String, u32, Node)>> {
        let mut entries = Vec::new();
        let mut bases = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.node(event, line, depth + 1)?;
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            match key.value {
                Value::Scalar(name, true) if name == "<<" => bases.push(node),
                Value::Scalar(name, _) => entries.push((name, line, node)),
                // Nothing that we look for has such a key.
                _ => {}
            }
        }
        // Keys that are written win, then earlier bases.
        let mut known: HashSet<String> = HashSet::new();
        if !bases.is_empty() {
            known.extend(entries.iter().map(|(name, ..)| name.clone()));
        }
        let flat = bases.into_iter().flat_map(|base| match base.value {
            Value::List(items) => items,
            value => vec![Node { value, line: base.line }],
        });
        for base in flat {
            if let Value::Map(more) = base.value {
                entries.extend(more.into_iter().filter(|(name, ..)| known.insert(name.clone())));
            }
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_keys_and_documents_are_carried_out_and_versions_stay_text() {
        let text = "spec: 1\n---\nx: &x {a: 1.10, b: 2}\ny:\n  <<: *x\n  b: '3'\n";
        let documents = parse(text).ok().unwrap();
        assert_eq!(documents.len(), 2);
        let y = documents[1].get("y").unwrap();
        assert_eq!((y.str("a"), y.str("b"), y.line), (Some("1.10"), Some("3"), 5));
    }

    #[test]
    fn a_bomb_of_aliases_and_a_tower_of_brackets_are_refused() {
        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for n in 1..20 {
            let before = format!("*a{},", n - 1).repeat(10);
            bomb += &format!("a{n}: &a{n} [{before}]\n");
        }
        assert!(parse(&bomb).err().unwrap().why.contains("more than"));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(1000));
        assert!(parse(&long).err().unwrap().why.contains("more than"), "a long text counts for more");
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
    }
}
