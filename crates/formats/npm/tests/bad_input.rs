//! Every wrong publish has a clear answer in npm's shape and leaves nothing behind.

mod support;

use cofferdam_format_kit::{Format as _, conformance::MemoryRepository};
use cofferdam_format_npm::Npm;
use cofferdam_types::Error;
use http::Method;
use serde_json::{Value, json};
use support::{document, get, hosted, publish, send, tar_gz, tarball};

/// Publishes `tool` 1.0.0 with these bytes and a changed document; it must be refused.
async fn refused(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Error {
    let repository = hosted();
    let mut document = document("tool", "1.0.0", "latest", bytes);
    change(&mut document);
    let error = send(&repository, "tool", &document).await.expect_err("it must be refused");
    nothing_is_there(&repository).await;
    assert!(Npm.error(&error).status.is_client_error(), "{error:?}");
    error
}

async fn nothing_is_there(repository: &MemoryRepository) {
    assert_eq!(repository.package_count(), 0);
    assert_eq!(repository.get(&Npm, "/tool", "*/*").await.0, 404);
}

#[tokio::test]
async fn wrong_digests_and_lengths_are_refused() {
    let good = tarball("tool", "1.0.0");
    let dist = |field: &'static str, value: Value| {
        move |d: &mut Value| d["versions"]["1.0.0"]["dist"][field] = value
    };
    let other = support::sri(b"other");
    assert_eq!(refused(&good, dist("integrity", json!(other))).await.code(), "integrity-mismatch");
    assert_eq!(refused(&good, dist("shasum", json!("00"))).await.code(), "integrity-mismatch");
    assert_eq!(refused(&good, dist("integrity", json!("sha7-AA"))).await.code(), "integrity-unknown");
    let length = |d: &mut Value| d["_attachments"]["tool-1.0.0.tgz"]["length"] = json!(7);
    assert_eq!(refused(&good, length).await.code(), "attachment-length");
}

#[tokio::test]
async fn a_tarball_of_another_name_or_version_is_refused() {
    for other in [tarball("tool", "1.0.1"), tarball("tooI", "1.0.0")] {
        assert_eq!(refused(&other, |_| ()).await.code(), "package-json-mismatch");
    }
    let two = tar_gz(&[
        ("package/package.json", r#"{"name":"tool","version":"1.0.0"}"#),
        ("zzz/package.json", r#"{"name":"tool","version":"6.6.6"}"#),
    ]);
    assert_eq!(refused(&two, |_| ()).await.code(), "package-json-mismatch");
}

#[tokio::test]
async fn broken_archives_are_refused() {
    let good = tarball("tool", "1.0.0");
    assert_eq!(refused(&good[..good.len() / 2], |_| ()).await.code(), "archive-broken");
    assert_eq!(refused(b"no gzip", |_| ()).await.code(), "archive-broken");
    assert_eq!(refused(b"", |_| ()).await.code(), "archive-broken");
    let mut flipped = good.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 0xff;
    assert_eq!(refused(&flipped, |_| ()).await.code(), "archive-broken");
    assert_eq!(refused(&tar_gz(&[("package/a.js", "")]), |_| ()).await.code(), "package-json-missing");
    let broken = tar_gz(&[("package/package.json", "{")]);
    assert_eq!(refused(&broken, |_| ()).await.code(), "package-json-broken");
}

#[tokio::test]
async fn path_tricks_in_archives_are_refused() {
    for trick in ["../evil", "package/../../evil", "/etc/evil", "package\\evil", "c:/evil"] {
        let bytes = tar_gz(&[("package/package.json", r#"{"name":"tool","version":"1.0.0"}"#), (trick, "x")]);
        assert_eq!(refused(&bytes, |_| ()).await.code(), "archive-path", "{trick}");
    }
}

#[tokio::test]
async fn a_link_in_an_archive_is_refused() {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "package/link", "/etc/passwd").unwrap();
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    assert_eq!(refused(&bytes, |_| ()).await.code(), "archive-member");
}

#[tokio::test]
async fn documents_that_contradict_themselves_are_refused() {
    let good = tarball("tool", "1.0.0");
    type Edit = fn(&mut Value);
    let cases: [(&str, &str, Edit); 12] = [
        ("another name", "publish-document", |d| d["name"] = json!("other")),
        ("another id", "publish-document", |d| d["_id"] = json!("other")),
        ("another manifest name", "publish-document", |d| d["versions"]["1.0.0"]["name"] = json!("x")),
        ("another manifest version", "publish-document", |d| {
            d["versions"]["1.0.0"]["version"] = json!("2.0.0")
        }),
        ("two versions", "publish-document", |d| d["versions"]["2.0.0"] = json!({})),
        ("no versions", "publish-document", |d| d["versions"] = json!(null)),
        ("a tag that is a version", "dist-tag", |d| d["dist-tags"] = json!({ "2.0": "1.0.0" })),
        ("a tag elsewhere", "publish-document", |d| d["dist-tags"] = json!({ "latest": "2.0.0" })),
        ("a second attachment", "attachments", |d| d["_attachments"]["x.sigstore"] = json!({ "data": "{}" })),
        ("a second tarball", "attachments", |d| d["_attachments"]["x.tgz"] = json!({ "data": "AAAA" })),
        ("no data", "attachments", |d| d["_attachments"]["tool-1.0.0.tgz"] = json!({ "length": 1 })),
        ("no base64", "attachment-base64", |d| d["_attachments"]["tool-1.0.0.tgz"]["data"] = json!("AA*A")),
    ];
    for (case, code, edit) in cases {
        assert_eq!(refused(&good, edit).await.code(), code, "{case}");
    }
    let renamed = |d: &mut Value| {
        let attachments = d["_attachments"].as_object_mut().unwrap();
        let data = attachments.remove("tool-1.0.0.tgz").unwrap();
        attachments.insert("other-1.0.0.tgz".into(), data);
    };
    assert_eq!(refused(&good, renamed).await.code(), "attachments");
}

#[tokio::test]
async fn versions_and_names_that_npm_does_not_allow_are_refused() {
    for version in ["1.0", "01.0.0", "1.0.0+build", "latest", ""] {
        let document = document("tool", version, "latest", &tarball("tool", version));
        assert_eq!(send(&hosted(), "tool", &document).await.unwrap_err().code(), "version", "{version}");
    }
    for name in ["Tool", "node_modules"] {
        let document = document(name, "1.0.0", "latest", &tarball(name, "1.0.0"));
        assert_eq!(send(&hosted(), name, &document).await.unwrap_err().code(), "package-name", "{name}");
    }
}

#[tokio::test]
async fn a_request_that_ends_anywhere_leaves_nothing() {
    let text = document("tool", "1.0.0", "latest", &tarball("tool", "1.0.0")).to_string();
    for end in (0..text.len()).step_by(7) {
        let repository = hosted();
        let cut = text[..end].to_owned();
        let error = repository.publish(&Npm, Method::PUT, "/tool", &[], cut).await.unwrap_err();
        assert_eq!(error.code(), "body-truncated", "cut at {end}");
        nothing_is_there(&repository).await;
    }
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    for text in ["[]", "null", "{}", "{\"versions\":1}", "{\"a\":tru}", "{]", "<html>", "\u{0}"] {
        let repository = hosted();
        let error = repository.publish(&Npm, Method::PUT, "/tool", &[], text).await.unwrap_err();
        assert!(Npm.error(&error).status.is_client_error(), "{text}: {error:?}");
        nothing_is_there(&repository).await;
    }
    let deep = "[".repeat(5000);
    let error = hosted().publish(&Npm, Method::PUT, "/tool", &[], deep).await.unwrap_err();
    assert_eq!(error.code(), "publish-document");
    let long = format!("{{\"readme\":\"{}\"}}", "x".repeat(9 << 20));
    let error = hosted().publish(&Npm, Method::PUT, "/tool", &[], long).await.unwrap_err();
    assert_eq!(error.code(), "publish-document-too-large");
}

#[tokio::test]
async fn a_version_is_never_published_twice_not_even_with_the_same_bytes() {
    let repository = hosted();
    publish(&repository, "tool", "1.0.0", "latest").await.unwrap();
    let before = get(&repository, "/tool", "*/*").await;
    let same = tarball("tool", "1.0.0");
    let package = r#"{"name":"tool","version":"1.0.0"}"#;
    let other = tar_gz(&[("package/package.json", package), ("package/evil.js", "")]);
    for bytes in [same, other] {
        let again = document("tool", "1.0.0", "latest", &bytes);
        let error = send(&repository, "tool", &again).await.unwrap_err();
        assert_eq!(Npm.error(&error).status, 403, "npm shows a 403 as it is, and would retry a 409");
        assert!(error.message().starts_with("You cannot publish over the previously published versions"));
    }
    assert_eq!(get(&repository, "/tool", "*/*").await, before);
}

#[tokio::test]
async fn what_does_not_exist_cannot_be_changed() {
    let repository = hosted();
    publish(&repository, "tool", "1.0.0", "latest").await.unwrap();
    let unknown = json!({ "name": "ghost", "versions": { "1.0.0": {} } }).to_string();
    for (method, path, body) in [
        (Method::PUT, "/ghost", unknown.as_str()),
        (Method::PUT, "/ghost/-rev/1-0", &unknown),
        (Method::DELETE, "/ghost/-rev/1-0", ""),
        (Method::PUT, "/-/package/ghost/dist-tags/next", "\"1.0.0\""),
        (Method::DELETE, "/-/package/ghost/dist-tags/next", ""),
        (Method::DELETE, "/-/package/tool/dist-tags/next", ""),
    ] {
        let error = repository.publish(&Npm, method.clone(), path, &[], body.to_owned()).await.unwrap_err();
        assert_eq!(Npm.error(&error).status, 404, "{method} {path}");
    }
    let new = json!({ "name": "tool", "versions": { "3.0.0": {} } });
    assert_eq!(send(&repository, "tool", &new).await.unwrap_err().code(), "publish-document");
}
