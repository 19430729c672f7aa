//! The path patterns of `artifacts:paths` and `artifacts:exclude`.
//!
//! `*` and `?` stay inside one path component, `**` crosses any number of them, `[a-z]` and `[!a]`
//! are classes, `\` quotes. A pattern that names a folder means everything below it. Matching is
//! polynomial in the length of pattern and path: neither can be made to take for ever.

/// One compiled pattern.
#[derive(Clone, Debug)]
pub struct Glob {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    /// Any number of components.
    Any,
    /// One component.
    One(Vec<Token>),
}

#[derive(Clone, Debug)]
enum Token {
    Char(char),
    AnyChar,
    AnyText,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Compiles a pattern relative to the project folder. `None` when it leads out of it.
    pub fn new(pattern: &str) -> Option<Self> {
        let mut parts = Vec::new();
        if pattern.starts_with('/') {
            return None;
        }
        for part in pattern.split('/') {
            match part {
                "" | "." => {}
                ".." => return None,
                "**" => {
                    if !matches!(parts.last(), Some(Part::Any)) {
                        parts.push(Part::Any);
                    }
                }
                _ => parts.push(Part::One(tokens(part))),
            }
        }
        Some(Self { parts })
    }

    /// Whether `path` (components joined by `/`, without `.` and `..`) or a folder above it matches.
    pub fn covers(&self, path: &str) -> bool {
        let components: Vec<&str> = path.split('/').collect();
        self.reach(&components, true)
    }

    /// Whether exactly `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        let components: Vec<&str> = path.split('/').collect();
        self.reach(&components, false)
    }

    /// Walks the components with the set of positions in the pattern that are possible.
    fn reach(&self, components: &[&str], above: bool) -> bool {
        let end = self.parts.len();
        let mut now = vec![false; end + 1];
        now[0] = true;
        self.skip_any(&mut now);
        for component in components {
            if above && now[end] {
                return true;
            }
            let mut next = vec![false; end + 1];
            for (at, part) in self.parts.iter().enumerate().filter(|(at, _)| now[*at]) {
                match part {
                    Part::Any => next[at] = true,
                    Part::One(tokens) => next[at + 1] |= component_matches(tokens, component),
                }
            }
            self.skip_any(&mut next);
            now = next;
        }
        now[end]
    }

    /// `**` may stand for nothing.
    fn skip_any(&self, now: &mut [bool]) {
        for (at, part) in self.parts.iter().enumerate() {
            if now[at] && matches!(part, Part::Any) {
                now[at + 1] = true;
            }
        }
    }
}

fn tokens(part: &str) -> Vec<Token> {
    let chars: Vec<char> = part.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '*' => {
                if !matches!(out.last(), Some(Token::AnyText)) {
                    out.push(Token::AnyText);
                }
            }
            '?' => out.push(Token::AnyChar),
            '\\' if at + 1 < chars.len() => {
                at += 1;
                out.push(Token::Char(chars[at]));
            }
            '[' => match class(&chars[at + 1..]) {
                Some((token, length)) => {
                    out.push(token);
                    at += length;
                }
                None => out.push(Token::Char('[')),
            },
            other => out.push(Token::Char(other)),
        }
        at += 1;
    }
    out
}

/// The class after a `[`, and its length with the closing bracket.
fn class(chars: &[char]) -> Option<(Token, usize)> {
    let negated = matches!(chars.first(), Some('!' | '^'));
    let start = usize::from(negated);
    // A bracket in the first place is an ordinary member.
    let end = start + 1 + chars.get(start + 1..)?.iter().position(|c| *c == ']')?;
    let members = &chars[start..end];
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < members.len() {
        if at + 2 < members.len() && members[at + 1] == '-' {
            ranges.push((members[at], members[at + 2]));
            at += 3;
        } else {
            ranges.push((members[at], members[at]));
            at += 1;
        }
    }
    Some((Token::Class { negated, ranges }, end + 1))
}

fn component_matches(tokens: &[Token], component: &str) -> bool {
    let chars: Vec<char> = component.chars().collect();
    let (mut at, mut token, mut back) = (0, 0, None);
    while at < chars.len() {
        match tokens.get(token) {
            Some(Token::AnyText) => {
                back = Some((token, at));
                token += 1;
                continue;
            }
            Some(one) if one.takes(chars[at]) => {
                at += 1;
                token += 1;
                continue;
            }
            _ => {}
        }
        // Let the last `*` take one more character.
        let Some((star, taken)) = back else { return false };
        back = Some((star, taken + 1));
        token = star + 1;
        at = taken + 1;
    }
    tokens[token..].iter().all(|rest| matches!(rest, Token::AnyText))
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(own) => *own == c,
            Self::AnyChar => true,
            Self::AnyText => false,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_the_manual_says() {
        for (pattern, path, yes) in [
            ("dist/", "dist/a.whl", true),
            ("dist", "dist/deep/a.whl", true),
            ("dist", "dist2/a.whl", false),
            ("dist/*.whl", "dist/a.whl", true),
            ("dist/*.whl", "dist/deep/a.whl", false),
            ("dist/**/*.whl", "dist/deep/er/a.whl", true),
            ("dist/**/*.whl", "dist/a.whl", true),
            ("**/*.log", "a.log", true),
            ("**/*.log", "x/y/a.log", true),
            ("*", "a", true),
            ("*", ".hidden/file", true),
            ("./out/?.txt", "out/a.txt", true),
            ("out/[a-c].txt", "out/b.txt", true),
            ("out/[!a-c].txt", "out/b.txt", false),
            ("out/[]]", "out/]", true),
            ("out/\\*", "out/x", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("", "anything", true),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().covers(path), yes, "{pattern} {path}");
        }
    }

    #[test]
    fn an_exclusion_of_a_folder_by_name_spares_what_is_below() {
        assert!(Glob::new("out/*").unwrap().matches("out/a"));
        assert!(!Glob::new("out/*").unwrap().matches("out/a/b"));
        assert!(Glob::new("out/**").unwrap().matches("out/a/b"));
    }

    #[test]
    fn patterns_that_lead_out_are_refused() {
        assert!(Glob::new("../secret").is_none());
        assert!(Glob::new("a/../../b").is_none());
        assert!(Glob::new("/etc/passwd").is_none());
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "**/a*a*a*a*a*a*a*a*b/".repeat(20);
        let path = format!("{}c", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/".repeat(40));
        assert!(!Glob::new(&pattern).unwrap().covers(&path));
    }
}
