//! A job's log as safe HTML: colours become spans, every other control sequence goes away.
//!
//! The sequences are those of ECMA-48 (CSI and OSC); section markers are GitLab Runner's
//! `section_start:<time>:<name>\r`. `assets/live.js` does the same for what arrives later.

use std::fmt;

use askama::filters::HtmlSafe;

/// Text that has been escaped by [`html`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogHtml(String);

impl fmt::Display for LogHtml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for LogHtml {}

/// Turns a log into HTML.
#[must_use]
pub fn html(log: &str) -> LogHtml {
    let mut out = Painter::default();
    let log = log.replace("\r\n", "\n");
    for line in log.split_inclusive('\n') {
        out.line(line);
    }
    out.close();
    LogHtml(out.html)
}

#[derive(Default)]
struct Painter {
    html: String,
    bold: bool,
    colour: Option<u8>,
    open: bool,
}

impl Painter {
    /// A line; what was written over with a carriage return is left out.
    fn line(&mut self, line: &str) {
        let line = without_sections(line);
        let mut parts = line.split('\r').filter(|part| !part.is_empty());
        let last = parts.next_back().unwrap_or("");
        // Overwritten text may have changed the colour of what follows.
        for part in parts {
            self.text(part, false);
        }
        self.text(last, true);
    }

    fn text(&mut self, mut rest: &str, shown: bool) {
        while let Some(at) = rest.find('\u{1b}') {
            if shown {
                self.push(&rest[..at]);
            }
            let (sequence, after) = sequence(&rest[at..]);
            if let Some(codes) = sequence.strip_prefix("\u{1b}[").and_then(|s| s.strip_suffix('m')) {
                self.paint(codes);
            }
            rest = after;
        }
        if shown {
            self.push(rest);
        }
    }

    fn paint(&mut self, codes: &str) {
        self.close();
        for code in codes.split(';') {
            match code.parse::<u8>() {
                Ok(1) => self.bold = true,
                Ok(22) => self.bold = false,
                Ok(n @ (30..=37 | 90..=97)) => self.colour = Some(n % 10 + if n >= 90 { 8 } else { 0 }),
                Ok(39) => self.colour = None,
                Ok(38 | 48) => break, // A palette or RGB colour: the numbers after it are no codes.
                Ok(0) | Err(_) => (self.bold, self.colour) = (false, None),
                Ok(_) => {}
            }
        }
    }

    fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if !self.open && (self.bold || self.colour.is_some()) {
            let colour = self.colour.map(|c| format!("c{c}")).unwrap_or_default();
            let bold = if self.bold { "b" } else { "" };
            self.html.push_str(&format!("<span class=\"{bold} {colour}\">"));
            self.open = true;
        }
        for c in text.chars() {
            match c {
                '<' => self.html.push_str("&lt;"),
                '>' => self.html.push_str("&gt;"),
                '&' => self.html.push_str("&amp;"),
                '"' => self.html.push_str("&quot;"),
                '\'' => self.html.push_str("&#39;"),
                '\n' | '\t' => self.html.push(c),
                c if c.is_control() => {}
                c => self.html.push(c),
            }
        }
    }

    fn close(&mut self) {
        if self.open {
            self.html.push_str("</span>");
            self.open = false;
        }
    }
}

/// Splits a control sequence off; `text` begins with an escape character.
fn sequence(text: &str) -> (&str, &str) {
    let bytes = text.as_bytes();
    let end = match bytes.get(1) {
        Some(b'[') => bytes[2..].iter().position(|b| (0x40..=0x7e).contains(b)).map(|at| at + 3),
        Some(b']') => bytes[2..].iter().position(|&b| b == 0x07 || b == b'\\').map(|at| at + 3),
        Some(b) if b.is_ascii() => Some(2),
        _ => Some(1),
    };
    text.split_at(end.filter(|&at| text.is_char_boundary(at)).unwrap_or(text.len()))
}

/// A line without the section markers in it.
fn without_sections(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("section_") {
        let (before, marker) = rest.split_at(at);
        out.push_str(before);
        match marker_end(marker) {
            Some(end) => rest = &marker[end..],
            None => {
                out.push_str("section_");
                rest = &marker["section_".len()..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn marker_end(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("section_start:").or_else(|| text.strip_prefix("section_end:"))?;
    let (time, rest) = rest.split_once(':')?;
    let digits = !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit());
    let name = rest.find(['\r', '\n', '\u{1b}'])?;
    let mark = rest[name..].chars().next().map_or(0, |c| usize::from(c == '\r'));
    digits.then(|| text.len() - rest.len() + name + mark)
}

#[cfg(test)]
mod tests {
    use super::html;

    #[test]
    fn nothing_in_a_log_becomes_markup() {
        let shown = html("<script>alert('1')</script>\u{1b}[31m&\"\u{1b}[0m\n").to_string();
        assert_eq!(
            shown,
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;<span class=\" c1\">&amp;&quot;</span>\n"
        );
    }

    #[test]
    fn section_markers_go_and_their_titles_stay() {
        let log = "section_start:1700000000:prepare\r\u{1b}[0K\u{1b}[36;1mPreparing\u{1b}[0;m\nsection_end:1700000001:prepare\r\u{1b}[0K";
        assert_eq!(html(log).to_string(), "<span class=\"b c6\">Preparing</span>\n");
        assert_eq!(html("section_start:x is no marker\n").to_string(), "section_start:x is no marker\n");
    }

    #[test]
    fn only_the_last_of_what_was_overwritten_is_shown() {
        assert_eq!(html("10 %\r50 %\r100 %\r\ndone").to_string(), "100 %\ndone");
    }

    #[test]
    fn other_sequences_and_broken_ones_vanish() {
        assert_eq!(html("a\u{1b}[2Kb\u{1b}]0;title\u{7}c\u{1b}(Bd\u{8}").to_string(), "abcBd");
        assert_eq!(html("cut \u{1b}[3").to_string(), "cut ");
        assert_eq!(html("\u{1b}é\u{1b}").to_string(), "é");
    }
}
