//! Bad input in every format: answered in the ecosystem's own shape, and nothing stays behind.

use serde_json::{Value, json};

use crate::common::{
    Site,
    http::{Answer, cut_off},
    packages::{
        crate_description, crate_file, crate_upload, distribution_form, metadata, npm_document, npm_package,
        publish_crate, publish_npm, tar_gz, upload_distribution, wheel, wheel_of,
    },
};

/// A site and a developer.
fn harbour() -> (Site, String) {
    let site = Site::isolated("harbour");
    let token = site.person("dev", "developer");
    (site, token)
}

/// Each case is refused with its status and a message that names the trouble, and changes nothing.
#[track_caller]
fn refused(site: &Site, before: &Value, answer: &Answer, status: u16, says: &str) {
    let text = answer.text();
    assert!(
        answer.status == status && text.contains(says),
        "expected {status} and `{says}`: {answer:?} {text}"
    );
    assert_eq!(site.repositories(), *before, "nothing stays behind");
}

#[test]
fn python_uploads_that_lie_are_refused_in_plain_text() {
    let (site, token) = harbour();
    let (file, bytes) = wheel("oars", "1.0", &[]);
    assert_eq!(upload_distribution(&site, &token, "pypi-local", (&file, &bytes), &[]).status, 200);
    let before = site.repositories();
    let send = |file: &str, bytes: &[u8], changes: &[(&str, &str)]| {
        upload_distribution(&site, &token, "pypi-local", (file, bytes), changes)
    };
    let (new, new_bytes) = wheel("ferry", "2.1", &[]);
    let wrong = "0".repeat(64);
    let digest = send(&new, &new_bytes, &[("sha256_digest", &wrong)]);
    assert!(digest.header("content-type").starts_with("text/plain"), "{digest:?}");
    refused(&site, &before, &digest, 400, "sha256_digest");
    refused(&site, &before, &send(&new, &new_bytes, &[("version", "2.2")]), 400, "2.2");
    let inside = wheel_of("ferry", "2.1", &metadata("dinghy", "2.1", &[]), &[]);
    refused(&site, &before, &send(&new, &inside, &[]), 400, "dinghy");
    let other = wheel_of("oars", "1.0", &metadata("oars", "1.0", &[]), &[("oars/more.py", "x = 1\n")]);
    refused(&site, &before, &send(&file, &other, &[]), 409, "File already exists");
    refused(&site, &before, &send(&new, &new_bytes[..new_bytes.len() / 2], &[]), 400, "whole zip archive");
    for repository in ["pypi", "pypi-mirror"] {
        let answer = upload_distribution(&site, &token, repository, (&new, &new_bytes), &[]);
        refused(&site, &before, &answer, 403, "does not take uploads");
    }
    let nobody = upload_distribution(&site, "cfd_nobody", "pypi-local", (&new, &new_bytes), &[]);
    refused(&site, &before, &nobody, 401, "");
    refused(&site, &before, &site.get("/r/pypi/simple/submarine/"), 404, "");
}

#[test]
fn npm_packages_that_lie_are_refused_with_an_error_field() {
    let (site, token) = harbour();
    let none = json!({});
    let good = npm_package("oars", "1.0.0", &none);
    let send = |document: &Value| publish_npm(&site, &token, "npm-local", "oars", document);
    let document = npm_document("oars", "1.0.0", &none, &good);
    let published = send(&document);
    assert!(matches!(published.status, 200 | 201), "{}", published.text());
    let before = site.repositories();

    let mut wrong = npm_document("oars", "1.1.0", &none, &npm_package("oars", "1.1.0", &none));
    wrong["versions"]["1.1.0"]["dist"]["integrity"] =
        document["versions"]["1.0.0"]["dist"]["integrity"].clone();
    let answer = send(&wrong);
    assert!(answer.json()["error"].is_string(), "{}", answer.text());
    refused(&site, &before, &answer, answer.status.clamp(400, 499), "integrity");
    let inside = send(&npm_document("oars", "1.1.0", &none, &npm_package("dinghy", "1.1.0", &none)));
    refused(&site, &before, &inside, inside.status.clamp(400, 499), "dinghy");
    let other = npm_package("oars", "1.0.0", &json!({ "rope": "1" }));
    refused(
        &site,
        &before,
        &send(&npm_document("oars", "1.0.0", &none, &other)),
        403,
        "previously published",
    );
    for repository in ["npm", "npm-mirror"] {
        let answer = publish_npm(&site, &token, repository, "oars", &document);
        refused(&site, &before, &answer, 403, "error");
    }
    refused(&site, &before, &publish_npm(&site, "cfd_nobody", "npm-local", "oars", &document), 401, "");
    refused(&site, &before, &site.get("/r/npm/submarine"), 404, "error");
}

#[test]
fn crates_that_lie_are_refused_with_a_list_of_errors() {
    let (site, token) = harbour();
    let none = json!([]);
    let body =
        |name: &str, version: &str, file: &[u8]| crate_upload(&crate_description(name, version, &none), file);
    let good = body("oars", "1.0.0", &crate_file("oars", "1.0.0", ""));
    let published = publish_crate(&site, &token, "cargo-local", &good);
    assert_eq!(published.status, 200, "{}", published.text());
    let before = site.repositories();
    let send = |body: &[u8]| publish_crate(&site, &token, "cargo-local", body);

    let inside = send(&body("ferry", "2.0.0", &crate_file("dinghy", "2.0.0", "")));
    assert!(inside.json()["errors"][0]["detail"].is_string(), "{}", inside.text());
    refused(&site, &before, &inside, inside.status.clamp(400, 499), "detail");
    let again = send(&body("oars", "1.0.0", &crate_file("oars", "1.0.0", "# other bytes")));
    refused(&site, &before, &again, again.status.clamp(400, 499), "exists with other bytes");
    let climbing = tar_gz(&[
        ("ferry-2.0.0/Cargo.toml", "[package]\nname = \"ferry\"\nversion = \"2.0.0\"\n"),
        ("ferry-2.0.0/../../evil", "x"),
    ]);
    let climbing = send(&body("ferry", "2.0.0", &climbing));
    refused(&site, &before, &climbing, climbing.status.clamp(400, 499), "detail");
    let short = send(&good[..good.len() - 10]);
    refused(&site, &before, &short, short.status.clamp(400, 499), "detail");
    for repository in ["cargo", "cargo-mirror"] {
        refused(&site, &before, &publish_crate(&site, &token, repository, &good), 403, "detail");
    }
    refused(&site, &before, &publish_crate(&site, "cfd_nobody", "cargo-local", &good), 401, "");
}

#[test]
fn files_that_lie_are_refused_with_a_problem_document() {
    let (site, token) = harbour();
    assert_eq!(site.send(&token, "PUT", "/r/generic-local/a/b.txt", b"one").status, 201);
    let before = site.repositories();
    let bearer = format!("Bearer {token}");
    let wrong = "0".repeat(64);
    let headers = [("authorization", bearer.as_str()), ("x-checksum-sha256", &wrong)];
    let digest = site.ask("PUT", "/r/generic-local/a/c.txt", &headers, b"two");
    assert_eq!(digest.json()["code"], "digest-mismatch");
    refused(&site, &before, &digest, 422, "digest");
    refused(&site, &before, &site.send(&token, "PUT", "/r/generic-local/a/b.txt", b"two"), 409, "immutable");
    for path in ["a/../../x", "a/%2e%2e/x", "a/%2e%2e%2f%2e%2e%2fx", "a//b", "a/b%00c"] {
        let answer = site.send(&token, "PUT", &format!("/r/generic-local/{path}"), b"two");
        assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        refused(&site, &before, &answer, answer.status, "");
    }
    for repository in ["generic", "generic-mirror"] {
        let answer = site.send(&token, "PUT", &format!("/r/{repository}/a/c.txt"), b"two");
        refused(&site, &before, &answer, 403, "");
    }
    refused(&site, &before, &site.send("cfd_nobody", "PUT", "/r/generic-local/a/c.txt", b"two"), 401, "");
}

#[test]
fn uploads_that_break_off_leave_nothing() {
    let (site, token) = harbour();
    let (before, blobs) = (site.repositories(), site.blobs());
    let bearer = format!("Bearer {token}");
    let (file, bytes) = wheel("oars", "1.0", &[]);
    let (kind, form) = distribution_form((&file, &bytes), &[]);
    let none = json!({});
    let npm = npm_document("oars", "1.0.0", &none, &npm_package("oars", "1.0.0", &none)).to_string();
    let krate =
        crate_upload(&crate_description("oars", "1.0.0", &json!([])), &crate_file("oars", "1.0.0", ""));
    let plain = vec![7; 3_000_000];
    let cases: [(&str, &str, &str, &[u8]); 4] = [
        ("POST", "/r/pypi-local/legacy/", &kind, &form),
        ("PUT", "/r/npm-local/oars", "application/json", npm.as_bytes()),
        ("PUT", "/r/cargo-local/api/v1/crates/new", "application/octet-stream", &krate),
        ("PUT", "/r/generic-local/a/b.bin", "application/octet-stream", &plain),
    ];
    for (method, path, kind, body) in cases {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        if let Some(answer) = cut_off(site.address(), method, path, &headers, body) {
            assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        }
        assert_eq!((site.repositories(), site.blobs()), (before.clone(), blobs), "{path}");
    }
}
