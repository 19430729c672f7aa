//! The connected side: upstream's pages and files, with upstream's own digests checked; and what
//! comes out of a transfer, which is believed in nothing that its bytes can say.

use std::collections::HashMap;

use cofferdam_format_kit::{
    Answer, Change, Door, Draft, DraftFile, Fetched, Recorded, Request, Route, Upstream, View, Want,
    proofs as kit,
};
use cofferdam_types::{Digests, Error, ErrorKind, Result, Sha256, Timestamp};
use http::{StatusCode, header};
use url::Url;

use crate::{
    coords::{self, Filename, Kind, normalise, same_version, shown},
    error::UPSTREAM_DIGEST,
    index::{FileEntry, JSON_V1, Presence, ProjectPage, relative_url},
    inspect::{self, FileMeta, Inspected},
    links, proofs,
    publish::FILE_LIMIT,
};

/// What we ask upstream for: JSON where it has it.
const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";
/// Bytes of an upstream index page at the most.
const PAGE_LIMIT: usize = 128 << 20;
/// Bytes of a metadata file at the most.
const METADATA_LIMIT: usize = 16 << 20;
/// Characters of a reason or a `Requires-Python` at the most.
const TEXT_LIMIT: usize = 4096;

/// Files of one package that are asked at one time whether they are attested by now.
const MOST_NEWLY_PROVED: usize = 50;

/// What upstream is to be asked for.
pub(crate) fn want(route: &Route) -> Option<Want> {
    match route {
        Route::Document { package: Some(key), .. } => Some(Want::Index { package: Some(key.clone()) }),
        Route::File { path, package: Some(key) } => {
            Some(Want::File { package: key.clone(), path: path.clone() })
        }
        _ => None,
    }
}

/// Whether the request is one that only a redirect answers, for which upstream is not asked.
pub(crate) fn is_redirect(request: &Request, route: &Route) -> bool {
    matches!(route, Route::Document { path, .. } if request.path != format!("/{path}/"))
}

/// Brings a wanted thing.
pub(crate) async fn record(
    want: &Want,
    view: &dyn View,
    upstream: &dyn Upstream,
    door: &dyn Door,
) -> Result<Recorded> {
    match want {
        Want::Index { package: Some(key) } => {
            let page = Page::fetch(key, upstream).await?;
            let changes = page.newly_proved(view, upstream).await?;
            Ok(Recorded { changes, answer: Some(page.live()), ..Recorded::default() })
        }
        Want::Index { package: None } | Want::Address { .. } => Ok(Recorded::default()),
        Want::File { package, path } => record_file(package, path, view, upstream, door).await,
    }
}

async fn record_file(
    key: &str,
    path: &str,
    view: &dyn View,
    upstream: &dyn Upstream,
    door: &dyn Door,
) -> Result<Recorded> {
    if view.file(path).await?.is_some() {
        return Ok(Recorded::default());
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    let page = Page::naming(name.strip_suffix(".metadata").unwrap_or(name), key, upstream).await?;
    if let Some(wheel) = name.strip_suffix(".metadata") {
        // Resolvers read the metadata of many versions and install one. Only the wheel that is
        // downloaded belongs to the collection, so this answer is live and commits nothing.
        let bytes = page.metadata(wheel, upstream).await?;
        let answer = Answer::bytes(StatusCode::OK, "text/plain; charset=utf-8", bytes);
        return Ok(Recorded { answer: Some(answer), ..Recorded::default() });
    }
    let draft = page.release(name, view, upstream, door).await?;
    Ok(Recorded { changes: vec![Change::Release(draft)], ..Recorded::default() })
}

/// An upstream project page: the files whose names we can judge, with absolute addresses.
struct Page {
    key: String,
    versions: Vec<String>,
    files: Vec<(Filename, FileEntry)>,
}

impl Page {
    /// The page as it is now.
    async fn fetch(key: &str, upstream: &dyn Upstream) -> Result<Self> {
        let key = normalise(key)?;
        let fetched = upstream.get(&format!("{key}/"), Some(ACCEPT)).await?;
        Self::read(key, fetched).await
    }

    /// The page that the client read a moment ago, if it names the file, else as it is now.
    async fn naming(file: &str, key: &str, upstream: &dyn Upstream) -> Result<Self> {
        let key = normalise(key)?;
        let fetched = upstream.recent(&format!("{key}/"), ACCEPT).await?;
        let page = Self::read(key.clone(), fetched).await?;
        match page.find(file) {
            Ok(_) => Ok(page),
            Err(_) => Self::fetch(&key, upstream).await,
        }
    }

    async fn read(key: String, fetched: Fetched) -> Result<Self> {
        let fetched = found(fetched, &format!("the package `{key}`"))?;
        let base = fetched.url.clone();
        let media_type = fetched.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let is_json = media_type.is_some_and(|t| t.split(';').next().unwrap_or(t).trim().ends_with("json"));
        let bytes = fetched.bytes(PAGE_LIMIT).await?;
        let (base, versions, entries) = if is_json {
            let page: ProjectPage = serde_json::from_slice(&bytes)
                .map_err(|error| unreadable(&base, &format!("its JSON is not a project page: {error}")))?;
            if page.meta.api_version.split('.').next() != Some("1") {
                return Err(unreadable(
                    &base,
                    &format!("it has API version {}", shown(&page.meta.api_version)),
                ));
            }
            (base, page.versions, page.files)
        } else {
            let page = links::parse(&String::from_utf8_lossy(&bytes), &base);
            (page.base, Vec::new(), page.files)
        };
        let base = Url::parse(&base).map_err(|_| unreadable(&base, "its address is not absolute"))?;
        Ok(Self { files: judged(&key, &base, entries), key, versions })
    }

    /// The page for the client: our addresses, and only files that could be recorded.
    fn live(self) -> Answer {
        let key = self.key;
        let mut versions = self.versions;
        if versions.is_empty() {
            versions = self.files.iter().map(|(name, _)| coords::stored_version(&name.version)).collect();
        }
        versions.retain(|v| coords::check_version(v).is_ok());
        versions.sort_by(|a, b| coords::compare_versions(a, b));
        versions.dedup();
        let ours = |(name, entry): (Filename, FileEntry)| FileEntry {
            url: relative_url(&key, &name.text),
            dist_info_metadata: entry.core_metadata.clone(),
            ..entry
        };
        let files = self.files.into_iter().map(ours).collect();
        let page = ProjectPage::new(&key, versions, files);
        Answer::bytes(StatusCode::OK, JSON_V1, page.to_json())
            .with_header(header::VARY, "Accept")
            .with_header(header::CACHE_CONTROL, "no-cache")
    }

    fn find(&self, filename: &str) -> Result<(&Filename, &FileEntry)> {
        let found = self.files.iter().find(|(name, _)| name.text == filename);
        found.map(|(name, entry)| (name, entry)).ok_or_else(|| {
            Error::not_found(format!("upstream has no file `{}` of `{}`", shown(filename), self.key))
        })
    }

    /// Files that are here without attestations, for which upstream has some by now. One that does not hold is none: the
    /// page lists files that nobody asked for, and they must not stop who asked for another.
    async fn newly_proved(&self, view: &dyn View, upstream: &dyn Upstream) -> Result<Vec<Change>> {
        let attested = |entry: &FileEntry| entry.provenance.as_ref()?.as_str().map(str::to_owned);
        let all: HashMap<String, (&Filename, String)> =
            self.files.iter().filter_map(|(name, e)| Some((name.path(), (name, attested(e)?)))).collect();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let Some(package) = view.package(&self.key).await? else { return Ok(Vec::new()) };
        let held =
            package.releases.iter().flat_map(|release| release.files.iter().map(move |f| (release, f)));
        let bare = held.filter(|(_, file)| kit::of(&file.meta).next().is_none());
        let waiting = bare.filter_map(|(release, file)| Some((release, file, all.get(&file.path)?)));
        let waiting: Vec<_> = waiting.take(MOST_NEWLY_PROVED).collect();
        let mut changes = Vec::new();
        for (release, file, (name, url)) in waiting {
            let proofs = match proofs::gather(url, name, &file.sha256, upstream).await {
                Ok(proofs) if proofs.is_empty() => continue,
                Ok(proofs) => proofs,
                Err(error) => {
                    tracing::warn!(file = %file.path, %error, "upstream's new attestation is not taken");
                    continue;
                }
            };
            let meta = FileMeta { proofs, ..FileMeta::of(&file.meta) }.to_value();
            changes.push(Change::Release(release.proving(&package, file, meta)));
        }
        Ok(changes)
    }

    /// The metadata of a wheel, without the wheel.
    async fn metadata(&self, wheel: &str, upstream: &dyn Upstream) -> Result<bytes::Bytes> {
        let (name, entry) = self.find(wheel)?;
        let hashes = match &entry.core_metadata {
            Some(Presence::Hashes(hashes)) => Some(hashes),
            Some(Presence::Flag(true)) => None,
            Some(Presence::Flag(false)) | None => {
                return Err(Error::not_found(format!("upstream has no metadata beside `{}`", name.text)));
            }
        };
        let fetched = upstream.get(&format!("{}.metadata", entry.url), None).await?;
        let bytes = found(fetched, &format!("`{}.metadata`", name.text))?.bytes(METADATA_LIMIT).await?;
        let actual = Sha256::of(&bytes).to_hex();
        match hashes.and_then(|h| h.get("sha256")) {
            Some(claimed) if !claimed.eq_ignore_ascii_case(&actual) => {
                Err(mismatch(&format!("{}.metadata", name.text), "sha256", claimed, &actual))
            }
            _ => Ok(bytes),
        }
    }

    /// The release that a file belongs to, with that file and its metadata.
    async fn release(
        &self,
        filename: &str,
        view: &dyn View,
        upstream: &dyn Upstream,
        door: &dyn Door,
    ) -> Result<Draft> {
        let (name, entry) = self.find(filename)?;
        let fetched = found(upstream.get(&entry.url, None).await?, &format!("`{}`", name.text))?;
        let digests = door.put(fetched.body, FILE_LIMIT).await?;
        check_digests(name, entry, &digests)?;
        let inspected = inspect::inspect(door, &digests, name).await?;
        let proofs = match entry.provenance.as_ref().and_then(|p| p.as_str()) {
            Some(url) => proofs::gather(url, name, &digests.sha256, upstream).await?,
            None => Vec::new(),
        };
        let same = |v: &str| same_version(v, &inspected.version);
        let all_yanked =
            self.files.iter().filter(|(n, _)| same(&n.version)).all(|(_, e)| e.yanked.reason().is_some());
        let yanked = entry.yanked.reason().map(|r| clean(&r));
        let upload_time = entry.upload_time.as_deref().and_then(Timestamp::parse);
        let meta = FileMeta {
            requires_python: inspected.requires_python.clone().or_else(|| entry.requires_python.clone()),
            upload_time,
            yanked: yanked.clone().filter(|_| !all_yanked),
            proofs,
        };
        let package = view.package(&self.key).await?;
        let known = package.as_ref().and_then(|p| p.releases.iter().find(|r| same(&r.version)));
        let files = inspect::draft_files(door, name, digests, &inspected, &meta).await?;
        if let Some(metadata) = files.iter().find(|f| f.role == "metadata") {
            check_metadata_digest(entry, metadata)?;
        }
        Ok(Draft {
            package: self.key.clone(),
            display: package.as_ref().map_or_else(|| inspected.display.clone(), |p| p.display.clone()),
            version: known.map_or_else(|| coords::stored_version(&inspected.version), |r| r.version.clone()),
            meta: inspected.meta,
            files,
            pointers: Vec::new(),
            published: upload_time,
            yanked: yanked.filter(|_| all_yanked),
        })
    }
}

/// Keeps the files of this package whose kind we can look into. Eggs, installers and other old
/// kinds are left out: no current client installs them.
fn judged(key: &str, base: &Url, entries: Vec<FileEntry>) -> Vec<(Filename, FileEntry)> {
    let judge = |entry: FileEntry| {
        let name = Filename::parse(&entry.filename, key).ok()?;
        let mut url = base.join(&entry.url).ok()?;
        url.set_fragment(None);
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        let core_metadata = entry.core_metadata.or(entry.dist_info_metadata);
        let core_metadata = core_metadata.filter(|p| name.kind == Kind::Wheel && *p != Presence::Flag(false));
        let requires_python = entry.requires_python.filter(|r| !r.is_empty()).map(|r| clean(&r));
        let url = url.to_string();
        let provenance = entry.provenance.as_ref().and_then(|p| base.join(p.as_str()?).ok());
        let provenance = provenance.filter(|u| matches!(u.scheme(), "http" | "https"));
        let provenance = provenance.map(|u| String::from(u).into());
        Some((
            name,
            FileEntry { url, provenance, core_metadata, dist_info_metadata: None, requires_python, ..entry },
        ))
    };
    entries.into_iter().filter_map(judge).collect()
}

/// One line of bounded text.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_LIMIT).collect()
}

fn found(fetched: Fetched, what: &str) -> Result<Fetched> {
    match fetched.status {
        StatusCode::OK => Ok(fetched),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(Error::not_found(format!("upstream does not have {what}")))
        }
        status => Err(Error::new(
            ErrorKind::Unavailable,
            "upstream-status",
            format!("upstream answered {status} when asked for {what}"),
        )),
    }
}

fn unreadable(url: &str, why: &str) -> Error {
    let text = format!("the index page {} cannot be used: {why}", shown(url));
    Error::new(ErrorKind::Unavailable, "upstream-index", text)
}

fn mismatch(file: &str, algorithm: &str, claimed: &str, actual: &str) -> Error {
    let text = format!("upstream says that `{file}` has {algorithm} {} and sent {actual}", shown(claimed));
    Error::verification(UPSTREAM_DIGEST, text)
        .hint("upstream, or something on the way, changed the file; nothing was kept")
}

/// Compares every digest that upstream gives and we know, and the size.
fn check_digests(name: &Filename, entry: &FileEntry, digests: &Digests) -> Result<()> {
    let sha256 = digests.sha256.to_hex();
    let known: HashMap<&str, &str> = HashMap::from([
        ("sha256", sha256.as_str()),
        ("sha512", &digests.sha512),
        ("sha1", &digests.sha1),
        ("md5", &digests.md5),
        ("blake2b_256", &digests.blake2b_256),
    ]);
    for (algorithm, claimed) in &entry.hashes {
        if let Some(actual) = known.get(algorithm.as_str()).filter(|a| !claimed.eq_ignore_ascii_case(a)) {
            return Err(mismatch(&name.text, algorithm, claimed, actual));
        }
    }
    match entry.size.filter(|size| *size != digests.size) {
        Some(size) => Err(mismatch(&name.text, "size", &size.to_string(), &digests.size.to_string())),
        None => Ok(()),
    }
}

fn check_metadata_digest(entry: &FileEntry, metadata: &DraftFile) -> Result<()> {
    let Some(Presence::Hashes(hashes)) = &entry.core_metadata else { return Ok(()) };
    let actual = metadata.digests.sha256.to_hex();
    match hashes.get("sha256").filter(|claimed| !claimed.eq_ignore_ascii_case(&actual)) {
        Some(claimed) => Err(mismatch(&metadata.path, "sha256", claimed, &actual)),
        None => Ok(()),
    }
}

/// Makes a release from a transfer's claim. Names, versions, `Requires-Python` and the metadata
/// files come from the bytes; upload times and yanks from the claim.
pub(crate) async fn admit(claim: &Draft, door: &dyn Door) -> Result<Draft> {
    let key = normalise(&claim.package)?;
    if key != claim.package || normalise(&claim.display)? != key || !claim.pointers.is_empty() {
        return Err(contradicts(claim, "its name is not in normal form, or it moves pointers"));
    }
    coords::check_version(&claim.version)?;
    let mut files: Vec<DraftFile> = Vec::new();
    let mut first: Option<Inspected> = None;
    for file in claim.files.iter().filter(|f| f.role != "metadata") {
        let (inspected, made) = admit_file(claim, file, door).await?;
        files.extend(made);
        first.get_or_insert(inspected);
    }
    for file in &claim.files {
        let same = |made: &DraftFile| made.path == file.path && made.digests == file.digests;
        if !files.iter().any(same) {
            return Err(contradicts(
                claim,
                &format!("`{}` does not follow from the bytes", shown(&file.path)),
            ));
        }
    }
    let first = first.ok_or_else(|| contradicts(claim, "it has no distribution file"))?;
    Ok(Draft {
        package: key,
        display: claim.display.clone(),
        version: claim.version.clone(),
        meta: first.meta,
        files,
        pointers: Vec::new(),
        published: claim.published,
        yanked: claim.yanked.as_deref().map(clean),
    })
}

async fn admit_file(claim: &Draft, file: &DraftFile, door: &dyn Door) -> Result<(Inspected, Vec<DraftFile>)> {
    let text = file.path.rsplit('/').next().unwrap_or_default();
    let filename = Filename::parse(text, &claim.package)?;
    let role_fits = file.role == filename.kind.role();
    if file.path != filename.path() || !role_fits || !same_version(&filename.version, &claim.version) {
        return Err(contradicts(claim, &format!("`{}` is not a file of this release", shown(&file.path))));
    }
    let digests = door.digests(&file.digests.sha256).await?;
    if digests != file.digests {
        return Err(contradicts(claim, &format!("`{}` has other digests", filename.text)));
    }
    let inspected = inspect::inspect(door, &digests, &filename).await?;
    let claimed = FileMeta::of(&file.meta);
    let meta = FileMeta {
        requires_python: inspected.requires_python.clone().or(claimed.requires_python.as_deref().map(clean)),
        // What was published by a client on the other side keeps its day there.
        upload_time: claimed.upload_time.or(claim.published),
        yanked: claimed.yanked.as_deref().map(clean),
        proofs: proofs::check_again(&file.meta, &filename, &digests.sha256)?,
    };
    let made = inspect::draft_files(door, &filename, digests, &inspected, &meta).await?;
    Ok((inspected, made))
}

fn contradicts(claim: &Draft, why: &str) -> Error {
    let what = format!("{} {}", shown(&claim.package), shown(&claim.version));
    Error::verification("claim-disagrees", format!("the claim of {what} contradicts its bytes: {why}"))
}
