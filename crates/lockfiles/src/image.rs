//! References to container images, and the variables in them.

use std::collections::HashMap;

use cofferdam_types::platform::platform;

use crate::{Ecosystem, Listed, Version};

/// Bytes of a text after its variables are put in; more is not an image's name.
const MAX_SUBSTITUTED: usize = 1024;

/// An image reference: `[host[:port]/]path[:tag][@digest]`. None when it cannot be one, with the reason.
///
/// A name without a tag and digest means `latest`. Names stay as written: which registry a short name means
/// is the site's to say.
pub(crate) fn listed(reference: &str, line: u32) -> Result<Listed, String> {
    let reference = reference.trim();
    let reference = reference.strip_prefix("docker://").unwrap_or(reference);
    let (place, digest) = reference.split_once('@').map_or((reference, None), |(p, d)| (p, Some(d)));
    // A colon before the last slash is a port.
    let (name, tag) = match place.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (place, None),
    };
    let is_word = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if !is_word(name, "._-/:") || name.starts_with('/') || name.ends_with('/') || name.contains("//") {
        return Err(format!("`{reference}` is no image's name"));
    }
    if tag.is_some_and(|tag| !is_word(tag, "._-")) {
        return Err(format!("the tag of `{reference}` cannot be one"));
    }
    let digest = match digest {
        None => None,
        Some(text) => Some(
            crate::digest::of_pair(text)
                .ok_or_else(|| format!("the digest of `{reference}` cannot be one"))?,
        ),
    };
    let version = tag.map(str::to_owned).or_else(|| digest.clone()).unwrap_or_else(|| "latest".into());
    let mut item = Listed::new(Ecosystem::Oci, name, Version::Exact(version), line);
    item.digests.extend(digest);
    Ok(item)
}

/// `linux/amd64`, `linux/arm/v7` as we write it.
pub(crate) fn platform_of(text: &str) -> Option<String> {
    let mut parts = text.split('/');
    let (system, processor) = (parts.next()?, parts.next()?);
    if system.is_empty() || processor.is_empty() {
        return None;
    }
    let processor = match (processor, parts.next()) {
        ("arm", Some(variant)) => format!("arm{variant}"),
        _ => processor.to_owned(),
    };
    Some(platform(system, &processor))
}

/// Variables by name.
pub(crate) type Variables = HashMap<String, String>;

/// Puts variables into a text: `$X`, `${X}`, `${X:-default}`, `${X-default}`, `${X:+other}`, `$$`.
///
/// # Errors
/// The name of the first variable without a value, or of one that makes the text too long.
pub(crate) fn substitute<'v>(
    text: &str,
    value_of: impl Fn(&str) -> Option<&'v str> + Copy,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            after
        } else if let Some(inner) = after.strip_prefix('{') {
            let (expression, after) = inner.split_once('}').ok_or_else(|| inner.to_owned())?;
            out.push_str(&braced(expression, value_of)?);
            after
        } else {
            let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            out.push_str(value_of(name).ok_or_else(|| name.to_owned())?);
            after
        };
        if out.len() > MAX_SUBSTITUTED {
            return Err(text.chars().take(60).collect());
        }
    }
    out.push_str(rest);
    if out.len() > MAX_SUBSTITUTED { Err(text.chars().take(60).collect()) } else { Ok(out) }
}

fn braced<'v>(expression: &str, value_of: impl Fn(&str) -> Option<&'v str>) -> Result<String, String> {
    let end = expression.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(expression.len());
    let (name, operator) = expression.split_at(end);
    let value = value_of(name);
    let filled = value.filter(|v| !v.is_empty());
    if let Some(default) = operator.strip_prefix(":-") {
        return Ok(filled.unwrap_or(default).to_owned());
    }
    if let Some(default) = operator.strip_prefix('-') {
        return Ok(value.unwrap_or(default).to_owned());
    }
    if let Some(other) = operator.strip_prefix(":+") {
        return Ok(if filled.is_some() { other } else { "" }.to_owned());
    }
    match value {
        // `:?message` and `?message` stop without a value; bash's cutting of values is not carried out.
        Some(value) if operator.is_empty() || operator.starts_with(":?") || operator.starts_with('?') => {
            Ok(value.to_owned())
        }
        _ => Err(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_tag_and_a_digest_stands_for_a_version() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let read = |text: &str| listed(text, 1).map(|i| (i.name, i.version.to_string(), i.digests.len()));
        assert_eq!(read("alpine"), Ok(("alpine".into(), "latest".into(), 0)));
        assert_eq!(read("h.example:5000/a/b"), Ok(("h.example:5000/a/b".into(), "latest".into(), 0)));
        assert_eq!(read("h.example:5000/a:1.2"), Ok(("h.example:5000/a".into(), "1.2".into(), 0)));
        assert_eq!(read(&format!("a@{digest}")), Ok(("a".into(), digest.clone(), 1)));
        assert_eq!(read(&format!("a:1@{digest}")), Ok(("a".into(), "1".into(), 1)));
        for bad in ["", "a b", "a:1:2/", "a@sha256:12", "/a", "a//b", "a:"] {
            assert!(listed(bad, 1).is_err(), "{bad}");
        }
        let item = listed(&format!("h.example/x/a:1@{digest}"), 1).unwrap();
        assert_eq!(item.purl().unwrap().as_str(), format!("pkg:oci/a@{digest}"));
    }

    #[test]
    fn variables_have_defaults_and_a_missing_one_is_named() {
        let value_of = |name: &str| [("A", "1"), ("E", "")].iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        for (text, result) in [
            ("x:$A", Ok("x:1")),
            ("x:${A}-y", Ok("x:1-y")),
            ("${N:-d}${E:-d}${E-d}", Ok("dd")),
            ("${A:+yes}${N:+no}", Ok("yes")),
            ("a$$b", Ok("a$b")),
            ("$N", Err("N")),
            ("${N}", Err("N")),
            ("${A", Err("A")),
        ] {
            assert_eq!(
                substitute(text, value_of),
                result.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn docker_platforms_are_ours() {
        assert_eq!(platform_of("linux/amd64").as_deref(), Some("linux-x86_64"));
        assert_eq!(platform_of("linux/arm/v7").as_deref(), Some("linux-armv7"));
        assert_eq!(platform_of("$BUILDPLATFORM"), None);
    }
}
