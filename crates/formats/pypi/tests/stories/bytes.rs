//! Distribution files and upload forms, made small and by hand.

use std::io::{Cursor, Write as _};

use cofferdam_format_kit::{
    Answer, RepositoryKind,
    conformance::{MemoryRepository, digests_of},
};
use cofferdam_format_pypi::PyPi;
use cofferdam_types::Result;
use http::Method;
use serde_json::Value;
use zip::{ZipWriter, write::SimpleFileOptions};

pub const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// An empty repository that takes uploads.
pub fn hosted() -> MemoryRepository {
    MemoryRepository::new("team", RepositoryKind::Hosted, "https://site.example/r/team")
}

/// An empty mirror.
pub fn mirror() -> MemoryRepository {
    MemoryRepository::new("outside", RepositoryKind::Mirror, "https://site.example/r/outside")
}

/// `METADATA` or `PKG-INFO`.
pub fn metadata(name: &str, version: &str) -> String {
    format!(
        "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: A <small> & tidy thing\n\
         Requires-Python: >=3.8,<4\nRequires-Dist: other>=1\n\nName: description\n"
    )
}

/// A zip file with these members.
pub fn zip_of(members: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A wheel whose inside says this name and version.
pub fn wheel(name: &str, version: &str) -> Vec<u8> {
    wheel_with(name, version, &metadata(name, version), "print('hello')")
}

/// A wheel with this metadata and code.
pub fn wheel_with(name: &str, version: &str, metadata: &str, code: &str) -> Vec<u8> {
    let folder = format!("{}-{version}.dist-info", name.replace('-', "_"));
    zip_of(&[
        ("pkg/__init__.py", code),
        (&format!("{folder}/METADATA"), metadata),
        (&format!("{folder}/WHEEL"), "Wheel-Version: 1.0\n"),
        (&format!("{folder}/RECORD"), ""),
    ])
}

/// A gzip-compressed tar with these members; names are written as they are, tricks included.
pub fn tar_gz_of(members: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in members {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// A source distribution whose inside says this name and version.
pub fn sdist(name: &str, version: &str) -> Vec<u8> {
    let folder = format!("{name}-{version}");
    let (info, setup) = (format!("{folder}/PKG-INFO"), format!("{folder}/setup.py"));
    let egg = format!("{folder}/src/{name}.egg-info/PKG-INFO");
    let text = metadata(name, version);
    tar_gz_of(&[(&info, &text), (&setup, "import setuptools"), (&egg, &text)])
}

/// An upload form as twine sends it.
pub struct Form {
    fields: Vec<(String, String)>,
    file: Option<(String, Vec<u8>)>,
}

impl Form {
    /// The form of a file with right digests.
    pub fn new(name: &str, version: &str, filename: &str, bytes: Vec<u8>) -> Self {
        let digests = digests_of(&bytes);
        let kind = if filename.ends_with(".whl") { "bdist_wheel" } else { "sdist" };
        let fields = [
            (":action", "file_upload"),
            ("protocol_version", "1"),
            ("name", name),
            ("version", version),
            ("filetype", kind),
            ("classifiers", "Programming Language :: Python :: 3"),
            ("classifiers", "Topic :: Utilities"),
            ("md5_digest", &digests.md5),
            ("sha256_digest", &digests.sha256.to_hex()),
            ("blake2_256_digest", &digests.blake2b_256),
        ];
        let fields = fields.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Self { fields, file: Some((filename.to_owned(), bytes)) }
    }

    /// The form of a wheel for every Python.
    pub fn wheel(name: &str, version: &str, bytes: Vec<u8>) -> Self {
        let filename = format!("{}-{version}-py3-none-any.whl", name.replace('-', "_"));
        Self::new(name, version, &filename, bytes)
    }

    /// With another value of a field.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(n, _)| n != name);
        self.fields.push((name.into(), value.into()));
        self
    }

    /// With the field once more.
    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Without a field.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(n, _)| n != name);
        self
    }

    /// Without the file.
    pub fn without_file(mut self) -> Self {
        self.file = None;
        self
    }

    /// The body.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            let head =
                format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(head.as_bytes());
        }
        if let Some((name, bytes)) = &self.file {
            let head = format!(
                "--edge\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{name}\"\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--edge--\r\n");
        body
    }

    /// Uploads to `/legacy/`.
    pub async fn upload(&self, repository: &MemoryRepository) -> Result<Answer> {
        send(repository, self.body()).await
    }
}

/// Sends a form's body as it is.
pub async fn send(repository: &MemoryRepository, body: Vec<u8>) -> Result<Answer> {
    let headers = [("content-type", "multipart/form-data; boundary=edge")];
    repository.publish(&PyPi, Method::POST, "/legacy/", &headers, body).await
}

/// The JSON page of a package.
pub async fn page(repository: &MemoryRepository, key: &str) -> Value {
    let (status, _, body) = repository.get(&PyPi, &format!("/simple/{key}/"), JSON).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}
