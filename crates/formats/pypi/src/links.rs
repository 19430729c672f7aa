//! Reads the links of an HTML project page (simple repository API, PEP 503), for upstreams that
//! have no JSON.
//!
//! Only anchors and `<base>` are looked at; scripts are text like any other, and nothing is ever
//! fetched from here. The reader must end on every input and never panic.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::index::{FileEntry, Presence, Yanked};

/// Attributes of one tag at the most.
const ATTRIBUTES_LIMIT: usize = 64;

/// What a page holds.
pub(crate) struct Links {
    /// The address that relative links are relative to.
    pub base: String,
    /// The links that have a file name.
    pub files: Vec<FileEntry>,
}

/// Reads a page that was fetched from `url`.
pub(crate) fn parse(html: &str, url: &str) -> Links {
    let mut base = url.to_owned();
    let mut files = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let name_end = rest[1..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(rest.len(), |n| n + 1);
        let name = rest[1..name_end].to_ascii_lowercase();
        let (attributes, after) = attributes(&rest[name_end..]);
        rest = after;
        match name.as_str() {
            "base" => {
                let joined = attributes.get("href").and_then(|h| Url::parse(url).ok()?.join(h).ok());
                base = joined.map_or(base, String::from);
            }
            "a" => files.extend(link(&attributes)),
            _ => {}
        }
    }
    Links { base, files }
}

fn link(attributes: &BTreeMap<String, String>) -> Option<FileEntry> {
    let href = attributes.get("href")?.trim();
    let (address, fragment) = href.split_once('#').unwrap_or((href, ""));
    let path = address.split('?').next().unwrap_or_default();
    let filename = percent_decode_str(path.rsplit('/').next()?).decode_utf8().ok()?.into_owned();
    if filename.is_empty() {
        return None;
    }
    let hashes = fragment.split('&').filter_map(|pair| pair.split_once('='));
    let hashes = hashes.map(|(k, v)| (k.to_ascii_lowercase(), v.to_ascii_lowercase())).collect();
    let metadata = attributes.get("data-core-metadata").or(attributes.get("data-dist-info-metadata"));
    Some(FileEntry {
        filename,
        url: address.to_owned(),
        hashes,
        requires_python: attributes.get("data-requires-python").cloned(),
        size: None,
        upload_time: None,
        yanked: attributes.get("data-yanked").map_or(Yanked::Flag(false), |r| Yanked::Reason(r.clone())),
        core_metadata: metadata.map(|value| match value.split_once('=') {
            Some((name, digest)) => Presence::Hashes(BTreeMap::from([(name.to_owned(), digest.to_owned())])),
            None => Presence::Flag(value != "false"),
        }),
        dist_info_metadata: None,
        provenance: attributes.get("data-provenance").map(|url| url.as_str().into()),
    })
}

/// The attributes of a tag, by name in lower case (the first of a name counts), and what follows
/// the tag (HTML living standard, 13.2.5, the attribute states).
fn attributes(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut found = BTreeMap::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return (found, rest);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (found, after);
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/'));
        // An attribute's name may begin with `=`; taking it along makes sure that we move on.
        let end = end.map_or(rest.len(), |n| if n == 0 { 1 } else { n });
        let name = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start_matches(|c: char| c.is_ascii_whitespace());
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            (value, rest) = attribute_value(after.trim_start_matches(|c: char| c.is_ascii_whitespace()));
        }
        if found.len() < ATTRIBUTES_LIMIT {
            found.entry(name).or_insert_with(|| unescape(value));
        }
    }
}

fn attribute_value(text: &str) -> (&str, &str) {
    if let Some(quote @ ('"' | '\'')) = text.chars().next() {
        let inner = &text[1..];
        return match inner.find(quote) {
            Some(end) => (&inner[..end], &inner[end + 1..]),
            None => (inner, ""),
        };
    }
    let end = text.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(text.len());
    text.split_at(end)
}

/// Character references: the five named ones that an index needs, and numbers.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest.find(';').filter(|end| *end <= 10).map(|end| (&rest[1..end], &rest[end + 1..]));
        match reference.and_then(|(name, after)| Some((character(name)?, after))) {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_page_of_an_old_index_is_read_with_everything_it_says() {
        let html = r#"<!DOCTYPE html><html><head><base href="/packages/"></head><body><!-- <a href="no-1.0.zip">no</a> -->
            <h1>Links</h1>
            <A HREF='foo-1.0%2Bx.tar.gz#sha256=AB' data-requires-python='&gt;=3.8,&#60;4' >foo</A>
            <a data-yanked="" data-dist-info-metadata="sha256=cd" href=../x/foo-1.0-py3-none-any.whl?a=b&amp;c#md5=00&egg=foo>foo</a>
            <a name="top">no address</a><a href="sub/">no file</a>"#;
        let page = parse(html, "https://upstream.example/simple/foo/");
        assert_eq!(page.base, "https://upstream.example/packages/");
        let [sdist, wheel] = page.files.as_slice() else { panic!("two files, not {:?}", page.files) };
        assert_eq!(sdist.filename, "foo-1.0+x.tar.gz");
        assert_eq!(sdist.hashes["sha256"], "ab");
        assert_eq!(sdist.requires_python.as_deref(), Some(">=3.8,<4"));
        assert_eq!(wheel.filename, "foo-1.0-py3-none-any.whl");
        assert_eq!(wheel.url, "../x/foo-1.0-py3-none-any.whl?a=b&c");
        assert_eq!(wheel.yanked.reason().as_deref(), Some(""));
        assert_eq!(
            wheel.core_metadata,
            Some(Presence::Hashes(BTreeMap::from([("sha256".into(), "cd".into())])))
        );
    }

    proptest! {
        #[test]
        fn no_page_makes_the_reader_panic_or_hang(html in "[<>a =\"'/&#;x!-é]{0,200}") {
            let page = parse(&html, "https://upstream.example/simple/foo/");
            prop_assert!(page.files.len() <= html.len());
        }
    }
}
