//! Addresses as lock files write them: without credentials, and git's many spellings as one.

use cofferdam_types::address::address_without_secrets;

/// An address without credentials and fragment. `git@host:path` becomes `ssh://git@host/path`; the user
/// `git` stays, because it is no secret and nothing answers without it.
pub(crate) fn clean(address: &str) -> String {
    let address = address.trim();
    let address = address.split_once('#').map_or(address, |(before, _)| before);
    let long = scp_form(address);
    let address = long.as_deref().unwrap_or(address);
    let clean = address_without_secrets(address);
    let has_git_user = |a: &str| {
        a.split_once("//").is_some_and(|(_, rest)| rest.starts_with("git@") || rest.starts_with("git:"))
    };
    match clean.split_once("//") {
        Some((scheme, rest)) if scheme.ends_with("ssh:") && has_git_user(address) => {
            format!("{scheme}//git@{rest}")
        }
        _ => clean,
    }
}

/// `user@host:path` in its long form; none when it is no such address.
fn scp_form(address: &str) -> Option<String> {
    if address.contains("//") {
        return None;
    }
    let (user, place) = address.split_once('@')?;
    let (host, path) = place.split_once(':')?;
    let is_word = |t: &str| !t.is_empty() && !t.contains(['/', ' ', '\\']);
    (is_word(user) && is_word(host)).then(|| format!("ssh://{user}@{host}/{}", path.trim_start_matches('/')))
}

/// The forms `git+https://…#ref`, `github:user/name#ref`, `ssh://…#ref`, `….git#ref`: the repository and what
/// stands after the `#`. None when the text is no address of a git repository.
pub(crate) fn git(text: &str) -> Option<(String, Option<String>)> {
    let (place, reference) = text.split_once('#').map_or((text, None), |(p, r)| (p, Some(r)));
    let reference = reference.map(|r| {
        let r = r.split('&').find(|p| p.starts_with("commit=")).unwrap_or(r);
        r.strip_prefix("commit=").or_else(|| r.strip_prefix("semver:")).unwrap_or(r).to_owned()
    });
    for (short, host) in
        [("github:", "github.com"), ("gitlab:", "gitlab.com"), ("bitbucket:", "bitbucket.org")]
    {
        if let Some(path) = place.strip_prefix(short) {
            return Some((format!("https://{host}/{}.git", path.trim_end_matches(".git")), reference));
        }
    }
    let bare = place.strip_prefix("git+").unwrap_or(place);
    // `git+git@host:path` and `git@host:path` are the same place.
    let is_git = place.starts_with("git+")
        || bare.starts_with("git://")
        || bare.starts_with("ssh://")
        || scp_form(bare).is_some()
        || (is_absolute(bare) && bare.split('?').next().is_some_and(|p| p.ends_with(".git")));
    is_git.then(|| (clean(bare), reference))
}

/// Whether it begins with `http://` or `https://`.
pub(crate) fn is_absolute(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_fragments_go_and_the_user_git_stays() {
        for (with, without) in [
            ("https://u:p@h.example/a?token=1#x", "https://h.example/a?token=***"),
            ("git@h.example:g/r.git", "ssh://git@h.example/g/r.git"),
            ("ssh://git:pw@h.example/r", "ssh://git@h.example/r"),
            ("ssh://me:pw@h.example/r", "ssh://h.example/r"),
            ("https://git@h.example/r", "https://h.example/r"),
        ] {
            assert_eq!(clean(with), without);
            assert_eq!(clean(without), without);
        }
    }

    #[test]
    fn gits_spellings_are_one() {
        for (text, repository, reference) in [
            ("git+https://h.example/r.git#abc", "https://h.example/r.git", Some("abc")),
            ("https://h.example/r.git#commit=abc", "https://h.example/r.git", Some("abc")),
            ("git+ssh://git@h.example/r", "ssh://git@h.example/r", None),
            ("github:a/b#v1", "https://github.com/a/b.git", Some("v1")),
        ] {
            assert_eq!(git(text), Some((repository.into(), reference.map(Into::into))), "{text}");
        }
        assert_eq!(git("https://h.example/a.tgz"), None);
        assert_eq!(git("^1.0.0"), None);
    }
}
