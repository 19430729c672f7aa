//! What the bytes of a wheel or source distribution say about themselves.
//!
//! Reads archives in place, bounded, and never unpacks or runs anything. Nothing outside the bytes
//! is believed: names and versions come from `METADATA` or `PKG-INFO` only.

use std::fs::File;

use bytes::Bytes;
use cofferdam_format_kit::{
    Door, DoorExt as _, DraftFile,
    archive::{Bounds, scan_tar_gz, scan_zip},
};
use cofferdam_types::{Digests, Error, ErrorKind, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::coords::{self, Filename, Kind, normalise, same_version, shown};

/// Header lines of a metadata file at the most.
const HEADER_LIMIT: usize = 20_000;

/// The core metadata fields that we use (core metadata specifications, version 2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreMetadata {
    fields: Vec<(String, String)>,
}

impl CoreMetadata {
    /// Reads the header block of a metadata file: `Name: value` lines, continued by lines that
    /// start with white space, up to the first line that is neither.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut fields: Vec<(String, String)> = Vec::new();
        for (count, line) in text.lines().enumerate() {
            if count == HEADER_LIMIT {
                let text = format!("the metadata has more than {HEADER_LIMIT} header lines");
                return Err(Error::new(ErrorKind::TooLarge, "metadata-too-large", text));
            }
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line.trim());
                }
                continue;
            }
            // As Python's own reader does, a line that is no field begins the description.
            let Some((name, value)) = line.split_once(':') else { break };
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { fields })
    }

    /// The first value of a field; names in lower case.
    pub(crate) fn get<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Every value of a field.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The only value of a field that must be there exactly once: two would let two readers
    /// believe different things.
    fn only<'a>(&'a self, name: &str, file: &str) -> Result<&'a str> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(Error::invalid("metadata-broken", format!("`{file}` has no field `{name}`"))),
            (Some(_), Some(_)) => Err(Error::invalid(
                "metadata-broken",
                format!("`{file}` has the field `{name}` more than once"),
            )),
        }
    }
}

/// What a file says about itself.
#[derive(Clone, Debug)]
pub(crate) struct Inspected {
    /// The name as its author writes it.
    pub display: String,
    /// The version as its author writes it.
    pub version: String,
    /// Which Pythons it runs on, where it says so.
    pub requires_python: Option<String>,
    /// The release's own metadata, for pages and the JSON API.
    pub meta: Value,
    /// `METADATA` or `PKG-INFO`, byte for byte.
    pub raw: Bytes,
}

/// Our metadata of one file, beyond what `FileRef` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileMeta {
    /// PEP 345 `Requires-Python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
    /// When upstream says that it was uploaded; absent for what clients published here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_time: Option<Timestamp>,
    /// Upstream's reason, when upstream yanked this file but not its whole release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
    /// Upstream's attestations, as `proofs` keeps them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<Value>,
}

impl FileMeta {
    /// As stored with the file.
    pub(crate) fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    /// Reads what is stored with a file; anything else is an empty record.
    pub(crate) fn of(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }
}

/// Looks into a stored distribution file. Its inner name and version must be those of the name.
///
/// # Errors
/// `Invalid` for a broken archive, `VerificationFailed` when the inside contradicts the file name.
pub(crate) async fn inspect(door: &dyn Door, digests: &Digests, filename: &Filename) -> Result<Inspected> {
    let name = filename.clone();
    let raw = door.inspect(&digests.sha256, move |file| read_metadata(file, &name)).await?;
    let fields = CoreMetadata::parse(&raw)?;
    let member = if filename.kind == Kind::Wheel { "METADATA" } else { "PKG-INFO" };
    fields.only("metadata-version", member)?;
    let display = fields.only("name", member)?;
    let version = fields.only("version", member)?;
    if normalise(display)? != filename.key {
        return Err(disagrees(filename, member, "name", display));
    }
    if !same_version(version, &filename.version) {
        return Err(disagrees(filename, member, "version", version));
    }
    coords::check_version(version)?;
    Ok(Inspected {
        display: display.into(),
        version: version.into(),
        requires_python: fields.get("requires-python").filter(|v| !v.is_empty()).map(Into::into),
        meta: release_meta(&fields),
        raw: raw.into(),
    })
}

/// The files of a release that one distribution file makes: itself, and for a wheel its metadata
/// (serving distribution metadata, PEP 658), byte for byte as it stands in the wheel.
pub(crate) async fn draft_files(
    door: &dyn Door,
    filename: &Filename,
    digests: Digests,
    inspected: &Inspected,
    meta: &FileMeta,
) -> Result<Vec<DraftFile>> {
    let path = filename.path();
    let role = filename.kind.role().to_owned();
    let mut files = vec![DraftFile { path: path.clone(), role, digests, meta: meta.to_value() }];
    if filename.kind == Kind::Wheel {
        let digests = door.put_bytes(inspected.raw.clone()).await?;
        let path = format!("{path}.metadata");
        files.push(DraftFile { path, role: "metadata".into(), digests, meta: Value::Object(Map::new()) });
    }
    Ok(files)
}

fn read_metadata(file: File, filename: &Filename) -> Result<Vec<u8>> {
    match filename.kind {
        Kind::Wheel => wheel_metadata(file, filename),
        Kind::TarGz => sdist_metadata(filename, |want, take| {
            // Source trees hold symbolic links now and then; they are never followed here.
            scan_tar_gz(file, Bounds::default(), true, want, take)
        }),
        Kind::Zip => sdist_metadata(filename, |want, take| scan_zip(file, Bounds::default(), want, take)),
    }
}

fn wheel_metadata(file: File, filename: &Filename) -> Result<Vec<u8>> {
    let mut folders: Vec<String> = Vec::new();
    let mut members: Vec<String> = Vec::new();
    let mut metadata: Vec<u8> = Vec::new();
    let want = |name: &str| {
        let Some((folder, member)) = name.split_once('/') else { return false };
        if !folder.ends_with(".dist-info") {
            return false;
        }
        if !folders.iter().any(|f| f == folder) {
            folders.push(folder.to_owned());
        }
        members.push(member.to_owned());
        member == "METADATA"
    };
    scan_zip(file, Bounds::default(), want, |_, bytes| {
        metadata = bytes;
        Ok(())
    })?;
    let [folder] = folders.as_slice() else {
        let text = format!("`{}` has {} `.dist-info` folders; a wheel has one", filename.text, folders.len());
        return Err(Error::invalid("wheel-dist-info", text).hint("build the wheel again"));
    };
    let stem = folder.strip_suffix(".dist-info").unwrap_or(folder);
    let matches = coords::split_at_key(stem, &filename.key)
        .is_some_and(|(_, version)| same_version(version, &filename.version));
    if !matches {
        return Err(disagrees(filename, "the archive", "`.dist-info` folder", folder));
    }
    for member in ["WHEEL", "RECORD", "METADATA"] {
        if members.iter().filter(|name| *name == member).count() != 1 {
            let text = format!("`{}` must hold `{}/{member}` exactly once", filename.text, shown(folder));
            return Err(Error::invalid("wheel-dist-info", text).hint("build the wheel again"));
        }
    }
    Ok(metadata)
}

type Want<'a> = &'a mut dyn FnMut(&str) -> bool;
type Take<'a> = &'a mut dyn FnMut(&str, Vec<u8>) -> Result<()>;

fn sdist_metadata(
    filename: &Filename,
    scan: impl FnOnce(Want<'_>, Take<'_>) -> Result<()>,
) -> Result<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut want = |name: &str| {
        let name = name.strip_prefix("./").unwrap_or(name);
        name.split_once('/').is_some_and(|(_, rest)| rest == "PKG-INFO")
    };
    scan(&mut want, &mut |_, bytes| {
        found.push(bytes);
        Ok(())
    })?;
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    let text = format!("`{}` must hold one `<folder>/PKG-INFO` and holds {}", filename.text, found.len());
    Err(Error::invalid("sdist-pkg-info", text).hint("build the source distribution again"))
}

fn disagrees(filename: &Filename, member: &str, what: &str, inner: &str) -> Error {
    let text = format!("{member} in `{}` has the {what} `{}`", filename.text, shown(inner));
    Error::verification("metadata-disagrees", format!("{text}, which is not that of the file name"))
        .hint("the file was renamed or tampered with; build it again, nothing was kept")
}

/// What pages and the JSON API show of a release. Long texts stay in the metadata file.
fn release_meta(fields: &CoreMetadata) -> Value {
    let mut meta = Map::new();
    let singles = [
        "summary",
        "requires-python",
        "license",
        "license-expression",
        "author",
        "author-email",
        "maintainer",
        "maintainer-email",
        "home-page",
        "keywords",
    ];
    for name in singles {
        if let Some(value) = fields.get(name).filter(|v| !v.is_empty() && v.len() <= 4096) {
            meta.insert(name.replace('-', "_"), value.into());
        }
    }
    for (field, name) in
        [("classifier", "classifiers"), ("project-url", "project_urls"), ("requires-dist", "requires_dist")]
    {
        let values: Vec<Value> = fields.all(field).take(1000).map(Into::into).collect();
        if !values.is_empty() {
            meta.insert(name.into(), values.into());
        }
    }
    Value::Object(meta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_up_to_the_description() {
        let text = b"Metadata-Version: 2.1\nName: Foo\nVersion: 1.0\r\nLicense: MIT\n  and more\nRequires-Python: >=3.8\n\nName: Other\n";
        let fields = CoreMetadata::parse(text).unwrap();
        assert_eq!(fields.only("name", "METADATA").unwrap(), "Foo");
        assert_eq!(fields.get("version"), Some("1.0"));
        assert_eq!(fields.get("license"), Some("MIT\nand more"));
        assert_eq!(fields.get("requires-python"), Some(">=3.8"));
    }

    #[test]
    fn a_second_name_is_refused_and_a_line_without_a_field_begins_the_description() {
        let twice = CoreMetadata::parse(b"Name: a\nName: b\n").unwrap();
        assert_eq!(twice.only("name", "METADATA").unwrap_err().code(), "metadata-broken");
        let fields =
            CoreMetadata::parse(b"License: MIT\n   \n more\nName: a\nPermission is\nVersion: 1\n").unwrap();
        assert_eq!((fields.get("name"), fields.get("version")), (Some("a"), None));
        let endless = CoreMetadata::parse("Classifier: x\n".repeat(HEADER_LIMIT + 1).as_bytes());
        assert_eq!(endless.unwrap_err().code(), "metadata-too-large");
    }
}
