//! Patterns of `changes` and `exists`: Ruby's fnmatch with PATHNAME, DOTMATCH and EXTGLOB.

use regex::Regex;

/// Does the pattern match the whole path? A pattern that is none matches nothing.
pub(crate) fn matches(pattern: &str, paths: &[String]) -> bool {
    let Some(regex) = compile(pattern) else { return false };
    paths.iter().any(|path| regex.is_match(path))
}

fn compile(pattern: &str) -> Option<Regex> {
    let mut out = String::from(r"\A(?s:");
    let chars: Vec<char> = pattern.chars().collect();
    let (mut i, mut braces) = (0, 0);
    while i < chars.len() {
        let at_start = i == 0 || chars[i - 1] == '/';
        match chars[i] {
            '*' if at_start && chars[i..].starts_with(&['*', '*', '/']) => {
                out.push_str("(?:[^/]+/)*");
                i += 2;
            }
            '*' => {
                while chars.get(i + 1) == Some(&'*') {
                    i += 1;
                }
                out.push_str("[^/]*");
            }
            '?' => out.push_str("[^/]"),
            '{' => {
                braces += 1;
                out.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                out.push(')');
            }
            ',' if braces > 0 => out.push('|'),
            '[' => i = set(&chars, i, &mut out)?,
            '\\' if i + 1 < chars.len() => {
                i += 1;
                out.push_str(&regex::escape(&chars[i].to_string()));
            }
            other => out.push_str(&regex::escape(&other.to_string())),
        }
        i += 1;
    }
    out.push_str(r")\z");
    Regex::new(&out).ok()
}

/// Writes `[...]` and gives the position of its end.
fn set(chars: &[char], start: usize, out: &mut String) -> Option<usize> {
    let end = start + 2 + chars.get(start + 2..)?.iter().position(|c| *c == ']')?;
    out.push('[');
    for (i, c) in chars[start + 1..end].iter().enumerate() {
        match c {
            '!' | '^' if i == 0 => out.push('^'),
            '-' => out.push('-'),
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    out.push(']');
    Some(end)
}
