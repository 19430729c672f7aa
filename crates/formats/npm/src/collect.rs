//! From upstream on the connected side, and from a transfer on the isolated side.
//!
//! Both compare the bytes with what upstream said about them, and look into the tarball. This
//! module must never commit a tarball whose digest nobody vouched for, and never put an upstream
//! address into what clients see.

use std::collections::BTreeMap;

use cofferdam_format_kit::{Answer, Change, Door, Draft, DraftFile, Fetched, Recorded, Upstream, View, Want};
use cofferdam_types::{Error, ErrorKind, Result, Timestamp};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{TARBALL_ROLE, attachment::TARBALL_LIMIT, coords, index, inspect, proofs};

/// The form of a packument that is asked for.
const PACKUMENT: &str = "application/json";

/// Bytes of an upstream packument, at the most.
const PACKUMENT_LIMIT: usize = 64 << 20;

/// An upstream packument. Manifests stay text until one is needed: large packages have thousands.
#[derive(Deserialize)]
struct Packument<'a> {
    name: String,
    #[serde(default, rename = "dist-tags")]
    dist_tags: BTreeMap<String, String>,
    #[serde(borrow)]
    versions: BTreeMap<String, &'a RawValue>,
    #[serde(default)]
    time: BTreeMap<String, Value>,
}

/// Brings what is wanted from upstream.
///
/// # Errors
/// See [`cofferdam_format_kit::Format::record`].
pub async fn record(
    want: &Want,
    view: &dyn View,
    upstream: &dyn Upstream,
    door: &dyn Door,
) -> Result<Recorded> {
    match want {
        Want::Index { package: Some(wanted) } => {
            let (package, version) = split(wanted);
            if let Some(version) = version {
                return one(package, version, view, upstream).await;
            }
            let text = packument(package, upstream).await?;
            let document = live(&parse(package, &text)?, &view.repository().base)?;
            let answer = Answer::bytes(StatusCode::OK, "application/json", document)
                .with_header(header::VARY, "Accept")
                .with_header(header::CACHE_CONTROL, "no-cache");
            Ok(Recorded { answer: Some(answer), ..Recorded::default() })
        }
        Want::Index { package: None } | Want::Address { .. } => {
            Err(Error::not_found("npm has no index of a whole registry; ask for a package"))
        }
        Want::File { package, path } => {
            let draft = tarball(package, path, upstream, door).await?;
            Ok(Recorded { changes: vec![Change::Release(draft)], ..Recorded::default() })
        }
    }
}

/// A package's name, and the version or tag after it, if there is one.
fn split(wanted: &str) -> (&str, Option<&str>) {
    let scope = if wanted.starts_with('@') { wanted.find('/').map_or(0, |at| at + 1) } else { 0 };
    let (_, rest) = wanted.split_at(scope);
    match rest.find('/') {
        Some(at) => (wanted.get(..scope + at).unwrap_or(wanted), rest.get(at + 1..)),
        None => (wanted, None),
    }
}

/// The complete manifest of one release, with its tarball here. Its signatures stay: some clients check them.
async fn one(package: &str, wanted: &str, view: &dyn View, upstream: &dyn Upstream) -> Result<Recorded> {
    let text = packument(package, upstream).await?;
    let packument = parse(package, &text)?;
    let version = packument.dist_tags.get(wanted).map_or(wanted, String::as_str);
    let raw = packument.versions.get(version).filter(|_| coords::is_storable_version(version));
    let raw = raw.ok_or_else(|| {
        Error::not_found(format!("upstream's {package} has no version or tag {}", coords::shorten(wanted)))
    })?;
    let mut manifest = manifest(package, version, raw)?;
    let (base, path) = (&view.repository().base, coords::tarball_path(package, version));
    index::set_tarball(&mut manifest, &format!("{base}/{path}"));
    let answer = Answer::json(StatusCode::OK, &manifest).with_header(header::CACHE_CONTROL, "no-cache");
    Ok(Recorded { changes: Vec::new(), answer: Some(answer), file: None })
}

/// The text of a packument. The full form is asked for: only it has `time`, without which npm and
/// pnpm would silently ignore a minimum age of releases.
async fn packument(package: &str, upstream: &dyn Upstream) -> Result<bytes::Bytes> {
    coords::check_name(package)?;
    document(package, upstream.get(&address(package), Some(PACKUMENT)).await?).await
}

/// Where a packument is, below the registry.
fn address(package: &str) -> String {
    package.replace('/', "%2f")
}

async fn document(package: &str, fetched: Fetched) -> Result<bytes::Bytes> {
    match fetched.status {
        StatusCode::OK => fetched.bytes(PACKUMENT_LIMIT).await,
        status => Err(refused(status, &format!("the package {package}"))),
    }
}

fn refused(status: StatusCode, what: &str) -> Error {
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Error::not_found(format!("upstream does not have {what}"))
        }
        status => Error::new(
            ErrorKind::Unavailable,
            "upstream-refused",
            format!("upstream answered {status} when it was asked for {what}"),
        ),
    }
}

fn parse<'a>(package: &str, text: &'a [u8]) -> Result<Packument<'a>> {
    let packument: Packument<'a> = serde_json::from_slice(text).map_err(|error| {
        let text = format!("upstream's document of {package} is not a packument: {error}");
        Error::verification("upstream-document", text)
    })?;
    if packument.name != package {
        let said = coords::shorten(&packument.name);
        let text = format!("upstream was asked for {package} and answered with {said}");
        return Err(Error::verification("upstream-document", text));
    }
    Ok(packument)
}

fn manifest(package: &str, version: &str, raw: &RawValue) -> Result<Value> {
    let manifest: Value = serde_json::from_str(raw.get()).map_err(|error| {
        let text = format!("upstream's manifest of {package}@{version} cannot be read: {error}");
        Error::verification("upstream-document", text)
    })?;
    let field = |name: &str| manifest.get(name).and_then(Value::as_str);
    if field("name") != Some(package) || field("version") != Some(version) {
        let text = format!("upstream's manifest of {package}@{version} is of another release");
        return Err(Error::verification("upstream-document", text));
    }
    Ok(manifest)
}

/// The document a client gets while recording: what an install needs of every version, with `time`.
/// It satisfies clients that asked for either form.
fn live(packument: &Packument<'_>, base: &str) -> Result<Vec<u8>> {
    let mut versions = BTreeMap::new();
    for (version, raw) in &packument.versions {
        if !coords::is_storable_version(version) {
            continue;
        }
        // A manifest that contradicts its place is left out, as if upstream did not have it: one
        // bad old release must not hide all the others.
        let Ok(manifest) = manifest(&packument.name, version, raw) else { continue };
        let mut manifest = index::install_fields(&manifest);
        let path = coords::tarball_path(&packument.name, version);
        index::set_tarball(&mut manifest, &format!("{base}/{path}"));
        let text = serde_json::value::to_raw_value(&manifest)
            .map_err(|error| Error::internal("writing a live manifest", error))?;
        versions.insert(version, text);
    }
    let head = json!({
        "_id": packument.name,
        "name": packument.name,
        "dist-tags": packument.dist_tags,
        "time": packument.time,
    });
    // Absent, where upstream does not say it: Bun reads no document in which it is null.
    let modified = packument.time.get("modified").map(|time| ("modified".to_owned(), time.clone()));
    let mut out: Map<String, Value> = Map::new();
    out.extend(head.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    out.extend(modified);
    let mut text = Value::Object(out).to_string().into_bytes();
    text.pop();
    text.extend_from_slice(b",\"versions\":");
    serde_json::to_writer(&mut text, &versions)
        .map_err(|e| Error::internal("writing a live packument", e))?;
    text.push(b'}');
    Ok(text)
}

/// Brings one tarball with its complete manifest, its tags and its time.
async fn tarball(package: &str, path: &str, upstream: &dyn Upstream, door: &dyn Door) -> Result<Draft> {
    let missing = || Error::not_found(format!("upstream does not have {}", coords::shorten(path)));
    coords::check_name(package)?;
    let version = coords::version_of_tarball(package, path).ok_or_else(missing)?;
    let mut text = document(package, upstream.recent(&address(package), PACKUMENT).await?).await?;
    if !parse(package, &text)?.versions.contains_key(version) {
        text = self::packument(package, upstream).await?;
    }
    let packument = parse(package, &text)?;
    let raw = packument.versions.get(version).ok_or_else(missing)?;
    let meta = manifest(package, version, raw)?;
    let dist = meta.get("dist").cloned().unwrap_or_default();
    let url = dist.get("tarball").and_then(Value::as_str).ok_or_else(missing)?;
    let fetched = upstream.get(url, None).await?;
    if fetched.status != StatusCode::OK {
        return Err(refused(fetched.status, path));
    }
    let digests = door.put(fetched.body, TARBALL_LIMIT).await?;
    check_vouched(&dist, &digests, package, version)?;
    inspect::check_tarball(door, &digests.sha256, package, version).await?;
    let published = packument.time.get(version).and_then(Value::as_str).and_then(Timestamp::parse);
    let release = proofs::Release { package, version, dist: &dist, digests: &digests };
    let proofs = proofs::gather(&release, published, upstream).await?;
    let tags = packument.dist_tags.iter().filter(|(tag, v)| *v == version && coords::check_tag(tag).is_ok());
    Ok(Draft {
        package: package.into(),
        display: package.into(),
        version: version.into(),
        pointers: tags.map(|(tag, _)| tag.clone()).collect(),
        files: vec![DraftFile { path: path.into(), role: TARBALL_ROLE.into(), digests, meta: proofs }],
        meta,
        published,
        yanked: None,
    })
}

/// Compares the bytes with `dist`, which must hold at least one digest.
fn check_vouched(
    dist: &Value,
    digests: &cofferdam_types::Digests,
    package: &str,
    version: &str,
) -> Result<()> {
    if inspect::check_dist(dist, digests)? == 0 {
        let text = format!("nobody vouches for the tarball of {package}@{version}: it has no digest");
        return Err(Error::verification("integrity-missing", text));
    }
    Ok(())
}

/// Makes a release from a transfer's claim after looking at the bytes again.
///
/// # Errors
/// `VerificationFailed` when bytes and claim disagree.
pub async fn admit(claim: &Draft, door: &dyn Door) -> Result<Draft> {
    let wrong = |text: String| Error::verification("claim-mismatch", text);
    let (package, version) = (coords::check_name(&claim.package)?, claim.version.as_str());
    if claim.display != package || !coords::is_storable_version(version) {
        return Err(wrong(format!("the claim for {package}@{} is malformed", coords::shorten(version))));
    }
    for (field, expected) in [("name", package), ("version", version)] {
        if claim.meta.get(field).and_then(Value::as_str) != Some(expected) {
            return Err(wrong(format!("the manifest of {package}@{version} has another `{field}`")));
        }
    }
    let [file] = claim.files.as_slice() else {
        return Err(wrong(format!(
            "{package}@{version} must have one file, the claim has {}",
            claim.files.len()
        )));
    };
    if file.path != coords::tarball_path(package, version) || file.role != TARBALL_ROLE {
        return Err(wrong(format!(
            "{package}@{version} cannot have a file at {}",
            coords::shorten(&file.path)
        )));
    }
    for tag in &claim.pointers {
        coords::check_tag(tag)?;
    }
    // The digests are read again from what is stored: the claim's own are only a wish.
    let digests = door.digests(&file.digests.sha256).await?;
    let dist = claim.meta.get("dist").cloned().unwrap_or_default();
    check_vouched(&dist, &digests, package, version)?;
    inspect::check_tarball(door, &digests.sha256, package, version).await.map_err(as_verification)?;
    let release = proofs::Release { package, version, dist: &dist, digests: &digests };
    let meta = proofs::check_again(&release, &file.meta)?;
    let mut draft = claim.clone();
    draft.files = vec![DraftFile { digests, meta, ..file.clone() }];
    Ok(draft)
}

/// A broken archive in a transfer is a failed verification, not a client's wrong input.
fn as_verification(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Invalid => {
            Error::verification(error.code(), error.message().to_owned()).with_source(error)
        }
        _ => error,
    }
}
