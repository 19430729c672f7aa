//! What clients change: publish, yank and unyank (The Cargo Book, "Registry Web API").
//!
//! Everything in the JSON is the client's word. What the crate's own manifest can confirm is
//! confirmed; the rest becomes the index line.

use cofferdam_format_kit::{Accepted, Answer, Change, Door, RepositoryKind, Upload, View, path_segments};
use cofferdam_types::{Error, Result};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::{
    collect, coords, frame,
    inspect::{self, Manifest},
};

/// The JSON of a publish, as far as it goes into the index; the rest is read from the crate.
#[derive(Deserialize)]
struct Metadata {
    name: String,
    vers: String,
    #[serde(default)]
    deps: Vec<Dependency>,
    #[serde(default)]
    features: Map<String, Value>,
    links: Option<String>,
    rust_version: Option<String>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    version_req: String,
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default = "yes")]
    default_features: bool,
    target: Option<String>,
    kind: Option<String>,
    registry: Option<String>,
    explicit_name_in_toml: Option<String>,
}

fn yes() -> bool {
    true
}

/// Takes a change whose route is named `action`.
pub async fn accept(action: &str, upload: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
    if view.repository().kind != RepositoryKind::Hosted {
        let text = format!("the repository `{}` takes no changes from clients", view.repository().name);
        return Err(Error::forbidden("not-hosted", text).hint("publish to a hosted repository of this site"));
    }
    match action {
        "new" => new(upload, view, door).await,
        "yank" | "unyank" => yank(action, &upload.request.path, view).await,
        _ => Err(owners()),
    }
}

/// The honest answer to everything about owners.
pub fn owners() -> Error {
    Error::forbidden("owners-elsewhere", "crates of this site have no owners of their own").hint(
        "who may publish is decided by the rights on the repository; its administrators can change them",
    )
}

async fn new(upload: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
    let (json, crate_bytes) = frame::split(upload.body).await?;
    let metadata: Metadata = serde_json::from_slice(&json).map_err(|error| {
        Error::invalid("publish-metadata", format!("the metadata of the upload is wrong: {error}"))
    })?;
    let key = coords::key_for_publish(&metadata.name)?;
    let version = coords::version(&metadata.vers)?;
    let known = view.package(&key).await?;
    if let Some(known) = known.as_ref().filter(|known| known.display != metadata.name) {
        let text = format!("the name `{}` is too much like `{}`, which exists", metadata.name, known.display);
        return Err(Error::conflict("crate-name-taken", text)
            .hint("names that differ only in case or between `-` and `_` are one name"));
    }
    let digests = door.put(crate_bytes, inspect::MAX_CRATE).await?;

    for release in known.iter().flat_map(|known| &known.releases) {
        if !same_release(&release.version, &version) {
            continue;
        }
        // A client that did not hear our first answer sends the same bytes again.
        if release.version == metadata.vers && release.files.iter().all(|f| f.sha256 == digests.sha256) {
            return Ok(Accepted { changes: Vec::new(), answer: published() });
        }
        let text = format!("{} {} exists with other bytes", metadata.name, release.version);
        return Err(Error::conflict("immutable", text).hint("raise the version; a release never changes"));
    }
    let own = [upload.request.base.as_str(), view.repository().base.as_str()];
    let manifest = inspect::stored(door, &digests.sha256, &metadata.name, &metadata.vers).await?;
    check_addresses(&manifest, own)?;
    let line = line(metadata, &digests.sha256.to_hex(), &own)?;
    let draft = collect::draft(manifest, line, digests)?;
    Ok(Accepted { changes: vec![Change::Release(draft)], answer: published() })
}

/// Refuses a crate whose manifest names this repository by the address with the publisher's token
/// in it: cargo writes the address of a dependency's registry into the crate, for all to read.
fn check_addresses(manifest: &Manifest, [client, public]: [&str; 2]) -> Result<()> {
    if client == public || !manifest.registries.iter().any(|registry| registry.contains(client)) {
        return Ok(());
    }
    let text = "the crate holds the address under which you reach this repository, and with it your token";
    Err(Error::invalid("crate-holds-token", text)
        .hint(format!("name the registry as `sparse+{public}/` in the configuration that you publish with")))
}

/// Versions that differ in build metadata only cannot stand side by side: cargo could not choose.
fn same_release(existing: &str, new: &semver::Version) -> bool {
    semver::Version::parse(existing).is_ok_and(|old| old.cmp_precedence(new).is_eq())
}

fn published() -> Answer {
    let none: [&str; 0] = [];
    let warnings = json!({ "invalid_categories": none, "invalid_badges": none, "other": none });
    Answer::json(StatusCode::OK, &json!({ "warnings": warnings }))
}

/// The index line of a publish. `own` are the addresses of this repository.
fn line(metadata: Metadata, cksum: &str, own: &[&str]) -> Result<Value> {
    let deps: Vec<Value> =
        metadata.deps.into_iter().map(|dep| dependency(dep, own)).collect::<Result<_>>()?;
    let (features2, features): (Map<_, _>, Map<_, _>) =
        metadata.features.into_iter().partition(|(_, values)| needs_second_format(values));
    let mut line = json!({
        "name": metadata.name,
        "vers": metadata.vers,
        "deps": deps,
        "cksum": cksum,
        "features": features,
        "yanked": false,
        "links": metadata.links,
        "pubtime": null,
    });
    if let Some(rust_version) = metadata.rust_version {
        line["rust_version"] = rust_version.into();
    }
    if !features2.is_empty() {
        line["features2"] = features2.into();
        line["v"] = 2.into();
    }
    Ok(line)
}

/// Whether a feature uses `dep:` or `?`, which cargo before 1.60 cannot read: those stand apart in
/// `features2`, with `v` 2, so that it skips the release instead of failing on it.
fn needs_second_format(values: &Value) -> bool {
    let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(Value::as_str).any(|v| v.starts_with("dep:") || v.contains("?/"))
}

/// Publish and index name a renamed dependency the other way round: in a publish `name` is the
/// package, in the index it is the name in the manifest.
fn dependency(dep: Dependency, own: &[&str]) -> Result<Value> {
    coords::key(&dep.name)?;
    semver::VersionReq::parse(&dep.version_req).map_err(|error| {
        let text =
            format!("`{}` of the dependency `{}` is no requirement: {error}", dep.version_req, dep.name);
        Error::invalid("publish-metadata", text)
    })?;
    let registry = dep.registry.map(|url| registry(url, own)).transpose()?.flatten();
    let renamed = dep.explicit_name_in_toml.filter(|name| !name.is_empty());
    let (name, package) = match renamed {
        Some(alias) => (alias, Some(dep.name)),
        None => (dep.name, None),
    };
    let mut line = json!({
        "name": name,
        "req": dep.version_req,
        "features": dep.features,
        "optional": dep.optional,
        "default_features": dep.default_features,
        "target": dep.target,
        "kind": dep.kind.unwrap_or_else(|| "normal".into()),
    });
    if let Some(registry) = registry {
        line["registry"] = registry.into();
    }
    if let Some(package) = package {
        line["package"] = package.into();
    }
    Ok(line)
}

/// No registry means "the same one" in both documents. Our own address is written that way too:
/// it may differ for every client, and may even hold the publisher's token.
fn registry(url: String, own: &[&str]) -> Result<Option<String>> {
    let plain = url.strip_prefix("sparse+").unwrap_or(&url).trim_end_matches('/');
    if own.contains(&plain) {
        return Ok(None);
    }
    let parsed = Url::parse(plain).map_err(|error| {
        Error::invalid("publish-metadata", format!("a dependency's registry is no address: {error}"))
    })?;
    if parsed.password().is_some() || !parsed.username().is_empty() {
        let text = "the address of a dependency's registry holds credentials, which everybody could read";
        return Err(Error::invalid("publish-metadata", text).hint("name the registry without them"));
    }
    Ok(Some(url))
}

async fn yank(action: &str, path: &str, view: &dyn View) -> Result<Accepted> {
    let segments = path_segments(path)?;
    let [_, _, _, name, version, _] = segments.as_slice() else {
        return Err(Error::not_found("no such address"));
    };
    let package = coords::key(name)?;
    let found = view.package(&package).await?;
    let there = found.is_some_and(|found| found.releases.iter().any(|r| r.version == *version));
    if !there {
        return Err(Error::not_found(format!("there is no {name} {version} here")));
    }
    let version = version.clone();
    let change = match action {
        "yank" => Change::Yank { package, version, reason: String::new() },
        _ => Change::Unyank { package, version },
    };
    Ok(Accepted { changes: vec![change], answer: Answer::json(StatusCode::OK, &json!({ "ok": true })) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(json: Value) -> Value {
        line(serde_json::from_value(json).unwrap(), "c", &["http://site.example/r/x/t/secret"]).unwrap()
    }

    #[test]
    fn a_renamed_dependency_changes_places_and_our_own_address_is_no_address() {
        let line = published(json!({"name": "a", "vers": "1.0.0", "deps": [
            {"name": "real", "version_req": "^1", "explicit_name_in_toml": "alias", "kind": "normal",
             "registry": "sparse+http://site.example/r/x/t/secret/"},
            {"name": "far", "version_req": "^1", "registry": "https://upstream.example/index"},
        ]}));
        assert_eq!(line["deps"][0]["name"], "alias");
        assert_eq!(line["deps"][0]["package"], "real");
        assert!(line["deps"][0].get("registry").is_none());
        assert_eq!(line["deps"][1]["registry"], "https://upstream.example/index");
        assert!(!line.to_string().contains("secret"));
    }

    #[test]
    fn features_of_the_second_format_stand_apart() {
        let line = published(json!({"name": "a", "vers": "1.0.0", "features":
            {"default": ["std"], "std": [], "json": ["dep:serde"], "weak": ["serde?/std"]}}));
        assert_eq!(line["features"], json!({"default": ["std"], "std": []}));
        assert_eq!(line["features2"], json!({"json": ["dep:serde"], "weak": ["serde?/std"]}));
        assert_eq!(line["v"], 2);
        let plain = published(json!({"name": "a", "vers": "1.0.0", "features": {"default": []}}));
        assert!(plain.get("v").is_none() && plain.get("features2").is_none());
    }

    #[test]
    fn a_registry_with_credentials_is_refused() {
        let error = registry("https://me:pw@upstream.example/".into(), &[]).unwrap_err();
        assert!(!error.message().contains("pw"));
    }
}
