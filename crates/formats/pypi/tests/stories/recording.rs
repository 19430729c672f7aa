//! The connected side: an upstream is asked, checked, and recorded exactly as far as it is used.

use cofferdam_format_kit::{
    Answer, Body, Format as _, Recorded, Route, Want,
    conformance::{MemoryRepository, MemoryUpstream},
};
use cofferdam_format_pypi::PyPi;
use cofferdam_types::{Result, Sha256};
use http::Method;
use serde_json::{Value, json};

use crate::bytes::{JSON, metadata, mirror, page, sdist, wheel};

const ROOT: &str = "https://upstream.example/simple/";
const WHEEL: &str = "foo_bar-1.0-py3-none-any.whl";

fn entry(filename: &str, bytes: &[u8]) -> Value {
    json!({
        "filename": filename,
        "url": format!("https://files.upstream.example/{filename}"),
        "hashes": { "sha256": Sha256::of(bytes).to_hex() },
        "requires-python": ">=3.8,<4",
        "size": bytes.len(),
        "upload-time": "2020-02-03T04:05:06.789Z",
        "yanked": null,
        "provenance": null,
    })
}

fn upstream_with(files: &Value) -> MemoryUpstream {
    let index =
        json!({ "meta": { "api-version": "1.1" }, "name": "foo-bar", "versions": ["1.0"], "files": files });
    MemoryUpstream::new(ROOT).with("foo-bar/", JSON, index.to_string())
}

fn good_upstream() -> MemoryUpstream {
    let (wheel, sdist) = (wheel("foo-bar", "1.0"), sdist("foo-bar", "1.0"));
    let text = metadata("foo-bar", "1.0");
    let mut first = entry(WHEEL, &wheel);
    first["core-metadata"] = json!({ "sha256": Sha256::of(text.as_bytes()).to_hex() });
    let egg = entry("foo_bar-1.0-py2.7.egg", b"an egg");
    upstream_with(&json!([first, entry("foo-bar-1.0.tar.gz", &sdist), egg]))
        .with(&format!("https://files.upstream.example/{WHEEL}"), "application/octet-stream", wheel)
        .with(&format!("https://files.upstream.example/{WHEEL}.metadata"), "text/plain", text)
        .with("https://files.upstream.example/foo-bar-1.0.tar.gz", "application/octet-stream", sdist)
}

async fn ask(repository: &MemoryRepository, upstream: &MemoryUpstream, address: &str) -> Result<Recorded> {
    let request = repository.request(Method::GET, address, &[("accept", JSON)]);
    let route = PyPi.route(&request).expect("a known address");
    let want = PyPi.want(&request, &route).expect("something to ask upstream for");
    let recorded = PyPi.record(&want, repository, upstream, repository).await?;
    repository.commit(&PyPi, &recorded.changes).await?;
    Ok(recorded)
}

fn text(answer: Option<Answer>) -> Vec<u8> {
    let Some(Answer { body: Body::Bytes(bytes), .. }) = answer else { panic!("a live answer") };
    bytes.to_vec()
}

#[tokio::test]
async fn an_index_is_live_with_our_addresses_and_commits_nothing() {
    let (repository, upstream) = (mirror(), good_upstream());
    let recorded = ask(&repository, &upstream, "/simple/foo-bar/").await.unwrap();
    assert!(recorded.changes.is_empty());
    let page: Value = serde_json::from_slice(&text(recorded.answer)).unwrap();
    let files = page["files"].as_array().unwrap();
    assert_eq!(files.len(), 2, "eggs are left out: {page}");
    assert_eq!(files[0]["url"], format!("../../files/foo-bar/{WHEEL}"));
    assert_eq!(files[0]["upload-time"], "2020-02-03T04:05:06.789Z");
    assert_eq!(files[0]["core-metadata"], files[0]["data-dist-info-metadata"]);
    assert_eq!(page["versions"], json!(["1.0"]));
    assert_eq!(repository.package_count(), 0);
    assert_eq!(upstream.asked(), ["https://upstream.example/simple/foo-bar/"]);
}

#[tokio::test]
async fn a_live_index_lists_its_files_with_versions_platforms_and_where_to_ask() {
    let wheel = "foo_bar-2.0+cu1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl";
    let mut yanked = entry("foo-bar-0.9.tar.gz", b"old");
    yanked["yanked"] = json!("broken");
    let upstream = upstream_with(&json!([entry(wheel, b"new"), entry(WHEEL, b"pure"), yanked]));
    let repository = mirror();
    let path = PyPi.index_path("Foo_Bar").unwrap();
    let recorded = ask(&repository, &upstream, &format!("/{path}")).await.unwrap();
    let page = text(recorded.answer);
    let listed = PyPi.listed("Foo_Bar", &page).unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|f| (f.version.as_str(), f.path.as_str(), f.yanked, f.platforms.join(",")))
        .collect();
    let escaped = format!("files/foo-bar/{}", wheel.replace('+', "%2B"));
    assert_eq!(
        shown,
        [
            ("0.9", "files/foo-bar/foo-bar-0.9.tar.gz", true, String::new()),
            ("1.0", &format!("files/foo-bar/{WHEEL}"), false, String::new()),
            ("2.0+cu1", &escaped, false, "linux-x86_64".into()),
        ]
    );
    assert_eq!(listed[2].digests, [format!("sha256:{}", Sha256::of(b"new").to_hex())]);
    assert_eq!(listed[2].size, Some(3));
    for file in &listed {
        let request = repository.request(Method::GET, &format!("/{}", file.path), &[]);
        let want = PyPi.want(&request, &PyPi.route(&request).unwrap());
        assert!(matches!(want, Some(Want::File { .. })), "{file:?} is what a client asks for");
    }
    for (name, page) in [("other", &page[..]), ("foo-bar", b"<html>"), ("foo-bar", b"{}")] {
        assert_eq!(PyPi.listed(name, page).unwrap_err().code(), "index-document");
    }
    let elsewhere =
        String::from_utf8(page).unwrap().replace("../../files/", "https://files.upstream.example/");
    assert_eq!(PyPi.listed("foo-bar", elsewhere.as_bytes()).unwrap(), [], "only our own addresses count");
}

#[tokio::test]
async fn looking_at_metadata_collects_nothing_and_fetches_no_wheel() {
    let (repository, upstream) = (mirror(), good_upstream());
    let recorded = ask(&repository, &upstream, &format!("/files/foo-bar/{WHEEL}.metadata")).await.unwrap();
    assert_eq!(text(recorded.answer), metadata("foo-bar", "1.0").as_bytes());
    assert_eq!(repository.package_count(), 0);
    assert!(!upstream.asked().iter().any(|url| url.ends_with(".whl")));
}

#[tokio::test]
async fn a_downloaded_wheel_is_collected_with_its_metadata_and_served_without_upstream() {
    let (repository, upstream) = (mirror(), good_upstream());
    let recorded = ask(&repository, &upstream, &format!("/files/foo-bar/{WHEEL}")).await.unwrap();
    assert!(recorded.answer.is_none(), "it is served from the view");

    let page = page(&repository, "foo-bar").await;
    assert_eq!(page["files"].as_array().unwrap().len(), 1, "only what was used: {page}");
    assert_eq!(page["files"][0]["upload-time"], "2020-02-03T04:05:06.789Z");
    for (address, expected) in [
        (format!("/files/foo-bar/{WHEEL}"), wheel("foo-bar", "1.0")),
        (format!("/files/foo-bar/{WHEEL}.metadata"), metadata("foo-bar", "1.0").into_bytes()),
    ] {
        let (status, _, body) = repository.get(&PyPi, &address, "*/*").await;
        assert_eq!((status.as_u16(), body.to_vec()), (200, expected), "{address}");
    }

    let before = upstream.asked().len();
    let again = ask(&repository, &upstream, &format!("/files/foo-bar/{WHEEL}")).await.unwrap();
    assert!(again.changes.is_empty() && upstream.asked().len() == before, "what is here is not asked again");
}

#[tokio::test]
async fn the_source_distribution_of_the_same_version_joins_the_release() {
    let (repository, upstream) = (mirror(), good_upstream());
    for name in [WHEEL, "foo-bar-1.0.tar.gz"] {
        ask(&repository, &upstream, &format!("/files/foo-bar/{name}")).await.unwrap();
    }
    let page = page(&repository, "foo-bar").await;
    assert_eq!((page["files"].as_array().unwrap().len(), &page["versions"]), (2, &json!(["1.0"])));
}

#[tokio::test]
async fn an_old_upstream_with_html_only_is_read_too() {
    let bytes = wheel("foo-bar", "1.0");
    let html = format!(
        "<html><body><a href=\"../../packages/{WHEEL}#sha256={}\" data-requires-python=\"&gt;=3.8\">x</a></body></html>",
        Sha256::of(&bytes)
    );
    let upstream = MemoryUpstream::new(ROOT).with("foo-bar/", "text/html", html).with(
        &format!("https://upstream.example/packages/{WHEEL}"),
        "application/octet-stream",
        bytes,
    );
    let repository = mirror();
    let live = text(ask(&repository, &upstream, "/simple/foo-bar/").await.unwrap().answer);
    let live: Value = serde_json::from_slice(&live).unwrap();
    assert_eq!((&live["files"][0]["requires-python"], &live["versions"]), (&json!(">=3.8"), &json!(["1.0"])));
    ask(&repository, &upstream, &format!("/files/foo-bar/{WHEEL}")).await.unwrap();
    assert_eq!(page(&repository, "foo-bar").await["files"][0]["filename"], WHEEL);
}

#[tokio::test]
async fn bytes_that_contradict_upstreams_own_digests_are_refused() {
    let good = wheel("foo-bar", "1.0");
    let mut wrong_size = entry(WHEEL, &good);
    wrong_size["size"] = json!(7);
    let mut wrong_metadata = entry(WHEEL, &good);
    wrong_metadata["core-metadata"] = json!({ "sha256": "0".repeat(64) });
    let mut wrong_md5 = entry(WHEEL, &good);
    wrong_md5["hashes"] = json!({ "md5": "0".repeat(32) });
    for entry in [entry(WHEEL, b"other bytes"), wrong_size, wrong_metadata, wrong_md5] {
        let upstream = upstream_with(&json!([entry]))
            .with(
                &format!("https://files.upstream.example/{WHEEL}"),
                "application/octet-stream",
                good.clone(),
            )
            .with(&format!("https://files.upstream.example/{WHEEL}.metadata"), "text/plain", "forged");
        let repository = mirror();
        let error = ask(&repository, &upstream, &format!("/files/foo-bar/{WHEEL}")).await.unwrap_err();
        assert_eq!(error.code(), "upstream-digest", "{entry}");
        assert_eq!(PyPi.error(&error).status, 502);
        assert_eq!(repository.package_count(), 0);
        if entry.get("core-metadata").is_some() {
            let address = format!("/files/foo-bar/{WHEEL}.metadata");
            let error = ask(&repository, &upstream, &address).await.unwrap_err();
            assert_eq!(error.code(), "upstream-digest");
        }
    }
}

#[tokio::test]
async fn what_upstream_does_not_have_is_not_found_and_what_it_garbles_is_unavailable() {
    let repository = mirror();
    let upstream = good_upstream();
    for address in
        ["/simple/nothing/", "/files/nothing/nothing-1.tar.gz", "/files/foo-bar/foo_bar-9-py3-none-any.whl"]
    {
        let error = ask(&repository, &upstream, address).await.unwrap_err();
        assert_eq!(PyPi.error(&error).status, 404, "{address}");
    }
    for index in ["{", "{\"meta\":{\"api-version\":\"2.0\"},\"name\":\"foo-bar\",\"files\":[]}"] {
        let upstream = MemoryUpstream::new(ROOT).with("foo-bar/", JSON, index);
        let error = ask(&repository, &upstream, "/simple/foo-bar/").await.unwrap_err();
        assert_eq!(error.code(), "upstream-index");
    }
}

#[tokio::test]
async fn yanks_of_upstream_travel_whole_releases_as_releases_and_single_files_as_files() {
    let (wheel, sdist) = (wheel("foo-bar", "1.0"), sdist("foo-bar", "1.0"));
    for sdist_too in [true, false] {
        let (mut first, mut second) = (entry(WHEEL, &wheel), entry("foo-bar-1.0.tar.gz", &sdist));
        first["yanked"] = json!("broken");
        second["yanked"] = json!(sdist_too);
        let upstream = upstream_with(&json!([first, second]))
            .with(
                &format!("https://files.upstream.example/{WHEEL}"),
                "application/octet-stream",
                wheel.clone(),
            )
            .with(
                "https://files.upstream.example/foo-bar-1.0.tar.gz",
                "application/octet-stream",
                sdist.clone(),
            );
        let repository = mirror();
        ask(&repository, &upstream, "/files/foo-bar/foo-bar-1.0.tar.gz").await.unwrap();
        ask(&repository, &upstream, &format!("/files/foo-bar/{WHEEL}")).await.unwrap();
        let page = page(&repository, "foo-bar").await;
        let yanked = |name: &str| {
            page["files"].as_array().unwrap().iter().find(|f| f["filename"] == name).unwrap()["yanked"]
                .clone()
        };
        assert_eq!(yanked(WHEEL), "broken");
        assert_eq!(yanked("foo-bar-1.0.tar.gz") != json!(false), sdist_too);
    }
}

#[tokio::test]
async fn versions_older_than_pep_440_can_be_recorded() {
    let bytes = sdist("foo-bar", "2004d");
    let upstream = upstream_with(&json!([entry("foo-bar-2004d.tar.gz", &bytes)])).with(
        "https://files.upstream.example/foo-bar-2004d.tar.gz",
        "application/octet-stream",
        bytes,
    );
    let repository = mirror();
    ask(&repository, &upstream, "/files/foo-bar/foo-bar-2004d.tar.gz").await.unwrap();
    assert_eq!(page(&repository, "foo-bar").await["versions"], json!(["2004d"]));
}

#[test]
fn upstream_is_asked_only_for_what_it_can_know() {
    let repository = mirror();
    let want = |address: &str| {
        let request = repository.request(Method::GET, address, &[]);
        let route = PyPi.route(&request).unwrap_or(Route::Api("none"));
        PyPi.want(&request, &route)
    };
    assert_eq!(want("/simple/foo-bar/"), Some(Want::Index { package: Some("foo-bar".into()) }));
    for address in ["/simple/", "/simple/Foo-Bar/", "/simple/foo-bar", "/pypi/foo-bar/json"] {
        assert_eq!(want(address), None, "{address}");
    }
}
