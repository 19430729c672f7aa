//! Uploads that fail for reasons that nobody put into the form: a full disk, a lost connection.

use std::fs::File;

use async_trait::async_trait;
use bytes::Bytes;
use cofferdam_format_kit::{ByteStream, Door, Format as _, Upload, conformance::MemoryRepository};
use cofferdam_format_pypi::PyPi;
use cofferdam_types::{Digests, Error, ErrorKind, Result, Sha256};
use futures::{StreamExt as _, TryStreamExt as _};
use http::Method;

use crate::bytes::{Form, hosted, wheel};

/// A disk that is full once the file has arrived.
struct FullDisk;

#[async_trait]
impl Door for FullDisk {
    async fn put(&self, mut body: ByteStream, _limit: u64) -> Result<Digests> {
        while body.try_next().await?.is_some() {}
        Err(Error::io("storing a blob", std::io::Error::from(std::io::ErrorKind::StorageFull)))
    }

    async fn digests(&self, sha256: &Sha256) -> Result<Digests> {
        Err(Error::not_found(sha256.to_hex()))
    }

    async fn file(&self, sha256: &Sha256) -> Result<File> {
        Err(Error::not_found(sha256.to_hex()))
    }
}

async fn upload(chunks: Vec<Result<Bytes>>, repository: &MemoryRepository, door: &dyn Door) -> Error {
    let headers = [("content-type", "multipart/form-data; boundary=edge")];
    let request = repository.request(Method::POST, "/legacy/", &headers);
    let route = PyPi.route(&request).expect("the route of uploads");
    let body = futures::stream::iter(chunks).boxed();
    PyPi.accept(Upload { request, route, body }, repository, door).await.expect_err("this cannot work")
}

#[tokio::test]
async fn a_full_disk_is_told_as_such() {
    let body = Form::wheel("foo", "1.0", wheel("foo", "1.0")).body();
    let error = upload(vec![Ok(body.into())], &hosted(), &FullDisk).await;
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(PyPi.error(&error).status, 507);
}

#[tokio::test]
async fn a_lost_connection_keeps_its_own_reason_wherever_it_breaks() {
    let repository = hosted();
    let body = Form::wheel("foo", "1.0", wheel("foo", "1.0")).body();
    for cut in [0, 40, body.len() / 2, body.len() - 20] {
        let lost = Error::new(ErrorKind::Unavailable, "connection-lost", "the connection was lost");
        let chunks = vec![Ok(Bytes::copy_from_slice(&body[..cut])), Err(lost)];
        let error = upload(chunks, &repository, &repository).await;
        assert_eq!(error.code(), "connection-lost", "cut at {cut}: {error:?}");
    }
    assert_eq!(repository.package_count(), 0);
}
