//! A large tarball goes through a publish without being held.

use std::{
    fs::File,
    io::{Read, Seek, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use cofferdam_format_kit::{
    ByteStream, Change, Door, Format as _, RepositoryKind, Route, Upload, conformance::MemoryRepository,
};
use cofferdam_format_npm::Npm;
use cofferdam_types::{Digests, Result, Sha256, Sha256Hasher};
use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;

/// What may be on its way between the network and the door, in bytes.
const BOUND: u64 = 512 << 10;

/// Writes to a file and watches how far the request is ahead of it.
struct CountingDoor {
    file: Mutex<File>,
    sent: Arc<AtomicU64>,
    most: AtomicU64,
}

#[async_trait]
impl Door for CountingDoor {
    async fn put(&self, mut body: ByteStream, _limit: u64) -> Result<Digests> {
        let mut hasher = Sha256Hasher::default();
        let mut size = 0;
        while let Some(chunk) = body.try_next().await? {
            let behind = self.sent.load(Ordering::SeqCst).saturating_sub(size * 4 / 3);
            self.most.fetch_max(behind, Ordering::SeqCst);
            size += chunk.len() as u64;
            hasher.update(&chunk);
            self.file.lock().unwrap().write_all(&chunk).unwrap();
        }
        let none = String::new;
        let (sha512, sha1, md5, blake2b_256) = (none(), none(), none(), none());
        Ok(Digests { sha256: hasher.finish(), size, sha512, sha1, md5, blake2b_256 })
    }

    async fn digests(&self, _sha256: &Sha256) -> Result<Digests> {
        unreachable!("a publish knows its digests")
    }

    async fn file(&self, _sha256: &Sha256) -> Result<File> {
        let mut file = self.file.lock().unwrap().try_clone().unwrap();
        file.rewind().unwrap();
        Ok(file)
    }
}

/// A tarball of 50 MB that does not compress.
fn large_tarball() -> File {
    let gz = flate2::write::GzEncoder::new(tempfile::tempfile().unwrap(), flate2::Compression::none());
    let mut tar = tar::Builder::new(gz);
    let manifest = br#"{"name":"large","version":"1.0.0"}"#;
    let mut add = |path: &str, size: u64, data: &mut dyn Read| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, data).unwrap();
    };
    add("package/package.json", manifest.len() as u64, &mut &manifest[..]);
    add("package/data.bin", 50 << 20, &mut std::io::repeat(0x5a).take(50 << 20));
    let mut file = tar.into_inner().unwrap().finish().unwrap();
    file.rewind().unwrap();
    file
}

#[tokio::test]
async fn fifty_megabytes_are_never_held() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let head = r#"{"name":"large","_attachments":{"large-1.0.0.tgz":{"data":""#;
    let tail =
        r#""}},"versions":{"1.0.0":{"name":"large","version":"1.0.0"}},"dist-tags":{"latest":"1.0.0"}}"#;
    let mut tarball = large_tarball();
    let middle = std::iter::from_fn(move || {
        let mut piece = Vec::new();
        (&mut tarball).take(48 << 10).read_to_end(&mut piece).unwrap();
        (!piece.is_empty()).then(|| STANDARD.encode(&piece))
    });
    let all = std::iter::once(head.to_owned()).chain(middle).chain([tail.to_owned()]);
    let body = futures::stream::iter(all.map(move |text| {
        count.fetch_add(text.len() as u64, Ordering::SeqCst);
        Ok(Bytes::from(text))
    }));
    let file = Mutex::new(tempfile::tempfile().unwrap());
    let door = CountingDoor { file, sent, most: AtomicU64::new(0) };
    let view = MemoryRepository::new("js", RepositoryKind::Hosted, "http://site.example/r/js");
    let request = view.request(Method::PUT, "/large", &[]);
    let upload = Upload { request, route: Route::Publish("publish"), body: body.boxed() };

    let accepted = Npm.accept(upload, &view, &door).await.unwrap();
    let [Change::Release(draft)] = accepted.changes.as_slice() else { panic!("one release is expected") };
    assert!(draft.files[0].digests.size > 50 << 20);
    let most = door.most.load(Ordering::SeqCst);
    assert!(most <= BOUND, "{most} bytes were held between the network and the door");
}
