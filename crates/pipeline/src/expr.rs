//! Expressions of `rules:if`, with Ruby's idea of truth: `&&` and `||` give operands back, only
//! null, undefined and false are false inside them, and the whole is true when it is not empty.

use regex::RegexBuilder;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    /// As written.
    pub text: String,
    root: Tree,
}

#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Variable(String),
    Text(String),
    Pattern(String),
    Null,
    Both(Op, Box<Tree>, Box<Tree>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Or,
    And,
    Equal,
    Differs,
    Matches,
    Fails,
}

#[derive(Debug, Clone, PartialEq)]
enum Word {
    Operand(Tree),
    Op(Op),
    Open,
    Close,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Text(String),
    Pattern(String),
    Bool(bool),
}

/// Deepest nesting of parentheses and longest chain together.
const MAX_WORDS: usize = 500;

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong and at which character, as a sentence.
    pub fn parse(text: &str) -> Result<Expression, String> {
        let words = words(text)?;
        if words.len() > MAX_WORDS {
            return Err(format!("more than {MAX_WORDS} words"));
        }
        let mut at = 0;
        let root = chain(&words, &mut at, 0)?;
        if at < words.len() {
            return Err("an operator is missing between two values, or a `)` is too many".into());
        }
        Ok(Expression { text: text.to_owned(), root })
    }

    /// Is it true? `lookup` gives a variable's value as set, with nothing expanded in it.
    pub fn holds(&self, lookup: &dyn Fn(&str) -> Option<String>) -> bool {
        match eval(&self.root, lookup) {
            Some(Value::Text(text)) => !text.is_empty(),
            Some(Value::Bool(value)) => value,
            Some(Value::Pattern(_)) => true,
            Some(Value::Null) | None => false,
        }
    }
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let chars: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let two: String = chars[i..chars.len().min(i + 2)].iter().collect();
        let op = match two.as_str() {
            "||" => Some(Op::Or),
            "&&" => Some(Op::And),
            "==" => Some(Op::Equal),
            "!=" => Some(Op::Differs),
            "=~" => Some(Op::Matches),
            "!~" => Some(Op::Fails),
            _ => None,
        };
        if let Some(op) = op {
            words.push(Word::Op(op));
            i += 2;
            continue;
        }
        let (word, next) = match chars[i] {
            c if c.is_whitespace() => {
                i += 1;
                continue;
            }
            '(' => (Word::Open, i + 1),
            ')' => (Word::Close, i + 1),
            quote @ ('"' | '\'') => {
                let end = chars[i + 1..].iter().position(|c| *c == quote);
                let end = i + 1 + end.ok_or_else(|| format!("the text at character {} has no end", i + 1))?;
                (Word::Operand(Tree::Text(chars[i + 1..end].iter().collect())), end + 1)
            }
            '/' => pattern(&chars, i)?,
            '$' => {
                let end = name_end(&chars, i + 1);
                if end == i + 1 {
                    return Err(format!("a variable name is missing at character {}", i + 1));
                }
                (Word::Operand(Tree::Variable(chars[i + 1..end].iter().collect())), end)
            }
            _ => {
                let end = name_end(&chars, i);
                if chars[i..end].iter().collect::<String>() != "null" {
                    return Err(format!("unexpected {:?} at character {}", chars[i], i + 1));
                }
                (Word::Operand(Tree::Null), end)
            }
        };
        words.push(word);
        i = next;
    }
    Ok(words)
}

fn name_end(chars: &[char], from: usize) -> usize {
    from + chars[from..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').count()
}

fn pattern(chars: &[char], start: usize) -> Result<(Word, usize), String> {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '/' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    if i >= chars.len() {
        return Err(format!("the pattern at character {} has no end", start + 1));
    }
    let end = i + 1 + chars[i + 1..].iter().take_while(|c| "imsU".contains(**c)).count();
    let text: String = chars[start..end].iter().collect();
    compile(&text).ok_or_else(|| format!("the pattern at character {} is not valid", start + 1))?;
    Ok((Word::Operand(Tree::Pattern(text)), end))
}

fn chain(words: &[Word], at: &mut usize, level: u8) -> Result<Tree, String> {
    if level == 3 {
        let word = words.get(*at).ok_or("the expression ends too early")?;
        *at += 1;
        return match word {
            Word::Operand(tree) => Ok(tree.clone()),
            Word::Open => {
                let tree = chain(words, at, 0)?;
                if words.get(*at) != Some(&Word::Close) {
                    return Err("a `)` is missing".into());
                }
                *at += 1;
                Ok(tree)
            }
            _ => Err("a value is missing beside an operator".into()),
        };
    }
    let mut left = chain(words, at, level + 1)?;
    while let Some(Word::Op(op)) = words.get(*at) {
        let of = match op {
            Op::Or => 0,
            Op::And => 1,
            _ => 2,
        };
        if of != level {
            break;
        }
        *at += 1;
        left = Tree::Both(*op, Box::new(left), Box::new(chain(words, at, level + 1)?));
    }
    Ok(left)
}

/// `None` is an expression that cannot be decided (a pattern in a variable is broken): false in all.
fn eval(tree: &Tree, lookup: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
    let (op, left, right) = match tree {
        Tree::Variable(name) => return Some(lookup(name).map_or(Value::Null, Value::Text)),
        Tree::Text(text) => return Some(Value::Text(text.clone())),
        Tree::Pattern(text) => return Some(Value::Pattern(text.clone())),
        Tree::Null => return Some(Value::Null),
        Tree::Both(op, left, right) => (*op, left, right),
    };
    let left = eval(left, lookup)?;
    let falsy = matches!(left, Value::Null | Value::Bool(false));
    Some(match op {
        Op::And => return if falsy { Some(left) } else { eval(right, lookup) },
        Op::Or => return if falsy { eval(right, lookup) } else { Some(left) },
        Op::Equal => Value::Bool(left == eval(right, lookup)?),
        Op::Differs => Value::Bool(left != eval(right, lookup)?),
        Op::Matches => Value::Bool(found(&left, &eval(right, lookup)?)?),
        Op::Fails => Value::Bool(!found(&left, &eval(right, lookup)?)?),
    })
}

fn found(left: &Value, right: &Value) -> Option<bool> {
    let pattern = match right {
        Value::Null => return Some(false),
        Value::Text(text) if text.is_empty() => return Some(false),
        Value::Text(text) | Value::Pattern(text) => compile(text)?,
        Value::Bool(_) => return None,
    };
    Some(matches!(left, Value::Text(text) if pattern.is_match(text)))
}

/// `/re/flags` as a regular expression.
fn compile(text: &str) -> Option<regex::Regex> {
    let (pattern, flags) = text.strip_prefix('/')?.rsplit_once('/')?;
    if !flags.chars().all(|flag| "imsU".contains(flag)) {
        return None;
    }
    RegexBuilder::new(&pattern.replace("\\/", "/"))
        .case_insensitive(flags.contains('i'))
        .multi_line(flags.contains('m'))
        .dot_matches_new_line(flags.contains('s'))
        .swap_greed(flags.contains('U'))
        .size_limit(1 << 20)
        .build()
        .ok()
}
