//! Archives that say themselves what they are: each ecosystem's own file in its own place.
//!
//! Only the beginning of a compressed archive is read, and of a zip its directory and one member. Must never take a
//! name that the archive's own address contradicts.

use std::{
    fs::File,
    io::{BufReader, Read},
};

use flate2::read::GzDecoder;

use super::{Package, documents::text_of};

/// Entries of a compressed archive that are looked at, and their bytes: tools write what is looked for first.
const FIRST: usize = 64;
const FIRST_BYTES: u64 = 16 << 20;
/// Bytes of a member at the most.
const MEMBER: u64 = 1 << 20;
/// Entries of a zip at the most.
const ENTRIES: usize = 200_000;

/// What kind of archive an address may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `oars-1.0.0.gem`.
    Gem,
    /// A gzip-compressed tape archive: a chart, a collection of the Galaxy, a package of npm, a source distribution.
    Tar,
    /// `oars.1.0.0.nupkg`.
    Nuget,
    /// `oars-1.0-py3-none-any.whl`.
    Wheel,
    /// `…/@v/v1.0.0.zip`.
    Go,
    /// `…/oars/1.0/oars-1.0.pom`.
    Pom,
}

impl Shape {
    /// By address; the content decides afterwards.
    pub fn of(url: &str, _media_type: &str) -> Option<Self> {
        let file = last(url);
        let ends = |end: &str| file.len() > end.len() && file.ends_with(end);
        Some(match () {
            () if ends(".gem") => Self::Gem,
            () if ends(".tgz") || ends(".tar.gz") => Self::Tar,
            () if ends(".nupkg") => Self::Nuget,
            () if ends(".whl") => Self::Wheel,
            () if ends(".pom") => Self::Pom,
            () if ends(".zip") && url.contains("/@v/") => Self::Go,
            () => return None,
        })
    }

    /// The address up to what differs in files of the same release.
    pub fn stem(self, url: &str) -> Option<&str> {
        match self {
            Self::Go => url.strip_suffix("zip"),
            Self::Pom => url.strip_suffix(".pom"),
            Self::Gem | Self::Tar | Self::Nuget | Self::Wheel => None,
        }
    }
}

/// What may follow a stem: an ending, or a classifier and an ending. A checksum or a signature is no package.
pub fn beside(rest: &str) -> bool {
    if [".sha1", ".sha256", ".sha512", ".md5", ".asc"].iter().any(|end| rest.ends_with(end)) {
        return false;
    }
    !rest.contains('/')
        && !rest.is_empty()
        && (rest.starts_with(['.', '-']) || matches!(rest, "mod" | "info"))
}

fn last(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

/// What an archive is, as it says and as it is called.
pub fn package(shape: Shape, url: &str, file: File) -> Option<Package> {
    match shape {
        Shape::Gem => gem(last(url), file),
        Shape::Tar => tarball(last(url), file),
        Shape::Nuget => nuget(last(url), file),
        Shape::Wheel => wheel(last(url), file),
        Shape::Go => go(url, file),
        Shape::Pom => pom(url, file),
    }
}

fn gem(name: &str, file: File) -> Option<Package> {
    let mut archive = tar::Archive::new(BufReader::new(file));
    for entry in archive.entries().ok()?.take(FIRST) {
        let entry = entry.ok()?;
        if entry.path_bytes().as_ref() == b"metadata.gz" {
            let text = member(GzDecoder::new(entry))?;
            // As RubyGems writes it: top-level keys, and the version a level below its tag.
            let package = Package::new("gem", top(&text, "name:")?, below(&text, "version:", "version:")?)?;
            let stem = name.strip_suffix(".gem")?.strip_prefix(package.name.as_str())?.strip_prefix('-')?;
            let rest = stem.strip_prefix(package.version.as_str())?;
            return (rest.is_empty() || rest.starts_with('-')).then_some(package);
        }
    }
    None
}

fn tarball(name: &str, file: File) -> Option<Package> {
    let stem = name.strip_suffix(".tgz").or_else(|| name.strip_suffix(".tar.gz"))?.to_owned();
    let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)).take(FIRST_BYTES));
    for entry in archive.entries().ok()?.take(FIRST) {
        let entry = entry.ok()?;
        let Ok(path) = String::from_utf8(entry.path_bytes().into_owned()) else { continue };
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        let found = match path.split_once('/').unwrap_or(("", &path)) {
            (folder, "Chart.yaml") if !folder.is_empty() => chart(folder, &member(entry)?),
            ("", "MANIFEST.json") => collection(&member(entry)?),
            ("package", "package.json") => npm(&member(entry)?),
            (folder, "PKG-INFO") if folder == stem => python(&member(entry)?),
            _ => continue,
        }?;
        let called = match found.kind {
            // `harbour.ferry` is called `harbour-ferry-1.0.0.tar.gz`.
            "galaxy" => format!("{}-{}", found.name.replace('.', "-"), found.version),
            // The scope is a folder of the address.
            "npm" => format!("{}-{}", found.name.rsplit('/').next()?, found.version),
            // Spellings differ; the folder inside is called as the file.
            "pypi" => stem.clone(),
            _ => format!("{}-{}", found.name, found.version),
        };
        return (called == stem).then_some(found);
    }
    None
}

/// A chart says by its version of Helm's format that it is one.
fn chart(folder: &str, text: &str) -> Option<Package> {
    let found = Package::new("helm", top(text, "name:")?, top(text, "version:")?)?;
    (top(text, "apiVersion:").is_some_and(|v| matches!(v, "v1" | "v2")) && found.name == folder)
        .then_some(found)
}

fn collection(text: &str) -> Option<Package> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let info = value.get("collection_info")?;
    let of = |name: &str| text_of(info, name);
    Package::new("galaxy", format!("{}.{}", of("namespace")?, of("name")?), of("version")?)
}

fn npm(text: &str) -> Option<Package> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    Package::new("npm", text_of(&value, "name")?, text_of(&value, "version")?)
}

/// The head of Python's core metadata.
fn python(text: &str) -> Option<Package> {
    let head = text.split("\n\n").next().unwrap_or_default();
    let name = top(head, "Name:")?.to_lowercase().replace(['_', '.'], "-");
    Package::new("pypi", name, top(head, "Version:")?)
}

/// The first member of a zip whose name is wanted, read.
fn zipped(file: File, want: impl Fn(&str) -> bool) -> Option<String> {
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).ok().filter(|a| a.len() <= ENTRIES)?;
    let at = (0..archive.len()).find(|at| {
        let entry = archive.by_index(*at).ok();
        entry.is_some_and(|entry| entry.name().is_ok_and(|name| want(&name)))
    })?;
    member(archive.by_index(at).ok()?)
}

fn wheel(name: &str, file: File) -> Option<Package> {
    let mut parts = name.split('-');
    let (project, version) = (parts.next()?, parts.next()?);
    let place = format!("{project}-{version}.dist-info/METADATA");
    python(&zipped(file, |name| name == place)?)
}

fn nuget(name: &str, file: File) -> Option<Package> {
    let text = zipped(file, |name| !name.contains('/') && name.ends_with(".nuspec"))?;
    let metadata = text.split_once("<metadata")?.1;
    let found = Package::new("nuget", element(metadata, "id")?, element(metadata, "version")?)?;
    let called = format!("{}.{}.nupkg", found.name, found.version);
    (called.to_lowercase() == name.to_lowercase()).then_some(found)
}

/// A module's archive holds nothing outside of `module@version/` (Go modules reference, "Module zip files").
fn go(url: &str, file: File) -> Option<Package> {
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).ok()?;
    let first = archive.by_index(0).ok()?.name().ok()?.into_owned();
    let (module, rest) = first.split_once('@')?;
    let version = rest.split('/').next()?;
    let place = format!("/{}/@v/{}.zip", escaped(module), escaped(version));
    url.ends_with(&place).then(|| Package::new("golang", module, version))?
}

/// `!` and the small letter for each capital, as module proxies are asked.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| c.is_ascii_uppercase().then_some('!').into_iter().chain([c.to_ascii_lowercase()]))
        .collect()
}

/// A POM that says group, name and version, or has them of its parent, and lies in the folder of that name.
fn pom(url: &str, file: File) -> Option<Package> {
    let text = member(file)?;
    let mut own = text.split_once("<project")?.1.to_owned();
    let mut parent = String::new();
    // Parts in which the same words mean others.
    for part in [
        "parent",
        "dependencies",
        "dependencyManagement",
        "build",
        "profiles",
        "reporting",
        "distributionManagement",
    ] {
        while let Some((from, to)) =
            own.find(&format!("<{part}>")).zip(own.find(&format!("</{part}>"))).filter(|(a, b)| a < b)
        {
            if part == "parent" {
                parent = own.get(from..to)?.to_owned();
            }
            own.replace_range(from..to + part.len() + 3, "");
        }
    }
    let of = |name: &str| element(&own, name).or_else(|| element(&parent, name));
    let (group, artifact, version) = (of("groupId")?, element(&own, "artifactId")?, of("version")?);
    let place = format!("/{}/{artifact}/{version}/{artifact}-{version}.pom", group.replace('.', "/"));
    url.ends_with(&place).then(|| Package::new("maven", format!("{group}/{artifact}"), version))?
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = text.split_once(&format!("<{name}>"))?.1;
    Some(rest.split_once("</")?.0.trim()).filter(|value| !value.is_empty())
}

/// The value of a key at the beginning of a line.
fn top<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?.trim();
    let value = value.trim_matches(['"', '\'']);
    Some(value).filter(|value| !value.is_empty())
}

/// The value of a key in the lines below another.
fn below<'a>(text: &'a str, above: &str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(above)).skip(1);
    let value = lines.find_map(|line| line.strip_prefix("  ")?.strip_prefix(key))?.trim();
    Some(value.trim_matches(['"', '\''])).filter(|value| !value.is_empty())
}

fn member(entry: impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    entry.take(MEMBER + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= MEMBER).then(|| String::from_utf8(bytes).ok())?
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        gz.finish().unwrap()
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn tape(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn zipped(members: &[(&str, &str)]) -> File {
        let mut zip = zip::ZipWriter::new(tempfile::tempfile().unwrap());
        for (name, text) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap()
    }

    fn named(url: &str, file: File) -> Option<String> {
        package(Shape::of(url, "").expect("a shape"), url, file).map(|package| package.purl())
    }

    #[test]
    fn a_gem_says_its_name_and_is_called_so() {
        let metadata = "--- !ruby/object:Gem::Specification\nname: oars\nversion: !ruby/object:Gem::Version\n  version: 1.2.0\nplatform: ruby\n";
        let bytes = tape(&[("metadata.gz", &packed(metadata)), ("data.tar.gz", b"")]);
        for (file_name, purl) in [
            ("oars-1.2.0.gem", Some("pkg:gem/oars@1.2.0")),
            ("oars-1.2.0-java.gem", Some("pkg:gem/oars@1.2.0")),
            ("oars-1.2.00.gem", None),
            ("ferry-1.2.0.gem", None),
        ] {
            let found = named(&format!("https://gems.example/gems/{file_name}"), file(&bytes));
            assert_eq!(found.as_deref(), purl, "{file_name}");
        }
        assert_eq!(named("https://gems.example/x.gem", file(b"no archive")), None);
    }

    #[test]
    fn what_a_compressed_archive_is_says_the_file_of_its_ecosystem() {
        let of = |file_name: &str, member: &str, text: &str| {
            let bytes = GzEncoder::new(Vec::new(), Compression::fast());
            let bytes = Some(bytes).map(|mut gz| {
                gz.write_all(&tape(&[("README", b"x"), (member, text.as_bytes())])).unwrap();
                gz.finish().unwrap()
            });
            named(&format!("https://files.example/{file_name}"), file(&bytes.unwrap()))
        };
        let chart = "apiVersion: v2\nname: quay\nversion: \"1.0.0\"\n";
        assert_eq!(of("quay-1.0.0.tgz", "quay/Chart.yaml", chart).as_deref(), Some("pkg:helm/quay@1.0.0"));
        assert_eq!(of("pier-1.0.0.tgz", "quay/Chart.yaml", chart), None, "it is called otherwise");
        assert_eq!(of("quay-1.0.0.tgz", "quay/charts/quay/Chart.yaml", chart), None, "a chart in a chart");
        let collection = r#"{"collection_info":{"namespace":"harbour","name":"quay","version":"1.0.0"}}"#;
        let found = of("harbour-quay-1.0.0.tar.gz", "MANIFEST.json", collection);
        assert_eq!(found.as_deref(), Some("pkg:galaxy/harbour.quay@1.0.0"));
        let npm = r#"{"name":"@harbour/quay","version":"1.0.0"}"#;
        let found = of("quay-1.0.0.tgz", "package/package.json", npm);
        assert_eq!(found.as_deref(), Some("pkg:npm/%40harbour/quay@1.0.0"));
        assert_eq!(
            of("v1.0.0.tar.gz", "quay-1.0.0/package.json", npm),
            None,
            "a source archive is no package"
        );
    }

    #[test]
    fn wheels_modules_and_nuget_packages_are_known_by_what_is_in_them() {
        let wheel = zipped(&[("Oar_s-1.0.dist-info/METADATA", "Name: Oar_s\nVersion: 1.0\n\nVersion: 9\n")]);
        assert_eq!(
            named("https://f.example/Oar_s-1.0-py3-none-any.whl", wheel).as_deref(),
            Some("pkg:pypi/oar-s@1.0")
        );
        let go = || zipped(&[("host.example/Oars@v1.0.0/go.mod", "module x")]);
        let url = "https://proxy.example/go/host.example/!oars/@v/v1.0.0.zip";
        assert_eq!(named(url, go()).as_deref(), Some("pkg:golang/host.example/Oars@v1.0.0"));
        assert_eq!(named("https://proxy.example/go/host.example/oars/@v/v1.0.0.zip", go()), None);
        let spec = "<package><metadata minClientVersion=\"2\"><id>Oars.Core</id><version>1.0.0</version></metadata></package>";
        let nuget = zipped(&[("Oars.Core.nuspec", spec)]);
        let url = "https://nuget.example/v3/oars.core/1.0.0/oars.core.1.0.0.nupkg";
        assert_eq!(named(url, nuget).as_deref(), Some("pkg:nuget/Oars.Core@1.0.0"));
    }

    #[test]
    fn a_pom_is_known_by_its_own_coordinates_and_the_folder_in_which_it_lies() {
        let text = "<project><parent><groupId>org.harbour</groupId><artifactId>all</artifactId><version>2</version></parent>\
                    <dependencies><dependency><groupId>x</groupId><artifactId>y</artifactId><version>9</version></dependency></dependencies>\
                    <artifactId>oars</artifactId></project>";
        let of = |url: &str| named(url, file(text.as_bytes()));
        let url = "https://repo.example/m2/org/harbour/oars/2/oars-2.pom";
        assert_eq!(of(url).as_deref(), Some("pkg:maven/org.harbour/oars@2"));
        assert_eq!(of("https://repo.example/m2/org/harbour/oars/3/oars-3.pom"), None);
        assert_eq!(Shape::Pom.stem(url), Some("https://repo.example/m2/org/harbour/oars/2/oars-2"));
        assert!(beside(".jar") && beside("-sources.jar") && !beside(".jar.sha1") && !beside("/x"));
    }
}
