//! TOML as the tree. The parser bounds its own depth (80); the lines come from its spans.

use toml::de::{DeTable, DeValue};

use super::{Fault, MAX_DEPTH, MAX_NODES, Node, Value};

pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    // The parser keeps every value before they can be counted; each has one of these before it, most have more.
    if text.bytes().filter(|b| matches!(b, b',' | b'=' | b'[' | b'.')).count() > 3 * MAX_NODES {
        return Err(Fault::too_many(1));
    }
    let lines = Lines::of(text);
    let table = DeTable::parse(text).map_err(|e| {
        let line = e.span().map_or(1, |span| lines.at(span.start));
        Fault::new(line, format!("not valid TOML: {}", e.message()))
    })?;
    let mut builder = Builder { lines, nodes: 0 };
    Ok(Node { value: builder.table(table.get_ref(), 1, 0)?, line: 1 })
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1).collect())
    }

    fn at(&self, offset: usize) -> u32 {
        u32::try_from(self.0.partition_point(|start| *start <= offset) + 1).unwrap_or(u32::MAX)
    }
}

struct Builder {
    lines: Lines,
    nodes: usize,
}

impl Builder {
    fn table(&mut self, table: &DeTable<'_>, line: u32, depth: usize) -> Result<Value, Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::too_deep(line));
        }
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table.iter() {
            let line = self.lines.at(key.span().start);
            let at = self.lines.at(value.span().start);
            let node = self.node(value.get_ref(), at, depth + 1)?;
            entries.push((key.get_ref().to_string(), line, node));
        }
        Ok(Value::Map(entries))
    }

    fn node(&mut self, value: &DeValue<'_>, line: u32, depth: usize) -> Result<Node, Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Fault::too_many(line));
        }
        if depth >= MAX_DEPTH {
            return Err(Fault::too_deep(line));
        }
        let value = match value {
            DeValue::String(text) => Value::Scalar(text.to_string(), false),
            DeValue::Integer(number) => Value::Scalar(number.as_str().to_owned(), true),
            DeValue::Float(number) => Value::Scalar(number.as_str().to_owned(), true),
            DeValue::Boolean(is) => Value::Scalar(is.to_string(), true),
            DeValue::Datetime(time) => Value::Scalar(time.to_string(), true),
            DeValue::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items.iter() {
                    let at = self.lines.at(item.span().start);
                    list.push(self.node(item.get_ref(), at, depth + 1)?);
                }
                Value::List(list)
            }
            DeValue::Table(table) => self.table(table, line, depth)?,
        };
        Ok(Node { value, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_arrays_and_lines_come_through() {
        let node = parse("a = 1\n[[p]]\nname = \"x\"\n\n[[p]]\nname = 'y'\nb = { c = [1.10, true] }\n")
            .ok()
            .unwrap();
        assert_eq!(node.str("a"), Some("1"));
        let second = &node.list("p")[1];
        assert_eq!((second.str("name"), second.get("name").unwrap().line), (Some("y"), 6));
        assert_eq!(second.get("b").unwrap().texts("c"), ["1.10", "true"]);
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        assert_eq!(parse("a = 1\nb = \n").err().unwrap().line, 2);
        assert!(parse(&format!("a = {}", "[".repeat(100_000))).is_err());
        assert!(parse(&format!("a{} = 1", ".a".repeat(100_000))).is_err());
    }
}
