//! What clients change: publish, deprecate, dist-tags, unpublish.
//!
//! A publish is checked completely before it becomes a change: names, version, digests, lengths and
//! the `package.json` inside the tarball must all agree. This module must never replace a version,
//! and never take anything but `deprecated` from a document that comes back.

use cofferdam_format_kit::{
    Accepted, Answer, ByteStream, Change, Door, Draft, DraftFile, PackageView, RepositoryKind, Route, Upload,
    View, path_segments,
};
use cofferdam_types::{Digests, Error, ErrorKind, Result};
use futures::TryStreamExt as _;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    TARBALL_ROLE,
    attachment::{self, DOCUMENT_LIMIT, Parts},
    coords, error, index, inspect,
};

/// Takes one change of a client.
///
/// # Errors
/// See [`cofferdam_format_kit::Format::accept`].
pub async fn accept(upload: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
    if view.repository().kind == RepositoryKind::Mirror {
        return Err(Error::forbidden("mirror", "this repository is a mirror; clients cannot change it"));
    }
    let Upload { request, route, body } = upload;
    let Route::Publish(action) = route else {
        return Err(Error::not_found("there is no such address"));
    };
    let segments = path_segments(&request.path)?;
    let skip = if matches!(action, "tag" | "untag") { 2 } else { 0 };
    let named = segments.get(skip..).and_then(coords::take_name);
    let (name, rest) = named.ok_or_else(|| Error::not_found("there is no such address"))?;
    let last = rest.last().map(String::as_str).unwrap_or_default();
    match action {
        "publish" => put(&name, body, view, door).await,
        "replace" => replace(&name, last, body, view).await,
        "unpublish" => unpublish(&name, last, view).await,
        // The version has gone with the document before; npm only wants to hear that it went well.
        "remove-tarball" => Ok(accepted(StatusCode::OK, Vec::new(), &name)),
        "tag" => tag(&name, last, body, view).await,
        "untag" => untag(&name, last, view).await,
        _ => Err(Error::not_found("there is no such address")),
    }
}

fn accepted(status: StatusCode, changes: Vec<Change>, name: &str) -> Accepted {
    Accepted { changes, answer: Answer::json(status, &json!({ "ok": true, "success": true, "id": name })) }
}

fn wrong(text: impl Into<String>) -> Error {
    Error::invalid("publish-document", text)
}

fn parse(text: &[u8]) -> Result<Value> {
    serde_json::from_slice(text).map_err(|error| wrong(format!("the request is not JSON: {error}")))
}

async fn put(name: &str, body: ByteStream, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
    let Parts { document, tarball } = attachment::read(body, door).await?;
    let document = parse(&document)?;
    for field in ["name", "_id"] {
        if let Some(said) = document.get(field).and_then(Value::as_str)
            && said != name
        {
            let said = coords::shorten(said);
            return Err(wrong(format!("the request is for {name}, but its `{field}` says {said}")));
        }
    }
    let package = view.package(name).await?;
    match tarball {
        Some(tarball) => publish(name, &document, tarball, package, door).await,
        None if has_attachments(&document) => {
            Err(Error::invalid("attachments", "the request attaches something, but no tarball with data"))
        }
        None => deprecate(name, &document, package),
    }
}

fn has_attachments(document: &Value) -> bool {
    document.get("_attachments").and_then(Value::as_object).is_some_and(|all| !all.is_empty())
}

async fn publish(
    name: &str,
    document: &Value,
    (file, digests): (String, Digests),
    package: Option<PackageView>,
    door: &dyn Door,
) -> Result<Accepted> {
    if package.is_none() {
        coords::check_new_name(name)?;
    }
    let (version, mut meta) = offered(name, document)?;
    if package.as_ref().is_some_and(|p| p.releases.iter().any(|r| r.version == version)) {
        let text = format!("You cannot publish over the previously published versions: {version}.");
        return Err(Error::conflict(error::VERSION_EXISTS, text));
    }
    check_attachment(name, &version, document, &file, &digests)?;
    let pointers = tags(document, &version)?;
    complete_dist(&mut meta, &digests)?;
    inspect::check_tarball(door, &digests.sha256, name, &version).await?;
    if let (Some(readme), Some(fields)) = (document.get("readme"), meta.as_object_mut()) {
        fields.entry("readme").or_insert_with(|| readme.clone());
    }
    let path = coords::tarball_path(name, &version);
    let draft = Draft {
        package: name.into(),
        display: name.into(),
        version,
        meta,
        files: vec![DraftFile { path, role: TARBALL_ROLE.into(), digests, meta: Value::Null }],
        pointers,
        published: None,
        yanked: None,
    };
    Ok(accepted(StatusCode::CREATED, vec![Change::Release(draft)], name))
}

/// The one version that a publish offers, with its manifest.
fn offered(name: &str, document: &Value) -> Result<(String, Value)> {
    let versions = document.get("versions").and_then(Value::as_object);
    let versions = versions.ok_or_else(|| wrong("the request has no `versions`"))?;
    let mut all = versions.iter();
    let (Some((version, manifest)), None) = (all.next(), all.next()) else {
        return Err(wrong(format!("a publish offers one version, this one {}", versions.len())));
    };
    coords::check_new_version(version)?;
    for (field, expected) in [("name", name), ("version", version.as_str())] {
        let said = manifest.get(field).and_then(Value::as_str).unwrap_or_default();
        if said != expected {
            let said = coords::shorten(said);
            return Err(wrong(format!(
                "the manifest's `{field}` says `{said}`, but `{expected}` is offered"
            )));
        }
    }
    Ok((version.clone(), manifest.clone()))
}

fn check_attachment(
    name: &str,
    version: &str,
    document: &Value,
    file: &str,
    digests: &Digests,
) -> Result<()> {
    let wrong = |text: String| Error::invalid("attachments", text);
    let all = document.get("_attachments").and_then(Value::as_object);
    if let Some(other) = all.into_iter().flat_map(Map::keys).find(|key| *key != file) {
        let text = format!("the attachment `{}` is not a tarball", coords::shorten(other));
        return Err(wrong(text).hint("publish without --provenance: this site does not keep such bundles"));
    }
    let short = format!("{}-{version}.tgz", coords::unscoped(name));
    if file != short && file != format!("{name}-{version}.tgz") {
        let file = coords::shorten(file);
        return Err(wrong(format!("the attachment is called `{file}`; {name}@{version} needs `{short}`")));
    }
    let length = all.and_then(|all| all.get(file)).and_then(|one| one.get("length")).and_then(Value::as_u64);
    match length {
        Some(length) if length != digests.size => Err(Error::verification(
            "attachment-length",
            format!("the tarball should have {length} bytes, but {} came", digests.size),
        )),
        _ => Ok(()),
    }
}

/// The tags of a publish: all must name the version that it offers.
fn tags(document: &Value, version: &str) -> Result<Vec<String>> {
    let tags = document.get("dist-tags").and_then(Value::as_object);
    let mut out = Vec::new();
    for (tag, target) in tags.into_iter().flatten() {
        coords::check_tag(tag)?;
        if target.as_str() != Some(version) {
            return Err(wrong(format!("the dist-tag `{tag}` names another version than {version}")));
        }
        out.push(tag.clone());
    }
    Ok(out)
}

/// Compares the digests that were given and adds those that were not.
fn complete_dist(meta: &mut Value, digests: &Digests) -> Result<()> {
    let fields = meta.as_object_mut().ok_or_else(|| wrong("the manifest is not an object"))?;
    let dist = fields.entry("dist").or_insert_with(|| json!({}));
    inspect::check_dist(dist, digests)?;
    let dist = dist.as_object_mut().ok_or_else(|| wrong("the manifest's `dist` is not an object"))?;
    dist.entry("integrity").or_insert_with(|| json!(inspect::integrity(digests)));
    dist.entry("shasum").or_insert_with(|| json!(digests.sha1));
    Ok(())
}

/// `npm deprecate`: the full document comes back with `deprecated` set, changed or emptied.
fn deprecate(name: &str, document: &Value, package: Option<PackageView>) -> Result<Accepted> {
    let package = package.ok_or_else(|| no_package(name))?;
    let versions = document.get("versions").and_then(Value::as_object).ok_or_else(|| {
        wrong("the request has neither a tarball nor `versions`").hint("owners are managed by the site")
    })?;
    let mut changes = Vec::new();
    for (version, manifest) in versions {
        let Some(release) = package.releases.iter().find(|r| r.version == *version) else {
            return Err(wrong(format!("{name}@{version} comes without a tarball")));
        };
        let said = manifest.get("deprecated").and_then(Value::as_str).filter(|text| !text.is_empty());
        if said == release.meta.get("deprecated").and_then(Value::as_str) {
            continue;
        }
        let mut meta = release.meta.clone();
        if let Some(fields) = meta.as_object_mut() {
            match said {
                Some(text) => drop(fields.insert("deprecated".into(), json!(text))),
                None => drop(fields.shift_remove("deprecated")),
            }
        }
        changes.push(Change::Metadata { package: name.into(), version: version.clone(), meta });
    }
    Ok(accepted(StatusCode::OK, changes, name))
}

fn no_package(name: &str) -> Error {
    Error::not_found(format!("there is no package {name} in this repository"))
}

/// The package, if `rev` is still its revision: what was decided on an older document is refused.
async fn current(name: &str, rev: &str, view: &dyn View) -> Result<PackageView> {
    let package = view.package(name).await?.ok_or_else(|| no_package(name))?;
    if index::revision(&package, &view.repository().base) != rev {
        let text = format!("{name} has changed since revision {}", coords::shorten(rev));
        return Err(Error::conflict("revision", text).hint("try again"));
    }
    Ok(package)
}

async fn unpublish(name: &str, rev: &str, view: &dyn View) -> Result<Accepted> {
    let package = current(name, rev, view).await?;
    let versions = package.releases.into_iter().map(|release| release.version);
    Ok(accepted(StatusCode::OK, withdraw(name, versions), name))
}

/// `PUT /<pkg>/-rev/<rev>`: the versions that the document no longer has go away.
async fn replace(name: &str, rev: &str, body: ByteStream, view: &dyn View) -> Result<Accepted> {
    let document = parse(&whole(body).await?)?;
    let package = current(name, rev, view).await?;
    let kept = document.get("versions").and_then(Value::as_object).ok_or_else(|| {
        wrong("the request has no `versions`; only versions can be removed this way")
            .hint("owners are managed by the site")
    })?;
    if let Some(new) = kept.keys().find(|v| !package.releases.iter().any(|r| r.version == **v)) {
        return Err(wrong(format!("{name}@{} comes without a tarball", coords::shorten(new))));
    }
    let gone = package.releases.into_iter().map(|r| r.version).filter(|v| !kept.contains_key(v));
    Ok(accepted(StatusCode::OK, withdraw(name, gone), name))
}

fn withdraw(name: &str, versions: impl Iterator<Item = String>) -> Vec<Change> {
    versions.map(|version| Change::Withdraw { package: name.into(), version }).collect()
}

async fn tag(name: &str, tag: &str, body: ByteStream, view: &dyn View) -> Result<Accepted> {
    coords::check_tag(tag)?;
    let version = parse(&whole(body).await?)?;
    let version = version.as_str().ok_or_else(|| wrong("a dist-tag's version is a JSON string"))?;
    let package = view.package(name).await?.ok_or_else(|| no_package(name))?;
    if !package.releases.iter().any(|release| release.version == version) {
        let version = coords::shorten(version);
        return Err(Error::not_found(format!("{name} has no version {version}; the tag was not moved")));
    }
    Ok(accepted(StatusCode::CREATED, vec![pointer(name, tag, Some(version))], name))
}

async fn untag(name: &str, tag: &str, view: &dyn View) -> Result<Accepted> {
    if tag == "latest" {
        return Err(Error::invalid("dist-tag", "the dist-tag `latest` cannot be removed, only moved"));
    }
    let package = view.package(name).await?.ok_or_else(|| no_package(name))?;
    if !package.pointers.iter().any(|pointer| pointer.name == tag) {
        return Err(Error::not_found(format!("{name} has no dist-tag {}", coords::shorten(tag))));
    }
    Ok(accepted(StatusCode::OK, vec![pointer(name, tag, None)], name))
}

fn pointer(package: &str, name: &str, version: Option<&str>) -> Change {
    Change::Pointer { package: package.into(), name: name.into(), version: version.map(str::to_owned) }
}

/// A small body whole.
async fn whole(mut body: ByteStream) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    while let Some(chunk) = body.try_next().await? {
        if out.len() + chunk.len() > DOCUMENT_LIMIT {
            let text = format!("the request is larger than {DOCUMENT_LIMIT} bytes");
            return Err(Error::new(ErrorKind::TooLarge, "publish-document-too-large", text));
        }
        out.extend_from_slice(&chunk);
    }
    Ok(out)
}
