//! Uploads as twine, uv and `pypa/gh-action` send them: `multipart/form-data`, file included.
//!
//! The file streams through the door while it arrives; only small form fields are held. Nothing
//! that the form says is believed before the bytes said the same.

use std::collections::HashMap;

use bytes::Bytes;
use cofferdam_format_kit::{
    Accepted, Answer, Change, Door, Draft, ReleaseView, RepositoryKind, Upload, View,
};
use cofferdam_types::{Digests, Error, ErrorKind, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{StatusCode, header};
use multer::{Field, Multipart};

use crate::{
    coords::{self, Filename, normalise, same_version, shown},
    index::is_distribution,
    inspect::{self, FileMeta},
};

/// Bytes of one distribution file at the most: 16 GiB.
pub(crate) const FILE_LIMIT: u64 = 16 << 30;
/// Bytes of all form fields together at the most; long descriptions are the largest.
const FIELDS_LIMIT: usize = 16 << 20;
/// Form fields at the most; every classifier is one.
const FIELDS_COUNT: usize = 10_000;
/// Fields whose text we compare with the bytes.
const KEPT: [&str; 8] = [
    ":action",
    "protocol_version",
    "name",
    "version",
    "filetype",
    "sha256_digest",
    "md5_digest",
    "blake2_256_digest",
];

/// What the form held.
#[derive(Default)]
struct Form {
    fields: HashMap<&'static str, String>,
    file: Option<(String, Digests)>,
}

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    fn need(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| {
            Error::invalid("upload-field", format!("the upload form has no field `{name}`"))
                .hint("upload with twine or `uv publish`")
        })
    }
}

/// Takes an upload: checks it completely and says what is to change.
pub(crate) async fn accept(upload: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
    let repository = view.repository();
    if repository.kind != RepositoryKind::Hosted {
        let text = format!("the repository `{}` does not take uploads", repository.name);
        return Err(Error::forbidden("not-hosted", text).hint("upload to a hosted repository"));
    }
    let form = read_form(upload, door).await?;
    let action = form.need(":action")?;
    if action != "file_upload" {
        let text = format!("`:action` is `{}`; only `file_upload` is known", shown(action));
        return Err(Error::invalid("upload-action", text));
    }
    if let Some(version) = form.get("protocol_version").filter(|v| *v != "1") {
        let text = format!("`protocol_version` is `{}`; only 1 is known", shown(version));
        return Err(Error::invalid("upload-action", text));
    }
    let (filename, digests) = checked_file(&form)?;
    if let Some(present) = view.file(&filename.path()).await? {
        return if present.sha256 == digests.sha256 {
            Ok(Accepted { changes: Vec::new(), answer: done("this file is already here, byte for byte\n") })
        } else {
            Err(file_exists(&filename))
        };
    }
    let draft = draft(filename, digests, view, door).await?;
    Ok(Accepted { changes: vec![Change::Release(draft)], answer: done("uploaded\n") })
}

fn done(text: &'static str) -> Answer {
    Answer::bytes(StatusCode::OK, "text/plain; charset=utf-8", text)
}

/// The sentence by which clients recognise that a file is there (twine `--skip-existing`).
fn file_exists(filename: &Filename) -> Error {
    Error::conflict(
        "file-exists",
        format!("File already exists: `{}`, with other bytes or under this spelling", filename.text),
    )
    .hint("published files never change: raise the version, or add a build number to a wheel")
}

/// The release that a checked file makes.
async fn draft(filename: Filename, digests: Digests, view: &dyn View, door: &dyn Door) -> Result<Draft> {
    let inspected = inspect::inspect(door, &digests, &filename).await?;
    if !coords::is_pep440(&inspected.version) {
        let text = format!("the version `{}` does not follow PEP 440", shown(&inspected.version));
        return Err(Error::invalid("version-invalid", text)
            .hint("pip and uv ignore such versions; use one like 1.2.3"));
    }
    let package = view.package(&filename.key).await?;
    let known =
        package.iter().flat_map(|p| &p.releases).find(|r| same_version(&r.version, &inspected.version));
    if let Some(twin) = known.and_then(|release| twin(release, &filename)) {
        return Err(file_exists(&twin));
    }
    let version = known.map_or_else(|| coords::stored_version(&inspected.version), |r| r.version.clone());
    let display = package.as_ref().map_or_else(|| inspected.display.clone(), |p| p.display.clone());
    let meta = FileMeta { requires_python: inspected.requires_python.clone(), ..FileMeta::default() };
    let files = inspect::draft_files(door, &filename, digests, &inspected, &meta).await?;
    Ok(Draft {
        package: filename.key,
        display,
        version,
        meta: inspected.meta,
        files,
        pointers: Vec::new(),
        published: None,
        yanked: None,
    })
}

/// The file of a release that is this one in another spelling.
fn twin(release: &ReleaseView, filename: &Filename) -> Option<Filename> {
    let names = release.files.iter().filter(|f| is_distribution(f)).filter_map(|f| f.path.rsplit('/').next());
    let mut files = names.filter_map(|name| Filename::parse(name, &filename.key).ok());
    files.find(|other| other.slot() == filename.slot())
}

/// Compares everything that the form says with the file's name and digests.
fn checked_file(form: &Form) -> Result<(Filename, Digests)> {
    let key = normalise(form.need("name")?)?;
    let version = form.need("version")?;
    let (text, digests) = form.file.as_ref().ok_or_else(|| {
        Error::invalid("upload-field", "the upload form has no file in the field `content`")
    })?;
    let filename = Filename::parse(text, &key)?;
    if !same_version(version, &filename.version) {
        let text = format!("the form says version `{}` and the file is `{}`", shown(version), filename.text);
        return Err(Error::verification("metadata-disagrees", text));
    }
    let kind = filename.kind.filetype();
    if let Some(filetype) = form.get("filetype").filter(|f| *f != kind) {
        let text = format!("the form says `{}` and `{}` is a {kind}", shown(filetype), filename.text);
        return Err(Error::verification("metadata-disagrees", text));
    }
    let sha256 = digests.sha256.to_hex();
    for (field, actual) in [
        ("sha256_digest", &sha256),
        ("blake2_256_digest", &digests.blake2b_256),
        ("md5_digest", &digests.md5),
    ] {
        if let Some(claimed) = form.get(field).filter(|claimed| !claimed.eq_ignore_ascii_case(actual)) {
            let text = format!("`{field}` says {} and the bytes that arrived have {actual}", shown(claimed));
            return Err(Error::verification("digest-mismatch", text)
                .hint("the file was damaged on the way; upload it again"));
        }
    }
    Ok((filename, digests.clone()))
}

async fn read_form(upload: Upload, door: &dyn Door) -> Result<Form> {
    let content_type = upload.request.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let boundary = content_type.and_then(|text| multer::parse_boundary(text).ok()).ok_or_else(|| {
        Error::invalid("upload-form", "an upload is a `multipart/form-data` form with a boundary")
            .hint("upload with twine or `uv publish`")
    })?;
    let mut parts = Multipart::new(upload.body, boundary);
    let mut form = Form::default();
    let (mut left, mut count) = (FIELDS_LIMIT, 0usize);
    while let Some(field) = parts.next_field().await.map_err(broken)? {
        count += 1;
        if count > FIELDS_COUNT {
            return Err(too_large(format!("the upload form has more than {FIELDS_COUNT} fields")));
        }
        let name = field.name().unwrap_or_default().to_owned();
        if name == "content" {
            if form.file.is_some() {
                return Err(Error::invalid(
                    "upload-field",
                    "the upload form has two files; send one at a time",
                ));
            }
            form.file = Some(store(field, door).await?);
            continue;
        }
        let kept = KEPT.into_iter().find(|k| *k == name);
        let text = read_field(field, &mut left, kept.is_some()).await?;
        if let Some(name) = kept {
            let text = String::from_utf8(text)
                .map_err(|_| Error::invalid("upload-field", format!("the field `{name}` is not UTF-8")))?;
            if form.fields.insert(name, text).is_some() {
                let text = format!("the upload form has the field `{name}` more than once");
                return Err(Error::invalid("upload-field", text));
            }
        }
    }
    Ok(form)
}

/// Streams the file through the door.
async fn store(field: Field<'static>, door: &dyn Door) -> Result<(String, Digests)> {
    let filename = field.file_name().unwrap_or_default().to_owned();
    let body = field.map_err(broken).boxed();
    let digests = door.put(body, FILE_LIMIT).await?;
    Ok((filename, digests))
}

/// Reads a field to its end, keeping it or not, within what is left of the bound.
async fn read_field(mut field: Field<'static>, left: &mut usize, keep: bool) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        let chunk: Bytes = chunk;
        *left = left.checked_sub(chunk.len()).ok_or_else(|| {
            too_large(format!("the form's fields are larger than {FIELDS_LIMIT} bytes together"))
        })?;
        if keep {
            text.extend_from_slice(&chunk);
        }
    }
    Ok(text)
}

fn too_large(text: String) -> Error {
    Error::new(ErrorKind::TooLarge, "upload-form-too-large", text)
}

/// A form that ends too early or is none. Our own stream's error is passed on as it is.
fn broken(error: multer::Error) -> Error {
    if let multer::Error::StreamReadFailed(source) = error {
        return match source.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(source) => Error::invalid("upload-truncated", "the upload broke off").with_source(source),
        };
    }
    Error::invalid("upload-truncated", format!("the upload form is broken or incomplete: {error}"))
        .hint("upload it again; nothing of it was kept")
}
