//! Text in HTML pages that formats write themselves. Must never let a name become markup.

/// Text made safe inside HTML elements and quoted attributes.
#[must_use]
pub fn html_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_name_is_markup() {
        assert_eq!(html_text("<a href=\"x\" b='&'>ä"), "&lt;a href=&quot;x&quot; b=&#39;&amp;&#39;&gt;ä");
    }
}
