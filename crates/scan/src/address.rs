//! What was recorded by its address, as advisories name it: a package's file has a path that its ecosystem prescribes.
//!
//! Where a repository begins in a path is not written anywhere, so one address may be read as several packages; they are
//! candidates, longest name first, and [`crate::Index`] takes the first that any advisory names. A path that does not have
//! the whole shape names nothing: an address must never be read as a package because it looks a little like one.

use cofferdam_versions::{Scheme, precedence};
use percent_encoding::percent_decode_str;

use crate::subject::{Subject, normal};

/// What an address was read as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The packages that it may be, longest name first; never empty.
    pub subjects: Vec<Subject>,
    /// Whether what it answers only describes the release (`go.mod`, a POM): clients read those of many releases that no
    /// build uses.
    pub describes: bool,
}

/// Archives of Maven repositories; others that lie in folders of the same shape are mostly no artifacts.
const MAVEN: [&str; 4] = ["jar", "aar", "war", "ear"];

/// With which words the names of Maven's groups begin, beside the two letters of countries.
const DOMAINS: [&str; 14] =
    ["com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "dev", "app", "cloud", "tech", "name"];

impl Reading {
    /// Reads an address; why not, in words, when its path names no package's release.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn of(address: &str) -> Result<Self, String> {
        let path = address.split_once("://").map_or("", |(_, rest)| rest);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        // The first is the host.
        let parts: Vec<String> = path
            .split('/')
            .skip(1)
            .filter(|part| !part.is_empty())
            .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let found = [go, maven, gem, nuget, python, npm, cargo].iter().find_map(|read| read(&parts));
        let beside = [".sha1", ".sha256", ".sha512", ".md5", ".asc"].iter().any(|end| path.ends_with(end));
        let (ecosystem, version, names, describes) = found.ok_or(match beside {
            true => "it is only the checksum or the signature of a file",
            false => "it was recorded by address, and its path names no package's release",
        })?;
        let subject =
            |name: &String| Subject { ecosystem, name: normal(ecosystem, name), version: version.clone() };
        let subjects: Vec<Subject> = names.iter().map(subject).collect();
        if subjects.is_empty() {
            return Err("it was recorded by address, and its path names no package's release".into());
        }
        Ok(Self { subjects, describes })
    }
}

/// Ecosystem, version, candidates for the name, and whether it only describes.
type Found = (&'static str, String, Vec<String>, bool);

/// `…/<module>/@v/<version>.zip` (Go modules reference, "GOPROXY protocol"): capitals are written with `!`.
fn go(parts: &[&str]) -> Option<Found> {
    let [place @ .., "@v", file] = parts else { return None };
    let (version, kind) = file.rsplit_once('.')?;
    if !["zip", "mod"].contains(&kind) {
        return None;
    }
    let version = raised(version)?;
    let plain = version.strip_prefix('v')?;
    precedence(Scheme::Semver, plain, plain).filter(|_| plain.split('.').count() > 2)?;
    // A module's path begins with a host.
    let begins = |at: &usize| place.get(*at).is_some_and(|part| part.contains('.') && !part.starts_with('.'));
    let names =
        (0..place.len()).filter(begins).filter_map(|at| raised(&place.get(at..)?.join("/"))).collect();
    Some(("Go", version, names, kind == "mod"))
}

/// A capital for each `!` and small letter.
fn raised(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut all = text.chars();
    while let Some(c) = all.next() {
        match c {
            '!' => out.push(all.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            c if c.is_ascii_uppercase() => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

/// `…/<group>/<artifact>/<version>/<artifact>-<version>[-<classifier>].jar` (Maven, "Repository layout").
fn maven(parts: &[&str]) -> Option<Found> {
    let [place @ .., artifact, version, file] = parts else { return None };
    let rest = file.strip_prefix(artifact)?.strip_prefix('-')?.strip_prefix(version)?;
    let kind = match rest.split_at_checked(1)? {
        (".", kind) => kind,
        ("-", classified) => classified.split_once('.')?.1,
        _ => return None,
    };
    if !(MAVEN.contains(&kind) || rest == ".pom") || !version.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let word = |part: &&&str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let words = place.iter().rev().take_while(word).count();
    let group = place.get(place.len() - words..)?;
    let domain = |part: &str| {
        DOMAINS.contains(&part) || part.len() == 2 && part.bytes().all(|b| b.is_ascii_lowercase())
    };
    let mut starts: Vec<usize> = (0..group.len()).filter(|at| domain(group[*at])).collect();
    if starts.is_empty() {
        // `junit`, `commons-io`: a group that is no host's name, with the repository's own folders before it or without.
        starts = (0..group.len()).collect();
    }
    let names = starts
        .into_iter()
        .filter_map(|at| Some(format!("{}:{artifact}", group.get(at..)?.join("."))))
        .collect();
    Some(("Maven", (*version).to_owned(), names, kind == "pom"))
}

/// `…/gems/<name>-<version>[-<platform>].gem`.
fn gem(parts: &[&str]) -> Option<Found> {
    let [.., "gems", file] = parts else { return None };
    let stem = file.strip_suffix(".gem")?;
    let (at, version) = stem.match_indices('-').find_map(|(at, _)| {
        let version = stem.get(at + 1..)?.split('-').next()?;
        let is_version = version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.');
        precedence(Scheme::Gem, version, version).filter(|_| is_version).map(|_| (at, version))
    })?;
    Some(("RubyGems", version.to_owned(), vec![stem.get(..at)?.to_owned()], false))
}

/// `…/<id>/<version>/<id>.<version>.nupkg`, and `…/api/v2/package/<id>/<version>`.
fn nuget(parts: &[&str]) -> Option<Found> {
    let (id, version) = match parts {
        [.., "api", "v2", "package", id, version] => (id, version),
        [.., id, version, file] if *file == format!("{id}.{version}.nupkg") => (id, version),
        _ => return None,
    };
    precedence(Scheme::NuGet, version, version)?;
    Some(("NuGet", (*version).to_owned(), vec![(*id).to_owned()], false))
}

/// A wheel by its name (PEP 427); a source distribution only where the folders are a file's digest, for any archive may be
/// called so.
fn python(parts: &[&str]) -> Option<Found> {
    let [place @ .., file] = parts else { return None };
    let (name, version) = match file.strip_suffix(".whl") {
        Some(stem) => {
            let fields: Vec<&str> = stem.split('-').collect();
            let (name, version) = (fields.first()?, fields.get(1)?);
            (5..=6).contains(&fields.len()).then_some((*name, *version))?
        }
        None => {
            let hex = |part: &str, many| part.len() == many && part.bytes().all(|b| b.is_ascii_hexdigit());
            let [.., a, b, c] = place else { return None };
            let digest = hex(a, 2) && hex(b, 2) && hex(c, 60);
            file.strip_suffix(".tar.gz").filter(|_| digest)?.rsplit_once('-')?
        }
    };
    precedence(Scheme::Pep440, version, version)?;
    Some(("PyPI", version.replace('_', "-"), vec![name.to_owned()], false))
}

/// `…/<name>/-/<name without scope>-<version>.tgz`.
fn npm(parts: &[&str]) -> Option<Found> {
    let [place @ .., "-", file] = parts else { return None };
    let [.., name] = place else { return None };
    let version = file.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(".tgz")?;
    precedence(Scheme::Semver, version, version)?;
    let scope = place.iter().rev().nth(1).filter(|part| part.starts_with('@'));
    let name = scope.map_or_else(|| (*name).to_owned(), |scope| format!("{scope}/{name}"));
    Some(("npm", version.to_owned(), vec![name], false))
}

/// `…/crates/<name>/<version>/download`, and `…/crates/<name>/<name>-<version>.crate`.
fn cargo(parts: &[&str]) -> Option<Found> {
    let (name, version) = match parts {
        [.., "crates", name, version, "download"] => (name, *version),
        [.., "crates", name, file] => {
            (name, file.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(".crate")?)
        }
        _ => return None,
    };
    precedence(Scheme::Semver, version, version)?;
    Some(("crates.io", version.to_owned(), vec![(*name).to_owned()], false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Option<String> {
        let reading = Reading::of(address).ok()?;
        let first = reading.subjects.first()?;
        let names: Vec<&str> = reading.subjects.iter().map(|s| s.name.as_str()).collect();
        let end = if reading.describes { " described" } else { "" };
        Some(format!("{} {} {}{end}", first.ecosystem, names.join(" or "), first.version))
    }

    #[test]
    fn packages_are_known_by_the_paths_that_their_ecosystems_prescribe() {
        for (address, expected) in [
            ("https://proxy.example/example.com/!big/mod/@v/v1.2.0.zip", "Go example.com/Big/mod v1.2.0"),
            ("https://proxy.example/go/x.org/a/v2/@v/v2.0.1.mod", "Go x.org/a/v2 v2.0.1 described"),
            (
                "https://p.example/x.org/a/@v/v0.0.0-20260101000000-abcdefabcdef.zip",
                "Go x.org/a v0.0.0-20260101000000-abcdefabcdef",
            ),
            ("https://p.example/in/yaml.v2/@v/v2.4.0+incompatible.zip", "Go yaml.v2 v2.4.0+incompatible"),
            ("https://repo.example/m2/org/tool/core/2.0/core-2.0.jar", "Maven org.tool:core 2.0"),
            ("https://repo.example/m2/org/tool/core/2.0/core-2.0-sources.jar", "Maven org.tool:core 2.0"),
            ("https://repo.example/org/tool/core/2.0/core-2.0.pom", "Maven org.tool:core 2.0 described"),
            (
                "https://repo.example/m2/junit/junit/4.12/junit-4.12.jar",
                "Maven m2.junit:junit or junit:junit 4.12",
            ),
            ("https://r.example/x.y/io/a/b/1/b-1.war?t=***", "Maven io.a:b 1"),
            ("https://gems.example/gems/net-http2-0.18.4.gem", "RubyGems net-http2 0.18.4"),
            ("https://gems.example/gems/noko-1.16.0-x86_64-linux.gem", "RubyGems noko 1.16.0"),
            ("https://n.example/v3/a.b/1.0.0/a.b.1.0.0.nupkg", "NuGet a.b 1.0.0"),
            ("https://n.example/api/v2/package/A.B/1.0.0.1", "NuGet a.b 1.0.0.1"),
            ("https://f.example/p/a_b-1.0-py3-none-any.whl", "PyPI a-b 1.0"),
            ("https://n.example/@s/a/-/a-1.0.0.tgz", "npm @s/a 1.0.0"),
            ("https://c.example/api/v1/crates/a_b/1.0.0/download", "crates.io a-b 1.0.0"),
            ("https://c.example/crates/a/a-1.0.0.crate", "crates.io a 1.0.0"),
        ] {
            assert_eq!(read(address).as_deref(), Some(expected), "{address}");
        }
        let digest = "0".repeat(60);
        let source = format!("https://f.example/packages/aa/bb/{digest}/a.b-c-1.0.tar.gz");
        assert_eq!(read(&source).as_deref(), Some("PyPI a-b-c 1.0"));
    }

    #[test]
    fn a_path_that_only_looks_like_one_is_nobodys() {
        for address in [
            "https://proxy.example/x.org/a/@v/list",
            "https://proxy.example/x.org/a/@v/v1.0.0.info",
            "https://proxy.example/x.org/a/@v/latest.zip",
            "https://proxy.example/x.org/a/@v/v1.0.zip",
            "https://proxy.example/a/@v/v1.0.0.zip",
            "https://proxy.example/x.org/A/@v/v1.0.0.zip",
            "https://sum.example/sumdb/x/lookup/x.org/a@v1.0.0",
            "https://files.example/org/tool/1.0/tool-1.0.tar.gz",
            "https://repo.example/org/tool/core/2.0/core-2.0.jar.sha1",
            "https://repo.example/org/tool/core/2.0/core-2.1.jar",
            "https://repo.example/org/tool/core/maven-metadata.xml",
            "https://files.example/core/2.0/core-2.0.jar",
            "https://files.example/org/tool/core/latest/core-latest.jar",
            "https://files.example/gems/readme-first.gem",
            "https://files.example/tools/a-1.0.tar.gz",
            "https://files.example/a-1.0.whl",
            "https://files.example/-/a-1.0.0.tgz",
            "https://n.example/v3/a.b/1.0.0/a.c.1.0.0.nupkg",
            "https://c.example/crates/a/latest/download",
            "nothing",
            "",
        ] {
            assert_eq!(read(address), None, "{address}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_address_is_read_or_refused(address in "(https?://)?[a-z./@!:%0-9-]{0,60}") {
            let _ = Reading::of(&address);
        }
    }
}
