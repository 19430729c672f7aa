//! A package crosses: recorded from upstream, claimed, and admitted on the other side.

mod support;

use cofferdam_format_kit::{
    Body, Change, Draft, Format as _, Recorded, RepositoryKind, Want,
    conformance::{MemoryRepository, MemoryUpstream, digests_of},
};
use cofferdam_format_npm::Npm;
use cofferdam_types::{ErrorKind, Result};
use http::Method;
use serde_json::{Value, json};
use support::{INSTALL, get, sri, tarball};

const ROOT: &str = "http://upstream.example/npm/";

fn mirror() -> MemoryRepository {
    MemoryRepository::new("npm", RepositoryKind::Mirror, "http://site.example/r/npm")
}

fn packument(bytes: &[u8]) -> Value {
    let manifest = |version: &str| {
        json!({
            "name": "@acme/tool",
            "version": version,
            "x-unknown": 1,
            "scripts": { "install": "make" },
            "dist": {
                "tarball": format!("http://files.upstream.example/odd/place/{version}"),
                "integrity": sri(bytes),
                "signatures": [{ "keyid": "k", "sig": "s" }],
            },
        })
    };
    json!({
        "name": "@acme/tool",
        "dist-tags": { "latest": "1.1.0", "cjs": "1.0.0", "lts": "1.0.0" },
        "versions": { "1.0.0": manifest("1.0.0"), "1.1.0": manifest("1.1.0") },
        "time": { "modified": "2026-02-03T00:00:00.000Z", "1.0.0": "2025-06-07T08:09:10.000Z" },
    })
}

fn upstream(packument: &Value, bytes: &[u8]) -> MemoryUpstream {
    MemoryUpstream::new(ROOT).with("@acme%2ftool", "application/json", packument.to_string()).with(
        "http://files.upstream.example/odd/place/1.0.0",
        "application/octet-stream",
        bytes.to_vec(),
    )
}

async fn record_file(upstream: &MemoryUpstream, mirror: &MemoryRepository) -> Result<Recorded> {
    let request = mirror.request(Method::GET, "/@acme/tool/-/tool-1.0.0.tgz", &[]);
    let want = Npm.want(&request, &Npm.route(&request).unwrap()).unwrap();
    Npm.record(&want, mirror, upstream, mirror).await
}

async fn claim() -> (MemoryRepository, Draft) {
    let bytes = tarball("@acme/tool", "1.0.0");
    let mirror = mirror();
    let recorded = record_file(&upstream(&packument(&bytes), &bytes), &mirror).await.unwrap();
    let Some(Change::Release(draft)) = recorded.changes.into_iter().next() else {
        panic!("a release is recorded");
    };
    (mirror, draft)
}

#[tokio::test]
async fn the_live_index_names_our_tarballs_and_keeps_the_times() {
    let bytes = tarball("@acme/tool", "1.0.0");
    let (upstream, mirror) = (upstream(&packument(&bytes), &bytes), mirror());
    let request = mirror.request(Method::GET, "/@acme%2ftool", &[("accept", INSTALL)]);
    let want = Npm.want(&request, &Npm.route(&request).unwrap()).unwrap();
    assert_eq!(want, Want::Index { package: Some("@acme/tool".into()) });

    let recorded = Npm.record(&want, &mirror, &upstream, &mirror).await.unwrap();
    assert_eq!(recorded.changes, []);
    let Some(Body::Bytes(text)) = recorded.answer.map(|answer| answer.body) else { panic!("a live answer") };
    let live: Value = serde_json::from_slice(&text).unwrap();
    let version = &live["versions"]["1.0.0"];
    assert_eq!(version["dist"]["tarball"], "http://site.example/r/npm/@acme/tool/-/tool-1.0.0.tgz");
    assert_eq!(version["dist"]["integrity"], sri(&bytes));
    assert_eq!(version["hasInstallScript"], true);
    assert_eq!(live["dist-tags"], json!({ "latest": "1.1.0", "cjs": "1.0.0", "lts": "1.0.0" }));
    assert_eq!(live["time"]["1.0.0"], "2025-06-07T08:09:10.000Z");
    assert_eq!(live["modified"], "2026-02-03T00:00:00.000Z");
    assert!(!String::from_utf8_lossy(&text).contains("upstream.example"));
}

#[tokio::test]
async fn a_live_index_of_an_upstream_without_a_time_of_change_has_none_either() {
    // Bun reads no document in which `modified` is null.
    let bytes = tarball("@acme/tool", "1.0.0");
    let mut document = packument(&bytes);
    document["time"].as_object_mut().unwrap().remove("modified");
    let (upstream, mirror) = (upstream(&document, &bytes), mirror());
    let request = mirror.request(Method::GET, "/@acme%2ftool", &[("accept", INSTALL)]);
    let want = Npm.want(&request, &Npm.route(&request).unwrap()).unwrap();
    let recorded = Npm.record(&want, &mirror, &upstream, &mirror).await.unwrap();
    let Some(Body::Bytes(text)) = recorded.answer.map(|answer| answer.body) else { panic!("a live answer") };
    let live: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(live.get("modified"), None);
    assert_eq!(live["time"]["1.0.0"], "2025-06-07T08:09:10.000Z");
}

#[tokio::test]
async fn a_live_index_lists_its_tarballs_with_platforms_and_where_to_ask() {
    let bytes = tarball("@acme/tool", "1.0.0");
    let mut document = packument(&bytes);
    let native = &mut document["versions"]["1.1.0"];
    native["os"] = json!(["darwin", "linux"]);
    native["cpu"] = json!(["x64"]);
    native["deprecated"] = json!("use 2");
    native["dist"]["shasum"] = json!("AB".repeat(20));
    let (upstream, mirror) = (upstream(&document, &bytes), mirror());
    let path = format!("/{}", Npm.index_path("@acme/tool").unwrap());
    assert_eq!(path, "/@acme%2ftool");
    let request = mirror.request(Method::GET, &path, &[("accept", Npm.index_accept().unwrap())]);
    let want = Npm.want(&request, &Npm.route(&request).unwrap()).unwrap();
    let recorded = Npm.record(&want, &mirror, &upstream, &mirror).await.unwrap();
    let Some(Body::Bytes(text)) = recorded.answer.map(|answer| answer.body) else { panic!("a live answer") };

    let listed = Npm.listed("@acme/tool", &text).unwrap();
    let shown: Vec<_> = listed.iter().map(|f| (f.version.as_str(), f.path.as_str(), f.yanked)).collect();
    let expected =
        [("1.0.0", "@acme/tool/-/tool-1.0.0.tgz", false), ("1.1.0", "@acme/tool/-/tool-1.1.0.tgz", true)];
    assert_eq!(shown, expected);
    assert_eq!(listed[0].digests, [format!("sha512:{}", digests_of(&bytes).sha512)]);
    assert_eq!(listed[1].digests[1], format!("sha1:{}", "ab".repeat(20)));
    assert_eq!(listed[0].platforms, [""; 0]);
    assert_eq!(listed[1].platforms, ["linux-x86_64", "macos-x86_64"]);
    for (name, text) in [("@acme/other", &text[..]), ("@acme/tool", b"[]"), ("@acme/tool", b"")] {
        assert_eq!(Npm.listed(name, text).unwrap_err().code(), "index-document");
    }
    let elsewhere = document.to_string();
    assert_eq!(Npm.listed("@acme/tool", elsewhere.as_bytes()).unwrap(), [], "only our own addresses count");
}

#[tokio::test]
async fn one_release_is_found_by_version_and_by_tag_as_corepack_asks_for_it() {
    let bytes = tarball("@acme/tool", "1.0.0");
    let (upstream, mirror) = (upstream(&packument(&bytes), &bytes), mirror());
    for (path, found) in
        [("/@acme%2ftool/1.0.0", true), ("/@acme/tool/lts", true), ("/@acme/tool/9.9.9", false)]
    {
        let request = mirror.request(Method::GET, path, &[]);
        let want = Npm.want(&request, &Npm.route(&request).unwrap()).unwrap();
        let recorded = Npm.record(&want, &mirror, &upstream, &mirror).await;
        if !found {
            assert_eq!(recorded.unwrap_err().kind(), ErrorKind::NotFound, "{path}");
            continue;
        }
        let Some(Body::Bytes(text)) = recorded.unwrap().answer.map(|answer| answer.body) else {
            panic!("{path}")
        };
        let manifest: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            (&manifest["version"], &manifest["dist"]["integrity"]),
            (&json!("1.0.0"), &json!(sri(&bytes)))
        );
        assert_eq!(manifest["dist"]["tarball"], "http://site.example/r/npm/@acme/tool/-/tool-1.0.0.tgz");
    }
}

#[tokio::test]
async fn a_recorded_tarball_brings_its_manifest_tags_and_time() {
    let (mirror, draft) = claim().await;
    assert_eq!(draft.pointers, ["cjs", "lts"]);
    assert_eq!(draft.published.unwrap().to_string(), "2025-06-07T08:09:10.000Z");
    mirror.commit(&Npm, &[Change::Release(draft)]).await.unwrap();

    let full = get(&mirror, "/@acme/tool", "*/*").await;
    assert_eq!(full["versions"]["1.0.0"]["x-unknown"], 1);
    assert_eq!(full["versions"]["1.0.0"]["dist"]["signatures"], json!([{ "keyid": "k", "sig": "s" }]));
    assert_eq!(full["dist-tags"], json!({ "cjs": "1.0.0", "lts": "1.0.0", "latest": "1.0.0" }));
    assert!(!full.to_string().contains("upstream.example"));
    let (_, _, bytes) = mirror.get(&Npm, "/@acme/tool/-/tool-1.0.0.tgz", "*/*").await;
    assert_eq!(bytes, tarball("@acme/tool", "1.0.0"));
}

#[tokio::test]
async fn upstream_bytes_that_are_not_what_upstream_said_are_refused() {
    let good = tarball("@acme/tool", "1.0.0");
    let other = tarball("@acme/tool", "6.6.6");
    let mut unvouched = packument(&good);
    unvouched["versions"]["1.0.0"]["dist"].as_object_mut().unwrap().remove("integrity");
    let mut renamed = packument(&good);
    renamed["name"] = json!("@evil/tool");
    let mut moved = packument(&good);
    moved["versions"]["1.0.0"]["version"] = json!("1.1.0");
    for (packument, bytes, code) in [
        (packument(&good), &other, "integrity-mismatch"),
        (packument(&other), &other, "package-json-mismatch"),
        (unvouched, &good, "integrity-missing"),
        (renamed, &good, "upstream-document"),
        (moved, &good, "upstream-document"),
        (json!([]), &good, "upstream-document"),
    ] {
        let error = record_file(&upstream(&packument, bytes), &mirror()).await.unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::VerificationFailed, code));
    }
}

#[tokio::test]
async fn what_upstream_does_not_have_is_not_found() {
    let bytes = tarball("@acme/tool", "1.0.0");
    let (empty, mirror) = (MemoryUpstream::new(ROOT), mirror());
    assert_eq!(record_file(&empty, &mirror).await.unwrap_err().kind(), ErrorKind::NotFound);
    let upstream = upstream(&packument(&bytes), &bytes);
    for path in ["@acme/tool/-/tool-9.0.0.tgz", "@acme/tool/-/tool-1.1.0.tgz", "@acme/tool/-/x-1.0.0.tgz"] {
        let want = Want::File { package: "@acme/tool".into(), path: path.into() };
        let error = Npm.record(&want, &mirror, &upstream, &mirror).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{path}");
    }
    assert_eq!(mirror.package_count(), 0);
}

#[tokio::test]
async fn an_honest_claim_is_admitted_as_it_is() {
    let (mirror, draft) = claim().await;
    assert_eq!(Npm.admit(&draft, &mirror).await.unwrap(), draft);
}

#[tokio::test]
async fn a_claim_that_lies_is_refused() {
    type Lie = fn(&mut Draft);
    let lies: [(&str, Lie); 9] = [
        ("package", |d| d.package = "@evil/tool".into()),
        ("display", |d| d.display = "@evil/tool".into()),
        ("version", |d| d.version = "2.0.0".into()),
        ("version with a path", |d| d.version = "1/../2".into()),
        ("path", |d| d.files[0].path = "other/-/other-1.0.0.tgz".into()),
        ("role", |d| d.files[0].role = "file".into()),
        ("no file", |d| d.files.clear()),
        ("integrity", |d| d.meta["dist"]["integrity"] = json!(sri(b"x"))),
        ("no integrity", |d| d.meta["dist"] = json!({})),
    ];
    for (what, lie) in lies {
        let (mirror, mut draft) = claim().await;
        lie(&mut draft);
        let error = Npm.admit(&draft, &mirror).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::VerificationFailed, "{what}: {error:?}");
    }
}

#[tokio::test]
async fn a_claim_that_renames_everything_consistently_is_caught_by_the_bytes() {
    let (mirror, mut draft) = claim().await;
    draft.version = "2.0.0".into();
    draft.meta["version"] = json!("2.0.0");
    draft.files[0].path = "@acme/tool/-/tool-2.0.0.tgz".into();
    assert_eq!(Npm.admit(&draft, &mirror).await.unwrap_err().code(), "package-json-mismatch");
}
