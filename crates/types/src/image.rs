//! References to container images, short names written out as docker does.
//!
//! Pure text work; it must never ask anybody. The hosts of docker's own registry stand here because short names
//! mean it by definition (docker reference grammar).

use std::fmt;

use crate::{Error, Result, Sha256};

/// The host that short names mean, and where its API is.
const DEFAULT: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// An image in one registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageReference {
    /// The registry as people write it, with its port.
    pub host: String,
    /// The name below it.
    pub name: String,
    /// The tag, where there is one.
    pub tag: Option<String>,
    /// The digest of its manifest, where there is one.
    pub digest: Option<Sha256>,
}

impl ImageReference {
    /// Reads `[host[:port]/]name[:tag][@sha256:…]`. Without tag and digest it is `latest`.
    ///
    /// # Errors
    /// `Invalid` (`bad-image`) saying what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid("bad-image", format!("`{text}` is no image: {why}"));
        let (place, digest) = text.split_once('@').map_or((text, None), |(p, d)| (p, Some(d)));
        let (place, tag) = match place.rsplit_once(':') {
            Some((place, tag)) if !tag.contains('/') => (place, Some(tag)),
            _ => (place, None),
        };
        let digest = match digest.map(|d| d.strip_prefix("sha256:").unwrap_or_default().parse()) {
            None => None,
            Some(Ok(digest)) => Some(digest),
            Some(Err(_)) => return Err(bad("its digest is not `sha256:` and 64 hexadecimal digits")),
        };
        // Docker's own rule of what is a host.
        let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
        let (host, name) = match place.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
            _ => (DEFAULT.0, place.to_owned()),
        };
        let host = if host == "index.docker.io" { DEFAULT.0 } else { host };
        let short = host == DEFAULT.0 && !name.contains('/');
        let name = if short { format!("library/{name}") } else { name };
        let plain = |s: &str| {
            !s.is_empty()
                && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
                && s.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        };
        if name.len() > 255 || !name.split('/').all(plain) {
            return Err(bad("a name has small letters, digits, `.`, `_` and `-` between slashes"));
        }
        let word =
            |t: &&str| t.len() <= 128 && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if tag.is_some_and(|t| t.is_empty() || t.starts_with(['.', '-']) || !word(&t)) {
            return Err(bad("a tag has letters, digits, `.`, `_` and `-`"));
        }
        let host_is_plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:_[]".contains(&b));
        if !host_is_plain || host.len() > 255 {
            return Err(bad("its registry is no host"));
        }
        let tag = tag.or(digest.is_none().then_some("latest")).map(str::to_owned);
        Ok(Self { host: host.to_ascii_lowercase(), name, tag, digest })
    }

    /// The host that answers for the registry.
    #[must_use]
    pub fn api_host(&self) -> &str {
        if self.host == DEFAULT.0 { DEFAULT.1 } else { &self.host }
    }

    /// Host and name, without tag and digest.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.name)
    }

    /// What clients ask a registry for: the digest, else the tag.
    #[must_use]
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("sha256:{digest}"),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.iter().try_for_each(|digest| write!(f, "@sha256:{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_written_out_as_docker_does() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, whole) in [
            ("alpine", "docker.io/library/alpine:latest".to_owned()),
            ("alpine:3.20", "docker.io/library/alpine:3.20".to_owned()),
            ("docker.io/alpine:3.20", "docker.io/library/alpine:3.20".to_owned()),
            ("team/tool:1", "docker.io/team/tool:1".to_owned()),
            ("localhost/tool", "localhost/tool:latest".to_owned()),
            ("H.example:5000/a/b:1", "h.example:5000/a/b:1".to_owned()),
            (&format!("h.example/a@{digest}"), format!("h.example/a@{digest}")),
            (&format!("h.example/a:1@{digest}"), format!("h.example/a:1@{digest}")),
        ] {
            assert_eq!(ImageReference::parse(text).unwrap().to_string(), whole);
        }
        let short = ImageReference::parse("alpine").unwrap();
        assert_eq!((short.api_host(), short.wanted().as_str()), ("registry-1.docker.io", "latest"));
        assert_eq!(ImageReference::parse(&format!("h.example/a:1@{digest}")).unwrap().wanted(), digest);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for bad in
            ["", "h.example/", "h.example/A", "a b", "h.example/../x", "a:", "a:.x", "a@sha256:12", "a@md5:1"]
        {
            assert_eq!(ImageReference::parse(bad).unwrap_err().code(), "bad-image", "{bad}");
        }
    }
}
