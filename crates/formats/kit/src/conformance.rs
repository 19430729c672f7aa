//! A repository in memory, and the tests that every format passes.
//!
//! [`MemoryRepository`] is a [`View`] and a [`Door`] that applies [`Change`]s as the real gate does
//! (immutability of paths, yanks, pointers) so that a format's crate can be tested alone. It keeps
//! small test data only; it must never be used by the product.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Write as _,
    sync::Mutex,
};

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_types::{Digests, Error, Result, Sha256, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::{
    Accepted, Answer, Body, ByteStream, Change, Connection, Document, DocumentRef, Door, DraftFile, Fetched,
    FileRef, Format, PackageView, PointerView, Query, ReleaseState, ReleaseView, RepositoryKind,
    RepositoryView, Request, Route, Upload, Upstream, View,
};

type DigestFn = fn(&[u8]) -> Digests;

/// A repository in memory.
pub struct MemoryRepository {
    info: RepositoryView,
    digest: DigestFn,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    blobs: HashMap<Sha256, Bytes>,
    packages: BTreeMap<String, PackageView>,
    documents: HashMap<String, (DocumentRef, Bytes)>,
    /// The documents that each package's last rendering gave: what it no longer gives, goes.
    rendered: HashMap<Option<String>, Vec<String>>,
    given: Vec<String>,
}

impl MemoryRepository {
    /// An empty repository with the public address `base`.
    #[must_use]
    pub fn new(name: &str, kind: RepositoryKind, base: &str) -> Self {
        Self {
            info: RepositoryView { name: name.into(), kind, base: base.into() },
            digest: digests_of,
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test panics while holding the lock")
    }

    /// Applies changes as the gate would, then renders every package that they touch.
    ///
    /// # Errors
    /// `Conflict` for a path that exists with other bytes; `NotFound` for a yank of nothing.
    pub async fn commit(&self, format: &dyn Format, changes: &[Change]) -> Result<()> {
        let mut dirty = Vec::new();
        for change in changes {
            dirty.push(self.apply(format, change)?);
        }
        for package in dirty.iter().map(|p| Some(p.as_str())).chain([None]) {
            let documents = format.render(package, self).await?;
            let paths = documents.iter().map(|document| document.path.clone()).collect();
            let mut inner = self.lock();
            for old in inner.rendered.insert(package.map(str::to_owned), paths).unwrap_or_default() {
                inner.documents.remove(&old);
            }
            for Document { path, media_type, bytes } in documents {
                let sha256 = Sha256::of(&bytes);
                let size = bytes.len() as u64;
                let entry = DocumentRef { path: path.clone(), media_type, sha256, size };
                inner.documents.insert(path, (entry, bytes.into()));
            }
        }
        Ok(())
    }

    fn apply(&self, format: &dyn Format, change: &Change) -> Result<String> {
        let mut inner = self.lock();
        let release = |inner: &mut Inner, package: &str, version: &str, edit: &dyn Fn(&mut ReleaseView)| {
            let found = inner
                .packages
                .get_mut(package)
                .and_then(|p| p.releases.iter_mut().find(|r| r.version == version));
            found.map(edit).ok_or_else(|| Error::not_found(format!("{package} {version} is not here")))
        };
        match change {
            Change::Release(draft) => {
                let path_taken = |inner: &Inner, file: &DraftFile| {
                    let mut all = inner.packages.values().flat_map(|p| &p.releases).flat_map(|r| &r.files);
                    all.any(|f| f.path == file.path && f.sha256 != file.digests.sha256)
                };
                if let Some(file) = draft.files.iter().find(|f| path_taken(&inner, f)) {
                    return Err(Error::conflict(
                        "immutable",
                        format!("{} exists with other bytes", file.path),
                    ));
                }
                let package = inner.packages.entry(draft.package.clone()).or_insert_with(|| PackageView {
                    key: draft.package.clone(),
                    display: draft.display.clone(),
                    releases: Vec::new(),
                    pointers: Vec::new(),
                });
                let added = Timestamp::from_seconds(1_767_225_600);
                if !package.releases.iter().any(|r| r.version == draft.version) {
                    package.releases.push(ReleaseView {
                        version: draft.version.clone(),
                        state: ReleaseState::Admitted,
                        yank_reason: String::new(),
                        meta: draft.meta.clone(),
                        published: draft.published.unwrap_or(added),
                        files: Vec::new(),
                    });
                    package.releases.sort_by(|a, b| format.compare_versions(&a.version, &b.version));
                }
                if let Some(release) = package.releases.iter_mut().find(|r| r.version == draft.version) {
                    if let Some(reason) = &draft.yanked {
                        release.state = ReleaseState::Yanked;
                        release.yank_reason.clone_from(reason);
                    }
                    for file in &draft.files {
                        release.files.retain(|f| f.path != file.path);
                        release.files.push(FileRef {
                            path: file.path.clone(),
                            role: file.role.clone(),
                            sha256: file.digests.sha256,
                            size: file.digests.size,
                            digests: file.digests.clone(),
                            meta: file.meta.clone(),
                            added,
                        });
                    }
                    release.files.sort_by(|a, b| a.path.cmp(&b.path));
                }
                for name in &draft.pointers {
                    set_pointer(package, name, Some(&draft.version));
                }
                Ok(draft.package.clone())
            }
            Change::Pointer { package, name, version } => {
                let found = inner.packages.get_mut(package);
                let found = found.ok_or_else(|| Error::not_found(format!("{package} is not here")))?;
                set_pointer(found, name, version.as_deref());
                Ok(package.clone())
            }
            Change::Yank { package, version, reason } => {
                release(&mut inner, package, version, &|r| {
                    r.state = ReleaseState::Yanked;
                    r.yank_reason.clone_from(reason);
                })?;
                Ok(package.clone())
            }
            Change::Unyank { package, version } => {
                release(&mut inner, package, version, &|r| {
                    r.state = ReleaseState::Admitted;
                    r.yank_reason.clear();
                })?;
                Ok(package.clone())
            }
            Change::Metadata { package, version, meta } => {
                release(&mut inner, package, version, &|r| r.meta.clone_from(meta))?;
                Ok(package.clone())
            }
            Change::Withdraw { package, version } => {
                if let Some(found) = inner.packages.get_mut(package) {
                    found.releases.retain(|r| r.version != *version);
                    found.pointers.retain(|p| p.version != *version);
                }
                Ok(package.clone())
            }
        }
    }

    /// Asks as a client would: routes, serves, and reads the body whole. Errors come back in the
    /// format's own shape.
    pub async fn get(
        &self,
        format: &dyn Format,
        path_and_query: &str,
        accept: &str,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let request = self.request(Method::GET, path_and_query, &[("accept", accept)]);
        let answer = match format.route(&request) {
            Some(route) => {
                let settled = match format.settle(&request, &route, self).await {
                    Ok(route) => format.serve(&request, &route, self).await,
                    Err(error) => Err(error),
                };
                settled.unwrap_or_else(|error| format.error(&error))
            }
            None => format.error(&Error::not_found(format!("no such address: {path_and_query}"))),
        };
        let Answer { status, headers, body } = answer;
        let bytes = match body {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes,
            Body::Blob { sha256, .. } => self.lock().blobs.get(&sha256).cloned().unwrap_or_default(),
            Body::Document(document) => {
                self.lock().documents.get(&document.path).map(|(_, b)| b.clone()).unwrap_or_default()
            }
        };
        (status, headers, bytes)
    }

    /// Publishes as a client would and commits what the format decided.
    ///
    /// # Errors
    /// What the format or the gate refused.
    pub async fn publish(
        &self,
        format: &dyn Format,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let request = self.request(method, path, headers);
        let route =
            format.route(&request).ok_or_else(|| Error::not_found(format!("no such address: {path}")))?;
        let body: Bytes = body.into();
        let chunks: Vec<Result<Bytes>> = body.chunks(997).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let body = futures::stream::iter(chunks).boxed();
        let Accepted { changes, answer } = format.accept(Upload { request, route, body }, self, self).await?;
        self.commit(format, &changes).await?;
        Ok(answer)
    }

    /// A request for this repository.
    ///
    /// # Panics
    /// When a test gives a header that is none.
    #[must_use]
    pub fn request(&self, method: Method, path_and_query: &str, headers: &[(&str, &str)]) -> Request {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let headers = header_map(headers);
        Request {
            method,
            path: path.into(),
            query: Query::parse(query),
            raw_query: query.into(),
            headers,
            base: self.info.base.clone(),
            body: Bytes::new(),
        }
    }

    /// From now on every request is one of a recording that was given this committed path.
    pub fn give(&self, path: &str) {
        self.lock().given.push(path.into());
    }

    /// The number of stored blobs, to prove that a refused upload is known to nobody.
    #[must_use]
    pub fn package_count(&self) -> usize {
        self.lock().packages.len()
    }
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let pairs = headers.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        (name, HeaderValue::from_str(value).expect("a header value"))
    });
    pairs.collect()
}

fn set_pointer(package: &mut PackageView, name: &str, version: Option<&str>) {
    package.pointers.retain(|p| p.name != name);
    if let Some(version) = version {
        package.pointers.push(PointerView { name: name.into(), version: version.into() });
        package.pointers.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

/// All digests of bytes in memory.
#[must_use]
pub fn digests_of(bytes: &[u8]) -> Digests {
    use blake2::digest::consts::U32;
    use sha2::Digest as _;
    Digests {
        sha256: Sha256::of(bytes),
        size: bytes.len() as u64,
        sha512: hex::encode(sha2::Sha512::digest(bytes)),
        sha1: hex::encode(sha1::Sha1::digest(bytes)),
        md5: hex::encode(md5::Md5::digest(bytes)),
        blake2b_256: hex::encode(blake2::Blake2b::<U32>::digest(bytes)),
    }
}

#[async_trait]
impl View for MemoryRepository {
    fn repository(&self) -> &RepositoryView {
        &self.info
    }

    async fn document(&self, path: &str) -> Result<Option<DocumentRef>> {
        Ok(self.lock().documents.get(path).map(|(d, _)| d.clone()))
    }

    async fn file(&self, path: &str) -> Result<Option<FileRef>> {
        let inner = self.lock();
        let mut files = inner.packages.values().flat_map(|p| &p.releases).flat_map(|r| &r.files);
        Ok(files.find(|f| f.path == path).cloned())
    }

    async fn package(&self, key: &str) -> Result<Option<PackageView>> {
        Ok(self.lock().packages.get(key).filter(|p| !p.releases.is_empty()).cloned())
    }

    async fn packages(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, String)>> {
        let inner = self.lock();
        let visible = inner.packages.values().filter(|p| !p.releases.is_empty());
        let later = visible.filter(|p| after.is_none_or(|a| p.key.as_str() > a));
        Ok(later.take(limit).map(|p| (p.key.clone(), p.display.clone())).collect())
    }

    async fn search(&self, text: &str, limit: usize) -> Result<Vec<String>> {
        let inner = self.lock();
        let hits = inner.packages.values().filter(|p| p.key.contains(text) || p.display.contains(text));
        Ok(hits.take(limit).map(|p| p.key.clone()).collect())
    }

    async fn below(&self, prefix: &str) -> Result<Vec<FileRef>> {
        let inner = self.lock();
        let mut releases: Vec<_> = inner.packages.values().flat_map(|p| &p.releases).collect();
        releases.sort_by_key(|r| r.published);
        let files = releases.into_iter().flat_map(|r| &r.files);
        Ok(files.filter(|f| f.path.starts_with(prefix)).cloned().collect())
    }

    async fn given(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.lock().given.iter().filter(|path| path.starts_with(prefix)).cloned().collect())
    }

    async fn read(&self, sha256: &Sha256) -> Result<Bytes> {
        let found = self.lock().blobs.get(sha256).cloned();
        found.ok_or_else(|| Error::not_found(format!("no blob {sha256}")))
    }
}

#[async_trait]
impl Door for MemoryRepository {
    async fn put(&self, mut body: ByteStream, limit: u64) -> Result<Digests> {
        let mut bytes = Vec::new();
        while let Some(chunk) = body.try_next().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > limit {
                let text = format!("the upload is larger than {limit} bytes");
                return Err(Error::new(cofferdam_types::ErrorKind::TooLarge, "upload-too-large", text));
            }
        }
        let digests = (self.digest)(&bytes);
        self.lock().blobs.insert(digests.sha256, bytes.into());
        Ok(digests)
    }

    async fn digests(&self, sha256: &Sha256) -> Result<Digests> {
        self.read(sha256).await.map(|bytes| (self.digest)(&bytes))
    }

    async fn file(&self, sha256: &Sha256) -> Result<File> {
        let bytes = self.read(sha256).await?;
        let mut file = tempfile::tempfile().map_err(|e| Error::io("opening a test file", e))?;
        file.write_all(&bytes).map_err(|e| Error::io("writing a test file", e))?;
        std::io::Seek::rewind(&mut file).map_err(|e| Error::io("rewinding a test file", e))?;
        Ok(file)
    }
}

/// An upstream that answers from a table. Addresses are relative to its root or absolute.
pub struct MemoryUpstream {
    root: String,
    answers: HashMap<String, (StatusCode, HeaderMap, Bytes)>,
    asked: Mutex<Vec<String>>,
    connection: Option<Connection>,
}

impl MemoryUpstream {
    /// An upstream at `root` (with a trailing slash).
    #[must_use]
    pub fn new(root: &str) -> Self {
        Self { root: root.into(), answers: HashMap::new(), asked: Mutex::default(), connection: None }
    }

    /// Says this of its connections.
    #[must_use]
    pub fn over(self, connection: Connection) -> Self {
        Self { connection: Some(connection), ..self }
    }

    /// Adds an answer; `url` is absolute or relative to the root.
    #[must_use]
    pub fn with(self, url: &str, media_type: &str, bytes: impl Into<Bytes>) -> Self {
        self.with_answer(url, StatusCode::OK, &[("content-type", media_type)], bytes)
    }

    /// Adds an answer with its status and headers.
    ///
    /// # Panics
    /// When a test gives a header that is none.
    #[must_use]
    pub fn with_answer(
        mut self,
        url: &str,
        status: StatusCode,
        headers: &[(&str, &str)],
        bytes: impl Into<Bytes>,
    ) -> Self {
        self.answers.insert(self.absolute(url), (status, header_map(headers), bytes.into()));
        self
    }

    fn absolute(&self, url: &str) -> String {
        if url.contains("://") { url.into() } else { format!("{}{url}", self.root) }
    }

    /// Every address asked so far.
    ///
    /// # Panics
    /// Never, unless another thread of the test panicked.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test panics while holding the lock").clone()
    }
}

#[async_trait]
impl Upstream for MemoryUpstream {
    fn root(&self) -> &str {
        &self.root
    }

    async fn get(&self, url: &str, _accept: Option<&str>) -> Result<Fetched> {
        let url = self.absolute(url);
        self.asked.lock().expect("no test panics while holding the lock").push(url.clone());
        let (status, headers, bytes) = self.answers.get(&url).cloned().unwrap_or_else(|| {
            let headers = header_map(&[("content-type", "text/plain")]);
            (StatusCode::NOT_FOUND, headers, Bytes::from_static(b"not found"))
        });
        let body = futures::stream::once(async move { Ok(bytes) }).boxed();
        let connection = self.connection.clone();
        Ok(Fetched { status, headers, url, body, connection })
    }
}

/// What every format must do whatever its ecosystem. Call it from the format's tests with a
/// repository that holds at least one release.
///
/// # Panics
/// When the format breaks a rule; the message names the rule.
pub async fn check(format: &dyn Format, repository: &MemoryRepository) {
    for trick in ["/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/a/..%2f..%2fb", "/a%00b", "//", "/%ff%fe"]
    {
        let (status, _, _) = repository.get(format, trick, "*/*").await;
        assert!(status.is_client_error(), "{}: the path trick {trick} was answered {status}", format.name());
    }
    let names = repository.packages(None, 1000).await.expect("the view lists its packages");
    assert!(!names.is_empty(), "{}: give check() a repository with a release", format.name());
    for package in names.iter().map(|(key, _)| Some(key.as_str())).chain([None]) {
        let once = format.render(package, repository).await.expect("rendering works");
        let again = format.render(package, repository).await.expect("rendering works again");
        assert_eq!(once, again, "{}: rendering {package:?} is not deterministic", format.name());
    }
    for (key, display) in &names {
        assert_eq!(&format.package_key(display).expect("a committed name is valid"), key);
        assert_eq!(&format.package_key(key).expect("a key is its own key"), key);
        let package = repository.package(key).await.expect("the view works").expect("the package is there");
        for file in package.releases.iter().flat_map(|r| &r.files) {
            let request = repository.request(Method::GET, &format!("/{}", file.path), &[]);
            let route = format.route(&request);
            assert!(
                matches!(&route, Some(Route::File { path, .. }) if *path == file.path),
                "{}: GET /{} is not a file route but {route:?}",
                format.name(),
                file.path
            );
        }
    }
    for (_, display) in &names {
        check_listed(format, repository, display).await;
    }
    let error = format.error(&Error::internal("row 7", std::io::Error::other("secret")));
    assert!(error.status.is_server_error(), "{}: a fault of ours is a 5xx", format.name());
    if let Body::Bytes(text) = error.body {
        assert!(
            !String::from_utf8_lossy(&text).contains("secret"),
            "{}: an internal cause was shown",
            format.name()
        );
    }
}

/// What an index lists can be fetched where it says, has the bytes that it says, and is every release.
async fn check_listed(format: &dyn Format, repository: &MemoryRepository, name: &str) {
    let Some(path) = format.index_path(name) else { return };
    let who = format.name();
    let accept = format.index_accept().unwrap_or("*/*");
    let (status, _, index) = repository.get(format, &format!("/{path}"), accept).await;
    assert_eq!(status, StatusCode::OK, "{who}: the index of {name} is not at /{path}");
    let files = format.listed(name, &index).expect("our own index can be read");
    let ordered = files.is_sorted_by(|a, b| format.compare_versions(&a.version, &b.version).is_le());
    assert!(ordered, "{who}: the files of {name} are not listed oldest first");
    for file in &files {
        let (status, _, bytes) = repository.get(format, &format!("/{}", file.path), "*/*").await;
        assert_eq!(status, StatusCode::OK, "{who}: the listed /{} cannot be fetched", file.path);
        assert!(file.size.is_none_or(|size| size == bytes.len() as u64), "{who}: {file:?} has another size");
        let digests = digests_of(&bytes);
        let known = [
            format!("sha256:{}", digests.sha256.to_hex()),
            format!("sha512:{}", digests.sha512),
            format!("sha1:{}", digests.sha1),
        ];
        assert!(!file.digests.is_empty(), "{who}: nobody vouches for {}", file.path);
        let wrong = file.digests.iter().find(|d| !known.contains(d));
        assert_eq!(wrong, None, "{who}: {} has another digest", file.path);
    }
    let key = format.package_key(name).expect("a committed name is valid");
    let package = repository.package(&key).await.expect("the view works").expect("the package is there");
    for release in &package.releases {
        let listed = files.iter().any(|file| file.version == release.version);
        assert!(listed, "{who}: {name} {} is not listed", release.version);
    }
}
