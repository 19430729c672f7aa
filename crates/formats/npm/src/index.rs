//! Packuments: the two documents of a package, rendered at commit.
//!
//! `<pkg>/full.json` is everything; `<pkg>/abbreviated.json` is what an install needs
//! (npm/registry `docs/responses/package-metadata.md`). A version manifest is kept as published:
//! only `dist.tarball` is set, and `deprecated` where the site yanked the release. This module must
//! never compute anything from a clock or from the order of a hash map.

use cofferdam_format_kit::{Document, FileRef, PackageView, ReleaseState, ReleaseView, View};
use cofferdam_types::{Result, Sha256};
use serde_json::{Map, Value, json};

use crate::coords::is_prerelease;

/// The media type of the abbreviated form.
pub const ABBREVIATED: &str = "application/vnd.npm.install-v1+json";

/// What the abbreviated form keeps of a version manifest.
const INSTALL_FIELDS: [&str; 23] = [
    "name",
    "version",
    "deprecated",
    "dependencies",
    "acceptDependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "bundledDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bin",
    "directories",
    "dist",
    "engines",
    "cpu",
    "os",
    "libc",
    "funding",
    // npm writes these into lock files; without them a lock file would change with the registry.
    "license",
    "workspaces",
    "_hasShrinkwrap",
    "hasInstallScript",
];

/// What the full form repeats from the newest manifest at its top.
const PACKAGE_FIELDS: [&str; 10] = [
    "description",
    "keywords",
    "license",
    "homepage",
    "repository",
    "bugs",
    "author",
    "contributors",
    "maintainers",
    "readme",
];

/// The path under which the full document of a package is rendered.
#[must_use]
pub fn full_path(package: &str) -> String {
    format!("{package}/full.json")
}

/// The path under which the abbreviated document of a package is rendered.
#[must_use]
pub fn abbreviated_path(package: &str) -> String {
    format!("{package}/abbreviated.json")
}

/// Both documents of a package; none when it is gone. The repository itself has none.
///
/// # Errors
/// Those of the view.
pub async fn render(package: Option<&str>, view: &dyn View) -> Result<Vec<Document>> {
    let Some(package) = package else { return Ok(Vec::new()) };
    let Some(package) = view.package(package).await? else { return Ok(Vec::new()) };
    let base = &view.repository().base;
    let document = |path: String, media_type: &str, value: &Value| Document {
        path,
        media_type: media_type.into(),
        bytes: value.to_string().into_bytes(),
    };
    Ok(vec![
        document(full_path(&package.key), "application/json", &full(&package, base)),
        document(abbreviated_path(&package.key), ABBREVIATED, &abbreviated(&package, base)),
    ])
}

/// The full document, with the revision that `npm unpublish` and `npm deprecate` send back.
fn full(package: &PackageView, base: &str) -> Value {
    let tags = dist_tags(package);
    let mut versions = Map::new();
    let mut times = Map::new();
    times.insert("created".into(), json!(first_published(package)));
    times.insert("modified".into(), json!(last_published(package)));
    for release in visible(package) {
        let mut manifest = manifest(release, base);
        if let Some(fields) = manifest.as_object_mut() {
            // A readme per version made packuments of many megabytes: it stands once, at the top.
            fields.shift_remove("readme");
        }
        versions.insert(release.version.clone(), manifest);
        times.insert(release.version.clone(), json!(release.published.to_string()));
    }
    let mut out = Map::new();
    out.insert("_id".into(), json!(package.display));
    out.insert("name".into(), json!(package.display));
    out.insert("dist-tags".into(), Value::Object(tags.clone()));
    out.insert("versions".into(), Value::Object(versions));
    out.insert("time".into(), Value::Object(times));
    let latest = tags.get("latest").and_then(Value::as_str);
    if let Some(release) = package.releases.iter().find(|r| Some(r.version.as_str()) == latest) {
        for field in PACKAGE_FIELDS {
            if let Some(value) = release.meta.get(field) {
                out.insert(field.into(), value.clone());
            }
        }
    }
    // CouchDB's form, which npm sends back as it is: a count, a dash, 32 hexadecimal digits.
    let content = Value::Object(out.clone()).to_string();
    let digest = Sha256::of(content.as_bytes()).to_hex();
    out.insert("_rev".into(), json!(format!("{}-{}", package.releases.len(), &digest[..32])));
    Value::Object(out)
}

/// The revision of a package: a digest of its full document, so that the same content always has
/// the same one.
#[must_use]
pub fn revision(package: &PackageView, base: &str) -> String {
    full(package, base).get("_rev").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn abbreviated(package: &PackageView, base: &str) -> Value {
    let versions: Map<String, Value> =
        visible(package).map(|r| (r.version.clone(), install_fields(&manifest(r, base)))).collect();
    json!({
        "name": package.display,
        "dist-tags": dist_tags(package),
        "versions": versions,
        "modified": last_published(package),
    })
}

/// The part of a version manifest that an install needs.
#[must_use]
pub fn install_fields(manifest: &Value) -> Value {
    let mut out: Map<String, Value> = INSTALL_FIELDS
        .iter()
        .filter_map(|field| manifest.get(*field).map(|value| ((*field).to_owned(), value.clone())))
        .collect();
    let scripts = ["preinstall", "install", "postinstall"];
    let runs = manifest.get("scripts").is_some_and(|s| scripts.iter().any(|name| s.get(name).is_some()));
    if runs {
        out.insert("hasInstallScript".into(), Value::Bool(true));
    }
    Value::Object(out)
}

/// A version manifest as clients get it.
#[must_use]
pub fn manifest(release: &ReleaseView, base: &str) -> Value {
    let mut out = release.meta.clone();
    if let Some(file) = tarball(release) {
        set_tarball(&mut out, &format!("{base}/{}", file.path));
    }
    if release.state == ReleaseState::Yanked
        && out.get("deprecated").is_none()
        && let Some(fields) = out.as_object_mut()
    {
        fields.insert("deprecated".into(), json!(format!("yanked: {}", release.yank_reason)));
    }
    out
}

/// Sets `dist.tarball` and leaves the rest of `dist` as it is.
pub fn set_tarball(manifest: &mut Value, url: &str) {
    let Some(fields) = manifest.as_object_mut() else { return };
    let dist = fields.entry("dist").or_insert_with(|| json!({}));
    if let Some(dist) = dist.as_object_mut() {
        dist.insert("tarball".into(), json!(url));
    }
}

/// The tags whose versions are visible. `latest` is the pointer of that name, else the highest
/// version that is no pre-release, else the highest (by semver, never by time of upload).
#[must_use]
pub fn dist_tags(package: &PackageView) -> Map<String, Value> {
    let known = |version: &str| visible(package).any(|r| r.version == version);
    let mut tags: Map<String, Value> = package
        .pointers
        .iter()
        .filter(|p| known(&p.version))
        .map(|p| (p.name.clone(), json!(p.version)))
        .collect();
    if !tags.contains_key("latest")
        && let Some(version) = computed_latest(package)
    {
        tags.insert("latest".into(), json!(version));
    }
    tags
}

fn computed_latest(package: &PackageView) -> Option<&str> {
    let admitted = || visible(package).filter(|r| r.state == ReleaseState::Admitted).map(|r| &*r.version);
    let stable = admitted().filter(|version| !is_prerelease(version)).last();
    stable.or_else(|| admitted().last()).or_else(|| visible(package).map(|r| &*r.version).last())
}

fn visible(package: &PackageView) -> impl Iterator<Item = &ReleaseView> {
    package.releases.iter().filter(|release| tarball(release).is_some())
}

/// The release's tarball.
#[must_use]
pub fn tarball(release: &ReleaseView) -> Option<&FileRef> {
    release.files.iter().find(|file| file.role == crate::TARBALL_ROLE)
}

fn first_published(package: &PackageView) -> Option<String> {
    package.releases.iter().map(|r| r.published).min().map(|t| t.to_string())
}

/// When the package last gained a release, as RFC 3339.
#[must_use]
pub fn last_published(package: &PackageView) -> Option<String> {
    package.releases.iter().map(|r| r.published).max().map(|t| t.to_string())
}
