//! Answers on a shelf, for the tests of proofs.

use std::{collections::HashMap, fs::File, io::Write as _};

use cofferdam_format_kit::{
    ByteStream, Door,
    joined::{Finding, Joined, Together, UpstreamKeys, Verdict},
};
use cofferdam_types::{Digests, Error, Result, Sha256};
use serde_json::json;

/// Files that came together, and their bytes by digest.
#[derive(Default)]
pub struct Shelf {
    pub bytes: HashMap<Sha256, Vec<u8>>,
    pub files: Vec<Together>,
}

impl Shelf {
    /// Adds what an address answered.
    pub fn add(&mut self, url: &str, bytes: &[u8]) {
        self.answer(url, bytes, json!({ "url": url, "status": 200, "headers": {} }));
    }

    /// Adds an address that leads to another.
    pub fn lead(&mut self, url: &str, to: &str) {
        self.answer(url, b"", json!({ "url": url, "status": 302, "headers": { "location": to } }));
    }

    fn answer(&mut self, url: &str, bytes: &[u8], meta: serde_json::Value) {
        let sha256 = Sha256::of(bytes);
        self.bytes.insert(sha256, bytes.to_vec());
        self.files.push(Together { path: url.into(), sha256, size: bytes.len() as u64, meta });
    }

    /// Takes out what an address answered.
    pub fn remove(&mut self, url: &str) {
        self.files.retain(|file| file.path != url);
    }

    pub async fn join(&self, keys: &UpstreamKeys) -> Joined {
        super::join(&self.files, keys, self).await.unwrap()
    }

    /// What is said of an answer; none when nothing is.
    pub async fn said(&self, url: &str, keys: &UpstreamKeys) -> Option<(Verdict, String)> {
        let all: Vec<Finding> =
            self.join(keys).await.findings.into_iter().filter(|f| f.path == url).collect();
        assert!(all.len() <= 1, "one sentence for each answer: {all:?}");
        all.into_iter().next().map(|f| (f.verdict, f.text))
    }
}

#[async_trait::async_trait]
impl Door for Shelf {
    async fn put(&self, _: ByteStream, _: u64) -> Result<Digests> {
        Err(Error::not_found("nothing is stored here"))
    }

    async fn digests(&self, _: &Sha256) -> Result<Digests> {
        Err(Error::not_found("no digests are kept here"))
    }

    async fn file(&self, sha256: &Sha256) -> Result<File> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(self.bytes.get(sha256).ok_or_else(|| Error::not_found("no such bytes"))?).unwrap();
        Ok(file.reopen().unwrap())
    }
}
