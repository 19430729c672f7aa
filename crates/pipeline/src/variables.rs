//! Variables in variables: `$X` and `${X}` are replaced, `$$` and undefined names stay for the runner.

use crate::plan::PlannedVariable;
use std::collections::HashMap;

/// Longest value after expansion; doubling variables would fill memory otherwise.
const MAX_VALUE: usize = 1 << 20;

/// Replaces the variables that `lookup` knows.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (whole, name) = reference(rest);
        match name.and_then(lookup) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[..whole]),
        }
        rest = &rest[whole..];
    }
    out.push_str(rest);
    out
}

/// Length of the reference at the beginning, and the name in it.
fn reference(text: &str) -> (usize, Option<&str>) {
    let after = &text[1..];
    if after.starts_with('$') {
        return (2, None);
    }
    let braced = after.strip_prefix('{');
    let body = braced.unwrap_or(after);
    let len = body.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    match braced {
        _ if len == 0 => (1, None),
        Some(body) if body[len..].starts_with('}') => (len + 3, Some(&body[..len])),
        Some(_) => (1, None),
        None => (len + 1, Some(&after[..len])),
    }
}

/// Expands all variables by each other. The error names those that go round in a circle.
pub(crate) fn expand_all(variables: &mut [PlannedVariable]) -> Result<(), String> {
    let index: HashMap<String, usize> =
        variables.iter().enumerate().map(|(i, variable)| (variable.key.clone(), i)).collect();
    let mut done = vec![false; variables.len()];
    for i in 0..variables.len() {
        visit(i, variables, &index, &mut done, &mut Vec::new())?;
    }
    Ok(())
}

fn visit(
    i: usize,
    variables: &mut [PlannedVariable],
    index: &HashMap<String, usize>,
    done: &mut [bool],
    path: &mut Vec<usize>,
) -> Result<(), String> {
    if done[i] || variables[i].raw {
        return Ok(());
    }
    if let Some(from) = path.iter().position(|seen| *seen == i) {
        let names: Vec<&str> = path[from..].iter().chain([&i]).map(|i| variables[*i].key.as_str()).collect();
        return Err(format!("variables refer to each other in a circle: {}", names.join(" -> ")));
    }
    if path.len() > 100 {
        return Err(format!("variable {} refers to others more than 100 deep", variables[i].key));
    }
    path.push(i);
    let used = std::cell::RefCell::new(Vec::new());
    let value = variables[i].value.clone();
    expand(&value, &|name| {
        used.borrow_mut().extend(index.get(name));
        None
    });
    for next in used.into_inner() {
        visit(next, variables, index, done, path)?;
    }
    path.pop();
    // A raw variable's `$` must stay, so a reference to one stays too.
    let known =
        |name: &str| index.get(name).filter(|i| !variables[**i].raw).map(|i| variables[*i].value.clone());
    let value = expand(&value, &known);
    if value.len() > MAX_VALUE {
        return Err(format!("variable {} grows beyond {MAX_VALUE} bytes", variables[i].key));
    }
    variables[i].value = value;
    done[i] = true;
    Ok(())
}
