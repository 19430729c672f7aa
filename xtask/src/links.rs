//! Relative links in Markdown: finds them, and says which lead nowhere.
//!
//! Never follows an address with a scheme: the check works without a network.

use std::path::Path;

/// The targets of inline links outside code, as written.
#[must_use]
pub fn targets(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // Every second piece between backticks is code.
            let prose: Vec<&str> = line.split('`').step_by(2).collect();
            for rest in prose.join("x").split("](").skip(1) {
                let inside = rest.split(')').next().unwrap_or_default();
                found.extend(inside.split_whitespace().next().map(str::to_owned));
            }
        }
    }
    found
}

/// What is wrong with the links of one file.
#[must_use]
pub fn check(root: &Path, file: &str, markdown: &str) -> Vec<String> {
    let folder = root.join(file);
    let folder = folder.parent().unwrap_or(root);
    let leads_nowhere = |target: &String| {
        let path = target.split('#').next().unwrap_or_default();
        let elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
        // A page made from Markdown is linked by the name it will have.
        let source = path.strip_suffix(".html").map(|stem| folder.join(format!("{stem}.md")));
        !elsewhere && !folder.join(path).exists() && !source.is_some_and(|source| source.exists())
    };
    targets(markdown)
        .into_iter()
        .filter(leads_nowhere)
        .map(|t| format!("{file}: the link to `{t}` leads nowhere"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_are_no_links() {
        let text = "[a](b.md) and `[c](d.md)` and [`e`](f.md#x \"title\")\n```\n[g](h.md)\n```\n";
        assert_eq!(targets(text), ["b.md", "f.md#x"]);
    }

    #[test]
    fn only_relative_links_are_looked_up() {
        let root = crate::root();
        let text = "[a](Cargo.toml) [b](#part) [c](https://upstream.example/) [d](no-such-file.md)";
        assert_eq!(check(&root, "X.md", text), ["X.md: the link to `no-such-file.md` leads nowhere"]);
    }
}
