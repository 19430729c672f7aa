//! What a project's lock files name, and which of a collection's items that is: the rest was found only by running.
//!
//! Lists of names only: nothing here reads a file or decides what travels.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_types::{ImageReference, PackageUrl};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::CollectionItem;

/// A package, or an address, that a lock file or a list of wants names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Mention {
    /// The package-URL type (`pypi`, `npm`, `cargo`, `golang`, `maven`), or `url` for an address.
    pub ecosystem: String,
    /// The package's name as its ecosystem writes it, or the address.
    pub name: String,
    /// The version; empty when the file names none or a range.
    pub version: String,
    /// Digests, as `sha256:…`.
    pub digests: Vec<String>,
    /// Where: file and line, as `package-lock.json:12`.
    pub place: String,
    /// The address from which it is fetched, where the file says one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
}

/// Mentions of one project, ready to be asked.
pub(super) struct Mentions {
    /// By package-URL type, spelling-free name and version.
    packages: BTreeMap<(String, String, String), BTreeSet<String>>,
    digests: BTreeMap<String, BTreeSet<String>>,
    /// By the end of an address, for ecosystems that are recorded by address.
    addresses: BTreeMap<String, BTreeSet<String>>,
    /// Images, by what asks in their name and by what their addresses say; Debian packages, as their files are called.
    names: BTreeMap<String, BTreeSet<String>>,
    /// Package URLs, by the address from which a lock file says that the package is fetched.
    fetched: BTreeMap<String, String>,
}

impl Mentions {
    pub(super) fn new(all: &[Mention]) -> Self {
        let mut out = Self {
            packages: BTreeMap::new(),
            digests: BTreeMap::new(),
            addresses: BTreeMap::new(),
            names: BTreeMap::new(),
            fetched: BTreeMap::new(),
        };
        for mention in all {
            let place = || mention.place.clone();
            for name in image_names(mention).into_iter().chain(package_names(mention)) {
                out.names.entry(name).or_default().insert(place());
            }
            for digest in mention.digests.iter().filter_map(|d| sha256_of(d)) {
                out.digests.entry(digest).or_default().insert(place());
            }
            let whole = !mention.version.is_empty() && !mention.ecosystem.is_empty();
            if whole && !mention.address.is_empty() && mention.ecosystem != "url" {
                let purl = PackageUrl::new(&mention.ecosystem, &mention.name, &mention.version);
                out.fetched.insert(mention.address.clone(), purl.to_string());
                out.addresses.entry(mention.address.clone()).or_default().insert(place());
            }
            for end in address_ends(mention) {
                out.addresses.entry(end).or_default().insert(place());
            }
            let key = (mention.ecosystem.clone(), spelling_free(own_name(mention)), mention.version.clone());
            out.packages.entry(key).or_default().insert(place());
        }
        out
    }

    /// What a lock file says that is fetched from an item's address.
    pub(super) fn name_of(&self, item: &CollectionItem) -> Option<String> {
        self.fetched.get(item.address.as_ref()?).cloned()
    }

    /// The places that name an item.
    pub(super) fn of(&self, kind: &str, item: &CollectionItem) -> Vec<String> {
        let mut places = BTreeSet::new();
        let key = (kind.to_owned(), spelling_free(&item.package), item.version.clone());
        places.extend(self.packages.get(&key).into_iter().flatten());
        if let Some((kind, name, version)) = item.known_as.as_deref().and_then(parts_of) {
            let of = |version: &str| (kind.clone(), spelling_free(&name), version.to_owned());
            // A file that names no version names every one.
            for key in [of(&version), of("")] {
                places.extend(self.packages.get(&key).into_iter().flatten());
            }
        }
        for file in &item.files {
            places.extend(self.digests.get(&format!("sha256:{}", file.sha256)).into_iter().flatten());
        }
        if let Some(address) = &item.address {
            let address = address.split(['?', '#']).next().unwrap_or_default();
            for at in ends_of(address) {
                places.extend(self.addresses.get(at).into_iter().flatten());
            }
            for name in image_of(address).into_iter().chain(package_of(address)) {
                places.extend(self.names.get(&name).into_iter().flatten());
            }
            for asker in &item.asked_by {
                places.extend(self.names.get(asker).into_iter().flatten());
            }
        }
        places.into_iter().cloned().collect()
    }
}

/// A digest of a file's bytes as SHA-256: Terraform's `zh:` is that of a provider's archive.
fn sha256_of(digest: &str) -> Option<String> {
    let hex = digest.strip_prefix("sha256:").or_else(|| digest.strip_prefix("zh:"))?;
    Some(format!("sha256:{}", hex.to_ascii_lowercase()))
}

/// The name as a package URL has it. Lock files of Terraform put the registry's host before it.
fn own_name(mention: &Mention) -> &str {
    let name = mention.name.as_str();
    let host = || name.split_once('/').filter(|(_, rest)| rest.contains('/')).map(|(_, rest)| rest);
    if mention.ecosystem == "terraform" { host().unwrap_or(name) } else { name }
}

/// Type, name and version of a package URL, the name as lock files write it.
fn parts_of(purl: &str) -> Option<(String, String, String)> {
    let (kind, rest) = purl.strip_prefix("pkg:")?.split_once('/')?;
    let (name, version) = rest.rsplit_once('@')?;
    let plain = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
    let name = plain(name)?;
    let name = if kind == "maven" { name.replacen('/', ":", 1) } else { name };
    Some((kind.to_owned(), name, plain(version)?))
}

/// Two spellings of one name are one: ecosystems differ, and no two packages of one differ in this alone.
fn spelling_free(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

/// The texts of which an item's address ends in one, or holds one followed by a slash, when it is the mention's.
fn address_ends(mention: &Mention) -> Vec<String> {
    let Mention { ecosystem, name, version, .. } = mention;
    match ecosystem.as_str() {
        "url" => vec![name.split(['?', '#']).next().unwrap_or_default().to_owned()],
        "golang" if !version.is_empty() => {
            // The module proxy's own spelling (Go modules reference, "GOPROXY protocol").
            let place = format!("{}/@v/{}", lowered(name), lowered(version));
            ["info", "mod", "zip"].map(|end| format!("{place}.{end}")).into()
        }
        "maven" if !version.is_empty() => {
            let Some((group, artifact)) = name.split_once(':') else { return Vec::new() };
            let group = group.replace('.', "/");
            vec![format!("{group}/{artifact}/{version}/")]
        }
        "git" => {
            let name = name.trim_end_matches('/');
            ["info/refs", "git-upload-pack"].map(|end| format!("{name}/{end}")).into()
        }
        _ => Vec::new(),
    }
}

/// The names under which an image's parts are known: whole, as [`ImageReference`] writes it, and as addresses say
/// it: with tag or digest for what that names, without for whatever is known by its digest alone.
fn image_names(mention: &Mention) -> Vec<String> {
    if mention.ecosystem != "oci" {
        return Vec::new();
    }
    let digest = mention.digests.first().map(|d| format!("@{d}")).unwrap_or_default();
    let tag =
        if mention.version.starts_with("sha256:") { String::new() } else { format!(":{}", mention.version) };
    let Ok(image) = ImageReference::parse(&format!("{}{tag}{digest}", mention.name)) else {
        return Vec::new();
    };
    let place = format!("{}/{}", image.api_host(), image.name);
    let tagged = image.tag.as_ref().map(|tag| format!("{place}:{tag}"));
    [Some(image.to_string()), Some(place), tagged].into_iter().flatten().collect()
}

/// The same of an address of a registry: `https://host/v2/name/manifests/tag`.
fn image_of(address: &str) -> Option<String> {
    let (host, rest) = address.split_once("://")?.1.split_once("/v2/")?;
    let (rest, last) = rest.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    match kind {
        "manifests" if !last.starts_with("sha256:") && !last.starts_with("sha256-") => {
            Some(format!("{host}/{name}:{last}"))
        }
        "manifests" | "blobs" | "referrers" => Some(format!("{host}/{name}")),
        _ => None,
    }
}

/// How the files of a Debian package begin: `name_version_`, without the epoch; `name_` of any version.
fn package_names(mention: &Mention) -> Option<String> {
    let version = mention.version.split_once(':').map_or(mention.version.as_str(), |(_, version)| version);
    let end = if version.is_empty() { String::new() } else { format!("{version}_") };
    (mention.ecosystem == "deb").then(|| format!("{}_{end}", mention.name))
}

/// The same of an address of a package's file.
fn package_of(address: &str) -> Vec<String> {
    let file = address.rsplit('/').next().unwrap_or_default();
    let Some(parts) = file.strip_suffix(".deb").map(|f| f.split('_').collect::<Vec<_>>()) else {
        return Vec::new();
    };
    let [name, version, _] = parts.as_slice() else { return Vec::new() };
    let version = version.rsplit(['%', ':']).next().map_or(*version, |v| v.strip_prefix("3a").unwrap_or(v));
    vec![format!("{name}_"), format!("{name}_{version}_")]
}

/// Everything of an address that a mention may be: the whole; what is behind each slash; and the same up to the last
/// slash, for the folder of a release.
fn ends_of(address: &str) -> impl Iterator<Item = &str> {
    let folder = address.rfind('/').map_or("", |at| &address[..=at]);
    std::iter::once(address).chain(behind_slashes(address)).chain(behind_slashes(folder))
}

fn behind_slashes(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('/').map(|(at, _)| &text[at + 1..]).filter(|rest| !rest.is_empty())
}

/// `!` and the small letter for each capital.
fn lowered(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            out.push('!');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use cofferdam_types::Sha256;

    use super::*;
    use crate::CollectedFile;

    fn item(package: &str, version: &str, address: Option<&str>, bytes: &[u8]) -> CollectionItem {
        CollectionItem {
            package: package.into(),
            version: version.into(),
            address: address.map(str::to_owned),
            files: vec![CollectedFile { path: "f".into(), sha256: Sha256::of(bytes), size: 1 }],
            ..CollectionItem::default()
        }
    }

    fn mention(ecosystem: &str, name: &str, version: &str, place: &str) -> Mention {
        Mention {
            ecosystem: ecosystem.into(),
            name: name.into(),
            version: version.into(),
            place: place.into(),
            ..Mention::default()
        }
    }

    #[test]
    fn a_package_is_named_in_any_spelling_and_only_in_its_version() {
        let mentions = Mentions::new(&[mention("pypi", "Typing_Extensions", "4.1", "uv.lock:3")]);
        assert_eq!(mentions.of("pypi", &item("typing-extensions", "4.1", None, b"")), ["uv.lock:3"]);
        assert!(mentions.of("pypi", &item("typing-extensions", "4.2", None, b"")).is_empty());
        assert!(mentions.of("npm", &item("typing-extensions", "4.1", None, b"")).is_empty());
    }

    #[test]
    fn what_an_address_is_known_as_is_named_as_the_package() {
        let of = |all: &[Mention], known: &str| {
            let known = CollectionItem { known_as: Some(known.into()), ..item("host", "x~1", None, b"x") };
            Mentions::new(all).of("web", &known)
        };
        let gem = [mention("gem", "oars", "1.0.0", "Gemfile.lock:4")];
        assert_eq!(of(&gem, "pkg:gem/oars@1.0.0"), ["Gemfile.lock:4"]);
        assert!(of(&gem, "pkg:gem/oars@1.0.1").is_empty());
        assert!(of(&gem, "pkg:pypi/oars@1.0.0").is_empty());
        let provider =
            [mention("terraform", "registry.example/harbour/quay", "1.0.0", ".terraform.lock.hcl:4")];
        assert_eq!(of(&provider, "pkg:terraform/harbour/quay@1.0.0"), [".terraform.lock.hcl:4"]);
        let any = [mention("galaxy", "harbour.quay", "", "requirements.yml:2")];
        assert_eq!(of(&any, "pkg:galaxy/harbour.quay@2.0.0"), ["requirements.yml:2"]);
        let maven = [mention("maven", "org.tool:core", "2.0", "pom.xml:9")];
        assert_eq!(of(&maven, "pkg:maven/org.tool/core@2.0"), ["pom.xml:9"]);
    }

    #[test]
    fn an_address_from_which_a_lock_file_fetches_is_that_package() {
        let url = "https://code.example/quay/zip/abc";
        let mut composer = mention("composer", "harbour/quay", "1.0.0", "composer.lock:9");
        composer.address = url.into();
        composer.digests = vec![format!("zh:{}", Sha256::of(b"zip"))];
        let mentions = Mentions::new(&[composer]);
        let archive = item("code.example", "abc~1", Some(url), b"x");
        assert_eq!(mentions.name_of(&archive).as_deref(), Some("pkg:composer/harbour/quay@1.0.0"));
        assert_eq!(mentions.of("web", &archive), ["composer.lock:9"]);
        assert_eq!(
            mentions.of("web", &item("h", "x~1", None, b"zip")),
            ["composer.lock:9"],
            "Terraform's zh: is a SHA-256"
        );
        assert_eq!(mentions.name_of(&item("h", "x~1", Some("https://code.example/other"), b"x")), None);
    }

    #[test]
    fn everything_of_an_image_is_named_where_the_image_is() {
        let all = Mentions::new(&[mention("oci", "alpine", "3.20", "Dockerfile:1")]);
        let of = |address: &str| all.of("generic", &item("host", "x~1", Some(address), b"x"));
        let at = "https://registry-1.docker.io/v2/library/alpine";
        assert_eq!(of(&format!("{at}/manifests/3.20")), ["Dockerfile:1"]);
        assert!(of(&format!("{at}/manifests/3.19")).is_empty(), "another tag is another image");
        assert_eq!(of(&format!("{at}/manifests/sha256:ab")), ["Dockerfile:1"]);
        assert_eq!(of(&format!("{at}/blobs/sha256:cd")), ["Dockerfile:1"]);
        assert!(of("https://registry-1.docker.io/v2/library/debian/blobs/sha256:cd").is_empty());
        let mut elsewhere = item("cdn", "x~1", Some("https://cdn.example/data"), b"x");
        assert!(all.of("generic", &elsewhere).is_empty());
        elsewhere.asked_by = vec!["docker.io/library/alpine:3.20".into()];
        assert_eq!(all.of("generic", &elsewhere), ["Dockerfile:1"]);
    }

    #[test]
    fn what_is_recorded_by_address_is_known_by_its_ecosystems_paths_or_its_digest() {
        let of = |all: &[Mention], address: &str| {
            Mentions::new(all).of("generic", &item("host", "x~1", Some(address), b"zip"))
        };
        let go = [mention("golang", "example.com/Big/mod", "v1.2.0", "go.sum:7")];
        assert_eq!(of(&go, "https://proxy.example/example.com/!big/mod/@v/v1.2.0.zip"), ["go.sum:7"]);
        assert!(of(&go, "https://proxy.example/example.com/!big/mod/@v/v1.2.1.zip").is_empty());
        let maven = [mention("maven", "org.tool:core", "2.0", "pom.xml:9")];
        assert_eq!(of(&maven, "https://repo.example/m2/org/tool/core/2.0/core-2.0.jar"), ["pom.xml:9"]);
        assert!(of(&maven, "https://repo.example/m2/org/tool/core/2.0.1/core-2.0.1.jar").is_empty());
        let url = [mention("url", "https://files.example/a.tgz", "", "cofferdam.want:2")];
        assert_eq!(of(&url, "https://files.example/a.tgz?sig=***"), ["cofferdam.want:2"]);
        let git = [mention("git", "https://code.example/r.git", "v1", "cofferdam.want:3")];
        assert_eq!(
            of(&git, "https://code.example/r.git/info/refs?service=git-upload-pack"),
            ["cofferdam.want:3"]
        );
        assert!(of(&git, "https://code.example/r.git2/info/refs").is_empty());
        let deb = [mention("deb", "jq", "1:1.6-2", "want:4"), mention("deb", "git", "", "want:5")];
        assert_eq!(of(&deb, "http://deb.example/pool/jq_1%3a1.6-2_amd64.deb"), ["want:4"]);
        assert!(of(&deb, "http://deb.example/pool/jq_1.7-1_amd64.deb").is_empty());
        assert_eq!(of(&deb, "http://deb.example/pool/git_2.39-1_arm64.deb"), ["want:5"]);
        let digest = format!("sha256:{}", Sha256::of(b"zip"));
        let by_digest = [Mention { digests: vec![digest], place: "x.lock:1".into(), ..Mention::default() }];
        assert_eq!(of(&by_digest, "https://anywhere.example/renamed"), ["x.lock:1"]);
    }
}
