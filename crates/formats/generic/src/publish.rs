//! What clients change: `PUT` of a file and `DELETE`, on hosted repositories only.

use cofferdam_format_kit::{Accepted, Answer, Change, Door, Draft, DraftFile, RepositoryKind, Upload, View};
use cofferdam_types::{Digests, Error, Result};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    coords::{self, Place},
    error, index, inspect,
};

/// Bytes of one file at the most: 64 GiB.
pub const MAX_FILE: u64 = 64 << 30;

/// Takes a change whose route is named `action`.
pub async fn accept(action: &str, upload: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
    let repository = view.repository();
    if repository.kind != RepositoryKind::Hosted {
        let text = format!("the repository `{}` takes no changes from clients", repository.name);
        return Err(Error::forbidden("not-hosted", text).hint("use a hosted repository of this site"));
    }
    let path = Place::read(&upload.request.path)?.path;
    match action {
        "put" => put(&path, upload, view, door).await,
        _ => delete(&path, view).await,
    }
}

async fn put(path: &str, upload: Upload, view: &dyn View, door: &dyn Door) -> Result<Accepted> {
    let existing = view.file(path).await?;
    let headers = &upload.request.headers;
    let create_only = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| value.as_bytes() == b"*");
    if create_only && existing.is_some() {
        let text = format!("{path} exists, and `If-None-Match: *` asks for it not to");
        let answer = error::problem(StatusCode::PRECONDITION_FAILED, "exists", &text, None);
        return Ok(Accepted { changes: Vec::new(), answer });
    }
    if existing.is_none() {
        check_place(path, view).await?;
    }
    let digests = door.put(upload.body, MAX_FILE).await?;
    inspect::check(headers, &digests)?;
    match existing {
        Some(file) if file.sha256 == digests.sha256 => {
            Ok(Accepted { changes: Vec::new(), answer: stored(StatusCode::OK, path, &digests) })
        }
        Some(_) => Err(Error::conflict("immutable", format!("{path} exists with other bytes"))
            .hint("a file never changes; store the new one under another path")),
        None => {
            let answer = stored(StatusCode::CREATED, path, &digests);
            let answer = located(answer, &upload.request.base, path);
            Ok(Accepted { changes: vec![Change::Release(draft(path, digests))], answer })
        }
    }
}

/// A path cannot be a file and a folder at once: mirrors on disk and listings could not show it.
async fn check_place(path: &str, view: &dyn View) -> Result<()> {
    for folder in coords::above(path) {
        if view.file(folder).await?.is_some() {
            return Err(Error::conflict("not-a-folder", format!("{folder} is a file, not a folder")));
        }
    }
    if index::is_folder(path, view).await? {
        return Err(Error::conflict("is-a-folder", format!("{path} is a folder")).hint("name the file in it"));
    }
    Ok(())
}

/// The release of one file.
pub fn draft(path: &str, digests: Digests) -> Draft {
    let (folder, name) = coords::split(path);
    let file = DraftFile { path: path.into(), role: "file".into(), digests, meta: Value::Null };
    Draft {
        package: folder.into(),
        display: folder.into(),
        version: name.into(),
        meta: Value::Null,
        files: vec![file],
        pointers: Vec::new(),
        published: None,
        yanked: None,
    }
}

fn stored(status: StatusCode, path: &str, digests: &Digests) -> Answer {
    Answer::json(status, &json!({ "path": path, "size": digests.size, "sha256": digests.sha256 }))
}

fn located(mut answer: Answer, base: &str, path: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(&format!("{base}/{}", index::encode(path))) {
        answer.headers.insert(header::LOCATION, value);
    }
    answer
}

async fn delete(path: &str, view: &dyn View) -> Result<Accepted> {
    if view.file(path).await?.is_none() {
        return Err(Error::not_found(format!("there is no file {path}")));
    }
    let (folder, name) = coords::split(path);
    let change = Change::Withdraw { package: folder.into(), version: name.into() };
    Ok(Accepted { changes: vec![change], answer: Answer::status(StatusCode::NO_CONTENT) })
}
