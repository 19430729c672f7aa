//! Small npm packages and publish documents for the stories.
#![allow(dead_code, reason = "every test binary uses its own part")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cofferdam_format_kit::{
    Answer, RepositoryKind,
    conformance::{MemoryRepository, digests_of},
};
use cofferdam_format_npm::Npm;
use cofferdam_types::Result;
use http::Method;
use serde_json::{Value, json};

/// The media type that npm asks for when it installs.
pub const INSTALL: &str = "application/vnd.npm.install-v1+json";

/// An empty hosted repository.
pub fn hosted() -> MemoryRepository {
    MemoryRepository::new("js", RepositoryKind::Hosted, "http://site.example/r/js")
}

/// A gzip-compressed tar of these members.
pub fn tar_gz(members: &[(&str, &str)]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for (path, text) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        // Written by hand: the library refuses to build the paths that the bad-input tests need.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// A package as `npm pack` makes it.
pub fn tarball(name: &str, version: &str) -> Vec<u8> {
    let manifest = json!({ "name": name, "version": version }).to_string();
    tar_gz(&[("package/package.json", &manifest), ("package/index.js", "module.exports = 1\n")])
}

/// The SRI text of bytes.
pub fn sri(bytes: &[u8]) -> String {
    format!("sha512-{}", STANDARD.encode(hex::decode(digests_of(bytes).sha512).unwrap()))
}

/// The document that `npm publish` sends.
pub fn document(name: &str, version: &str, tag: &str, tarball: &[u8]) -> Value {
    let file = format!("{name}-{version}.tgz");
    json!({
        "_id": name,
        "name": name,
        "dist-tags": { tag: version },
        "versions": { version: {
            "name": name,
            "version": version,
            "description": "a small tool",
            "scripts": { "postinstall": "node index.js" },
            "x-unknown": { "kept": [1, 2, 3] },
            "dist": {
                "integrity": sri(tarball),
                "shasum": digests_of(tarball).sha1,
                "tarball": "http://upstream.example/old/address.tgz",
                "signatures": [{ "keyid": "k", "sig": "s" }],
            },
        } },
        "access": null,
        "_attachments": { file: {
            "content_type": "application/octet-stream",
            "data": STANDARD.encode(tarball),
            "length": tarball.len(),
        } },
    })
}

/// Publishes as `npm publish` does.
pub async fn publish(repository: &MemoryRepository, name: &str, version: &str, tag: &str) -> Result<Answer> {
    let document = document(name, version, tag, &tarball(name, version));
    send(repository, name, &document).await
}

/// Sends a publish document.
pub async fn send(repository: &MemoryRepository, name: &str, document: &Value) -> Result<Answer> {
    let path = format!("/{}", name.replace('/', "%2f"));
    repository.publish(&Npm, Method::PUT, &path, &[], document.to_string()).await
}

/// Reads JSON.
pub async fn get(repository: &MemoryRepository, path: &str, accept: &str) -> Value {
    let (status, _, bytes) = repository.get(&Npm, path, accept).await;
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&bytes));
    serde_json::from_slice(&bytes).unwrap()
}
