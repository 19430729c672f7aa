//! Small packages of every format, and the requests that publish them.
//!
//! Written by hand, so that a test can also write the ones that no honest tool makes.

use std::io::{Cursor, Write as _};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use cofferdam_types::Sha256;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::{
    Site,
    http::{Answer, form},
};

/// A wheel: the name of its file, and its bytes. `requires` are its dependencies.
pub fn wheel(name: &str, version: &str, requires: &[&str]) -> (String, Vec<u8>) {
    let metadata = metadata(name, version, requires);
    (format!("{name}-{version}-py3-none-any.whl"), wheel_of(name, version, &metadata, &[]))
}

/// The core metadata of a distribution.
pub fn metadata(name: &str, version: &str, requires: &[&str]) -> String {
    let lines: String = requires.iter().map(|r| format!("Requires-Dist: {r}\n")).collect();
    format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: About {name}\n{lines}")
}

/// A wheel with this metadata and more members.
pub fn wheel_of(name: &str, version: &str, metadata: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let info = format!("{name}-{version}.dist-info");
    let mut members = vec![
        (format!("{name}/__init__.py"), format!("VERSION = \"{version}\"\n")),
        (format!("{info}/METADATA"), metadata.to_owned()),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n".into(),
        ),
    ];
    members.extend(more.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())));
    let mut record = String::new();
    for (path, text) in &members {
        let digest = sha2::Sha256::digest(text.as_bytes());
        record.push_str(&format!("{path},sha256={},{}\n", URL_SAFE_NO_PAD.encode(digest), text.len()));
    }
    record.push_str(&format!("{info}/RECORD,,\n"));
    members.push((format!("{info}/RECORD"), record));
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, text) in &members {
        zip.start_file(path.as_str(), zip::write::SimpleFileOptions::default()).expect("a member");
        zip.write_all(text.as_bytes()).expect("a member's bytes");
    }
    zip.finish().expect("a wheel").into_inner()
}

/// A source distribution: the name of its file, and its bytes.
pub fn sdist(name: &str, version: &str) -> (String, Vec<u8>) {
    let root = format!("{name}-{version}");
    let project = format!("[project]\nname = \"{name}\"\nversion = \"{version}\"\n");
    let members = [
        (format!("{root}/PKG-INFO"), metadata(name, version, &[])),
        (format!("{root}/pyproject.toml"), project),
    ];
    let members: Vec<_> = members.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    (format!("{root}.tar.gz"), tar_gz(&members))
}

/// A gzip-compressed tar of these members; a path may be one that honest tools refuse to write.
pub fn tar_gz(members: &[(&str, &str)]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for (path, text) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, text.as_bytes()).expect("a member");
    }
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive")
}

/// An npm package as `npm pack` makes it. `dependencies` are names and ranges.
pub fn npm_package(name: &str, version: &str, dependencies: &Value) -> Vec<u8> {
    let manifest =
        json!({ "name": name, "version": version, "main": "index.js", "dependencies": dependencies });
    let code = format!("module.exports = \"{name} {version}\"\n");
    tar_gz(&[("package/package.json", &manifest.to_string()), ("package/index.js", &code)])
}

/// The document that `npm publish` sends.
pub fn npm_document(name: &str, version: &str, dependencies: &Value, tarball: &[u8]) -> Value {
    json!({
        "_id": name, "name": name, "dist-tags": { "latest": version },
        "versions": { version: {
            "name": name, "version": version, "main": "index.js", "dependencies": dependencies,
            "dist": { "integrity": format!("sha512-{}", STANDARD.encode(Sha512::digest(tarball))) },
        } },
        "_attachments": { format!("{name}-{version}.tgz"): {
            "content_type": "application/octet-stream", "data": STANDARD.encode(tarball), "length": tarball.len(),
        } },
    })
}

/// A crate whose manifest ends with `more`.
pub fn crate_file(name: &str, version: &str, more: &str) -> Vec<u8> {
    let root = format!("{name}-{version}");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\ndescription = \"About {name}\"\n{more}\n"
    );
    let code = "pub fn answer() -> u32 { 42 }\n";
    tar_gz(&[(&format!("{root}/Cargo.toml"), &manifest), (&format!("{root}/src/lib.rs"), code)])
}

/// The body that `cargo publish` sends: two lengths, the description, the crate.
pub fn crate_upload(description: &Value, file: &[u8]) -> Vec<u8> {
    let text = description.to_string();
    let length = |n: usize| u32::try_from(n).expect("a small crate").to_le_bytes();
    [&length(text.len()), text.as_bytes(), &length(file.len()), file].concat()
}

/// What `cargo publish` says of a crate.
pub fn crate_description(name: &str, version: &str, deps: &Value) -> Value {
    json!({
        "name": name, "vers": version, "deps": deps, "features": {}, "authors": [], "description": "small",
        "license": "MIT", "keywords": [], "categories": [], "badges": {}, "links": null,
    })
}

/// Uploads a distribution to a repository as twine does; `changes` replace fields of the form.
pub fn upload_distribution(
    site: &Site,
    token: &str,
    repository: &str,
    (file, bytes): (&str, &[u8]),
    changes: &[(&str, &str)],
) -> Answer {
    let (kind, body) = distribution_form((file, bytes), changes);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", kind.as_str())];
    site.ask("POST", &format!("/r/{repository}/legacy/"), &headers, &body)
}

/// The form of such an upload.
pub fn distribution_form((file, bytes): (&str, &[u8]), changes: &[(&str, &str)]) -> (String, Vec<u8>) {
    let stem = file.strip_suffix(".tar.gz").unwrap_or(file);
    let mut parts = stem.split('-');
    let (name, version) = (parts.next().expect("a name"), parts.next().expect("a version"));
    let digest = Sha256::of(bytes).to_string();
    let filetype = if file.ends_with(".whl") { "bdist_wheel" } else { "sdist" };
    let mut fields = vec![
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("metadata_version", "2.1"),
        ("name", name),
        ("version", version),
        ("filetype", filetype),
        ("pyversion", if filetype == "sdist" { "source" } else { "py3" }),
        ("sha256_digest", &digest),
    ];
    for (name, value) in changes {
        let field = fields.iter_mut().find(|(n, _)| n == name).expect("a field of the form");
        field.1 = value;
    }
    form(&fields, (file, bytes))
}

/// Publishes an npm package as npm does.
pub fn publish_npm(site: &Site, token: &str, repository: &str, name: &str, document: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    site.ask("PUT", &format!("/r/{repository}/{name}"), &headers, document.to_string().as_bytes())
}

/// Publishes a crate as cargo does.
pub fn publish_crate(site: &Site, token: &str, repository: &str, body: &[u8]) -> Answer {
    // Cargo sends its token bare.
    site.ask("PUT", &format!("/r/{repository}/api/v1/crates/new"), &[("authorization", token)], body)
}

/// A dependency in the description of a crate.
pub fn crate_dependency(name: &str, requirement: &str) -> Value {
    json!({
        "name": name, "version_req": requirement, "features": [], "optional": false, "default_features": true,
        "target": null, "kind": "normal", "registry": null, "explicit_name_in_toml": null,
    })
}
