//! Reading: forms, redirects, unknown things, the JSON API.

use cofferdam_format_kit::conformance::{self, MemoryRepository};
use cofferdam_format_pypi::PyPi;
use http::header;
use serde_json::{Value, json};

use crate::bytes::{Form, JSON, hosted, page, sdist, wheel};

async fn filled() -> MemoryRepository {
    let repository = hosted();
    for version in ["1.0", "1.10", "1.9", "2.0rc1"] {
        Form::wheel("foo-bar", version, wheel("foo-bar", version)).upload(&repository).await.unwrap();
    }
    Form::new("Zed", "1", "zed-1.tar.gz", sdist("zed", "1")).upload(&repository).await.unwrap();
    repository
}

#[tokio::test]
async fn the_rules_of_every_format_hold() {
    conformance::check(&PyPi, &filled().await).await;
}

#[tokio::test]
async fn json_and_html_tell_the_same_files_with_the_same_digests() {
    let repository = filled().await;
    let json = page(&repository, "foo-bar").await;
    assert_eq!(json["meta"]["api-version"], "1.1");
    assert_eq!(json["versions"], json!(["1.0", "1.9", "1.10", "2.0rc1"]));
    let (_, headers, html) = repository.get(&PyPi, "/simple/foo-bar/", "text/html").await;
    assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(headers[header::VARY], "Accept");
    let html = String::from_utf8(html.to_vec()).unwrap();
    let files = json["files"].as_array().unwrap();
    assert_eq!(html.matches("<a ").count(), files.len());
    for file in files {
        let (url, hash) = (file["url"].as_str().unwrap(), file["hashes"]["sha256"].as_str().unwrap());
        assert!(html.contains(&format!("href=\"{url}#sha256={hash}\"")), "{url}");
        let metadata = file["core-metadata"]["sha256"].as_str().unwrap();
        assert!(html.contains(&format!("data-core-metadata=\"sha256={metadata}\"")));
        assert!(file["upload-time"].as_str().unwrap().ends_with('Z'));
    }
    assert!(html.contains("data-requires-python=\"&gt;=3.8,&lt;4\""));
}

#[tokio::test]
async fn each_client_gets_its_form_and_none_gets_what_it_did_not_ask_for() {
    let repository = filled().await;
    for (accept, status, media_type) in [
        (JSON, 200, JSON),
        ("application/vnd.pypi.simple.latest+json", 200, JSON),
        ("application/vnd.pypi.simple.v1+html", 200, "application/vnd.pypi.simple.v1+html"),
        ("*/*", 200, "text/html; charset=utf-8"),
        ("image/png", 406, "text/plain; charset=utf-8"),
    ] {
        for address in ["/simple/", "/simple/foo-bar/"] {
            let (got, headers, _) = repository.get(&PyPi, address, accept).await;
            assert_eq!(
                (got.as_u16(), &headers[header::CONTENT_TYPE]),
                (status, &media_type.parse().unwrap())
            );
            assert_eq!(headers[header::VARY], "Accept");
        }
    }
}

#[tokio::test]
async fn other_spellings_are_led_to_the_normal_one() {
    let repository = filled().await;
    for (asked, target) in [
        ("/simple/foo-bar", "/simple/foo-bar/"),
        ("/simple/Foo_Bar/", "/simple/foo-bar/"),
        ("/simple/FOO.BAR", "/simple/foo-bar/"),
        ("/simple/foo%2Dbar/", "/simple/foo-bar/"),
        ("/simple", "/simple/"),
    ] {
        let (status, headers, _) = repository.get(&PyPi, asked, JSON).await;
        assert_eq!(status, 308, "{asked}");
        assert_eq!(headers[header::LOCATION], format!("https://site.example/r/team{target}").as_str());
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_in_plain_words() {
    let repository = filled().await;
    for address in [
        "/simple/nothing/",
        "/simple/-bad-/",
        "/files/foo-bar/foo_bar-9-py3-none-any.whl",
        "/pypi/nothing/json",
        "/pypi/foo-bar/9/json",
        "/unknown",
        "/",
    ] {
        let (status, headers, body) = repository.get(&PyPi, address, "*/*").await;
        assert_eq!(status, 404, "{address}");
        assert_eq!(headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        assert!(!body.is_empty());
    }
}

#[tokio::test]
async fn the_list_of_packages_is_there_even_when_it_is_empty() {
    let (status, _, body) = hosted().get(&PyPi, "/simple/", JSON).await;
    assert_eq!(status, 200);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["projects"], json!([]));

    let repository = filled().await;
    let (_, _, body) = repository.get(&PyPi, "/simple/", JSON).await;
    let list: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(list["projects"], json!([{ "name": "foo-bar" }, { "name": "zed" }]));
    let (_, _, html) = repository.get(&PyPi, "/simple/", "text/html").await;
    assert!(String::from_utf8_lossy(&html).contains("<a href=\"zed/\">zed</a>"));
}

#[tokio::test]
async fn the_json_api_tells_the_newest_final_release_and_claims_no_knowledge_of_vulnerabilities() {
    let repository = filled().await;
    let (status, _, body) = repository.get(&PyPi, "/pypi/Foo_Bar/json", "application/json").await;
    assert_eq!(status, 200);
    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["info"]["version"], "1.10");
    assert_eq!(json["info"]["summary"], "A <small> & tidy thing");
    assert_eq!(json["releases"].as_object().unwrap().len(), 4);
    assert!(json.get("vulnerabilities").is_none());
    let (_, _, body) = repository.get(&PyPi, "/pypi/foo-bar/1.9.0/json", "application/json").await;
    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["info"]["version"], "1.9");
    assert_eq!(
        json["urls"][0]["url"],
        "https://site.example/r/team/files/foo-bar/foo_bar-1.9-py3-none-any.whl"
    );
}
