//! What git and apt are told in a recorded sandbox, so that they ask what a build inside would ask.
//!
//! Pure text: nothing runs here. Every word that a file gave is quoted, and none can be taken for an option.

use std::{collections::BTreeSet, fmt};

use cofferdam_lockfiles::{Listed, Version};

/// A repository, and the branch, tag or commit that is meant.
pub type Repository = (String, Option<String>);

/// A Debian package, and which versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    name: String,
    /// This one; none is the newest.
    version: Option<String>,
    /// So many of the newest.
    latest: u32,
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.iter().try_for_each(|version| write!(f, "={version}"))
    }
}

/// A word for the shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The repository that an item means.
///
/// # Errors
/// Why it cannot be brought.
pub fn repository(item: &Listed) -> Result<Repository, String> {
    if !item.name.starts_with("https://") && !item.name.starts_with("http://") {
        return Err("only clones over HTTP and HTTPS can be recorded: name such an address".into());
    }
    let reference = item.version.exact().map(str::to_owned);
    if reference
        .as_deref()
        .is_some_and(|r| r.starts_with('-') || r.chars().any(|c| c.is_control() || c == ' '))
    {
        return Err("its branch, tag or commit cannot be one".into());
    }
    Ok((item.name.clone(), reference))
}

/// The clones that a build asks most likely for: the whole, and one commit of the branch, tag or commit; each with
/// its submodules.
pub fn clones((address, reference): &Repository) -> String {
    let url = quoted(address);
    let clone = |options: &str| {
        format!("git clone --quiet --recurse-submodules {options} -- {url} clone\nrm -rf clone\n")
    };
    // A server may refuse single commits of a submodule; then only whole ones are there.
    let shallow = |branch: &str| {
        let options = format!("--depth 1 --shallow-submodules {branch}");
        format!("git clone --quiet --recurse-submodules {options} -- {url} clone || :\nrm -rf clone\n")
    };
    let Some(reference) = reference else {
        return clone("") + &clone("--depth 1") + &shallow("");
    };
    let is_commit = reference.len() >= 40 && reference.bytes().all(|b| b.is_ascii_hexdigit());
    let word = quoted(reference);
    let checked_out = format!(
        "git clone --quiet -- {url} clone\n( cd clone; git checkout --quiet --detach {word}; \
         git submodule --quiet update --init --recursive )\nrm -rf clone\n"
    );
    if is_commit {
        // Whether single commits are given is the server's to say.
        let single = format!(
            "git init --quiet clone\n( cd clone; git remote add origin {url}; git fetch --quiet --depth 1 origin {word} && \
             git checkout --quiet FETCH_HEAD && git submodule --quiet update --init --recursive ) || :\nrm -rf clone\n"
        );
        return checked_out + &single;
    }
    let branch = format!("--branch={word}");
    let named = clone(&branch) + &clone(&format!("--depth 1 {branch}")) + &shallow(&branch);
    // What is neither a branch nor a tag is the beginning of a commit's name.
    format!(
        "{}if git ls-remote --quiet --exit-code -- {url} {word} > /dev/null; then\n{named}else\n{checked_out}fi\n",
        clone("")
    )
}

/// The package that an item means.
///
/// # Errors
/// Why apt cannot bring it.
pub fn package(item: &Listed) -> Result<Package, String> {
    let plain = |text: &str, more: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if !plain(&item.name, "+.-") {
        return Err("this cannot be a Debian package's name".into());
    }
    let (version, latest) = match &item.version {
        Version::Exact(version) if plain(version, "+.-:~") => (Some(version.clone()), 1),
        Version::Exact(_) => return Err("this cannot be a Debian package's version".into()),
        Version::Latest(count) => (None, *count),
        Version::Any => (None, 1),
        Version::Range(_) => {
            return Err("apt knows no ranges: name an exact version, `latest`, or `*` for the newest".into());
        }
    };
    Ok(Package { name: item.name.clone(), version, latest })
}

/// Debian's word for a platform's processor; none where Debian has no such system.
pub fn architecture(platform: &str) -> Option<String> {
    let processor = platform.strip_prefix("linux-")?;
    let word = match processor {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7" => "armhf",
        "armv6" => "armel",
        "x86" => "i386",
        "ppc64le" => "ppc64el",
        other if other.chars().all(|c| c.is_ascii_alphanumeric()) => other,
        _ => return None,
    };
    Some(word.to_owned())
}

/// Downloads packages with what they depend on, for one architecture (empty: those that dpkg is set up for), with this person's
/// sources. Nothing counts as installed, for nobody knows what is on the other side. `own` is the text of the person's `APT_CONFIG`.
pub fn downloads(architecture: &str, packages: &BTreeSet<Package>, own: &str) -> String {
    let word = |p: &Package| match &p.version {
        Some(version) => quoted(&format!("{}={version}", p.name)),
        None => quoted(&p.name),
    };
    // Two versions of one package cannot be installed together, so each is a question of its own.
    let mut rounds: Vec<Vec<&Package>> = Vec::new();
    for package in packages {
        match rounds.iter_mut().find(|round| round.iter().all(|p| p.name != package.name)) {
            Some(round) => round.push(package),
            None => rounds.push(vec![package]),
        }
    }
    let installs: String = rounds
        .iter()
        .map(|round| {
            let words = round.iter().map(|p| word(p)).collect::<Vec<_>>().join(" ");
            format!("apt-get -c apt.conf install --download-only --yes --quiet=2 -- {words}\n")
        })
        .collect();
    let newest: String = packages
        .iter()
        .filter(|p| p.latest > 1)
        .map(|p| {
            let (name, count) = (quoted(&p.name), p.latest);
            format!(
                "apt-cache -c apt.conf madison -- {name} | cut -d '|' -f 2 | tr -d ' ' | sort -u -V -r | head -n {count} | \
                 while read -r version; do apt-get -c apt.conf download --quiet=2 -- {name}\"=$version\"; done\n"
            )
        })
        .collect();
    let which = match architecture {
        "" => "$(dpkg --print-architecture; dpkg --print-foreign-architectures)".to_owned(),
        one => one.to_owned(),
    };
    format!(
        "top=\"$PWD\"\nfor arch in {which}; do\nmkdir -p \"$top/$arch/state/lists/partial\" \"$top/$arch/cache/archives/partial\"\n\
         cd \"$top/$arch\"; : > status\nprintf '%s\\n' {own} > apt.conf\ncat >> apt.conf <<END\n\
         APT::Architecture \"$arch\";\n#clear APT::Architectures;\nAPT::Architectures {{ \"$arch\"; }};\n\
         Dir::State \"$PWD/state\";\nDir::State::status \"$PWD/status\";\nDir::Cache \"$PWD/cache\";\n\
         Debug::NoLocking \"true\";\nAPT::Sandbox::User \"\";\n#clear Acquire::http::Proxy;\n#clear Acquire::https::Proxy;\n\
         APT::Update::Error-Mode \"any\";\nEND\n\
         apt-get -c apt.conf update --quiet=2\n{installs}{newest}done\n",
        own = quoted(own)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<Listed> {
        cofferdam_lockfiles::read("cofferdam.want", text).unwrap().items
    }

    #[test]
    fn what_a_file_says_is_never_a_word_of_the_shell_or_an_option() {
        let evil = ("https://h.example/a'; rm -rf /".to_owned(), Some("v1'$(x)".to_owned()));
        let script = clones(&evil);
        assert!(
            script.contains(r"'https://h.example/a'\''; rm -rf /'")
                && script.contains(r"--branch='v1'\''$(x)'"),
            "{script}"
        );
        let of = |text: &str| repository(&listed(text)[0]);
        assert!(of("git = [\"https://h.example/r.git#--upload-pack=x\"]\n").is_err());
        assert!(of("git = [\"ssh://git@h.example/r.git\"]\n").unwrap_err().contains("HTTP"));
        assert!(of("git = [\"https://h.example/r.git#v1\"]\n").is_ok());
    }

    #[test]
    fn a_commit_is_checked_out_and_a_name_is_cloned() {
        let of = |reference: &str| clones(&("https://h.example/r".into(), Some(reference.into())));
        assert!(
            !of(&"ab".repeat(20)).contains("--branch") && of(&"ab".repeat(20)).contains("--depth 1 origin")
        );
        assert!(of("v1").contains("--depth 1 --branch='v1'"));
        assert!(!clones(&("https://h.example/r".into(), None)).contains("--branch"));
    }

    #[test]
    fn apt_is_asked_for_versions_and_never_for_ranges() {
        let of = |text: &str| listed(&format!("[deb]\n{text}\n")).iter().map(package).collect::<Vec<_>>();
        assert!(of("jq = \">=1\"")[0].as_ref().unwrap_err().contains("ranges"));
        let two: BTreeSet<Package> =
            of("jq = [\"1.6-2\", \"1.7-1\"]\ngit = \"*\"").into_iter().map(Result::unwrap).collect();
        let script = downloads("arm64", &two, "");
        assert!(script.contains("-- 'git' 'jq=1.6-2'\n") && script.contains("-- 'jq=1.7-1'\n"), "{script}");
        let newest: BTreeSet<Package> = of("jq = { latest = 2 }").into_iter().map(Result::unwrap).collect();
        assert!(downloads("", &newest, "").contains("head -n 2"));
        assert_eq!(architecture("linux-aarch64").as_deref(), Some("arm64"));
        assert_eq!((architecture("macos-aarch64"), architecture("linux-musl-x86_64")), (None, None));
    }
}
