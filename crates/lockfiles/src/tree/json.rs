//! JSON with lines, comments and trailing commas.

use super::{Fault, MAX_DEPTH, MAX_NODES, Node, Value};

type Step<T> = Result<T, Fault>;

pub(super) fn parse(text: &str) -> Step<Node> {
    let mut reader = Reader { text, at: 0, line: 1, nodes: 0 };
    let node = reader.value(0)?;
    reader.space()?;
    if reader.at < text.len() { Err(reader.fault("text after the end of the JSON")) } else { Ok(node) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn fault(&self, why: &str) -> Fault {
        Fault::new(self.line, format!("not valid JSON: {why}"))
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    /// Skips a piece and counts its lines.
    fn skip(&mut self, bytes: usize) {
        let lines = self.rest().as_bytes().iter().take(bytes).filter(|b| **b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at += bytes;
    }

    /// Spaces and comments.
    fn space(&mut self) -> Step<()> {
        loop {
            let rest = self.rest();
            let spaces = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.skip(spaces);
            let rest = self.rest();
            if rest.starts_with("//") {
                self.skip(rest.find('\n').unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or_else(|| self.fault("a comment without an end"))?;
                self.skip(end + 2);
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Step<Node> {
        if depth >= MAX_DEPTH {
            return Err(Fault::too_deep(self.line));
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Fault::too_many(self.line));
        }
        self.space()?;
        let line = self.line;
        let value = match self.peek() {
            Some(b'{') => Value::Map(self.map(depth)?),
            Some(b'[') => Value::List(self.list(depth)?),
            Some(b'"') => Value::Scalar(self.string()?, false),
            Some(_) => Value::Scalar(self.word()?, true),
            None => return Err(self.fault("it ends too early")),
        };
        Ok(Node { value, line })
    }

    fn list(&mut self, depth: usize) -> Step<Vec<Node>> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.space()?;
            if self.take(b']') {
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            self.space()?;
            if !self.take(b',') && self.peek() != Some(b']') {
                return Err(self.fault("a list needs `,` or `]` here"));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Step<Vec<(String, u32, Node)>> {
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.space()?;
            if self.take(b'}') {
                return Ok(entries);
            }
            if self.peek() != Some(b'"') {
                return Err(self.fault("a key in quotes is missing"));
            }
            let line = self.line;
            let key = self.string()?;
            self.space()?;
            if !self.take(b':') {
                return Err(self.fault("`:` is missing after a key"));
            }
            let node = self.value(depth + 1)?;
            entries.push((key, line, node));
            self.space()?;
            if !self.take(b',') && self.peek() != Some(b'}') {
                return Err(self.fault("an object needs `,` or `}` here"));
            }
        }
    }

    /// A number, `true`, `false` or `null`, as written.
    fn word(&mut self) -> Step<String> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        let is_number = word.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        if !is_number && !matches!(word, "true" | "false" | "null") {
            return Err(self.fault("a value is missing, or is no value"));
        }
        self.at += end;
        Ok(word.to_owned())
    }

    fn string(&mut self) -> Step<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(['"', '\\', '\n']).ok_or_else(|| self.fault("a text without an end"))?;
            out.push_str(&rest[..end]);
            self.at += end + 1;
            match rest.as_bytes().get(end) {
                Some(b'"') => return Ok(out),
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.fault("a line break inside a text")),
            }
        }
    }

    fn escape(&mut self) -> Step<char> {
        let byte = self.peek().ok_or_else(|| self.fault("a text without an end"))?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex()?;
                let is_pair = (0xd800..0xdc00).contains(&high) && self.rest().starts_with("\\u");
                if is_pair {
                    self.at += 2;
                    let low = self.hex()?;
                    let code = 0x10000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
                } else {
                    char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
            }
            _ => return Err(self.fault("an unknown escape in a text")),
        })
    }

    fn hex(&mut self) -> Step<u32> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        code.ok_or_else(|| self.fault("`\\u` needs four hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_numbers_comments_and_trailing_commas_are_read_with_their_lines() {
        let node =
            parse("// c\n{\"a\": [1.10, true, null,],\n /* x\n */ \"b\\u0041\\ud83d\\ude00\": \"\\/\",}")
                .ok()
                .unwrap();
        assert_eq!(node.line, 2);
        let items = node.list("a");
        assert_eq!(items.iter().map(Node::text).collect::<Vec<_>>(), [Some("1.10"), Some("true"), None]);
        let (key, line, value) = &node.entries()[1];
        assert_eq!((key.as_str(), *line, value.text()), ("bA\u{1f600}", 4, Some("/")));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_line() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{",
            "{\"a\"}",
            "[1 2]",
            "[1]x",
            "\"\n\"",
            "\"\\u12",
            "\"\\ud800\\u",
            "/*",
            "{a:1}",
            "nul",
            &deep,
        ] {
            assert!(parse(text).is_err(), "{text:.20}");
        }
        assert_eq!(parse("[\n1,\n}").err().unwrap().line, 3);
    }
}
